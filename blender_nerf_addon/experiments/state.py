"""The session's one experiment: started, followed, stopped and gone on with; what the panel draws."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..jobs import pump
from ..jobs.child import core_environment
from ..jobs.environment import VENDOR, find_interpreter
from ..jobs.logs import new_log
from ..vendor.nerf_core.contract.errors import NerfError
from .child import ExperimentProcess

SHIPPED = VENDOR / "nerf_core" / "experiments" / "shipped"
UNDER_WAY = ("starting", "running", "stopping")


@dataclass
class Experiment:
    """What is known about an experiment.

    Attributes
    ----------
    out : Path
        Its folder.
    phase : str
        'starting', 'running', 'stopping', then 'finished', 'stopped' or 'failed' (its error is in `text`).
    text : str
        What it does at the moment, or how it ended.
    fraction : float
        0 to 1.
    seconds_left : float or None
    number, count : int
        Of the cell in work, and how many there are to do.
    rows : list of dict
        The results that came so far, and those that were there.
    """

    out: Path
    process: ExperimentProcess = field(repr=False)
    phase: str = "starting"
    text: str = "Starting"
    fraction: float = 0.0
    seconds_left: float | None = None
    number: int = 0
    count: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    @property
    def under_way(self) -> bool:
        """Whether it has not ended yet."""
        return self.phase in UNDER_WAY


# Told of everything that happens, with the experiment: the list of results, the command line.
on_change: list[Callable[[Experiment], None]] = []

_current: Experiment | None = None


def current() -> Experiment | None:
    """The experiment under way, or the session's last one."""
    return _current


def under_way() -> bool:
    """Whether one is."""
    return _current is not None and _current.under_way


def start(plan: Path | None, out: Path, data: Path | str | None, device: str = "auto", only: str = "") -> Experiment:
    """Start the process; returns at once.

    Parameters
    ----------
    plan : Path or None
        The TOML file; None goes on with what lies in `out`.
    out : Path
        New, or an experiment to go on with.
    data : Path, str or None
        The data set (of radiographs a CT or a phantom's name); None leaves it to the plan or the folder.
    device : str
        'auto' leaves it to the plan.
    only : str
        Names of cells, with commas between them.

    Raises
    ------
    NerfError
        When one is under way, or there is no core.
    """
    global _current
    if under_way():
        raise NerfError("An experiment is under way already; stop it first.")
    command = [str(find_interpreter().path), "-m", "nerf_core", "experiment", "--events"]
    command += [str(plan), "--out", str(out)] if plan is not None else [str(out)]
    command += ["--data", str(data)] if data is not None else []
    command += ["--device", device] if device != "auto" else []
    command += ["--only", only] if only else []
    log = new_log("experiment")
    _current = Experiment(out, ExperimentProcess(command, core_environment(VENDOR), log), rows=read_rows(out))
    pump.add_source(_watch)
    pump.before_leaving(leave)
    _changed(_current)
    return _current


def stop() -> None:
    """Have the experiment save and end; it can be gone on with."""
    if _current is not None and _current.phase in ("starting", "running"):
        _current.phase, _current.text = "stopping", "Saving"
        _current.process.stop()
        _changed(_current)


def leave() -> None:
    """Another file is loaded, or Blender goes: the process saves and leaves by itself, and nobody listens any more."""
    global _current
    if _current is not None:
        if _current.under_way:
            _current.process.stop()
            _current.phase, _current.text = "stopped", "Stopped"
        _current = None


def is_experiment(folder: Path) -> bool:
    """Whether a folder holds an experiment; cheap enough for drawing."""
    try:
        return (folder / "experiment.json").is_file()
    except OSError:
        return False


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The results in an experiment's folder; what is no result is passed over."""
    try:
        lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    rows = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("cell"), str):
                rows.append(row)
    return rows


def _watch(_seconds: float) -> int:
    experiment = _current
    if experiment is None or not experiment.under_way:
        return 0
    exit_code = experiment.process.exit_code
    events = experiment.process.events()
    for told in events:
        _take(experiment, told)
    if exit_code is not None:
        _ended(experiment, exit_code)
    if events or exit_code is not None:
        _changed(experiment)
    return len(events)


def _take(experiment: Experiment, told: dict[str, Any]) -> None:
    kind = told.get("event")
    if kind == "progress":
        if experiment.phase == "starting":
            experiment.phase = "running"
        experiment.fraction = min(1.0, max(0.0, float(told.get("fraction") or 0.0)))
        experiment.seconds_left = told.get("seconds_left")
        experiment.number, experiment.count = int(told.get("number") or 0), int(told.get("count") or 0)
        if experiment.phase == "running":
            experiment.text = str(told.get("text") or "")
    elif kind == "row" and isinstance(told.get("row"), dict):
        row = told["row"]
        experiment.rows = [other for other in experiment.rows if other["cell"] != row["cell"]] + [row]
    elif kind == "error":
        experiment.error = str(told.get("text") or "")
    elif kind == "done":
        experiment.rows = read_rows(experiment.out) or experiment.rows
        failed = int(told.get("failed") or 0)
        done = f"{told.get('done')} of {told.get('cells')} cells are measured"
        experiment.error = ""
        experiment.text = f"Stopped: {done}" if told.get("stopped") else done[0].upper() + done[1:]
        experiment.text += f", {failed} failed" if failed else ""
        experiment.phase = "stopped" if told.get("stopped") else "finished"
        experiment.fraction = experiment.fraction if told.get("stopped") else 1.0


def _ended(experiment: Experiment, exit_code: int) -> None:
    experiment.seconds_left = None
    if not experiment.under_way:
        return
    if experiment.phase == "stopping" and not experiment.error:
        experiment.phase, experiment.text = "stopped", "Stopped"
    else:
        experiment.phase = "failed"
        experiment.text = experiment.error or _obituary(experiment, exit_code)


def _obituary(experiment: Experiment, exit_code: int) -> str:
    said = experiment.process.last_words().removeprefix("nerf: ")
    if exit_code < 0:
        return "The experiment was killed by the system; it may have run out of memory. Press Resume to go on."
    return said or f"The experiment ended unexpectedly (exit code {exit_code}); its log is '{experiment.process.log}'."


def _changed(experiment: Experiment) -> None:
    for callback in list(on_change):
        callback(experiment)
    pump.redraw()


def unregister() -> None:
    """Stop and forget."""
    leave()
    on_change.clear()
