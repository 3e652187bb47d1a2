"""Short work for the core, one piece after another: pictures, density points, traces. One task at a time."""

import queue
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..vendor.nerf_core.contract.errors import NerfError
from . import core, pump
from .calls import CoreError

TAG = "task"  # of its requests, for cancelling them


@dataclass(frozen=True)
class Step:
    """One request.

    Attributes
    ----------
    method : str
    params : mapping
    handle : callable
        Makes Blender's data of the result and its arrays; what it returns joins the task's results. A generator is
        gone on with a little at a time, so that Blender does not stand still; it yields the part that is done.
    label : str
        What a person calls it.
    prepare : callable, optional
        What takes long and needs nothing of Blender: called in a thread with the result's arrays, before `handle`,
        which gets what it returned in their place.
    """

    method: str
    params: Mapping[str, Any]
    handle: Callable[[dict[str, Any], Any], Any]
    label: str = ""
    prepare: Callable[[dict[str, Any]], Any] | None = None


@dataclass
class Task:
    """A task under way, or the last one.

    Attributes
    ----------
    title : str
        Such as "Render".
    phase : str
        'running', then 'done', 'failed' (its error is in `text`) or 'cancelled'.
    fraction : float
        0 to 1, over all steps.
    seconds_left : float or None
        Where the core tells it.
    results : list
        What the steps' handlers returned.
    """

    title: str
    total: int
    phase: str = "running"
    text: str = ""
    done: int = 0
    fraction: float = 0.0
    seconds_left: float | None = None
    results: list[Any] = field(default_factory=list)
    on_end: Callable[["Task"], None] | None = field(default=None, repr=False)
    shows_preview: bool = False  # whether its newest picture is in the image "NeRF Preview"

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.phase == "running"


# Told of every change; the command line prints from here.
on_progress: list[Callable[[Task], None]] = []

_current: Task | None = None
_steps: Iterator[Callable[[], Step]] = iter(())
_preparing = 0  # threads under way
_slices: tuple["Task", Step, Generator[float, None, Any]] | None = None  # a handler that is at work
_prepared: "queue.SimpleQueue[Callable[[], None]]" = queue.SimpleQueue()


def current() -> Task | None:
    """The task under way, or the session's last one."""
    return _current


def running() -> bool:
    """Whether one is under way."""
    return _current is not None and _current.running


def start(
    title: str, steps: Iterable[Callable[[], Step]], total: int, on_end: Callable[[Task], None] | None = None
) -> Task:
    """Begin; returns at once.

    Parameters
    ----------
    title : str
    steps : iterable of callable
        Each is called when its turn comes, and gives the step.
    total : int
        How many.
    on_end : callable, optional
        Called with the task when it has ended in whatever manner, other than by leaving the file.

    Raises
    ------
    NerfError
        When another one is under way or the core does not start.
    """
    global _current, _steps
    if running():
        raise NerfError(f"'{_current.title}' is under way; wait for it or cancel it.")
    core.start()
    task = Task(title, total, on_end=on_end)
    _current, _steps = task, iter(steps)
    pump.before_leaving(_leave)
    pump.add_source(_collect)
    _next(task)
    return task


def cancel() -> None:
    """End the task after what it has made so far."""
    if not running():
        return
    if _slices is not None:
        _current.results.append(None)  # something was made: the person can undo it
    _stop_slices()
    _end(_current, "cancelled", f"{_current.title}: cancelled")
    process = core.running()
    if process is not None:
        process.request("render.cancel", {"tag": TAG})


def _next(task: Task) -> None:
    try:
        make = next(_steps)
    except StopIteration:
        task.fraction = 1.0
        _end(task, "done", f"{task.title}: done")
        return
    try:
        step = make()
        task.text = step.label or task.title
        core.request(
            step.method,
            {**step.params, "tag": TAG},
            on_result=lambda result, arrays: _arrived(task, step, result, arrays),
            on_error=lambda error: _failed(task, error),
            on_progress=lambda told: _progress(task, told),
        )
    except Exception as error:
        _fail(task, error)
        return
    _tell(task)


