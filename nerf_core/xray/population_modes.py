"""From a population's volumes to a prior: registration, and principal components of shape and of appearance."""

from collections.abc import Callable

import numpy as np

from .prior import Kind, Prior
from .registration import register

UNIT = 20.6  # 1 / m, water: registration works on numbers about 1


def principal_components(samples: np.ndarray, count: int) -> np.ndarray:
    """The leading modes of (N, ...) samples about 0, each times its standard deviation: (count, ...) float32.

    Through the N x N products, as samples are far longer than they are many; modes without variance are left out.
    """
    flat = samples.reshape(len(samples), -1)
    gram = (flat @ flat.T).astype(np.float64) / len(samples)
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][:count]
    order = order[values[order] > 1e-6 * max(values.max(), 1e-300)]
    # A mode is a unit vector times its deviation: flat^T v / sqrt(N).
    modes = (vectors[:, order].T / np.sqrt(len(samples))).astype(np.float32) @ flat
    return modes.reshape(len(order), *samples.shape[1:])


def mean_prior(volumes: np.ndarray, world_from_index: np.ndarray) -> Prior:
    """The population's mean, and its deviation voxel by voxel.

    Parameters
    ----------
    volumes : (N, X, Y, Z) float32
        1 / m.
    world_from_index : (4, 4)
        Metres.
    """
    mean = volumes.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(volumes - mean).mean(axis=0)) if len(volumes) > 1 else np.full_like(mean, 0.1 * UNIT)
    shape = mean.shape
    nothing = np.zeros((0, 3, 2, 2, 2), dtype=np.float32)
    return Prior("mean", world_from_index, mean, mean, nothing, np.zeros((0, *shape), np.float32), deviation)


def low_rank_prior(
    volumes: np.ndarray,
    world_from_index: np.ndarray,
    shapes: int,
    appearances: int,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Prior:
    """Template, modes of shape and modes of appearance of a population, as :func:`mean_prior` takes it."""
    kind: Kind = "low_rank"
    mean = volumes.mean(axis=0, dtype=np.float64).astype(np.float32)
    found = register(volumes / UNIT, progress=progress, should_stop=should_stop)
    displacement = principal_components(found.displacement, shapes)
    appearance = principal_components(found.appearance, appearances) * np.float32(UNIT)
    left = np.sqrt(np.square(found.appearance).mean(axis=0)) * np.float32(UNIT)
    return Prior(kind, world_from_index, mean, found.template * np.float32(UNIT), displacement, appearance, left)
