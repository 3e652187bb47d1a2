"""What looking along rays costs in field evaluations: counted a ray that hits something, not only on the mean."""

from dataclasses import dataclass
from typing import Any

import numpy as np

HIT_ALPHA = 0.5
"""Rendered alpha from which a ray counts as one that hits the subject: averages over empty rays flatter a sampler."""


@dataclass(frozen=True)
class RenderCost:
    """Evaluations made for a number of rays; two costs can be added.

    Attributes
    ----------
    rays, hit_rays : int
        All, and those whose alpha is at least `HIT_ALPHA`.
    full, full_hit : int
        Evaluations of density AND colour, of all rays and of those that hit.
    full_max : int
        The most on one ray.
    density_only : int
        Evaluations of the field's density alone, of all rays.
    proposal : int
        Evaluations of anything smaller that proposes samples: proposal networks, look-ups in baked grids.
    """

    rays: int = 0
    hit_rays: int = 0
    full: int = 0
    full_hit: int = 0
    full_max: int = 0
    density_only: int = 0
    proposal: int = 0

    @classmethod
    def of_rays(
        cls, evaluations: np.ndarray, alpha: np.ndarray, density_only: int = 0, proposal: int = 0
    ) -> "RenderCost":
        """From each ray's full evaluations (R,) and alpha (R,), and the sums of the others."""
        hit = alpha >= HIT_ALPHA
        return cls(
            rays=len(evaluations),
            hit_rays=int(np.count_nonzero(hit)),
            full=int(evaluations.sum(dtype=np.int64)),
            full_hit=int((evaluations * hit).sum(dtype=np.int64)),  # a tenth of the time of picking them out
            full_max=int(evaluations.max(initial=0)),
            density_only=int(density_only),
            proposal=int(proposal),
        )

    def __add__(self, other: "RenderCost") -> "RenderCost":
        sums = {name: value + getattr(other, name) for name, value in vars(self).items()}
        return RenderCost(**{**sums, "full_max": max(self.full_max, other.full_max)})

    @property
    def s_hit(self) -> float:
        """Full evaluations a ray that hits."""
        return self.full_hit / max(self.hit_rays, 1)

    @property
    def s_all(self) -> float:
        """Full evaluations a ray."""
        return self.full / max(self.rays, 1)

    @property
    def s_max(self) -> int:
        """Full evaluations on the ray that has most."""
        return self.full_max

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON: the means, and the others a ray."""
        rays = max(self.rays, 1)
        return {
            "rays": self.rays,
            "hit_rays": self.hit_rays,
            "s_hit": self.s_hit,
            "s_all": self.s_all,
            "s_max": self.s_max,
            "density_only": self.density_only / rays,
            "proposal": self.proposal / rays,
        }


def added(cost: RenderCost | None, more: RenderCost | None) -> RenderCost | None:
    """The sum of what is known."""
    if cost is None or more is None:
        return cost or more
    return cost + more