def _arrived(task: Task, step: Step, result: dict[str, Any], arrays: dict[str, Any]) -> None:
    global _preparing
    if not task.running:
        return
    if step.prepare is None:
        _handle(task, step, result, arrays)
        return

    def work() -> None:
        try:
            made = step.prepare(arrays)
        except Exception as error:
            # The name of an exception ends with its block.
            _prepared.put(lambda error=error: _fail(task, error))
        else:
            _prepared.put(lambda: _handle(task, step, result, made))

    # Not a daemon: Blender, as it quits, waits for the file to be whole.
    _preparing += 1
    threading.Thread(target=work, name="NeRF Toolkit result").start()
    pump.redraw()


def _collect(seconds: float) -> int:
    global _preparing
    if _slices is not None:
        return _advance(seconds)
    try:
        finish = _prepared.get_nowait()
    except queue.Empty:
        if _preparing:
            pump.redraw()  # keeps the timer's short interval
        return 0
    _preparing -= 1
    finish()
    return 1


def _handle(task: Task, step: Step, result: dict[str, Any], made: Any) -> None:
    global _slices
    if not task.running:
        return
    try:
        handled = step.handle(result, made)
    except Exception as error:
        _fail(task, error)
        return
    if isinstance(handled, Generator):
        _slices = (task, step, handled)
        pump.redraw()  # keeps the timer's short interval
        return
    _handled(task, handled)


def _handled(task: Task, made: Any) -> None:
    task.results.append(made)
    task.done += 1
    task.fraction = task.done / max(task.total, 1)
    _next(task)


def _advance(seconds: float) -> int:
    """Go on with a handler that is at work, for about so long."""
    global _slices
    task, step, work = _slices
    until = time.monotonic() + seconds
    while True:
        try:
            part = next(work)
        except StopIteration as end:
            _slices = None
            _handled(task, end.value)
            return 1
        except Exception as error:
            _slices = None
            _fail(task, error)
            return 1
        if time.monotonic() >= until:
            task.text = f"{step.label or task.title}, {part:.0%}"
            task.fraction = (task.done + part) / max(task.total, 1)
            _tell(task)
            return 1


def _stop_slices() -> None:
    global _slices
    if _slices is not None:
        _slices[2].close()
        _slices = None


def _fail(task: Task, error: Exception) -> None:
    """End with an error: ours is a sentence already, any other is a bug and leaves its traceback in the terminal."""
    if not task.running:
        return
    if isinstance(error, NerfError):
        _end(task, "failed", str(error))
        return
    traceback.print_exception(error)
    _end(task, "failed", f"{task.title} failed: {type(error).__name__}: {error}")


def _failed(task: Task, error: CoreError) -> None:
    if not task.running:
        return
    if error.cancelled:
        _end(task, "cancelled", f"{task.title}: cancelled")
    else:
        _end(task, "failed", str(error))


def _progress(task: Task, told: Mapping[str, Any]) -> None:
    if not task.running:
        return
    if told.get("task") == "video":
        task.text, task.seconds_left = str(told.get("text") or task.title), told.get("seconds_left")
    if told.get("task") in ("render", "points", "trace", "mesh", "volume", "video", "dataset", "ct"):
        part = (told.get("done") or 0.0) / (told.get("total") or 1.0)
        task.fraction = (task.done + min(1.0, max(0.0, part))) / max(task.total, 1)
    elif told.get("text"):
        task.text = str(told["text"])
    _tell(task)


def _end(task: Task, phase: str, text: str) -> None:
    task.phase, task.text = phase, text
    _tell(task)
    if task.on_end is not None:
        task.on_end(task)


def _tell(task: Task) -> None:
    pump.redraw()
    for callback in list(on_progress):
        callback(task)


def _leave() -> None:
    # What its handlers would make belongs to the file that is being left.
    _stop_slices()
    if running():
        _current.on_end = None
        _current.phase, _current.text = "cancelled", "Cancelled"


def unregister() -> None:
    """Forget everything."""
    global _current, _steps
    _stop_slices()
    _current, _steps = None, iter(())
    on_progress.clear()
