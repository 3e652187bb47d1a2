"""Rays through the occupancy grid: where they enter the scene and which of their lattice points lie in occupied cells.

Rays are in the unit frame; what is found is at positions in the grid, which is the same frame in a bounded scene and
its contraction in an unbounded one (`fields.contraction`). The grid has a byte a cell: how far away the
nearest occupied cell is. A ray leaves the cube of empty cells around it in one step.
"""

import math
from typing import NamedTuple

import numpy as np

from ...fields import contraction
from .compile import compiled, compiled_inside

TINY = np.float32(1e-9)
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)
HALF, QUARTER, FOUR = np.float32(0.5), np.float32(0.25), np.float32(4.0)
NEVER = np.float32(1e30)
NEAREST_TO_FACE = np.float32(1.0 / contraction.FARTHEST)
FARTHEST = 16
"""Empty space is known that many cells around."""
GAP = 4
"""Lattice points in empty cells, one after the other, that a ray walks over before it looks for a longer way."""


class Grid(NamedTuple):
    """Occupancy: `away` (G, G, G) uint8 [z, y, x]; `box` (2, 3) float32, the subject's, unit frame.

    A cell's number is 0 where it is occupied, else at most the Chebyshev distance to an occupied cell.
    """

    away: np.ndarray
    box: np.ndarray


class Spacing(NamedTuple):
    """Where samples lie along rays; all float32, unit-cube lengths (`samplers.lattice` for unbounded scenes).

    `step` and `growth`: the smallest spacing, and the spacing relative to the distance, 0 in a bounded scene; `near`
    and `far` of an unbounded scene's rays; `turn` and `turn_index`: where its spacing begins to grow.
    """

    step: np.float32
    growth: np.float32
    near: np.float32
    far: np.float32
    turn: np.float32
    turn_index: np.float32


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


@compiled_inside
def contract(x, y, z):
    """Unit-frame coordinates to the grid's; also the axis (0 to 2) whose face was passed, 3 within the unit cube."""
    x, y, z = TWO * x - ONE, TWO * y - ONE, TWO * z - ONE
    ax, ay, az = abs(x), abs(y), abs(z)
    axis = 0
    size = ax
    if ay > size:
        axis, size = 1, ay
    if az > size:
        axis, size = 2, az
    if size <= ONE:
        axis = 3
    else:
        inverse = ONE / size
        x, y, z = x * inverse, y * inverse, z * inverse
        if axis == 0:
            x *= TWO - inverse
        elif axis == 1:
            y *= TWO - inverse
        else:
            z *= TWO - inverse
    return QUARTER * (x + TWO), QUARTER * (y + TWO), QUARTER * (z + TWO), axis


@compiled_inside
def stretch(x, y, z, spacing):
    """How many times the smallest spacing a sample at a grid position stands for, seen from the unit cube's middle."""
    if spacing.growth <= ZERO:
        return ONE
    n = max(abs(FOUR * x - TWO), max(abs(FOUR * y - TWO), abs(FOUR * z - TWO)))
    m = n if n <= ONE else ONE / max(TWO - n, NEAREST_TO_FACE)
    return max(ONE, spacing.growth * HALF * m / spacing.step)


@compiled_inside
def _cell(grid, x, y, z):
    """The cell at a grid position, and how far away the nearest occupied one is: 0 where it is occupied itself."""
    side = grid.away.shape[0]
    scale = np.float32(side)
    ix = min(np.int64(x * scale), side - 1)
    iy = min(np.int64(y * scale), side - 1)
    iz = min(np.int64(z * scale), side - 1)
    return ix, iy, iz, np.int64(grid.away[iz, iy, ix])


@compiled_inside
def _wall(index, away, inverse):
    """The wall through which a ray leaves the cube of empty cells around a cell along one axis, in cells."""
    return np.float32(index + away if inverse > ZERO else index + 1 - away)


@compiled
def skip_bounded(rays, spacing, grid):
    """`skip` through a box, where lattice point i lies at ``start + i * step``."""
    step = spacing.step
    per_step = ONE / step
    size = ONE / np.float32(grid.away.shape[0])
    moving = rays.moving[0]
    while moving > 0:
        left = 0
        # One step of every ray that moves: each step is a long chain of dependent operations, which other rays' fill.
        for k in range(moving):
            ray = rays.moving[1 + k]
            index, start, far = rays.place[ray], rays.start[ray], rays.far[ray]
            t = start + np.float32(index) * step
            ox, oy, oz = rays.origin[ray, 0], rays.origin[ray, 1], rays.origin[ray, 2]
            x = min(max(ox + t * rays.direction[ray, 0], ZERO), ONE)
            y = min(max(oy + t * rays.direction[ray, 1], ZERO), ONE)
            z = min(max(oz + t * rays.direction[ray, 2], ZERO), ONE)
            ix, iy, iz, away = _cell(grid, x, y, z)
            rx, ry, rz = rays.inverse[ray, 0], rays.inverse[ray, 1], rays.inverse[ray, 2]
            leave = min(
                (_wall(ix, away, rx) * size - ox) * rx,
                min((_wall(iy, away, ry) * size - oy) * ry, (_wall(iz, away, rz) * size - oz) * rz),
            )
            following = max(index + 1, np.int64(math.ceil((min(leave, far) - start) * per_step)))
            stays = away == 0 or t >= far
            rays.place[ray] = index if stays else following
            rays.moving[1 + left] = ray
            left += 0 if stays else 1
        moving = left
    rays.moving[0] = 0


