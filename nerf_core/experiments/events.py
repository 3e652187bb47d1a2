"""What an experiment tells while it works, and what it asks; and how long it still takes."""

import time
from dataclasses import dataclass
from typing import Any

LOOK_SECONDS = 8.0  # a cell's measuring and turntable, before any was timed
SET_UP_SECONDS = 4.0  # of a training besides its steps, before any was timed


@dataclass(frozen=True)
class Status:
    """Where an experiment is.

    Attributes
    ----------
    fraction : float
        0 to 1, of everything that is asked for.
    seconds_left : float or None
        None as long as nothing tells the pace.
    cell : str
        What is worked on.
    stage : {'train', 'measure', 'turntable', 'report'}
    stage_fraction : float
        0 to 1, of that stage.
    number, count : int
        The cell's number, from 1, among those that this call works on.
    text : str
        The same in words.
    """

    fraction: float
    seconds_left: float | None
    cell: str
    stage: str
    stage_fraction: float
    number: int
    count: int
    text: str


class ExperimentEvents:
    """Does nothing, and never stops: override what is of interest."""

    def progress(self, status: Status) -> None:
        """Now and then."""

    def row(self, row: dict[str, Any]) -> None:
        """A cell is measured, or failed."""

    def log(self, text: str) -> None:
        """Something that a person may want to know."""

    def should_stop(self) -> bool:
        """Whether to save and leave."""
        return False


class Pace:
    """How far an experiment is, from what its trainings were given and from how long the others before took.

    Parameters
    ----------
    trainings : list of (seconds or None, steps or None, cells)
        What is to do, in order: a training's budget, or ``(0, None)`` where it is done, and the number of cells that
        are looked at with it.
    """

    def __init__(self, trainings: list[tuple[float | None, int | None, int]]) -> None:
        self._todo = list(trainings)
        self._count = sum(cells + 1 for _, _, cells in trainings)
        self._units = 0
        self._spent = 0.0
        self._overheads: list[float] = []
        self._looks: list[float] = []
        self._step: list[float] = []
        self._began = time.perf_counter()
        self._most = 0.0

    def trained(self, wall: float, inside: float, steps: int) -> None:
        """The first training that is to do is done."""
        _, _, cells = self._todo[0]
        if steps:
            self._overheads.append(max(0.0, wall - inside))
            self._step.append(inside / steps)
        self._todo[0] = (0.0, None, cells)
        self._units += 1

    def looked(self, wall: float) -> None:
        """A cell of it was looked at; after the last one the training is gone."""
        seconds, steps, cells = self._todo[0]
        self._looks.append(wall)
        self._units += 1
        self._todo[0] = (seconds, steps, cells - 1)
        if cells <= 1:
            self._todo.pop(0)

    def failed(self) -> None:
        """The first training that is to do will not be done, nor its cells."""
        trained = self._todo[0][0] == 0.0 and self._todo[0][1] is None
        self._units += self._todo[0][2] + (0 if trained else 1)
        self._todo.pop(0)

    def left(self, stage: str, stage_left: float | None, stage_fraction: float) -> float | None:
        """Seconds to go; None when a training's pace is not known."""
        look = _mean(self._looks, LOOK_SECONDS)
        total = 0.0
        for index, (seconds, steps, cells) in enumerate(self._todo):
            current = index == 0
            if current and stage == "train" and stage_left is not None:
                total += stage_left
            elif seconds is None:
                if not self._step or steps is None:
                    return None
                total += steps * _mean(self._step, 0.0)
            else:
                total += seconds
            if seconds != 0.0 and not (current and stage_fraction > 0):
                total += _mean(self._overheads, SET_UP_SECONDS)
            # Measuring and the turntable are a half each, roughly.
            part = 0.5 * stage_fraction + (0.5 if stage == "turntable" else 0.0)
            total += max(0.0, cells - (part if current and stage in ("measure", "turntable") else 0.0)) * look
        return total

    def fraction(self, left: float | None, stage_fraction: float) -> float:
        """What is done, 0 to 1; it never goes back."""
        if left is None:
            now = (self._units + stage_fraction) / max(self._count, 1)
        else:
            spent = time.perf_counter() - self._began
            now = spent / max(spent + left, 1e-9)
        self._most = min(1.0, max(self._most, now))
        return self._most


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
