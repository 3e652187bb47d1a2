"""What a trainer tells while it works, and what it asks: the command line and the worker override what they need."""

from dataclasses import dataclass

from ..rendering.frame import Frame


@dataclass(frozen=True)
class Progress:
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
    loss, psnr : float or None
        Running means over the last steps; the PSNR is that of training pixels.
    val_psnr : float or None
        The last one measured on held-out pixels.
    samples_per_second, rays_per_second : float
    """

    step: int
    elapsed: float
    done: float
    seconds_left: float | None
    loss: float | None
    psnr: float | None
    val_psnr: float | None
    samples_per_second: float
    rays_per_second: float


class TrainEvents:
    """Does nothing, and never stops: override what is of interest. All are called on the trainer's thread."""

    def loading(self, done: int, total: int) -> None:
        """So many of the data set's images are read."""

    def warming_up(self) -> None:
        """The method compiles what it needs; the first time can take a minute."""

    def progress(self, progress: Progress) -> None:
        """Several times a second while training."""

    def preview(self, step: int, frame: Frame) -> None:
        """A preview was rendered."""

    def saved(self, step: int) -> None:
        """A checkpoint was written."""

    def log(self, level: str, text: str) -> None:
        """Something a person may want to know; level is 'info' or 'warning'."""

    def between_steps(self) -> None:
        """Between two steps: a chance to look at the method; what it takes is not counted as training."""

    def should_stop(self) -> bool:
        """Whether to end after this step (or inside a preview), with a checkpoint."""
        return False

    def should_drop_preview(self) -> bool:
        """Whether to give a running preview up."""
        return self.should_stop()
