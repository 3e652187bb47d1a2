"""Rays through the shell: which of its cells they cross, and what these hold back.

Everything is in the unit frame of a bounded scene; see `fields.shell`.
"""

import math
from typing import NamedTuple

import numpy as np

from ...fields.shell import BRICK, CELLS, MAX_SAMPLES
from .compile import compiled, compiled_inside
from .march import NEVER, ONE, ZERO, reciprocal
from .structures import GROUP
from .vector import fast_exp

HALF = np.float32(0.5)
NUDGE = np.float32(1.0 / (1 << 17))
"""How far past a face a ray is put, so that rounding does not leave it on the wrong side."""
FEW = np.float32(BRICK)
LAST = BRICK - 1
SHIFT = BRICK.bit_length() - 1
FIXED = np.float32(1 << 32)
UNFIXED = np.float32(1.0 / (1 << 32))
FARTHEST = np.float32(1 << 20)
"""Distances on the way from cell to cell are whole numbers: their sums and comparisons are the quicker ones."""
BEAM = 16
"""Neighbouring rays that go through empty space together."""
FAINTEST = np.float32(1e-6)
"""Optical depth of what is left of a cell that is passed by."""
CROSSED = 96
"""Cells with weight that a ray can have; it ends where it has so many."""


class ShellGrid(NamedTuple):
    """What rays walk through: a `fields.shell.Shell` with the subject's box and the way through empty space.

    `away` (G, G, G) uint8 [z, y, x]: 0 where there is a brick, else at most the Chebyshev distance to one; `bricks`
    (G, G, G) int32; `codes` (B, CELLS) uint8 and `levels` (256,) float32, the densities; `box` (2, 3) float32.
    """

    away: np.ndarray
    bricks: np.ndarray
    codes: np.ndarray
    levels: np.ndarray
    box: np.ndarray


class Flat(NamedTuple):
    """A grid's arrays without their shapes."""

    away: np.ndarray
    bricks: np.ndarray
    codes: np.ndarray


class Walk(NamedTuple):
    """What a group of rays met: per ray, per ray and cell, per group of a ray's cells, and per sample of the group.

    `found` cells of each ray hold weight, `passing` is what gets through, `looked` how many cells were looked up;
    `total` is the weight of these cells, `mean` its mean distance, `median` the distance by which half of it lies
    nearer, `spread` the weighted sum of squared distances to the mean. A cell's `t` is the middle of the ray's way
    through it, `length` that way, `cell` its flat number in `codes`.
    """

    found: np.ndarray
    passing: np.ndarray
    looked: np.ndarray
    total: np.ndarray
    mean: np.ndarray
    median: np.ndarray
    spread: np.ndarray
    t: np.ndarray
    length: np.ndarray
    weight: np.ndarray
    cell: np.ndarray
    low: np.ndarray  # (MAX_SAMPLES + 1,): the first cell of each group, and where the last one ends
    gain: np.ndarray  # (MAX_SAMPLES,): what cutting that group would save
    cut: np.ndarray  # (MAX_SAMPLES,): and where
    first: np.ndarray  # (GROUP,): a ray's first sample
    groups: np.ndarray  # (GROUP,): and how many it has
    end: np.ndarray  # (GROUP * MAX_SAMPLES,): where a sample's cells end


