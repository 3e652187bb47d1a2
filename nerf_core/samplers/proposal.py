"""Proposal sampling: small density networks say where the light is stopped, and learn it from the field's own weights.

Source: Barron et al. 2022, "Mip-NeRF 360: Unbounded Anti-Aliased Neural Radiance Fields", section 3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..fields.proposal import ProposalField
from .base import COARSE, FINE, Bins, Cost, Evaluation, Field, Sampler, Samples, StageLoss
from .evaluation import weigh
from .hierarchical import FAINTEST, intervals, shares
from .pdf import FLOOR, invert_cdf
from .spacing import Linear, Spacing, even_edges

ANNEAL_STEPS = 1000
"""Steps over which proposals are taken at less than their word, so that samples still look around."""
ANNEAL_SLOPE = 10.0
PADDING = 0.01
"""Light that is drawn evenly, where there may be something, beside what the proposals say while they learn."""
DENSITIES = 32
"""Samples of a whole look."""
TAIL = 1e-3
"""Light that is left out at either end of a ray, so that no stretch reaches through the emptiness before a surface."""


class Proposal(Sampler):
    """One or two rounds of proposal networks, then samples at the quantiles of the last one's weights.

    Parameters
    ----------
    networks : sequence of ProposalField
        One a round, the coarsest first.
    counts : sequence of int
        Samples of each round.
    generator : torch.Generator, optional
    spacing : Spacing, optional
        Of the first round's samples.
    field : Field, optional
        Whose density is asked at `DENSITIES` places when fewer samples than that are wanted of a ray, which are then
        asked for their colour, each for its share of the light. Without it, they are asked for both.
    """

    def __init__(
        self,
        networks: Sequence[ProposalField],
        counts: Sequence[int],
        generator: torch.Generator | None = None,
        spacing: Spacing | None = None,
        field: Field | None = None,
    ) -> None:
        self.field = field
        self.networks, self.counts = list(networks), list(counts)
        self.generator, self.spacing = generator, spacing or Linear()
        self.step = 0

    def update(self, step: int, field: Field) -> None:
        """See `Sampler.update`: keeps count."""
        self.step = step

    def update_to(self, step: int) -> None:
        """See `Sampler.update_to`."""
        self.step = step

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
        """See `Sampler.sample`."""
        rows = len(origins)
        edges = even_edges(t_near, t_far, self.counts[0], self.spacing)
        t0, t1 = edges[:, :-1], edges[:, 1:]
        t = self._within(t0, t1, training)
        stages: list[tuple[Samples, Evaluation]] = []
        sharpness = annealing(self.step) if training else 1.0
        bins = None
        reach = t1 - t0
        for number, network in enumerate(self.networks):
            stage = Samples(t, t0, t0 + reach, stage=COARSE)
            positions = stage.positions(origins, directions)
            found = weigh(stage, network.query_density(positions), positions[..., :0])
            stages.append((stage, found))
            there = found.density.detach() > 0
            padding = PADDING / t.shape[1] if training else 0.0
            mass = (found.weights.detach() ** sharpness + padding) * there + FLOOR
            whole = torch.cat([t0, t1[:, -1:]], dim=-1)
            last = number + 1 == len(self.networks)
            few = last and not training and self.field is not None
            count = (max(budget, DENSITIES) if few else budget) if last else self.counts[number + 1]
            place = _placing(whole, mass)
            t, t0, t1 = intervals(place, rows, count, t, training, self.generator, TAIL)
            bins = Bins(whole, mass)
            reach = length_within(whole, there, t0, t1)
        if training or self.field is None or budget >= DENSITIES:
            return Samples(t, t0, t0 + reach, FINE, stages=tuple(stages), bins=bins, cost=self.cost())
        # Too few to compose a ray of: first the field's densities, at as many places as a whole look takes.
        stage = Samples(t, t0, t0 + reach, stage=COARSE)
        positions = stage.positions(origins, directions)
        found = weigh(stage, self.field.query_density(positions), positions[..., :0])
        stages.append((stage, found))
        whole, mass = torch.cat([t0, t1[:, -1:]], dim=-1), found.weights + FLOOR
        t, t0, t1 = intervals(_placing(whole, mass), rows, budget, t, training, self.generator, TAIL)
        hint = shares(found.weights.sum(dim=-1), budget)
        valid = (hint[:, :1] > FAINTEST).expand(t.shape)
        bins, cost = Bins(whole, mass), replace(self.cost(), density_only=DENSITIES)
        return Samples(t, t0, t1, FINE, hint * valid, tuple(stages), valid, bins, cost=cost)

    def _within(self, t0: Tensor, t1: Tensor, training: bool) -> Tensor:
        if not training:
            return 0.5 * (t0 + t1)
        offset = torch.rand(t0.shape, generator=self.generator, device=t0.device, dtype=t0.dtype)
        return t0 + (t1 - t0) * offset

    def losses(self, samples: Samples, evaluation: Evaluation, target: StageLoss) -> list[Tensor]:
        """See `Sampler.losses`; proposals learn from the field's weights alone, never from colours."""
        last = torch.cat([samples.t0, samples.t1[:, -1:]], dim=-1)
        return [
            interlevel_loss(
                torch.cat([stage.t0, stage.t1[:, -1:]], dim=-1), found.weights, last, evaluation.weights.detach()
            ).mean()
            for stage, found in samples.stages
        ]

    def cost(self) -> Cost:
        """The networks' evaluations."""
        return Cost(proposal=sum(self.counts))

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """See `Sampler.parameters`."""
        return {
            f"{number}.{name}": parameter
            for number, network in enumerate(self.networks)
            for name, parameter in network.named_parameters()
        }


