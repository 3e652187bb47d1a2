"""The interface between a method and everything around it: trainer, renderer, exporter, inspector.

The boundary is coarse on purpose. On the CPU the gain comes from fusing march, encoding, MLP, compositing and their
gradients, so a trainer never sees a sample: it asks for steps, and a renderer asks for rays' colours.

Space. Everything that crosses this boundary is in WORLD space and scene units; a method normalises inside with the
`Normalisation` it was built with. Density is per world unit.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.camera import Camera
from ..contract.samplers import SamplerChoice
from ..data.views import Views
from ..kernels.rays import RayArrays
from .cost import RenderCost
from .trace import Trace

if TYPE_CHECKING:
    from ..data.dataset import Dataset


@dataclass(frozen=True)
class Normalisation:
    """Where the field lives: an axis-aligned world box, and the unit cube that it is scaled into.

    Attributes
    ----------
    bounds : (2, 3) float64 array
        Smallest and largest corner of the subject's box in world space; rays are clipped to it, unless the method
        also holds what lies outside.
    """

    bounds: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """(3,) world position of the unit cube's centre."""
        return 0.5 * (self.bounds[0] + self.bounds[1])

    @property
    def scale(self) -> float:
        """Unit-cube lengths per world unit; uniform, so that distances keep their ratios."""
        return 1.0 / float(np.max(self.bounds[1] - self.bounds[0]))

    def to_unit(self, points: np.ndarray) -> np.ndarray:
        """World positions (..., 3) to the unit cube [0, 1]^3."""
        return (points - self.center) * self.scale + 0.5

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Unit-cube positions (..., 3) to the world."""
        return (points - 0.5) / self.scale + self.center

    @property
    def unit_bounds(self) -> np.ndarray:
        """(2, 3): the box inside the unit cube; its longest side is 1."""
        return self.to_unit(np.asarray(self.bounds))


@dataclass(frozen=True)
class StepStats:
    """What one training step reports.

    Attributes
    ----------
    loss : float
        Mean over the batch, of the method's own loss.
    mse : float
        Mean squared colour error of the batch, for a running training PSNR.
    rays, samples : int
        Rays trained on and field evaluations made.
    overflow : int
        Rays that were cut short because a buffer was full; surfaced in `metrics.jsonl`.
    depth_loss : float or None
        The depth loss, before its weight; None where no depth is trained on.
    """

    loss: float
    mse: float
    rays: int
    samples: int
    overflow: int = 0
    depth_loss: float | None = None


@dataclass(frozen=True)
class RayColors:
    """What rendering N rays gives.

    Attributes
    ----------
    rgba : (N, 4) float32 array
        Premultiplied, in the training data's colour space; no background.
    depth : (N,) float32 array
        Expected distance along the unit direction, world units; 0 where nothing was hit (alpha 0).
    samples : int
        Field evaluations made.
    evaluations : (N,) int32 array or None
        Full evaluations of each ray, where the sampler counts them.
    cost : RenderCost or None
        Of all rays together.
    """

    rgba: np.ndarray
    depth: np.ndarray
    samples: int
    evaluations: np.ndarray | None = None
    cost: RenderCost | None = None


@dataclass
class MethodState:
    """All that a checkpoint needs to continue: named arrays and plain settings.

    Attributes
    ----------
    arrays : dict of str to numpy array
        Parameters ("params/..."), optimiser moments ("adam/..."), occupancy ("occupancy/...").
    settings : dict
        Plain JSON: what the method must be built with, and counters such as its own step.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


