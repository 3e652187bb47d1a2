"""COLMAP's binary files, measured before pycolmap reads them: all must be there that they announce.

pycolmap 4.2 does not look for the end of a file: it makes up cameras for one that was cut off, and with a damaged count
it reads on for ever and fills the memory. The layouts are those of COLMAP's documentation, "Output format".
"""

import struct
from collections.abc import Callable
from pathlib import Path

from ..contract.errors import DataError

# Number of parameters of each camera model, by its number in the file.
_PARAMETERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)
_SENSOR = 8  # type and number, four bytes each
_POSE = 56  # a quaternion and a translation, in doubles
_POINT2D = 24  # bytes of one 2D point: x, y, the 3D point's number
_LONGEST_NAME = 4096


class _Reader:
    """Walks over a file that it holds in memory."""

    def __init__(self, path: Path) -> None:
        self.path, self.at = path, 0
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise DataError(f"Cannot read '{path}': {error.strerror or error}.") from error

    def broken(self, what: str) -> DataError:
        return DataError(f"The COLMAP file '{self.path}' is broken: {what}; export the model again.")

    def take(self, layout: str) -> tuple[int, ...]:
        """Unpack values and go on behind them."""
        size = struct.calcsize(layout)
        self.skip(size)
        return struct.unpack_from(layout, self.data, self.at - size)

    def skip(self, size: int) -> None:
        """Go on `size` bytes further."""
        self.at += size
        if self.at > len(self.data):
            raise self.broken("it ends too early")

    def text(self) -> None:
        """Go on behind a name that ends with a zero byte."""
        end = self.data.find(b"\0", self.at, self.at + _LONGEST_NAME)
        if end < 0:
            raise self.broken("an image has no name")
        self.at = end + 1

    def each(self, smallest: int) -> range:
        """As many as the count that comes next says; refused where so many of `smallest` bytes cannot follow."""
        (count,) = self.take("<Q")
        if count * smallest > len(self.data) - self.at:
            raise self.broken(f"it announces {count} entries and is too short for them")
        return range(count)


def check_binary(folder: Path) -> None:
    """Refuse a binary model that is cut off or announces what it does not hold.

    Raises
    ------
    DataError
        It names the file.
    """
    for name, walk in _WALKS.items():
        path = folder / f"{name}.bin"
        if path.is_file():
            reader = _Reader(path)
            walk(reader)
            if reader.at != len(reader.data):
                raise reader.broken("it goes on after its last entry")


def _cameras(reader: _Reader) -> None:
    for _ in reader.each(24):
        _, model, _, _ = reader.take("<IiQQ")
        if not 0 <= model < len(_PARAMETERS):
            raise reader.broken(f"there is no camera model {model}")
        reader.skip(8 * _PARAMETERS[model])


def _images(reader: _Reader) -> None:
    for _ in reader.each(4 + _POSE + 4 + 1 + 8):
        reader.skip(4 + _POSE + 4)
        reader.text()
        (count,) = reader.take("<Q")
        reader.skip(count * _POINT2D)


def _points(reader: _Reader) -> None:
    for _ in reader.each(51):
        reader.skip(8 + 24 + 3 + 8)
        (length,) = reader.take("<Q")
        reader.skip(length * 8)


def _rigs(reader: _Reader) -> None:
    for _ in reader.each(8):
        _, sensors = reader.take("<II")
        if sensors:
            reader.skip(_SENSOR)
        for _ in range(1, sensors):
            reader.skip(_SENSOR)
            (has_pose,) = reader.take("<B")
            reader.skip(_POSE if has_pose else 0)


def _frames(reader: _Reader) -> None:
    for _ in reader.each(8 + _POSE + 4):
        reader.skip(8 + _POSE)
        (count,) = reader.take("<I")
        reader.skip(count * (_SENSOR + 8))


_WALKS: dict[str, Callable[[_Reader], None]] = {
    "cameras": _cameras,
    "images": _images,
    "points3D": _points,
    "rigs": _rigs,
    "frames": _frames,
}
