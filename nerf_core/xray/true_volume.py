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
    """

    grid: Grid
    mu: np.ndarray
    name: str


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
    grid = Grid(volume.shape, matrix @ world_from_mm(facts) @ volume.affine)
    per_unit = PER_METRE * facts.meters_per_unit / scale
    return Truth(grid, volume.mu().astype(np.float32) * np.float32(per_unit), path.name)


def world_from_mm(facts: XrayFacts) -> np.ndarray:
    """(4, 4) from a volume's RAS millimetres to its data set's world, whose axes are the same."""
    return np.diag([*[0.001 / facts.meters_per_unit] * 3, 1.0])
