"""How near reconstructions from few radiographs come to volumes that a prior was not made of, beside simpler ways.

On the same radiographs and the same grid: `no prior`, voxels optimised from nothing; the population's `mean` as it is;
`mean + optimisation`, the peer; `low-rank`, the most probable volume of the prior's modes; `low-rank + residual`.
A volume is measured on the prior's grid, radiographs on all views that were not given.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled
from .metrics import peak_of, radiograph_psnr, radiograph_ssim, volume_psnr, volume_ssim
from .prior import Prior
from .prior_cases import Case, given_views, part_of
from .residual import optimise_voxels
from .single_view import (
    Reconstruction,
    ViewTask,
    mean_plus_optimisation,
    mean_settings_of,
    reconstruct,
    settings_of,
    sided_mean,
)

MEAN, PEER, MODES, OURS, NOTHING = "mean", "mean + optimisation", "low-rank", "low-rank + residual", "no prior"
WAYS = (NOTHING, MEAN, PEER, MODES, OURS)


@dataclass(frozen=True)
class Score:
    """One volume by one way from so many views.

    Attributes
    ----------
    volume : str
    views : int
    way : str
        One of `WAYS`.
    volume_psnr, radiograph_psnr : float
        dB (`metrics`).
    volume_ssim, radiograph_ssim : float or None
    """

    volume: str
    views: int
    way: str
    volume_psnr: float
    volume_ssim: float | None
    radiograph_psnr: float | None
    radiograph_ssim: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def ways_of(prior: Prior) -> tuple[str, ...]:
    """The ways that a prior's kind can go."""
    return WAYS if prior.kind == "low_rank" else (NOTHING, MEAN, PEER, OURS)


def find_volume(
    way: str,
    views: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    prior: Prior,
    world_from_prior: np.ndarray,
    meters_per_unit: float = 1.0,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Reconstruction:
    """A volume by one of `WAYS`, as :func:`single_view.reconstruct` takes and gives it."""
    common = (views, cameras, prior, world_from_prior, meters_per_unit)
    if way == PEER:
        return mean_plus_optimisation(*common, progress=progress, should_stop=should_stop)
    if way in (MEAN, NOTHING):
        task = ViewTask(*common)
        mu, flip = sided_mean(prior, task, meters_per_unit)
        if way == NOTHING:
            peer = mean_settings_of(prior, len(views), "nothing")
            mu = optimise_voxels(
                np.zeros_like(mu), task.rays, task.values, peer, meters_per_unit, progress, should_stop
            )
        return Reconstruction(task.grid, mu, None, None, flip, task.error(mu))
    settings = settings_of(prior, len(views))
    if way == MODES:
        settings = replace(settings, residual=None)
    return reconstruct(*common, settings, progress, should_stop)


def score(case: Case, found: Reconstruction, way: str, chosen: Sequence[int]) -> Score:
    """Measure a reconstruction of a case from the `chosen` views: the volume, and the other views' radiographs."""
    rest = [index for index in range(len(case.cameras)) if index not in chosen]
    peak = peak_of(case.line_integrals)
    psnr: list[float] = []
    ssim: list[float] = []
    for index, image in zip(rest, found.radiographs([case.cameras[index] for index in rest]), strict=True):
        truth = case.line_integrals[index]
        psnr.append(radiograph_psnr(image, truth, peak))
        similarity = radiograph_ssim(image, truth, peak)
        ssim += [] if similarity is None else [similarity]
    return Score(
        case.name,
        len(chosen),
        way,
        volume_psnr(found.mu, case.truth),
        volume_ssim(found.mu, case.truth),
        float(np.mean(psnr)) if psnr else None,
        float(np.mean(ssim)) if ssim else None,
    )


def evaluate_prior(
    prior: Prior,
    cases: Sequence[Case],
    views: Sequence[int] = (1, 2),
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_score: Callable[[Case, Reconstruction, Score], None] | None = None,
) -> list[Score]:
    """Every case by every way from so many views each.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    ways = ways_of(prior)
    scores: list[Score] = []
    total = len(cases) * len(views) * len(ways)
    for case in cases:
        for count in views:
            chosen = given_views(len(case.cameras), count)
            pictures, cameras = part_of(case, chosen)
            for way in ways:
                if should_stop is not None and should_stop():
                    raise Cancelled
                found = find_volume(way, pictures, cameras, prior, case.world_from_prior, should_stop=should_stop)
                scores.append(score(case, found, way, chosen))
                if on_score is not None:
                    on_score(case, found, scores[-1])
                if progress is not None:
                    progress(len(scores) / total)
    return scores


def summary(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Mean and standard deviation over volumes of each number of views and way."""
    rows: list[dict[str, Any]] = []
    for views, way in dict.fromkeys((each.views, each.way) for each in scores):
        chosen = [each for each in scores if (each.views, each.way) == (views, way)]
        row: dict[str, Any] = {"views": views, "way": way, "volumes": len(chosen)}
        for name in ("volume_psnr", "volume_ssim", "radiograph_psnr", "radiograph_ssim"):
            values = [value for value in (getattr(each, name) for each in chosen) if value is not None]
            row[name] = float(np.mean(values)) if values else None
            row[f"{name}_deviation"] = float(np.std(values)) if values else None
        rows.append(row)
    return rows
