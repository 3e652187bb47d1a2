"""Asks the core for traces: one request at a time, and of what was pointed at meanwhile only the newest.

Answers arrive on the thread that reads from the core; a timer brings them to the main thread. What is shown stays
until the answer is there.
"""

import os
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..jobs import core, direct, pump
from ..objects import attach, chosen, create, layers
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.messages import Message
from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import settings as inspector_settings
from . import state
from .rays import Aim
from .settings import sampler_request
from .true_depth import true_depths

TAG = "inspector"
WAITING_INTERVAL = 0.004  # between two looks at whether a trace has arrived
REFRESH_SECONDS = 1.0  # between two traces of a run that is being trained, at least


@dataclass(frozen=True)
class Wanted:
    """What to trace, and what goes with the answer.

    Attributes
    ----------
    samplers : list of dict or None
        One or two, as `trace` has them.
    params : dict
        All else of the request.
    shown : dict
        What `State.show` gets beside the slots.
    """

    samplers: list[dict[str, Any] | None]
    params: dict[str, Any]
    shown: dict[str, Any]


@dataclass
class Flight:
    """What was asked for: an answer for each sampler arrives."""

    wanted: Wanted
    sent: float
    answers: dict[int, direct.Answer] = field(default_factory=dict)

    @property
    def arrived(self) -> bool:
        """Whether all answers are there."""
        return len(self.answers) == len(self.wanted.samplers)


@dataclass(frozen=True)
class Asked:
    """What was pointed at last: traced again when a setting changes."""

    aim: Aim
    pinned: bool


_lock = threading.Lock()
_flight: Flight | None = None
_next: Wanted | None = None
_asked: Asked | None = None
_refreshed = 0.0
seconds = 0.0  # from asking to having all answers, of the newest trace; for measurements


def ask(context: bpy.types.Context, aim: Aim, pinned: bool) -> None:
    """Show the rays of what is pointed at as soon as may be; returns at once.

    Raises
    ------
    NerfError
        When nothing is trained, or the core does not start.
    """
    global _next, _asked
    _asked = Asked(aim, pinned)
    _next = wanted(context, aim, pinned)
    _send()


def ask_again(context: bpy.types.Context) -> None:
    """Trace what is shown anew: a setting changed, or the NeRF itself."""
    current = state.current()
    if _asked is None or not (current.slots or current.error or waiting()):
        return
    try:
        ask(context, _asked.aim, _asked.pinned)
    except NerfError as error:
        fail(str(error))


def wanted(context: bpy.types.Context, aim: Aim, pinned: bool) -> Wanted:
    """What the scene's settings ask for of a pixel.

    Raises
    ------
    NerfError
        When nothing is trained.
    """
    scene = context.scene
    chosen_settings = scene.nerf.inspector
    folder = chosen.chosen_run(scene)
    nerf = attach.shown_nerf(scene, folder)
    placed = nerf is not None and layers.has_volume(nerf.matrix_world)
    matrix = layers.nerf_to_world(nerf) if placed else None
    pixels, index = aim.patch(chosen_settings.patch, chosen_settings.spacing)
    samplers = [sampler_request(chosen_settings.sampler, chosen_settings.samples)]
    if chosen_settings.compare:
        samplers.append(sampler_request(chosen_settings.sampler_b, chosen_settings.samples_b))
    depths = true_depths(scene, context.evaluated_depsgraph_get(), *aim.camera.rays(pixels))
    params = {
        "run": str(folder.root),
        "camera": aim.camera.to_dict(),
        "pixels": pixels.tolist(),
        "true_depth": depths.tolist(),
        "tag": TAG,
    }
    if matrix is not None:
        params["matrix"] = matrix.tolist()
    shown = {
        "camera": aim.camera,
        "pixels": pixels,
        "chosen_ray": index,
        "run": str(folder.root),
        "matrix": matrix,
        "bounds": create.run_bounds(folder),
        "view": aim.view,
        "pinned": pinned,
    }
    return Wanted(samplers, params, shown)


def waiting() -> bool:
    """Whether an answer is awaited."""
    return _flight is not None or _next is not None


def pin() -> None:
    """What is shown, or awaited, no longer follows the pointer."""
    global _asked, _next
    if _asked is not None:
        _asked = replace(_asked, pinned=True)
    if _next is not None:
        _next = replace(_next, shown={**_next.shown, "pinned": True})
    if _flight is not None:
        _flight.wanted.shown["pinned"] = True
    current = state.current()
    if not current.pinned:
        current.pinned = True
        current.changed()


