"""The shell: where a trained field holds light back, baked as cells of constant density in sparse bricks.

A brick fills an occupied cell of the occupancy grid. Rays cross the cells one by one, which costs look-ups in memory
instead of evaluations of the field, and only the few places that stand for what they crossed are asked for a colour.
"""

from typing import NamedTuple

import numpy as np

BRICK = 4
"""Cells along a brick; a power of two."""
CELLS = BRICK**3
MAX_SAMPLES = 16
"""Samples that a ray can be given."""
DEFAULT_SAMPLES = 4
"""Where nobody asks for a number."""
EMPTY_BELOW = 0.05
"""A cell is empty where one step of the full sampling would absorb less: thin air around surfaces is the field's error,
not the scene's, and costs a ray most of its look-ups."""
OPAQUE_BELOW = 0.05
"""A ray of whose light less gets through ends, and its last cell takes what is left."""
MERGED_BELOW = 8.0
"""Samples are merged where parting them would save less than this in weight times squared distance, in cells."""


OPAQUE_DEPTH = 30.0
"""Optical depth of a cell beyond which more makes no difference."""


class Shell(NamedTuple):
    """Baked densities.

    `bricks` (G, G, G) int32 [z, y, x]: the number of a cell's brick, -1 without one; `codes` (B, CELLS) uint8, x
    fastest, so that a brick is a cache line: which of `levels` (256,) float32, densities per unit length, a cell has;
    code 0 where it is empty.
    """

    bricks: np.ndarray
    codes: np.ndarray
    levels: np.ndarray


def brick_numbers(occupied: np.ndarray) -> np.ndarray:
    """(B,) int64 flat numbers of the occupied cells of a (G, G, G) grid, which are to have bricks."""
    return np.flatnonzero(occupied.reshape(-1))


def make_levels(lowest: float, side: int) -> np.ndarray:
    """(256,) float32 densities that codes stand for: 0, and evenly spaced logarithms from `lowest` on.

    They end where a cell is opaque, whatever its density; two of them differ by about 3 %.
    """
    highest = max(OPAQUE_DEPTH * BRICK * side, 2.0 * lowest)
    return np.concatenate([[0.0], np.geomspace(lowest, highest, 255)]).astype(np.float32)


def encode(density: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The codes, uint8, of the levels that are nearest to densities in their logarithm; 0 where there is none."""
    logs = np.log(levels[1:].astype(np.float64))
    place = (np.log(np.maximum(density, levels[1])) - logs[0]) / (logs[-1] - logs[0]) * 254.0
    return np.where(density > 0.0, 1.0 + np.rint(np.minimum(place, 254.0)), 0.0).astype(np.uint8)


def make_shell(side: int, numbers: np.ndarray, density: np.ndarray, empty_below: float) -> Shell:
    """A shell without the bricks that hold nothing.

    Parameters
    ----------
    side : int
        Cells along the occupancy grid.
    numbers : (B,) int64 array
        :func:`brick_numbers`.
    density : (B, CELLS) float32 array
        Changed: what is not above `empty_below` becomes 0.
    empty_below : float
        Per unit length.
    """
    density[~(density > empty_below)] = 0.0
    kept = density.any(axis=1)
    bricks = np.full(side**3, -1, np.int32)
    bricks[numbers[kept]] = np.arange(int(kept.sum()), dtype=np.int32)
    levels = make_levels(empty_below, side)
    codes = encode(density[kept], levels)
    if not len(codes):  # kernels take no empty array
        codes = np.zeros((1, CELLS), np.uint8)
    return Shell(bricks.reshape(side, side, side), codes, levels)
