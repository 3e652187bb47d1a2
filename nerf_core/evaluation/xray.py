"""An attenuation field measured as a volume and by radiographs that it was not given, beside the solvers FDK and SART.

All of them are measured alike: the volume on the grid of the truth, the radiographs as line integrals p along the same
rays, with one range for the set (`xray.metrics`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, DataError, NerfError
from ..contract.xray import NOT_FOR_DIAGNOSIS, XrayFacts
from ..data.dataset import load_dataset
from ..data.placement import Placement
from ..data.views import View
from ..methods.base import Method
from ..training.load import LoadedRun
from ..xray.grid import Grid
from ..xray.metrics import peak_of, radiograph_psnr, radiograph_ssim, volume_psnr, volume_ssim
from ..xray.solver_cache import Solved, best_settings, judge_of, solve
from ..xray.true_volume import Truth, find_truth

DEFAULT_SOLVERS = ("fdk", "sart")
LONGEST = 128  # voxels along the longest side that volumes are measured on
POINTS_AT_ONCE = 1 << 18
OWN_SHARE, SHARES = 0.2, {"fdk": 0.05, "sart": 0.75}  # of the time, roughly


class AttenuationField(Protocol):
    """What a method must be able to do to be measured here, besides `Method.query_density`."""

    def line_integrals(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N,) line integrals along (N, 3) world rays with unit directions."""


@dataclass(frozen=True)
class Reconstruction:
    """Something that explains radiographs.

    Attributes
    ----------
    name : str
    project : callable
        From a camera to its line integrals, (H, W).
    volume : (X, Y, Z) array or None
        Attenuation per world unit on the truth's grid; None where it has none.
    seconds : float or None
        What it took to find.
    settings : dict
        How it was found.
    """

    name: str
    project: Callable[[Camera], np.ndarray]
    volume: np.ndarray | None = None
    seconds: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Quality:
    """A reconstruction's numbers; None where there is nothing to measure against, or with."""

    name: str
    volume_psnr: float | None
    volume_ssim: float | None
    radiograph_psnr: float
    radiograph_ssim: float | None
    seconds: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**vars(self), "settings": dict(self.settings)}


@dataclass(frozen=True)
class XrayEvaluation:
    """A run and its peers on one set of radiographs.

    Attributes
    ----------
    rows : sequence of Quality
        The run's own first.
    given, held_out : int
        Radiographs that all were given, and that they are measured on.
    split : str
    truth : str or None
        The true volume's name.
    shape : (X, Y, Z) or None
        Voxels that volumes are compared on.
    noise : dict or None
        Of the data set's training radiographs; what `nerf drr` holds out has none.
    fitted : bool
        Whether each radiograph was compared after the best gain and offset, and each volume after the best factor,
        because the data set's radiographs are scaled each by itself.
    remark, volume_remark : str
        What could not be done; what was done to the true volume, or why volumes are not measured. May be empty.
    """

    rows: Sequence[Quality]
    given: int
    held_out: int
    split: str
    truth: str | None
    shape: tuple[int, int, int] | None
    noise: Mapping[str, Any] | None = field(default=None, hash=False)
    fitted: bool = False
    remark: str = ""
    volume_remark: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            **{key: value for key, value in vars(self).items() if key != "rows"},
            "shape": None if self.shape is None else list(self.shape),
            "systems": [row.to_dict() for row in self.rows],
            "not_for_diagnosis": NOT_FOR_DIAGNOSIS,
        }

    def lines(self) -> list[str]:
        """For a person."""
        heads = ("volume dB", "volume SSIM", "radiograph dB", "radiograph SSIM", "found in")
        width = max(6, *(len(row.name) for row in self.rows))
        lines = [f"{'system':{width}}  " + "  ".join(heads)]
        for row in self.rows:
            numbers = (
                _text(row.volume_psnr, 9, 2),
                _text(row.volume_ssim, 11, 4),
                _text(row.radiograph_psnr, 13, 2),
                _text(row.radiograph_ssim, 15, 4),
                f"{'-' if row.seconds is None else f'{row.seconds:.1f} s':>8}",
            )
            lines.append(f"{row.name:{width}}  " + "  ".join(numbers))
        on = f"{self.held_out} radiographs of the split '{self.split}', as line integrals"
        lines.append(f"given: {self.given} radiographs; radiographs: {on}" + (", each fitted" if self.fitted else ""))
        if self.shape is not None:
            lines.append(f"volume: against '{self.truth}' on {'x'.join(map(str, self.shape))} voxels")
        elif self.truth is None and not self.volume_remark:
            lines.append("volume: the data set carries no true volume to measure against")
        return [*lines, *filter(None, [self.volume_remark, self.remark]), NOT_FOR_DIAGNOSIS]


