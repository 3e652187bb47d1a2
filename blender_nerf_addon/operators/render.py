"""Render novel views: the active camera, all cameras, or the frame range; as Image datablocks and as files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty

from ..capture.cameras import Frame, camera_from_blender
from ..capture.rig_views import scene_cameras
from ..capture.scene_guard import SceneGuard
from ..engine.settings import render_sampler
from ..importers import encode, images
from ..jobs import runs, tasks
from ..objects import chosen, find
from ..objects.layers import scene_layers
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import common, reading

NO_CAMERA = "There is no camera to render from: add one, and make it the scene's camera."


class NERF_OT_render_view(reading.ReadsFrames, bpy.types.Operator):
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
        if reading.under_way():
            cls.poll_message_set("An animation is under way")
            return False
        return common.poll_trained(cls, context)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask for one picture after the other."""
        return self._start(render_steps(context.scene, context.view_layer))

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Read a frame range's cameras a few at a time, so that the window stays alive; Esc cancels."""
        scene = context.scene
        if scene.nerf.render.views != "FRAMES" or common.waits(self) or context.window is None:
            return self.execute(context)
        return self._read_frames(context)

    @common.tells_errors
    def _read_frames(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene
        folder = chosen.chosen_run(scene)
        views: list[View] = []
        frames = _read_views(scene, context.view_layer, find.identity(folder.root), views)
        return self.read(
            context, frames, lambda: self._start(_steps(folder, views, render_sampler(scene))), "Novel views"
        )

    def _start(self, steps: list[Any]) -> set[str]:
        outcome = common.begin_task(self, "Render", steps, undo=False)
        task = tasks.current()
        if outcome == {"FINISHED"} and not task.running and task.results:
            self.report(
                {"INFO"}, f"Rendered {len(task.results)} view(s) into '{Path(task.results[0].filepath).parent}'"
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
    folder = chosen.chosen_run(scene)
    # Every camera is read before the first picture is asked for: meanwhile the person works on, and may change them.
    return _steps(folder, chosen_views(scene, layer, find.identity(folder.root)), render_sampler(scene))


def _steps(folder: RunFolder, views: "list[View]", sampler: dict[str, Any] | None) -> list[Any]:
    if not views:
        raise NerfError(NO_CAMERA)
    space = runs.color_space(folder)
    taken: set[str] = set()
    steps = []
    for view in views:
        path = _free_path(folder.renders, view.name, view.frame, images.suffix(space), taken)
        what = {"layers": view.layers} if view.layers else {"run": str(folder.root)}
        what["sampler"] = sampler
        steps.append(partial(_step, what, space, path, view.camera))
    return steps


@dataclass(frozen=True)
class View:
    """What one picture is rendered from.

    Attributes
    ----------
    name : str
        Of the camera.
    frame : int or None
        None: the current one.
    camera : Camera
    layers : list of dict
        Where the scene shows the run at that frame, see `objects.layers.scene_layers`; none: where it was trained.
    """

    name: str
    frame: int | None
    camera: Camera
    layers: list[dict[str, Any]]


def chosen_views(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, run_id: str | None = None) -> list[View]:
    """Each view that `scene.nerf.render` says, of the run with that id.

    Raises
    ------
    NerfError
        When there is no camera, or a NeRF object's run is not found.
    """
    views = scene.nerf.render.views
    found: list[View] = []
    if views == "FRAMES":
        for _frame in _read_views(scene, layer, run_id, found):
            pass
    else:
        items = [scene.camera]
        if views == "ALL":
            own = scene_cameras(scene, scene.nerf.capture)
            items = [item for item in own if item.visible_get(view_layer=layer)]
        found = [view_of(scene, layer, item, run_id) for item in items if item is not None]
    if not found:
        raise NerfError(NO_CAMERA)
    return found


def view_of(
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    item: bpy.types.Object,
    run_id: str | None,
    frame: int | None = None,
) -> View:
    """What a picture of a camera object is rendered from, as the scene is now; see `View`."""
    camera = camera_at(scene, layer, item)
    depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
    return View(item.name, frame, camera, scene_layers(depsgraph, run_id=run_id) if run_id else [])


def _step(what: dict[str, Any], space: str, path: Path, camera: Camera) -> tasks.Step:
    return tasks.Step(
        "render",
        {**what, "camera": camera.to_dict()},
        lambda _result, written: images.show_file(written, space, camera),
        f"Rendering {path.stem}",
        prepare=lambda arrays: images.write_frame(arrays["rgba"], space, path),
    )


def camera_at(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, item: bpy.types.Object) -> Camera:
    """The contract's camera of a camera object as it is now, in the size to render.

    Parameters
    ----------
    scene : Scene
        Its output size and `scene.nerf.render.percentage` decide the size.
    layer : ViewLayer
    item : Object
    """
    layer.update()
    depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
    camera = camera_from_blender(item, depsgraph, Frame.of_render(scene.render))
    factor = scene.nerf.render.percentage / 100.0
    if factor == 1.0:
        return camera
    return camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))


def _read_views(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, run_id: str | None, found: list[View]
) -> Iterator[int]:
    """Add each frame's camera, which markers may switch, to `found`; yields the frame that was read.

    The scene is as it was when the iterator ends or is closed.
    """
    with SceneGuard(scene):
        for frame in range(scene.frame_start, scene.frame_end + 1, scene.frame_step):
            scene.frame_set(frame)
            if scene.camera is None:
                raise NerfError(f"The scene has no camera at frame {frame}: make one the scene's camera.")
            found.append(view_of(scene, layer, scene.camera, run_id, frame))
            yield frame


def file_name(name: str) -> str:
    """A camera's name as a part of a file's."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(" .") or "camera"


def _free_path(folder: Path, name: str, frame: int | None, suffix: str, taken: set[str]) -> Path:
    """Where a picture goes: not where another one of this rendering does, and over no file that is not ours."""
    safe = file_name(name)
    stem = safe if frame is None else f"{safe}_{frame:04d}"
    path, number = folder / f"{stem}{suffix}", 2
    while path.name.lower() in taken or (path.exists() and not encode.is_ours(path)):
        path, number = folder / f"{stem}-{number}{suffix}", number + 1
    taken.add(path.name.lower())
    return path


CLASSES = (NERF_OT_render_view, NERF_OT_task_cancel)
