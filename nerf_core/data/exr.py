"""OpenEXR files in: scene-linear premultiplied RGBA, checked for NaN and infinity, and depth, which may hold both."""

from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import DataError

MAGIC = b"\x76\x2f\x31\x01"


def read_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) of an EXR's display window and of its data window, from its header alone."""
    import OpenEXR

    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            header = file.header()
            return _size(_window(header["displayWindow"])), _size(_window(header["dataWindow"]))
    except Exception as error:  # OpenEXR raises RuntimeError, ValueError and more for broken files
        raise DataError(f"The image '{path}' has no readable EXR header ({error}); replace the file.") from error


def read_rgba(path: Path) -> np.ndarray:
    """Decode an EXR's picture.

    Takes the channels R, G, B and A, else a layer's (Blender's "Combined" first), else luminance Y; alpha is 1 where
    there is none. The data window is placed in the display window; outside it the picture is transparent black.

    Returns
    -------
    (height, width, 4) float32 array
        Scene-linear, premultiplied; negative colours are cut to 0, alpha to 0..1.

    Raises
    ------
    DataError
        When the file is truncated or broken, has no colour, or holds NaN or infinity: names the first pixel.
    """
    display, data, channels = _read(path)
    names = _picture_channels(list(channels))
    if names is None:
        raise DataError(f"The EXR '{path}' has no channels R, G, B (it has {', '.join(sorted(channels)) or 'none'}).")
    shape = _size(data)[::-1]
    picked = [np.ones(shape, np.float32) if name is None else channels[name].astype(np.float32) for name in names]
    if any(channel.shape != shape for channel in picked):
        raise DataError(f"The EXR '{path}' has subsampled channels; save it as plain RGBA.")
    inside = np.stack(picked, axis=-1)
    bad = ~np.isfinite(inside).all(axis=-1)
    if bad.any():
        y, x = np.argwhere(bad)[0]
        raise DataError(
            f"The EXR '{path}' holds NaN or infinity in {int(bad.sum())} pixels, the first at x {x}, y {y}; "
            "render it again."
        )
    rgba = _placed(inside, display, data)
    np.maximum(rgba, 0.0, out=rgba)
    np.minimum(rgba[..., 3], 1.0, out=rgba[..., 3])
    return rgba


def read_depth(path: Path) -> np.ndarray:
    """Decode an EXR's depth: its only channel, or the one called V or Z (of the picture, else of any layer), Y or R.

    Returns
    -------
    (height, width) float32 array
        As it is in the file, infinity and NaN included; 0 outside the data window.

    Raises
    ------
    DataError
        When the file is truncated or broken, or none of its channels is depth.
    """
    display, data, channels = _read(path)
    names = list(channels) if len(channels) == 1 else [name for name in ("V", "Z") if name in channels]
    names += sorted(name for name in channels if name.endswith((".Z", ".V")))
    names += [name for name in ("Y", "R") if name in channels]
    if not names:
        raise DataError(f"The EXR '{path}' has no channel of depth, V or Z (it has {', '.join(sorted(channels))}).")
    inside = channels[names[0]].astype(np.float32)
    if inside.shape != _size(data)[::-1]:
        raise DataError(f"The EXR '{path}' has a subsampled channel '{names[0]}'; save it in full.")
    return _placed(inside[..., None], display, data)[..., 0]


def _read(path: Path) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int], dict[str, np.ndarray]]:
    """Display window, data window, and every channel's pixels."""
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            header = file.header()
            channels = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
            return _window(header["displayWindow"]), _window(header["dataWindow"]), channels
    except Exception as error:  # see read_sizes
        raise DataError(f"The image '{path}' is truncated or broken ({error}); replace the file.") from error


def _placed(inside: np.ndarray, display: tuple[int, int, int, int], data: tuple[int, int, int, int]) -> np.ndarray:
    """The data window's (h, w, c) pixels in the display window, float32, 0 outside of it."""
    width, height = _size(display)
    placed = np.zeros((height, width, inside.shape[2]), np.float32)
    x0, y0 = data[0] - display[0], data[1] - display[1]
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x0 + inside.shape[1], width), min(y0 + inside.shape[0], height)
    if right > left and bottom > top:
        placed[top:bottom, left:right] = inside[top - y0 : bottom - y0, left - x0 : right - x0]
    return placed


def _window(box: Any) -> tuple[int, int, int, int]:
    (x0, y0), (x1, y1) = box
    return int(x0), int(y0), int(x1), int(y1)


def _size(window: tuple[int, int, int, int]) -> tuple[int, int]:
    return window[2] - window[0] + 1, window[3] - window[1] + 1


def _picture_channels(names: list[str]) -> tuple[str | None, str | None, str | None, str | None] | None:
    """The names of R, G, B, A (None: opaque), or None when there is no picture."""
    layers = [""] + sorted(
        (name[:-1] for name in names if name.endswith(".R")), key=lambda layer: ("Combined" not in layer, layer)
    )
    for layer in layers:
        if all(layer + key in names for key in "RGB"):
            alpha = layer + "A"
            return layer + "R", layer + "G", layer + "B", alpha if alpha in names else None
    if "Y" in names:
        return "Y", "Y", "Y", "A" if "A" in names else None
    return None
