"""The oracle: samples in a narrow band about the true depth, which is given. An upper bound, never a method."""

import torch
from torch import Tensor

from .base import Sampler, Samples
from .spacing import Linear, Spacing, even_edges


class Oracle(Sampler):
    """Even samples about each ray's true depth, and along the whole ray where none is known.

    Parameters
    ----------
    band : float
        How far before and behind the true depth samples may lie, in the rays' unit of length.
    generator : torch.Generator, optional
    spacing : Spacing, optional
        Of the samples of rays whose depth is not known.
    """

    def __init__(self, band: float, generator: torch.Generator | None = None, spacing: Spacing | None = None) -> None:
        self.band, self.generator, self.spacing = band, generator, spacing or Linear()

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
        """See `Sampler.sample`; without any `depth`, every ray counts as unknown."""
        edges = even_edges(t_near, t_far, budget, self.spacing)
        if depth is not None:
            low = torch.minimum(torch.maximum(depth - self.band, t_near), t_far)
            high = torch.maximum(torch.minimum(depth + self.band, t_far), low)
            known = ((depth > 0) & (high > low))[:, None]
            edges = torch.where(known, even_edges(low, high, budget, Linear()), edges)
        if training:
            shape = (len(edges), budget)
            offset = torch.rand(shape, generator=self.generator, device=edges.device, dtype=edges.dtype)
        else:
            offset = torch.full_like(edges[:, 1:], 0.5)
        t0, t1 = edges[:, :-1], edges[:, 1:]
        return Samples(t0 + (t1 - t0) * offset, t0, t1)
