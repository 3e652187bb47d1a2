"""Working through a plan of any kind: which results are there, keeping new ones, saying where it is."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .events import ExperimentEvents, Pace, Status
from .folder import ExperimentFolder

WORDS = {
    "data": "making radiographs",
    "train": "training",
    "measure": "measuring",
    "turntable": "turntable",
    "report": "writing the report",
}


@dataclass(frozen=True)
class Outcome:
    """How it ended: all rows that the plan asks for and that are there, and whether it was stopped before the end."""

    rows: list[dict[str, Any]]
    stopped: bool


def row_key(plan: Any, cell: Any) -> str:
    """What a result stands for: another key, and it is measured anew."""
    return hashlib.sha256(json.dumps(plan.key(cell), sort_keys=True).encode()).hexdigest()[:16]


def current_rows(plan: Any, folder: ExperimentFolder) -> list[dict[str, Any]]:
    """The results that are the plan's, in its order."""
    known = {row["cell"]: row for row in folder.rows()}
    return [
        known[cell.name]
        for cell in plan.cells
        if cell.name in known and known[cell.name].get("key") == row_key(plan, cell)
    ]


class Work:
    """One call that works through cells.

    Parameters
    ----------
    plan : Plan or XrayPlan
    folder : ExperimentFolder
    events : ExperimentEvents

    Attributes
    ----------
    cell : Cell or XrayCell or None
        What is worked on.
    number, count : int
        Of that cell, from 1, and how many there are to do.
    pace : Pace
    """

    pace: Pace

    def __init__(self, plan: Any, folder: ExperimentFolder, events: ExperimentEvents) -> None:
        self.plan, self.folder, self.events = plan, folder, events
        self.cell: Any = None
        self.number = self.count = 0

    def is_kept(self, cell: Any) -> bool:
        """Whether a cell's result is there."""
        return any(row["cell"] == cell.name and "error" not in row for row in current_rows(self.plan, self.folder))

    def keep(self, row: dict[str, Any], cell: Any) -> None:
        """Take a result down."""
        row["key"] = row_key(self.plan, cell)
        self.folder.keep(row)
        self.events.row(row)

    def part(self, stage: str) -> Callable[[float], None]:
        """What a stage tells its part that is done."""
        return lambda fraction: self.tell(stage, fraction)

    def tell(self, stage: str, fraction: float, left: float | None = None, words: str = "") -> None:
        """Have the person know where it is."""
        assert self.cell is not None
        to_go = self.pace.left(stage, left, fraction)
        number = self.number + 1 if stage in ("data", "train") else self.number
        self.events.progress(
            Status(
                fraction=self.pace.fraction(to_go, fraction),
                seconds_left=to_go,
                cell=self.cell.name,
                stage=stage,
                stage_fraction=fraction,
                number=number,
                count=self.count,
                text=f"{self.cell.name}: {words or WORDS[stage]}",
            )
        )
