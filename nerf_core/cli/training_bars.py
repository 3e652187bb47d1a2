"""A training's progress as bars on stderr: what the trainings of fields and of generative systems show alike."""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from .common import bar_options


class TrainingBars:
    """One bar at a time; to be mixed into a training's events.

    Parameters
    ----------
    interrupted : callable
        Whether Ctrl-C was pressed.
    """

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted
        self.bar: tqdm | None = None
        self.label = ""

    def show(self, label: str, **options: Any) -> tqdm:
        """The bar of that label and total: the one that is shown, or a new one in its place."""
        if self.bar is None or label != self.label or options.get("total", self.bar.total) != self.bar.total:
            self.close()
            self.bar, self.label = tqdm(desc=label, **bar_options(), **options), label
        return self.bar

    def show_training(self, done: float, numbers: list[str]) -> None:
        """The training's own bar, at a part `done` of its budget, with numbers behind it."""
        # Without `miniters` one long step, from 0 to where a continued run stands, would be waited for again.
        bar = self.show("training", total=1.0, miniters=0, bar_format="{l_bar}{bar}| {elapsed} {postfix}")
        bar.set_postfix_str(", ".join(numbers), refresh=False)
        bar.update(max(0.0, done - bar.n))

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def loading(self, done: int, total: int) -> None:
        """Images were read."""
        bar = self.show("reading images", total=total)
        bar.update(done - bar.n)

    def log(self, level: str, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text if level == "info" else f"{level}: {text}", file=sys.stderr)

    def should_stop(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._interrupted()
