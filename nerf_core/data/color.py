"""Between scene-linear and sRGB-encoded colour, straight and premultiplied alpha."""

import numpy as np


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    """Encode scene-linear values (any shape, 0 to 1) with sRGB's transfer curve (IEC 61966-2-1); negatives become 0."""
    linear = np.maximum(linear, 0.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055)


def srgb_decode(encoded: np.ndarray) -> np.ndarray:
    """Decode sRGB-encoded values (any shape) to scene-linear; inverts :func:`srgb_encode`, negatives become 0."""
    encoded = np.maximum(encoded, 0.0)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def premultiply(rgba: np.ndarray) -> np.ndarray:
    """Straight (..., 4) float RGBA to premultiplied."""
    return np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], axis=-1)


def unpremultiply(rgba: np.ndarray) -> np.ndarray:
    """Premultiplied (..., 4) float RGBA to straight; black where alpha is 0."""
    alpha = rgba[..., 3:]
    return np.concatenate([np.where(alpha > 0, rgba[..., :3] / np.maximum(alpha, 1e-8), 0.0), alpha], axis=-1)


def decode_premultiplied(rgba: np.ndarray) -> np.ndarray:
    """Premultiplied sRGB-encoded (..., 4) as premultiplied scene-linear float32: straight colour is what is decoded."""
    straight = unpremultiply(rgba)
    straight[..., :3] = srgb_decode(straight[..., :3])
    return premultiply(straight).astype(np.float32)


def decode_over_black(rgba: np.ndarray) -> np.ndarray:
    """The same of what is grey over black whatever its alpha: what is seen over black is decoded, alpha stays."""
    decoded = np.array(rgba, dtype=np.float32)
    decoded[..., :3] = srgb_decode(decoded[..., :3])
    return decoded


def encode_premultiplied(rgba: np.ndarray) -> np.ndarray:
    """Premultiplied scene-linear (..., 4) as premultiplied sRGB-encoded float32."""
    straight = unpremultiply(rgba)
    straight[..., :3] = srgb_encode(straight[..., :3])
    return premultiply(straight).astype(np.float32)


def over(rgba: np.ndarray, background: np.ndarray | tuple[float, float, float]) -> np.ndarray:
    """Premultiplied (..., 4) float RGBA composited over a (3,) background colour of the same space: (..., 3)."""
    return rgba[..., :3] + (1.0 - rgba[..., 3:]) * np.asarray(background, dtype=rgba.dtype)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Values of 0 to 1 (clipped) as uint8, rounded to nearest."""
    return (np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
