"""What `nerf prior` does for minutes, as a child process: followed by its bars, ended by Cancel. Of each kind, one.

A process of its own, as experiments have: in these minutes the session's core trains and renders.
"""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..jobs import pump
from ..jobs.child import core_environment, end_group, last_line, process_options
from ..jobs.environment import VENDOR, find_interpreter
from ..jobs.logs import new_log
from ..vendor.nerf_core.contract.errors import NerfError

LOOK_SECONDS = 0.5


@dataclass
class Work:
    """One under way, or the last one.

    Attributes
    ----------
    out : Path
        Its folder.
    phase : str
        'running', then 'done', 'failed' (its error is in `text`) or 'cancelled'.
    fraction : float
        0 to 1.
    seconds_left : float or None
    result : dict
        What the command said of itself.
    """

    out: Path
    process: subprocess.Popen = field(repr=False)
    log: Path = field(repr=False)
    answer: Path = field(repr=False)
    on_end: Callable[["Work"], None] | None = field(default=None, repr=False)
    phase: str = "running"
    text: str = ""
    fraction: float = 0.0
    began: float = field(default_factory=time.monotonic)
    looked: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)
    made_folder: bool = False  # whether `out` was not there before

    @property
    def under_way(self) -> bool:
        """Whether it has not ended."""
        return self.phase == "running"

    @property
    def seconds_left(self) -> float | None:
        """About, from what is done; None at the start."""
        if self.fraction < 0.03:
            return None
        return (time.monotonic() - self.began) * (1.0 - self.fraction) / self.fraction


class Line:
    """One kind of work, of which one at a time is under way.

    Parameters
    ----------
    kind : str
        Of its logs.
    name : str
        For a person, such as "A reconstruction".
    doing : str
        What is said of it while it runs.
    parts : mapping
        Where the bars of its command, by their names, begin and end within the whole.
    words : callable
        What is said of one that is done.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        doing: str,
        parts: Mapping[str, tuple[float, float]],
        words: Callable[[Work], str],
    ) -> None:
        self.kind, self.name, self.doing, self.parts, self.words = kind, name, doing, parts, words
        self._bar = re.compile(rf"({'|'.join(parts)}):\s+(\d+)%")
        self._current: Work | None = None

    def current(self) -> Work | None:
        """The one under way, or the session's last one."""
        return self._current

    def running(self) -> bool:
        """Whether one is under way."""
        return self._current is not None and self._current.under_way

    def start(self, arguments: Sequence[str], out: Path, on_end: Callable[[Work], None] | None = None) -> Work:
        """Start `nerf prior` with these arguments; returns at once.

        Raises
        ------
        NerfError
            When one is under way, there is no core, or it cannot be started.
        """
        if self.running():
            raise NerfError(f"{self.name} is under way already; cancel it first.")
        command = [str(find_interpreter().path), "-m", "nerf_core", "prior", *arguments, "--json"]
        log = new_log(self.kind)
        answer = log.with_suffix(".json")
        new = not out.exists()
        process = self._started(command, log, answer)
        self._current = Work(out, process, log, answer, on_end, text=self.doing, made_folder=new)
        pump.add_source(self._watch)
        pump.before_leaving(self.leave)
        pump.redraw()
        return self._current

    def cancel(self) -> None:
        """End it; the files that it has written are whole."""
        if self.running():
            end_group(self._current.process, hard=False)
            self._end(self._current, "cancelled", "Cancelled")

    def leave(self) -> None:
        """Another file is loaded, or Blender goes: the process ends, and nobody listens any more."""
        if self._current is not None:
            self._current.on_end = None
            self.cancel()
            self._current = None

    def _started(self, command: Sequence[str], log: Path, answer: Path) -> subprocess.Popen:
        try:
            with open(log, "wb") as errors, open(answer, "wb") as stream:
                return subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=errors,
                    env=core_environment(VENDOR),
                    **process_options(),
                )
        except OSError as error:
            raise NerfError(f"{self.name} cannot be started with '{command[0]}': {error.strerror or error}.") from error

    def _watch(self, _seconds: float) -> int:
        made = self._current
        if made is None or not made.under_way:
            return 0
        now = time.monotonic()
        if now - made.looked < LOOK_SECONDS:
            return 0
        made.looked = now
        pump.redraw()  # keeps the timer's short interval
        code = made.process.poll()
        if code is None:
            made.fraction = max(made.fraction, self._fraction(made.log))
        elif code == 0:
            with contextlib.suppress(OSError, ValueError, IndexError):
                told = json.loads(made.answer.read_text(encoding="utf-8").strip().splitlines()[-1])
                made.result = told if isinstance(told, dict) else {}
            made.fraction = 1.0
            self._end(made, "done", self.words(made))
        else:
            words = last_line(made.log).removeprefix("nerf: ")
            self._end(made, "failed", words or f"{self.name} ended with the code {code}; its log is '{made.log}'.")
        return 1

    def _fraction(self, log: Path) -> float:
        """How far its bars are."""
        try:
            text = log.read_text(encoding="utf-8", errors="replace")[-4000:]
        except OSError:
            return 0.0
        found = self._bar.findall(text)
        if not found:
            return 0.0
        name, percent = found[-1]
        low, high = self.parts[name]
        return low + (high - low) * int(percent) / 100.0

    def _end(self, made: Work, phase: str, text: str) -> None:
        made.phase, made.text = phase, text
        if phase != "done" and made.made_folder:
            with contextlib.suppress(OSError):
                made.out.rmdir()  # where the command has written nothing yet
        pump.redraw()
        if made.on_end is not None:
            made.on_end(made)
