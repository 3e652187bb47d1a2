"""What a training tells the add-on, and how the worker's other work gets its turn between steps."""

from typing import TYPE_CHECKING

from ..rendering.frame import Frame
from ..training.events import Progress, TrainEvents

if TYPE_CHECKING:
    from .session import Session


class WorkerEvents(TrainEvents):
    """Passes everything on to the session.

    Parameters
    ----------
    session : Session
    run : str
        As the request named it.
    """

    def __init__(self, session: "Session", run: str) -> None:
        self.session, self.run = session, run

    def loading(self, done: int, total: int) -> None:
        """See `TrainEvents`."""
        self.session.tell("load", self.run, done, total, f"Reading image {done} of {total}")

    def warming_up(self) -> None:
        """See `TrainEvents`."""
        self.session.tell("warm_up", self.run, 0, 1, "Warming up (the first time compiles, which can take a minute)")

    def progress(self, progress: Progress) -> None:
        """See `TrainEvents`."""
        held_out = "" if progress.val_psnr is None else f", held-out {progress.val_psnr:.1f} dB"
        self.session.tell(
            "train",
            self.run,
            progress.done,
            1.0,
            f"Step {progress.step}{held_out}",
            seconds_left=progress.seconds_left,
            step=progress.step,
            loss=progress.loss,
            psnr=progress.psnr,
            val_psnr=progress.val_psnr,
            elapsed=progress.elapsed,
        )

    def preview(self, step: int, frame: Frame) -> None:
        """See `TrainEvents`."""
        height, width = frame.rgba.shape[:2]
        self.session.notify("preview", {"rgba": frame.rgba}, run=self.run, step=step, width=width, height=height)

    def saved(self, step: int) -> None:
        """See `TrainEvents`."""
        self.session.notify("saved", run=self.run, step=step)

    def log(self, level: str, text: str) -> None:
        """See `TrainEvents`."""
        self.session.notify("log", level=level, text=text)

    def between_steps(self) -> None:
        """Take up what has arrived, and do one thing that waits: training goes on between two pictures."""
        self.session.receive()
        if self.session.looking.waiting and not self.session.leaving.is_set():
            self.session.looking.work()

    def should_stop(self) -> bool:
        """See `TrainEvents`."""
        self.session.receive()
        return self.session.stop_training or self.session.leaving.is_set()

    def should_drop_preview(self) -> bool:
        """Also when somebody waits for a picture of their own."""
        return self.should_stop() or bool(self.session.looking.waiting)
