"""Import density points of the trained run."""

from typing import Any

import bpy
from bpy.props import BoolProperty

from ..importers import points
from ..jobs import runs, tasks
from ..objects import attach, chosen
from . import common


class NERF_OT_import_points(bpy.types.Operator):
    """Bring the trained NeRF's density in as coloured points."""

    bl_idname = "nerf.import_points"
    bl_label = "Import Density Points"
    bl_description = "Bring the dense parts of the trained NeRF in as coloured points, beside the original objects"
    # Not REGISTER: its redo panel would start the core again while the first answer is still on its way.
    bl_options = {"UNDO"}

    wait: BoolProperty(
        name="Wait", description="Return when the points are there; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        return common.poll_trained(cls, context)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core for the points."""
        outcome = common.begin_task(self, "Density Points", [lambda: points_step(context.scene)], undo=True)
        task = tasks.current()
        if outcome == {"FINISHED"} and task.results:
            item = task.results[0]
            self.report({"INFO"}, f"{len(item.data.vertices)} points in '{item.name}'")
        return outcome


def points_step(scene: bpy.types.Scene) -> tasks.Step:
    """The step that asks for points as `scene.nerf.points` says and makes their object."""
    settings = scene.nerf.points
    folder = chosen.chosen_run(scene)
    threshold = None if settings.automatic else settings.threshold
    uid, radius = scene.session_uid, settings.size

    def prepare(arrays: dict[str, Any]) -> dict[str, Any]:
        return points.prepare(arrays["position"], arrays["density"], arrays["color"], radius)

    def handle(result: dict[str, Any], prepared: dict[str, Any]) -> bpy.types.Object:
        scene = runs.scene_again(uid)
        settings = scene.nerf.points
        item = points.import_points(scene, prepared, old=settings.object)
        attach.attach(item, attach.shown_nerf(scene, folder))
        settings.object = item
        if settings.automatic and result.get("threshold") is not None:
            settings.threshold = result["threshold"]
        return item

    params = {"run": str(folder.root), "count": settings.count, "threshold": threshold}
    return tasks.Step("points", params, handle, "Finding density points", prepare)


CLASSES = (NERF_OT_import_points,)
