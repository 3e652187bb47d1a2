"""The arrays that rendering rays fills."""

from typing import NamedTuple

import numpy as np


class RayArrays(NamedTuple):
    """What is seen along N rays, part of a picture's arrays or arrays of their own.

    `rgba` (N, 4) float32 premultiplied, `depth` (N,) float32 mean distance, `evaluations` (N,) int32 of density and
    colour. They are filled where there was 0 before.
    """

    rgba: np.ndarray
    depth: np.ndarray
    evaluations: np.ndarray

    @classmethod
    def empty(cls, rays: int) -> "RayArrays":
        """Zeros."""
        return cls(np.zeros((rays, 4), np.float32), np.zeros(rays, np.float32), np.zeros(rays, np.int32))

    def part(self, rows: slice) -> "RayArrays":
        """Views of some rows."""
        return RayArrays(self.rgba[rows], self.depth[rows], self.evaluations[rows])
