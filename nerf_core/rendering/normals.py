"""Normals of what rays see: against the gradient of the density, at the depth that is seen.

A trained density is rough at the size of its grid's cells, and its logarithm varies over many orders of magnitude. So
what is differentiated is the opacity of a short way, ``1 - exp(-density * way)``, which is 0 in the open and 1
in a thing, and the gradient is that of its mean over a small ball: by the divergence theorem, the mean of opacity
times direction over the ball's surface.
"""

import numpy as np

from .layers import Layer

RADII = (1.0 / 64.0, 1.0 / 160.0)
"""Of the balls, in longest sides of the run's box."""
WAY = 1.0 / 128.0
"""Whose opacity is differentiated, in longest sides of the run's box."""
POINTS_AT_ONCE = 1 << 18


def _directions(count: int) -> np.ndarray:
    """(2 count, 3) unit vectors spread evenly over the sphere, each with its opposite: a constant has no gradient."""
    index = np.arange(count)
    z = (index + 0.5) / count
    angle = index * np.pi * (3.0 - np.sqrt(5.0))
    side = np.sqrt(1.0 - z * z)
    half = np.stack([side * np.cos(angle), side * np.sin(angle), z], axis=-1)
    return np.concatenate([half, -half])


DIRECTIONS = _directions(7)


def normals_at(layer: Layer, points: np.ndarray) -> np.ndarray:
    """Unit normals of a layer in the world.

    Parameters
    ----------
    layer : Layer
        Not flat.
    points : (P, 3) array
        World space.

    Returns
    -------
    (P, 3) float32 array
        0 where the density is the same all around.
    """
    matrix = layer.matrix
    inverse = np.linalg.inv(matrix)
    local = points @ inverse[:3, :3].T + inverse[:3, 3]
    side = 1.0 / layer.method.normalisation.scale
    offsets = np.concatenate([radius * side * DIRECTIONS for radius in RADII])
    along = np.tile(DIRECTIONS, (len(RADII), 1))
    gradient = np.empty((len(points), 3))
    at_once = max(1, POINTS_AT_ONCE // len(offsets))
    for first in range(0, len(points), at_once):
        part = local[first : first + at_once]
        around = (part[:, None, :] + offsets).reshape(-1, 3)
        density = layer.method.query_density(around.astype(np.float32)).reshape(len(part), -1)
        gradient[first : first + at_once] = -np.expm1(-density.astype(np.float64) * (WAY * side)) @ along
    # A gradient is a covector: it goes to the world by the inverse transpose.
    outwards = -gradient @ inverse[:3, :3]
    return unit(outwards)


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) float32 vectors of length 1; 0 where they have no direction."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-9, vectors / np.maximum(length, 1e-9), 0.0).astype(np.float32)