class Method(ABC):
    """A radiance field that can be trained and looked at.

    A method is built by `nerf_core.methods.registry.create(name, normalisation, device, seed, settings)`.
    `progress` is the fraction of the training budget that is spent, 0 to 1: schedules depend on it alone, so that a
    budget in seconds and one in steps behave alike.
    """

    name: str
    backend: str  # "cpu" (numba), "reference" (torch on `device`) or "cuda" (Triton)
    normalisation: Normalisation
    over_black = False
    """Whether its colour is grey as seen over black, not light behind which something else may shine: then that, not
    the straight colour, is what a picture's encoding is of."""

    @property
    def unbounded(self) -> bool:
        """Whether there is something to see outside the box of `normalisation`."""
        return False

    @classmethod
    def is_unbounded(cls, settings: Mapping[str, Any] | None, has_alpha: bool) -> bool:
        """Whether a field with these settings, trained on images with or without alpha, goes on outside its box."""
        return False

    @classmethod
    def takes_depth(cls, settings: Mapping[str, Any] | None, device: str) -> bool:
        """Whether a method with these settings trains on depth, so that it is worth reading."""
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should be told of how this training goes, once it is warmed up: sentences."""
        return ()

    def load_facts(self, dataset: "Dataset") -> None:  # noqa: B027 - most need only images
        """Take what the data set says beside its images; call before :meth:`load_views`.

        Raises
        ------
        DataError
            When the method cannot learn from such a data set.
        """

    @abstractmethod
    def load_views(self, views: Views) -> None:
        """Take the training images; call once before the first step."""

    @abstractmethod
    def train_step(self, progress: float) -> StepStats:
        """One optimisation step over a batch of random training pixels (occupancy is kept up inside)."""

    def prepare(  # noqa: B027 - most need nothing
        self, sampler: SamplerChoice | None = None, on_progress: Callable[[float], None] | None = None
    ) -> None:
        """Make what a sampler needs to look at the field as it is now: a grid of its densities.

        Whoever looks along many rays calls it first, because this may take minutes of a large network, and looking
        would do it unasked. `on_progress` is told, now and then, what part is made, and may raise `Cancelled`.

        Raises
        ------
        NerfError
            When the field cannot be sampled so.
        """

    @abstractmethod
    def render_rays(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
    ) -> RayColors:
        """Colour and depth of (N, 3) world rays with unit directions, float32.

        `limits` (N, 2), if given, are the distances from and to which each ray is looked along, world units. `sampler`
        places the samples; by default the one that the field was trained with. `true_depth` (N,), world units and 0
        where unknown, is for the oracle alone.

        Raises
        ------
        NerfError
            When the field cannot be sampled so.
        """

    def render_pixels(
        self,
        camera: Camera,
        first: int,
        count: int,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
        into: RayArrays | None = None,
    ) -> RayColors:
        """Colour and depth of `count` of a camera's pixels from number `first` on, row by row; rays through centres.

        `into`, zeros of a picture, may be filled instead of new arrays; then it is what the result holds.
        """
        y, x = np.divmod(np.arange(first, first + count), camera.width)
        origins, directions = camera.rays(np.stack([x, y], axis=-1) + 0.5)
        return self.render_rays(origins.astype(np.float32), directions.astype(np.float32), None, sampler, true_depth)

    @abstractmethod
    def trace_rays(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
    ) -> Trace:
        """Every sample along (N, 3) world rays; `true_depth` (N,), world units and 0 where unknown, for the oracle."""

    @property
    def trained_sampler(self) -> SamplerChoice:
        """What places the samples where nothing else is asked for."""
        raise NotImplementedError

    @property
    def full_sampling(self) -> SamplerChoice:
        """The sampler that shows most of what the field holds: what others are measured against."""
        return self.trained_sampler

    @abstractmethod
    def query_density(self, points: np.ndarray) -> np.ndarray:
        """(N,) float32 density per world unit at (N, 3) world points; 0 outside the box."""

    def faintest_density(self) -> float:
        """Density per world unit under which rendering passes a place over; 0 where nothing is passed over."""
        return 0.0

    @abstractmethod
    def query_color(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N, 3) float32 straight colour at world points seen along unit directions."""

    @abstractmethod
    def state(self) -> MethodState:
        """Everything needed to continue, as copies that later steps do not change."""

    @classmethod  # noqa: B027 - a method may have nothing to check so early
    def check_state(cls, settings: Mapping[str, Any], device: str, state: MethodState) -> None:
        """Raise a `CheckpointError` where `state` does not hold what a method built with `settings` would need.

        Asked before the method is built: a checkpoint's few words of metadata may ask for gigabytes that it does not
        hold. A method that only makes its arrays in :meth:`load_state` checks them there.
        """

    @abstractmethod
    def load_state(self, state: MethodState) -> None:
        """Take over what :meth:`state` gave; raises `CheckpointError` where arrays do not fit."""

    def drop_views(self) -> None:  # noqa: B027 - a method may have nothing to let go of
        """Let go of the training images and of what only training needs: the method is looked at from now on."""

    def warm_up(  # noqa: B027 - most have no kernels
        self, should_stop: Callable[[], bool] | None = None, everything: bool = False
    ) -> None:
        """Compile whatever the first step and render would compile.

        With `everything`, also what only some samplers need. `should_stop` is asked between kernels; `Cancelled` is
        raised when it says so.
        """
