"""The volume that an attenuation field begins with."""

from collections.abc import Callable, Sequence

import numpy as np

from ..contract.errors import NerfError
from .grid import Grid
from .rtk_geometry import Radiograph

HOW = ("fdk", "sart", "none")


def initial_volume(
    views: Sequence[Radiograph],
    grid: Grid,
    how: str = "fdk",
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> np.ndarray | None:
    """A first volume of the views, in seconds: (X, Y, Z) float32 attenuation per world unit, nowhere below 0.

    Parameters
    ----------
    views : sequence of Radiograph
        Perspective cameras about one axis, with line integrals.
    grid : Grid
    how : {'fdk', 'sart', 'none'}
        'sart': two passes, which are better than FDK with few views; 'none' gives None.
    progress, should_stop : callable, optional
        As `solvers.fdk` takes them.

    Raises
    ------
    NerfError
        When `how` is unknown, or `itk-rtk` is not installed.
    DataError
        When the views cannot be reconstructed from: no common axis, no line integrals.
    Cancelled
    """
    from .solvers import fdk, sart

    if how not in HOW:
        raise NerfError(f"'{how}' is no way to begin a volume; use one of {', '.join(HOW)}.")
    if how == "none":
        return None
    if how == "sart":
        return sart(views, grid, 2, 0.5, progress=progress, should_stop=should_stop)
    return fdk(views, grid, progress=progress, should_stop=should_stop)
