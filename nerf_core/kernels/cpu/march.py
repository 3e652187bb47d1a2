"""Rays through the occupancy grid: where they enter the box and which of their lattice points lie in occupied cells.

All in the unit cube. The occupancy grid has a byte a cell, and a byte for each block of 4^3 cells, which lets a ray
leave an empty block in one step.
"""

import math

import numpy as np

from .compile import compiled

TINY = np.float32(1e-9)
ZERO, ONE = np.float32(0.0), np.float32(1.0)
BLOCK = 4
"""Cells along a block's side."""
SHIFT = 2
"""A cell's index shifted right by this is its block's."""


@compiled
def clip_to_box(origin, direction, box):
    """Distances at which a ray enters and leaves a box [2, 3]; it misses where the first is not below the second."""
    near = np.float32(0.0)
    far = np.float32(1e9)
    for axis in range(3):
        d = direction[axis]
        if abs(d) < TINY:
            d = TINY if d >= np.float32(0.0) else -TINY
        a = (box[0, axis] - origin[axis]) / d
        b = (box[1, axis] - origin[axis]) / d
        near = max(near, min(a, b))
        far = min(far, max(a, b))
    return near, far


@compiled
def reciprocal(component):
    """1 / a direction's component; a huge number of either sign where it is (nearly) zero."""
    if abs(component) < TINY:
        return ONE / TINY
    return ONE / component


@compiled
def march(origin, direction, start, step, far, lattice, limit, cells, blocks, positions, distances, at):
    """Find up to `limit` lattice points of a ray that lie in occupied cells.

    Parameters
    ----------
    origin, direction : (3,) float32 arrays
    start, step : float32
        The lattice: ``start + i * step`` for whole i.
    far : float32
        Where the ray leaves the box.
    lattice : int
        The first i to look at.
    cells : (G, G, G) uint8 array, indexed z, y, x
    blocks : (G / 4, G / 4, G / 4) uint8 array
    positions, distances : arrays that are filled from index `at`

    Returns
    -------
    count : int
        How many were found; fewer than `limit` means that the ray has left the box.
    lattice : int
        Where to go on.
    """
    side = cells.shape[0]
    last = side - 1
    scale = np.float32(side)
    fine, coarse = ONE / scale, np.float32(BLOCK) / scale
    per_step = ONE / step
    ox, oy, oz = origin[0], origin[1], origin[2]
    dx, dy, dz = direction[0], direction[1], direction[2]
    rx, ry, rz = reciprocal(dx), reciprocal(dy), reciprocal(dz)
    # The wall through which a ray leaves a cell is the lower or the upper one.
    wx, wy, wz = np.int64(rx > ZERO), np.int64(ry > ZERO), np.int64(rz > ZERO)
    found = 0
    while found < limit:
        t = start + np.float32(lattice) * step
        if t >= far:
            break
        x = min(max(ox + t * dx, ZERO), ONE)
        y = min(max(oy + t * dy, ZERO), ONE)
        z = min(max(oz + t * dz, ZERO), ONE)
        ix = min(np.int64(x * scale), last)
        iy = min(np.int64(y * scale), last)
        iz = min(np.int64(z * scale), last)
        if cells[iz, iy, ix] != 0:
            row = at + found
            positions[row, 0] = x
            positions[row, 1] = y
            positions[row, 2] = z
            distances[row] = t
            found += 1
            lattice += 1
            continue
        size = fine
        if blocks[iz >> SHIFT, iy >> SHIFT, ix >> SHIFT] == 0:
            size = coarse
            ix >>= SHIFT
            iy >>= SHIFT
            iz >>= SHIFT
        leave = min(
            (np.float32(ix + wx) * size - ox) * rx,
            min((np.float32(iy + wy) * size - oy) * ry, (np.float32(iz + wz) * size - oz) * rz),
        )
        lattice = max(lattice + 1, np.int64(math.ceil((min(leave, far) - start) * per_step)))
    return found, lattice


@compiled
def march_all(origins, directions, box, step, jitter, limit, cells, blocks, counts, positions, distances):
    """March whole rays into packed arrays; for inspection and tests.

    Returns the number of samples; `counts` gets each ray's number, or 0 for it and all later rays where the arrays
    are full (call again with larger ones: the number returned is then what is needed).
    """
    total = 0
    capacity = positions.shape[0]
    single, first = np.int64(1), np.int64(0)
    one = np.empty((1, 3), np.float32)
    where = np.empty(1, np.float32)
    for ray in range(origins.shape[0]):
        near, far = clip_to_box(origins[ray], directions[ray], box)
        counts[ray] = 0
        lattice = np.int64(0)
        start = near + jitter * step
        while near < far and counts[ray] < limit:
            found, lattice = march(
                origins[ray], directions[ray], start, step, far, lattice, single, cells, blocks, one, where, first
            )
            if found == 0:
                break
            if total < capacity:
                positions[total] = one[0]
                distances[total] = where[0]
            counts[ray] += 1
            total += 1
    return total
