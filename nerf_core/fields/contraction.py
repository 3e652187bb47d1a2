"""The contraction of unbounded space into the grid's cube, in numpy (MERF, Reiser et al. 2023).

The unit cube, which the subject's box is scaled into, becomes the grid's [0.25, 0.75]^3, undistorted; all of space
around it becomes the shell between that and [0, 1]^3: with x = 2 unit - 1 and m = max |x_j|, reached on axis a,

    y = x where m <= 1; else y_j = x_j / m for j != a and y_a = sign(x_a) (2 - 1 / m);  grid = (y + 2) / 4.

Lines stay lines within each of the seven pieces, so what marches through the grid walks through cells as before.
"""

import numpy as np

UNBOUNDED_NEAR = 0.02
"""Where a ray's samples begin in an unbounded scene, in unit-cube lengths."""
UNBOUNDED_FAR = 64.0
"""Where they end."""
FARTHEST = 256.0
"""Largest m that is told apart from infinity when going back from the grid."""


def contract(unit: np.ndarray) -> np.ndarray:
    """Positions (..., 3) anywhere, in unit-cube lengths, to positions in the grid's [0, 1]^3."""
    x = 2.0 * np.asarray(unit) - 1.0
    size = np.abs(x)
    axis = size.argmax(axis=-1)[..., None]
    m = np.take_along_axis(size, axis, axis=-1)
    inverse = 1.0 / np.maximum(m, 1.0)
    y = x * inverse
    along = np.take_along_axis(x, axis, axis=-1)
    np.put_along_axis(y, axis, np.where(m > 1.0, np.sign(along) * (2.0 - inverse), along), axis=-1)
    return 0.25 * (y + 2.0)


def uncontract(grid: np.ndarray) -> np.ndarray:
    """Grid positions (..., 3) back to unit-cube lengths; the grid's faces, which are infinity, to a finite place.

    Where two coordinates lie in the shell nothing is mapped to; such positions give something finite far away.
    """
    y = 4.0 * np.asarray(grid) - 2.0
    size = np.abs(y)
    axis = size.argmax(axis=-1)[..., None]
    n = np.take_along_axis(size, axis, axis=-1)
    m = 1.0 / np.maximum(2.0 - np.maximum(n, 1.0), 1.0 / FARTHEST)
    x = y * m
    along = np.take_along_axis(y, axis, axis=-1)
    np.put_along_axis(x, axis, np.where(n > 1.0, np.sign(along) * m, along), axis=-1)
    return 0.5 * (x + 1.0)


def distance_from_cube(grid: np.ndarray) -> np.ndarray:
    """(...,) the m >= 1 of grid positions (..., 3): how many times as far out as the unit cube's faces they lie."""
    n = np.abs(4.0 * np.asarray(grid) - 2.0).max(axis=-1)
    return 1.0 / np.maximum(2.0 - np.maximum(n, 1.0), 1.0 / FARTHEST)


def stretch(grid: np.ndarray, growth: float, step: float) -> np.ndarray:
    """(...,) how many times `step` the interval of a sample at grid positions (..., 3) is, seen from the cube's middle.

    Parameters
    ----------
    growth : float
        Spacing of samples relative to their distance.
    step : float
        Their smallest spacing, in unit-cube lengths.
    """
    y = np.abs(4.0 * np.asarray(grid) - 2.0).max(axis=-1)
    m = np.where(y <= 1.0, y, 1.0 / np.maximum(2.0 - y, 1.0 / FARTHEST))
    return np.maximum(1.0, growth * 0.5 * m / step)


def unreachable(side: int) -> np.ndarray:
    """(side, side, side) bool, indexed z, y, x: cells of the grid that no position is mapped into.

    Those are the cells with two or more coordinates in the shell: half of the grid.
    """
    low = np.arange(side)
    shell = (4 * low >= 3 * side) | (4 * (low + 1) <= side)
    count = shell[:, None, None].astype(np.int8) + shell[None, :, None] + shell[None, None, :]
    return count >= 2
