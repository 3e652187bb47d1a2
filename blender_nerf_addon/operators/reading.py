"""Going through the scene's frames a few at a time, so that the window stays alive; Esc cancels.

Nothing else is let through meanwhile: the scene must not change under the reading.
"""

import time
from collections.abc import Callable, Iterator

import bpy

from ..jobs import pump
from . import common

READ_SECONDS = 0.03  # of the main thread at a time
TICK = 0.01

# The one reading under way: gives the frame that was read; the scene is as it was when it ends or is closed.
_reading: Iterator[int] | None = None


def under_way() -> bool:
    """Whether frames are being read."""
    return _reading is not None


class ReadsFrames:
    """For operators that read the scene's frames before they ask the core for something."""

    _timer = None
    _finish: Callable[[], set[str]] | None = None
    _what = ""

    def read(
        self, context: bpy.types.Context, reading: Iterator[int], finish: Callable[[], set[str]], what: str
    ) -> set[str]:
        """Begin; what `invoke` returns.

        Parameters
        ----------
        context : Context
            With a window.
        reading : iterator of int
            Gives each frame that it has read; puts the scene back when it is closed.
        finish : callable
            Called when all is read; gives the operator's outcome.
        what : str
            What the status bar calls it.
        """
        global _reading
        _reading, self._finish, self._what = reading, finish, what
        pump.before_leaving(stop)
        self._timer = context.window_manager.event_timer_add(TICK, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Read some frames more."""
        if _reading is None or event.type == "ESC":
            self.cancel(context)
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"RUNNING_MODAL"}
        return self._read_on(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """Leave the scene as it was."""
        stop()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
            context.workspace.status_text_set(None)

    @common.tells_errors
    def _read_on(self, context: bpy.types.Context) -> set[str]:
        until = time.monotonic() + READ_SECONDS
        try:
            while time.monotonic() < until:
                frame = next(_reading, None)
                if frame is None:
                    self.cancel(context)
                    return self._finish()
        except BaseException:
            self.cancel(context)
            raise
        last = context.scene.frame_end
        context.workspace.status_text_set(f"{self._what}: reading frame {frame} of {last}  (Esc: cancel)")
        return {"RUNNING_MODAL"}


def stop() -> None:
    """End the reading; the scene is as it was."""
    global _reading
    reading, _reading = _reading, None
    if reading is not None:
        reading.close()
