"""Train, stop, train more, and take a training up again whose core died."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty

from ..capture import folders
from ..capture.cameras import Frame, camera_from_blender
from ..importers import images
from ..jobs import runs, training, training_sampler
from ..jobs.training import Training
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.messages import Message
from ..vendor.nerf_core.contract.run_folder import RunFolder
from ..xray.trained import field_settings
from . import capture, common, live_preview, objects


class NERF_OT_train(bpy.types.Operator):
    """Train a NeRF on the captured views, or go on with a training that was stopped."""

    bl_idname = "nerf.train"
    bl_label = "Train"
    bl_description = "Train a NeRF on the captured views, or go on with a training that was stopped"

    more: BoolProperty(
        name="More", description="Train for the chosen time or steps on top of what is trained", default=False
    )
    anew: BoolProperty(
        name="Anew",
        description="Leave the run as it is, and train in a new run folder on the same data set",
        options={"SKIP_SAVE"},
    )
    wait: BoolProperty(
        name="Wait", description="Return when training has ended; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Say what the button does in either of its uses."""
        if properties.anew:
            return "Keep this run, and train with the settings below in a new run folder on the same data set"
        return "Train for the chosen time or steps on top of what is trained" if properties.more else cls.bl_description

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs something to train on, and nothing in training."""
        if training.under_way():
            cls.poll_message_set("A training is under way")
            return False
        if not runs.has_views(context.scene):
            cls.poll_message_set("Capture views first, or choose a data set")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start; wait for the end where nobody watches."""
        scene = context.scene
        started = start_anew(scene) if self.anew else start_training(scene, more=self.more)
        return _outcome(self, started)


class NERF_OT_train_stop(bpy.types.Operator):
    """Stop training; everything learned so far is kept."""

    bl_idname = "nerf.train_stop"
    bl_label = "Stop"
    bl_description = "Stop training; everything learned so far is kept"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a training under way."""
        return training.under_way()

    @common.tells_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask the core to save and stop."""
        training.stop()
        return {"FINISHED"}


