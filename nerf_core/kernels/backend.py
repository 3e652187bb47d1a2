"""What the fast method asks of a backend, and the schedules that all backends share.

Positions are in the unit frame: the subject's box lies in [0, 1]^3; distances are in unit-cube lengths, density per
unit-cube length. In an unbounded scene positions lie anywhere, and the grids see them contracted
(`fields.contraction`); else nothing lies outside the box, and the grids are the unit cube.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..contract.errors import CheckpointError
from ..fields import contraction
from ..fields.hash_grid import FastLayout, FastSettings
from ..samplers.lattice import Lattice
from .rays import RayArrays
from .views import ViewArrays

OCCUPANCY_EVERY = 16
"""Training steps between two updates of the occupancy grid."""
YOUNG_DENSITY = 1.0
"""Density that a field of fresh parameters has everywhere: what is not even that dense may be empty."""
DEPTH_REACH = 0.1
"""Distance from a known depth beyond which the depth loss takes a sample for wrong; far away it grows with samples."""
DEPTH_FADES_TO = 0.001
"""Weight of the depth loss at the end of the budget, relative to that at its beginning."""
SURFACE_FROM = 0.6
"""Share of the budget after which a field that is trained with the surface sampler is trained with few samples too."""
FIRST_RAYS = 512
"""Rays of the very first step; later ones follow the samples that were met."""


class OccupancyUpdate(NamedTuple):
    """One update of the occupancy grid: every `every`-th cell from `phase`, old values times `decay`."""

    every: int
    phase: int
    decay: float


@dataclass(frozen=True)
class BatchStats:
    """What a training step met; `depth_loss` is the unweighted one, None where no depth is known."""

    loss: float
    mse: float
    rays: int
    samples: int
    trained: int
    overflow: int
    depth_loss: float | None = None


class SurfaceRays(NamedTuple):
    """N rays rendered by the shell (`fields.shell`).

    `rgba` (N, 4) premultiplied, `depth` (N,) mean distance, `evaluations` (N,) int32 colours asked of the field,
    `looked` how many cells of the shell were looked up, all rays together.
    """

    rgba: np.ndarray
    depth: np.ndarray
    evaluations: np.ndarray
    looked: int


class SurfaceProfile(NamedTuple):
    """What the shell holds along N rays, and what samples stand for it.

    `counts` (N,) int32 of `cells` (N, C, 3): each one's middle t, length and weight; `groups` (N,) int32 of `samples`
    (N, M, 3): each one's t, weight, and the number of the cell behind the last one that it stands for; `looked` (N,).
    """

    counts: np.ndarray
    cells: np.ndarray
    groups: np.ndarray
    samples: np.ndarray
    looked: np.ndarray


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
        self.settings = settings.with_batch_sizes()
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

    @property
    def unbounded(self) -> bool:
        """Whether the scene goes on outside the subject's box."""
        return self.settings.scene == "unbounded"

    @property
    def fine_growth(self) -> float:
        """Spacing of samples relative to their distance when rendering; 0 in a bounded scene."""
        return self.settings.step_growth if self.unbounded else 0.0

    def coarseness(self) -> float:
        """How many times the spacing when rendering this training step's is: coarse while everything is still fog."""
        schedule: tuple[tuple[int, float], ...]
        if self.unbounded:  # fog is deep there: sparse samples leave the step more rays, which lift it sooner
            schedule = ((4, 8.0), (16, 4.0), (32, 2.0))
        else:
            schedule = ((4, 4.0), (12, 2.0))
        for turns, times in schedule:
            if self.step < turns * OCCUPANCY_EVERY:
                return times
        return 1.0

    def training_step_length(self) -> float:
        """Smallest distance between samples in this training step."""
        return self.coarseness() * self.fine_step

    def training_growth(self) -> float:
        """Spacing of samples relative to their distance in this training step; 0 in a bounded scene."""
        return self.coarseness() * self.fine_growth

    def lattice(self, coarseness: float = 1.0) -> Lattice:
        """The lattice of an unbounded scene's rays, its spacings times `coarseness`."""
        return Lattice(coarseness * self.fine_step, coarseness * self.fine_growth)

    def outside_cells(self) -> np.ndarray:
        """(G, G, G) bool, indexed z, y, x: cells of the occupancy grid that hold no place; their value stays -1.

        Cells that do not meet the subject's box, or, in an unbounded scene, those that nothing is contracted into.
        """
        side = self.settings.occupancy_resolution
        if self.unbounded:
            return contraction.unreachable(side)
        low = np.arange(side)
        x, y, z = (
            (low + 1 <= self.box[0, axis] * np.float32(side)) | (low >= self.box[1, axis] * np.float32(side))
            for axis in range(3)
        )
        return z[:, None, None] | y[None, :, None] | x[None, None, :]

    def learning_rate(self, progress: float) -> float:
        """Adam's rate: exponential from first to last over the budget, after a short ramp."""
        first, last = self.settings.learning_rate, self.settings.final_learning_rate
        ramp = min(1.0, (self.step + 1) / 32.0)
        return ramp * first * (last / first) ** min(max(progress, 0.0), 1.0)

    @property
    def takes_depth(self) -> bool:
        """Whether known depths are trained on, where the views have any."""
        return self.settings.depth_loss > 0.0

    def depth_weight(self, progress: float) -> float:
        """Weight of the depth loss in this step: exponential from the setting's to a thousandth of it over the budget.

        The first steps shape the field, and there depth says most; later, colours are the finer measure.
        """
        return self.settings.depth_loss * DEPTH_FADES_TO ** min(max(progress, 0.0), 1.0)

    @property
    def depth_growth(self) -> float:
        """Reach of the depth loss relative to the known distance, where that is more than `DEPTH_REACH`."""
        return DEPTH_REACH * self.fine_growth / self.fine_step

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

    def is_surface_step(self, progress: float) -> bool:
        """Whether this training step is one of few samples a ray (`surface_from` of the budget, every other step).

        The occupancy grid is fed in odd steps, and by the other kind.
        """
        return self.settings.sampler == "surface" and progress >= SURFACE_FROM and self.step % 2 == 0

    @property
    def feeds_occupancy(self) -> bool:
        """Whether this step's samples raise the grid's values, so that thin things stay.

        Only where the grid is updated next, so that between updates the occupied cells are those that the values (which
        a checkpoint holds) say; and only once every cell has been asked for its own.
        """
        return self.step >= OCCUPANCY_EVERY and (self.step + 1) % OCCUPANCY_EVERY == 0

    @property
    def occupancy_limit(self) -> float:
        """Density above which a cell counts as occupied, whatever the mean is."""
        limit = -math.log1p(-min(self.settings.occupancy_threshold, 0.999)) / self.fine_step
        # The far cells' values, stretched, lift the mean over the density of a young field, so it cannot be the limit.
        return min(limit, YOUNG_DENSITY) if self.unbounded else limit

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
    def render(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        evaluations: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Premultiplied rgba (N, 4), mean distance (N,), and the field evaluations made for float32 rays (N, 3).

        `evaluations` (N,) int32, if given, is filled with how many of each ray's evaluations were of density AND
        colour; the others were of density alone.

        `limits` (N, 2), if given: of each ray's samples only those at distances ``limits[:, 0] <= t < limits[:, 1]``
        count. The samples lie where they lie without limits, so that adjacent limits share none and lose none.
        """

    renders_pixels = False
    """Whether :meth:`render_pixels` is there: not every backend makes rays of its own."""

    def render_pixels(
        self, view: ViewArrays, first: int, count: int, into: RayArrays | None = None
    ) -> tuple[RayArrays, int]:
        """As `render`, for `count` pixels of `view`'s only camera from number `first` on; also the evaluations made.

        With `into`, that is what is filled and given.
        """
        raise NotImplementedError

    @property
    def renders_surface(self) -> bool:
        """Whether `render_surface`, `render_surface_pixels` and `profile_surface` are there."""
        return False

    @property
    def surface_is_ready(self) -> bool:
        """Whether there is a shell, or nobody trains: in training, baking one for a picture would take too long."""
        return True

    def render_surface(
        self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None, samples: int | None
    ) -> SurfaceRays:
        """Render rays with at most `samples` evaluations each, placed by a shell of the field; see `render`."""
        raise NotImplementedError

    def render_surface_pixels(
        self, view: ViewArrays, first: int, count: int, samples: int | None, into: RayArrays | None = None
    ) -> SurfaceRays:
        """As `render_surface`; see `render_pixels`."""
        raise NotImplementedError

    def profile_surface(self, origins: np.ndarray, directions: np.ndarray, samples: int | None) -> SurfaceProfile:
        """What places the samples of rays."""
        raise NotImplementedError

    # Fine operations -------------------------------------------------------------------------------------------

    @abstractmethod
    def march(
        self, origins: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Counts (N,), unit positions (S, 3), distances (S,) and intervals (S,) of a render's samples, unstopped."""

    @abstractmethod
    def query(self, positions: np.ndarray, directions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Density (N,), and colour (N, 3) where directions are given, at unit positions (contracted inside)."""

    @property
    @abstractmethod
    def occupied(self) -> np.ndarray:
        """(G, G, G) bool, indexed z, y, x: the cells that rays look into."""

    # State -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of params/*, adam/first/*, adam/second/* and occupancy/values."""

    @abstractmethod
    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`arrays` gave, from whatever backend; checked already."""

    def check_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise a `CheckpointError` unless all arrays are there in their shapes."""
        check_arrays(self.settings, self.layout, arrays)

    def counters(self) -> dict[str, Any]:
        """Plain numbers of the state."""
        return {"step": self.step, "rays": self.rays}

    def load_counters(self, counters: Mapping[str, Any]) -> None:
        """Take over :meth:`counters`; a `CheckpointError` where one is no number that training can reach."""
        step, rays = counters.get("step", 0), counters.get("rays", FIRST_RAYS)
        for name, value, low, high in (("step", step, 0, 2**53), ("rays", rays, 1, 1 << 20)):
            if type(value) is not int or not low <= value <= high:
                raise CheckpointError(f"The checkpoint's count of {name} is not a whole number from {low} to {high}.")
        self.step, self.rays = step, rays

    def warm_up(  # noqa: B027 - most compile nothing
        self, should_stop: Callable[[], bool] | None = None, everything: bool = False
    ) -> None:
        """Compile whatever would be compiled later; `Cancelled` when `should_stop` says so between two kernels."""


def check_arrays(settings: FastSettings, layout: FastLayout, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise a `CheckpointError` unless all that a backend's `arrays` gives is there, finite and in its shapes."""
    for prefix in ("params/", "adam/first/", "adam/second/"):
        layout.check(arrays, prefix)
    side = settings.occupancy_resolution
    values = arrays.get("occupancy/values")
    if values is None or tuple(values.shape) != (side, side, side):
        raise CheckpointError(
            f"The checkpoint's array 'occupancy/values' is missing or not {side}x{side}x{side}; "
            "the file does not belong to this run."
        )
    if not np.isfinite(values).all():
        raise CheckpointError("The checkpoint's array 'occupancy/values' holds NaN or infinity.")
