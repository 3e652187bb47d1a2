"""What "evenly along a ray" means: in distance within a box, in proportion to the distance in an unbounded scene."""

from typing import Protocol

import torch
from torch import Tensor

from .lattice import Lattice


class Spacing(Protocol):
    """A monotonic map between distances along a ray and a parameter that samples are spread evenly over."""

    def to_s(self, t: Tensor) -> Tensor:
        """Parameters of distances."""
        ...

    def to_t(self, s: Tensor) -> Tensor:
        """Distances of parameters."""
        ...


class Linear:
    """Even in distance."""

    def to_s(self, t: Tensor) -> Tensor:
        """See `Spacing`."""
        return t

    def to_t(self, s: Tensor) -> Tensor:
        """See `Spacing`."""
        return s


class Growing:
    """As the lattice of an unbounded scene lies: evenly at first, then in proportion to the distance.

    Parameters
    ----------
    lattice : Lattice
    """

    def __init__(self, lattice: Lattice) -> None:
        self.lattice = lattice

    def to_s(self, t: Tensor) -> Tensor:
        """See `Spacing`."""
        its = self.lattice
        grown = its.turn_index + torch.log(t.clamp_min(its.turn) / its.turn) / its.growth
        return torch.where(t < its.turn, (t - its.near) / its.step, grown)

    def to_t(self, s: Tensor) -> Tensor:
        """See `Spacing`."""
        return self.lattice.distance(s)


def even_places(
    t_near: Tensor,
    t_far: Tensor,
    count: int,
    spacing: Spacing,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """(R, count) one place in each of `count` equal pieces: its middle, or a random one when training."""
    shape = (len(t_near), count)
    if training:
        offset = torch.rand(shape, generator=generator, device=t_near.device, dtype=t_near.dtype)
    else:
        offset = torch.full(shape, 0.5, device=t_near.device, dtype=t_near.dtype)
    fraction = (torch.arange(count, device=t_near.device, dtype=t_near.dtype) + offset) / count
    near, far = spacing.to_s(t_near)[:, None], spacing.to_s(t_far)[:, None]
    return spacing.to_t(near + (far - near) * fraction)


def even_edges(t_near: Tensor, t_far: Tensor, count: int, spacing: Spacing) -> Tensor:
    """(R, count + 1) edges of `count` equal pieces."""
    fraction = torch.linspace(0.0, 1.0, count + 1, device=t_near.device, dtype=t_near.dtype)
    near, far = spacing.to_s(t_near)[:, None], spacing.to_s(t_far)[:, None]
    return spacing.to_t(near + (far - near) * fraction)
