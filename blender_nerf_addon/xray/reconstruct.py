"""`nerf prior reconstruct` as a child process: a volume from one radiograph or a few. The session's one at a time."""

from collections.abc import Callable
from pathlib import Path

from .prior_work import Line, Work

VOLUME, SLICES = "volume.nii.gz", "slices.png"


def _words(made: Work) -> str:
    # Where its patient is known to be one of the prior's own, that is said.
    return " ".join(filter(None, [f"Reconstructed into '{made.out}'.", made.result.get("population")]))


_PARTS = {"reconstructing": (0.0, 0.7), "radiographs": (0.7, 1.0)}  # of the whole, by the bars' names
LINE = Line("reconstruct", "A reconstruction", "Reconstructing", _PARTS, _words)
current, running, cancel = LINE.current, LINE.running, LINE.cancel


def start(data: Path, prior: Path, out: Path, views: int, on_end: Callable[[Work], None] | None = None) -> Work:
    """Start the process; returns at once.

    Parameters
    ----------
    data : Path
        A radiograph data set.
    prior : Path
        A folder of `nerf prior build`.
    out : Path
        New, or of an earlier reconstruction.
    views : int
        So many radiographs are given, evenly spread.

    Raises
    ------
    NerfError
        When one is under way, there is no core, or it cannot be started.
    """
    arguments = ["reconstruct", str(data), "--prior", str(prior), "--out", str(out), "--views", str(views)]
    return LINE.start(arguments, out, on_end)


def unregister() -> None:
    """Forget everything."""
    LINE.leave()
