"""The interface of samplers: where along a ray a field is evaluated, and what choosing that costs.

A sampler works in the space its caller gives it rays in (a method's own, normalised one). Rows are rays and columns
are samples, in the order of t; a sampler that needs fewer on some rays gives the rest an interval of length zero, which
contributes nothing to any sum.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

COARSE, FINE = 0, 1


class Field(Protocol):
    """What samplers look at: density and colour, or density alone where that is enough."""

    def __call__(self, positions: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """(R, S, 3) positions and (R, 3) unit directions to (R, S) density and (R, S, 3) straight colour."""
        ...

    def query_density(self, positions: Tensor) -> Tensor:
        """(..., 3) positions to (...) density."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What a field gave at some samples.

    Attributes
    ----------
    density : (R, S) tensor
    color : (R, S, 3) tensor
        (R, S, 0) where only density was asked for.
    weights, transmittance : (R, S) tensors
        See `rendering.volume.render_weights`.
    optical_depth : (R, S) tensor
        Of each sample's interval, as compositing used it.
    """

    density: Tensor
    color: Tensor
    weights: Tensor
    transmittance: Tensor
    optical_depth: Tensor

    @property
    def has_color(self) -> bool:
        """Whether colours were asked for."""
        return self.color.shape[-1] > 0


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
class Skipped:
    """Stretches of R rays that hold nothing and were passed over.

    Attributes
    ----------
    t0, t1 : (R, K) tensors
        In order; one of length zero is none.
    """

    t0: Tensor
    t1: Tensor


@dataclass(frozen=True)
class Cost:
    """Evaluations a ray that placing samples takes, beside those of the samples themselves.

    Attributes
    ----------
    full : int
        Density and colour.
    density_only : int or (R,) tensor
        Density alone.
    proposal : int
        Anything smaller: a proposal network, a look-up in a grid.
    """

    full: int = 0
    density_only: int | Tensor = 0
    proposal: int = 0


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
        Optical depth of an interval, where the sampler already knows it better than one density would tell:
        compositing takes it instead of density times length.
    stages : sequence of (Samples, Evaluation)
        What was evaluated on the way to these samples, first stage first; empty for a sampler that looks at no field.
    valid : (R, S) bool tensor, optional
        Samples to be evaluated; the others only fill their rows up. None: all.
    bins : Bins, optional
        What placed these samples, for the inspector.
    skipped : Skipped, optional
    cost : Cost
        What placing them took.
    """

    t: Tensor
    t0: Tensor
    t1: Tensor
    stage: int = COARSE
    optical_depth_hint: Tensor | None = None
    stages: tuple[tuple["Samples", Evaluation], ...] = field(default=())
    valid: Tensor | None = None
    bins: Bins | None = None
    skipped: Skipped | None = None
    cost: Cost = field(default_factory=Cost)

    @property
    def dt(self) -> Tensor:
        """(R, S) lengths of the intervals."""
        return self.t1 - self.t0

    @property
    def counts(self) -> Tensor:
        """(R,) samples that are evaluated."""
        if self.valid is None:
            return torch.full_like(self.t[:, 0], self.t.shape[1], dtype=torch.int64)
        return self.valid.sum(dim=-1)

    def positions(self, origins: Tensor, directions: Tensor) -> Tensor:
        """(R, S, 3) where the samples lie on (R, 3) rays."""
        return origins[:, None, :] + directions[:, None, :] * self.t[..., None]


#: A method's loss of one stage.
StageLoss = Callable[[Samples, Evaluation], Tensor]


class Sampler(ABC):
    """Chooses samples along rays.

    Attributes
    ----------
    opacity : {'constant', 'linear'}
        How density goes on between samples; see `evaluation.optical_depth`.
    """

    opacity = "constant"

    @abstractmethod
    def sample(
        self,
        origins: Tensor,
        directions: Tensor,
        t_near: Tensor,
        t_far: Tensor,
        budget: int,
        training: bool,
        depth: Tensor | None = None,
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
        depth : (R,) tensor, optional
            True t of the first surface, 0 where it is not known; for the oracle alone.
        """

    def update(self, step: int, field: Field) -> None:  # noqa: B027 - most samplers learn nothing
        """Look at the field after a training step (grids, schedules)."""

    def update_to(self, step: int) -> None:  # noqa: B027 - most keep no count
        """Go on as after training step `step`, with what :meth:`buffers` and :meth:`parameters` were given."""

    def losses(self, samples: Samples, evaluation: Evaluation, target: StageLoss) -> list[Tensor]:
        """Losses of the sampler's own stages, to be added to the last stage's.

        Parameters
        ----------
        samples : Samples
            What :meth:`sample` returned with ``training=True``.
        evaluation : Evaluation
            Of these, the last stage's.
        target : callable
            The method's loss of one stage.
        """
        return [target(stage, found) for stage, found in samples.stages]

    def cost(self) -> Cost:
        """What choosing costs a ray, at most."""
        return Cost()

    def trace(
        self,
        origins: Tensor,
        directions: Tensor,
        t_near: Tensor,
        t_far: Tensor,
        budget: int,
        depth: Tensor | None = None,
    ) -> list[tuple[Samples, Evaluation | None]]:
        """Every stage, first to last, for the inspector; the last one is still to be evaluated (None)."""
        samples = self.sample(origins, directions, t_near, t_far, budget, False, depth)
        return [*samples.stages, (samples, None)]

    # What a checkpoint holds of it

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """What an optimiser has to train, by name: proposal networks."""
        return {}

    def buffers(self) -> Mapping[str, Tensor]:
        """What :meth:`update` keeps, by name: grids. A checkpoint fills them in place and calls :meth:`refresh`."""
        return {}

    def refresh(self) -> None:  # noqa: B027 - most keep nothing
        """Take notice that :meth:`buffers` were filled."""
