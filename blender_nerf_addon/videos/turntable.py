"""The cameras of a turntable as plain geometry: one turn about the vertical through a box's centre, without bpy."""

import math
from dataclasses import replace

import numpy as np

from ..capture.rigs import fit_radius
from ..vendor.nerf_core.contract.camera import Camera, look_at
from ..vendor.nerf_core.contract.errors import NerfError

MARGIN = 0.05  # of the picture's half side, free around a box that is fitted
STEEPEST = math.radians(89.0)  # straight from above a turn would only spin


def directions(count: int, elevation: float, start: float = 0.0, clockwise: bool = False) -> np.ndarray:
    """Unit vectors from the centre to each camera, evenly over one turn, so that the last leads to the first again.

    Parameters
    ----------
    count : int
    elevation : float
        Radians above the horizon.
    start : float
        Azimuth of the first camera, radians from +X towards +Y.
    clockwise : bool
        Which way the cameras go, seen from above.

    Returns
    -------
    (count, 3) float64 array
    """
    elevation = min(max(elevation, -STEEPEST), STEEPEST)
    angles = start + (-1.0 if clockwise else 1.0) * np.arange(count) * (2.0 * math.pi / count)
    flat = math.cos(elevation)
    return np.stack(
        [flat * np.cos(angles), flat * np.sin(angles), np.full(count, math.sin(elevation))],
        axis=-1,
    )


def around(bounds: np.ndarray, turn: np.ndarray, lens: Camera, radius: float | None = None) -> list[Camera]:
    """Cameras that look at a box's centre from each direction.

    Parameters
    ----------
    bounds : (2, 3) array
        World space.
    turn : (N, 3) array
        Of :func:`directions`.
    lens : Camera
        Its pose is not looked at.
    radius : float, optional
        Distance from the centre, scene units; by default the least from which every camera sees the whole box.
    """
    bounds = np.asarray(bounds, dtype=np.float64)
    center = bounds.mean(axis=0)
    if radius is None:
        radius = fit_radius(bounds, turn, lens, MARGIN)
    return [replace(lens, c2w=look_at(center + radius * direction, center)) for direction in turn]


def seen_from(position: np.ndarray, center: np.ndarray) -> tuple[float, float, float]:
    """Distance, elevation and azimuth (radians) of a place about a centre.

    Raises
    ------
    NerfError
        When both are the same place.
    """
    offset = np.asarray(position, dtype=np.float64) - center
    distance = float(np.linalg.norm(offset))
    if distance < 1e-6:
        raise NerfError("The camera stands in the middle of the box: move it away to turn from its distance.")
    return distance, math.asin(min(1.0, max(-1.0, offset[2] / distance))), math.atan2(offset[1], offset[0])
