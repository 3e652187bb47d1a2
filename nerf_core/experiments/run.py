"""Run an experiment: train what is not trained, measure what is not measured; what was done before is kept."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract.errors import Cancelled, DataError, NerfError
from ..contract.json_data import shown
from ..contract.run_folder import RunFolder
from ..data.describe import describe_dataset
from ..methods.registry import method_class, resolve_device
from ..training.events import Progress, TrainEvents
from ..training.load import LoadedRun, load_run
from ..training.setup import TrainRequest
from ..training.trainer import Trainer
from .events import ExperimentEvents, Pace, Status
from .folder import ExperimentFolder
from .measure import HeldOutViews, machine, measure
from .plan import Cell, Plan, Training
from .turntables import is_whole, render_turntable

WORDS = {"train": "training", "measure": "measuring", "turntable": "turntable", "report": "writing the report"}


@dataclass(frozen=True)
class Outcome:
    """How it ended: all rows that the plan asks for and that are there, and whether it was stopped before the end."""

    rows: list[dict[str, Any]]
    stopped: bool


def check(plan: Plan, data: Path) -> None:
    """Refuse what would fail hours later.

    Raises
    ------
    NerfError
        When there is no such data set or device, or a method does not take a cell's settings.
    """
    if not data.exists():
        raise DataError(f"There is no data set '{data}'; give the folder or transforms.json of one with --data.")
    splits = sorted({frame.split for frame in describe_dataset(data).frames})
    for split in ("train", plan.split):
        if split not in splits:
            raise DataError(f"The data set '{data}' has no {split} split; it has {', '.join(splits)}.")
    device = resolve_device(plan.device)
    for cell in plan.cells:
        try:
            method_class(cell.training.method).takes_depth(dict(cell.training.settings), device)
        except NerfError as error:
            raise NerfError(f"'{plan.file}': the cell '{shown(cell.name)}' cannot be trained: {error}") from error


def row_key(plan: Plan, cell: Cell) -> str:
    """What a result stands for: another key, and it is measured anew."""
    turntable = plan.turntable and vars(plan.turntable)
    render = cell.render and cell.render.to_dict()
    told = [cell.training.to_dict(), render, plan.split, plan.views, turntable]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def current_rows(plan: Plan, folder: ExperimentFolder) -> list[dict[str, Any]]:
    """The results that are the plan's, in its order."""
    known = {row["cell"]: row for row in folder.rows()}
    return [
        known[cell.name]
        for cell in plan.cells
        if cell.name in known and known[cell.name].get("key") == row_key(plan, cell)
    ]


def run_experiment(
    plan: Plan,
    folder: ExperimentFolder,
    data: Path,
    events: ExperimentEvents | None = None,
    only: set[str] | None = None,
) -> Outcome:
    """Work through a plan; a cell that fails is noted down, and the others go on.

    Parameters
    ----------
    plan : Plan
    folder : ExperimentFolder
        New, or one that this goes on in.
    data : Path
    events : ExperimentEvents, optional
    only : set of str, optional
        Names of cells.

    Raises
    ------
    NerfError
        When nothing can be begun: the folder is somebody's, the data set is missing, a setting is unknown.
    """
    return _Run(plan, folder, data, events or ExperimentEvents(), only).work()


