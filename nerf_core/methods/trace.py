"""Rays taken apart for the inspector: what a `Trace` holds, and how one is put together from a sampler's stages.

Everything is in world space and scene units; rays have unit directions; R rays, S samples, B bins, K stretches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ..contract.traces import BIN_ARRAYS, LEFT, MISSED, OPAQUE, RAY_INDEX_ARRAYS, SAMPLE_ARRAYS, SKIP_ARRAYS

OPAQUE_BELOW = 1e-4
"""Transmittance under which a ray counts as ended, for samplers that have no threshold of their own."""
MARCHED = ("end", "end_reason", "median_depth")
"""What a march through all of the density knows better than the few samples that it placed."""


@dataclass(frozen=True)
class Trace:
    """Every sample along some rays, and why they lie there; sorted by ray, then stage, then t.

    Attributes
    ----------
    ray : (S,) int32 array
        Which ray.
    t : (S,) float32 array
        Distance along the unit direction, world units: where the field was asked.
    t0, t1, dt : (S,) float32 arrays
        The interval that a sample stands for, and its length ``t1 - t0``.
    position : (S, 3) float32 array
        World space.
    density : (S,) float32 array
        Per world unit.
    color : (S, 3) float32 array
        Straight, in the training data's colour space; 0 where it was not asked for.
    weight, transmittance, optical_depth : (S,) float32 arrays
        ``weight = transmittance * (1 - exp(-optical_depth))``; transmittance BEFORE the sample; the optical depth is
        what compositing used, mostly ``density * dt``.
    stage : (S,) int32 array
        0 coarse, or density alone; 1 the last stage of a sampler with several.
    selected : (S,) uint8 array
        1 where the sample's colour is a part of `rgba`.
    rgba : (R, 4) float32 array
        Each ray's final premultiplied colour.
    near, far : (R,) float32 arrays
        Where a ray enters and leaves the box; both 0 where it misses.
    end : (R,) float32 array
        How far the ray was followed: `far`, or the end of the interval behind which nothing more was looked at.
    end_reason : (R,) int32 array
        Index into `contract.traces.END_REASONS`.
    expected_depth, median_depth : (R,) float32 arrays
        Mean of t under the weights; the distance at which half of the ray's alpha is reached. 0 where alpha is 0.
    full, density_only, proposal : (R,) int32 arrays
        Evaluations of density and colour, of density alone, and of what proposes samples.
    bin_ray : (B,) int32 array; bin_t0, bin_t1, bin_weight : (B,) float32 arrays
        What placed the last stage's samples: intervals with their share of the ray's probability, which sums to 1 a
        ray. For the occupancy sampler: the intervals of the lattice that lie in occupied cells.
    skip_ray : (K,) int32 array; skip_t0, skip_t1 : (K,) float32 arrays
        Stretches that were passed over because their cells are empty.
    """

    ray: np.ndarray
    t: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    dt: np.ndarray
    position: np.ndarray
    density: np.ndarray
    color: np.ndarray
    weight: np.ndarray
    transmittance: np.ndarray
    optical_depth: np.ndarray
    stage: np.ndarray
    selected: np.ndarray
    rgba: np.ndarray
    near: np.ndarray
    far: np.ndarray
    end: np.ndarray
    end_reason: np.ndarray
    expected_depth: np.ndarray
    median_depth: np.ndarray
    full: np.ndarray
    density_only: np.ndarray
    proposal: np.ndarray
    bin_ray: np.ndarray
    bin_t0: np.ndarray
    bin_t1: np.ndarray
    bin_weight: np.ndarray
    skip_ray: np.ndarray
    skip_t0: np.ndarray
    skip_t1: np.ndarray


@dataclass(frozen=True)
class StageSamples:
    """One stage's samples, packed: sorted by ray, then t.

    Attributes
    ----------
    ray : (S,) int array
    t, t0, t1, density, optical_depth, weight, transmittance : (S,) arrays
        As in `Trace`.
    color : (S, 3) array
    selected : (S,) bool array, optional
        What the picture is made of; by default all of the last stage and nothing of the others.
    """

    ray: np.ndarray
    t: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    density: np.ndarray
    color: np.ndarray
    weight: np.ndarray
    transmittance: np.ndarray
    optical_depth: np.ndarray
    selected: np.ndarray | None = None


@dataclass(frozen=True)
class Stretches:
    """Intervals along rays, sorted by ray, then t: bins with their mass, or what was skipped (`weight` None)."""

    ray: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    weight: np.ndarray | None = None

    @classmethod
    def none(cls) -> "Stretches":
        """No stretch at all."""
        nothing = np.zeros(0, np.float32)
        return cls(np.zeros(0, np.int32), nothing, nothing, nothing)


def assemble(
    origins: np.ndarray,
    directions: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
    stages: Sequence[StageSamples],
    bins: Stretches | None = None,
    skips: Stretches | None = None,
    full: np.ndarray | int = 0,
    density_only: np.ndarray | int = 0,
    proposal: np.ndarray | int = 0,
    opaque_below: float = OPAQUE_BELOW,
    end: np.ndarray | None = None,
    end_reason: np.ndarray | None = None,
) -> Trace:
    """Put a trace together from what a sampler's stages evaluated.

    Parameters
    ----------
    origins, directions : (R, 3) arrays
        World rays.
    box : two (R,) arrays
        Where the rays enter and leave the box; one that misses has ``near >= far``.
    stages : sequence of StageSamples
        First to last; one at least. The picture is made of the last one's selected samples.
    bins, skips : Stretches, optional
        Bins' weights need not sum to 1: they are scaled; a ray without any weight gets a uniform density.
    full, density_only, proposal : (R,) int arrays, or one number for every ray that meets the box
    opaque_below : float
        A ray of whose light less comes through has ended.
    end, end_reason : (R,) arrays, optional
        Where and why rays ended, for samplers that know better than their last samples tell.
    """
    near, far = (np.asarray(each, np.float64) for each in box)
    missed = near >= far
    near, far = np.where(missed, 0.0, near), np.where(missed, 0.0, far)
    rays = len(near)
    last = stages[-1]
    chosen = np.ones(len(last.ray), bool) if last.selected is None else np.asarray(last.selected, bool)
    rgba, expected, median = _composited(last, chosen, rays)
    if end is None or end_reason is None:
        end, end_reason = _ends(last, far, missed, opaque_below)
    bins = _normalised(bins or Stretches.none(), rays)
    skips = skips or Stretches.none()

    def gathered(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(getattr(stage, name), np.float64) for stage in stages])[order]

    def joined(name: str) -> np.ndarray:
        return gathered(name).astype(np.float32)

    def counted(number: np.ndarray | int) -> np.ndarray:
        return np.where(missed, 0, number).astype(np.int32)

    ray = np.concatenate([stage.ray for stage in stages])
    numbers = np.repeat(np.arange(len(stages)), [len(each.ray) for each in stages])
    # However many stages led there, the last one is 1; what only one stage has is its first.
    stage = numbers * (numbers == len(stages) - 1) > 0
    if len(stages) > 2:
        order = np.lexsort((np.concatenate([each.t for each in stages]), stage, ray))
    else:  # each is sorted, and one comes after the other: a stable sort by ray leaves that order within a ray
        order = np.argsort(ray, kind="stable")
    selected = np.concatenate([np.zeros(len(ray) - len(chosen), bool), chosen])[order]
    ray = ray[order].astype(np.int32)
    t, t0, t1 = gathered("t"), gathered("t0"), gathered("t1")
    position = np.asarray(origins, np.float64)[ray] + np.asarray(directions, np.float64)[ray] * t[:, None]
    return Trace(
        ray=ray,
        t=t.astype(np.float32),
        t0=t0.astype(np.float32),
        t1=t1.astype(np.float32),
        dt=(t1 - t0).astype(np.float32),
        position=position.astype(np.float32).reshape(-1, 3),
        density=joined("density"),
        color=joined("color").reshape(-1, 3),
        weight=joined("weight"),
        transmittance=joined("transmittance"),
        optical_depth=joined("optical_depth"),
        stage=stage[order].astype(np.int32),
        selected=selected.astype(np.uint8),
        rgba=rgba.astype(np.float32),
        near=near.astype(np.float32),
        far=far.astype(np.float32),
        end=np.asarray(end).astype(np.float32),
        end_reason=np.asarray(end_reason).astype(np.int32),
        expected_depth=expected.astype(np.float32),
        median_depth=median.astype(np.float32),
        full=counted(full),
        density_only=counted(density_only),
        proposal=counted(proposal),
        bin_ray=bins.ray.astype(np.int32),
        bin_t0=bins.t0.astype(np.float32),
        bin_t1=bins.t1.astype(np.float32),
        bin_weight=np.asarray(bins.weight).astype(np.float32),
        skip_ray=skips.ray.astype(np.int32),
        skip_t0=skips.t0.astype(np.float32),
        skip_t1=skips.t1.astype(np.float32),
    )


def join(parts: Sequence[tuple[int, Trace]]) -> Trace:
    """One trace of parts of the rays: (number of the first ray, trace) in the order of the rays."""
    return Trace(
        **{
            each.name: np.concatenate(
                [
                    getattr(trace, each.name) + np.int32(first)
                    if each.name in RAY_INDEX_ARRAYS
                    else getattr(trace, each.name)
                    for first, trace in parts
                ]
            )
            for each in fields(Trace)
        }
    )


def with_march(march: Trace, placed: Trace) -> Trace:
    """A trace of few coloured samples that a march through all of the density placed: that becomes its first stage.

    Bins, skipped stretches, ends and the median depth are the march's; colour, expected depth and costs are those of
    the few.
    """
    placed_stage = np.ones_like(placed.stage)
    ray, t = np.concatenate([march.ray, placed.ray]), np.concatenate([march.t, placed.t])
    stage = np.concatenate([np.zeros_like(march.stage), placed_stage])
    order = np.lexsort((t, stage, ray))
    joined = {
        name: np.concatenate([getattr(march, name), getattr(placed, name)])[order]
        for name in SAMPLE_ARRAYS
        if name not in ("stage", "selected")
    }
    selected = np.concatenate([np.zeros_like(march.selected), placed.selected])[order]
    from_march = {name: getattr(march, name) for name in (*BIN_ARRAYS, *SKIP_ARRAYS, *MARCHED)}
    return replace(placed, **joined, **from_march, stage=stage[order], selected=selected)


def bins_median(trace: Trace) -> np.ndarray:
    """(R,) distances by which half of each ray's bins' weight is reached; 0 where a ray has no bin.

    Where bins are what the picture's alpha is made of, this is the median depth: a sample that stands for several bins
    says less about what lies inside its interval.
    """
    rays, weight = len(trace.near), trace.bin_weight.astype(np.float64)
    running = np.cumsum(weight)
    index = np.searchsorted(trace.bin_ray, np.arange(rays))
    has = np.bincount(trace.bin_ray, minlength=rays) > 0
    before = np.concatenate([[0.0], running])[index]
    at = np.searchsorted(running, before + 0.5, side="left")  # a ray's weights sum to 1, but for rounding
    at = np.minimum(at, np.searchsorted(trace.bin_ray, np.arange(rays), side="right") - 1)[has]
    share = (before[has] + 0.5 - running[at] + weight[at]) / np.maximum(weight[at], 1e-30)
    t0, t1 = trace.bin_t0[at].astype(np.float64), trace.bin_t1[at].astype(np.float64)
    median = np.zeros(rays, np.float32)
    median[has] = t0 + (t1 - t0) * np.clip(share, 0.0, 1.0)
    return median


def _composited(last: StageSamples, chosen: np.ndarray, rays: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Premultiplied colour (R, 4), expected depth and median depth (R,) of a stage's chosen samples."""
    ray = np.asarray(last.ray)[chosen]
    weight = np.asarray(last.weight, np.float64)[chosen]
    t, color = np.asarray(last.t, np.float64)[chosen], np.asarray(last.color, np.float64).reshape(-1, 3)[chosen]
    channels = [np.bincount(ray, weight * color[:, axis], rays) for axis in range(3)]
    alpha = np.bincount(ray, weight, rays)
    hit = alpha > 0
    expected = np.divide(np.bincount(ray, weight * t, rays), alpha, out=np.zeros(rays), where=hit)

    running = np.cumsum(weight)
    starts = np.searchsorted(ray, np.arange(rays))
    before = np.concatenate([[0.0], running])[starts]  # of all rays in front of each
    # Rays follow each other in the running sum, which only grows: one search finds all their middles.
    index = np.minimum(np.searchsorted(running, before + 0.5 * alpha, side="left"), max(len(running) - 1, 0))
    median = np.zeros(rays)
    if len(running):
        t0, t1 = np.asarray(last.t0, np.float64)[chosen][index], np.asarray(last.t1, np.float64)[chosen][index]
        share = (before + 0.5 * alpha - (running[index] - weight[index])) / np.maximum(weight[index], 1e-30)
        depth = np.asarray(last.optical_depth, np.float64)[chosen][index]
        # How far into an interval of even density that share of what it stops has been stopped.
        stopped = np.clip(share, 0.0, 1.0) * -np.expm1(-depth)
        along = np.where(depth > 1e-6, -np.log1p(-np.minimum(stopped, 1.0 - 1e-12)) / np.maximum(depth, 1e-6), share)
        median = np.where(hit, t0 + (t1 - t0) * np.clip(along, 0.0, 1.0), 0.0)
    return np.stack([*channels, alpha], axis=-1), expected, median


