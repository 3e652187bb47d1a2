"""The one timer: it lets what has arrived from other processes happen on the main thread, a little at a time."""

import sys
import time
import traceback
from collections.abc import Callable

import bpy
from bpy.app.handlers import persistent

TICK_SECONDS = 0.02  # of the main thread, at most
BUSY_INTERVAL = 0.04
IDLE_INTERVAL = 0.25
REDRAW_INTERVAL = 0.2
_AREAS = {"VIEW_3D", "IMAGE_EDITOR", "PREFERENCES"}

# A source handles what waits for about so many seconds and returns how many things it handled.
Source = Callable[[float], int]

_sources: list[Source] = []
_before_leaving: list[Callable[[], None]] = []
_redraw_wanted = False
_last_redraw = 0.0


def add_source(source: Source) -> None:
    """Have `source` called at every tick."""
    if source not in _sources:
        _sources.append(source)


def remove_source(source: Source) -> None:
    """No longer call `source`."""
    if source in _sources:
        _sources.remove(source)


def before_leaving(callback: Callable[[], None]) -> None:
    """Have `callback` called when another file is loaded and when the add-on is disabled."""
    if callback not in _before_leaving:
        _before_leaving.append(callback)


def redraw() -> None:
    """Have the panels drawn again soon."""
    global _redraw_wanted
    _redraw_wanted = True


def tick(seconds: float = TICK_SECONDS) -> int:
    """Handle what waits, for about `seconds`; returns how many things were handled."""
    until = time.monotonic() + seconds
    handled = 0
    for source in list(_sources):
        try:
            handled += source(max(0.0, until - time.monotonic()))
        except Exception:
            # An exception out of a timer would end the timer, and with it everything that waits for it.
            traceback.print_exc()
    _redraw_if_due()
    return handled


def pump_until(condition: Callable[[], bool], seconds: float | None = None) -> bool:
    """Tick by hand until `condition` holds: for scripts and for Blender without a window, where timers do not fire.

    Parameters
    ----------
    condition : callable
        Looked at after every tick.
    seconds : float, optional
        How long at most; for ever by default.

    Returns
    -------
    bool
        Whether the condition holds; False when the time was up.
    """
    until = None if seconds is None else time.monotonic() + seconds
    while not condition():
        if until is not None and time.monotonic() > until:
            return False
        if tick() == 0:
            time.sleep(0.01)
    return True


def _on_timer() -> float:
    return BUSY_INTERVAL if tick() or _redraw_wanted else IDLE_INTERVAL


def _redraw_if_due() -> None:
    global _redraw_wanted, _last_redraw
    now = time.monotonic()
    if not _redraw_wanted or now - _last_redraw < REDRAW_INTERVAL:
        return
    _redraw_wanted, _last_redraw = False, now
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.type in _AREAS:
                area.tag_redraw()


def _leave() -> None:
    for callback in reversed(_before_leaving):
        try:
            callback()
        except Exception:
            print("NeRF Toolkit: while leaving the file:", file=sys.stderr)
            traceback.print_exc()


@persistent
def _load_pre(*_arguments: object) -> None:
    _leave()


def register() -> None:
    """Start the timer and listen for files being loaded."""
    bpy.app.timers.register(_on_timer, persistent=True)
    bpy.app.handlers.load_pre.append(_load_pre)


def unregister() -> None:
    """End what is under way, the timer and the listening."""
    _leave()
    bpy.app.handlers.load_pre.remove(_load_pre)
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    _sources.clear()
    _before_leaving.clear()
