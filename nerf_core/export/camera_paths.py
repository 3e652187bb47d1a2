"""The cameras of a rendering: read from a file, or an orbit about the scene like the training cameras' own."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.camera import Camera, look_at
from ..contract.errors import DataError, NerfError
from ..contract.files import write_json
from ..contract.lens import Distortion
from ..data.transforms import FrameSpec, check_model, load_json, pose

MOST_CAMERAS = 100_000


def read_cameras(path: str | Path, width: int | None = None, height: int | None = None) -> list[Camera]:
    """Read cameras from a JSON file.

    Takes three kinds: a list of `Camera.to_dict` (or an object with such a list as "cameras"), a `transforms.json`
    (its images need not exist), and nerfstudio's camera path (its matrices are taken to be in the run's world).

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
    path = Path(path)
    document = load_json(path, (dict, list))
    if isinstance(document, dict) and "camera_path" in document:
        cameras = [
            _from_nerfstudio(path, document, i, e) for i, e in enumerate(_entries(path, document, "camera_path"))
        ]
    elif isinstance(document, dict) and "frames" in document:
        shared = {key: value for key, value in document.items() if key != "frames"}
        cameras = [
            _from_frame(path, shared, i, e, width, height) for i, e in enumerate(_entries(path, document, "frames"))
        ]
    else:
        holder = {"cameras": document} if isinstance(document, list) else document
        cameras = [_from_dict(path, i, entry) for i, entry in enumerate(_entries(path, holder, "cameras"))]
    return [resize(camera, width, height) for camera in cameras]


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


def _entries(path: Path, document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"'{path}' holds no cameras; give a list of cameras, a transforms.json or nerfstudio's camera path."
        )
    if len(entries) > MOST_CAMERAS:
        raise DataError(f"'{path}' holds more than {MOST_CAMERAS} cameras; split it.")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"Camera {index} of '{path}' is not a JSON object.")
    return entries


def _from_dict(path: Path, index: int, entry: dict[str, Any]) -> Camera:
    c2w = pose(entry.get("transform_matrix"), f"camera {index} of '{path}'")
    try:
        return Camera.from_dict({**entry, "transform_matrix": c2w.tolist()})
    except DataError as error:
        raise DataError(f"Camera {index} of '{path}' is not usable: {error}.") from error


def _from_frame(
    path: Path, shared: dict[str, Any], index: int, entry: dict[str, Any], width: int | None, height: int | None
) -> Camera:
    name = str(entry.get("file_path", index))
    values = {**shared, **entry}
    where = f"frame '{name}' of '{path}'"
    check_model(values, where)
    frame = FrameSpec(path, name, Path(name), values, entry, pose(entry.get("transform_matrix"), where))
    w, h = frame.size()
    if w is None and h is None:  # NeRF-synthetic names no size: the images would
        w, h = (width, height) if width and height else (width or height or 800,) * 2
    return frame.camera(int(w or h or 0), int(h or w or 0))


def _from_nerfstudio(path: Path, document: dict[str, Any], index: int, entry: dict[str, Any]) -> Camera:
    where = f"camera {index} of '{path}'"
    if document.get("camera_type", "perspective") != "perspective":
        raise DataError(f"The camera path '{path}' is not a perspective one; export it as perspective.")
    numbers = [document.get("render_width"), document.get("render_height"), entry.get("fov")]
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < 1e6 for n in numbers):
        raise DataError(f"The {where} lacks a usable render_width, render_height or fov; export the path again.")
    width, height, fov = (float(number or 0) for number in numbers)
    if fov >= 180:
        raise DataError(f"The {where} has a fov of {fov:g} degrees; it must be under 180.")
    flat = entry.get("camera_to_world")
    rows = [flat[i : i + 4] for i in (0, 4, 8, 12)] if isinstance(flat, list) and len(flat) == 16 else flat
    focal = 0.5 * height / math.tan(0.5 * math.radians(fov))  # nerfstudio's fov is the vertical one
    try:
        return Camera(
            width=int(width),
            height=int(height),
            fl_x=focal,
            fl_y=focal,
            cx=0.5 * int(width),
            cy=0.5 * int(height),
            c2w=pose(rows, where),
        )
    except DataError as error:
        raise DataError(f"The {where} is not usable: {error}.") from error


def write_cameras(path: str | Path, cameras: Sequence[Camera]) -> None:
    """Write what :func:`read_cameras` reads: a list of `Camera.to_dict`."""
    write_json(path, [camera.to_dict() for camera in cameras])