def make_walk() -> Walk:
    """Allocate a thread's working memory."""

    def floats(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    def whole(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int64)

    return Walk(
        found=whole(GROUP),
        passing=floats(GROUP),
        looked=whole(GROUP),
        total=floats(GROUP),
        mean=floats(GROUP),
        median=floats(GROUP),
        spread=floats(GROUP),
        t=floats(GROUP, CROSSED),
        length=floats(GROUP, CROSSED),
        weight=floats(GROUP, CROSSED),
        cell=whole(GROUP, CROSSED),
        low=whole(MAX_SAMPLES + 1),
        gain=floats(MAX_SAMPLES),
        cut=whole(MAX_SAMPLES),
        first=whole(GROUP),
        groups=whole(GROUP),
        end=whole(GROUP * MAX_SAMPLES),
    )


@compiled_inside
def _number(position, most):
    """The number of the cell at a position in cells, 0 to `most`."""
    return min(max(np.int64(position), 0), most)


@compiled_inside
def _fixed(distance):
    """A distance in units of 1 / FIXED; those without end are merely far."""
    return np.int64(min(max(distance, -FARTHEST), FARTHEST) * FIXED)


@compiled_inside
def _free_until(rays, first, last, grid, flat, near, far):
    """The distance from `near` up to which neighbouring rays run through empty cells, all of them.

    One step serves them all: around the middle one's place, a cube of empty cells holds the others' too.
    """
    middle = (first + last) // 2
    apart, turned = ZERO, ZERO
    for ray in range(first, last):
        for axis in range(3):
            apart = max(apart, abs(rays.origin[ray, axis] - rays.origin[middle, axis]))
            turned = max(turned, abs(rays.direction[ray, axis] - rays.direction[middle, axis]))
    side = np.int64(grid.away.shape[0])
    away = flat.away
    scale = np.float32(side)
    size = ONE / scale
    t = near
    ox, oy, oz = rays.origin[middle, 0], rays.origin[middle, 1], rays.origin[middle, 2]
    dx, dy, dz = rays.direction[middle, 0], rays.direction[middle, 1], rays.direction[middle, 2]
    per = ONE / (max(abs(dx), max(abs(dy), abs(dz))) + turned)
    while t < far:
        # Outside the grid its nearest cell will do: what is empty around that is so around a place beyond it.
        ix = _number((ox + t * dx) * scale, side - 1)
        iy = _number((oy + t * dy) * scale, side - 1)
        iz = _number((oz + t * dz) * scale, side - 1)
        free = np.float32(np.int64(away[np.uint64(ix + side * (iy + side * iz))]) - 1) * size - apart - turned * t
        if free < HALF * size:
            break
        t += free * per
    return t


@compiled_inside
def _to_brick(rays, grid, flat):
    """Move each of the `rays.moving` rays' starts on to the next brick, or out; breadth first, as `march` does."""
    side = np.int64(grid.away.shape[0])
    away = flat.away
    scale = np.float32(side)
    size = ONE / scale
    moving = rays.moving[0]
    while moving > 0:
        left = 0
        for k in range(moving):
            ray = rays.moving[1 + k]
            t, far = rays.start[ray], rays.far[ray]
            ox, oy, oz = rays.origin[ray, 0], rays.origin[ray, 1], rays.origin[ray, 2]
            ix = _number((ox + t * rays.direction[ray, 0]) * scale, side - 1)
            iy = _number((oy + t * rays.direction[ray, 1]) * scale, side - 1)
            iz = _number((oz + t * rays.direction[ray, 2]) * scale, side - 1)
            free = np.int64(away[np.uint64(ix + side * (iy + side * iz))])
            rx, ry, rz = rays.inverse[ray, 0], rays.inverse[ray, 1], rays.inverse[ray, 2]
            wx = np.float32(ix + free if rx > ZERO else ix + 1 - free)
            wy = np.float32(iy + free if ry > ZERO else iy + 1 - free)
            wz = np.float32(iz + free if rz > ZERO else iz + 1 - free)
            leave = min((wx * size - ox) * rx, min((wy * size - oy) * ry, (wz * size - oz) * rz))
            stays = free == 0 or t >= far
            rays.start[ray] = t if stays else max(leave, t) + NUDGE
            rays.moving[1 + left] = ray
            left += 0 if stays else 1
        moving = left
    rays.moving[0] = 0


@compiled_inside
def _out_of_cube(bx, by, bz, free, size, ox, oy, oz, rx, ry, rz):
    """Where a ray leaves the cube of empty cells around a cell, as `march.skip_bounded` finds it."""
    wx = np.float32(bx + free if rx > ZERO else bx + 1 - free)
    wy = np.float32(by + free if ry > ZERO else by + 1 - free)
    wz = np.float32(bz + free if rz > ZERO else bz + 1 - free)
    return min((wx * size - ox) * rx, min((wy * size - oy) * ry, (wz * size - oz) * rz))


@compiled_inside
def _follow(rays, walk, grid, flat, ray, t, deepest):
    """Take a ray from distance `t` on through the shell, cell by cell (Amanatides & Woo 1987), to its end.

    Behind an optical depth of `deepest` it ends, and its last cell takes what is left.
    """
    side = np.int64(grid.away.shape[0])
    away, index, codes, levels = flat.away, flat.bricks, flat.codes, grid.levels
    scale = np.float32(side)
    size = ONE / scale
    fine = scale * FEW
    step = ONE / fine
    most = side * BRICK - 1
    far = rays.far[ray]
    ox, oy, oz = rays.origin[ray, 0], rays.origin[ray, 1], rays.origin[ray, 2]
    dx, dy, dz = rays.direction[ray, 0], rays.direction[ray, 1], rays.direction[ray, 2]
    rx, ry, rz = rays.inverse[ray, 0], rays.inverse[ray, 1], rays.inverse[ray, 2]
    # Which way the ray goes along each axis, and how far it is from one face to the next.
    px, py, pz = np.int64(rx > ZERO), np.int64(ry > ZERO), np.int64(rz > ZERO)
    sx, sy, sz = 2 * px - 1, 2 * py - 1, 2 * pz - 1
    ax, ay, az = _fixed(abs(rx) * step), _fixed(abs(ry) * step), _fixed(abs(rz) * step)
    last = _fixed(far)
    # Until the ray has ended, `starts`, `ends` and `depths` are what a cell's middle, length and weight come from.
    starts, ends, depths, cells = walk.t[ray], walk.length[ray], walk.weight[ray], walk.cell[ray]
    bricks = np.uint64(index.shape[0])
    depth, count, looked = ZERO, np.uint64(0), 0
    goes_on = True
    while goes_on and t < far:
        ix = _number((ox + t * dx) * fine, most)
        iy = _number((oy + t * dy) * fine, most)
        iz = _number((oz + t * dz) * fine, most)
        brick = np.uint64((ix >> SHIFT) + side * ((iy >> SHIFT) + side * (iz >> SHIFT)))
        number = np.int64(index[brick])
        # The distances of the next face along each axis.
        nx = _fixed((np.float32(ix + px) * step - ox) * rx)
        ny = _fixed((np.float32(iy + py) * step - oy) * ry)
        nz = _fixed((np.float32(iz + pz) * step - oz) * rz)
        here = _fixed(t)
        while number >= 0:
            looked += 1
            cell = number * CELLS + ((ix & LAST) | (iy & LAST) << SHIFT | (iz & LAST) << (2 * SHIFT))
            held = levels[np.uint64(codes[np.uint64(cell)])]
            leave = min(nx, min(ny, nz))
            here = max(here, min(leave, last))
            end = np.float32(here) * UNFIXED
            stops = held * (end - t)
            # No branch to guess: what was written is kept only where there is something.
            starts[count] = t
            ends[count] = end
            depths[count] = stops
            cells[count] = cell
            count += np.uint64(stops > FAINTEST)
            depth += stops
            t = end
            # All ones where that axis' face is not the next.
            mx, my, mz = (leave - nx) >> 63, (leave - ny) >> 63, (leave - nz) >> 63
            ix += sx & ~mx
            iy += sy & ~my
            iz += sz & ~mz
            nx += ax & ~mx
            ny += ay & ~my
            nz += az & ~mz
            brick = np.uint64((ix >> SHIFT) + side * ((iy >> SHIFT) + side * (iz >> SHIFT)))
            # The way on must not wait for the densities: the processor takes it before they have come. Where rounding
            # puts a ray beside the grid, its last cell is without length, whichever it is.
            if here >= last or brick >= bricks or depth > deepest or count == CROSSED:
                goes_on = False
                break
            number = np.int64(index[brick])
        if goes_on:
            bx, by, bz, free = ix >> SHIFT, iy >> SHIFT, iz >> SHIFT, np.int64(away[brick])
            t = max(t, _out_of_cube(bx, by, bz, free, size, ox, oy, oz, rx, ry, rz)) + NUDGE
    passing = ONE
    found = np.int64(count)
    # About the first cell, where float32 is fine enough for squares.
    center = HALF * (starts[0] + ends[0])
    total, moment, square, off = ZERO, ZERO, ZERO, ZERO
    half = HALF if depth > deepest else HALF * (ONE - fast_exp(-depth))
    before, at = ZERO, 0
    for i in range(found):
        through = fast_exp(-depths[i])
        start, end = starts[i], ends[i]
        middle = HALF * (start + end)
        off = middle - center
        weight = passing * (ONE - through)
        walk.t[ray, i] = middle
        walk.length[ray, i] = end - start
        walk.weight[ray, i] = weight
        # The last cell before which less than half has come. No branch to guess, as above.
        before = total if total < half else before
        at = i if total < half else at
        total += weight
        moment += weight * off
        square += weight * off * off
        passing *= through
    if depth > deepest:
        # So little is left that the last cell may have it.
        walk.weight[ray, found - 1] += passing
        total += passing
        moment += passing * off
        square += passing * off * off
        passing = ZERO
    if found > 0:
        mean = moment / total
        walk.total[ray] = total
        walk.mean[ray] = center + mean
        part = min((half - before) / walk.weight[ray, at], ONE)
        walk.median[ray] = walk.t[ray, at] + (part - HALF) * walk.length[ray, at]
        walk.spread[ray] = max(square - mean * moment, ZERO)
    walk.passing[ray] = passing
    walk.found[ray] = found
    walk.looked[ray] = looked


@compiled
def begin_walk(rays, grid, count):
    """Let the first `count` rays of a group, whose origin and direction are there, run through the whole box."""
    for ray in range(count):
        near, far = ZERO, NEVER
        for axis in range(3):
            inverse = reciprocal(rays.direction[ray, axis])
            a = (grid.box[0, axis] - rays.origin[ray, axis]) * inverse
            b = (grid.box[1, axis] - rays.origin[ray, axis]) * inverse
            near, far = max(near, min(a, b)), min(far, max(a, b))
            rays.inverse[ray, axis] = inverse
        rays.start[ray], rays.far[ray] = near, far


@compiled
def walk_group(rays, walk, grid, count, opaque_below):
    """Take the first `count` rays of a group through the shell, from `rays.start` to `rays.far` or where they end.

    `rays.start`, `rays.moving` and `rays.active` are changed.
    """
    # Once a group: numba asks at length whether an array may be flattened.
    flat = Flat(grid.away.reshape(-1), grid.bricks.reshape(-1), grid.codes.reshape(-1))
    active = 0
    for first in range(0, count, BEAM):
        last = min(first + BEAM, count)
        near, far = NEVER, ZERO
        for ray in range(first, last):
            walk.found[ray] = 0
            walk.looked[ray] = 0
            walk.passing[ray] = ONE
            if rays.start[ray] < rays.far[ray]:
                near, far = min(near, rays.start[ray]), max(far, rays.far[ray])
        near = _free_until(rays, first, last, grid, flat, near, far)
        for ray in range(first, last):
            rays.start[ray] = max(rays.start[ray], near)
            if rays.start[ray] < rays.far[ray]:
                rays.active[active] = ray
                active += 1
                rays.moving[active] = ray
    deepest = np.float32(-math.log(opaque_below))
    rays.moving[0] = active
    _to_brick(rays, grid, flat)
    for a in range(active):
        ray = rays.active[a]
        if rays.start[ray] < rays.far[ray]:
            _follow(rays, walk, grid, flat, ray, rays.start[ray], deepest)