@compiled_inside
def _leave_side(leave, b, db, low, high, out, dout):
    """The nearer of `leave` and where b / |a|, which only grows or only falls, reaches a bound; |a| = `out` + t `dout`.

    A ray that rounding has put past its bound leaves at once: it must not go on to the next one.
    """
    rising = db * out - b * dout > ZERO
    bound = high if rising else low
    gap = bound * out - b
    if (gap <= ZERO) if rising else (gap >= ZERO):
        return min(leave, ZERO)
    slope = db - bound * dout
    if abs(slope) > TINY:
        t = gap / slope
        if t > ZERO:
            return min(leave, t)
    return leave


@compiled_inside
def _leave_shell(a, da, low_a, high_a, b, db, low_b, high_b, c, dc, low_c, high_c):
    """Where a ray leaves a cuboid of the contracted shell.

    Everything is in the frame in which the unit cube is [-1, 1]^3: the ray is at (a, b, c) + t (da, db, dc); the
    cuboid is given by its bounds after contraction, where a's face is the one that was passed.
    """
    sign = ONE if low_a + high_a > ZERO else -ONE
    out, dout = sign * a, sign * da
    near, far = (low_a, high_a) if sign > ZERO else (-high_a, -low_a)
    # Along a: contracted 2 - 1 / m, so its bounds are planes.
    leave = NEVER
    if dout > TINY:
        if far < TWO:
            leave = (ONE / (TWO - far) - out) / dout
    elif dout < -TINY:
        leave = (ONE / (TWO - max(near, ONE)) - out) / dout
    leave = _leave_side(leave, b, db, low_b, high_b, out, dout)
    return _leave_side(leave, c, dc, low_c, high_c, out, dout)


@compiled_inside
def lattice_distance(u, spacing):
    """t(u) of an unbounded scene's lattice."""
    if u < spacing.turn_index:
        return spacing.near + u * spacing.step
    return spacing.turn * np.float32(math.exp(spacing.growth * (u - spacing.turn_index)))


@compiled
def skip_unbounded(rays, spacing, grid):
    """`skip` through contracted space, where lattice point i lies at t(start + i)."""
    per_step, per_growth = ONE / spacing.step, ONE / spacing.growth
    size = FOUR / np.float32(grid.away.shape[0])
    moving = rays.moving[0]
    while moving > 0:
        left = 0
        for k in range(moving):
            ray = rays.moving[1 + k]
            index, jitter = rays.place[ray], rays.start[ray]
            t = lattice_distance(jitter + np.float32(index), spacing)
            px = rays.origin[ray, 0] + t * rays.direction[ray, 0]
            py = rays.origin[ray, 1] + t * rays.direction[ray, 1]
            pz = rays.origin[ray, 2] + t * rays.direction[ray, 2]
            x, y, z, axis = contract(px, py, pz)
            ix, iy, iz, away = _cell(grid, x, y, z)
            if away == 0 or t >= rays.far[ray]:
                continue
            # The cube of empty cells, as far as it lies in the same piece of space, from where the ray is.
            lx, hx = np.float32(ix + 1 - away) * size - TWO, np.float32(ix + away) * size - TWO
            ly, hy = np.float32(iy + 1 - away) * size - TWO, np.float32(iy + away) * size - TWO
            lz, hz = np.float32(iz + 1 - away) * size - TWO, np.float32(iz + away) * size - TWO
            px, py, pz = TWO * px - ONE, TWO * py - ONE, TWO * pz - ONE
            ex, ey, ez = TWO * rays.direction[ray, 0], TWO * rays.direction[ray, 1], TWO * rays.direction[ray, 2]
            if axis == 3:
                leave = NEVER
                if abs(ex) > TINY:
                    leave = ((min(hx, ONE) if ex > ZERO else max(lx, -ONE)) - px) / ex
                if abs(ey) > TINY:
                    leave = min(leave, ((min(hy, ONE) if ey > ZERO else max(ly, -ONE)) - py) / ey)
                if abs(ez) > TINY:
                    leave = min(leave, ((min(hz, ONE) if ez > ZERO else max(lz, -ONE)) - pz) / ez)
            else:
                # The passed face's axis first.
                if axis == 1:
                    px, py, ex, ey, lx, ly, hx, hy = py, px, ey, ex, ly, lx, hy, hx
                elif axis == 2:
                    px, pz, ex, ez, lx, lz, hx, hz = pz, px, ez, ex, lz, lx, hz, hx
                if px < ZERO:
                    hx = min(hx, -ONE)
                else:
                    lx = max(lx, ONE)
                ly, hy, lz, hz = max(ly, -ONE), min(hy, ONE), max(lz, -ONE), min(hz, ONE)
                leave = _leave_shell(px, ex, lx, hx, py, ey, ly, hy, pz, ez, lz, hz)
            t = min(t + max(leave, ZERO), rays.far[ray])
            if t < spacing.turn:
                u = (t - spacing.near) * per_step
            else:
                u = spacing.turn_index + math.log(t / spacing.turn) * per_growth
            rays.place[ray] = max(index + 1, np.int64(math.ceil(u - jitter)))
            rays.moving[1 + left] = ray
            left += 1
        moving = left
    rays.moving[0] = 0


