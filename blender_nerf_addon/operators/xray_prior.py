"""Build a prior of phantoms or CTs, which reconstructions then use."""

from functools import partial

import bpy
from bpy.props import BoolProperty

from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from ..xray import prior_build
from ..xray.prior_work import Work
from . import common


class NERF_OT_xray_build_prior(bpy.types.Operator):
    """Build a prior of phantoms or CTs, which Reconstruct from Radiograph then uses."""

    bl_idname = "nerf.xray_build_prior"
    bl_label = "Build Prior"
    bl_description = "Build a prior of phantoms or of a folder's CTs, which Reconstruct from Radiograph then uses"

    wait: BoolProperty(
        name="Wait", description="Return when it is there; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One at a time."""
        if prior_build.running():
            cls.poll_message_set("A prior is being built")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the process; wait for its end where nobody watches."""
        scene = context.scene
        waiting = common.waits(self)
        made = prior_build.start(scene, None if waiting else partial(_ended, scene.session_uid))
        if not waiting:
            return {"FINISHED"}
        common.wait_for(lambda: not made.under_way)
        if made.phase != "done":
            raise NerfError(made.text)
        _take(scene.session_uid, made)
        self.report({"INFO"}, made.text)
        return {"FINISHED"}


class NERF_OT_xray_build_prior_cancel(bpy.types.Operator):
    """End the building that is under way; nothing half made is left."""

    bl_idname = "nerf.xray_build_prior_cancel"
    bl_label = "Cancel"
    bl_description = "End the building that is under way; nothing half made is left"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while one is."""
        return prior_build.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """End it."""
        prior_build.cancel()
        return {"FINISHED"}


def _ended(scene_uid: int, made: Work) -> None:
    if made.phase == "failed":
        common.show_error(made.text)
    elif made.phase == "done":
        try:
            _take(scene_uid, made)
        except (NerfError, RuntimeError) as error:
            common.show_error(str(error))
            return
        if not bpy.app.background:
            bpy.ops.ed.undo_push(message="Build Prior")


def _take(scene_uid: int, made: Work) -> None:
    """Have reconstructions use it, and its picture at hand."""
    scene = runs.scene_again(scene_uid)
    scene.nerf_xray.prior = runs.stored_path(made.out)
    picture = made.out / prior_build.PICTURE
    if picture.is_file():
        bpy.data.images.load(str(picture), check_existing=True).name = f"{made.out.name} prior"


CLASSES = (NERF_OT_xray_build_prior, NERF_OT_xray_build_prior_cancel)
