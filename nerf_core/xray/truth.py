"""The voxels of a radiograph data set's true volume, where that lies in the data set's world as it was made."""

from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import DataError
from ..contract.xray import XrayFacts
from .grid import Grid
from .true_volume import world_from_mm

SAME_PLACE = 1e-3  # of the box's longest side


def truth_path(data: Path, facts: XrayFacts) -> Path | None:
    """The true volume's file; None where the data set names none, or it is not there."""
    if facts.volume is None:
        return None
    folder = data if data.is_dir() else data.parent
    path = folder / facts.volume
    return path if path.is_file() else None


def truth_grid(data: Path, facts: XrayFacts, bounds: np.ndarray) -> Grid | None:
    """The true volume's voxels in the world; only its header is read.

    Parameters
    ----------
    data : Path
        The data set's folder, or the document in it.
    facts : XrayFacts
    bounds : (2, 3) array
        World box of the data set.

    Returns
    -------
    Grid or None
        None where there is no such volume, its axes are sheared, or it does not fill that box: the scene was moved
        since.
    """
    import nibabel

    path = truth_path(data, facts)
    if path is None:
        return None
    try:
        image: Any = nibabel.load(path)  # type: ignore[attr-defined]
        matrix = np.array(image.affine, dtype=np.float64)
        shape = tuple(int(count) for count in image.shape[:3])
    except Exception:  # nibabel tells each way in which a file can be broken by another exception
        return None
    matrix = world_from_mm(facts) @ matrix
    if len(shape) != 3 or not np.isfinite(matrix).all():
        return None
    try:
        grid = Grid((shape[0], shape[1], shape[2]), matrix)
    except DataError:
        return None
    reach = SAME_PLACE * float(np.max(bounds[1] - bounds[0]))
    return grid if np.abs(grid.bounds - bounds).max() <= reach else None


def aligned_shape(grid: Grid) -> tuple[int, int, int] | None:
    """Voxels along the world's x, y and z; None where the grid's axes are not the world's."""
    axes = np.abs(grid.world_from_index[:3, :3]) / grid.spacing
    order = axes.argmax(axis=1)
    if sorted(order) != [0, 1, 2] or np.abs(axes[np.arange(3), order] - 1.0).max() > 1e-6:
        return None
    return grid.shape[order[0]], grid.shape[order[1]], grid.shape[order[2]]
