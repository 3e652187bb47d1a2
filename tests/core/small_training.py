"""Trainings of a second or two: a tiny classic network on the ball of `tiny_scene`, and events that are kept."""

from pathlib import Path

from nerf_core.rendering.frame import Frame
from nerf_core.training.events import Progress, TrainEvents
from nerf_core.training.setup import TrainRequest
from nerf_core.training.trainer import Trainer, TrainResult

SETTINGS = {"depth": 1, "width": 16, "coarse_samples": 8, "fine_samples": 8, "rays_per_step": 64}


class Recorder(TrainEvents):
    """Keeps what it is told, and stops after so many steps."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.steps = stop_at, 0
        self.seen: list[Progress] = []
        self.previews: list[tuple[int, Frame]] = []
        self.saves: list[int] = []
        self.logs: list[str] = []
        self.loads: list[tuple[int, int]] = []

    def loading(self, done: int, total: int) -> None:
        self.loads.append((done, total))

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)

    def preview(self, step: int, frame: Frame) -> None:
        self.previews.append((step, frame))

    def saved(self, step: int) -> None:
        self.saves.append(step)

    def log(self, level: str, text: str) -> None:
        self.logs.append(text)

    def between_steps(self) -> None:
        self.steps += 1

    def should_stop(self) -> bool:
        return self.stop_at is not None and self.steps >= self.stop_at


def train(run: Path, data: Path | None = None, events: TrainEvents | None = None, **asked) -> TrainResult:
    asked = {"method": "classic", "device": "cpu", "settings": SETTINGS, **asked}
    return Trainer(TrainRequest(run, data, **asked), events).run()
