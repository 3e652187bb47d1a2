"""Rigs that are rows of cameras: spiral, grid, random, along a curve, and outward from inside; without bpy.

Each gives its cameras in an order in which neighbours are near each other or chance rules, so that every so-manieth of
them (`rigs.split_sequence`) is a fair held-out view.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..vendor.nerf_core.contract.camera import look_at
from ..vendor.nerf_core.contract.errors import NerfError
from .rigs import HORIZON, fibonacci_directions

_FINE = 4096  # pieces of a spiral by which its length is measured


@dataclass(frozen=True)
class Chain:
    """A row of (N, 3) world points with straight lines between them; a closed one goes on to its first point."""

    points: np.ndarray
    closed: bool = False


def spiral_directions(total: int, low: float, high: float, turns: float) -> np.ndarray:
    """(total, 3) unit directions along a spiral around Z, evenly spaced along its length.

    Parameters
    ----------
    total : int
    low, high : float
        Elevation of the first and the last direction, radians.
    turns : float
        Around Z; negative ones go clockwise.
    """
    u = np.linspace(0.0, 1.0, _FINE)
    fine = _spherical(2.0 * math.pi * turns * u, low + (high - low) * u)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    if total == 1 or length[-1] < 1e-9:
        return np.repeat(fine[:1], total, axis=0)
    at = np.interp(np.linspace(0.0, length[-1], total), length, u)
    return _spherical(2.0 * math.pi * turns * at, low + (high - low) * at)


def random_directions(total: int, seed: int, upper_half: bool, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Directions spread by chance, even over the sphere or its upper half, and a factor for each one's distance.

    The same seed gives the same row, whatever `total` is; only its end moves.

    Parameters
    ----------
    total, seed : int
    upper_half : bool
    spread : float
        Factors lie between 1 and 1 + `spread`.

    Returns
    -------
    directions : (total, 3) float64 array
    factors : (total,) float64 array
    """
    draws = np.random.default_rng(seed).random((total, 3))
    lowest = HORIZON if upper_half else -1.0
    z = lowest + (1.0 - lowest) * draws[:, 0]
    flat = np.sqrt(np.maximum(0.0, 1.0 - z * z))
    angle = 2.0 * math.pi * draws[:, 1]
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=-1), 1.0 + spread * draws[:, 2]


def grid_offsets(total: int, azimuth: float, elevation: float, size: float) -> np.ndarray:
    """Places of a square grid at distance 1 that faces the origin, row by row, there and back.

    Parameters
    ----------
    total : int
        Rows are as even as can be.
    azimuth, elevation : float
        Where the grid's middle stands, radians; azimuth 0 is +X, -pi/2 the front (-Y).
    size : float
        The grid's side.

    Returns
    -------
    (total, 3) float64 array
        All in one plane, whose distance from the origin is 1.
    """
    middle = _spherical(np.array([azimuth]), np.array([elevation]))[0]
    axes = look_at(middle, np.zeros(3))
    rows = max(1, round(math.sqrt(total)))
    found = []
    for row in range(rows):
        count = (row + 1) * total // rows - row * total // rows
        x = _even(count, size)
        y = _even(rows, size)[row]
        x = x if row % 2 == 0 else x[::-1]
        found.append(middle + x[:, None] * axes[:3, 0] - y * axes[:3, 1])
    return np.concatenate(found)


