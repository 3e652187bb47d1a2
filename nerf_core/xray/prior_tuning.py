"""What a prior is tuned to, on volumes that its modes were not made of: how many modes, noises, weights; its peer, too.

One setting after the other, each to the best mean volume PSNR over the held-out volumes, for each number of views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from ..contract.errors import Cancelled
from .metrics import volume_psnr
from .prior import Prior
from .prior_cases import Case, given_views, part_of
from .prior_fit import Fit
from .residual import ResidualSettings, add_residual, optimise_voxels
from .single_view import ReconstructSettings, ViewTask, fit_sides, sided_mean

VIEWS = (1, 2)
SHAPES, APPEARANCES = (12, 24, 48), (0, 4, 12)
FIT_NOISES, ALIGNMENTS = (0.7, 1.4), (0.0, 0.3)
RESIDUAL_NOISES, CONFIDENCES, RESIDUAL_TVS = (0.2, 0.5, 1.0), (0.35, 0.7, 1.4), (0.0, 0.002, 0.02)
# The peer's: whether total variation is that of the difference from the mean; its weight; steps; noise.
PEERS = ("mean", "nothing")
PEER_TVS = (0.001, 0.01, 0.1)
PEER_STEPS = (2, 4, 8, 15, 30)


@dataclass
class _Task:
    """One case from so many views."""

    case: Case
    views: int
    task: ViewTask
    fit: Fit | None = None
    flip: bool = False


def tune(
    prior: Prior,
    cases: Sequence[Case],
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Prior:
    """The prior with its `tuned`, its `deviation`, and no more modes than help.

    Parameters
    ----------
    prior : Prior
        With all the modes that its population gives.
    cases : sequence of Case
        Of volumes that are not in its population.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    tasks = []
    for case in cases:
        for views in VIEWS:
            pictures, cameras = part_of(case, given_views(len(case.cameras), views))
            tasks.append(_Task(case, views, ViewTask(pictures, cameras, prior, case.world_from_prior)))
    by_views = {views: [each for each in tasks if each.views == views] for views in VIEWS}
    tuned: dict[str, float] = {}

    def tell(part: float) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled
        if progress is not None:
            progress(part)

    tell(0)
    low_rank = prior.kind == "low_rank"
    if low_rank:
        prior = _fewest_modes(prior, tasks, should_stop)
    for views, chosen in by_views.items():
        tell(0.2)
        pairs = [(noise, still) for noise in FIT_NOISES for still in ALIGNMENTS] if low_rank else [(1.0, 0.0)]
        values = [_fit_all(prior, chosen, noise, alignment, should_stop) for noise, alignment in pairs]
        noise, alignment = pairs[int(np.argmax(values))]
        tuned |= {f"fit_noise.{views}": noise, f"alignment.{views}": alignment}
        _fit_all(prior, chosen, noise, alignment, should_stop)
    tell(0.5)
    if low_rank:
        # What the modes leave of volumes that they were not made of, voxel by voxel.
        left = [np.square(_straight(each.case.truth - each.fit.mu, each)) for each in tasks if each.fit is not None]
        deviation = np.sqrt(gaussian_filter(np.mean(left, axis=0), 1.0, mode="nearest"))
        prior = replace(prior, deviation=deviation.astype(np.float32))
        for views, chosen in by_views.items():
            _fit_all(prior, chosen, tuned[f"fit_noise.{views}"], tuned[f"alignment.{views}"], should_stop)
    for views, chosen in by_views.items():
        tell(0.6)
        if low_rank:
            tuned[f"expected_error.{views}"] = float(
                np.mean([each.fit.error for each in chosen if each.fit is not None])
            )
        found = _tuned_residual(chosen, should_stop)
        tuned[f"residual_noise.{views}"] = found.noise
        tuned[f"confidence.{views}"] = found.confidence
        tuned[f"residual_tv.{views}"] = found.tv
    for views, chosen in by_views.items():
        for index, name in enumerate(PEERS):
            tell(0.8 + 0.1 * index)
            peer = _tuned_peer(prior, chosen, name == "nothing", should_stop)
            tuned[f"{name}_noise.{views}"] = peer.noise
            tuned[f"{name}_tv.{views}"] = peer.tv
            tuned[f"{name}_about_start.{views}"] = float(peer.about_start)
            tuned[f"{name}_steps.{views}"] = float(peer.steps)
    tell(1.0)
    return replace(prior, tuned=tuned)


