"""Files that are never half written: everything goes to a neighbour first and is renamed over."""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .errors import NerfError

MARK = "made by NeRF Toolkit"
"""In the first bytes of files that are ours to write over (`export.ownership`)."""
REPLACE_SECONDS = 2.0  # on Windows, while another process (a virus scanner, a reader of ours) has the file open


def _read_umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


# The system tells it only by setting it, for all threads at once: once, before there are any.
_UMASK = _read_umask()


def write_beside(path: str | Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a temporary file beside `path`, then rename it over `path`.

    Parameters
    ----------
    path : path
        The file that shall exist, whole, afterwards.
    write : callable
        Gets the temporary path (same folder, same suffix) and writes it.

    Raises
    ------
    NerfError
        When the disk is full, the folder cannot be written or vanished; `path` is then as it was.
    """
    beside = Beside(path)
    try:
        with _told(beside.path):
            write(beside.temporary)
        beside.keep()
    finally:
        beside.discard()


class Beside:
    """A file that grows beside its place until :meth:`keep` renames it there; for what takes longer than one call.

    Parameters
    ----------
    path : path
        The file that shall exist, whole, afterwards.

    Attributes
    ----------
    temporary : Path
        Where to write: in the same folder, with the same suffix; it exists, empty.

    Raises
    ------
    NerfError
        When the folder cannot be written or is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with _told(self.path):
            handle, name = tempfile.mkstemp(
                dir=self.path.parent, prefix=f".{self.path.stem[:40]}-", suffix=self.path.suffix
            )
            os.close(handle)
        self.temporary = Path(name)

    def keep(self) -> None:
        """Rename it over its place; a NerfError says why it cannot be, and what was there is as it was."""
        with _told(self.path):
            with open(self.temporary, "r+b") as stream:  # Windows only syncs what is open for writing
                os.fsync(stream.fileno())
            os.chmod(self.temporary, 0o666 & ~_UMASK)  # mkstemp makes private files; these are ordinary ones
            _replace(self.temporary, self.path)

    def discard(self) -> None:
        """Delete what was not kept; after :meth:`keep` this does nothing."""
        give_up = time.monotonic() + REPLACE_SECONDS
        while True:
            try:
                self.temporary.unlink(missing_ok=True)
                return
            except OSError:  # what went wrong before matters more than a file left over
                if sys.platform != "win32" or time.monotonic() >= give_up:
                    return
            time.sleep(0.05)  # a program that was just ended may still have it open


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn the system's error into a sentence about `path`."""
    try:
        yield
    except OSError as error:
        raise NerfError(f"Cannot write '{path}': {error.strerror or error}. {_advice(error)}") from error


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a whole file of bytes, beside and renamed."""
    write_beside(path, lambda temporary: _fill(temporary, data))


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file, beside and renamed."""
    try:
        data = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:  # a path with bytes that are no text: escaped, it is read back the same
        data = json.dumps(value, indent=1, allow_nan=False).encode("ascii")
    write_bytes(path, data + b"\n")


def make_folder(path: str | Path) -> Path:
    """Make a folder and its parents; a NerfError says why it cannot be."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NerfError(f"Cannot make the folder '{path}': {error.strerror or error}. {_advice(error)}") from error
    return path


def _replace(temporary: Path, path: Path) -> None:
    """Rename over; on Windows that fails for as long as anybody has the old file open."""
    give_up = time.monotonic() + REPLACE_SECONDS
    while True:
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() >= give_up:
                raise
        time.sleep(0.05)


def _fill(path: Path, data: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(data)


def _advice(error: OSError) -> str:
    import errno

    if error.errno == errno.ENOSPC:
        return "Free some disk space or choose another folder."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose a folder that you may write to."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "A file of that name is in the way; choose another folder."
    return "Choose another folder."
