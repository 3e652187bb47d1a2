"""Line integrals of attenuation in, for radiograph data sets: float EXR beside the pictures, else the pictures.

A radiograph data set says so under ``nerf_toolkit.xray`` of its documents (`contract.xray.XrayFacts`). A frame's true
line integrals p lie in the float EXR that its `line_integral_file_path` names; a set without them (pictures alone, as
in the MedNeRF protocol) gives p through the window of its pictures: ``p = low + v (high - low)``, v from 0 to 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..contract.errors import DataError
from ..contract.frames import FrameSpec, find_file
from ..contract.json_data import shown
from ..contract.transforms import PASS_KEYS
from ..contract.xray import XrayFacts
from . import exr
from .images import ImageHeader

KEY = PASS_KEYS["line_integral"]


@dataclass(frozen=True)
class LineIntegralSource:
    """Where a frame's line integrals come from.

    Attributes
    ----------
    path : Path or None
        The float EXR; None takes them from the picture.
    window : (low, high)
        The line integrals of the picture's black and white.
    """

    path: Path | None
    window: tuple[float, float]


def line_integral_source(frame: FrameSpec, facts: XrayFacts) -> LineIntegralSource:
    """Where a frame's line integrals are.

    Raises
    ------
    DataError
        When the file that it names is not there.
    """
    low, high = facts.window
    window = (float(low), float(high))
    name = frame.values.get(KEY)
    if name is None:
        return LineIntegralSource(None, window)
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"The value '{KEY}' of the {frame.where} is no file's name; correct it or remove it.")
    path = find_file(frame.document.parent, name)
    if path is None:
        raise DataError(
            f"The line integrals '{shown(name)}' of the {frame.where} do not exist; add the file, or remove its {KEY} "
            "to take them from the picture."
        )
    return LineIntegralSource(path, window)


def read_line_integrals(source: LineIntegralSource, header: ImageHeader, rgba: np.ndarray) -> np.ndarray:
    """Line integrals of a frame, in its picture's size.

    Parameters
    ----------
    source : LineIntegralSource
    header : ImageHeader
        Of the picture as it is stored: the EXR must have the same size.
    rgba : (height, width, 4) uint8 array
        The picture, in the size that is asked for.

    Returns
    -------
    (height, width) float32 array
        Dimensionless; where the picture was shrunk, means over the pixels that each pixel covers.

    Raises
    ------
    DataError
        When the file is broken, of another size than the picture, or holds NaN or infinity.
    """
    height, width = rgba.shape[:2]
    if source.path is None:
        low, high = source.window
        grey = rgba[..., :3].astype(np.float32).mean(axis=-1) / np.float32(255.0)
        return (low + grey * (high - low)).astype(np.float32)
    path = source.path
    size = exr.read_sizes(path)[0]
    if size != (header.width, header.height):
        raise DataError(
            f"The line integrals '{path}' are {size[0]}x{size[1]} pixels, but their picture is "
            f"{header.width}x{header.height}; make them the same size."
        )
    values = exr.read_depth(path)
    bad = ~np.isfinite(values)
    if bad.any():
        y, x = np.argwhere(bad)[0]
        raise DataError(
            f"The line integrals '{path}' hold NaN or infinity in {int(bad.sum())} pixels, the first at x {x}, y {y}; "
            "make the radiographs again."
        )
    if values.shape == (height, width):
        return values
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX), dtype=np.float32)
