"""Operators of the capture: take the pictures, stop, preview the cameras, make the bounds box."""

from collections.abc import Callable
from pathlib import Path

import bpy
from bpy.props import BoolProperty

from ..capture import bounds, planner, preview
from ..capture.driver import CaptureJob
from ..engine.engine import ID as NERF_ENGINE
from ..jobs import pump, training
from ..jobs.environment import find_interpreter
from ..vendor.nerf_core.contract.errors import NerfError

TICK = 0.01  # seconds between a view's end and the next one's start, in which Blender handles events

# Called as hook(scene, run_folder, then_train) after a finished capture; training is started from here.
on_captured: list[Callable[[bpy.types.Scene, Path, bool], None]] = []

_active: CaptureJob | None = None
_stop_asked = False


def active_job() -> CaptureJob | None:
    """The capture that is going on in this session, for panels to draw."""
    return _active


def stop_asked() -> bool:
    """Whether the capture that is going on ends at the next view."""
    return _stop_asked


def ask_to_stop() -> None:
    """Have the capture that is going on end at the next view."""
    global _stop_asked
    _stop_asked = _active is not None


class NERF_OT_capture(bpy.types.Operator):
    """Take pictures of the subject from all cameras; a capture that was stopped goes on where it was."""

    bl_idname = "nerf.capture"
    bl_label = "Capture"
    bl_description = "Take pictures of the subject from all cameras; a capture that was stopped goes on where it was"
    bl_options = {"REGISTER"}

    then_train: BoolProperty(
        name="Then Train", description="Start the training when all pictures are taken", options={"SKIP_SAVE"}
    )

    _timer = None

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Say what the button does."""
        after = ", then train on them" if properties.then_train else ""
        return f"Take pictures of the subject from all cameras{after}. One that was stopped goes on where it was"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One capture at a time."""
        if _active is not None:
            cls.poll_message_set("A capture is going on")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take all pictures before returning: without a window, or called from a script."""
        if not self._begin(context):
            return {"CANCELLED"}
        job = _active
        try:
            while job.step():
                print(f"Capture: {job.text}", flush=True)
                pump.tick(0.0)  # no timer fires meanwhile, and a training may be going on
        except NerfError as error:
            return self._fail(error)
        finally:
            _end()
        return self._succeed(job)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Take one picture per tick, so that the person can watch and stop."""
        if bpy.app.background or context.window is None:
            return self.execute(context)
        if not self._begin(context):
            return {"CANCELLED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(TICK, window=context.window)
        manager.progress_begin(0, _active.total)
        manager.modal_handler_add(self)
        self._show(context)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take the next picture, or end."""
        job = _active
        if job is None:  # another file was loaded, or the add-on is going
            self._leave(context)
            return {"CANCELLED"}
        if event.type == "ESC" and event.value == "PRESS":
            ask_to_stop()
            self._show(context)
            return {"RUNNING_MODAL"}
        if event.type == "Z" and (event.ctrl or event.oskey):
            return {"RUNNING_MODAL"}  # an undo would take the scene from under the capture
        if event.type == "F12":
            return {"RUNNING_MODAL"}  # a render of the person's and the next view would fight over the scene
        if event.type != "TIMER" or bpy.app.is_job_running("RENDER"):
            return {"PASS_THROUGH"}
        if _stop_asked:
            self._leave(context)
            self.report({"WARNING"}, f"Capture stopped: {job.text}; Capture again to go on")
            return {"CANCELLED"}
        try:
            more = job.step()
        except NerfError as error:
            self._leave(context)
            return self._fail(error)
        except Exception:
            self._leave(context)
            raise
        if more:
            self._show(context)
            return {"PASS_THROUGH"}
        self._leave(context)
        return self._succeed(job)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends the operator: the window closes or another file is loaded."""
        self._leave(context)

    def _begin(self, context: bpy.types.Context) -> bool:
        global _active, _stop_asked
        scene, layer = context.scene, context.view_layer
        try:
            _check_engine(scene)
            if self.then_train:
                _check_training()
            plan = planner.make_plan(scene, layer, scene.nerf.capture)
            job = CaptureJob(scene, layer, scene.nerf.capture, plan)
        except NerfError as error:
            self._fail(error)
            return False
        _active, _stop_asked = job, False
        if job.statement:
            self.report({"INFO"}, job.statement)
        return True

    def _fail(self, error: NerfError) -> set[str]:
        self.report({"ERROR"}, str(error))
        return {"CANCELLED"}

    def _succeed(self, job: CaptureJob) -> set[str]:
        self.report({"INFO"}, f"Captured {job.total} views into '{job.run.root}'")
        for hook in list(on_captured):
            try:
                hook(job.scene, job.run.root, self.then_train)
            except NerfError as error:
                self.report({"ERROR"}, str(error))
        return {"FINISHED"}

    def _show(self, context: bpy.types.Context) -> None:
        job = _active
        context.window_manager.progress_update(job.done)
        ending = "stopping after this view" if _stop_asked else "Esc: stop at the next view"
        context.workspace.status_text_set(f"NeRF capture: {job.text}  ({ending})")
        _redraw(context)

    def _leave(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
            context.window_manager.progress_end()
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        _end()
        _redraw(context)


class NERF_OT_capture_stop(bpy.types.Operator):
    """End the capture at the next view; what was captured stays, and Capture goes on from there."""

    bl_idname = "nerf.capture_stop"
    bl_label = "Stop Capture"
    bl_description = "End the capture at the next view; what was captured stays, and Capture goes on from there"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while a capture is going on."""
        return _active is not None and not _stop_asked

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask the running capture to end."""
        ask_to_stop()
        return {"FINISHED"}


class NERF_OT_preview_cameras(bpy.types.Operator):
    """Show the cameras that a capture would use, as camera objects in a collection of their own."""

    bl_idname = "nerf.preview_cameras"
    bl_label = "Preview Cameras"
    bl_description = "Show the cameras that a capture would use, as camera objects in a collection of their own"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make or renew the preview."""
        scene = context.scene
        try:
            plan = planner.make_plan(scene, context.view_layer, scene.nerf.capture)
            count = preview.show(scene, context.view_layer, scene.nerf.capture, plan)
        except NerfError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{count} cameras in the collection '{scene.nerf.capture.preview_collection.name}'")
        return {"FINISHED"}


class NERF_OT_clear_cameras(bpy.types.Operator):
    """Remove the previewed cameras."""

    bl_idname = "nerf.clear_cameras"
    bl_label = "Clear Preview"
    bl_description = "Remove the previewed cameras"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is a preview."""
        return context.scene.nerf.capture.preview_collection is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove what the preview made."""
        preview.clear(context.scene.nerf.capture)
        return {"FINISHED"}


class NERF_OT_make_bounds(bpy.types.Operator):
    """Find the subject's bounds and show them as a box that can be moved and scaled."""

    bl_idname = "nerf.make_bounds"
    bl_label = "Find Bounds"
    bl_description = "Find the subject's bounds and show them as a box that can be moved and scaled"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make the box, or put the one that is there around the subject again."""
        scene, layer = context.scene, context.view_layer
        settings = scene.nerf.capture
        layer.update()
        try:
            subject = planner.find_subject(layer, settings)
            found = bounds.find_bounds(context.evaluated_depsgraph_get(), layer, subject)
        except NerfError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        box = planner.bounds_object(scene, settings)
        if box is None:
            settings.bounds_object = bounds.make_box(scene, found)
        else:
            bounds.place_box(box, found)
        settings.bounds_subject.clear()
        for item in sorted(subject or (), key=lambda item: item.name):
            settings.bounds_subject.add().object = item
        return {"FINISHED"}


def _check_engine(scene: bpy.types.Scene) -> None:
    """Refuse to photograph the NeRF itself.

    Raises
    ------
    NerfError
        When the scene is rendered by our own engine.
    """
    if scene.render.engine == NERF_ENGINE:
        raise NerfError(
            "The scene's render engine is NeRF Toolkit, which shows NeRFs alone: choose the engine that takes the "
            "pictures, such as Cycles or EEVEE, then capture."
        )


def _check_training() -> None:
    """Say before the first picture is taken that training could not start after the last.

    Raises
    ------
    NerfError
        When something is trained already, or there is no core.
    """
    if training.under_way():
        raise NerfError("A training is under way: stop it first, or press Capture Only.")
    find_interpreter()


def _end() -> None:
    """The running capture, if any, is over: let go of it."""
    global _active, _stop_asked
    job, _active, _stop_asked = _active, None, False
    if job is not None:
        job.close()


def _redraw(context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"VIEW_3D", "STATUSBAR"}:
                area.tag_redraw()


@bpy.app.handlers.persistent
def _on_load(*_: object) -> None:
    """Another file is about to be loaded: the capture's scene goes."""
    _end()


CLASSES = (
    NERF_OT_capture,
    NERF_OT_capture_stop,
    NERF_OT_preview_cameras,
    NERF_OT_clear_cameras,
    NERF_OT_make_bounds,
)


def register() -> None:
    """Watch for other files being loaded."""
    bpy.app.handlers.load_pre.append(_on_load)


def unregister() -> None:
    """End a capture that is going on."""
    _end()
    bpy.app.handlers.load_pre.remove(_on_load)
