"""Depth maps in: EXR, PNG and .npy beside the images, to distances along the unit ray, 0 where nothing is known.

A frame names its map by `depth_file_path`. Where the document's `nerf_toolkit` key says ``"depth": "distance"`` (ours),
values are distances along the unit ray in world units. Else they are nerfstudio's: measured along the viewing axis, in
units of `depth_unit_scale_factor`, which is 0.001 (millimetres) unless the document gives another; for EXR, which
nerfstudio does not write, it is 1.

Zero, infinity and NaN say that nothing is there, or that it is not known how far away it is.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..contract.camera import Camera
from ..contract.errors import DataError
from ..contract.frames import FrameSpec, find_file
from ..contract.json_data import shown
from ..contract.transforms import FARTHEST, TOOLKIT_KEY
from . import exr
from .images import MAX_PIXELS

MILLIMETRES = 0.001
SAME_SHAPE = 0.02  # by how much a map's proportions may differ from the image's
OPAQUE = 250  # alpha of 255 from which a pixel shows one surface alone


@dataclass(frozen=True)
class DepthFile:
    """A frame's depth map, not yet read.

    Attributes
    ----------
    path : Path
        The existing file.
    is_distance : bool
        Along the unit ray, rather than along the viewing axis.
    unit : float
        World units a value.
    """

    path: Path
    is_distance: bool
    unit: float


def depth_file(frame: FrameSpec) -> DepthFile | None:
    """The depth map that a frame names, if it does.

    Raises
    ------
    DataError
        When what it says is not usable, or the file is not there.
    """
    name = frame.values.get("depth_file_path")
    if name is None:
        return None
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"The value 'depth_file_path' of the {frame.where} is no file's name; correct it or remove it.")
    path = find_file(frame.document.parent, name)
    if path is None:
        raise DataError(
            f"The depth map '{shown(name)}' of the {frame.where} does not exist; add it, remove its depth_file_path, "
            "or train with depth_loss=0."
        )
    ours = frame.values.get(TOOLKIT_KEY)
    kind = ours.get("depth") if isinstance(ours, dict) else None
    if kind not in (None, "distance"):
        raise DataError(
            f"The value 'depth' under '{TOOLKIT_KEY}' of the {frame.where} is not 'distance'; correct it or remove it."
        )
    if kind == "distance":
        return DepthFile(path, True, frame.scale)
    unit = frame.values.get("depth_unit_scale_factor")
    if unit is None:
        unit = 1.0 if path.suffix.lower() == ".exr" else MILLIMETRES
    if isinstance(unit, bool) or not isinstance(unit, int | float) or not 1e-9 < unit < 1e9:
        raise DataError(f"The value 'depth_unit_scale_factor' of the {frame.where} is not a usable number; correct it.")
    return DepthFile(path, False, unit * frame.scale)


def read_depth(file: DepthFile, camera: Camera, rgba: np.ndarray) -> np.ndarray:
    """Read a depth map for an image, whatever either's size.

    A pixel takes the median of the map's pixels that it covers (the lower one of two), never their mean: between two
    surfaces there is none. It is unknown where most of them are, and where the image is partly transparent, so that
    two surfaces share the pixel.

    Parameters
    ----------
    file : DepthFile
    camera : Camera
        The image's, of the size that is asked for.
    rgba : (height, width, 4) uint8 array
        The image, in that size.

    Returns
    -------
    (height, width) float32 array
        Distances along the unit rays through the pixels' centres, world units; 0 where none is known.

    Raises
    ------
    DataError
        When the file is broken, of another shape than the image, or holds negative numbers.
    """
    values = _read(file.path)
    height, width = values.shape
    if abs(width * camera.height / (height * camera.width) - 1.0) > SAME_SHAPE:
        raise DataError(
            f"The depth map '{file.path}' is {width}x{height} pixels, but its image is {camera.width}x{camera.height}; "
            "make it the same shape."
        )
    values = values.astype(np.float32, copy=False)
    negative = values < 0
    if negative.any():
        y, x = np.argwhere(negative)[0]
        raise DataError(
            f"The depth map '{file.path}' holds negative numbers in {int(negative.sum())} pixels, the first at x {x}, "
            f"y {y}; write 0 where nothing is known."
        )
    depth = _resized(np.where(np.isfinite(values), values, 0.0), (camera.height, camera.width)) * np.float32(file.unit)
    if not file.is_distance and camera.kind == "perspective":
        _, directions = camera.rays()
        along = directions @ -camera.c2w[:3, 2]
        depth = np.where(along > 1e-6, depth / np.maximum(along, 1e-6), 0.0).astype(np.float32)
    depth[(rgba[..., 3] < OPAQUE) | (depth > FARTHEST)] = 0.0
    return depth


def _resized(depth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Lower medians of what is known, over the pixels that each pixel of another size covers."""
    if depth.shape == shape:
        return depth
    rows, columns = (_taps(old, new) for old, new in zip(depth.shape, shape, strict=True))
    covered = depth[rows[:, None, :, None], columns[None, :, None, :]].reshape(*shape, -1)
    covered = np.sort(np.where(covered > 0, covered, np.inf), axis=-1)
    known = np.isfinite(covered).sum(axis=-1)
    median = np.take_along_axis(covered, np.maximum(known - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    return np.where(2 * known > covered.shape[-1], median, 0.0).astype(np.float32)


def _taps(old: int, new: int) -> np.ndarray:
    """(new, k) indices of the pixels, of `old` in a row, that each of `new` covers."""
    count = max(1, math.ceil(old / new))
    places = (np.arange(new)[:, None] + (np.arange(count) + 0.5) / count) * (old / new)
    return np.minimum(places.astype(np.int64), old - 1)


def _read(path: Path) -> np.ndarray:
    """A file's one channel, as it is."""
    try:
        with open(path, "rb") as stream:
            magic = stream.read(6)
    except OSError as error:
        raise DataError(f"Cannot read the depth map '{path}': {error.strerror or error}; check the file.") from error
    if magic[:4] == exr.MAGIC:
        for size in exr.read_sizes(path):  # what is shown is made, too, however little of it is stored
            _check_size(path, *size)
        return exr.read_depth(path)
    return _read_npy(path) if magic == b"\x93NUMPY" else _read_png(path)


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # whatever a broken header makes of numpy
        raise DataError(f"The depth map '{path}' is truncated or broken ({error}); replace the file.") from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(f"The depth map '{path}' is no array of height x width numbers; save it as one.")
    _check_size(path, array.shape[1], array.shape[0])
    return np.array(array)


def _read_png(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            _check_size(path, image.width, image.height)
            if not (image.mode == "L" or image.mode.startswith("I")):
                raise DataError(f"The depth map '{path}' has colours; save it as PNG of 16-bit grey, EXR or .npy.")
            return np.array(image)
    except DataError:
        raise
    except Exception as error:  # a decoder that is fed broken bytes raises whatever it likes
        raise DataError(f"The depth map '{path}' is no readable EXR, PNG or .npy; replace the file.") from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise DataError(f"The depth map '{path}' has no pixels; replace the file.")
    if width * height > MAX_PIXELS:
        raise DataError(f"The depth map '{path}' claims more than {MAX_PIXELS // 1_000_000} million pixels.")
