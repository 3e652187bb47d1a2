"""Frames of the core as Image datablocks and files, with the very values that the core rendered.

The core gives premultiplied float RGBA in the run's colour space. An sRGB run becomes bytes with straight alpha (PNG),
as Blender keeps display-referred pictures; a linear run becomes premultiplied floats (OpenEXR).
"""

import os
from pathlib import Path

import bpy
import numpy as np

from .. import compat
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder, write_beside

PREVIEW_NAME = "NeRF Preview"
PREVIEW_KEY = "nerf_preview"


def straight(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) premultiplied to straight alpha; colour is 0 where alpha is."""
    result = np.array(rgba, dtype=np.float32)
    alpha = result[..., 3:]
    np.divide(result[..., :3], alpha, out=result[..., :3], where=alpha > 1e-6)
    result[..., :3][(alpha <= 1e-6)[..., 0]] = 0.0
    return np.clip(result, 0.0, 1.0, out=result)


def suffix(color_space: str) -> str:
    """The kind of file that keeps a run's pictures whole."""
    return ".exr" if color_space == "linear" else ".png"


def save_frame(rgba: np.ndarray, color_space: str, path: Path) -> bpy.types.Image:
    """Write a frame beside `path`, rename it over it, and return the Image that shows it.

    Parameters
    ----------
    rgba : (H, W, 4) float32 array
        Premultiplied; row 0 is the top.
    color_space : {'srgb', 'linear'}
        Of the run.
    path : Path
        Ends in :func:`suffix`; its folder is made.

    Returns
    -------
    Image
        The one that already shows this file, reloaded, or a new one.

    Raises
    ------
    NerfError
        When the file cannot be written.
    """
    make_folder(path.parent)
    scratch = _filled("NeRF scratch", rgba, color_space)
    # Blender encodes a float image to sRGB as it writes an EXR, whatever it claims to be; "Non-Color" it leaves alone.
    if color_space == "linear":
        scratch.colorspace_settings.name = "Non-Color"
        _set_pixels(scratch, rgba, color_space)
    try:
        write_beside(path, lambda beside: _save(scratch, beside, color_space))
    finally:
        bpy.data.images.remove(scratch)
    image = bpy.data.images.load(str(path), check_existing=True)
    image.name = path.stem
    if color_space == "linear":
        compat.set_linear(image)
    image.reload()
    return image


def show_preview(rgba: np.ndarray, color_space: str) -> bpy.types.Image:
    """Put a frame into the image 'NeRF Preview', which Image Editors may be showing; no file is written.

    Parameters
    ----------
    rgba : (H, W, 4) float32 array
        Premultiplied; row 0 is the top.
    color_space : {'srgb', 'linear'}
    """
    image = _preview()
    height, width = rgba.shape[:2]
    is_float = color_space == "linear"
    if image is not None and image.is_float != is_float:
        bpy.data.images.remove(image)
        image = None
    if image is None:
        image = bpy.data.images.new(PREVIEW_NAME, width, height, alpha=True, float_buffer=is_float)
        image[PREVIEW_KEY] = True
    elif tuple(image.size) != (width, height):
        image.scale(width, height)
    _set_pixels(image, rgba, color_space)
    image.update()
    return image


def keep_preview() -> None:
    """Pack the preview into the .blend: an image that was painted and not kept makes Blender ask when it quits."""
    image = _preview()
    if image is not None and image.is_dirty:
        image.pack()


def _preview() -> bpy.types.Image | None:
    return next((image for image in bpy.data.images if image.get(PREVIEW_KEY)), None)


def _filled(name: str, rgba: np.ndarray, color_space: str) -> bpy.types.Image:
    height, width = rgba.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=True, float_buffer=color_space == "linear")
    _set_pixels(image, rgba, color_space)
    return image


def _set_pixels(image: bpy.types.Image, rgba: np.ndarray, color_space: str) -> None:
    values = np.asarray(rgba, dtype=np.float32) if color_space == "linear" else straight(rgba)
    image.pixels.foreach_set(np.ascontiguousarray(values[::-1]).ravel())  # Blender's rows go up


def _save(image: bpy.types.Image, path: Path, color_space: str) -> None:
    image.filepath_raw = str(path)
    image.file_format = "OPEN_EXR" if color_space == "linear" else "PNG"
    try:
        image.save()
    except RuntimeError as error:
        raise NerfError(f"Blender cannot write '{path}': {str(error).strip()}") from error
    if os.path.getsize(path) == 0:
        raise NerfError(f"Blender cannot write the picture '{path}'; is the disk full?")