def fail(sentence: str) -> None:
    """Tell why there is nothing new."""
    current = state.current()
    if current.error != sentence:
        current.error = sentence
        current.changed()


def forget() -> None:
    """Drop what is asked for; its answer shows nothing."""
    global _flight, _next, _asked
    flight, _flight, _next, _asked = _flight, None, None, None
    process = core.running()
    if flight is not None and process is not None:
        try:
            process.request_direct("render.cancel", {"tag": TAG}, lambda _answer: None)
        except NerfError:
            pass  # it ends just now


def settle() -> bool:
    """Show what has arrived, and ask for what comes next; whether an answer is still awaited. For the main thread."""
    global _flight, seconds
    with _lock:
        flight = _flight
        arrived = flight is not None and flight.arrived
    if arrived:
        _flight = None
        seconds = time.monotonic() - flight.sent
        _show(flight)
        if _next is None and _is_moved():
            ask_again(bpy.context)  # nothing told of a move while the answer was awaited
    try:
        _send()
    except NerfError as error:
        fail(str(error))
    return waiting()


def _send() -> None:
    """Ask for what is wanted, unless an answer is awaited."""
    global _flight, _next
    if _flight is not None or _next is None:
        _wake()
        return
    asked, _next = _next, None
    flight = Flight(asked, time.monotonic())
    process = core.start()
    _flight = flight
    for index, sampler in enumerate(asked.samplers):

        def deliver(answer: direct.Answer, index: int = index) -> None:
            with _lock:
                flight.answers[index] = answer

        try:
            process.request_direct("trace", {**asked.params, "sampler": sampler}, deliver)
        except NerfError:
            _flight = None
            raise
    _wake()


def _show(flight: Flight) -> None:
    slots, errors = [], []
    for index, sampler in enumerate(flight.wanted.samplers):
        answer = flight.answers[index]
        if answer.error is None:
            slots.append(state.Slot(sampler or {}, answer.arrays, answer.result))
        elif not answer.error.cancelled:
            errors.append(str(answer.error))
    if slots:
        state.current().show(slots, **flight.wanted.shown)
    if errors:
        fail(errors[0])


def _tick() -> float | None:
    return WAITING_INTERVAL if settle() else None


def _wake() -> None:
    if waiting() and not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=WAITING_INTERVAL, persistent=True)


def wait() -> None:
    """Until the answer is there; where nobody watches."""
    pump.pump_until(lambda: not settle())


def _listen(message: Message) -> None:
    """The core said something: while it trains what is shown, that changes."""
    global _refreshed
    run, current = message.params.get("run"), state.current()
    if message.method != "progress" or message.params.get("task") != "train" or not isinstance(run, str):
        return
    now = time.monotonic()
    same = current.slots and os.path.abspath(current.run) == os.path.abspath(run)
    if same and not waiting() and now - _refreshed >= REFRESH_SECONDS:
        _refreshed = now
        ask_again(bpy.context)


@persistent
def _scene_changed(scene: bpy.types.Scene, _depsgraph: Any = None) -> None:
    """The NeRF was moved: its rays are others. While an answer is awaited, `settle` looks when it is there."""
    if waiting() or bpy.app.background or bpy.context.scene != scene or not _is_moved():
        return
    # Later: asking evaluates the scene, which this is called from.
    if not bpy.app.timers.is_registered(_ask_moved):
        bpy.app.timers.register(_ask_moved, first_interval=0.0)


def _is_moved() -> bool:
    """Whether the NeRF is elsewhere than where what is shown was traced."""
    current = state.current()
    if not current.slots or current.matrix is None:
        return False
    nerf = attach.shown_nerf(bpy.context.scene, RunFolder(Path(current.run)))
    return nerf is not None and not np.array_equal(layers.nerf_to_world(nerf), current.matrix)


def _ask_moved() -> None:
    ask_again(bpy.context)


@persistent
def _leave_file(*_arguments: Any) -> None:
    forget()
    state.current().clear()


def register() -> None:
    """Hear of training, of moved NeRFs, of other files and of the person's settings."""
    core.listen(_listen)
    bpy.app.handlers.depsgraph_update_post.append(_scene_changed)
    bpy.app.handlers.load_pre.append(_leave_file)
    inspector_settings.on_change["trace"] = ask_again


def unregister() -> None:
    """Let go of everything."""
    inspector_settings.on_change.pop("trace", None)
    for handlers, handler in (
        (bpy.app.handlers.depsgraph_update_post, _scene_changed),
        (bpy.app.handlers.load_pre, _leave_file),
    ):
        if handler in handlers:
            handlers.remove(handler)
    for timer in (_tick, _ask_moved):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    _leave_file()
