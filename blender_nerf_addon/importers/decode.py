"""OpenEXR files in, without Blender, whose Python has no reader: what Blender and `encode` write plain or as ZIP.

One part, scan lines in rising order, float or half channels that are not subsampled; all else is refused by name.
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..vendor.nerf_core.contract.errors import DataError

_MAGIC = 20000630
_ROWS = {0: 1, 2: 1, 3: 16}  # compression (none, ZIPS, ZIP) to rows a block
_TYPES = {1: np.dtype("<f2"), 2: np.dtype("<f4")}
_OTHER_KINDS = 0x200 | 0x800 | 0x1000  # tiles, deep data, several parts
_LONGEST_HEAD = 1 << 20


@dataclass(frozen=True)
class _Header:
    channels: tuple[tuple[str, np.dtype], ...]  # in the order in which a row holds them
    compression: int
    width: int
    top: int
    height: int
    end: int  # where the table of offsets begins

    @property
    def blocks(self) -> int:
        return -(-self.height // _ROWS[self.compression])

    @property
    def row_bytes(self) -> int:
        return self.width * sum(kind.itemsize for _, kind in self.channels)


def read_exr(path: str | Path) -> dict[str, np.ndarray]:
    """The channels of an OpenEXR file.

    Returns
    -------
    dict of str to (H, W) float32 array
        By name, layers with their dots: ``ViewLayer.Depth.Z``.

    Raises
    ------
    DataError
        When the file cannot be read, is cut off, or is of another kind: the message names it.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read '{path}': {error.strerror or error}.") from error
    try:
        header = _header(data, path)
        raw = b"".join(_rows(data, header))
        table = np.frombuffer(raw, dtype=np.uint8).reshape(header.height, header.row_bytes)
    except (struct.error, ValueError, IndexError, zlib.error) as error:
        raise DataError(f"'{path}' is cut off or broken ({error}); capture it again.") from error
    found, start = {}, 0
    for name, kind in header.channels:
        stop = start + header.width * kind.itemsize
        found[name] = np.ascontiguousarray(table[:, start:stop]).view(kind).astype(np.float32)
        start = stop
    return found


def is_whole(path: str | Path, width: int, height: int) -> bool:
    """Whether an OpenEXR file of this size lies at `path` with its last block inside; its pixels are not decoded."""
    try:
        with open(path, "rb") as stream:
            header = _header(stream.read(_LONGEST_HEAD), Path(path))
            stream.seek(header.end + 8 * (header.blocks - 1))
            (last,) = struct.unpack("<Q", stream.read(8))
            stream.seek(last)
            _, size = struct.unpack("<iI", stream.read(8))
            stream.seek(0, 2)
            return (header.width, header.height) == (width, height) and stream.tell() >= last + 8 + size
    except (OSError, DataError, struct.error, ValueError, IndexError):
        return False


def _header(data: bytes, path: Path) -> _Header:
    magic, version = struct.unpack_from("<II", data)
    if magic != _MAGIC:
        raise DataError(f"'{path}' is not an OpenEXR file.")
    if version & _OTHER_KINDS:
        raise DataError(f"'{path}' is an OpenEXR file with tiles, deep data or several parts, which is not read.")
    place, values = 8, {}
    while data[place]:
        name, place = _word(data, place)
        _, place = _word(data, place)
        (size,) = struct.unpack_from("<I", data, place)
        values[name] = data[place + 4 : place + 4 + size]
        place += 4 + size
    compression = values["compression"][0] if values.get("compression") else -1
    if compression not in _ROWS or "dataWindow" not in values or "channels" not in values:
        raise DataError(f"'{path}' is compressed in a way that is not read; save it with ZIP.")
    left, top, right, bottom = struct.unpack("<4i", values["dataWindow"])
    return _Header(_channels(values["channels"], path), compression, right - left + 1, top, bottom - top + 1, place + 1)


def _channels(listed: bytes, path: Path) -> tuple[tuple[str, np.dtype], ...]:
    place, found = 0, []
    while listed[place]:
        name, place = _word(listed, place)
        kind, _, across, down = struct.unpack_from("<4i", listed, place)
        place += 16
        if kind not in _TYPES or (across, down) != (1, 1):
            raise DataError(f"The channel '{name}' of '{path}' is of a kind that is not read.")
        found.append((name, _TYPES[kind]))
    return tuple(found)


def _rows(data: bytes, header: _Header) -> list[bytes]:
    offsets = struct.unpack_from(f"<{header.blocks}Q", data, header.end)
    made = []
    for number, offset in enumerate(offsets):
        _, size = struct.unpack_from("<iI", data, offset)
        block = data[offset + 8 : offset + 8 + size]
        if len(block) != size:
            raise ValueError("a block of rows is cut off")
        first = number * _ROWS[header.compression]
        whole = min(_ROWS[header.compression], header.height - first) * header.row_bytes
        made.append(block if size == whole else _inflate(block, whole))
    return made


def _inflate(block: bytes, whole: int) -> bytes:
    """The inverse of OpenEXR's ZIP: inflate, undo the differences around 128, and mix the two halves."""
    unpacker = zlib.decompressobj()
    raw = np.frombuffer(unpacker.decompress(block, whole), dtype=np.uint8)
    if len(raw) != whole:
        raise ValueError("a block of rows has another length than it should")
    steps = raw.astype(np.int64)
    steps[1:] -= 128
    parted = np.cumsum(steps).astype(np.uint8)
    mixed = np.empty(whole, dtype=np.uint8)
    half = (whole + 1) // 2
    mixed[::2], mixed[1::2] = parted[:half], parted[half:]
    return mixed.tobytes()


def _word(data: bytes, start: int) -> tuple[str, int]:
    end = data.index(b"\0", start)
    return data[start:end].decode("utf-8", "replace"), end + 1
