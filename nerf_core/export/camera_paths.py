"""The cameras of a rendering: read from a file, or an orbit about the scene like the training cameras' own."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..contract.camera import Camera, look_at
from ..contract.camera_path import MOST_CAMERAS, read_camera_path
from ..contract.errors import NerfError
from ..contract.files import write_json
from ..contract.lens import Distortion


def read_cameras(path: str | Path, width: int | None = None, height: int | None = None) -> list[Camera]:
    """Read cameras from any file that :func:`contract.camera_path.read_camera_path` takes.

    Parameters
    ----------
    path : path
    width, height : int, optional
        Size of the pictures; by default what the file says. One alone keeps the aspect ratio.

    Raises
    ------
    DataError
        One sentence that names the file and what to do.
    """
    return [resize(camera, width, height) for camera in read_camera_path(path, width, height).cameras]


def orbit(
    cameras: Sequence[Camera],
    bounds: np.ndarray,
    count: int,
    width: int | None = None,
    height: int | None = None,
) -> list[Camera]:
    """A turn about the scene's box, as far away and as high up as the training cameras.

    The distance is their median distance from the box's centre, the elevation the median of those that stand above
    it (or of all, when hardly any do); the lens is the first camera's, without its distortion.

    Parameters
    ----------
    cameras : sequence of Camera
        The training cameras, at least one.
    bounds : (2, 3) array
        World space; the turn is about the vertical through its centre.
    count : int
        Cameras, evenly spaced; the first stands at the first training camera's azimuth.
    width, height : int, optional
        As in :func:`read_cameras`.
    """
    if not 1 <= count <= MOST_CAMERAS:
        raise NerfError(f"An orbit has 1 to {MOST_CAMERAS} cameras, not {count}.")
    if not cameras:
        raise NerfError("The run knows no training cameras to make an orbit from; pass --cameras FILE.")
    center = 0.5 * (np.asarray(bounds[0]) + np.asarray(bounds[1]))
    offsets = np.array([camera.position for camera in cameras]) - center
    distances = np.linalg.norm(offsets, axis=1)
    radius = max(float(np.median(distances)), 1e-6)
    elevations = np.arcsin(np.clip(offsets[:, 2] / np.maximum(distances, 1e-9), -1.0, 1.0))
    above = elevations > math.radians(3)
    elevation = float(np.median(elevations[above] if above.mean() > 0.25 else elevations))
    elevation = float(np.clip(elevation, math.radians(-80), math.radians(80)))  # nearer the pole it only spins
    azimuth = math.atan2(offsets[0][1], offsets[0][0])
    lens = replace(resize(cameras[0], width, height), distortion=Distortion())
    path = []
    for angle in azimuth + np.arange(count) * (2.0 * math.pi / count):
        direction = (
            math.cos(elevation) * math.cos(angle),
            math.cos(elevation) * math.sin(angle),
            math.sin(elevation),
        )
        path.append(replace(lens, c2w=look_at(center + radius * np.array(direction), center)))
    return path


def resize(camera: Camera, width: int | None, height: int | None) -> Camera:
    """A camera at another size.

    One side alone keeps the aspect ratio. With both, pixels keep their shape: the picture shows all that the camera
    showed, and more at two sides where the aspect ratio differs.
    """
    for side in (width, height):
        if side is not None and side < 1:
            raise NerfError(f"A picture's side must be at least 1 pixel, not {side}.")
    if width is None and height is None:
        return camera
    if width is None or height is None:
        scale = width / camera.width if width is not None else (height or 1) / camera.height
        return camera.resized(
            width or max(1, round(camera.width * scale)), height or max(1, round(camera.height * scale))
        )
    scale = min(width / camera.width, height / camera.height)
    return replace(
        camera,
        width=width,
        height=height,
        fl_x=camera.fl_x * scale,
        fl_y=camera.fl_y * scale,
        cx=0.5 * width + (camera.cx - 0.5 * camera.width) * scale,
        cy=0.5 * height + (camera.cy - 0.5 * camera.height) * scale,
    )


def write_cameras(path: str | Path, cameras: Sequence[Camera]) -> None:
    """Write what :func:`read_cameras` reads: a list of `Camera.to_dict`."""
    write_json(path, [camera.to_dict() for camera in cameras])
