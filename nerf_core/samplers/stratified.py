"""Stratified sampling: one sample in each of S equal pieces of the ray.

Source: Mildenhall et al. 2020, eq. 2; the intervals are those of eq. 3, from a sample to the next.
"""

import torch
from torch import Tensor

from .base import Bins, Sampler, Samples
from .spacing import Linear, Spacing, even_edges, even_places


class Stratified(Sampler):
    """Uniform along the ray, each sample at a random place of its piece (in its middle when not training).

    Parameters
    ----------
    generator : torch.Generator, optional
        On the rays' device.
    spacing : Spacing, optional
        What is even; distance by default.
    opacity : {'constant', 'linear'}
    """

    def __init__(
        self, generator: torch.Generator | None = None, spacing: Spacing | None = None, opacity: str = "constant"
    ) -> None:
        self.generator = generator
        self.spacing = spacing or Linear()
        self.opacity = opacity

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
        t = even_places(t_near, t_far, budget, self.spacing, training, self.generator)
        edges = even_edges(t_near, t_far, budget, self.spacing)
        return Samples(t, t, next_t(t, t_far), bins=Bins(edges, torch.ones_like(t)))


def next_t(t: Tensor, t_far: Tensor) -> Tensor:
    """(R, S): where each sample's interval ends, at the next sample and at last at `t_far` (R,).

    The authors' code gives the last interval no end, which makes the box's far side opaque as soon as there is any
    density; ending it with the box keeps empty pixels transparent.
    """
    return torch.cat([t[:, 1:], torch.maximum(t_far, t[:, -1])[:, None]], dim=-1)
