"""Where an unbounded scene's rays are looked at: evenly spaced at first, then in proportion to the distance.

The samples of a ray are t(u) for u = jitter, 1 + jitter, 2 + jitter, ...; every backend places them so:

    t(u) = near + u step                   where u < u0,
           t0 exp(growth (u - u0))         from there on,

with t0 = max(near, step / growth), where the two spacings meet, and u0 = (t0 - near) / step. A sample stands for an
interval of length max(step, growth t).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..fields.contraction import UNBOUNDED_FAR, UNBOUNDED_NEAR

if TYPE_CHECKING:
    import torch

    Array = TypeVar("Array", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class Lattice:
    """The lattice of an unbounded scene's rays; distances in unit-cube lengths.

    Attributes
    ----------
    step : float
        Smallest spacing.
    growth : float
        Spacing relative to the distance, where that is more; above 0.
    near, far : float
        Where rays begin and end.
    """

    step: float
    growth: float
    near: float = UNBOUNDED_NEAR
    far: float = UNBOUNDED_FAR

    @cached_property
    def turn(self) -> float:
        """t0, the distance from which on the spacing grows."""
        return max(self.near, self.step / self.growth)

    @cached_property
    def turn_index(self) -> float:
        """u0, the place of `turn` on the lattice."""
        return (self.turn - self.near) / self.step

    @cached_property
    def points(self) -> int:
        """How many lattice points a ray has at most: t(u) < far for none beyond."""
        if self.far <= self.turn:
            return max(0, math.ceil((self.far - self.near) / self.step))
        return math.ceil(self.turn_index + math.log(self.far / self.turn) / self.growth)

    def distance(self, u: "Array") -> "Array":
        """t(u), for an array or tensor."""
        even = self.near + u * self.step
        if isinstance(u, np.ndarray):
            return np.where(u < self.turn_index, even, self.turn * np.exp(self.growth * (u - self.turn_index)))
        growing = self.turn * (self.growth * (u - self.turn_index)).exp()
        return even.where(u < self.turn_index, growing)

    def index(self, t: np.ndarray) -> np.ndarray:
        """The u of distances t: the inverse of :meth:`distance`."""
        t = np.asarray(t)
        growing = self.turn_index + np.log(np.maximum(t, self.turn) / self.turn) / self.growth
        return np.where(t < self.turn, (t - self.near) / self.step, growing)

    def interval(self, t: "Array") -> "Array":
        """Length of the interval that a sample at t stands for: ``max(step, growth t)``."""
        return (self.growth * t).clip(self.step)