def _straight(volume: np.ndarray, task: _Task) -> np.ndarray:
    """As the prior lies, where the other side's was fitted."""
    return volume[::-1] if task.flip else volume


def _tuned_residual(tasks: Sequence[_Task], should_stop: Callable[[], bool] | None) -> ResidualSettings:
    best = ReconstructSettings().residual or ResidualSettings()

    def search(options: list[ResidualSettings]) -> ResidualSettings:
        values = [_residual_all(tasks, option, should_stop) for option in options]
        return options[int(np.argmax(values))]

    best = search([replace(best, noise=noise) for noise in RESIDUAL_NOISES])
    best = search([replace(best, confidence=confidence) for confidence in CONFIDENCES])
    return search([replace(best, tv=tv) for tv in RESIDUAL_TVS])


def _tuned_peer(
    prior: Prior, tasks: Sequence[_Task], from_nothing: bool, should_stop: Callable[[], bool] | None
) -> ResidualSettings:
    """One run of the most steps for each weight; it passes through those of fewer steps."""
    best, highest = ResidualSettings(), -np.inf
    weights = [(False, tv) for tv in (0.0, *PEER_TVS)]
    weights += [] if from_nothing else [(True, tv) for tv in PEER_TVS]
    for about, tv in weights:
        settings = ResidualSettings(noise=0.2, tv=tv, about_start=about, steps=max(PEER_STEPS))
        values = np.zeros(len(PEER_STEPS))
        for each in tasks:
            start, _ = sided_mean(prior, each.task)
            start = np.zeros_like(start) if from_nothing else start
            reached = np.full(len(PEER_STEPS), volume_psnr(start, each.case.truth))

            def on_step(step: int, mu: np.ndarray, each: _Task = each, reached: np.ndarray = reached) -> None:
                later = np.array(PEER_STEPS) >= step  # one that ends early stays what it is
                if step in PEER_STEPS:
                    reached[later] = volume_psnr(mu, each.case.truth)

            last = optimise_voxels(
                start, each.task.rays, each.task.values, settings, should_stop=should_stop, on_step=on_step
            )
            reached[-1] = volume_psnr(last, each.case.truth)
            values += reached / len(tasks)
        if values.max() > highest:
            best, highest = replace(settings, steps=PEER_STEPS[int(np.argmax(values))]), float(values.max())
    return best


def _fewest_modes(prior: Prior, tasks: Sequence[_Task], should_stop: Callable[[], bool] | None) -> Prior:
    def truncated(shapes: int, appearances: int) -> Prior:
        return replace(prior, displacement=prior.displacement[:shapes], appearance=prior.appearance[:appearances])

    most, shades = len(prior.displacement), len(prior.appearance)
    shapes = sorted({min(count, most) for count in SHAPES})
    appearances = sorted({min(count, shades) for count in APPEARANCES})
    values = [_fit_all(truncated(count, shades), tasks, 1.0, 0.0, should_stop) for count in shapes]
    best = shapes[int(np.argmax(values))]
    values = [_fit_all(truncated(best, count), tasks, 1.0, 0.0, should_stop) for count in appearances]
    return truncated(best, appearances[int(np.argmax(values))])


def _fit_all(
    prior: Prior,
    tasks: Sequence[_Task],
    noise: float,
    alignment: float,
    should_stop: Callable[[], bool] | None,
) -> float:
    """The mean volume PSNR of the modes' volumes, which stay in the tasks."""
    found = []
    for each in tasks:
        each.fit, each.flip = fit_sides(prior, each.task, noise, alignment, should_stop=should_stop)
        found.append(volume_psnr(each.fit.mu, each.case.truth))
    return float(np.mean(found))


def _residual_all(tasks: Sequence[_Task], settings: ResidualSettings, should_stop: Callable[[], bool] | None) -> float:
    found = []
    for each in tasks:
        assert each.fit is not None
        mu = add_residual(
            each.fit.mu, each.fit.deviation, each.task.rays, each.task.values, settings, should_stop=should_stop
        )
        found.append(volume_psnr(mu, each.case.truth))
    return float(np.mean(found))
