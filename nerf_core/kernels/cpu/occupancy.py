"""Keeping up the occupancy grid: which cells hold anything, from the field's density at random points in them.

After instant-NGP (appendix E.2): a cell's value is the largest density seen, decaying each time the cell is asked;
a cell is occupied where its value exceeds the smaller of a fixed threshold and the mean, so that a young field,
which is fog everywhere, still gets carved.
"""

import numpy as np

from .compile import compiled
from .encoding import encode
from .forward import density_network, density_of
from .march import FARTHEST, stretch
from .rays import random_bits, step_key, unit_part
from .structures import GROUP, ROUND
from .vector import address, fetch_add

_ONES = np.uint64(0x0101010101010101)
_BYTE, _SEVEN_BYTES = np.uint64(8), np.uint64(56)
BATCH = GROUP * ROUND
OUTSIDE = np.float32(-1.0)
"""Value of cells that lie wholly outside the subject's box; they never become occupied."""


@compiled
def refresh_worker(counter, field, scratch, values, every, phase, seed, step_index, decay, spacing):
    """Ask every `every`-th cell (from `phase`) for the density at a random point in it."""
    side = values.shape[0]
    flat = values.reshape(-1)
    total = (flat.shape[0] - phase + every - 1) // every
    chosen = scratch.s_ray
    size = np.float32(1.0 / side)
    key = step_key(seed, step_index)
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
                    bits = random_bits(key, cell, 2)
                    scratch.position[count, 0] = (np.float32(cell % side) + unit_part(bits, 0)) * size
                    scratch.position[count, 1] = (np.float32(cell // side % side) + unit_part(bits, 1)) * size
                    scratch.position[count, 2] = (np.float32(cell // side // side) + unit_part(bits, 2)) * size
                    count += 1
            encode(field.table, field.levels, scratch.position, count, scratch.encoded)
            density_network(field, scratch.encoded, scratch.hidden, scratch.out, count)
            for s in range(count):
                position = scratch.position[s]
                density = density_of(scratch.out[s, 0]) * stretch(position[0], position[1], position[2], spacing)
                flat[chosen[s]] = max(flat[chosen[s]] * decay, density)


@compiled
def _spread_bytes(source, target):
    """Or every byte of an array of words with the bytes before and behind it (in little-endian machines' order)."""
    last = source.shape[0] - 1
    target[0] = source[0] | (source[0] << _BYTE) | (source[0] >> _BYTE) | (source[1] << _SEVEN_BYTES)
    for i in range(1, last):
        word = source[i]
        around = (source[i - 1] >> _SEVEN_BYTES) | (source[i + 1] << _SEVEN_BYTES)
        target[i] = word | (word << _BYTE) | (word >> _BYTE) | around
    word = source[last]
    target[last] = word | (word << _BYTE) | (word >> _BYTE) | (source[last - 1] >> _SEVEN_BYTES)


@compiled
def _spread_words(source, target, offset):
    """Or every word with those `offset` before and behind it."""
    count = source.shape[0]
    for i in range(offset):
        target[i] = source[i] | source[i + offset]
    for i in range(offset, count - offset):
        target[i] = source[i - offset] | source[i] | source[i + offset]
    for i in range(count - offset, count):
        target[i] = source[i - offset] | source[i]


@compiled
def spread_distance(away, near, other, side):
    """From which cells are occupied (bytes of `near`, 1 or 0) to the Chebyshev distance to one, up to `FARTHEST`.

    A cell's distance is how often the occupied cells have to be dilated by a cube to reach it; a cube is dilated by
    along one axis after the other. All arrays are the cells' bytes, eight a word. The rows' ends run into the next
    rows' beginnings: a cell may be said to be nearer than it is, never farther.
    """
    for i in range(away.shape[0]):
        away[i] = _ONES - near[i]
    for _ in range(1, FARTHEST):
        _spread_bytes(near, other)
        _spread_words(other, near, side // 8)
        _spread_words(near, other, side * side // 8)
        for i in range(away.shape[0]):
            away[i] += _ONES - other[i]
        near, other = other, near


@compiled
def threshold_cells(values, threshold, occupied):
    """Fill `occupied`, a byte a cell, from the values; gives the share of the scene that is occupied.

    Where no value is above 0, every cell of the scene is.
    """
    flat = values.reshape(-1)
    total = 0.0
    inside = 0
    for i in range(flat.shape[0]):
        value = flat[i]
        total += max(value, np.float32(0.0))
        inside += 1 if value >= np.float32(0.0) else 0
    # A grid that has not been asked yet (or has lost everything) holds back nothing.
    limit = np.float32(min(threshold, total / max(inside, 1)) if total > 0.0 else -0.5)
    count = 0
    for i in range(flat.shape[0]):
        full = flat[i] > limit
        occupied[i] = full
        count += 1 if full else 0
    return count / max(inside, 1)
