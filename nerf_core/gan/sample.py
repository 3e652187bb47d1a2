"""Samples of a trained system as files: a grid, a turntable, or folders in the MedNeRF protocol's layout."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.files import make_folder
from ..export.ownership import check_writable
from ..export.pictures import write_png
from ..export.video import write_video
from .pictures import fixed_codes, tile, turn
from .run import GanRun

GRID_VIEWS, TURN_VIEWS = 8, 72


@dataclass(frozen=True)
class SampleRequest:
    """What a person asks for.

    Attributes
    ----------
    out : Path
        Ends in .png (a grid), .mp4 (a turntable) or neither (a folder).
    count : int
        Codes.
    views : int, optional
        Angles around the axis; by default 8 in a grid, else 72.
    size : int, optional
        Pixels a side; by default what was trained.
    fps : float
    seed : int
        Of the codes.
    overwrite : bool
        Write over files that are not ours.
    """

    out: Path
    count: int = 6
    views: int | None = None
    size: int | None = None
    fps: float = 24.0
    seed: int = 0
    overwrite: bool = False

    @property
    def kind(self) -> str:
        """'grid', 'turntable' or 'folder'."""
        return {".png": "grid", ".mp4": "turntable"}.get(self.out.suffix.lower(), "folder")

    @property
    def angles(self) -> int:
        """How many."""
        return self.views or (GRID_VIEWS if self.kind == "grid" else TURN_VIEWS)

    def check(self) -> None:
        """Raise a NerfError that names the first number that is out of range."""
        for name, value, high in (("count", self.count, 10_000), ("views", self.angles, 10_000)):
            if not 1 <= value <= high:
                raise NerfError(f"--{name} must be from 1 to {high}, not {value}.")
        if self.views is not None and self.views < 1:
            raise NerfError(f"--views must be at least 1, not {self.views}.")
        if self.size is not None and not 4 <= self.size <= 2048:
            raise NerfError(f"--size must be from 4 to 2048 pixels, not {self.size}.")
        if not 0 <= self.seed < 2**32:
            raise NerfError(f"--seed must be from 0 to {2**32 - 1}, not {self.seed}.")
        if self.kind != "folder":
            check_writable(self.out, self.overwrite)


def write_samples(run: GanRun, request: SampleRequest, progress: Callable[[float], None]) -> dict[str, Any]:
    """Render and write what is asked.

    Returns
    -------
    dict
        `out`, `kind`, `pictures` (how many), `size`.

    Raises
    ------
    NerfError
        When something asked for is not usable, or a file there is not ours.
    """
    request.check()
    codes = fixed_codes(run.system, request.count, request.seed)
    size = request.size or run.system.settings.image_size

    def views() -> Iterator[np.ndarray]:
        for index, pictures in enumerate(turn(run.system, codes, request.angles, size)):
            yield pictures
            progress((index + 1) / request.angles)

    if request.kind == "folder":
        _write_folder(request, views())
    else:
        make_folder(request.out.parent)
        if request.kind == "grid":
            write_png(request.out, tile(np.stack(list(views()), axis=1)))
        else:
            write_video(request.out, (tile(_spread(pictures)) for pictures in views()), request.fps)
    return {
        "out": str(request.out),
        "kind": request.kind,
        "pictures": request.count * request.angles,
        "size": size,
    }


def _spread(pictures: np.ndarray) -> list[list[np.ndarray]]:
    """Rows of about as many columns."""
    across = int(np.ceil(np.sqrt(len(pictures))))
    return [list(pictures[start : start + across]) for start in range(0, len(pictures), across)]


def _write_folder(request: SampleRequest, views: Iterator[np.ndarray]) -> None:
    folders = [request.out / f"sample_{index:04d}" for index in range(request.count)]
    files = [[folder / f"view_{view:04d}.png" for view in range(request.angles)] for folder in folders]
    for path in (path for row in files for path in row):
        check_writable(path, request.overwrite)
    for folder in folders:
        make_folder(folder)
    for view, pictures in enumerate(views):
        for index, picture in enumerate(pictures):
            grey = (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
            write_png(files[index][view], np.repeat(grey[..., None], 3, axis=-1))
