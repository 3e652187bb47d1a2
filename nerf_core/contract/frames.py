"""One frame of a `transforms.json` document: its image, its pose, its lens; what every reader of such files needs.

Poses are camera-to-world in OpenGL axes, Z up. Errors are one sentence that names the file and what to do.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .camera import MAX_SIDE, Camera
from .errors import DataError
from .json_data import parse_json, shown
from .lens import Distortion
from .transforms import FARTHEST

_PINHOLE_MODELS = ("", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
_FOREIGN_LENSES = ("is_fisheye", "fisheye", "latlong", "equirectangular", "ftheta_p0")
_EXTENSIONS = ("", ".png", ".jpg", ".jpeg", ".exr", ".PNG", ".JPG", ".JPEG", ".EXR")


@dataclass(frozen=True)
class FrameSpec:
    """One frame of a document: its image, and its camera but for a size that only the image knows.

    Attributes
    ----------
    document : Path
        The JSON file, for messages.
    name : str
        `file_path` as written.
    image : Path
        The existing file.
    values : mapping
        The document's values with the frame's own on top.
    own : mapping
        The frame's own values.
    c2w : (4, 4) float64 array
        World space, OpenGL axes.
    scale : float
        How long in world space a unit of the document's is; not 1 where the data set was scaled (`data.placement`).
    """

    document: Path
    name: str
    image: Path
    values: Mapping[str, Any]
    own: Mapping[str, Any]
    c2w: np.ndarray
    scale: float = 1.0

    @property
    def where(self) -> str:
        """How messages call this frame."""
        return f"frame '{shown(self.name)}' of '{self.document}'"

    def size(self) -> tuple[float | None, float | None]:
        """The document's (w, h), each None where it says nothing."""
        return optional_number(self.values, "w", self.where), optional_number(self.values, "h", self.where)

    def camera(self, width: int, height: int) -> Camera:
        """The full camera for an image of `width` x `height` pixels; DataError where a value is not usable."""
        where = self.where
        fl_x, x_of_frame = self._focal("x", width)
        fl_y, y_of_frame = self._focal("y", height)
        if fl_x is None and fl_y is None:
            raise DataError(f"The {where} gives neither fl_x nor camera_angle_x; add one of them.")
        if fl_x is None or (y_of_frame and not x_of_frame and "fl_x" not in self.values):
            fl_x = fl_y
        elif fl_y is None or (x_of_frame and not y_of_frame):
            fl_y = fl_x
        cx, cy = optional_number(self.values, "cx", where), optional_number(self.values, "cy", where)
        lens = Distortion(*(optional_number(self.values, key, where) or 0.0 for key in ("k1", "k2", "k3", "p1", "p2")))
        kind = self.values.get("kind", "perspective")
        if not isinstance(kind, str):
            raise DataError(f"The value 'kind' of the {where} is not a word; correct it.")
        try:
            return Camera(
                width=width,
                height=height,
                fl_x=fl_x or 0.0,
                fl_y=fl_y or 0.0,
                cx=0.5 * width if cx is None else cx,
                cy=0.5 * height if cy is None else cy,
                c2w=self.c2w,
                kind=kind,  # type: ignore[arg-type] # checked by the camera
                distortion=lens,
            )
        except DataError as error:
            raise DataError(f"The {where} is not usable: {error}.") from error

    def _focal(self, axis: str, pixels: int) -> tuple[float | None, bool]:
        """A focal length in pixels, from the frame before the document; and whether the frame gave it."""
        for values, is_own in ((self.own, True), (self.values, False)):
            focal = optional_number(values, f"fl_{axis}", self.where)
            if focal is not None:
                return focal, is_own
            angle = optional_number(values, f"camera_angle_{axis}", self.where)
            degrees = optional_number(values, f"{axis}_fov", self.where)  # instant-ngp's, in degrees
            if angle is None and degrees is not None:
                angle = math.radians(degrees)
            if angle is not None:
                if not 1e-12 < angle < math.pi:
                    raise DataError(f"The {self.where} has camera_angle_{axis} = {angle:g}, outside 0 to pi radians.")
                return 0.5 * pixels / math.tan(0.5 * angle), is_own
        return None, False


