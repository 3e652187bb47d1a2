"""Hierarchical sampling: fine samples drawn from the piecewise-constant PDF of a coarse field's weights.

Source: Mildenhall et al. 2020, section 5.2.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..rendering.volume import render_weights
from .base import FINE, Bins, Cost, Evaluation, FieldFunction, Sampler, Samples
from .stratified import Stratified, next_t

PDF_FLOOR = 1e-5
"""A little everywhere: the PDF of an empty ray is even over its bins, that of any other hardly changes."""


def sample_pdf(
    edges: Tensor, weights: Tensor, count: int, deterministic: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Draw from piecewise-constant densities by inverting their CDFs.

    Parameters
    ----------
    edges : (R, B + 1) tensor
        Ascending edges of the bins.
    weights : (R, B) tensor
        Not negative; need not sum to 1. A row of zeros is sampled uniformly.
    count : int
        Samples a row.
    deterministic : bool
        Take `count` evenly spaced quantiles instead of random ones.
    generator : torch.Generator, optional

    Returns
    -------
    (R, count) tensor
        Ascending when `deterministic`; else in random order.
    """
    weights = weights + PDF_FLOOR
    pdf = weights / weights.sum(dim=-1, keepdim=True)
    cdf = torch.cumsum(pdf, dim=-1)
    cdf = torch.cat([torch.zeros_like(cdf[:, :1]), cdf / cdf[:, -1:]], dim=-1)
    shape = (len(weights), count)
    if deterministic:
        steps = (torch.arange(count, device=cdf.device, dtype=cdf.dtype) + 0.5) / count
        u = steps.expand(shape).contiguous()
    else:
        u = torch.rand(shape, generator=generator, device=cdf.device, dtype=cdf.dtype)
    above = torch.searchsorted(cdf, u, right=True).clamp(1, cdf.shape[-1] - 1)
    below = above - 1
    cdf_below, cdf_above = cdf.gather(-1, below), cdf.gather(-1, above)
    edge_below, edge_above = edges.gather(-1, below), edges.gather(-1, above)
    fraction = ((u - cdf_below) / (cdf_above - cdf_below).clamp_min(1e-8)).clamp(0.0, 1.0)
    return edge_below + fraction * (edge_above - edge_below)


class Hierarchical(Sampler):
    """Stratified coarse samples, then fine ones where the coarse field puts its weight; the union is returned.

    Parameters
    ----------
    coarse_field : callable
        The coarse network, in the rays' space.
    coarse_samples : int
        A ray (published: 64).
    generator : torch.Generator, optional
        On the rays' device.
    """

    def __init__(
        self, coarse_field: FieldFunction, coarse_samples: int, generator: torch.Generator | None = None
    ) -> None:
        self.coarse_field = coarse_field
        self.coarse_samples = coarse_samples
        self.generator = generator
        self.coarse: Sampler = Stratified(generator)

    def sample(
        self, origins: Tensor, directions: Tensor, t_near: Tensor, t_far: Tensor, budget: int, training: bool
    ) -> Samples:
        """See `Sampler.sample`; `budget` fine samples join the coarse ones."""
        coarse = self.coarse.sample(origins, directions, t_near, t_far, self.coarse_samples, training)
        evaluation = evaluate(self.coarse_field, coarse, origins, directions)
        with torch.no_grad():
            # Bins reach from the middle between two samples to the next; the outermost weights have no such bin.
            middles = 0.5 * (coarse.t[:, 1:] + coarse.t[:, :-1])
            weights = evaluation.weights.detach()[:, 1:-1]
            fine = sample_pdf(middles, weights, budget, not training, self.generator)
            t = torch.sort(torch.cat([coarse.t, fine], dim=-1), dim=-1).values
        bins = Bins(middles, weights + PDF_FLOOR)
        return Samples(t, t, next_t(t, t_far), stage=FINE, stages=((coarse, evaluation),), bins=bins)

    def cost(self) -> Cost:
        """The coarse network's evaluations."""
        return Cost(full=self.coarse_samples)


def evaluate(
    field: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], samples: Samples, origins: Tensor, directions: Tensor
) -> Evaluation:
    """Ask a field at samples along (R, 3) rays, and weigh what it gives."""
    density, color = field(samples.positions(origins, directions), directions)
    weights, transmittance = render_weights(density, samples.dt)
    return Evaluation(density, color, weights, transmittance)
