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
MERGED_BELOW = 4.0
"""Samples are merged where parting them would save less than this in weight times squared distance, in cells."""


class Shell(NamedTuple):
    """Baked densities.

    `bricks` (G, G, G) int32 [z, y, x]: the number of a cell's brick, -1 without one; `density` (B, CELLS) float32 per
    unit length, 0 where a cell is empty, x fastest.
    """

    bricks: np.ndarray
    density: np.ndarray

    @property
    def cell(self) -> float:
        """Length of a cell, unit-cube lengths."""
        return 1.0 / (BRICK * len(self.bricks))


def brick_numbers(occupied: np.ndarray) -> np.ndarray:
    """(B,) int64 flat numbers of the occupied cells of a (G, G, G) grid, which are to have bricks."""
    return np.flatnonzero(occupied.reshape(-1))


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
    density = np.ascontiguousarray(density[kept])
    if not len(density):  # kernels take no empty array
        density = np.zeros((1, CELLS), np.float32)
    return Shell(bricks.reshape(side, side, side), density)
