"""`nerf experiment` as a child process, which tells what it does in JSON lines. No bpy here.

A process of its own, not the session's core: that has one training at a time, and an experiment of hours must not keep
a person from training, rendering and looking meanwhile. The folder holds all that it knows, so that it goes on after
any end; and when Blender goes away, the end of its stdin tells it to save and leave.
"""

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..jobs.child import end_group, last_line, process_options
from ..vendor.nerf_core.contract.errors import NerfError

STOP_SECONDS = 60.0  # to finish a step of the slowest method and save
END_SECONDS = 5.0


class ExperimentProcess:
    """A running experiment.

    Parameters
    ----------
    command : sequence of str
    environment : mapping
    log : Path
        Gets what it says besides.

    Raises
    ------
    NerfError
        When it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._ending = False
        try:
            with open(log, "wb") as stream:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    env=dict(environment),
                    **process_options(),
                )
        except OSError as error:
            raise NerfError(
                f"The experiment cannot be started with '{command[0]}': {error.strerror or error}."
            ) from error
        self._reader = threading.Thread(target=self._read, daemon=True, name="nerf-experiment")
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, or while something that it said is not read yet."""
        return None if self._reader.is_alive() else self._process.poll()

    def events(self) -> list[dict[str, Any]]:
        """What it said since the last time."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._events.get_nowait())
        return found

    def stop(self) -> None:
        """Have it save and leave; returns at once, and after a while it is made to."""
        if self._ending:
            return
        self._ending = True
        # On a thread: a pipe may be full, and waiting is not for the main one.
        threading.Thread(target=self._end, daemon=True, name="nerf-experiment-end").start()

    def last_words(self) -> str:
        """The last line of its log."""
        return last_line(self.log)

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        for hard, seconds in ((None, STOP_SECONDS), (False, END_SECONDS), (True, END_SECONDS)):
            if hard is not None:
                end_group(self._process, hard)
            try:
                self._process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                continue

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                try:
                    told = json.loads(line)
                except ValueError:
                    continue
                if isinstance(told, dict):
                    self._events.put(told)
        self._process.wait()