def _placing(edges: Tensor, mass: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda u: invert_cdf(edges, mass, u)


def length_within(edges: Tensor, there: Tensor, t0: Tensor, t1: Tensor) -> Tensor:
    """How much of stretches lies in the bins where there is something: one may reach over a gap, which stops nothing.

    Parameters
    ----------
    edges : (R, B + 1) tensor
    there : (R, B) bool tensor
    t0, t1 : (R, S) tensors

    Returns
    -------
    (R, S) tensor
        Lengths from 0 to t1 - t0.
    """
    before = torch.cumsum(edges.diff(dim=-1) * there, dim=-1)
    before = torch.cat([torch.zeros_like(before[:, :1]), before], dim=-1)

    def up_to(t: Tensor) -> Tensor:
        below = (torch.searchsorted(edges.contiguous(), t.contiguous(), right=True) - 1).clamp(0, there.shape[1] - 1)
        return before.gather(-1, below) + (t - edges.gather(-1, below)) * there.gather(-1, below)

    return torch.minimum((up_to(t1) - up_to(t0)).clamp_min(0.0), t1 - t0)


def annealing(step: int) -> float:
    """The power that proposals' weights are raised to at a training step: Schlick's bias, from 0 to 1; section 3.2."""
    done = min(max(step, 0) / ANNEAL_STEPS, 1.0)
    return ANNEAL_SLOPE * done / ((ANNEAL_SLOPE - 1.0) * done + 1.0)


def interlevel_loss(edges: Tensor, proposed: Tensor, last_edges: Tensor, weights: Tensor) -> Tensor:
    """How much of the last stage's weights the proposals leave uncovered; equations 12 and 13.

    Parameters
    ----------
    edges : (R, B + 1) tensor
        Of the proposals' histogram.
    proposed : (R, B) tensor
        Its weights: gradients go here.
    last_edges : (R, S + 1) tensor
    weights : (R, S) tensor
        The last stage's, without gradients.

    Returns
    -------
    (R,) tensor
    """
    total = torch.cat([torch.zeros_like(proposed[:, :1]), torch.cumsum(proposed, dim=-1)], dim=-1)
    size = proposed.shape[1]
    # The proposals that an interval meets: from the one that its start lies in to the one that its end lies in.
    first = (torch.searchsorted(edges.contiguous(), last_edges[:, :-1].contiguous(), right=True) - 1).clamp(0, size - 1)
    stop = torch.searchsorted(edges.contiguous(), last_edges[:, 1:].contiguous()).clamp(1, size)
    bound = total.gather(-1, torch.maximum(stop, first + 1)) - total.gather(-1, first)
    short = (weights - bound).clamp_min(0.0)
    return (short * short / (weights + 1e-7)).sum(dim=-1)
