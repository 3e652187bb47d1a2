"""Render novel views: the active camera, all cameras, or the frame range; as Image datablocks and as files."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty

from ..capture.cameras import Frame, camera_from_blender
from ..capture.planner import scene_cameras
from ..importers import images
from ..jobs import runs, tasks
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from . import common


class NERF_OT_render_view(bpy.types.Operator):
    """Render the trained NeRF from the scene's cameras."""

    bl_idname = "nerf.render_view"
    bl_label = "Render Novel View"
    bl_description = "Render the trained NeRF from the chosen cameras, into images and into the run's folder 'renders'"

    wait: BoolProperty(
        name="Wait", description="Return when all is rendered; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        return common.poll_trained(cls, context)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask for one picture after the other."""
        steps = render_steps(context.scene, context.view_layer)
        outcome = common.begin_task(self, "Render", steps, undo=False)
        task = tasks.current()
        if outcome == {"FINISHED"} and not task.running and task.results:
            self.report(
                {"INFO"}, f"Rendered {len(task.results)} view(s) into '{runs.run_folder(context.scene).renders}'"
            )
        return outcome


class NERF_OT_task_cancel(bpy.types.Operator):
    """Cancel what is being rendered or imported."""

    bl_idname = "nerf.task_cancel"
    bl_label = "Cancel"
    bl_description = "Cancel; what is finished already stays"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a task under way."""
        return tasks.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """End the task."""
        tasks.cancel()
        return {"FINISHED"}


def render_steps(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> list[Any]:
    """The steps that render what `scene.nerf.render` says.

    Raises
    ------
    NerfError
        When nothing is trained or there is no camera.
    """
    folder = runs.trained_run(scene)
    space = runs.color_space(folder)
    views = scene.nerf.render.views
    if views == "ALL":
        own = scene_cameras(scene, scene.nerf.capture)
        cameras = [item for item in own if item.visible_get(view_layer=layer)]
        shots: list[tuple[bpy.types.Object, int | None]] = [(item, None) for item in cameras]
    elif views == "FRAMES":
        frames = range(scene.frame_start, scene.frame_end + 1, scene.frame_step)
        shots = [(scene.camera, frame) for frame in frames]
    else:
        shots = [(scene.camera, None)]
    if not shots or shots[0][0] is None:
        raise NerfError("There is no camera to render from: add one, and make it the scene's camera.")
    taken: set[str] = set()
    steps = []
    for item, frame in shots:
        name = _file_name(item.name, frame, taken)
        path = folder.renders / f"{name}{images.suffix(space)}"
        place = (scene.session_uid, layer.name, item.session_uid, frame)
        steps.append(partial(_step, place, str(folder.root), space, path))
    return steps


def _step(place: tuple[int, str, int, int | None], run: str, space: str, path: Path) -> tasks.Step:
    scene_uid, layer_name, camera_uid, frame = place
    # Looked up when its turn comes: an undo since would have made references invalid.
    scene = runs.scene_again(scene_uid)
    layer = scene.view_layers.get(layer_name) or scene.view_layers[0]
    item = next((item for item in scene.objects if item.session_uid == camera_uid), None)
    if item is None:
        raise NerfError(f"The camera of '{path.stem}' is gone from the scene; render again.")
    camera = camera_at(scene, layer, item, frame)

    def handle(_result: dict[str, Any], arrays: dict[str, Any]) -> bpy.types.Image:
        return images.save_frame(arrays["rgba"], space, path)

    return tasks.Step("render", {"run": run, "camera": camera.to_dict()}, handle, f"Rendering {path.stem}")


def camera_at(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, item: bpy.types.Object, frame: int | None = None
) -> Camera:
    """The contract's camera of a camera object, at the current or another frame, in the size to render.

    Parameters
    ----------
    scene : Scene
        Its output size and `scene.nerf.render.percentage` decide the size; its frame is put back.
    layer : ViewLayer
    item : Object
    frame : int, optional
    """
    before = scene.frame_current_final
    moved = frame is not None and frame != before
    if moved:
        scene.frame_set(frame)
    try:
        layer.update()
        depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
        camera = camera_from_blender(item, depsgraph, Frame.of_render(scene.render))
    finally:
        if moved:
            scene.frame_set(int(before // 1), subframe=before % 1)
    factor = scene.nerf.render.percentage / 100.0
    if factor == 1.0:
        return camera
    return camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))


def _file_name(name: str, frame: int | None, taken: set[str]) -> str:
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(" .") or "camera"
    stem = safe if frame is None else f"{safe}_{frame:04d}"
    unique, number = stem, 2
    while unique.lower() in taken:
        unique, number = f"{stem}-{number}", number + 1
    taken.add(unique.lower())
    return unique


CLASSES = (NERF_OT_render_view, NERF_OT_task_cancel)