class _Run:
    def __init__(
        self, plan: Plan, folder: ExperimentFolder, data: Path, events: ExperimentEvents, only: set[str] | None
    ) -> None:
        self.plan, self.folder, self.data, self.events = plan, folder, data, events
        check(plan, data)
        folder.claim(plan, data)
        folder.note(machine=machine())
        kept = {row["cell"] for row in current_rows(plan, folder) if "error" not in row}
        self.todo = []
        for group in plan.trainings(only):
            cells = [cell for cell in group if cell.name not in kept or not is_whole(folder, cell, plan.turntable)]
            if cells:
                self.todo.append(cells)
        self.count = sum(map(len, self.todo))
        self.number = 0
        self.pace = Pace([(*self._budget_left(cells[0].training), len(cells)) for cells in self.todo])
        self.views = HeldOutViews(plan, data, events.should_stop)
        self.cell = self.todo[0][0] if self.todo else None

    def work(self) -> Outcome:
        stopped = False
        try:
            for cells in self.todo:
                self._group(cells)
        except Cancelled:
            stopped = True
        return Outcome(current_rows(self.plan, self.folder), stopped)

    def _group(self, cells: list[Cell]) -> None:
        self.cell, done = cells[0], self.number + len(cells)
        try:
            run = self._trained(cells[0].training)
            for cell in cells:
                self.cell = cell
                self.number += 1
                self._look(run, cell)
        except NerfError as error:
            # What went wrong with one cell says nothing of the others, which may have hours of work before them.
            self.pace.failed()
            rest = [cell for cell in cells if not self._is_kept(cell)]
            for cell in rest:
                self._keep({"cell": cell.name, "labels": dict(cell.labels), "error": str(error)}, cell)
            self.number = done

    def _is_kept(self, cell: Cell) -> bool:
        return any(row["cell"] == cell.name and "error" not in row for row in current_rows(self.plan, self.folder))

    # Training

    def _budget_left(self, training: Training) -> tuple[float | None, int | None]:
        spent: dict[str, Any] = {}
        with suppress(NerfError):
            spent = RunFolder(self.folder.run(self.plan.run_name(training))).read().get("spent") or {}
        if training.seconds is not None:
            return max(0.0, training.seconds - spent.get("seconds", 0.0)), None
        left = max(0, (training.steps or 0) - spent.get("steps", 0))
        return (None, left) if left else (0.0, None)

    def _trained(self, training: Training) -> LoadedRun:
        """The run of a training: as it lies there, or trained to its end."""
        root = self.folder.run(self.plan.run_name(training))
        known = _known(RunFolder(root))
        if known is not None:
            _refuse_others(root, known, training)
            if RunFolder(root).checkpoint.exists() and not any(self._budget_left(training)):
                self.pace.trained(0.0, 0.0, 0)
                return load_run(root, self.plan.device)
        request = TrainRequest(
            run=root,
            data=self.data,
            method=training.method,
            seconds=training.seconds,
            steps=training.steps,
            device=self.plan.device,
            seed=training.seed,
            downscale=training.downscale,
            settings=dict(training.settings),
        )
        began = time.perf_counter()
        before = (known or {}).get("spent") or {}
        trainer = Trainer(request, _Training(self))
        result = trainer.run()
        if result.stopped:
            raise Cancelled
        inside, steps = result.seconds - before.get("seconds", 0.0), result.step - before.get("steps", 0)
        self.pace.trained(time.perf_counter() - began, inside, steps)
        # From its checkpoint, as whoever goes on later has it: what is measured is what is kept.
        return load_run(root, self.plan.device)

    # Looking

    def _look(self, run: LoadedRun, cell: Cell) -> None:
        began = time.perf_counter()
        should_stop = self.events.should_stop
        self.tell("measure", 0.0)
        views = self.views.get(cell.training.downscale)
        metrics = measure(run, cell, views, self.plan.split, self._part("measure"), should_stop)
        row: dict[str, Any] = {
            "cell": cell.name,
            "labels": dict(cell.labels),
            "training": cell.training.to_dict(),
            "render": cell.render and cell.render.to_dict(),
            "run": f"runs/{self.plan.run_name(cell.training)}",
            "device": run.device,
            "split": self.plan.split,
            "views": len(views),
            "metrics": metrics,
        }
        if self.plan.turntable is not None and cell.turns:
            turntable = self.plan.turntable
            row["turntable"] = f"turntables/{cell.folder}"
            row |= render_turntable(self.folder, run, cell, turntable, self._part("turntable"), should_stop)
        self._keep(row, cell)
        self.pace.looked(time.perf_counter() - began)

    def _keep(self, row: dict[str, Any], cell: Cell) -> None:
        row["key"] = row_key(self.plan, cell)
        self.folder.keep(row)
        self.events.row(row)

    def _part(self, stage: str) -> Callable[[float], None]:
        return lambda fraction: self.tell(stage, fraction)

    def tell(self, stage: str, fraction: float, left: float | None = None, words: str = "") -> None:
        """Have the person know where it is."""
        assert self.cell is not None
        to_go = self.pace.left(stage, left, fraction)
        number = self.number + 1 if stage == "train" else self.number
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


class _Training(TrainEvents):
    """A cell's training told as the experiment's."""

    def __init__(self, run: _Run) -> None:
        self._run = run

    def loading(self, done: int, total: int) -> None:
        self._run.tell("train", 0.0, words="reading images")

    def warming_up(self) -> None:
        self._run.tell("train", 0.0, words="preparing")

    def progress(self, progress: Progress) -> None:
        quality = "" if progress.val_psnr is None else f", {progress.val_psnr:.1f} dB"
        self._run.tell("train", progress.done, progress.seconds_left, f"training, step {progress.step}{quality}")

    def log(self, level: str, text: str) -> None:
        self._run.events.log(text)

    def should_stop(self) -> bool:
        return self._run.events.should_stop()


def _known(folder: RunFolder) -> dict[str, Any] | None:
    if not folder.settings.exists():
        return None
    known = folder.read()
    return known if known.get("budget") else None


def _refuse_others(root: Path, known: dict[str, Any], training: Training) -> None:
    """A run with other settings is another cell's, or that of an earlier plan."""
    wanted = {**training.to_dict(), "budget": training.budget}
    for name in ("method", "settings", "seed", "downscale", "budget"):
        if known.get(name) != wanted[name]:
            raise NerfError(
                f"The run '{root}' was trained with another '{name}' ({shown(repr(known.get(name)))}) than the plan "
                f"asks for ({shown(repr(wanted[name]))}); choose another folder with --out, or another name for the "
                "cell."
            )
