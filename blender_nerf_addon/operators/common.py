"""What the operators share: errors told as Blender tells them, and waiting where nobody watches."""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import bpy

from ..jobs import pump, tasks
from ..jobs.calls import CoreError
from ..objects import chosen
from ..vendor.nerf_core.contract.errors import NerfError

Execute = Callable[[Any, bpy.types.Context], set[str]]


def tells_errors(execute: Execute) -> Execute:
    """Report a `NerfError` that `execute` raises and return ``{'CANCELLED'}``."""

    @wraps(execute)
    def wrapped(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except NerfError as error:
            if not (isinstance(error, CoreError) and error.cancelled):
                self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    return wrapped


def waits(operator: bpy.types.Operator) -> bool:
    """Whether the operator runs to completion: it was told to, or there is no window to come back to."""
    return bpy.app.background or bool(getattr(operator, "wait", False))


def wait_for(condition: Callable[[], bool]) -> None:
    """Pump by hand until `condition` holds."""
    pump.pump_until(condition)


def begin_task(
    operator: bpy.types.Operator,
    title: str,
    steps: Sequence[Callable[[], tasks.Step]],
    undo: bool,
    on_end: Callable[[tasks.Task], None] | None = None,
) -> set[str]:
    """Start a task; where nobody watches, wait for its end and report it.

    Parameters
    ----------
    operator : Operator
        That was called.
    title : str
    steps : sequence of callable
    undo : bool
        Whether the task changes the scene: what arrives after the operator returned needs an undo step of its own.
    on_end : callable, optional
        Called with the task when it has ended in whatever manner, where somebody watches.
    """
    waiting = waits(operator)
    ended = partial(_task_ended, undo=undo, on_end=on_end)
    task = tasks.start(title, steps, len(steps), on_end=None if waiting else ended)
    if not waiting:
        return {"FINISHED"} if task.phase != "failed" else {"CANCELLED"}
    wait_for(lambda: not task.running)
    if task.phase == "failed":
        operator.report({"ERROR"}, task.text)
    return {"FINISHED"} if task.phase == "done" else {"CANCELLED"}


def poll_trained(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Needs a trained run and no other task under way."""
    if tasks.running():
        cls.poll_message_set(f"{tasks.current().title} is under way")
        return False
    if not chosen.has_run(context.scene):
        cls.poll_message_set("Nothing is trained yet")
        return False
    return True


def _task_ended(task: tasks.Task, undo: bool, on_end: Callable[[tasks.Task], None] | None) -> None:
    if on_end is not None:
        on_end(task)
    if task.phase == "failed":
        show_error(task.text)
    elif undo and task.results and not bpy.app.background:
        bpy.ops.ed.undo_push(message=task.title)


def show_error(text: str) -> None:
    """Tell of an error that came when no operator was running: in Blender's own pop-up and in the terminal."""
    print(f"NeRF Toolkit: {text}")
    if bpy.app.background or bpy.context.window_manager is None:
        return

    def draw(menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
        for line in _wrapped(text):
            menu.layout.label(text=line)

    bpy.context.window_manager.popup_menu(draw, title="NeRF", icon="ERROR")


def _wrapped(text: str, width: int = 90) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [text]
