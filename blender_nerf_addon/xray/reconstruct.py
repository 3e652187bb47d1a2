"""`nerf prior reconstruct` as a child process: a volume from one radiograph or a few. The session's one at a time.

A process of its own, as experiments have: it takes minutes, in which the session's core trains and renders.
"""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..jobs import pump
from ..jobs.child import core_environment, end_group, last_line, process_options
from ..jobs.environment import VENDOR, find_interpreter
from ..jobs.logs import new_log
from ..vendor.nerf_core.contract.errors import NerfError

LOOK_SECONDS = 0.5
PARTS = {"reconstructing": (0.0, 0.7), "radiographs": (0.7, 1.0)}  # of the whole, by the bars' names
VOLUME, SLICES = "volume.nii.gz", "slices.png"
_BAR = re.compile(r"(reconstructing|radiographs):\s+(\d+)%")


@dataclass
class Reconstruction:
    """One under way, or the last one.

    Attributes
    ----------
    phase : str
        'running', then 'done', 'failed' (its error is in `text`) or 'cancelled'.
    fraction : float
        0 to 1.
    seconds_left : float or None
    out : Path
        Its folder.
    result : dict
        What the command said of itself.
    """

    out: Path
    process: subprocess.Popen = field(repr=False)
    log: Path = field(repr=False)
    answer: Path = field(repr=False)
    on_end: Callable[["Reconstruction"], None] | None = field(default=None, repr=False)
    phase: str = "running"
    text: str = "Reconstructing"
    fraction: float = 0.0
    began: float = field(default_factory=time.monotonic)
    looked: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)

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


_current: Reconstruction | None = None


def current() -> Reconstruction | None:
    """The one under way, or the session's last one."""
    return _current


def running() -> bool:
    """Whether one is under way."""
    return _current is not None and _current.under_way


def start(
    data: Path, prior: Path, out: Path, views: int, on_end: Callable[[Reconstruction], None] | None = None
) -> Reconstruction:
    """Start the process; returns at once.

    Parameters
    ----------
    data : Path
        A radiograph data set.
    prior : Path
        A folder of `nerf prior build`.
    out : Path
        New, or of an earlier reconstruction.
    views : int
        So many radiographs are given, evenly spread.

    Raises
    ------
    NerfError
        When one is under way, there is no core, or it cannot be started.
    """
    global _current
    if running():
        raise NerfError("A reconstruction is under way already; cancel it first.")
    command = [str(find_interpreter().path), "-m", "nerf_core", "prior", "reconstruct", str(data)]
    command += ["--prior", str(prior), "--out", str(out), "--views", str(views), "--json"]
    log = new_log("reconstruct")
    answer = log.with_suffix(".json")
    _current = Reconstruction(out, _started(command, log, answer), log, answer, on_end)
    pump.add_source(_watch)
    pump.before_leaving(leave)
    pump.redraw()
    return _current


def cancel() -> None:
    """End it; the files that it has written are whole."""
    if running():
        end_group(_current.process, hard=False)
        _end(_current, "cancelled", "Cancelled")


def leave() -> None:
    """Another file is loaded, or Blender goes: the process ends, and nobody listens any more."""
    global _current
    if _current is not None:
        _current.on_end = None
        cancel()
        _current = None


def _started(command: Sequence[str], log: Path, answer: Path) -> subprocess.Popen:
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
        raise NerfError(
            f"The reconstruction cannot be started with '{command[0]}': {error.strerror or error}."
        ) from error


def _watch(_seconds: float) -> int:
    made = _current
    if made is None or not made.under_way:
        return 0
    now = time.monotonic()
    if now - made.looked < LOOK_SECONDS:
        return 0
    made.looked = now
    pump.redraw()  # keeps the timer's short interval
    code = made.process.poll()
    if code is None:
        made.fraction = max(made.fraction, _fraction(made.log))
    elif code == 0:
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(made.answer.read_text(encoding="utf-8").strip().splitlines()[-1])
            made.result = told if isinstance(told, dict) else {}
        made.fraction = 1.0
        # Where its patient is known to be one of the prior's own, that is said.
        _end(made, "done", " ".join(filter(None, [f"Reconstructed into '{made.out}'.", made.result.get("population")])))
    else:
        words = last_line(made.log).removeprefix("nerf: ")
        _end(made, "failed", words or f"The reconstruction ended with the code {code}; its log is '{made.log}'.")
    return 1


def _fraction(log: Path) -> float:
    """How far its bars are."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")[-4000:]
    except OSError:
        return 0.0
    found = _BAR.findall(text)
    if not found:
        return 0.0
    name, percent = found[-1]
    low, high = PARTS[name]
    return low + (high - low) * int(percent) / 100.0


def _end(made: Reconstruction, phase: str, text: str) -> None:
    made.phase, made.text = phase, text
    pump.redraw()
    if made.on_end is not None:
        made.on_end(made)


def unregister() -> None:
    """Forget everything."""
    leave()
