"""Hierarchical sampling: fine samples drawn from where a coarse look along the ray puts its weight.

Source: Mildenhall et al. 2020, section 5.2; see `pdf` for what may be put in place of its piecewise-constant PDF.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .base import FINE, Bins, Cost, Evaluation, Field, Sampler, Samples
from .evaluation import colored, evaluate
from .pdf import (
    EXPONENTIAL_FLOOR,
    FLOOR,
    blurred_maximum,
    exponential_mass,
    invert_cdf,
    linear_opacity_mass,
    sample_exponential,
    sample_linear_opacity,
    sample_pdf,
    unit_draws,
)
from .spacing import Linear, Spacing
from .stratified import Stratified, next_t

__all__ = ["Hierarchical", "evaluate", "sample_pdf"]


class Hierarchical(Sampler):
    """Stratified coarse samples, then fine ones where the coarse field puts its weight.

    Parameters
    ----------
    coarse_field : Field
        In the rays' space: a coarse network of its own, or the field itself.
    coarse_samples : int
        A ray (published: 64).
    generator : torch.Generator, optional
        On the rays' device.
    opacity : {'constant', 'linear'}
        How density goes on between samples, when compositing and when drawing (Uy et al. 2023).
    cdf : {'constant', 'exponential'}
        What weights do between coarse samples, when drawing (Li and Zhang 2024); 'exponential' goes before `opacity`.
    joined : bool
        Whether the last stage looks at the coarse samples once more beside the fine ones, as published; else at the
        fine ones alone, each of which stands for its share of what the coarse look stops, and is asked for its colour.
    shared : bool
        Whether the coarse field is the field itself: then its densities place samples and it has no loss of its own.
    spacing : Spacing, optional
        Of the coarse samples.
    """

    def __init__(
        self,
        coarse_field: Field,
        coarse_samples: int,
        generator: torch.Generator | None = None,
        opacity: str = "constant",
        cdf: str = "constant",
        joined: bool = True,
        shared: bool = False,
        spacing: Spacing | None = None,
    ) -> None:
        self.coarse_field = coarse_field
        self.coarse_samples = coarse_samples
        self.generator = generator
        self.opacity, self.cdf = opacity, cdf
        self.joined, self.shared = joined, shared
        self.spacing = spacing or Linear()
        self.coarse: Sampler = Stratified(generator, spacing)

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
        """See `Sampler.sample`; `budget` fine samples, which join the coarse ones where `joined`."""
        coarse = self.coarse.sample(origins, directions, t_near, t_far, self.coarse_samples, training)
        # Colours of the coarse network are only needed for its own loss.
        learns = training and not self.shared
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            found = evaluate(self.coarse_field, coarse, origins, directions, self.opacity, with_color=learns)
        hint = valid = None
        with torch.no_grad():
            place, bins = self._placing(coarse, found, t_near, t_far)
            if self.joined:
                fine = place(unit_draws(len(origins), budget, coarse.t, not training, self.generator))
                t = torch.sort(torch.cat([coarse.t, fine], dim=-1), dim=-1).values
                t0, t1 = t, next_t(t, t_far)
            else:
                t, t0, t1 = intervals(place, len(origins), budget, coarse.t, training, self.generator)
                hint = shares(found.weights.sum(dim=-1), budget)
                valid = (hint[:, :1] > FAINTEST).expand(t.shape)
                hint = hint * valid
        cost = Cost(full=self.coarse_samples) if learns else Cost(density_only=self.coarse_samples)
        return Samples(t, t0, t1, FINE, hint, ((coarse, found),), valid, bins, cost=cost)

    def _placing(
        self, coarse: Samples, found: Evaluation, t_near: Tensor, t_far: Tensor
    ) -> tuple[Callable[[Tensor], Tensor], Bins]:
        """What takes shares of the light to places, and the histogram that it goes by."""
        t, density, weights = coarse.t, found.density.detach(), found.weights.detach()
        if self.cdf == "exponential":
            # Weights are those of the coarse samples' intervals, which are alike in the spacing's measure alone.
            knots, s = blurred_maximum(weights) + EXPONENTIAL_FLOOR, self.spacing.to_s(t)
            mass = exponential_mass(s, knots)
            return lambda u: self.spacing.to_t(sample_exponential(s, knots, u)), Bins(t, mass)
        if self.opacity == "linear":
            edges = torch.cat([t, torch.maximum(t_far, t[:, -1])[:, None]], dim=-1)
            return lambda u: sample_linear_opacity(t, density, t_far, u), Bins(
                edges, linear_opacity_mass(t, density, t_far)
            )
        if self.joined:
            # Bins reach from the middle between two samples to the next; the outermost weights have no such bin.
            edges, mass = 0.5 * (t[:, 1:] + t[:, :-1]), weights[:, 1:-1] + FLOOR
        else:  # nothing else looks at the ray's ends
            edges = torch.cat([t_near[:, None], 0.5 * (t[:, 1:] + t[:, :-1]), t_far[:, None]], dim=-1)
            mass = weights + FLOOR
        return lambda u: invert_cdf(edges, mass, u), Bins(edges, mass)

    def losses(
        self, samples: Samples, evaluation: Evaluation, target: Callable[[Samples, Evaluation], Tensor]
    ) -> list[Tensor]:
        """See `Sampler.losses`; a coarse network learns by the same loss as the last one."""
        return [] if self.shared else super().losses(samples, evaluation, target)

    def cost(self) -> Cost:
        """The coarse densities."""
        return Cost(density_only=self.coarse_samples)

    def trace(
        self,
        origins: Tensor,
        directions: Tensor,
        t_near: Tensor,
        t_far: Tensor,
        budget: int,
        depth: Tensor | None = None,
    ) -> list[tuple[Samples, Evaluation | None]]:
        """See `Sampler.trace`; the coarse samples come with colours, which rendering does without."""
        samples = self.sample(origins, directions, t_near, t_far, budget, training=False)
        ((coarse, found),) = samples.stages
        return [(coarse, colored(self.coarse_field, coarse, found, origins, directions)), (samples, None)]


FAINTEST = 1e-4
"""Optical depth of a share below which a ray is not coloured."""


def shares(alpha: Tensor, count: int) -> Tensor:
    """(R, count) optical depths of stretches that each stop the same share of what a ray stops, `alpha` (R,) in all."""
    steps = torch.arange(count + 1, device=alpha.device, dtype=alpha.dtype) / count
    passing = torch.log1p(-(alpha[:, None] * steps).clamp_max(1.0 - 1e-6))
    return passing[:, :-1] - passing[:, 1:]


def intervals(
    place: Callable[[Tensor], Tensor],
    rows: int,
    count: int,
    like: Tensor,
    training: bool,
    generator: torch.Generator | None = None,
    tail: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Samples that share what they are drawn from evenly: t, t0 and t1, (rows, count) each.

    A sample stands for the stretch that holds one `count`-th of the light, and lies at the middle of that light (or at
    a random place of it when training). Without `tail`, the first stretch begins where the ray does, through all that
    is empty before the light is met; with it, so much of the light lies before the first stretch and behind the last.
    """
    steps = torch.arange(count + 1, device=like.device, dtype=like.dtype)
    if training:
        offset = torch.rand((rows, count), generator=generator, device=like.device, dtype=like.dtype)
    else:
        offset = torch.full((rows, count), 0.5, device=like.device, dtype=like.dtype)
    ends = (steps / count).clamp(tail, 1.0 - tail)
    u = torch.cat([ends.expand(rows, count + 1), (steps[:-1] + offset) / count], dim=-1)
    t = place(u)
    edges, middle = t[:, : count + 1], t[:, count + 1 :]
    return torch.minimum(torch.maximum(middle, edges[:, :-1]), edges[:, 1:]), edges[:, :-1], edges[:, 1:]
