"""Which output files are ours to write over: each carries a mark in its first bytes, and nothing else is touched."""

from pathlib import Path

from ..contract.errors import NerfError
from ..contract.files import MARK

_HEAD = 1 << 23  # marks lie before pixels and points; before them a video has its index, some 20 bytes a picture


def is_ours(path: Path) -> bool:
    """Whether an existing file carries our mark."""
    try:
        with open(path, "rb") as stream:
            return MARK.encode("ascii") in stream.read(_HEAD)
    except OSError:
        return False


def check_writable(path: str | Path, overwrite: bool = False) -> Path:
    """The path, when writing there destroys nothing of somebody else's.

    Raises
    ------
    NerfError
        When a folder is there, or a file that does not carry our mark and `overwrite` is not set.
    """
    path = Path(path)
    if path.is_dir():
        raise NerfError(f"'{path}' is a folder; name a file.")
    if path.exists() and not overwrite and not is_ours(path):
        raise NerfError(
            f"'{path}' exists and was not made by NeRF Toolkit; move it away or choose another name (on the command "
            "line, --overwrite writes over it)."
        )
    return path
