"""What the training of a generative system tells while it works, and what it asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GanProgress:
    """Where a training is.

    Attributes
    ----------
    step : int
        Of the run, over all its trainings.
    elapsed : float
        Training seconds of the run.
    done : float
        0 to 1, of the budget.
    seconds_left : float or None
    losses : mapping of str to float
        Running means over the last steps, by name.
    fid : float or None
        The last one measured.
    """

    step: int
    elapsed: float
    done: float
    seconds_left: float | None
    losses: Mapping[str, float]
    fid: float | None


class GanEvents:
    """Does nothing, and never stops: override what is of interest. All are called on the training's thread."""

    def loading(self, done: int, total: int) -> None:
        """So many of the data set's images are read."""

    def progress(self, progress: GanProgress) -> None:
        """Several times a second while training."""

    def measuring(self, done: int, total: int) -> None:
        """So many of the pictures for FID are made."""

    def grid(self, step: int, path: Path) -> None:
        """A grid of samples was written."""

    def saved(self, step: int) -> None:
        """A checkpoint was written."""

    def log(self, level: str, text: str) -> None:
        """Something a person may want to know; level is 'info' or 'warning'."""

    def should_stop(self) -> bool:
        """Whether to end after this step, with a checkpoint."""
        return False
