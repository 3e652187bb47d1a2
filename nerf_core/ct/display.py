"""What a program shows of a CT: a density to look through, surfaces of one value, slices through it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..contract.errors import Cancelled, NerfError
from ..contract.xray import MU_WATER
from .volume import Volume

FAINT = 0.05
"""Attenuation against water's below which a voxel is left empty: air."""
PIECES = 0.0005
"""Share of the largest piece's area below which a piece of a surface is noise."""
SLAB = 8  # planes of voxels at once
STEEP = 500.0  # HU over which the surface's slope may be told apart; exponentials stay small
MAX_SLICE = 2048  # pixels a side
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Which axis of a canonical volume a slice is square to."""


@dataclass(frozen=True)
class Surface:
    """Triangles where a CT has one value.

    Attributes
    ----------
    vertices : (V, 3) float32 array
        RAS metres.
    faces : (F, 3) int32 array
        Counter-clockwise seen from outside, where the values are lower.
    """

    vertices: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class CtSlice:
    """A flat cut through a CT.

    Attributes
    ----------
    pixels : (H, W) uint8 array
        Its values in a window; the first row is the lowest, along the volume's higher axis.
    corners : (4, 3) float64 array
        RAS metres of the outer corners: first pixel, end of the first row, last pixel, end of the first column.
    place : float
        Millimetres of its middle along the world axis that it is square to.
    """

    pixels: np.ndarray
    corners: np.ndarray
    place: float


def relative_density(volume: Volume) -> np.ndarray:
    """(X, Y, Z) float32: attenuation against water's, 0 where there is air; bone is about 1.5 to 3."""
    density = volume.mu() / np.float32(MU_WATER)
    return np.where(density < FAINT, np.float32(0.0), density)


def surface(
    volume: Volume,
    level: float,
    faces: int | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Surface:
    """Where a CT reaches a value: marching cubes as meshes of runs are made, closed where the volume ends.

    Parameters
    ----------
    volume : Volume
    level : float
        HU: about 200 for bone, -300 for the skin.
    faces : int, optional
        Decimate to about so many triangles.
    progress, should_stop : callable, optional
        Told the fraction that is done; asked between parts of the work.

    Raises
    ------
    NerfError
        When nothing reaches the value.
    Cancelled
        When `should_stop` said so.
    """
    from ..export.mesh import decimated, iso_surface, largest_pieces

    volume = volume.canonical()

    def slabs() -> Iterator[np.ndarray]:
        for first in range(0, volume.shape[0], SLAB):
            if should_stop is not None and should_stop():
                raise Cancelled("the surface was stopped")
            if progress is not None:
                progress(0.8 * first / volume.shape[0])
            # The surface is drawn in the logarithm of densities: HU go straight into it.
            yield np.exp(np.clip((volume.values[first : first + SLAB] - level) / np.float32(STEEP), -20.0, 20.0))

    vertices, triangles = iso_surface(slabs(), 1.0)
    if not len(triangles):
        raise NerfError(
            f"Nothing in '{volume.name}' reaches {level:g} HU; it holds {volume.values.min():.0f} to "
            f"{volume.values.max():.0f}."
        )
    vertices, triangles = largest_pieces(vertices, triangles, PIECES)
    if faces is not None and faces < len(triangles):
        vertices, triangles = decimated(vertices, triangles, faces, should_stop)
    # The ring of nothing around the grid closes what is cut; it shall not stand out of the outer faces.
    vertices = np.clip(vertices, -0.5, np.array(volume.shape) - 0.5)
    places = (vertices @ volume.affine[:3, :3].T + volume.affine[:3, 3]) * 1e-3
    if progress is not None:
        progress(1.0)
    return Surface(places.astype(np.float32), np.ascontiguousarray(triangles, dtype=np.int32))


def ct_slice(volume: Volume, plane: str, part: float, window: tuple[float, float]) -> CtSlice:
    """A cut along the axes of a canonical volume.

    Parameters
    ----------
    volume : Volume
        Of :meth:`Volume.canonical`.
    plane : {'axial', 'coronal', 'sagittal'}
    part : float
        0 to 1: from the first voxel to the last.
    window : (low, high)
        HU that are black and white.
    """
    axis = PLANES[plane]
    index = int(round(min(max(part, 0.0), 1.0) * (volume.shape[axis] - 1)))
    across, up = (other for other in range(3) if other != axis)
    values = np.take(volume.values, index, axis=axis).T  # rows along the higher axis
    values = values[:: -(-values.shape[0] // MAX_SLICE), :: -(-values.shape[1] // MAX_SLICE)]
    low, high = window
    if not low < high:
        raise NerfError(f"A window goes from a lower to a higher value, not from {low:g} to {high:g} HU.")
    pixels = np.clip((values - low) / (high - low), 0.0, 1.0)
    ends = np.full((4, 3), float(index))
    ends[:, across] = np.array([-0.5, volume.shape[across] - 0.5])[[0, 1, 1, 0]]
    ends[:, up] = np.array([-0.5, volume.shape[up] - 0.5])[[0, 0, 1, 1]]
    corners = ends @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return CtSlice(np.round(255.0 * pixels).astype(np.uint8), corners * 1e-3, float(corners[:, axis].mean()))
