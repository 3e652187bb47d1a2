"""What rays see of a field that a sampler places the samples of, with what it cost."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..rendering.volume import composite
from .base import Field, Sampler
from .evaluation import evaluate


@dataclass(frozen=True)
class Looked:
    """What R rays come to.

    Attributes
    ----------
    rgba : (R, 4) tensor
        Premultiplied.
    depth : (R,) tensor
        Expected t; 0 where alpha is 0.
    full : (R,) int64 tensor
        Full evaluations of each ray.
    density_only, proposal : int
        Of all rays.
    """

    rgba: Tensor
    depth: Tensor
    full: Tensor
    density_only: int
    proposal: int


@torch.no_grad()
def look(
    sampler: Sampler,
    field: Field,
    rays: tuple[Tensor, Tensor, Tensor, Tensor],
    budget: int,
    at_once: int,
    true_depth: Tensor | None = None,
) -> Looked:
    """Render rays.

    Parameters
    ----------
    sampler : Sampler
    field : Field
    rays : origins, directions (R, 3), t_near, t_far (R,) tensors
        In the sampler's space; one with ``t_near >= t_far`` sees nothing and costs nothing.
    budget : int
        Of the last stage.
    at_once : int
        Rays at a time.
    true_depth : (R,) tensor, optional
        For the oracle.
    """
    o, d, t_near, t_far = rays
    rgba, depth = torch.zeros_like(o[:, :1]).repeat(1, 4), torch.zeros_like(t_near)
    full = torch.zeros_like(t_near, dtype=torch.int64)
    density_only = proposal = 0
    for rows in (t_far > t_near).nonzero()[:, 0].split(max(1, at_once)):
        known = None if true_depth is None else true_depth[rows]
        samples = sampler.sample(o[rows], d[rows], t_near[rows], t_far[rows], budget, False, known)
        found = evaluate(field, samples, o[rows], d[rows], sampler.opacity)
        seen = composite(found.weights, found.color, samples.t)
        rgba[rows] = torch.cat([seen.rgb, seen.alpha[:, None]], dim=-1)
        depth[rows] = seen.depth
        full[rows] = samples.counts + samples.cost.full
        own = samples.cost.density_only
        density_only += int(own.sum()) if isinstance(own, Tensor) else own * len(rows)
        proposal += samples.cost.proposal * len(rows)
    return Looked(rgba, depth, full, density_only, proposal)
