"""Camera paths: cameras with the seconds at which they are passed, as nerfstudio's JSON and as `transforms.json`.

nerfstudio's file holds `camera_path`, one entry a picture: a row-major camera-to-world matrix (OpenGL axes) and the
vertical field of view in degrees; size and frames a second are the file's. It knows square pixels and a centred lens
only. A `transforms.json` holds every intrinsic; ours adds frames a second and duration under `nerf_toolkit`, and `time`
from 0 to 1 on every frame, as dynamic data sets have it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .camera import Camera
from .errors import DataError, NerfError
from .files import MARK, write_json
from .frames import FrameSpec, check_model, load_json, pose
from .transforms import TOOLKIT_KEY, DatasetFacts, FrameRecord, dataset_document

MOST_CAMERAS = 100_000
DEFAULT_FPS = 24.0
Format = Literal["nerfstudio", "transforms"]
FORMATS = ("nerfstudio", "transforms")
_PANORAMAS = ("equirectangular",)


@dataclass(frozen=True)
class CameraPath:
    """Cameras in the order in which they are passed.

    Attributes
    ----------
    cameras : tuple of Camera
        At least one; world space.
    times : tuple of float
        Seconds since the first picture, one a camera, never falling.
    fps : float or None
        Pictures a second, where the file says it.
    """

    cameras: tuple[Camera, ...]
    times: tuple[float, ...]
    fps: float | None = None

    @classmethod
    def even(cls, cameras: Sequence[Camera], fps: float | None) -> "CameraPath":
        """A path with one camera every 1 / fps seconds."""
        step = 1.0 / (fps or DEFAULT_FPS)
        return cls(tuple(cameras), tuple(index * step for index in range(len(cameras))), fps)


def read_camera_path(path: str | Path, width: int | None = None, height: int | None = None) -> CameraPath:
    """Read a path from a JSON file.

    Takes three kinds: a list of `Camera.to_dict` (or an object with such a list as "cameras"), a `transforms.json`
    (its images need not exist), and nerfstudio's camera path (its matrices are taken to be in the run's world).

    Parameters
    ----------
    path : path
    width, height : int, optional
        Of the pictures of a `transforms.json` that names no size (800 where this does not either).

    Raises
    ------
    DataError
        One sentence that names the file and what to do.
    """
    path = Path(path)
    document = load_json(path, (dict, list))
    if isinstance(document, dict) and "camera_path" in document:
        entries = _entries(path, document, "camera_path")
        cameras = [_from_nerfstudio(path, document, index, entry) for index, entry in enumerate(entries)]
        return CameraPath.even(cameras, _positive(path, document, "fps"))
    if isinstance(document, dict) and "frames" in document:
        shared = {key: value for key, value in document.items() if key != "frames"}
        entries = _entries(path, document, "frames")
        cameras = [_from_frame(path, shared, index, entry, width, height) for index, entry in enumerate(entries)]
        ours = document.get(TOOLKIT_KEY)
        return _timed(path, cameras, entries, ours if isinstance(ours, dict) else {})
    holder = {"cameras": document} if isinstance(document, list) else document
    cameras = [_from_dict(path, index, entry) for index, entry in enumerate(_entries(path, holder, "cameras"))]
    return CameraPath.even(cameras, None)


def write_camera_path(path: str | Path, made: CameraPath, kind: Format) -> None:
    """Write a path; :func:`read_camera_path` gives the same cameras and times back, to rounding of the last digit.

    Raises
    ------
    NerfError
        When nerfstudio's format cannot hold a camera, or the file cannot be written.
    """
    write_json(path, nerfstudio_document(made) if kind == "nerfstudio" else transforms_document(made))


def nerfstudio_document(made: CameraPath) -> dict[str, Any]:
    """Nerfstudio's camera path: every camera is an entry of the path, and a key of its editor.

    Raises
    ------
    NerfError
        When cameras differ in size, have shifted or distorted lenses, oblong pixels, or are orthographic.
    """
    first = made.cameras[0]
    for index, camera in enumerate(made.cameras):
        problem = _beyond_nerfstudio(camera, first)
        if problem:
            raise NerfError(
                f"nerfstudio's camera path cannot hold camera {index}, which has {problem}; export a transforms.json."
            )
    fps = made.fps or DEFAULT_FPS
    panoramic = first.kind == "panoramic"
    path, keys = [], []
    for camera in made.cameras:
        fov = 90.0 if panoramic else math.degrees(2.0 * math.atan(0.5 * camera.height / camera.fl_y))
        lens = {"fov": fov, "aspect": camera.width / camera.height}
        flat = camera.c2w.flatten().tolist()
        path.append({"camera_to_world": flat, **lens})
        keys.append(
            {"matrix": flat, **lens, "override_transition_enabled": False, "override_transition_sec": None},
        )
    return {
        "camera_type": "equirectangular" if panoramic else "perspective",
        "render_height": first.height,
        "render_width": first.width,
        "fps": fps,
        "seconds": len(path) / fps,
        "is_cycle": False,
        "smoothness_value": 0.0,
        "default_fov": path[0]["fov"],
        "default_transition_sec": 1.0 / fps,
        TOOLKIT_KEY: {"camera_path": MARK},
        "keyframes": keys,
        "camera_path": path,
    }


def transforms_document(made: CameraPath) -> dict[str, Any]:
    """A `transforms.json` of the path; its pictures (`frames/00000.png` ...) are those that a rendering would make."""
    records = [FrameRecord(f"frames/{index:05d}.png", "train", camera) for index, camera in enumerate(made.cameras)]
    document = dataset_document(records, DatasetFacts())
    duration = made.times[-1]
    document[TOOLKIT_KEY].update(camera_path=MARK, fps=made.fps or DEFAULT_FPS, seconds=duration)
    for frame, time in zip(document["frames"], made.times, strict=True):
        frame["time"] = time / duration if duration > 0 else 0.0
    return document


def _beyond_nerfstudio(camera: Camera, first: Camera) -> str:
    """What of a camera its format has no word for; empty when there is nothing."""
    if (camera.width, camera.height) != (first.width, first.height):
        return "another picture size than the first"
    if camera.kind != first.kind:
        return "another kind of lens than the first"
    if camera.kind == "orthographic":
        return "an orthographic lens"
    if camera.kind == "panoramic":
        whole = (camera.width / (2 * math.pi), camera.height / math.pi, camera.width / 2, camera.height / 2)
        seen = (camera.fl_x, camera.fl_y, camera.cx, camera.cy)
        return "" if np.allclose(seen, whole, rtol=1e-6) else "a panorama that does not show the whole sphere"
    if not camera.distortion.is_identity:
        return "a distorted lens"
    if abs(camera.fl_x / camera.fl_y - 1.0) > 1e-6:
        return "pixels that are not square"
    off = max(abs(camera.cx / camera.width - 0.5), abs(camera.cy / camera.height - 0.5))
    return "a shifted lens" if off > 1e-7 else ""


def _timed(path: Path, cameras: list[Camera], entries: list[dict[str, Any]], ours: dict[str, Any]) -> CameraPath:
    """The path of a `transforms.json`: at the frames' own times where the file has them and its duration."""
    fps = _positive(path, ours, "fps")
    seconds = _positive(path, ours, "seconds")
    times = [entry.get("time") for entry in entries]
    if seconds is None or any(isinstance(time, bool) or not isinstance(time, int | float) for time in times):
        return CameraPath.even(cameras, fps)
    rises = all(-1e-9 <= time <= 1 + 1e-9 for time in times)  # type: ignore[operator] # numbers, as checked above
    if not rises or any(later < time for time, later in pairwise(times)):  # type: ignore[operator]
        raise DataError(f"The 'time' of the frames in '{path}' does not rise from 0 to 1; sort the frames by it.")
    placed = tuple(float(time) * seconds for time in times)  # type: ignore[arg-type]
    return CameraPath(tuple(cameras), placed, fps)


def _positive(path: Path, document: dict[str, Any], key: str) -> float | None:
    value = document.get(key)
    if value is None or value == 0:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-6 < value < 1e9:
        raise DataError(f"The value '{key}' of '{path}' is not a usable number; correct it or remove it.")
    return float(value)


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
    kind = document.get("camera_type", "perspective")
    if kind not in ("perspective", *_PANORAMAS):
        raise DataError(f"The camera path '{path}' is not a perspective one; export it as perspective.")
    panoramic = kind in _PANORAMAS
    numbers = [document.get("render_width"), document.get("render_height"), 90 if panoramic else entry.get("fov")]
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
            fl_x=width / (2.0 * math.pi) if panoramic else focal,
            fl_y=height / math.pi if panoramic else focal,
            cx=0.5 * int(width),
            cy=0.5 * int(height),
            c2w=pose(rows, where),
            kind="panoramic" if panoramic else "perspective",
        )
    except DataError as error:
        raise DataError(f"The {where} is not usable: {error}.") from error