def measure(
    found: Reconstruction,
    truth: Truth | None,
    views: Sequence[View],
    facts: XrayFacts,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[float], None] | None = None,
    on_radiograph: Callable[[View, np.ndarray, float], None] | None = None,
) -> Quality:
    """A reconstruction's numbers.

    Parameters
    ----------
    found : Reconstruction
    truth : Truth or None
    views : sequence of View
        Radiographs that it was not given.
    facts : XrayFacts
        Of their data set.
    should_stop, progress : callable, optional
    on_radiograph : callable, optional
        Called with (view, line integrals, PSNR) after each.

    Raises
    ------
    DataError
        When a view has no line integrals.
    Cancelled
    """
    truths = [view.line_integral for view in views]
    if any(each is None for each in truths):
        raise DataError("A view has no line integrals to be measured against.")
    peak = peak_of(truths)  # type: ignore[arg-type] # all are there
    psnrs, ssims = [], []
    for index, (view, expected) in enumerate(zip(views, truths, strict=True)):
        assert expected is not None
        image = found.project(view.camera)
        if facts.scaling == "per_view":
            image = fitted(image, expected)
        psnrs.append(radiograph_psnr(image, expected, peak))
        ssims.append(radiograph_ssim(image, expected, peak))
        if on_radiograph is not None:
            on_radiograph(view, image, psnrs[-1])
        if progress is not None:
            progress((index + 1) / len(views))
        if should_stop is not None and should_stop():
            raise Cancelled
    volume = found.volume
    if facts.scaling == "per_view" and volume is not None and truth is not None:
        volume = rescaled(volume, truth.mu)
    known = truth is not None and volume is not None
    similar = [each for each in ssims if each is not None]
    return Quality(
        found.name,
        volume_psnr(volume, truth.mu) if known else None,  # type: ignore[arg-type, union-attr] # known says so
        volume_ssim(volume, truth.mu) if known else None,  # type: ignore[arg-type, union-attr]
        float(np.mean(psnrs)),
        float(np.mean(similar)) if similar else None,
        found.seconds,
        found.settings,
    )


