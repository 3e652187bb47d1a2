"""The density of a run on a regular grid over its box: what meshes and volumes are made of."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..contract.errors import Cancelled, NerfError
from ..data.memory import free_memory
from ..methods.base import Method

MIN_RESOLUTION, MAX_RESOLUTION = 8, 1024
POINTS_AT_ONCE = 1 << 18  # what a cancelled request has to wait for: a fifth of a second on two CPU cores
COPIES = 5  # of a whole volume that are there at once while it is written or sent


@dataclass(frozen=True)
class Grid:
    """Voxels of one size that fill a box, and stand out by the same on both sides where it is no multiple of them.

    Attributes
    ----------
    origin : (3,) float64 array
        World position of the first voxel's centre.
    spacing : float
        A voxel's side, world units.
    shape : tuple of int
        Voxels along x, y, z.
    bounds : (2, 3) float64 array
        The box.
    """

    origin: np.ndarray
    spacing: float
    shape: tuple[int, int, int]
    bounds: np.ndarray

    @classmethod
    def over(cls, bounds: np.ndarray, resolution: int) -> "Grid":
        """The grid with `resolution` voxels along the longest side of a (2, 3) world box.

        Raises
        ------
        NerfError
            When the resolution is out of range.
        """
        if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
            raise NerfError(f"The resolution must be {MIN_RESOLUTION} to {MAX_RESOLUTION}, not {resolution}.")
        bounds = np.asarray(bounds, dtype=np.float64)
        sides = bounds[1] - bounds[0]
        spacing = float(sides.max()) / resolution
        counts = np.maximum(1, np.ceil(sides / spacing - 1e-6).astype(int))
        origin = 0.5 * (bounds[0] + bounds[1]) - 0.5 * (counts - 1) * spacing
        return cls(origin, spacing, (int(counts[0]), int(counts[1]), int(counts[2])), bounds)

    def positions(self, first: int, last: int) -> np.ndarray:
        """(last - first, Y, Z, 3) float64 world positions of the voxels with x index `first` to `last` - 1."""
        ranges = (range(first, last), range(self.shape[1]), range(self.shape[2]))
        axes = [self.origin[i] + self.spacing * np.asarray(r, dtype=np.float64) for i, r in enumerate(ranges)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def density_slabs(
    method: Method,
    grid: Grid,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[np.ndarray]:
    """The density in slabs along x, each (planes, Y, Z) float32 per world unit; 0 outside the box.

    Raises `Cancelled` when `should_stop`, asked before each slab and within large ones, said so.
    """
    depth = max(1, POINTS_AT_ONCE // (grid.shape[1] * grid.shape[2]))
    for first in range(0, grid.shape[0], depth):
        last = min(first + depth, grid.shape[0])
        points = grid.positions(first, last).reshape(-1, 3)
        # A voxel's centre that stands out of the box by less than a rounding is in it.
        inside = np.all((points >= grid.bounds[0] - 1e-9) & (points <= grid.bounds[1] + 1e-9), axis=1)
        density = np.zeros(len(points), np.float32)
        for start in range(0, len(points), POINTS_AT_ONCE):
            if should_stop is not None and should_stop():
                raise Cancelled("the density was stopped")
            part = slice(start, start + POINTS_AT_ONCE)
            density[part] = np.where(inside[part], method.query_density(points[part]), 0.0)
        if progress is not None:
            progress(last / grid.shape[0])
        yield density.reshape(last - first, *grid.shape[1:])


def density_volume(
    method: Method,
    bounds: np.ndarray,
    resolution: int,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Grid, np.ndarray]:
    """The whole density: its grid, and an (X, Y, Z) float32 array per world unit; see :func:`density_slabs`.

    Raises `NerfError` before the work when the array and what is made of it (`COPIES`) do not fit into the memory.
    """
    grid = Grid.over(bounds, resolution)
    needed, free = COPIES * 4 * math.prod(grid.shape), free_memory()
    if free is not None and needed > free:
        raise NerfError(
            f"A volume of {'x'.join(map(str, grid.shape))} voxels needs {needed / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free; choose a lower resolution."
        )
    density = np.empty(grid.shape, np.float32)
    filled = 0
    for slab in density_slabs(method, grid, progress, should_stop):
        density[filled : filled + len(slab)] = slab
        filled += len(slab)
    return grid, density
