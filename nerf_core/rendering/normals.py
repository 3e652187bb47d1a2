"""Normals of what rays see: against the gradient of the density, around the depth that is seen.

A trained density is rough at the size of its grid's cells, and its logarithm varies over many orders of magnitude. So
what is differentiated is the opacity of a short way, ``1 - exp(-density * way)``, which is 0 in the open and 1
in a thing, and the gradient is that of its mean over a small ball: by the divergence theorem, the mean of opacity
times direction over the ball's surface. How small depends on how far light gets there: a sharp surface is looked at
closely, fog that a young field still has for a surface from further off, and before the depth that is seen, which
there lies deep within it.
"""

import numpy as np

from .layers import Layer, turned

PROBES = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / 128.0
"""Where along the ray the density is asked for to know how far light gets, in longest sides of the run's box."""
SMALLEST, LARGEST = 1.0 / 96.0, 1.0 / 12.0
"""Radius of the ball, in longest sides of the run's box."""
PATHS = 1.5
"""Radius of the ball in mean free paths, between these."""
BEFORE = 0.7
"""How far before the depth that is seen its centre lies, in radii."""
SHELLS = (1.0, 0.5)
"""Radii of the spheres that are averaged over, in radii of the ball."""
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


def normals_at(layer: Layer, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Unit normals of a layer in the world.

    Parameters
    ----------
    layer : Layer
        Not flat.
    points : (P, 3) array
        World space.
    directions : (P, 3) array
        In which the points are looked at, unit length.

    Returns
    -------
    (P, 3) float32 array
        0 where the density is the same all around.
    """
    local = turned(layer.to_run[:3, :3], points) + layer.to_run[:3, 3]
    along = unit(turned(layer.to_run[:3, :3], directions)).astype(np.float64)
    gradient = np.empty((len(local), 3))
    at_once = max(1, POINTS_AT_ONCE // (len(DIRECTIONS) * len(SHELLS)))
    for first in range(0, len(local), at_once):
        part = slice(first, first + at_once)
        gradient[part] = _gradient(layer, local[part], along[part])
    # A gradient is a covector: it goes to the world by the inverse transpose.
    return unit(turned(-layer.to_run[:3, :3].T, gradient))


def _gradient(layer: Layer, local: np.ndarray, along: np.ndarray) -> np.ndarray:
    """(P, 3) in which direction opacity grows around points of the run's space, of any length."""
    side = 1.0 / layer.method.normalisation.scale

    def density(around: np.ndarray) -> np.ndarray:
        found = layer.method.query_density(around.reshape(-1, 3).astype(np.float32))
        return found.reshape(around.shape[:-1]).astype(np.float64)

    probes = density(local[:, None] + along[:, None] * (side * PROBES)[:, None]).mean(axis=-1)
    radius = np.clip(PATHS / np.maximum(probes, 1e-9), SMALLEST * side, LARGEST * side)
    middle = (local - along * (BEFORE * radius)[:, None])[:, None]
    gradient = np.zeros((len(local), 3))
    for shell in SHELLS:
        around = middle + (shell * radius)[:, None, None] * DIRECTIONS
        opacity = -np.expm1(-density(around) * (0.5 * radius)[:, None])
        gradient += np.einsum("pk,ki->pi", opacity, DIRECTIONS)
    return gradient


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) float32 vectors of length 1; 0 where they have no direction."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-9, vectors / np.maximum(length, 1e-9), 0.0).astype(np.float32)
