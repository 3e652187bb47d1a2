"""A box of voxels in the world: what volumes of attenuation are given on. numpy only."""

from dataclasses import dataclass

import numpy as np

from ..contract.errors import DataError

FEWEST = 2


@dataclass(frozen=True)
class Grid:
    """Voxels in a box, which may stand at any angle in the world.

    Attributes
    ----------
    shape : (X, Y, Z) of int
        Voxels along the three index axes.
    world_from_index : (4, 4) float64 array
        Voxel centre (i, j, k, 1) to the world; its axes are orthogonal (spacings may differ).
    """

    shape: tuple[int, int, int]
    world_from_index: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(count) for count in self.shape)
        matrix = np.array(self.world_from_index, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise DataError(f"A grid needs three sides of at least one voxel, not {self.shape}.")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise DataError("A grid's matrix from index to world must be 4x4 finite numbers.")
        axes = matrix[:3, :3]
        lengths = np.linalg.norm(axes, axis=0)
        if lengths.min() <= 0 or np.abs((axes.T @ axes) / np.outer(lengths, lengths) - np.eye(3)).max() > 1e-4:
            raise DataError("A grid's axes must be orthogonal and not of length zero; resample the volume first.")
        matrix.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "world_from_index", matrix)

    @classmethod
    def of_bounds(cls, bounds: np.ndarray, longest: int) -> "Grid":
        """Cubic voxels in an axis-aligned world box, `longest` of them along its longest side.

        Parameters
        ----------
        bounds : (2, 3) array
            World; the voxels' outer faces. Shorter sides are grown about their middle to whole voxels.
        longest : int
        """
        low, high = np.asarray(bounds, dtype=np.float64)
        spacing = float((high - low).max()) / max(int(longest), 1)
        if not spacing > 0:
            raise DataError("A grid's box must not be empty.")
        shape = np.maximum(FEWEST, np.ceil((high - low) / spacing - 1e-6)).astype(int)
        matrix = np.diag([spacing, spacing, spacing, 1.0])
        matrix[:3, 3] = 0.5 * (low + high) - 0.5 * (shape - 1) * spacing
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), matrix)

    @property
    def spacing(self) -> np.ndarray:
        """(3,) world lengths of a voxel along the index axes."""
        return np.linalg.norm(self.world_from_index[:3, :3], axis=0)

    @property
    def center(self) -> np.ndarray:
        """(3,) world position of the box's middle."""
        return self.to_world(0.5 * (np.array(self.shape) - 1.0))

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) world positions of the outer corners."""
        index = np.array(np.meshgrid(*([-0.5, count - 0.5] for count in self.shape), indexing="ij"))
        return self.to_world(index.reshape(3, 8).T)

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3) axis-aligned world box of the voxels' outer faces."""
        return np.stack([self.corners.min(axis=0), self.corners.max(axis=0)])

    def to_world(self, index: np.ndarray) -> np.ndarray:
        """(..., 3) index coordinates to the world."""
        return np.asarray(index) @ self.world_from_index[:3, :3].T + self.world_from_index[:3, 3]

    def to_index(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) world positions to index coordinates."""
        inverse = np.linalg.inv(self.world_from_index[:3, :3])
        return (np.asarray(points) - self.world_from_index[:3, 3]) @ inverse.T

    def slab(self, first: int, last: int) -> np.ndarray:
        """(last - first, Y, Z, 3) world centres of the voxels whose first index is in [first, last)."""
        axes = (np.arange(first, last), np.arange(self.shape[1]), np.arange(self.shape[2]))
        return self.to_world(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))

    def resized(self, longest: int) -> "Grid":
        """The same box with cubic voxels, `longest` along its longest side."""
        sides = self.spacing * self.shape
        spacing = float(sides.max()) / max(int(longest), 1)
        shape = np.maximum(FEWEST, np.ceil(sides / spacing - 1e-6)).astype(int)
        matrix = np.eye(4)
        matrix[:3, :3] = self.world_from_index[:3, :3] / self.spacing * spacing
        matrix[:3, 3] = self.center - matrix[:3, :3] @ (0.5 * (shape - 1.0))
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)

    def padded(self, voxels: int) -> "Grid":
        """The same voxels with so many more on every side."""
        matrix = self.world_from_index.copy()
        matrix[:3, 3] = self.to_world(np.full(3, -float(voxels)))
        x, y, z = (count + 2 * voxels for count in self.shape)
        return Grid((x, y, z), matrix)

    def sampled(self, values: np.ndarray, points: np.ndarray, order: int = 1) -> np.ndarray:
        """The values on this grid at (..., 3) world points: trilinear (nearest with `order` 0), 0 outside."""
        from scipy.ndimage import map_coordinates

        index = np.moveaxis(self.to_index(points), -1, 0)
        found = map_coordinates(values, index, order=order, mode="nearest", prefilter=False)
        high = np.array(self.shape, dtype=np.float64).reshape(3, *(1,) * (index.ndim - 1)) - 0.5
        found[((index < -0.5) | (index > high)).any(axis=0)] = 0.0
        return found
