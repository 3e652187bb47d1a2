"""Image files in: PNG, JPEG and EXR to straight-alpha sRGB bytes, headers checked before anything is decoded.

Orientation. Pixels are taken as the file stores them, because that is what COLMAP, instant-ngp and nerfstudio
calibrate: a JPEG's EXIF orientation is passed over. It is applied in one case only, where it is the sole reading that
fits: the data set's `w` and `h` are those of the turned picture.

Colour profiles (ICC, gAMA) are passed over: PNG and JPEG are taken to be sRGB.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..contract.errors import DataError
from . import exr
from .color import premultiply, srgb_encode, to_bytes, unpremultiply

MAX_PIXELS = 80_000_000  # an RGBA picture of this size is 320 MB; Pillow warns from 89 million on
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says of itself before it is decoded.

    Attributes
    ----------
    path : Path
    width, height : int
        As stored.
    is_exr : bool
        Scene-linear and premultiplied, rather than sRGB and straight.
    turned : bool
        Whether EXIF says that width and height swap when the picture is shown upright.
    has_alpha : bool
        Whether pixels may be transparent: the file can say so.
    """

    path: Path
    width: int
    height: int
    is_exr: bool
    turned: bool = False
    has_alpha: bool = False


def read_header(path: Path) -> ImageHeader:
    """Read an image's size and kind without decoding it.

    Raises
    ------
    DataError
        When the file cannot be read, is no image of a known kind, or claims more than `MAX_PIXELS`.
    """
    try:
        with open(path, "rb") as stream:
            magic = stream.read(4)
        if magic == exr.MAGIC:
            size, stored = exr.read_sizes(path)
            if stored[0] * stored[1] > MAX_PIXELS:
                raise DataError(_too_large(path))
            header = ImageHeader(path, *size, is_exr=True, has_alpha=True)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(path, formats=("PNG", "JPEG")) as image:
                    # A PNG's EXIF may stand behind its pixels, and Pillow would decode them to find it.
                    exif = image.getexif() if image.format == "JPEG" else {}
                    turned = exif.get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
                    alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
                    header = ImageHeader(path, image.width, image.height, False, turned, alpha)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(path)) from error
    except OSError as error:
        if error.errno is not None:
            raise DataError(f"Cannot read the image '{path}': {error.strerror}; check the file.") from error
        raise DataError(f"'{path}' is not a PNG, JPEG or EXR image; convert it to one of these.") from error
    except Exception as error:  # a decoder that is fed broken bytes raises whatever it likes
        raise DataError(f"The image '{path}' is broken ({error}); replace the file.") from error
    if header.width * header.height > MAX_PIXELS:
        raise DataError(_too_large(path))
    if header.width < 1 or header.height < 1:
        raise DataError(f"The image '{path}' has no pixels; replace the file.")
    return header


def read_image(header: ImageHeader, size: tuple[int, int], downscale: int = 1) -> np.ndarray:
    """Decode an image to straight-alpha sRGB bytes.

    Parameters
    ----------
    header : ImageHeader
        From :func:`read_header`.
    size : (width, height)
        What the data set takes the picture to be: as stored, or turned where EXIF turns it.
    downscale : int
        Shrink both sides by this factor: area averages of premultiplied colour, in the file's own colour space.

    Returns
    -------
    (height, width, 4) uint8 array
        Of `downscaled_size(size, downscale)`; alpha 255 where the file has none.

    Raises
    ------
    DataError
        When the file is truncated or broken, or an EXR holds NaN or infinity.
    """
    target = downscaled_size(size, downscale)
    if header.is_exr:
        linear = _shrink(exr.read_rgba(header.path), target)
        with np.errstate(over="ignore"):  # a bright colour under very little alpha: white either way
            straight = np.minimum(unpremultiply(linear), 1.0)
        return to_bytes(np.concatenate([srgb_encode(straight[..., :3]), straight[..., 3:]], axis=-1))
    try:
        with Image.open(header.path, formats=("PNG", "JPEG")) as image:
            image.load()
            upright = size != (header.width, header.height)
            rgba = _to_rgba(ImageOps.exif_transpose(image) if upright else image)
    except Exception as error:  # a decoder that is fed broken bytes raises whatever it likes
        raise DataError(f"The image '{header.path}' is truncated or broken ({error}); replace the file.") from error
    if rgba.shape[:2] != (size[1], size[0]):
        raise DataError(f"The image '{header.path}' changed while it was being read; load the data set again.")
    if target == size:
        return rgba
    return to_bytes(unpremultiply(_shrink(premultiply(rgba.astype(np.float32) / 255.0), target)))


def downscaled_size(size: tuple[int, int], downscale: int) -> tuple[int, int]:
    """(width, height) after shrinking by a whole factor, at least one pixel."""
    return max(1, round(size[0] / downscale)), max(1, round(size[1] / downscale))


def _to_rgba(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey; Pillow's own conversion would clip it
        grey = np.asarray(image, dtype=np.float32) / 65535.0
        opaque = np.ones_like(grey)
        return to_bytes(np.stack([grey, grey, grey, opaque], axis=-1))
    return np.array(image.convert("RGBA"))


def _shrink(rgba: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Area averages; Pillow's box filter weighs partly covered pixels, so any size will do."""
    if (rgba.shape[1], rgba.shape[0]) == size:
        return rgba
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(rgba[..., k])).resize(size, Image.Resampling.BOX))
        for k in range(4)
    ]
    return np.stack(channels, axis=-1)


def _too_large(path: Path) -> str:
    return f"The image '{path}' claims more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller."
