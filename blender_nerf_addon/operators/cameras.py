"""Import the cameras that the run was trained with."""

import bpy

from ..importers import cameras
from ..importers.point_display import RESULT_KEY
from ..objects import attach, chosen
from . import common


class NERF_OT_import_cameras(bpy.types.Operator):
    """Bring the training cameras in as camera objects."""

    bl_idname = "nerf.import_cameras"
    bl_label = "Import Training Cameras"
    bl_description = "Bring the cameras that the NeRF was trained with in as camera objects"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        if not chosen.has_run(context.scene):
            cls.poll_message_set("Nothing is trained yet")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read them from the checkpoint."""
        folder = chosen.chosen_run(context.scene)
        found = cameras.checkpoint_cameras(folder.checkpoint)
        collection = cameras.import_cameras(context.scene, found)
        nerf = attach.shown_nerf(context.scene, folder)
        for item in collection.objects:
            if item.get(RESULT_KEY) == "camera":
                attach.attach(item, nerf)
        self.report({"INFO"}, f"{len(found)} cameras in the collection '{collection.name}'")
        return {"FINISHED"}


CLASSES = (NERF_OT_import_cameras,)
