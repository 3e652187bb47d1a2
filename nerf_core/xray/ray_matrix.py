"""The rays of given cameras through one voxel grid as a sparse matrix: for optimisations that project them many times.

Siddon's model (Siddon 1985), the projector's: attenuation is constant in a voxel, and an entry is the length of a ray
inside it.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from ..contract.camera import Camera, pixel_centres
from .projector import _workers, index_rays


class RayMatrix:
    """Line integrals of a grid along fixed rays, and their adjoint.

    Parameters
    ----------
    cameras : sequence of Camera
        World space of `world_from_index`.
    shape : (X, Y, Z)
        Of the grid.
    world_from_index : (4, 4) array
        Voxel centres' indices to world; axes may have different spacings, and be turned.
    shrink : int
        One row stands for a block of `shrink` x `shrink` pixels: the mean over their rays (pixels that no whole block
        holds, at the right and lower edges, are left out).

    Attributes
    ----------
    matrix : (rays, X * Y * Z) sparse float32 matrix
        World units.
    sizes : list of (height, width)
        Of each camera's picture, shrunk.
    """

    def __init__(
        self, cameras: Sequence[Camera], shape: Sequence[int], world_from_index: np.ndarray, shrink: int = 1
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.sizes = [(camera.height // shrink, camera.width // shrink) for camera in cameras]
        rows, columns, lengths, first = [], [], [], 0
        for camera, (height, width) in zip(cameras, self.sizes, strict=True):
            pixels = pixel_centres(camera.width, camera.height)[: height * shrink, : width * shrink]
            origins, directions = camera.rays(pixels)
            block = np.arange(height * shrink)[:, None] // shrink * width + np.arange(width * shrink)[None] // shrink
            ray, voxel, length = _traverse(*index_rays(world_from_index, origins, directions), self.shape)
            rows.append(block.reshape(-1)[ray] + first)
            columns.append(voxel)
            lengths.append(length)
            first += height * width
        entries = np.concatenate(lengths) / np.float32(shrink * shrink)
        size = (first, int(np.prod(self.shape)))
        self.matrix = csr_matrix((entries, (np.concatenate(rows), np.concatenate(columns))), shape=size)
        self._adjoint = self.matrix.T.tocsr()

    @property
    def rays(self) -> int:
        """How many rows."""
        return int(self.matrix.shape[0])

    def project(self, mu: np.ndarray) -> np.ndarray:
        """(rays,) float32 line integrals of a (X, Y, Z) grid in 1 / world unit."""
        return self.matrix @ np.ascontiguousarray(mu, dtype=np.float32).reshape(-1)

    def backproject(self, values: np.ndarray) -> np.ndarray:
        """(X, Y, Z) float32: the adjoint of :meth:`project`, of (rays,) values."""
        return (self._adjoint @ np.asarray(values, dtype=np.float32)).reshape(self.shape)

    def shrunk(self, pictures: Sequence[np.ndarray], shrink: int) -> np.ndarray:
        """(rays,) float32: pictures in the cameras' sizes as this matrix' rows, means over blocks."""
        rows = []
        for picture, (height, width) in zip(pictures, self.sizes, strict=True):
            whole = picture[: height * shrink, : width * shrink].reshape(height, shrink, width, shrink)
            rows.append(whole.mean(axis=(1, 3)).reshape(-1))
        return np.concatenate(rows).astype(np.float32)


def _traverse(
    start: np.ndarray, step: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which ray crosses which voxel, and how far; in the rays' order."""
    from ..kernels.cpu.projection import siddon_count_worker, siddon_record_worker

    counts = np.zeros(len(start), dtype=np.int64)
    _workers().run(siddon_count_worker, None, shape, start, step, counts)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    voxel, length = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.float32)
    _workers().run(siddon_record_worker, None, shape, start, step, ends - counts, voxel, length)
    return np.repeat(np.arange(len(start)), counts), voxel, length
