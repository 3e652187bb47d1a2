"""The fast method's rays with few samples, placed by a shell of the field: as pictures, and taken apart."""

from dataclasses import replace

import numpy as np

from ..contract.errors import NerfError
from ..contract.samplers import SamplerChoice
from ..contract.traces import LEFT, MISSED, OPAQUE
from ..fields.shell import MAX_SAMPLES
from ..kernels.backend import FastBackend, SurfaceRays
from .base import Normalisation, RayColors
from .cost import RenderCost
from .fast_trace import box_range, gaps
from .trace import StageSamples, Stretches, Trace, assemble, bins_median


def takes_shell(field: FastBackend, choice: SamplerChoice) -> bool:
    """Whether the backend's own shell places these samples; else `sampled` has a sampler for every backend.

    Raises
    ------
    NerfError
        When they are more than it can place.
    """
    if choice.name != "surface" or choice.options or not field.renders_surface:
        return False
    if choice.samples is not None and choice.samples > MAX_SAMPLES:
        raise NerfError(
            f"The fast method's sampler 'surface' places at most {MAX_SAMPLES} samples a ray, not {choice.samples}; "
            "ask for fewer, or take 'occupancy' to see all there is."
        )
    return True


def surface_colors(seen: SurfaceRays, normalisation: Normalisation) -> RayColors:
    """What a backend's shell gave, in world units, with what it cost: look-ups in the shell are proposals."""
    made = int(seen.evaluations.sum(dtype=np.int64))
    cost = RenderCost.of_rays(seen.evaluations, seen.rgba[:, 3], 0, seen.looked)
    depth = np.divide(seen.depth, np.float32(normalisation.scale), out=seen.depth)
    return RayColors(seen.rgba, depth, made, seen.evaluations, cost)


def trace_surface(
    field: FastBackend,
    normalisation: Normalisation,
    origins: np.ndarray,
    directions: np.ndarray,
    samples: int | None,
) -> Trace:
    """(R, 3) world rays taken apart as `render_surface` renders them.

    Bins are the cells of the shell that hold weight. A sample stands for a run of them: from where the first one begins
    to where the last one ends, with all that they hold back, so that its density is that of the whole
    interval; the median depth is the cells'.
    """
    scale = normalisation.scale
    unit = normalisation.to_unit(np.asarray(origins, np.float64).reshape(-1, 3)).astype(np.float32)
    along = np.asarray(directions, np.float32).reshape(-1, 3)
    near, far = box_range(field, unit, along)
    found = field.profile_surface(unit, along, samples)
    rays = len(unit)

    kept = np.arange(found.cells.shape[1]) < found.counts[:, None]
    bin_ray = np.repeat(np.arange(rays), found.counts)
    middle, length, mass = found.cells[kept].T.astype(np.float64)
    bins = Stretches(bin_ray, (middle - 0.5 * length) / scale, (middle + 0.5 * length) / scale, mass)

    places = np.arange(found.samples.shape[1]) < found.groups[:, None]
    ray = np.repeat(np.arange(rays), found.groups)
    t, weight, behind = found.samples[places].T.astype(np.float64)
    starts = np.cumsum(found.counts) - found.counts  # of each ray's cells among all
    last = starts[ray] + behind.astype(np.int64) - 1
    fresh = np.r_[True, ray[1:] != ray[:-1]][: len(ray)]
    first = np.where(fresh, starts[ray], np.r_[0, last[:-1] + 1][: len(ray)])
    t0, t1 = middle[first] - 0.5 * length[first], middle[last] + 0.5 * length[last]
    before = np.cumsum(weight) - weight
    transmittance = 1.0 - (before - before[np.flatnonzero(fresh)[np.cumsum(fresh) - 1]] if len(ray) else before)
    depth = -np.log1p(-np.minimum(weight / np.maximum(transmittance, 1e-12), 1.0 - 1e-12))
    position = (unit[ray] + along[ray] * t[:, None].astype(np.float32)).clip(0.0, 1.0)
    color = field.query(position, along[ray])[1]

    through = np.ones(rays)
    np.subtract.at(through, bin_ray, mass)
    end, reason = np.where(near < far, far, 0.0), np.where(near < far, LEFT, MISSED)
    closed = np.flatnonzero((found.counts > 0) & (through < 1e-3))
    final = starts[closed] + found.counts[closed] - 1
    end[closed], reason[closed] = middle[final] + 0.5 * length[final], OPAQUE
    stage = StageSamples(
        ray,
        t / scale,
        t0 / scale,
        t1 / scale,
        depth / np.maximum(t1 - t0, 1e-9) * scale,
        color,
        weight,
        transmittance,
        depth,
    )
    trace = assemble(
        origins,
        directions,
        (near / scale, far / scale),
        [stage],
        bins,
        gaps(bin_ray, middle - 0.5 * length, middle + 0.5 * length, near, end, scale),
        found.groups,
        0,
        found.looked,
        end=end / scale,
        end_reason=reason,
    )
    return replace(trace, median_depth=bins_median(trace))
