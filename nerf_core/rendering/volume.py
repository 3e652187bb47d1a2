"""The volume rendering equations, in torch.

Source: Max, "Optical Models for Direct Volume Rendering", 1995; Mildenhall et al. 2020, eq. 3:
``C = sum_i T_i (1 - exp(-sigma_i delta_i)) c_i`` with ``T_i = exp(-sum_{j<i} sigma_j delta_j)``.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Composite(NamedTuple):
    """What R rays come to.

    Attributes
    ----------
    rgb : (R, 3) tensor
        Premultiplied.
    alpha : (R,) tensor
    depth : (R,) tensor
        Expected t of what was hit; 0 where alpha is 0.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor


def render_weights(density: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """How much each sample contributes to its ray, and how much light reaches it.

    Parameters
    ----------
    density : (R, S) tensor
        Not negative, per unit of length.
    dt : (R, S) tensor
        Interval lengths, same unit of length, in the order of t; 0 takes a sample out.

    Returns
    -------
    weights, transmittance : (R, S) tensors
        ``weights = transmittance * (1 - exp(-density * dt))``; transmittance is that BEFORE the sample.
    """
    return weights_of(density * dt)


def weights_of(optical_depth: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and transmittance, as `render_weights` gives them, of intervals with (R, S) optical depths."""
    # The sum before a sample as a shifted running sum: subtracting the own depth afterwards would cancel badly.
    before = torch.cumsum(optical_depth, dim=-1)[..., :-1]
    before = torch.cat([torch.zeros_like(optical_depth[..., :1]), before], dim=-1)
    transmittance = torch.exp(-before)
    return transmittance * -torch.expm1(-optical_depth), transmittance


def depth_loss(weights: Tensor, t: Tensor, depth: Tensor, reach: float) -> Tensor:
    """How much of each ray's light does not come from where it is known to, 0 to 1; 0 where no depth is known.

    ``1 - sum_i w_i max(0, 1 - |t_i - depth| / reach)``: see `kernels.reference.volume.depth_loss`, which is the same
    for packed samples.

    Parameters
    ----------
    weights, t : (R, S) tensors
    depth : (R,) tensor
        Known t; 0 where none is.
    reach : float
        Distance from the known one at which a sample is as good as none.
    """
    near = (1.0 - (t - depth[:, None]).abs() / reach).clamp_min(0.0)
    return (depth > 0).to(weights.dtype) * (1.0 - (weights * near).sum(dim=-1))


def composite(weights: Tensor, color: Tensor, t: Tensor) -> Composite:
    """Sum samples up along their rays.

    Parameters
    ----------
    weights : (R, S) tensor
    color : (R, S, 3) tensor
        Straight.
    t : (R, S) tensor
    """
    alpha = weights.sum(dim=-1)
    rgb = (weights[..., None] * color).sum(dim=-2)
    weighted = (weights * t).sum(dim=-1)
    depth = torch.where(alpha > 0, weighted / alpha.clamp_min(1e-10), torch.zeros_like(weighted))
    return Composite(rgb, alpha, depth)
