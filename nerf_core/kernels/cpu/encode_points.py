"""The hash encoding of many points on its own, for small networks that learn in torch and are looked at without it."""

from functools import cache

import numpy as np

from ...fields.hash_grid import FastLayout
from .compile import compiled
from .encoding import encode
from .structures import level_array
from .vector import address, fetch_add
from .workers import Workers, thread_count

BATCH = 1024


@compiled
def _worker(counter, table, levels, positions, encoded):
    points = positions.shape[0]
    while True:
        first = fetch_add(address(counter), 1) * BATCH
        if first >= points:
            return
        encode(table, levels, positions[first:], min(BATCH, points - first), encoded[first:])


def encode_points(layout: FastLayout, table: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """What `kernels.reference.field.encode` gives, without gradients.

    Parameters
    ----------
    layout : FastLayout
        Of four features a level.
    table : (rows, 4) float32 array
    positions : (N, 3) float32 array
        In the unit cube.

    Returns
    -------
    (N, levels * 4) float32 array
    """
    encoded = np.empty((len(positions), 4 * layout.levels), np.float32)
    rows, points = np.ascontiguousarray(table, np.float32), np.ascontiguousarray(positions, np.float32)
    _workers().run(_worker, None, rows, level_array(layout), points, encoded)
    return encoded


@cache
def _workers() -> Workers:
    return Workers(thread_count())
