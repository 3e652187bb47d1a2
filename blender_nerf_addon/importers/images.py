"""Frames of the core as Image datablocks and files, with the very values that the core rendered.

The core gives premultiplied float RGBA in the run's colour space. An sRGB run becomes bytes with straight alpha (PNG),
as Blender keeps display-referred pictures; a linear run becomes premultiplied floats (OpenEXR).
"""

import json
from pathlib import Path

import bpy
import numpy as np

from .. import compat
from ..capture.cameras import PROPERTY
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.files import make_folder, write_bytes
from . import encode
from .encode import straight

PREVIEW_NAME = "NeRF Preview"
PREVIEW_KEY = "nerf_preview"


def suffix(color_space: str) -> str:
    """The kind of file that keeps a run's pictures whole."""
    return ".exr" if color_space == "linear" else ".png"


def write_frame(rgba: np.ndarray, color_space: str, path: Path) -> Path:
    """Write a frame beside `path` and rename it over it; touches nothing of Blender, to be called in a thread.

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
    Path
        `path`.

    Raises
    ------
    NerfError
        When the file cannot be written.
    """
    make_folder(path.parent)
    write_bytes(path, encode.exr(rgba) if color_space == "linear" else encode.png(rgba))
    return path


def remember_camera(image: bpy.types.Image, camera: Camera | None) -> None:
    """Keep the camera that a picture was made with on its image, for who clicks in it; None forgets it."""
    if camera is not None:
        image[PROPERTY] = json.dumps(camera.to_dict())
    elif PROPERTY in image:
        del image[PROPERTY]


def show_file(path: Path, color_space: str, camera: Camera | None = None) -> bpy.types.Image:
    """The Image that already shows a frame's file, reloaded, or a new one.

    Parameters
    ----------
    path : Path
        Of :func:`write_frame`.
    color_space : {'srgb', 'linear'}
    camera : Camera, optional
        That it was made with.
    """
    image = bpy.data.images.load(str(path), check_existing=True)
    image.name = path.stem
    if color_space == "linear":
        compat.set_linear(image)
    image.reload()
    remember_camera(image, camera)
    return image


def show_preview(rgba: np.ndarray, color_space: str, camera: Camera | None = None) -> bpy.types.Image:
    """Put a frame into the image 'NeRF Preview', which Image Editors may be showing; no file is written.

    Parameters
    ----------
    rgba : (H, W, 4) float32 array
        Premultiplied; row 0 is the top.
    color_space : {'srgb', 'linear'}
    camera : Camera, optional
        That it was made with.
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
    remember_camera(image, camera)
    image.update()
    return image


def keep_preview() -> None:
    """Pack the preview into the .blend: an image that was painted and not kept makes Blender ask when it quits."""
    image = _preview()
    if image is not None and image.is_dirty:
        image.pack()


def _preview() -> bpy.types.Image | None:
    return next((image for image in bpy.data.images if image.get(PREVIEW_KEY)), None)


def _set_pixels(image: bpy.types.Image, rgba: np.ndarray, color_space: str) -> None:
    values = np.asarray(rgba, dtype=np.float32) if color_space == "linear" else straight(rgba)
    image.pixels.foreach_set(np.ascontiguousarray(values[::-1]).ravel())  # Blender's rows go up
