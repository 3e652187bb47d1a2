"""Pictures as PNG and OpenEXR files, without Blender: encoding takes long enough to belong into a thread.

Every file carries a mark in its header, by which a later rendering knows that it may be replaced.
"""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..vendor.nerf_core.contract.files import MARK

_MARK = MARK.encode("ascii")
_HEAD = 4096  # bytes; the mark lies before the pixels
_LEVEL = 4  # of zlib: half the time of 6 for a few percent more bytes
_EXR_ROWS = 16  # of a ZIP block


def straight(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) premultiplied to straight alpha, 0 to 1; colour is 0 where alpha is."""
    result = np.array(rgba, dtype=np.float32)
    alpha = result[..., 3:]
    np.divide(result[..., :3], alpha, out=result[..., :3], where=alpha > 1e-6)
    result[..., :3][(alpha <= 1e-6)[..., 0]] = 0.0
    return np.clip(result, 0.0, 1.0, out=result)


def png(rgba: np.ndarray) -> bytes:
    """A PNG file of (H, W, 4) premultiplied sRGB floats: 8 bits a channel, straight alpha."""
    height, width = rgba.shape[:2]
    rows = (straight(rgba) * 255.0 + 0.5).astype(np.uint8).reshape(height, width * 4)
    # Filter "Up": each byte as the difference to the one above it.
    filtered = np.empty((height, 1 + width * 4), dtype=np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return _png_file(struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0), filtered)


def exr(rgba: np.ndarray) -> bytes:
    """An OpenEXR file of (H, W, 4) premultiplied linear floats: 32 bits a channel, ZIP, every float as it is."""
    return exr_channels({name: rgba[..., i] for i, name in enumerate("RGBA")})


def exr_channels(channels: Mapping[str, np.ndarray]) -> bytes:
    """An OpenEXR file of (H, W) floats by channel name: 32 bits a channel, ZIP, every float as it is."""
    names = sorted(channels)  # the format's order, each with type FLOAT and sampling 1, 1
    height, width = channels[names[0]].shape
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    listed = b"".join(name.encode("ascii") + b"\0" + struct.pack("<4i", 2, 0, 1, 1) for name in names)
    attributes = (
        (b"channels", b"chlist", listed + b"\0"),
        (b"compression", b"compression", b"\3"),
        (b"dataWindow", b"box2i", window),
        (b"displayWindow", b"box2i", window),
        (b"lineOrder", b"lineOrder", b"\0"),
        (b"pixelAspectRatio", b"float", struct.pack("<f", 1.0)),
        (b"screenWindowCenter", b"v2f", struct.pack("<2f", 0.0, 0.0)),
        (b"screenWindowWidth", b"float", struct.pack("<f", 1.0)),
        (b"software", b"string", _MARK),
    )
    head = struct.pack("<2I", 20000630, 2)
    head += b"".join(
        b"%s\0%s\0%s%s" % (name, kind, struct.pack("<I", len(data)), data) for name, kind, data in attributes
    )
    head += b"\0"
    # A row holds its channels one after the other.
    rows = np.stack([np.asarray(channels[name], dtype="<f4") for name in names], axis=1)
    blocks = []
    for start in range(0, height, _EXR_ROWS):
        packed = _exr_block(rows[start : start + _EXR_ROWS].tobytes())
        blocks.append(struct.pack("<iI", start, len(packed)) + packed)
    first = len(head) + 8 * len(blocks)
    offsets = first + np.cumsum([0, *map(len, blocks[:-1])])
    return b"".join([head, offsets.astype("<u8").tobytes(), *blocks])


def png_grey(values: np.ndarray) -> bytes:
    """A PNG file of (H, W) uint8 values: one grey channel."""
    height, width = values.shape
    filtered = np.zeros((height, 1 + width), dtype=np.uint8)
    filtered[:, 1:] = values
    return _png_file(struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), filtered)


def is_ours(path: Path) -> bool:
    """Whether an existing picture carries our mark."""
    try:
        with open(path, "rb") as stream:
            return _MARK in stream.read(_HEAD)
    except OSError:
        return False


def _png_file(head: bytes, rows: np.ndarray) -> bytes:
    """From the IHDR chunk's content and the filtered rows."""
    chunks = (
        (b"IHDR", head),
        (b"sRGB", b"\0"),
        (b"tEXt", b"Software\0" + _MARK),
        (b"IDAT", zlib.compress(rows.data, _LEVEL)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _exr_block(raw: bytes) -> bytes:
    """OpenEXR's ZIP: even bytes, then odd ones, as differences around 128, deflated; as it is where that is longer."""
    data = np.frombuffer(raw, dtype=np.uint8)
    parted = np.concatenate([data[::2], data[1::2]])
    parted[1:] = np.diff(parted) + np.uint8(128)
    packed = zlib.compress(parted.data, _LEVEL)
    return packed if len(packed) < len(raw) else raw