def interior_poses(total: int, bounds: np.ndarray, fill: float, shape: str) -> list[np.ndarray]:
    """(4, 4) camera-to-world matrices of cameras inside a box that look outward, evenly in all directions.

    Parameters
    ----------
    total : int
    bounds : (2, 3) float array
        The room, world space.
    fill : float
        Part of the room's half sides over which the cameras are spread; 0 puts all in its middle.
    shape : {'BOX', 'SPHERE'}
        Of the part in which they stand.

    References
    ----------
    Halton, "On the efficiency of certain quasi-random sequences of points", Numerische Mathematik 1960.
    """
    index = np.arange(1, total + 1)
    halton = np.stack([_radical_inverse(index, base) for base in (2, 3, 5)], axis=-1)
    if shape == "SPHERE":
        z, angle = 2.0 * halton[:, 0] - 1.0, 2.0 * math.pi * halton[:, 1]
        flat = np.sqrt(np.maximum(0.0, 1.0 - z * z))
        place = np.cbrt(halton[:, 2:]) * np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=-1)
    else:
        place = 2.0 * halton - 1.0
    bounds = np.asarray(bounds, dtype=np.float64)
    positions = bounds.mean(axis=0) + 0.5 * (bounds[1] - bounds[0]) * fill * place
    # Neighbours in the row look in far different directions: a held-out view is not the only one that looks its way.
    directions = fibonacci_directions(total)
    return [look_at(p, p + d) for p, d in zip(positions, directions, strict=True)]


def along(chains: Sequence[Chain], total: int) -> tuple[np.ndarray, np.ndarray]:
    """Points evenly spaced along chains, one after the other, and the unit tangents there.

    A single open chain gets cameras at both ends, a closed one none twice.

    Returns
    -------
    points, tangents : (total, 3) float64 arrays

    Raises
    ------
    NerfError
        When the chains have no length.
    """
    rows = [_closed(chain) for chain in chains if len(chain.points) > 1]
    lengths = [np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(row, axis=0), axis=1))]) for row in rows]
    whole = sum(length[-1] for length in lengths)
    if not whole > 1e-9:
        raise NerfError("The curve to follow has no length; draw it longer or choose another one.")
    if len(rows) > 1:
        at = (np.arange(total) + 0.5) * whole / total
    elif next(chain for chain in chains if len(chain.points) > 1).closed:
        at = np.arange(total) * whole / total
    else:
        at = np.linspace(0.0, whole, total)
    ends = np.cumsum([length[-1] for length in lengths])
    belongs = np.minimum(np.searchsorted(ends, at, side="right"), len(rows) - 1)
    points, tangents = [], []
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        here = at[belongs == number] - (ends[number] - length[-1])
        points.append(_interpolate(here, length, row))
        tangents.append(_interpolate(here, length, _tangents(row, is_loop=np.allclose(row[0], row[-1]))))
    tangent = np.concatenate(tangents)
    return np.concatenate(points), tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)


def aim(positions: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """(4, 4) camera-to-world matrices at positions, looking at one place; NerfError where a camera stands in it."""
    if (np.linalg.norm(positions - target, axis=1) < 1e-9).any():
        raise NerfError("A camera stands in the middle of what it looks at; move the curve or the bounds.")
    return [look_at(position, target) for position in positions]


def _spherical(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=-1)


def _even(count: int, size: float) -> np.ndarray:
    return np.linspace(-size / 2, size / 2, count) if count > 1 else np.zeros(count)


def _radical_inverse(index: np.ndarray, base: int) -> np.ndarray:
    result, left, digit = np.zeros(len(index)), index.copy(), 1.0 / base
    while left.any():
        result += digit * (left % base)
        left //= base
        digit /= base
    return result


def _interpolate(at: np.ndarray, length: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(at, length, values[:, k]) for k in range(3)], axis=-1)


def _closed(chain: Chain) -> np.ndarray:
    points = np.asarray(chain.points, dtype=np.float64)
    return np.vstack([points, points[:1]]) if chain.closed else points


def _tangents(row: np.ndarray, is_loop: bool) -> np.ndarray:
    """Of each point: the mean of the directions of the pieces on both sides."""
    pieces = np.diff(row, axis=0)
    pieces /= np.maximum(np.linalg.norm(pieces, axis=1, keepdims=True), 1e-12)
    first, last = (pieces[-1], pieces[0]) if is_loop else (pieces[0], pieces[-1])
    return np.vstack([first[None], pieces]) + np.vstack([pieces, last[None]])
