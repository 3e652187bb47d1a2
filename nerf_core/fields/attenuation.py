"""The attenuation field's settings, and the grid of nodes that it is.

The field is a grid of attenuation over the scene's box, one number a node, interpolated linearly in between, or a
coarse one and hashed finer ones that are added to it; it has no viewing direction. Nodes are the centres of voxels, so
that a volume of the same shape is held exactly. A number is the attenuation of one CELL, the line integral through the
longest side's voxel, without a unit; none is below zero.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from .attenuation_levels import Levels

BACKENDS = ("auto", "cpu", "reference")
GRIDS = ("auto", "dense", "hash")
INITS = ("fdk", "sart", "none")
FEWEST, MOST = 2, 1024
"""Nodes along an axis."""
MOST_NODES = 1 << 28
"""In all: a gigabyte, and four times that while training."""
DENSE_MOST = 320
"""Nodes along the longest side that `grid` "auto" takes a number each for: 131 MB, and six times that in training."""
AUTO_RESOLUTIONS = 32, 256
"""What a resolution that is chosen by the radiographs' pixels is kept within."""


@dataclass(frozen=True)
class AttenuationSettings:
    """Everything that the method `xray` can be told.

    Attributes
    ----------
    backend : {'auto', 'cpu', 'reference'}
        Who computes: numba kernels or plain torch; 'auto' takes numba on the CPU, torch elsewhere.
    resolution : int
        Nodes along the box's longest side; 0 takes the truth's voxels where the data set names one, else the
        radiographs' pixels at the axis.
    grid : {'auto', 'dense', 'hash'}
        Whether each node has a number of its own, or those of finer levels share the rows of tables
        (`fields.attenuation_levels`); 'auto' is the latter above `DENSE_MOST` nodes along the longest side.
    levels : int
        Of a hashed grid, finer than its coarse one, each twice as fine as the last.
    log2_table_size : int
        Rows of a hashed level's table at most, as a power of two.
    init : {'fdk', 'sart', 'none'}
        What the field begins as: the reconstruction by filtered back-projection (Feldkamp, Davis & Kress 1984), or two
        passes of algebraic reconstruction, where `itk-rtk` is installed, else the same everywhere.
    tv : float
        Weight of total variation, relative to what is known of the noise; 0 turns it off.
    noise_floor : float
        What line integrals are not trusted beyond: added in quadrature to the noise that the data set tells.
    rays_per_step : int
    learning_rate, final_learning_rate : float
        Adam's step, in shares of the subject's mean attenuation, at the start and at the end of the training budget.
    shape : (3,) tuple of int, or empty
        Nodes along x, y and z; set when the data set is known.
    """

    backend: str = "auto"
    resolution: int = 0
    grid: str = "auto"
    levels: int = 2
    log2_table_size: int = 22
    init: str = "fdk"
    tv: float = 0.5
    noise_floor: float = 0.04
    rays_per_step: int = 1 << 16
    learning_rate: float = 0.1
    final_learning_rate: float = 0.002
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, (low, high, kind) in _NUMBERS.items():
            value = getattr(self, name)
            whole = kind is int
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise NerfError(
                    f"The xray method's setting '{name}' must be {'a whole number' if whole else 'a number'}, "
                    f"not {value!r:.80}."
                )
            if not low <= value <= high:
                raise NerfError(f"The xray method's setting '{name}' must be {low:g} to {high:g}, not {value}.")
        for name, words in (("backend", BACKENDS), ("grid", GRIDS), ("init", INITS)):
            if getattr(self, name) not in words:
                raise NerfError(
                    f"The xray method's setting '{name}' is {getattr(self, name)!r:.80}; use one of {', '.join(words)}."
                )
        if self.resolution and self.resolution < 8:
            raise NerfError("The xray method's setting 'resolution' must be 0 (chosen by the data set) or at least 8.")
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        if self.shape and self.grid == "auto":
            object.__setattr__(self, "grid", "hash" if max(self.shape) > DENSE_MOST else "dense")
        nodes = int(np.prod(self.shape)) if self.shape else 0
        if self.hashed:
            nodes >>= 3 * self.levels  # the coarse level's
        if nodes > MOST_NODES:
            raise NerfError(
                f"An attenuation field of {'x'.join(map(str, self.shape))} nodes needs too much memory; set 'grid' to "
                f"'hash', or 'resolution' to at most {int(MOST_NODES ** (1 / 3))}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "AttenuationSettings":
        """Read plain JSON; an unknown name is an error that lists the known ones."""
        known = [item.name for item in fields(cls)]
        for name in values or {}:
            if name not in known:
                raise NerfError(f"The xray method has no setting '{str(name):.80}'; it has {', '.join(known[:-1])}.")
        return cls(**dict(values or {}))

    @property
    def hashed(self) -> bool:
        """Whether finer levels share the rows of tables; known once there is a shape."""
        return self.grid == "hash"

    def layout(self) -> Levels:
        """The levels of a hashed grid."""
        return Levels.of(self.shape, self.levels, self.log2_table_size)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "shape": list(self.shape)}

    def with_shape(self, shape: tuple[int, int, int]) -> "AttenuationSettings":
        """The same for so many nodes along x, y and z."""
        return replace(self, shape=shape)


