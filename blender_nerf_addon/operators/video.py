"""Render a turntable or the scene's animation as a video and pictures, and open what was rendered."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty

from ..engine.settings import render_sampler
from ..importers import images
from ..jobs import core, runs, tasks, training
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.messages import Message
from ..videos import plan as plans
from ..videos import subject
from . import common, live_preview, reading

_cameras: list[dict[str, Any]] = []  # of the frames that are rendered or were last


class _Renders:
    """What both have in common."""

    wait: BoolProperty(
        name="Wait", description="Return when all is rendered; always so without a window", options={"SKIP_SAVE"}
    )

    use_objects: BoolProperty(
        name="NeRF Objects",
        description="Render the scene's NeRF objects where they stand, when it has any, and not its run where it was "
        "trained",
        default=True,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs something trained, and no other task under way."""
        if reading.under_way() or tasks.running():
            cls.poll_message_set(f"{'An animation' if reading.under_way() else tasks.current().title} is under way")
            return False
        if not subject.is_there(context.scene):
            cls.poll_message_set("Nothing is trained yet")
            return False
        return True

    def start(self, context: bpy.types.Context, plan: plans.Plan) -> set[str]:
        """Ask the core for a plan's frames."""
        scene = context.scene
        request = plan.request(scene.nerf.video)
        request["shared"]["sampler"] = render_sampler(scene)
        step = tasks.Step("video", request, partial(_made, scene.session_uid), plan.title)
        return _begin(self, plan.title, step)


class NERF_OT_render_turntable(_Renders, bpy.types.Operator):
    """Render one turn around the NeRF."""

    bl_idname = "nerf.render_turntable"
    bl_label = "Render Turntable"
    bl_description = "Render one turn around the NeRF's box, as a video or pictures, into the run's folder 'renders'"

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Plan the cameras and ask for them."""
        return self.start(context, plans.plan_turntable(context.scene, context.view_layer, self.use_objects))


class NERF_OT_render_animation(reading.ReadsFrames, _Renders, bpy.types.Operator):
    """Render the scene's frame range through its camera."""

    bl_idname = "nerf.render_animation"
    bl_label = "Render Animation"
    bl_description = (
        "Render the NeRF over the scene's frame range through its camera, as a video or pictures, into the run's "
        "folder 'renders'"
    )

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read all frames, then ask for them."""
        plan = plans.animation(context.scene)
        for _frame in plans.read_animation(context.scene, context.view_layer, plan, self.use_objects):
            pass
        return self.start(context, plan)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Read the frames a few at a time, so that the window stays alive; Esc cancels."""
        if common.waits(self) or context.window is None:
            return self.execute(context)
        plan = plans.animation(context.scene)
        frames = plans.read_animation(context.scene, context.view_layer, plan, self.use_objects)
        return self.read(context, frames, lambda: self.start(context, plan), "NeRF animation")


class NERF_OT_open_video(bpy.types.Operator):
    """Open what was rendered last, or its folder."""

    bl_idname = "nerf.open_video"
    bl_label = "Open"
    bl_description = "Open what was rendered last with the system's own program"

    place: EnumProperty(
        name="Place",
        items=(
            ("FILE", "Result", "The video, or the folder of pictures"),
            ("FOLDER", "Folder", "The folder that it lies in"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a result."""
        if last_result(context.scene) is None:
            cls.poll_message_set("Nothing was rendered yet")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it."""
        path = last_result(context.scene)
        if path is None or not path.exists():
            raise NerfError(f"'{path}' is not there any more." if path else "Nothing was rendered yet.")
        bpy.ops.wm.path_open(filepath=str(path if self.place == "FILE" else path.parent))
        return {"FINISHED"}


def last_result(scene: bpy.types.Scene) -> Path | None:
    """The video or folder of pictures that was rendered last; it may have been moved since."""
    stored = scene.nerf.video.last
    return Path(os.path.abspath(bpy.path.abspath(stored))) if stored else None


def _begin(operator: bpy.types.Operator, title: str, step: tasks.Step) -> set[str]:
    global _cameras
    _cameras = [frame["camera"] for frame in step.params["frames"]]
    core.listen(_listen)
    outcome = common.begin_task(operator, title, [lambda: step], undo=False, on_end=lambda _task: images.keep_preview())
    task = tasks.current()
    task.shows_preview = task.running
    if outcome == {"FINISHED"} and task.results:
        operator.report({"INFO"}, f"Rendered '{task.results[0]}'")
    return outcome


def _made(scene_uid: int, result: dict[str, Any], _arrays: dict[str, Any]) -> Path:
    """The core has written everything: remember where."""
    path = Path(result["out"] or Path(result["pictures"][0]).parent)
    runs.scene_again(scene_uid).nerf.video.last = runs.stored_path(path)
    return path


def _listen(message: Message) -> None:
    """Show the newest frame in the image "NeRF Preview", unless a training shows its own there."""
    if message.method != "video.frame" or not tasks.running() or message.params.get("tag") != tasks.TAG:
        return
    trained = training.current()
    if bpy.app.background or (trained is not None and trained.under_way and trained.params.get("preview")):
        return
    index = int(message.params["index"])
    camera = Camera.from_dict(_cameras[index]) if 0 <= index < len(_cameras) else None
    image = images.show_preview(message.arrays["rgba"], "srgb", camera)
    live_preview.show_once(image, tasks.current())


CLASSES = (NERF_OT_render_turntable, NERF_OT_render_animation, NERF_OT_open_video)


def unregister() -> None:
    """Let go of the scene."""
    _cameras.clear()
    reading.stop()
