"""A cell measured: quality on held-out views, and what looking cost."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import DataError
from ..data.dataset import load_dataset
from ..data.views import Views
from ..evaluation.evaluate import evaluate_views, spread
from ..processor import processor
from ..rendering.frame import render_frame
from ..training.load import LoadedRun
from ..training.versions import versions
from .plan import Cell, Plan

WARM_UP_SIDE = 16  # pixels of a picture that nobody looks at


class HeldOutViews:
    """The views that every cell is measured on, read once for each downscale.

    Parameters
    ----------
    plan : Plan
    data : Path
    should_stop : callable
    """

    def __init__(self, plan: Plan, data: Path, should_stop: Callable[[], bool]) -> None:
        self._plan, self._data, self._should_stop = plan, data, should_stop
        self._read: dict[int, Views] = {}

    def get(self, downscale: int) -> Views:
        """The views.

        Raises
        ------
        NerfError
            When the data set has no such split, or cannot be read.
        """
        if downscale not in self._read:
            split = self._plan.split
            options: dict[str, Any] = {"splits": (split,), "should_stop": self._should_stop}
            try:
                dataset = load_dataset(self._data, downscale, depth=(split,), **options)
            except DataError:
                dataset = load_dataset(self._data, downscale, **options)  # without depth, where it is not usable
            self._read[downscale] = spread(dataset.splits[split], self._plan.views)
        return self._read[downscale]


def measure(
    run: LoadedRun,
    cell: Cell,
    views: Views,
    split: str,
    progress: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """The numbers of a cell, by the keys of `columns.COLUMNS`.

    Raises
    ------
    NerfError
        When the method cannot be looked at with the cell's sampler.
    Cancelled
    """
    first = views.views[0].camera
    scale = WARM_UP_SIDE / max(first.width, first.height)
    small = first.resized(max(1, round(first.width * scale)), max(1, round(first.height * scale)))
    unknown = np.zeros((small.height, small.width), np.float32)  # the oracle, too, is to be warmed up
    render_frame(run.method, small, should_stop=should_stop, sampler=cell.render, true_depth=unknown)
    found = evaluate_views(run.method, views, run.background, split, progress, should_stop, sampler=cell.render)
    numbers: dict[str, Any] = {"psnr": found.psnr, "ssim": found.ssim}
    if found.cost is not None:
        numbers |= found.cost.to_dict()
    if found.depth_error is not None:
        numbers["depth_error"] = found.depth_error
    numbers |= {
        "frame_ms": 1000.0 * found.seconds,
        "frame_pixels": first.width * first.height,
        "train_seconds": run.spent.seconds,
        "steps": run.spent.steps,
    }
    return numbers


def machine() -> dict[str, Any]:
    """What is measured on, and with which versions."""
    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": processor(),
        **versions(),
    }
