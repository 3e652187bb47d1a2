"""The rays of given cameras through one voxel grid as a sparse matrix: for optimisations that project them many times.

Siddon's model (Siddon 1985): attenuation is constant in a voxel, and an entry is the length of a ray inside it.
"""

from collections.abc import Sequence

import numba
import numpy as np
from scipy.sparse import csr_matrix

from ..contract.camera import Camera, pixel_centres


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
        index_from_world = np.linalg.inv(world_from_index)
        rows, columns, lengths, first = [], [], [], 0
        for camera, (height, width) in zip(cameras, self.sizes, strict=True):
            pixels = pixel_centres(camera.width, camera.height)[: height * shrink, : width * shrink]
            origins, directions = camera.rays(pixels)
            block = np.arange(height * shrink)[:, None] // shrink * width + np.arange(width * shrink)[None] // shrink
            # Voxel faces at whole numbers; a unit step along the ray stays a unit of world length.
            start = origins.reshape(-1, 3) @ index_from_world[:3, :3].T + index_from_world[:3, 3] + 0.5
            step = directions.reshape(-1, 3) @ index_from_world[:3, :3].T
            ray, voxel, length = _traverse(start, step, np.array(self.shape))
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


def _traverse(start: np.ndarray, step: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = np.zeros(len(start), dtype=np.int64)
    nothing = np.zeros(0, dtype=np.int64)
    _walk(start, step, shape, counts, nothing, nothing, nothing, np.zeros(0, dtype=np.float32))
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    ray, voxel = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    length = np.empty(total, dtype=np.float32)
    _walk(start, step, shape, counts, ends - counts, ray, voxel, length)
    return ray, voxel, length


@numba.njit(cache=True, nogil=True)
def _walk(start, step, shape, counts, first, ray, voxel, length):  # noqa: ANN001, ANN202
    """Count the voxels on each ray (`first` empty), or write them."""
    write = len(first) > 0
    cell = np.empty(3, dtype=np.int64)
    turn = np.empty(3, dtype=np.int64)
    following = np.empty(3)
    for index in range(len(start)):
        near, far = 0.0, np.inf
        for axis in range(3):
            speed = step[index, axis]
            if abs(speed) < 1e-12:
                if start[index, axis] < 0.0 or start[index, axis] >= shape[axis]:
                    far = -1.0
                continue
            one, other = -start[index, axis] / speed, (shape[axis] - start[index, axis]) / speed
            near, far = max(near, min(one, other)), min(far, max(one, other))
        count = 0
        if far > near:
            for axis in range(3):
                speed = step[index, axis]
                place = start[index, axis] + near * speed
                at = int(np.floor(place + (1e-9 if speed > 0.0 else -1e-9)))
                cell[axis] = min(max(at, 0), shape[axis] - 1)
                turn[axis] = 1 if speed > 0.0 else -1
                if abs(speed) < 1e-12:
                    following[axis] = np.inf
                else:
                    following[axis] = (cell[axis] + (1 if speed > 0.0 else 0) - start[index, axis]) / speed
            here = near
            while here < far:
                axis = 0
                if following[1] < following[axis]:
                    axis = 1
                if following[2] < following[axis]:
                    axis = 2
                there = min(following[axis], far)
                if there > here:
                    if write:
                        at = first[index] + count
                        ray[at] = index
                        voxel[at] = (cell[0] * shape[1] + cell[1]) * shape[2] + cell[2]
                        length[at] = there - here
                    count += 1
                    here = there
                cell[axis] += turn[axis]
                if cell[axis] < 0 or cell[axis] >= shape[axis]:
                    break
                following[axis] += 1.0 / abs(step[index, axis])
        counts[index] = count
