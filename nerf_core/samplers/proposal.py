"""Proposal sampling: small density networks say where the light is stopped, and learn it from the field's own weights.

Source: Barron et al. 2022, "Mip-NeRF 360: Unbounded Anti-Aliased Neural Radiance Fields", section 3.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..fields.proposal import ProposalField
from .base import COARSE, FINE, Bins, Cost, Evaluation, Field, Sampler, Samples, StageLoss
from .evaluation import weigh
from .hierarchical import intervals
from .pdf import invert_cdf
from .spacing import Linear, Spacing, even_edges

ANNEAL_STEPS = 1000
"""Steps over which proposals are taken at less than their word, so that samples still look around."""
ANNEAL_SLOPE = 10.0
PADDING = 0.01
"""Light that is drawn evenly beside what the proposals say."""


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
    """

    def __init__(
        self,
        networks: Sequence[ProposalField],
        counts: Sequence[int],
        generator: torch.Generator | None = None,
        spacing: Spacing | None = None,
    ) -> None:
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
        for number, network in enumerate(self.networks):
            stage = Samples(t, t0, t1, stage=COARSE)
            positions = stage.positions(origins, directions)
            found = weigh(stage, network.query_density(positions), positions[..., :0])
            stages.append((stage, found))
            mass = found.weights.detach() ** sharpness + PADDING / t.shape[1]
            whole = torch.cat([t0, t1[:, -1:]], dim=-1)
            last = number + 1 == len(self.networks)
            count = budget if last else self.counts[number + 1]
            place = _placing(whole, mass)
            t, t0, t1 = intervals(place, rows, count, t, training, self.generator)
            bins = Bins(whole, mass)
        return Samples(t, t0, t1, stage=FINE, stages=tuple(stages), bins=bins, cost=self.cost())

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
