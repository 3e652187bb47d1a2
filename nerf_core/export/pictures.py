"""Pictures out: frames as PNG, and truth | NeRF | error side by side with labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..contract.files import write_beside
from ..data.color import over, to_bytes, unpremultiply
from .ownership import MARK

ERROR_TOP = 0.25  # mean absolute error of a pixel's channels that the heat map's last colour stands for
# Magma (Smith and van der Walt 2015), every eighth of the way; between them colours are interpolated.
_HEAT = np.array(
    [
        (0, 0, 4),
        (28, 16, 68),
        (79, 18, 123),
        (129, 37, 129),
        (181, 54, 122),
        (229, 80, 100),
        (251, 135, 97),
        (254, 194, 135),
        (252, 253, 191),
    ],
    dtype=np.float32,
)


def to_picture(rgba: np.ndarray, background: Sequence[float] | None) -> np.ndarray:
    """A rendered frame as bytes.

    Parameters
    ----------
    rgba : (H, W, 4) float array
        Premultiplied, sRGB-encoded.
    background : (3,) floats or None
        Encoded colour to composite over; None keeps alpha.

    Returns
    -------
    (H, W, 3) or, with alpha (straight), (H, W, 4) uint8 array
    """
    if background is None:
        return to_bytes(unpremultiply(rgba))
    return to_bytes(over(rgba, np.asarray(background, dtype=np.float32)))


def heat_map(image: np.ndarray, truth: np.ndarray, top: float = ERROR_TOP) -> np.ndarray:
    """(H, W, 3) uint8 colours of the mean absolute error over channels of two (H, W, 3) float images: 0 is black."""
    error = np.abs(np.clip(image, 0.0, 1.0) - truth).mean(axis=-1)
    place = np.clip(error / top, 0.0, 1.0) * (len(_HEAT) - 1)
    low = np.minimum(place.astype(np.int64), len(_HEAT) - 2)
    part = (place - low)[..., None]
    return (_HEAT[low] * (1.0 - part) + _HEAT[low + 1] * part + 0.5).astype(np.uint8)


def side_by_side(truth: np.ndarray, image: np.ndarray, caption: str = "", name: str = "NeRF") -> np.ndarray:
    """Truth, what is compared with it, and error beside each other under their labels.

    Parameters
    ----------
    truth, image : (H, W, 3) float arrays
        Over the same background, sRGB-encoded, 0 to 1.
    caption : str
        Such as the PSNR; stands right of the name.
    name : str
        Of what is compared.

    Returns
    -------
    (H + band, 3 W + 2 gaps, 3) uint8 array
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = truth.shape[:2]
    size = int(np.clip(width // 18, 10, 40))
    band, gap = size * 2, max(2, size // 4)
    sheet = Image.new("RGB", (3 * width + 2 * gap, height + band), (24, 24, 27))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size)
    labels = ("truth", f"{name}  {caption}".rstrip(), f"error, 0 to {ERROR_TOP:g}")
    pictures = (to_bytes(truth), to_bytes(image), heat_map(image, truth))
    for column, (label, picture) in enumerate(zip(labels, pictures, strict=True)):
        left = column * (width + gap)
        while label and draw.textlength(label, font=font) > width:
            label = label[:-1]
        draw.text((left + gap, band // 2), label, fill=(235, 235, 235), font=font, anchor="lm")
        sheet.paste(Image.fromarray(picture), (left, band))
    return np.asarray(sheet)


def write_png(path: str | Path, picture: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W, 4) bytes as PNG, beside and renamed, with our mark in it."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", MARK)
    image: Image.Image = Image.fromarray(np.ascontiguousarray(picture))
    write_beside(path, lambda temporary: image.save(temporary, format="PNG", pnginfo=info, compress_level=4))
