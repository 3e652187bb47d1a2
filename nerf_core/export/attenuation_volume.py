"""A run's attenuation as a CT volume: Hounsfield units in RAS millimetres, for NIfTI."""

from typing import TYPE_CHECKING

import numpy as np

from ..contract.errors import NerfError
from ..contract.xray import mu_to_hu
from ..ct.volume import Volume
from ..xray.grid import Grid
from ..xray.truth import truth_grid

if TYPE_CHECKING:
    from ..methods.base import Method
    from ..training.load import LoadedRun

ENDINGS = (".nii", ".nii.gz")
MIN_RESOLUTION, MAX_RESOLUTION = 8, 1024


def export_grid(run: "LoadedRun", resolution: int | None = None) -> Grid:
    """The voxels that a run's volume is written on.

    Parameters
    ----------
    run : LoadedRun
        Of the method `xray`.
    resolution : int, optional
        Voxels along the box's longest side; by default the voxels of the data set's true volume where there is one,
        else the field's own nodes.

    Raises
    ------
    NerfError
        When the run is of another method, or the resolution out of range.
    """
    from ..methods.xray import XrayMethod

    method = run.method
    if not isinstance(method, XrayMethod):
        raise NerfError(
            f"A NIfTI volume holds Hounsfield units, and a run of the method '{method.name}' knows no attenuation; "
            "write .vdb or .npz, or train with --method xray."
        )
    if resolution is not None:
        if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
            raise NerfError(f"The resolution must be {MIN_RESOLUTION} to {MAX_RESOLUTION}, not {resolution}.")
        return Grid.of_bounds(run.bounds, resolution)
    truth = None if run.data is None else truth_grid(run.data, method.facts, run.bounds)
    if truth is not None:
        return truth
    nodes = method.grid
    matrix = np.diag([*nodes.spacing, 1.0])
    matrix[:3, 3] = nodes.bounds[0] + 0.5 * nodes.spacing
    return Grid(nodes.shape, matrix)


def ct_volume(method: "Method", grid: Grid, name: str) -> Volume:
    """The attenuation of a method `xray` on a grid, as Hounsfield units where the scanner's patient would lie.

    The world's axes are RAS and its unit what the data set says; nothing at all is -1002 HU, a little below air.
    """
    from ..methods.xray import XrayMethod

    assert isinstance(method, XrayMethod)
    meters = method.facts.meters_per_unit
    hu = mu_to_hu(method.volume_on(grid) / np.float32(100.0 * meters))
    affine = np.array(grid.world_from_index)
    affine[:3] *= 1000.0 * meters
    return Volume(hu.astype(np.float32), affine, name)