def load_json(path: Path, kinds: tuple[type, ...] = (dict,)) -> Any:
    """A JSON file's content, of one of the kinds; DataError names the file."""
    try:
        document = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"The file '{path}' does not exist; check the path.") from error
    except OSError as error:
        raise DataError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except ValueError as error:
        raise DataError(f"'{path}' is not valid JSON ({error}); it may be cut off: write it again.") from error
    if not isinstance(document, kinds):
        raise DataError(f"'{path}' holds no JSON object with frames; choose a transforms.json.")
    return document


def find_image(folder: Path, name: str) -> Path | None:
    """The existing file that a `file_path` means: relative to its document, with or without extension."""
    spellings = (name, name.replace("\\", "/")) if "\\" in name else (name,)
    for spelling in spellings:
        for extension in _EXTENSIONS:
            candidate = folder / (spelling + extension)
            try:
                if candidate.is_file():
                    return candidate
            except (OSError, ValueError):  # a name too long or with a null byte names no file
                return None
    return None


def find_file(folder: Path, name: str) -> Path | None:
    """The file that a frame names beside its image, however its slashes lean; None where there is none."""
    for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
        try:
            if (folder / spelling).is_file():
                return folder / spelling
        except (OSError, ValueError):  # a name too long or with a null byte names no file
            return None
    return None


def pose(matrix: Any, where: str) -> np.ndarray:
    """A (4, 4) float64 camera-to-world matrix from JSON; a uniform scale is taken out of its rotation.

    Raises
    ------
    DataError
        When it is not 4x4, not finite, or its upper left is not a rotation.
    """
    try:
        c2w = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        c2w = np.empty(0)
    if c2w.shape != (4, 4) or not all(type(value) in (int, float) for row in matrix for value in row):
        raise DataError(f"The transform_matrix of {where} is not a 4x4 matrix of numbers; correct it.")
    if not np.isfinite(c2w).all():
        raise DataError(f"The transform_matrix of {where} holds NaN or infinity; correct it or remove the frame.")
    if np.abs(c2w[:3, 3]).max() > FARTHEST:
        raise DataError(f"The transform_matrix of {where} is more than {FARTHEST:g} units away; correct it.")
    axes = c2w[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.cbrt(np.linalg.det(axes))
        error = np.abs(axes.T @ axes / (scale * scale) - np.eye(3)).max() if scale > 1e-9 else np.inf
    if not error < 1e-2 or np.abs(c2w[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise DataError(f"The transform_matrix of {where} is not a rotation and a position; correct it.")
    if error > 1e-6 or abs(scale - 1.0) > 1e-6:
        u, _, vt = np.linalg.svd(axes)  # the nearest rotation
        c2w[:3, :3] = u @ vt
    return c2w


def check_model(values: Mapping[str, Any], where: str) -> None:
    """Refuse lenses that the camera model does not hold (fisheye and others), by name."""
    model = values.get("camera_model", "")
    if not isinstance(model, str):
        raise DataError(f"The value 'camera_model' of the {where} is not a word; correct it.")
    if model.upper() not in _PINHOLE_MODELS:
        raise DataError(
            f"The {where} has the camera model '{shown(model)}', which is not read; "
            "undistort the images to PINHOLE or OPENCV."
        )
    for key in _FOREIGN_LENSES:
        if values.get(key):
            raise DataError(f"The {where} has a '{key}' lens, which is not read; undistort the images to a pinhole.")
    for key in ("k4", "k5", "k6"):
        if optional_number(values, key, where):
            raise DataError(f"The {where} uses the lens term {key}, which is not read; use k1, k2, k3, p1, p2 alone.")


def optional_number(values: Mapping[str, Any], key: str, where: str) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise DataError(f"The value '{key}' of the {where} is not a usable number; correct it.")
    if key in ("w", "h") and not 1 <= value <= MAX_SIDE:
        raise DataError(f"The value '{key}' of the {where} is {value}, outside 1 to {MAX_SIDE} pixels; correct it.")
    return float(value)
