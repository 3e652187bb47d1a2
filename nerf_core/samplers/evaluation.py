"""Samples through a field: density, colour, and how much each sample weighs."""

from dataclasses import replace

import torch
from torch import Tensor

from ..rendering.volume import weights_of
from .base import Evaluation, Field, Samples


def optical_depth(density: Tensor, dt: Tensor, opacity: str = "constant") -> Tensor:
    """(R, S) optical depths of the intervals that begin at samples.

    Parameters
    ----------
    density : (R, S) tensor
        At the samples.
    dt : (R, S) tensor
    opacity : {'constant', 'linear'}
        'constant': a sample's density holds for its whole interval (Mildenhall et al. 2020, eq. 3). 'linear': it goes
        over into the next sample's, so that the integral is the trapezoid's (Uy et al. 2023, "NeRF Revisited", eq. 8);
        behind the last sample it stays.
    """
    if opacity == "constant":
        return density * dt
    following = torch.cat([density[:, 1:], density[:, -1:]], dim=-1)
    return 0.5 * (density + following) * dt


def evaluate(
    field: Field,
    samples: Samples,
    origins: Tensor,
    directions: Tensor,
    opacity: str = "constant",
    with_color: bool = True,
) -> Evaluation:
    """Ask a field at samples along (R, 3) rays, and weigh what it gives.

    Where the samples carry optical depths of their own, those count, and the field's densities are for show.
    """
    positions = samples.positions(origins, directions)
    color = positions[..., :0]
    if samples.valid is None:
        if with_color:
            density, color = field(positions, directions)
        else:
            density = field.query_density(positions)
    else:
        ray, _ = where = torch.nonzero(samples.valid, as_tuple=True)
        density = torch.zeros_like(samples.t)
        if with_color:
            found, colors = field(positions[where][:, None, :], directions[ray])
            density = density.index_put(where, found[:, 0])
            color = torch.zeros_like(positions).index_put(where, colors[:, 0])
        else:
            density = density.index_put(where, field.query_density(positions[where]))
    return weigh(samples, density, color, opacity)


def weigh(samples: Samples, density: Tensor, color: Tensor, opacity: str = "constant") -> Evaluation:
    """An evaluation from what a field gave."""
    hint = samples.optical_depth_hint
    depth = optical_depth(density, samples.dt, opacity) if hint is None else hint
    weights, transmittance = weights_of(depth)
    return Evaluation(density, color, weights, transmittance, depth)


def colored(field: Field, samples: Samples, evaluation: Evaluation, origins: Tensor, directions: Tensor) -> Evaluation:
    """The same with colours, where only density was asked for: for showing, not for rendering."""
    if evaluation.has_color:
        return evaluation
    _, color = field(samples.positions(origins, directions), directions)
    return replace(evaluation, color=color)