def fitted(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The image with the gain and offset that bring it nearest to the truth (least squares)."""
    centred = image - image.mean()
    spread = float((centred**2).sum())
    gain = float((centred * (truth - truth.mean())).sum()) / spread if spread > 0 else 0.0
    return gain * centred + truth.mean()


def rescaled(volume: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The volume times the factor that brings it nearest to the truth (least squares)."""
    spread = float(np.square(volume, dtype=np.float64).sum())
    factor = float((volume * truth).sum(dtype=np.float64)) / spread if spread > 0 else 0.0
    return volume * np.float32(factor)


def of_field(
    method: Method, grid: Grid | None, name: str, should_stop: Callable[[], bool] | None = None
) -> Reconstruction:
    """A trained attenuation field.

    Parameters
    ----------
    method : Method
        With `line_integrals`.
    grid : Grid or None
        Where its volume is asked for.
    name : str
    should_stop : callable, optional
    """

    def project(camera: Camera) -> np.ndarray:
        origins, directions = (each.reshape(-1, 3).astype(np.float32) for each in camera.rays())
        values = method.line_integrals(origins, directions)  # type: ignore[attr-defined]
        return np.asarray(values, np.float32).reshape(camera.height, camera.width)

    return Reconstruction(name, project, None if grid is None else field_volume(method, grid, should_stop))


def field_volume(method: Method, grid: Grid, should_stop: Callable[[], bool] | None = None) -> np.ndarray:
    """(X, Y, Z) float32 attenuation per world unit at a grid's voxel centres."""
    values = np.empty(grid.shape, np.float32)
    slabs = max(1, POINTS_AT_ONCE // (grid.shape[1] * grid.shape[2]))
    for first in range(0, grid.shape[0], slabs):
        if should_stop is not None and should_stop():
            raise Cancelled
        points = grid.slab(first, min(first + slabs, grid.shape[0]))
        values[first : first + slabs] = method.query_density(points.reshape(-1, 3)).reshape(points.shape[:3])
    return values


def of_volume(
    name: str, mu: np.ndarray, grid: Grid, seconds: float | None = None, settings: Mapping[str, Any] | None = None
) -> Reconstruction:
    """A volume on the truth's grid, seen by our own projector."""
    from ..xray.projector import project_camera

    def project(camera: Camera) -> np.ndarray:
        return project_camera(mu, grid.world_from_index, camera)

    return Reconstruction(name, project, mu, seconds, settings or {})


def of_solved(solved: Solved, grid: Grid) -> Reconstruction:
    """What a solver found."""
    return of_volume(solved.name, solved.mu, grid, solved.seconds, solved.settings)


def evaluate_xray(
    run: LoadedRun,
    data: Path,
    views: Sequence[View],
    split: str,
    downscale: int = 1,
    solvers: Sequence[str] | None = None,
    longest: int = LONGEST,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> XrayEvaluation:
    """A run's attenuation field beside the solvers, on the radiographs that it was trained with.

    Parameters
    ----------
    run : LoadedRun
        Of a method with `line_integrals`.
    data : Path
        Its radiograph data set.
    views : sequence of View
        What is measured on, in the run's world.
    split : str
        Their name.
    downscale : int
        Of the radiographs that the solvers are given.
    solvers : sequence of str, optional
        Of `xray.solvers.SOLVERS`; by default FDK and SART, where `itk-rtk` is there.
    longest : int
        Voxels along the volume's longest side, at most.
    progress, should_stop : callable, optional

    Raises
    ------
    NerfError
        When a solver that is asked for cannot work, or the data set is not usable.
    Cancelled
    """
    placement = Placement.from_dict(run.settings.get("placement"))
    dataset = load_dataset(data, downscale, splits=("train",), should_stop=should_stop, placement=placement)
    if dataset.xray is None:
        raise DataError(f"The data set '{data}' holds no radiographs.")
    for name in solvers or ():
        best_settings(name, 1)  # refuses what is not known before anything is computed
    truth, volume_remark = None, ""
    try:
        truth = find_truth(data, placement, longest)
        volume_remark = "" if truth is None else truth.remark
    except DataError as error:
        volume_remark = f"without the volumes' numbers: {error}"
    grid = Grid.of_bounds(run.bounds, longest) if truth is None else truth.grid
    names = DEFAULT_SOLVERS if solvers is None else tuple(solvers)
    given = training_views(run, dataset.splits["train"].views) if names else []
    stages = _Stages([OWN_SHARE, *(SHARES.get(name, 0.3) for name in names)], progress)
    own = of_field(run.method, None if truth is None else grid, "field", should_stop)
    own = replace(own, seconds=run.spent.seconds, settings={"steps": run.spent.steps})
    rows = [measure(own, truth, views, dataset.xray, should_stop, stages.next())]
    remark = ""
    judge = judge_of(None if truth is None else truth.mu, views, grid)
    for name in names:
        try:
            kept = run.folder.root / "solvers"
            solved = solve(name, given, grid, None, kept, judge, stages.next(), should_stop)
        except NerfError as error:
            if solvers is not None:
                raise
            remark = f"without {' and '.join(names)}: {error}"
            break
        rows.append(measure(of_solved(solved, grid), truth, views, dataset.xray, should_stop))
    return XrayEvaluation(
        rows,
        len(run.cameras),
        len(views),
        split,
        None if truth is None else truth.name,
        None if truth is None else truth.grid.shape,
        dataset.xray.noise,
        dataset.xray.scaling == "per_view",
        remark,
        volume_remark,
    )


def training_views(run: LoadedRun, views: Sequence[View]) -> list[View]:
    """Those of a data set's training views that a run was trained with.

    Raises
    ------
    DataError
        When it holds none of them: solvers would be given others than the field was.
    """
    known = [camera.c2w for camera in run.cameras]
    reach = 1e-6 / run.method.normalisation.scale
    found = [view for view in views if any(np.abs(view.camera.c2w - c2w).max() < reach for c2w in known)]
    if not found:
        raise DataError(
            "The data set holds none of the radiographs that the run was trained with, which solvers are to be given "
            "too: name the run's own data set, or measure the field alone with --solvers none."
        )
    return found


class _Stages:
    """The progress of stages one after another as that of them all."""

    def __init__(self, shares: Sequence[float], progress: Callable[[float], None] | None) -> None:
        self._shares, self._progress, self._begun = list(shares), progress, 0

    def next(self) -> Callable[[float], None]:
        """What the next stage tells its part that is done."""
        whole, before = sum(self._shares), sum(self._shares[: self._begun])
        share = self._shares[self._begun]
        self._begun += 1

        def told(part: float) -> None:
            if self._progress is not None:
                self._progress((before + part * share) / whole)

        return told


def _text(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
