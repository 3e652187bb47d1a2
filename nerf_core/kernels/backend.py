"""What the fast method asks of a backend, and the schedules that all backends share.

Everything here is in the unit cube: positions in [0, 1]^3, distances in unit-cube lengths, density per unit-cube
length.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..contract.errors import CheckpointError
from ..fields.hash_grid import FastLayout, FastSettings
from .views import ViewArrays

OCCUPANCY_EVERY = 16
"""Training steps between two updates of the occupancy grid."""
FIRST_RAYS = 512
"""Rays of the very first step; later ones follow the samples that were met."""


class OccupancyUpdate(NamedTuple):
    """One update of the occupancy grid: every `every`-th cell from `phase`, old values times `decay`."""

    every: int
    phase: int
    decay: float


@dataclass(frozen=True)
class BatchStats:
    """What a training step met."""

    loss: float
    mse: float
    rays: int
    samples: int
    trained: int
    overflow: int


class FastBackend(ABC):
    """The fast field on some device: parameters, optimiser, occupancy grid, training pixels.

    Parameters
    ----------
    settings : FastSettings
        With nothing left to be chosen.
    box : (2, 3) array
        The subject's box in the unit cube.
    seed : int
        Of the initial parameters and of every random choice in training.
    """

    name: str

    def __init__(self, settings: FastSettings, box: np.ndarray, seed: int) -> None:
        self.settings = settings
        self.layout = FastLayout.from_settings(settings)
        self.box = np.ascontiguousarray(box, dtype=np.float32)
        self.seed = seed
        self.step = 0
        self.rays = FIRST_RAYS

    # Schedules -------------------------------------------------------------------------------------------------

    @property
    def fine_step(self) -> float:
        """Distance between samples when rendering."""
        return math.sqrt(3.0) / self.settings.ray_steps

    def training_step_length(self) -> float:
        """Distance between samples in this training step: coarse while everything is still fog."""
        if self.step < 4 * OCCUPANCY_EVERY:
            return 4.0 * self.fine_step
        if self.step < 12 * OCCUPANCY_EVERY:
            return 2.0 * self.fine_step
        return self.fine_step

    def learning_rate(self, progress: float) -> float:
        """Adam's rate: exponential from first to last over the budget, after a short ramp."""
        first, last = self.settings.learning_rate, self.settings.final_learning_rate
        ramp = min(1.0, (self.step + 1) / 32.0)
        return ramp * first * (last / first) ** min(max(progress, 0.0), 1.0)

    def occupancy_update(self) -> OccupancyUpdate | None:
        """What to do to the occupancy grid after this step, if anything."""
        if (self.step + 1) % OCCUPANCY_EVERY:
            return None
        turn = self.step // OCCUPANCY_EVERY
        if turn == 0:
            return OccupancyUpdate(1, 0, 0.5)
        if turn < 16:
            return OccupancyUpdate(2, turn % 2, 0.5)
        return OccupancyUpdate(8, turn % 8, 0.8)

    @property
    def feeds_occupancy(self) -> bool:
        """Whether training samples raise the grid's values: only once every cell has been asked for its own."""
        return self.step >= OCCUPANCY_EVERY

    @property
    def occupancy_limit(self) -> float:
        """Density above which a cell counts as occupied, whatever the mean is."""
        return -math.log1p(-min(self.settings.occupancy_threshold, 0.999)) / self.fine_step

    def adapt_rays(self, stats: BatchStats) -> None:
        """Choose the next step's rays so that it meets about `samples_per_step` samples."""
        wanted = stats.rays * self.settings.samples_per_step / max(stats.samples, 1)
        wanted = min(max(wanted, 0.7 * self.rays), 1.4 * self.rays)
        self.rays = int(min(max(wanted, 32), self.settings.max_rays_per_step))

    # The coarse boundary ---------------------------------------------------------------------------------------

    @abstractmethod
    def load_views(self, views: ViewArrays, random_background: bool) -> None:
        """Take the training pixels."""

    @abstractmethod
    def drop_views(self) -> None:
        """Let go of the training pixels, and of what only training needs."""

    @abstractmethod
    def train_step(self, progress: float) -> BatchStats:
        """One optimisation step; keeps up the occupancy grid, the counters and the number of rays."""

    @abstractmethod
    def render(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Premultiplied rgba (N, 4), mean distance (N,), and the field evaluations made for float32 rays (N, 3)."""

    # Fine operations -------------------------------------------------------------------------------------------

    @abstractmethod
    def march(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Counts (N,), positions (S, 3) and distances (S,) of a whole render's samples, without early stop."""

    @abstractmethod
    def query(self, positions: np.ndarray, directions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Density (N,), and colour (N, 3) where directions are given, at positions."""

    # State -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of params/*, adam/first/*, adam/second/* and occupancy/values."""

    @abstractmethod
    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`arrays` gave, from whatever backend; checked already."""

    def check_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise a `CheckpointError` unless all arrays are there in their shapes."""
        for prefix in ("params/", "adam/first/", "adam/second/"):
            self.layout.check(arrays, prefix)
        side = self.settings.occupancy_resolution
        values = arrays.get("occupancy/values")
        if values is None or tuple(values.shape) != (side, side, side):
            raise CheckpointError(
                f"The checkpoint's array 'occupancy/values' is missing or not {side}x{side}x{side}; "
                "the file does not belong to this run."
            )

    def counters(self) -> dict[str, Any]:
        """Plain numbers of the state."""
        return {"step": self.step, "rays": self.rays}

    def load_counters(self, counters: Mapping[str, Any]) -> None:
        """Take over :meth:`counters`."""
        self.step = int(counters.get("step", 0))
        self.rays = int(counters.get("rays", FIRST_RAYS))

    def warm_up(self, should_stop: Callable[[], bool] | None = None) -> None:  # noqa: B027 - most compile nothing
        """Compile whatever would be compiled later; `Cancelled` when `should_stop` says so between two kernels."""