class NERF_OT_train_resume(bpy.types.Operator):
    """Start the NeRF core again and go on with the training that it was in."""

    bl_idname = "nerf.train_resume"
    bl_label = "Restart and Continue"
    bl_description = "Start the NeRF core again and go on with the training that it was in"

    wait: BoolProperty(name="Wait", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a training whose core died."""
        current = training.current()
        return current is not None and current.can_resume

    @common.tells_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Start a new core with the same run."""
        return _outcome(self, training.resume())


def start_training(scene: bpy.types.Scene, more: bool = False, **overrides: Any) -> Training:
    """Train the scene's run with the scene's settings.

    Parameters
    ----------
    scene : Scene
    more : bool
        On top of what is spent.
    **overrides
        Of `jobs.training.start`, such as ``budget={"steps": 100}`` or ``folder=RunFolder(...)``.

    Raises
    ------
    NerfError
        As `jobs.training.start` does.
    """
    settings = scene.nerf.training
    data = _path(settings.data)
    folder = overrides.pop("folder", None) or runs.run_folder(scene)
    device = settings.device if settings.device != "PREFERENCES" else runs.preferences().device
    budget = {"seconds": settings.seconds} if settings.budget == "SECONDS" else {"steps": settings.steps}
    arguments: dict[str, Any] = {
        "budget": budget,
        "data": data,
        "method": settings.method.lower(),
        "device": device.lower(),
        "seed": settings.seed,
        "settings": _method_settings(scene),
        "placement": _placement(settings) if data else None,
        "preview": _preview_request(scene),
        "on_end": partial(_ended, scene.session_uid),
    }
    arguments.update(overrides)
    training.show_previews_with(_show_preview)
    started = training.start(folder, more=more, **arguments)
    runs.set_run_folder(scene, folder.root)
    return started


def start_anew(scene: bpy.types.Scene) -> Training:
    """Train in a new run folder beside the scene's, on the chosen data set or that of the scene's run.

    Raises
    ------
    NerfError
        As `jobs.training.start` does, or when no folder is free.
    """
    before = runs.run_folder(scene)
    known = before.read() if before.settings.exists() else {}
    data = _path(scene.nerf.training.data) or training.trained_data(before, known)
    placement = _placement(scene.nerf.training) if scene.nerf.training.data.strip() else known.get("placement")
    if data is None and (before.dataset / "transforms.json").is_file():
        data = before.dataset
    return start_training(scene, folder=RunFolder(folders.free_run(before.root)), data=data, placement=placement)


def train_captured(scene: bpy.types.Scene, folder: Path, then_train: bool) -> None:
    """After a finished capture: the scene works with its run, and trains it when that was asked for."""
    runs.set_run_folder(scene, folder)
    if scene.nerf.training.method == "XRAY":  # left by radiographs; these are pictures of light
        scene.nerf.training.method = "FAST"
    if not then_train:
        return
    started = start_training(scene, data=None, placement=None)
    if bpy.app.background:
        common.wait_for(lambda: not started.under_way)
        if started.phase in ("failed", "interrupted"):
            raise NerfError(started.text)


def _method_settings(scene: bpy.types.Scene) -> dict[str, Any]:
    if scene.nerf.training.method == "XRAY":
        return field_settings(scene)
    return training_sampler.chosen_settings(scene.nerf.training)


def _path(text: str) -> Path | None:
    return Path(os.path.expanduser(bpy.path.abspath(text.strip()))).absolute() if text.strip() else None


def _placement(settings: bpy.types.PropertyGroup) -> dict[str, str]:
    return {"orientation": settings.orientation.lower(), "scale": settings.scale.lower()}


def _preview_request(scene: bpy.types.Scene) -> dict[str, Any] | None:
    settings = scene.nerf.training
    # A scene's camera is what is looked through; without one, or with a lens that NeRF has none for, no preview.
    if not settings.preview or bpy.app.background or scene.camera is None:
        return None
    # After a capture the window may show another scene than the one that is trained.
    layer = bpy.context.view_layer if scene == bpy.context.scene else scene.view_layers[0]
    layer.update()
    depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
    try:
        camera = camera_from_blender(scene.camera, depsgraph, Frame.of_render(scene.render))
    except NerfError:
        return None
    scale = settings.preview_size / max(camera.width, camera.height)
    small = camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
    return {"camera": small.to_dict(), "every_seconds": settings.preview_seconds}


def _show_preview(message: Message) -> None:
    space = runs.color_space(RunFolder(Path(message.params["run"])))
    camera = training.preview_camera()
    image = images.show_preview(message.arrays["rgba"], space, None if camera is None else Camera.from_dict(camera))
    live_preview.show_once(image, training.current())


def _ended(scene_uid: int, ended: Training) -> None:
    images.keep_preview()
    try:
        hidden = _add_object(scene_uid, RunFolder(ended.run), ended.phase)
        if hidden:
            ended.text += f". Hidden, because the new NeRF stands in its place: {', '.join(hidden)}"
    except NerfError as error:
        common.show_error(str(error))
    # Without a window whoever waits for the end tells it.
    if ended.phase in ("failed", "interrupted") and not bpy.app.background:
        common.show_error(ended.text)


def _add_object(scene_uid: int, folder: RunFolder, phase: str) -> list[str]:
    """Add the NeRF of a training that ended well, if the person wants that; which others are hidden for it."""
    if phase not in ("finished", "stopped") or not folder.checkpoint.is_file():
        return []
    if not runs.scene_again(scene_uid).nerf.training.add_object:
        return []
    return objects.add_after_training(scene_uid, folder)


def _outcome(operator: bpy.types.Operator, started: Training) -> set[str]:
    if not common.waits(operator):
        return {"FINISHED"}
    common.wait_for(lambda: not started.under_way)
    if started.phase in ("failed", "interrupted"):
        operator.report({"ERROR"}, started.text)
        return {"CANCELLED"}
    operator.report({"INFO"}, started.text)
    return {"FINISHED"}


CLASSES = (NERF_OT_train, NERF_OT_train_stop, NERF_OT_train_resume)


def register() -> None:
    """Train what is captured when that is asked for."""
    capture.on_captured.append(train_captured)


def unregister() -> None:
    """Leave the capture alone."""
    capture.on_captured.remove(train_captured)
