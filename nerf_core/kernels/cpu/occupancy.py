"""Keeping up the occupancy grid: which cells hold anything, from the field's density at random points in them.

After instant-NGP (appendix E.2): a cell's value is the largest density seen, decaying each time the cell is asked;
a cell is occupied where its value exceeds the smaller of a fixed threshold and the mean, so that a young field,
which is fog everywhere, still gets carved.
"""

import numpy as np

from .compile import compiled
from .encoding import encode
from .forward import density_network, density_of
from .march import BLOCK
from .rays import random_unit
from .structures import GROUP, ROUND
from .vector import address, fetch_add

BATCH = GROUP * ROUND
OUTSIDE = np.float32(-1.0)
"""Value of cells that lie wholly outside the subject's box; they never become occupied."""


@compiled
def mark_outside(values, box):
    """Give cells that do not meet the box the value that keeps them empty."""
    side = values.shape[0]
    for iz in range(side):
        for iy in range(side):
            for ix in range(side):
                for axis in range(3):
                    index = ix if axis == 0 else (iy if axis == 1 else iz)
                    if (index + 1) <= box[0, axis] * side or index >= box[1, axis] * side:
                        values[iz, iy, ix] = OUTSIDE


@compiled
def refresh_worker(counter, field, scratch, values, every, phase, seed, step_index, decay):
    """Ask every `every`-th cell (from `phase`) for the density at a random point in it."""
    side = values.shape[0]
    flat = values.reshape(-1)
    total = (flat.shape[0] - phase + every - 1) // every
    chosen = np.empty(BATCH, np.int64)
    size = np.float32(1.0 / side)
    while True:
        first = fetch_add(address(counter), 1) * BATCH * 8
        if first >= total:
            return
        last = min(first + BATCH * 8, total)
        item = first
        while item < last:
            count = np.int64(0)
            while item < last and count < BATCH:
                cell = phase + item * every
                item += 1
                if flat[cell] >= np.float32(0.0):
                    chosen[count] = cell
                    for axis in range(3):
                        index = (
                            cell % side if axis == 0 else (cell // side % side if axis == 1 else cell // side // side)
                        )
                        where = np.float32(index) + random_unit(seed, step_index, cell, 8 + axis)
                        scratch.position[count, axis] = where * size
                    count += 1
            encode(field.table, field.levels, scratch.position, count, scratch.encoded)
            density_network(field, scratch.encoded, scratch.hidden, scratch.out, count)
            for s in range(count):
                flat[chosen[s]] = max(flat[chosen[s]] * decay, density_of(scratch.out[s, 0]))


@compiled
def threshold_cells(values, threshold, cells, blocks):
    """Set cells and blocks from the values; gives the share of the box that is occupied.

    Where no value is above 0, every cell of the box is.
    """
    side = values.shape[0]
    total = 0.0
    inside = 0
    for value in values.reshape(-1):
        if value >= np.float32(0.0):
            total += value
            inside += 1
    # A grid that has not been asked yet (or has lost everything) holds back nothing.
    limit = np.float32(min(threshold, total / max(inside, 1)) if total > 0.0 else -0.5)
    flags = blocks.reshape(-1)
    for i in range(flags.shape[0]):
        flags[i] = 0
    occupied = 0
    for iz in range(side):
        for iy in range(side):
            for ix in range(side):
                full = values[iz, iy, ix] > limit
                cells[iz, iy, ix] = full
                if full:
                    occupied += 1
                    blocks[iz // BLOCK, iy // BLOCK, ix // BLOCK] = 1
    return occupied / max(inside, 1)
