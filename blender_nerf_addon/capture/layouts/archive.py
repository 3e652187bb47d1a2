"""A folder as one zip file, written beside and renamed, with progress and a way to stop."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ...vendor.nerf_core.contract.errors import Cancelled
from ...vendor.nerf_core.contract.files import write_beside

_PACKED = {".png", ".exr", ".jpg", ".jpeg", ".zip"}  # their pixels are compressed already


def zip_folder(folder: Path, target: Path, told: Callable[[], None], should_stop: Callable[[], bool]) -> None:
    """Write `target` with all files of `folder`, under the folder's own name.

    Parameters
    ----------
    folder : path
    target : path
        Must not exist; the caller chooses a free name.
    told : callable
        Called after each file.
    should_stop : callable
        Asked before each file.

    Raises
    ------
    Cancelled
        When `should_stop` said so; no file is left then.
    NerfError
        When the disk is full or a file cannot be read or written.
    """

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
            for item in files(folder):
                if should_stop():
                    raise Cancelled
                kind = zipfile.ZIP_STORED if item.suffix in _PACKED else zipfile.ZIP_DEFLATED
                archive.write(item, f"{target.stem}/{item.relative_to(folder).as_posix()}", kind)
                told()

    write_beside(target, write)


def files(folder: Path) -> Iterator[Path]:
    """The folder's files, sorted; none that is being written."""
    yield from sorted(item for item in folder.rglob("*") if item.is_file() and not item.name.startswith("."))