@compiled
def collect(ray, limit, rays, spacing, grid, positions, distances, intervals, at):
    """Write a ray's lattice points that lie in occupied cells, from where it stands, up to `limit` of them.

    Small gaps are walked over; a larger one is left to the next `skip`.

    Returns
    -------
    count : int
    goes_on : bool
        Whether the ray has not left the scene yet.
    """
    unbounded = spacing.growth > ZERO
    index, start = rays.place[ray], rays.start[ray]
    far = rays.far[ray]
    ox, oy, oz = rays.origin[ray, 0], rays.origin[ray, 1], rays.origin[ray, 2]
    dx, dy, dz = rays.direction[ray, 0], rays.direction[ray, 1], rays.direction[ray, 2]
    found, gap = 0, 0
    goes_on = True
    while found < limit and gap < GAP:
        if unbounded:
            t = lattice_distance(start + np.float32(index), spacing)
        else:
            t = start + np.float32(index) * spacing.step
        if t >= far:
            goes_on = False
            break
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        if unbounded:
            x, y, z, _ = contract(x, y, z)
        else:
            x, y, z = min(max(x, ZERO), ONE), min(max(y, ZERO), ONE), min(max(z, ZERO), ONE)
        _, _, _, away = _cell(grid, x, y, z)
        row = at + found
        positions[row, 0] = x
        positions[row, 1] = y
        positions[row, 2] = z
        distances[row] = t
        intervals[row] = max(spacing.step, spacing.growth * t)
        # What was written is kept only where the cell is occupied: no branch to guess.
        found += 1 if away == 0 else 0
        gap = 0 if away == 0 else gap + 1
        index += 1
    rays.place[ray] = index
    return found, goes_on


@compiled
def skip(rays, count, spacing, grid):
    """Move the first `count` active rays of a group on to their next lattice point in an occupied cell, or to the end.

    Parameters
    ----------
    rays : structures.Rays
    spacing : Spacing
    grid : Grid
    """
    rays.moving[0] = count
    for a in range(count):
        rays.moving[1 + a] = rays.active[a]
    if spacing.growth > ZERO:
        skip_unbounded(rays, spacing, grid)
    else:
        skip_bounded(rays, spacing, grid)


@compiled
def begin_ray(rays, ray, spacing, grid):
    """Put a ray of a group, whose origin, direction and jitter are there, at its start; whether it meets the scene."""
    rays.place[ray] = 0
    if spacing.growth > ZERO:
        rays.start[ray] = rays.jitter[ray]
        rays.far[ray] = spacing.far
        return True
    near, far = clip_to_box(rays.origin[ray], rays.direction[ray], grid.box)
    rays.start[ray] = near + rays.jitter[ray] * spacing.step
    rays.far[ray] = far
    for axis in range(3):
        rays.inverse[ray, axis] = reciprocal(rays.direction[ray, axis])
    return near < far


@compiled
def march_all(origins, directions, scratch, spacing, grid, counts, distances, intervals):
    """March whole rays into packed arrays; for inspection and tests. `scratch` is a thread's working memory.

    Returns the number of samples; where it is more than the arrays hold, call again with larger ones.
    """
    total = 0
    capacity = distances.shape[0]
    one = np.int64(1)
    rays = scratch.rays
    for ray in range(origins.shape[0]):
        counts[ray] = 0
        for axis in range(3):
            rays.origin[0, axis] = origins[ray, axis]
            rays.direction[0, axis] = directions[ray, axis]
        rays.jitter[0] = HALF
        rays.active[0] = 0
        goes_on = begin_ray(rays, 0, spacing, grid)
        while goes_on:
            skip(rays, one, spacing, grid)
            found, goes_on = collect(
                0,
                scratch.distance.shape[0],
                rays,
                spacing,
                grid,
                scratch.position,
                scratch.distance,
                scratch.interval,
                0,
            )
            for s in range(found):
                if total < capacity:
                    distances[total] = scratch.distance[s]
                    intervals[total] = scratch.interval[s]
                total += 1
            counts[ray] += found
    return total
