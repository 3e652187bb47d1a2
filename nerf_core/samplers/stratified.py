"""Stratified sampling: one sample in each of S equal pieces of the ray.

Source: Mildenhall et al. 2020, eq. 2; the intervals are those of eq. 3, from a sample to the next.
"""

import torch
from torch import Tensor

from .base import Bins, Sampler, Samples


class Stratified(Sampler):
    """Uniform along the ray, each sample at a random place of its piece (in its middle when not training).

    Parameters
    ----------
    generator : torch.Generator, optional
        On the rays' device.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def sample(
        self, origins: Tensor, directions: Tensor, t_near: Tensor, t_far: Tensor, budget: int, training: bool
    ) -> Samples:
        """See `Sampler.sample`."""
        shape = (len(origins), budget)
        if training:
            offset = torch.rand(shape, generator=self.generator, device=t_near.device, dtype=t_near.dtype)
        else:
            offset = torch.full(shape, 0.5, device=t_near.device, dtype=t_near.dtype)
        fraction = (torch.arange(budget, device=t_near.device, dtype=t_near.dtype) + offset) / budget
        length = (t_far - t_near)[:, None]
        t = t_near[:, None] + length * fraction
        edges = torch.linspace(0.0, 1.0, budget + 1, device=t_near.device, dtype=t_near.dtype)
        return Samples(t, t, next_t(t, t_far), bins=Bins(t_near[:, None] + length * edges, torch.ones_like(t)))


def next_t(t: Tensor, t_far: Tensor) -> Tensor:
    """(R, S): where each sample's interval ends, at the next sample and at last at `t_far` (R,).

    The authors' code gives the last interval no end, which makes the box's far side opaque as soon as there is any
    density; ending it with the box keeps empty pixels transparent.
    """
    return torch.cat([t[:, 1:], torch.maximum(t_far, t[:, -1])[:, None]], dim=-1)