def _ends(last: StageSamples, far: np.ndarray, missed: np.ndarray, below: float) -> tuple[np.ndarray, np.ndarray]:
    """Where rays end and why: behind their first sample that lets less than `below` through, else at `far`."""
    passing = np.asarray(last.transmittance, np.float64) * np.exp(-np.asarray(last.optical_depth, np.float64))
    closing = np.flatnonzero(passing < below)
    first = np.full(len(far), -1)
    ray = np.asarray(last.ray)[closing]
    first[ray[::-1]] = closing[::-1]  # the first of a ray is written last
    closed = first >= 0
    end, reason = far.copy(), np.where(missed, MISSED, LEFT)
    end[closed] = np.minimum(np.asarray(last.t1, np.float64)[first[closed]], far[closed])
    reason[closed] = OPAQUE
    return end, reason


def _normalised(bins: Stretches, rays: int) -> Stretches:
    """Bins whose weights sum to 1 a ray; in proportion to their lengths where a ray has no weight."""
    if not len(bins.ray):
        return bins
    weight = np.asarray(bins.weight, np.float64)
    length = np.maximum(np.asarray(bins.t1, np.float64) - bins.t0, 0.0)
    empty = np.bincount(bins.ray, weight, rays) <= 1e-12
    weight = np.where(empty[bins.ray], length, weight)
    total = np.bincount(bins.ray, weight, rays)
    return Stretches(bins.ray, bins.t0, bins.t1, weight / np.maximum(total[bins.ray], 1e-300))
