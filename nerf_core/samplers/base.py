"""The interface of samplers: where along a ray a field is evaluated, and what choosing that costs.

A sampler works in the space its caller gives it rays in (a method's own, normalised one). Rows are rays and columns
are samples, in the order of t; a sampler that needs fewer on some rays gives the rest an interval of length zero, which
contributes nothing to any sum.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

#: (R, S, 3) positions and (R, 3) unit directions to (R, S) density and (R, S, 3) straight colour.
FieldFunction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

COARSE, FINE = 0, 1


@dataclass(frozen=True)
class Evaluation:
    """What a field gave at some samples.

    Attributes
    ----------
    density : (R, S) tensor
    color : (R, S, 3) tensor
    weights, transmittance : (R, S) tensors
        See `rendering.volume.render_weights`.
    """

    density: Tensor
    color: Tensor
    weights: Tensor
    transmittance: Tensor


@dataclass(frozen=True)
class Bins:
    """A piecewise-constant density along R rays, from which samples are drawn.

    Attributes
    ----------
    edges : (R, B + 1) tensor
        Ascending along a row.
    weights : (R, B) tensor
        Each bin's share of the probability; need not sum to 1.
    """

    edges: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Samples:
    """Samples along R rays.

    Attributes
    ----------
    t : (R, S) tensor
        Where the field is evaluated; ascending along a row.
    t0, t1 : (R, S) tensors
        The interval that a sample stands for.
    stage : int
        `COARSE` (or the only one) or `FINE`.
    optical_depth_hint : (R, S) tensor, optional
        Optical depth of an interval, where the sampler already knows it better than one density would tell.
    stages : sequence of (Samples, Evaluation)
        What was evaluated on the way to these samples, first stage first; empty for a sampler that looks at no field.
    bins : Bins, optional
        What placed these samples, for the inspector.
    """

    t: Tensor
    t0: Tensor
    t1: Tensor
    stage: int = COARSE
    optical_depth_hint: Tensor | None = None
    stages: tuple[tuple["Samples", Evaluation], ...] = field(default=())
    bins: Bins | None = None

    @property
    def dt(self) -> Tensor:
        """(R, S) lengths of the intervals."""
        return self.t1 - self.t0

    def positions(self, origins: Tensor, directions: Tensor) -> Tensor:
        """(R, S, 3) where the samples lie on (R, 3) rays."""
        return origins[:, None, :] + directions[:, None, :] * self.t[..., None]


@dataclass(frozen=True)
class Cost:
    """Field evaluations a ray that a sampler makes beside those of the samples that it returns.

    Attributes
    ----------
    full : int
        Density and colour.
    density_only : int
    """

    full: int = 0
    density_only: int = 0


class Sampler(ABC):
    """Chooses samples along rays."""

    @abstractmethod
    def sample(
        self, origins: Tensor, directions: Tensor, t_near: Tensor, t_far: Tensor, budget: int, training: bool
    ) -> Samples:
        """Place samples.

        Parameters
        ----------
        origins, directions : (R, 3) tensors
        t_near, t_far : (R,) tensors
            ``t_near < t_far``: the caller has taken out the rays that miss.
        budget : int
            How many samples a ray the last stage may place.
        training : bool
            Random places, with gradients through what is evaluated on the way; else the same places every time.
        """

    def update(self, step: int, field: FieldFunction) -> None:  # noqa: B027 - most samplers learn nothing
        """Look at the field after a training step (grids, oracles)."""

    def losses(self, samples: Samples, target: Callable[[Samples, Evaluation], Tensor]) -> list[Tensor]:
        """Losses of the sampler's own stages, to be added to the last stage's.

        Parameters
        ----------
        samples : Samples
            What :meth:`sample` returned with ``training=True``.
        target : callable
            The method's loss of one stage.
        """
        return [target(stage, evaluation) for stage, evaluation in samples.stages]

    def cost(self) -> Cost:
        """What choosing costs a ray."""
        return Cost()

    def trace(
        self, origins: Tensor, directions: Tensor, t_near: Tensor, t_far: Tensor, budget: int
    ) -> list[tuple[Samples, Evaluation | None]]:
        """Every stage, first to last, for the inspector; the last one is still to be evaluated (None)."""
        samples = self.sample(origins, directions, t_near, t_far, budget, training=False)
        return [*samples.stages, (samples, None)]
