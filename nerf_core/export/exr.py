"""OpenEXR files out: float32 channels, beside and renamed, with our mark in the header."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..contract.files import write_beside
from .ownership import MARK


def write_exr(path: str | Path, channels: Mapping[str, np.ndarray]) -> None:
    """Write (H, W) float arrays by their channels' names, compressed without loss."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "software": MARK}
    planes = {name: np.ascontiguousarray(plane, dtype=np.float32) for name, plane in channels.items()}

    def write(temporary: Path) -> None:
        with OpenEXR.File(header, planes) as file:
            file.write(str(temporary))

    write_beside(path, write)


def rgba_channels(rgba: np.ndarray) -> dict[str, np.ndarray]:
    """The channels of a premultiplied scene-linear (H, W, 4) picture."""
    return {name: rgba[..., index] for index, name in enumerate("RGBA")}


def normal_channels(normal: np.ndarray) -> dict[str, np.ndarray]:
    """The channels of (H, W, 3) normals, as Blender names them."""
    return {name: normal[..., index] for index, name in enumerate("XYZ")}
