"""The true volume of a radiograph data set, in the world that a run sees."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.errors import DataError
from ..contract.xray import XrayFacts
from ..data.documents import read_documents
from ..data.placement import Placement
from .grid import Grid

PER_METRE = 100.0  # attenuation per cm to per m


@dataclass(frozen=True)
class Truth:
    """A known volume.

    Attributes
    ----------
    grid : Grid
        World space.
    mu : (X, Y, Z) float32 array
        Attenuation per world unit.
    name : str
        For a person.
    remark : str
        What was done to it: a sentence, or nothing.
    """

    grid: Grid
    mu: np.ndarray
    name: str
    remark: str = ""


def find_truth(data: str | Path, placement: Placement | None = None, longest: int = 128) -> Truth | None:
    """The volume in HU that a radiograph data set carries; None where it carries none.

    Parameters
    ----------
    data : path
        The data set's folder, or the JSON file in it.
    placement : Placement, optional
        How the run placed the data set.
    longest : int
        Voxels along the longest side, at most: a larger volume is reduced to that by means, with cubic voxels.
        A volume whose axes are sheared (a tilted gantry's, or an object's in Blender) is laid on a box that is not.

    Raises
    ------
    DataError
        When the data set has no radiographs, or its volume is missing or cannot be read.
    """
    from ..ct.source import read_ct

    documents = read_documents(data)
    facts = documents.xray
    if facts is None:
        raise DataError(f"The data set '{data}' holds no radiographs; make some with 'nerf drr'.")
    if facts.volume is None:
        return None
    folder = Path(data) if Path(data).is_dir() else Path(data).parent
    path = folder / facts.volume
    if not path.is_file():
        raise DataError(
            f"The data set '{data}' names its true volume '{facts.volume}', which is not there; put it back, or make "
            "the radiographs again."
        )
    volume = read_ct(path)
    if max(volume.shape) > longest:
        volume = volume.resampled(shape=longest)
    cameras = [frame.c2w for frames in documents.frames.values() for frame in frames]
    matrix, scale = np.eye(4), 1.0
    if placement is not None and not placement.leaves(documents.kind):
        matrix, scale = placement.similarity(documents.kind, np.array(cameras))
    world_from_index = matrix @ world_from_mm(facts) @ volume.affine
    mu = volume.mu().astype(np.float32) * np.float32(PER_METRE * facts.meters_per_unit / scale)
    if is_straight(world_from_index):
        return Truth(Grid(volume.shape, world_from_index), mu, path.name)
    grid, mu = straightened(mu, world_from_index, longest)
    shape = "x".join(map(str, grid.shape))
    remark = f"The axes of the true volume '{path.name}' are sheared: it was resampled onto a box of {shape} voxels."
    return Truth(grid, mu, path.name, remark)


def straightened(mu: np.ndarray, world_from_index: np.ndarray, longest: int) -> tuple[Grid, np.ndarray]:
    """A sheared volume on cubic voxels along the world's axes, between which it is linear; 0 outside of it.

    Parameters
    ----------
    mu : (X, Y, Z) array
    world_from_index : (4, 4) array
        Any invertible affine matrix.
    longest : int
        Voxels along the box's longest side, at most.

    Returns
    -------
    grid : Grid
        Around the whole volume.
    values : array of the grid's shape, float32
    """
    from scipy.ndimage import map_coordinates

    ends = np.array(np.meshgrid(*([-0.5, count - 0.5] for count in mu.shape), indexing="ij")).reshape(3, 8).T
    corners = ends @ world_from_index[:3, :3].T + world_from_index[:3, 3]
    bounds = np.stack([corners.min(axis=0), corners.max(axis=0)])
    finest = float(np.linalg.norm(world_from_index[:3, :3], axis=0).min())
    grid = Grid.of_bounds(bounds, min(longest, int(np.ceil(float((bounds[1] - bounds[0]).max()) / finest))))
    inverse = np.linalg.inv(world_from_index[:3, :3])
    high = np.array(mu.shape, dtype=np.float64).reshape(3, 1, 1, 1) - 0.5
    values = np.empty(grid.shape, np.float32)
    for row in range(grid.shape[0]):
        index = np.moveaxis((grid.slab(row, row + 1) - world_from_index[:3, 3]) @ inverse.T, -1, 0)
        found = map_coordinates(mu, index, order=1, mode="nearest", prefilter=False)
        found[((index < -0.5) | (index > high)).any(axis=0)] = 0.0
        values[row] = found[0]
    return grid, values


def is_straight(world_from_index: np.ndarray) -> bool:
    """Whether a matrix' axes are square to one another, as a `Grid` wants them."""
    try:
        Grid((1, 1, 1), world_from_index)
    except DataError:
        return False
    return True


def world_from_mm(facts: XrayFacts) -> np.ndarray:
    """(4, 4) from a volume's RAS millimetres to its data set's world, whose axes are the same."""
    return np.diag([*[0.001 / facts.meters_per_unit] * 3, 1.0])
