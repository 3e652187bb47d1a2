"""Explain a NeRF: build its story as a keyframed scene, and export that as a video."""

from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from ..explainer import build, export, gather, stage, window
from ..explainer.facts import Story
from ..jobs import pump, runs, tasks
from ..objects import chosen
from ..vendor.nerf_core.contract.errors import NerfError
from . import common

TICK = 0.01

# The one export under way.
_export: export.Export | None = None


class _Steps:
    """A story's requests: how many follow from the first answers."""

    def __init__(self, gathering: gather.Gathering) -> None:
        self._gathering = gathering

    def __len__(self) -> int:
        return self._gathering.count

    def __iter__(self) -> Iterator[Callable[[], tasks.Step]]:
        return self._gathering.steps()


class NERF_OT_explain(bpy.types.Operator):
    """Tell the story of one pixel of this NeRF as an animated scene."""

    bl_idname = "nerf.explain"
    bl_label = "Explain This NeRF"
    bl_description = (
        "Build the scene 'NeRF Explained': how this NeRF makes one pixel, from the ray to the error that training "
        "brings down, as keyframed objects. Your own scenes stay as they are"
    )

    wait: BoolProperty(
        name="Wait", description="Return when the story is there; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run and no other task under way."""
        if _export is not None:
            cls.poll_message_set("A story is being exported")
            return False
        return common.poll_trained(cls, context)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask for everything that is told, then build the scene."""
        scene = context.scene
        folder = chosen.chosen_run(scene)
        wanted = gather.from_inspector(folder) if scene.nerf.explainer.use_inspected else None

        def told(story: Story) -> Iterator[float]:
            made = yield from build.build(story)
            made[export.RUN_KEY] = str(folder.root)
            made["nerf_story"] = {
                "split": gathering.split,
                "view": gathering.index,
                "name": story.view,
                "pixel": [float(side) for side in story.pixel],
            }
            made.nerf.run_folder = runs.stored_path(folder.root)
            return made.session_uid

        gathering = gather.Gathering(folder, told, wanted)
        outcome = common.begin_task(self, "Explain", _Steps(gathering), undo=True, on_end=_show)
        task = tasks.current()
        if outcome == {"FINISHED"} and task.phase == "done":
            made = runs.scene_again(task.results[-1])
            seconds = (made.frame_end - made.frame_start + 1) / stage.FPS
            self.report({"INFO"}, f"{seconds:.0f} s in the scene '{made.name}'")
        return outcome


class NERF_OT_export_story(bpy.types.Operator):
    """Render the story as a video."""

    bl_idname = "nerf.export_story"
    bl_label = "Export Story"
    bl_description = "Render the scene 'NeRF Explained' frame by frame and write it as an MP4; Esc cancels"

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    first: IntProperty(name="First", description="Frame to begin with; 0: the story's", min=0, options={"SKIP_SAVE"})
    wait: BoolProperty(
        name="Wait", description="Return when the video is there; always so without a window", options={"SKIP_SAVE"}
    )
    last: IntProperty(name="Last", description="Frame to end with; 0: the story's", min=0, options={"SKIP_SAVE"})

    _timer = None
    _frames: Iterator[int] | None = None

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a story, and no other task under way."""
        if _export is not None or tasks.running():
            cls.poll_message_set("A story is being exported" if _export else f"{tasks.current().title} is under way")
            return False
        if stage.find() is None:
            cls.poll_message_set("There is no story yet: press Explain This NeRF")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Render all frames at once, then write the video."""
        made = self._begin(context)
        try:
            total = len(made.numbers)
            for done, _number in enumerate(made.frames(), 1):
                if done % 24 == 0 or done == total:
                    print(f"story: frame {done} of {total}", flush=True)
        except BaseException:
            _end()
            raise
        return self._bind(context)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Render a frame at a time, so that the window stays alive."""
        if common.waits(self) or context.window is None:
            return self.execute(context)
        return self._start(context)

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Render the next frame."""
        if _export is None or (event.type == "ESC" and event.value == "PRESS"):
            self.cancel(context)
            self.report({"WARNING"}, "The export was cancelled")
            return {"CANCELLED"}
        if event.type == "F12":
            return {"RUNNING_MODAL"}  # a render of the person's and the next frame would fight over the result
        if event.type != "TIMER" or bpy.app.is_job_running("RENDER"):
            return {"PASS_THROUGH"}
        return self._next(context)

    @common.tells_errors
    def _start(self, context: bpy.types.Context) -> set[str]:
        self._frames = self._begin(context).frames()
        manager = context.window_manager
        manager.progress_begin(0, len(_export.numbers))
        self._timer = manager.event_timer_add(TICK, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    @common.tells_errors
    def _next(self, context: bpy.types.Context) -> set[str]:
        try:
            number = next(self._frames, None)
        except BaseException:
            self.cancel(context)
            raise
        if number is None:
            self._leave(context)
            return self._bind(context)
        left = _export.seconds_left
        done, total = len(_export.pictures), len(_export.numbers)
        context.window_manager.progress_update(done)
        text = f"NeRF story: frame {done} of {total}" + ("" if left is None else f", {left:.0f} s left")
        context.workspace.status_text_set(f"{text}  (Esc: cancel)")
        pump.redraw()
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Leave nothing behind."""
        self._leave(context)
        _end()

    def _leave(self, context: bpy.types.Context) -> None:
        self._frames = None
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
            context.window_manager.progress_end()
        if context.workspace is not None:
            context.workspace.status_text_set(None)

    def _begin(self, context: bpy.types.Context) -> export.Export:
        global _export
        scene = stage.find()
        if scene is None:
            raise NerfError("There is no story yet: press Explain This NeRF.")
        settings = context.scene.nerf.explainer
        chosen_file = self.filepath or settings.out
        out = Path(bpy.path.abspath(chosen_file)) if chosen_file else export.free_place(scene)
        if self.first or self.last:
            frames = (self.first or scene.frame_start, self.last or scene.frame_end)
        else:
            frames = None
        _export = export.Export(scene, out, settings.scale, frames)
        pump.before_leaving(_end)
        return _export

    def _bind(self, context: bpy.types.Context) -> set[str]:
        made, uid = _export, context.scene.session_uid

        def ended(task: tasks.Task) -> None:
            _end()
            if task.phase == "done":
                runs.scene_again(uid).nerf.explainer.last = runs.stored_path(made.out)

        try:
            outcome = common.begin_task(self, "Story", [made.step], undo=False, on_end=ended)
        except BaseException:
            _end()
            raise
        if common.waits(self):
            ended(tasks.current())
        if outcome == {"FINISHED"} and not tasks.running():
            self.report({"INFO"}, f"Wrote '{made.out}'")
        return outcome


def under_way() -> export.Export | None:
    """The export that renders or is bound at the moment."""
    return _export


def _end() -> None:
    global _export
    made, _export = _export, None
    if made is not None:
        made.discard()


def _show(task: tasks.Task) -> None:
    """Show the story, where there is a window to show it in."""
    if task.phase != "done" or bpy.app.background:
        return
    scene = runs.scene_again(task.results[-1])
    windows = bpy.context.window_manager.windows
    if windows:
        window.show(scene, windows[0])


CLASSES = (NERF_OT_explain, NERF_OT_export_story)


def unregister() -> None:
    """Let go of an export."""
    _end()