_NUMBERS: dict[str, tuple[float, float, type]] = {
    "resolution": (0, MOST, int),
    "levels": (1, 6, int),
    "log2_table_size": (10, 26, int),
    "tv": (0.0, 1e6, float),
    "noise_floor": (1e-6, 1e3, float),
    "rays_per_step": (16, 1 << 22, int),
    "learning_rate": (1e-8, 10.0, float),
    "final_learning_rate": (1e-8, 10.0, float),
}


def _checked_shape(shape: Any) -> tuple[int, ...]:
    good = isinstance(shape, list | tuple) and len(shape) in (0, 3) and all(type(n) is int for n in shape)
    if not good or not all(FEWEST <= n <= MOST for n in shape):
        raise NerfError(
            f"The xray method's setting 'shape' must be three whole numbers from {FEWEST} to {MOST}, not {shape!r:.80}."
        )
    return tuple(shape)


@dataclass(frozen=True)
class NodeGrid:
    """Where a field's nodes are: at the centres of voxels that fill a box.

    Attributes
    ----------
    bounds : (2, 3) float64 array
        World box, the voxels' outer faces.
    shape : (3,) tuple of int
    """

    bounds: np.ndarray
    shape: tuple[int, int, int]

    @classmethod
    def over(cls, bounds: np.ndarray, resolution: int) -> "NodeGrid":
        """With `resolution` nodes along the longest side of a box, and about as far apart along the others."""
        sides = np.asarray(bounds[1] - bounds[0], dtype=np.float64)
        x, y, z = (max(FEWEST, round(float(side / sides.max()) * resolution)) for side in sides)
        return cls(np.asarray(bounds, np.float64), (x, y, z))

    @property
    def spacing(self) -> np.ndarray:
        """(3,) world lengths between nodes."""
        return (self.bounds[1] - self.bounds[0]) / np.array(self.shape)

    @property
    def cell(self) -> float:
        """The world length that the field's numbers are line integrals through: the longest side's voxel."""
        return float(self.spacing[int(np.argmax(self.bounds[1] - self.bounds[0]))])

    def points(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) world points in units of nodes, float32: node (i, j, k) lies at (i, j, k)."""
        return ((np.asarray(points, np.float64) - self.bounds[0]) / self.spacing - 0.5).astype(np.float32)

    def rays(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World rays in units of nodes, float32 (N, 3) each; distances along them are counted in cells."""
        along = np.asarray(directions, np.float64) * (self.cell / self.spacing)
        return self.points(origins), along.astype(np.float32)
