"""Run an experiment: train what is not trained, measure what is not measured; what was done before is kept."""

import time
from pathlib import Path
from typing import Any

from ..contract.errors import Cancelled, DataError, NerfError
from ..contract.json_data import shown
from ..data.describe import describe_dataset
from ..methods.registry import method_class, resolve_device
from ..training.events import Progress, TrainEvents
from ..training.load import LoadedRun
from .events import ExperimentEvents, Pace
from .folder import ExperimentFolder
from .measure import HeldOutViews, machine, measure
from .plan import Cell, Plan, Training
from .training import budget_left, trained
from .turntables import is_whole, render_turntable
from .work import Outcome, Work, current_rows
from .xray_plan import XrayPlan


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


def run_experiment(
    plan: Plan | XrayPlan,
    folder: ExperimentFolder,
    data: Path | str,
    events: ExperimentEvents | None = None,
    only: set[str] | None = None,
) -> Outcome:
    """Work through a plan; a cell that fails is noted down, and the others go on.

    Parameters
    ----------
    plan : Plan
    folder : ExperimentFolder
        New, or one that this goes on in.
    data : Path or str
        A data set; of an X-ray plan a CT or the name of a phantom.
    events : ExperimentEvents, optional
    only : set of str, optional
        Names of cells.

    Raises
    ------
    NerfError
        When nothing can be begun: the folder is somebody's, the data set is missing, a setting is unknown.
    """
    if isinstance(plan, XrayPlan):
        from .xray_run import run_xray

        return run_xray(plan, folder, str(data), events or ExperimentEvents(), only)
    return _Run(plan, folder, Path(data), events or ExperimentEvents(), only).work()


class _Run(Work):
    def __init__(
        self, plan: Plan, folder: ExperimentFolder, data: Path, events: ExperimentEvents, only: set[str] | None
    ) -> None:
        check(plan, data)
        folder.claim(plan, data)
        folder.note(machine=machine())
        super().__init__(plan, folder, events)
        self.data = data
        kept = {row["cell"] for row in current_rows(plan, folder) if "error" not in row}
        self.todo = []
        for group in plan.trainings(only):
            cells = [cell for cell in group if cell.name not in kept or not is_whole(folder, cell, plan.turntable)]
            if cells:
                self.todo.append(cells)
        self.count = sum(map(len, self.todo))
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
            rest = [cell for cell in cells if not self.is_kept(cell)]
            for cell in rest:
                self.keep({"cell": cell.name, "labels": dict(cell.labels), "error": str(error)}, cell)
            self.number = done

    # Training

    def _budget_left(self, training: Training) -> tuple[float | None, int | None]:
        return budget_left(self.folder.run(self.plan.run_name(training)), training)

    def _trained(self, training: Training) -> LoadedRun:
        """The run of a training: as it lies there, or trained to its end."""
        root = self.folder.run(self.plan.run_name(training))
        began = time.perf_counter()
        run, inside, steps = trained(root, self.data, training, self.plan.device, _Training(self))
        self.pace.trained(time.perf_counter() - began if steps else 0.0, inside, steps)
        return run

    # Looking

    def _look(self, run: LoadedRun, cell: Cell) -> None:
        began = time.perf_counter()
        should_stop = self.events.should_stop
        self.tell("measure", 0.0)
        views = self.views.get(cell.training.downscale)
        metrics = measure(run, cell, views, self.plan.split, self.part("measure"), should_stop)
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
            row |= render_turntable(self.folder, run, cell, turntable, self.part("turntable"), should_stop)
        self.keep(row, cell)
        self.pace.looked(time.perf_counter() - began)


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
