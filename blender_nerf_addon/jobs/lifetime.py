"""A core's process from its start to its end: left time to save, then asked to end, then ended. No bpy here.

There is no PR_SET_PDEATHSIG: it would end the core before it has written its checkpoint. When Blender goes away in
whatever manner, the core's stdin ends, and the core saves and leaves.
"""

import atexit
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .calls import CoreError
from .child import end_group, process_options

SHUTDOWN_SECONDS = 6.0  # the core writes a checkpoint and leaves within 5 s
TERMINATE_SECONDS = 2.0


def start_thread(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    """A thread that does not keep Blender from ending, named after what it runs."""
    thread = threading.Thread(target=target, args=arguments, daemon=True, name=f"nerf-core{target.__name__}")
    thread.start()
    return thread


class Lifetime:
    """A child of Blender, with pipes to its stdin and from its stdout.

    Parameters
    ----------
    command, environment, log
        As `CoreProcess` takes them.
    stop : callable
        Called when Blender ends, to ask it to leave.

    Raises
    ------
    CoreError
        When the process cannot be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, stop: Callable[[], None]
    ) -> None:
        self._stop = stop
        self._reaper: threading.Thread | None = None
        try:
            with open(log, "ab") as log_stream:
                self.popen = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log_stream,
                    env=dict(environment),
                    **process_options(),
                )
        except OSError as error:
            raise CoreError(
                f"Cannot start the NeRF core with '{command[0]}': {error.strerror or error}. Choose another "
                "Python in the add-on's preferences, or set the core up there."
            ) from error
        atexit.register(self._at_exit)

    @property
    def exit_code(self) -> int | None:
        """As `Popen.poll` gives it: None while it runs."""
        return self.popen.poll()

    def exits_within(self, seconds: float) -> bool:
        """Wait until it is gone. Returns whether it is."""
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        atexit.unregister(self._at_exit)
        return True

    def end_after(self, grace: float) -> None:
        """Have a thread see to it that it ends once `grace` seconds are over; the first call counts."""
        if self._reaper is None:
            self._reaper = start_thread(self._reap, grace)

    def end_now(self) -> None:
        """End it without asking."""
        end_group(self.popen, hard=True)

    def _reap(self, grace: float) -> None:
        if self.exits_within(grace):
            return
        for hard in (False, True):
            end_group(self.popen, hard)
            if self.exits_within(TERMINATE_SECONDS):
                return

    def _at_exit(self) -> None:
        self._stop()
        self.end_after(0.0)
        if self._reaper is not None:
            self._reaper.join(SHUTDOWN_SECONDS + 2 * TERMINATE_SECONDS)
