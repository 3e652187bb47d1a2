"""The fast method's rays taken apart: the lattice's samples in occupied cells, as rendering composites them."""

import numpy as np

from ..contract.traces import LEFT, MISSED, OPAQUE
from ..kernels.backend import FastBackend
from .base import Normalisation
from .trace import StageSamples, Stretches, Trace, assemble

THICK = 100.0
"""Optical depth that nothing passes."""
FIRST_PIECE, LAST_PIECE = 8, 64
"""Samples that a ray is followed for between two looks at whether anything passes it: most end at their first surface.
"""
LARGEST = 1e9
"""How far a ray is followed that no box ends; the kernels' number."""


def trace_occupancy(
    field: FastBackend, normalisation: Normalisation, origins: np.ndarray, directions: np.ndarray
) -> Trace:
    """The densities that rendering (R, 3) world rays asks for, up to where a ray has become opaque.

    Selected are the samples whose weight is worth a colour. For a person who looks, all of them have one; `full`
    counts the selected ones and `density_only` the others, as rendering does. Bins are the intervals of the lattice
    that lie in occupied cells; what lies between them was skipped.
    """
    settings = field.settings
    scale = normalisation.scale
    unit_origins = normalisation.to_unit(np.asarray(origins, np.float64).reshape(-1, 3)).astype(np.float32)
    directions = np.asarray(directions, np.float32).reshape(-1, 3)
    rays = len(unit_origins)
    near, far = box_range(field, unit_origins, directions)
    march = field.march(unit_origins, directions)
    counts, positions, distances, intervals = march
    ray = np.repeat(np.arange(rays), counts)
    density, color = _look(field, march, directions)
    # In front of each sample, in float64: a running sum over all rays, less what came before the ray.
    # Past THICK it is all the same, and without larger numbers the sum keeps its digits.
    depth = np.minimum(density.astype(np.float64) * intervals, THICK)
    before = np.cumsum(depth) - depth
    starts = np.minimum(np.cumsum(counts) - counts, max(len(depth) - 1, 0))
    transmittance = np.exp(-(before - before[starts[ray]])) if len(ray) else before
    weight = transmittance * -np.expm1(-depth)
    used = transmittance >= settings.transmittance_threshold
    ray, density, color, depth, weight, transmittance = (
        each[used] for each in (ray, density, color, depth, weight, transmittance)
    )
    selected = weight > settings.weight_threshold
    t0, t1 = _intervals(field, distances[used], near[ray], far[ray])

    closed = np.zeros(rays, bool)
    closed[ray[transmittance * np.exp(-depth) < settings.transmittance_threshold]] = True
    end, reason = np.where(near < far, far, 0.0), np.where(near < far, LEFT, MISSED)
    last = np.flatnonzero(np.r_[ray[1:] != ray[:-1], True]) if len(ray) else np.zeros(0, int)
    final = last[closed[ray[last]]]
    end[ray[final]], reason[ray[final]] = t1[final], OPAQUE
    stage = StageSamples(
        ray,
        distances[used] / scale,
        t0 / scale,
        t1 / scale,
        density * scale,
        color,
        weight,
        transmittance,
        depth,
        selected,
    )
    full = np.bincount(ray[selected], minlength=rays)
    return assemble(
        origins,
        directions,
        (near / scale, far / scale),
        [stage],
        bins=Stretches(ray, t0 / scale, t1 / scale, weight),
        skips=gaps(ray, t0, t1, near, end, scale),
        full=full,
        density_only=np.bincount(ray, minlength=rays) - full,
        end=end / scale,
        end_reason=reason,
    )


def _look(
    field: FastBackend, march: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Density and colour of marched samples as far as rays go, a piece of every ray at a time; 0 behind their ends.

    What no view has ever seen stays fog, so that most of an unbounded scene's samples lie behind its walls.
    """
    counts, positions, _, intervals = march
    density, color = np.zeros(len(positions), np.float32), np.zeros((len(positions), 3), np.float32)
    starts = np.cumsum(counts) - counts
    closing = -np.log(max(field.settings.transmittance_threshold, 1e-30))
    depth = np.zeros(len(counts))
    passing = np.flatnonzero(counts)
    first, piece = 0, FIRST_PIECE
    while len(passing):
        long = np.minimum(counts[passing] - first, piece)
        ray = np.repeat(passing, long)
        rows = np.repeat(starts[passing] + first, long) + np.arange(len(ray)) - np.repeat(np.cumsum(long) - long, long)
        density[rows], color[rows] = field.query(positions[rows], directions[ray])
        depth += np.bincount(ray, density[rows].astype(np.float64) * intervals[rows], len(counts))
        first, piece = first + piece, min(2 * piece, LAST_PIECE)
        passing = passing[(counts[passing] > first) & (depth[passing] <= closing)]
    return density, color


def box_range(field: FastBackend, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between which distances a ray has lattice points; the first is not below the second where it misses the box."""
    if field.unbounded:
        lattice = field.lattice()
        return np.full(len(origins), lattice.near), np.full(len(origins), lattice.far)
    tiny = np.float32(1e-9)
    d = np.where(np.abs(directions) < tiny, np.where(directions >= 0, tiny, -tiny), directions)
    a, b = (field.box[0] - origins) / d, (field.box[1] - origins) / d
    near = np.maximum(np.minimum(a, b).max(axis=-1), 0.0)
    far = np.minimum(np.maximum(a, b).min(axis=-1), LARGEST)
    return near.astype(np.float64), far.astype(np.float64)


def _intervals(
    field: FastBackend, distances: np.ndarray, near: np.ndarray, far: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pieces of the lattice that samples stand in the middle of; the last one of a ray ends with the box."""
    t = distances.astype(np.float64)
    if field.unbounded:
        lattice = field.lattice()
        index = np.round(lattice.index(t) - 0.5)
        t0, t1 = lattice.distance(index), lattice.distance(index + 1.0)
        following = lattice.distance(index + 1.5)
    else:
        # From the lattice, so that neighbours share an edge to the bit.
        step = field.fine_step
        index = np.round((t - near) / step - 0.5)
        t0, t1, following = near + index * step, near + (index + 1.0) * step, t + step
    return t0, np.where(following >= far, far, t1)


def gaps(ray: np.ndarray, t0: np.ndarray, t1: np.ndarray, near: np.ndarray, end: np.ndarray, scale: float) -> Stretches:
    """What lies between a ray's intervals, from `near` to `end` (R,): all of it where there is no interval."""
    rays = np.arange(len(near))
    owner = np.concatenate([rays, ray])
    order = np.argsort(owner, kind="stable")  # a ray's beginning comes before its intervals
    begins = np.concatenate([near, t1])[order]
    owner = owner[order]
    # Each gap runs to the next interval of the ray, or to where the ray ends.
    starts_next = np.concatenate([near, t0])[order]
    is_last = np.r_[owner[1:] != owner[:-1], True]
    ends = np.where(is_last, end[owner], np.r_[starts_next[1:], 0.0])
    real = ends - begins > 1e-6 * np.maximum(1.0, ends)
    return Stretches(owner[real], begins[real] / scale, ends[real] / scale)
