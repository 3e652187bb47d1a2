"""The oracle: samples in a narrow band about the true depth, which is given. An upper bound, never a method."""

import torch
from torch import Tensor

from ..rendering.volume import weights_of
from .base import Cost, Sampler, Samples
from .occupancy import Occupancy
from .spacing import Linear, Spacing, even_edges


class Oracle(Sampler):
    """Even samples about each ray's true depth.

    Parameters
    ----------
    band : float
        How far before and behind the true depth samples may lie, in the rays' unit of length.
    generator : torch.Generator, optional
    spacing : Spacing, optional
        Of the samples of rays whose depth is not known, where there is no `otherwise`.
    otherwise : Occupancy, optional
        With it, looking asks the field for densities along the whole ray: they say how opaque it is, and the oracle
        only where its colours are. A ray whose depth is not known then has all its samples, whatever the budget is: it
        may be seen through, or miss everything, of which the truth says nothing.
    """

    def __init__(
        self,
        band: float,
        generator: torch.Generator | None = None,
        spacing: Spacing | None = None,
        otherwise: Occupancy | None = None,
    ) -> None:
        self.band, self.generator, self.spacing = band, generator, spacing or Linear()
        self.otherwise = otherwise

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
        known = torch.zeros_like(t_near, dtype=torch.bool)
        if depth is not None:
            low = torch.minimum(torch.maximum(depth - self.band, t_near), t_far)
            high = torch.maximum(torch.minimum(depth + self.band, t_far), low)
            known = (depth > 0) & (high > low)
            edges = torch.where(known[:, None], even_edges(low, high, budget, Linear()), edges)
        if training:
            shape = (len(edges), budget)
            offset = torch.rand(shape, generator=self.generator, device=edges.device, dtype=edges.dtype)
        else:
            offset = torch.full_like(edges[:, 1:], 0.5)
        t0, t1 = edges[:, :-1], edges[:, 1:]
        t = t0 + (t1 - t0) * offset
        if training or self.otherwise is None:
            return Samples(t, t0, t1)
        every, thickness, asked = self.otherwise.look_through(origins, directions, t_near, t_far)
        assert every.valid is not None
        alpha = -torch.expm1(-thickness.sum(dim=-1))
        points = origins[:, None, :] + directions[:, None, :] * t[..., None]
        density = self.otherwise.field.query_density(points.reshape(-1, 3)).reshape(t.shape)
        weights = weights_of(density * (t1 - t0))[0] + 1e-6
        weights = weights * (alpha / weights.sum(dim=-1))[:, None]
        passing = (1.0 - torch.nn.functional.pad(weights.cumsum(dim=-1), (1, 0))).clamp_min(1e-6)
        width = max(budget, every.t.shape[1])

        def either(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(known[:, None], filled_up(mine, width), filled_up(theirs, width))

        return Samples(
            either(t, every.t),
            either(t0, every.t0),
            either(t1, every.t1),
            optical_depth_hint=either(-passing.log().diff(dim=-1), thickness),
            valid=either((weights > 0.0) & (alpha > 0.0)[:, None], every.valid & (thickness > 0.0)),
            cost=Cost(density_only=asked + budget * known),
        )


def filled_up(values: Tensor, width: int) -> Tensor:
    """(R, `width`): rows filled up with zeros, or False."""
    return torch.nn.functional.pad(values, (0, width - values.shape[1]))
