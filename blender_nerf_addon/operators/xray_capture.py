"""Operators that take radiographs: compute them, train on them, cancel, and look at the meshes before."""

import bpy
from bpy.props import BoolProperty

from ..importers import images
from ..jobs import runs, training
from ..jobs.environment import find_interpreter
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.messages import Message
from ..xray import radiographs
from ..xray.radiographs import Radiographs
from . import capture, common, live_preview, train


class NERF_OT_xray_capture(bpy.types.Operator):
    """Compute radiographs of the closed meshes and CTs from all views of the rig."""

    bl_idname = "nerf.xray_capture"
    bl_label = "Take Radiographs"
    bl_description = "Compute radiographs of the closed meshes and imported CTs from all views of the rig"

    then_train: BoolProperty(name="Then Train", description="Train an attenuation field on them", options={"SKIP_SAVE"})
    wait: BoolProperty(
        name="Wait", description="Return when all is done; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Say what the button does."""
        after = ", then train an attenuation field on them" if properties.then_train else ""
        return f"{cls.bl_description}{after}"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One capture at a time."""
        if radiographs.running():
            cls.poll_message_set("Radiographs are under way")
            return False
        if capture.active_job() is not None:
            cls.poll_message_set("A capture is going on")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start; wait for the end where nobody watches."""
        if self.then_train:
            if training.under_way():
                raise NerfError("A training is under way: stop it first, or press Radiographs Only.")
            find_interpreter()
        waiting = common.waits(self)
        radiographs.show_with(_show)
        made = radiographs.start(
            context.scene,
            context.view_layer,
            then_train=self.then_train,
            on_end=None if waiting else _ended,
        )
        if not waiting:
            return {"FINISHED"}
        common.wait_for(lambda: not made.under_way)
        if made.phase != "done":
            self.report({"ERROR"}, made.text)
            return {"CANCELLED"}
        for warning in made.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, made.text)
        started = _then_train(made)
        if started is not None:
            common.wait_for(lambda: not started.under_way)
            if started.phase in ("failed", "interrupted"):
                raise NerfError(started.text)
        return {"FINISHED"}


class NERF_OT_xray_cancel(bpy.types.Operator):
    """End the radiographs that are under way; nothing half made is left."""

    bl_idname = "nerf.xray_cancel"
    bl_label = "Cancel"
    bl_description = "End the radiographs that are under way; nothing half made is left"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while some are under way."""
        return radiographs.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Cancel them."""
        radiographs.cancel()
        return {"FINISHED"}


class NERF_OT_xray_check(bpy.types.Operator):
    """Look whether all meshes that attenuate are closed, and name those that are not."""

    bl_idname = "nerf.xray_check"
    bl_label = "Check Meshes"
    bl_description = "Look whether all meshes that attenuate X-rays are closed, and name those that are not"

    wait: BoolProperty(name="Wait", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """While no radiographs are under way."""
        return not radiographs.running()

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start; wait for the end where nobody watches."""
        context.view_layer.update()
        waiting = common.waits(self)
        made = radiographs.start(context.scene, context.view_layer, checks_only=True)
        if not waiting:
            return {"FINISHED"}
        common.wait_for(lambda: not made.under_way)
        if made.phase != "done":
            raise NerfError(made.text)
        for warning in made.warnings:
            self.report({"WARNING"}, warning)
        if not made.warnings:
            self.report({"INFO"}, made.text)
        return {"FINISHED"}


def _show(message: Message) -> None:
    """Put the newest radiograph into the preview's image."""
    camera = message.params.get("camera")
    image = images.show_preview(message.arrays["rgba"], "srgb", Camera.from_dict(camera) if camera else None)
    live_preview.show_once(image, radiographs.current())


def _then_train(made: Radiographs) -> training.Training | None:
    """The scene works with the new run, and trains it when that was asked for."""
    scene = runs.scene_again(made.scene_uid)
    scene.nerf.training.method = "XRAY"
    if not made.then_train:
        return None
    return train.start_training(scene, data=None, placement=None)


def _ended(made: Radiographs) -> None:
    images.keep_preview()
    if made.phase == "failed":
        common.show_error(made.text)
    if made.phase != "done":
        return
    try:
        _then_train(made)
    except NerfError as error:
        common.show_error(str(error))


CLASSES = (NERF_OT_xray_capture, NERF_OT_xray_cancel, NERF_OT_xray_check)
