"""A CT volume: Hounsfield units on a grid, and where its voxels lie in the patient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..contract.errors import NerfError
from ..contract.xray import hu_to_mu

AIR_HU = -1000.0
MAX_VOXELS = 1 << 31


@dataclass(frozen=True)
class Volume:
    """A CT volume, as it was stored: axes in any order and direction, voxels of any shape.

    Attributes
    ----------
    values : (X, Y, Z) float32 array
        Hounsfield units.
    affine : (4, 4) float64 array
        From a voxel centre's indices to RAS millimetres.
    name : str
        What a person calls it; usually the file's name.
    warnings : tuple of str
        What a person should know: sentences.
    file : str
        One of the files that it was read from, by which it is found again; may be empty.
    """

    values: np.ndarray
    affine: np.ndarray
    name: str = "volume"
    warnings: tuple[str, ...] = field(default=())
    file: str = ""

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float32)
        affine = np.array(self.affine, dtype=np.float64)
        if values.ndim != 3 or not values.size:
            raise NerfError(f"'{self.name}' is no volume: its shape is {values.shape}.")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise NerfError(f"'{self.name}' does not say where its voxels lie: its affine has no inverse.")
        affine.flags.writeable = False
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes of the array."""
        x, y, z = self.values.shape
        return x, y, z

    @property
    def spacing(self) -> np.ndarray:
        """(3,) millimetres between voxel centres along the three axes of the array."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def orientation(self) -> str:
        """Which way the three axes of the array go, nearest: 'RAS', 'LPS', 'PSR', ..."""
        return "".join("RAS"[axis] if sign > 0 else "LPI"[axis] for axis, sign in zip(*self._axes(), strict=True))

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) RAS millimetres: the corners of the box of all voxels' outer faces."""
        ends = np.stack([np.full(3, -0.5), np.array(self.shape) - 0.5])
        indices = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(8, 3)
        return indices @ self.affine[:3, :3].T + self.affine[:3, 3]

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3) RAS millimetres: what holds the voxels' outer faces."""
        corners = self.corners
        return np.stack([corners.min(axis=0), corners.max(axis=0)])

    def mu(self) -> np.ndarray:
        """(X, Y, Z) float32: attenuation, 1 / cm."""
        return hu_to_mu(self.values)

    def canonical(self) -> "Volume":
        """The same voxels with the array's axes turned to run nearest to R, A and S; nothing is interpolated."""
        axes, signs = self._axes()
        order = [int(np.flatnonzero(axes == axis)[0]) for axis in range(3)]
        values, affine = self.values.transpose(order), np.array(self.affine)
        affine[:, :3] = self.affine[:, order]
        for axis, sign in enumerate(signs[order]):
            if sign < 0:
                affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
                affine[:3, axis] *= -1
                values = np.flip(values, axis)
        return replace(self, values=np.ascontiguousarray(values), affine=affine)

    def resampled(
        self,
        shape: int | Sequence[int] | None = None,
        spacing: float | Sequence[float] | None = None,
        cube: int | None = None,
    ) -> "Volume":
        """The same over other voxels: each has the mean, over its box, of what is linear between the old ones' middles.

        Parameters
        ----------
        shape : int or (3,), optional
            Voxels along the array's axes; a number: along the longest side, with the others as near to that size of
            voxel as can be. The outer faces stay where they are.
        spacing : float or (3,), optional
            Millimetres, as near as voxels fit between the outer faces.
        cube : int, optional
            So many voxels along each side of the cube around the volume's middle whose side is the longest one, axes
            turned nearest to R, A, S; what lies beside the volume is air.

        Raises
        ------
        NerfError
            When not exactly one is given, or the numbers are not usable.
        """
        if sum(asked is not None for asked in (shape, spacing, cube)) != 1:
            raise NerfError("A volume is resampled to a shape, a spacing or a cube: give one of them.")
        source = self.canonical() if cube is not None else self
        sides = source.spacing * source.shape
        if cube is not None:
            counts, spans = np.full(3, int(cube)), np.full(3, sides.max())
        elif spacing is not None:
            steps = np.broadcast_to(np.asarray(spacing, dtype=np.float64), 3)
            if not ((steps > 0) & np.isfinite(steps)).all():
                raise NerfError(f"A spacing must be above 0 mm, not {spacing}.")
            counts, spans = np.maximum(1, np.round(sides / steps)).astype(np.int64), sides
        elif isinstance(shape, int | np.integer):
            counts, spans = np.maximum(1, np.round(sides / sides.max() * int(shape))).astype(np.int64), sides
        else:
            counts, spans = np.array(shape, dtype=np.int64), sides
        if counts.shape != (3,) or min(counts) < 1 or math.prod(map(int, counts)) > MAX_VOXELS:
            raise NerfError(f"A volume of {'x'.join(str(n) for n in counts)} voxels cannot be made.")
        values = source.values - np.float32(AIR_HU)  # so that what is outside counts as air
        affine = np.array(source.affine)
        corner = np.zeros(3)
        for axis in range(3):
            length = source.spacing[axis]
            start = 0.5 * (sides[axis] - spans[axis]) / length
            step = spans[axis] / counts[axis] / length
            weights = _weights(source.shape[axis], start, step, int(counts[axis]))
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
            corner[axis] = start + 0.5 * step - 0.5  # the new first voxel's centre
            affine[:3, axis] *= step
        affine[:3, 3] = source.affine[:3, :3] @ corner + source.affine[:3, 3]
        return replace(source, values=np.ascontiguousarray(values) + np.float32(AIR_HU), affine=affine)

    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        """For each axis of the array: the world axis nearest to it, and its sign."""
        unit = self.affine[:3, :3] / self.spacing
        axes, left = np.zeros(3, np.int64), np.abs(unit)
        for _ in range(3):  # the clearest first, so that each world axis is taken once
            world, axis = np.unravel_index(np.argmax(left), (3, 3))
            axes[axis] = world
            left[world, :] = left[:, axis] = -1.0
        return axes, np.sign(unit[axes, np.arange(3)])


def _weights(count: int, start: float, step: float, new: int) -> np.ndarray:
    """(new, count) float32: how much of each voxel is in each new one, as the mean of what is linear in between.

    `start` is the new first voxel's outer face, `step` a new voxel's length, both in old voxels from the old first
    one's outer face. Rows add up to 1 within the old voxels, less where they reach beyond.
    """
    faces = np.clip(start + step * np.arange(new + 1), 0.0, count)
    # Each voxel is a hat about its middle, with one more beyond each end that has its neighbour's value.
    away = np.clip(faces[:, None] - (np.arange(-1, count + 1) + 0.5), -1.0, 1.0)
    shares = np.diff(0.5 + away - 0.5 * away * np.abs(away), axis=0) / step
    shares[:, 1] += shares[:, 0]
    shares[:, -2] += shares[:, -1]
    return shares[:, 1:-1].astype(np.float32)
