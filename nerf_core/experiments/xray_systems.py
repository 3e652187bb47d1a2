"""The systems of an X-ray experiment that are given one patient's radiographs: fields, solvers, and what needs nothing.

Each is a function from a `Job` to `Found`; those that learn from other patients are in `xray_learned`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import NerfError
from ..contract.json_data import shown
from ..data.dataset import Dataset
from ..evaluation.xray import Reconstruction, of_field, of_solved, of_volume
from ..training.events import Progress, TrainEvents
from ..xray.grid import Grid
from ..xray.solver_cache import TruthJudge, best_settings, solve
from ..xray.true_volume import Truth
from .folder import ExperimentFolder
from .plan import Training
from .training import budget_left, trained
from .xray_plan import XrayCell, XrayPlan

SOLVER_SECONDS = {"fdk": 5.0, "sart": 60.0, "sirt": 60.0, "cg": 30.0}  # before any was timed
Tell = Callable[..., None]


@dataclass(frozen=True)
class Job:
    """What a system is given.

    Attributes
    ----------
    cell : XrayCell
    data : Path
        Radiograph data set: the split `train` is given, `test` is what is measured on.
    dataset : Dataset
        The same, read.
    truth : Truth
        For measuring alone; its grid is where volumes are asked for.
    folder : ExperimentFolder
    device : str
    tell : callable
        Called with (fraction, seconds left or None, words).
    log : callable
        Called with a sentence.
    should_stop : callable
    """

    cell: XrayCell
    data: Path
    dataset: Dataset
    truth: Truth
    folder: ExperimentFolder
    device: str
    tell: Tell
    log: Callable[[str], None]
    should_stop: Callable[[], bool]

    @property
    def given(self) -> list[Any]:
        """The radiographs that it may see."""
        return list(self.dataset.splits["train"].views)

    @property
    def grid(self) -> Grid:
        """Where volumes are asked for."""
        return self.truth.grid

    def part(self, words: str) -> Callable[[float], None]:
        """What a stage tells its part that is done."""
        return lambda fraction: self.tell(fraction, None, words)


@dataclass(frozen=True)
class Found:
    """What a system made of a job.

    Attributes
    ----------
    reconstruction : Reconstruction
    metrics : dict
        Numbers besides those that everything is measured by.
    facts : dict
        What a result says of it besides: its `run`, relative to the experiment's folder; `features`.
    """

    reconstruction: Reconstruction
    metrics: Mapping[str, float | None] = field(default_factory=dict, hash=False)
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)


def check_cell(cell: XrayCell, device: str) -> None:
    """Refuse settings that a system does not take.

    Raises
    ------
    NerfError
        One sentence without the cell's name.
    """
    if cell.system == "field":
        from ..fields.attenuation import AttenuationSettings

        AttenuationSettings.from_dict(dict(cell.settings))
    elif cell.system in SOLVER_SECONDS:
        known = best_settings(cell.system, cell.scan.views)
        _refuse_unknown(cell, {**known, "truncation": None, "hann": None} if cell.system == "fdk" else known)
    elif cell.system in ("truth", "copy", "mean-view"):
        _refuse_unknown(cell, {})
    else:
        from .xray_learned import check_learned

        check_learned(cell, device)


def _refuse_unknown(cell: XrayCell, known: Mapping[str, Any]) -> None:
    for name in cell.settings:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise NerfError(f"'{cell.system}' has no setting '{shown(name)}'; {takes}.")


def work_left(plan: XrayPlan, cell: XrayCell, folder: ExperimentFolder) -> tuple[float | None, int | None]:
    """What a cell's system still takes, as `events.Pace` takes it: seconds, or steps."""
    if cell.system == "field":
        return budget_left(folder.run(cell.folder), training_of(cell))
    if cell.population:
        from .xray_learned import seconds_left

        return seconds_left(cell, folder)
    scale = cell.scan.views / 50.0 * (cell.scan.voxels / 128.0) ** 3
    return SOLVER_SECONDS.get(cell.system, 0.0) * scale, None


def training_of(cell: XrayCell) -> Training:
    """The training of a field."""
    return Training("xray", dict(cell.settings), cell.seed, 1, cell.seconds, cell.steps)


def find(job: Job) -> Found:
    """Run a cell's system.

    Raises
    ------
    NerfError
        When it cannot work.
    Cancelled
        What can be gone on with is kept.
    """
    system = job.cell.system
    if system in SOLVER_SECONDS:
        return _solver(job)
    own: dict[str, Callable[[Job], Found]] = {
        "truth": _truth,
        "field": _field,
        "copy": _copy,
        "mean-view": _mean_view,
    }
    if system in own:
        return own[system](job)
    from .xray_learned import find_learned

    return find_learned(job)


def _truth(job: Job) -> Found:
    return Found(of_volume("truth", job.truth.mu, job.grid))


def _field(job: Job) -> Found:
    root = job.folder.run(job.cell.folder)
    run, _, _ = trained(root, job.data, training_of(job.cell), job.device, _Training(job))
    job.tell(1.0, 0.0, "asking the field for its volume")
    found = of_field(run.method, job.grid, job.cell.name, job.should_stop)
    metrics = {"train_seconds": run.spent.seconds, "steps": run.spent.steps}
    return Found(found, metrics, {"run": f"runs/{job.cell.folder}"})


def _solver(job: Job) -> Found:
    cell = job.cell
    settings = {**best_settings(cell.system, len(job.given)), **cell.settings}
    words = f"{cell.system.upper()} of itk-rtk"
    kept = job.folder.root / "solvers"
    job.tell(0.0, None, words)
    # Told how many passes to make, it makes them; else it is let stop where it is best.
    judge = None if "iterations" in cell.settings else TruthJudge(job.truth.mu)
    solved = solve(cell.system, job.given, job.grid, settings, kept, judge, job.part(words), job.should_stop)
    return Found(of_solved(solved, job.grid), {"train_seconds": solved.seconds}, {"solver": dict(solved.settings)})


def _copy(job: Job) -> Found:
    """The given view that was taken from nearest by."""
    views = job.given

    def project(camera: Camera) -> np.ndarray:
        nearest = max(views, key=lambda view: float(view.camera.forward @ camera.forward))
        return resized(nearest.line_integral, camera)

    return Found(Reconstruction(job.cell.name, project))


def _mean_view(job: Job) -> Found:
    """The mean of the given views, from everywhere."""
    mean = np.mean([view.line_integral for view in job.given], axis=0)
    return Found(Reconstruction(job.cell.name, lambda camera: resized(mean, camera)))


def resized(image: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W) line integrals in a camera's size: means where it is smaller, smooth where it is larger."""
    from PIL import Image

    if image.shape == (camera.height, camera.width):
        return np.asarray(image, np.float32)
    kind = Image.Resampling.BOX if camera.width <= image.shape[1] else Image.Resampling.BICUBIC
    picture = Image.fromarray(np.asarray(image, np.float32))
    return np.asarray(picture.resize((camera.width, camera.height), kind), np.float32)


class _Training(TrainEvents):
    """A field's training told as the experiment's."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def loading(self, done: int, total: int) -> None:
        self._job.tell(0.0, None, "reading radiographs")

    def warming_up(self) -> None:
        self._job.tell(0.0, None, "preparing")

    def progress(self, progress: Progress) -> None:
        quality = "" if progress.val_psnr is None else f", {progress.val_psnr:.1f} dB"
        self._job.tell(progress.done, progress.seconds_left, f"training, step {progress.step}{quality}")

    def log(self, level: str, text: str) -> None:
        self._job.log(text)

    def should_stop(self) -> bool:
        return self._job.should_stop()
