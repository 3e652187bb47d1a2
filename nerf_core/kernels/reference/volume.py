"""Marching rays through the occupancy grid and compositing their samples: packed, without a loop over rays."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ...samplers.lattice import Lattice
from .contraction import contract

LATTICE_POINTS = 1 << 20
"""Lattice points of unbounded rays that are looked up at once: bounds the memory to some 100 MB."""


class Samples(NamedTuple):
    """Packed samples, sorted by ray and then by distance.

    `ray` (S,) int64, `distance` (S,), `position` (S, 3) in the unit frame, `interval` (S,) the length that a sample
    stands for.
    """

    ray: Tensor
    distance: Tensor
    position: Tensor
    interval: Tensor


class Composite(NamedTuple):
    """What compositing gives: per sample, then per ray.

    `weights`, `transmittance` (before the sample) and the bool `selected` are (S,); `color` (R, 3) is premultiplied,
    `alpha` (R,) the sum of the selected weights, `depth` (R,) the weighted distance (not divided by alpha).
    """

    weights: Tensor
    transmittance: Tensor
    selected: Tensor
    color: Tensor
    alpha: Tensor
    depth: Tensor


def clip_to_box(origins: Tensor, directions: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (R,) at which rays enter and leave a box (2, 3); a ray misses where near >= far."""
    tiny = 1e-9
    sign = torch.where(directions >= 0, 1.0, -1.0).to(directions.dtype)
    safe = torch.where(directions.abs() < tiny, sign * tiny, directions)
    a, b = (box[0] - origins) / safe, (box[1] - origins) / safe
    near = torch.minimum(a, b).amax(dim=-1).clamp(min=0.0)
    far = torch.maximum(a, b).amin(dim=-1)
    return near, far


def march(
    origins: Tensor,
    directions: Tensor,
    box: Tensor,
    cells: Tensor,
    step: float,
    jitter: Tensor,
    limits: Tensor | None = None,
) -> Samples:
    """Lattice points ``near + (jitter + i) step`` of each ray that lie in the box and in occupied cells.

    Parameters
    ----------
    origins, directions : (R, 3) tensors
    box : (2, 3) tensor
    cells : (G, G, G) bool tensor, indexed z, y, x
    step : float
    jitter : (R,) tensor in [0, 1)
    limits : (R, 2) tensor, optional
        Only points with ``limits[:, 0] <= t < limits[:, 1]``.
    """
    near, far = clip_to_box(origins, directions, box)
    start = near + jitter * step
    longest = float((far - near).amax()) if len(near) else 0.0
    count = max(0, math.ceil(longest / step) + 1)
    at = start[:, None] + torch.arange(count, device=near.device, dtype=near.dtype) * step
    inside = (at < far[:, None]) & (near < far)[:, None]
    if limits is not None:
        inside &= (at >= limits[:, :1]) & (at < limits[:, 1:])
    ray, index = torch.nonzero(inside, as_tuple=True)
    distance = at[ray, index]
    position = (origins[ray] + distance[:, None] * directions[ray]).clamp(0.0, 1.0)
    side = cells.shape[0]
    x, y, z = (position * side).to(torch.int64).clamp(max=side - 1).unbind(-1)
    kept = cells[z, y, x]
    distance = distance[kept]
    return Samples(ray[kept], distance, position[kept], torch.full_like(distance, step))


def march_unbounded(
    origins: Tensor,
    directions: Tensor,
    cells: Tensor,
    lattice: Lattice,
    jitter: Tensor,
    start: int = 0,
    count: int | None = None,
    limits: Tensor | None = None,
) -> Samples:
    """Lattice points ``t(jitter + i)`` of each ray whose contracted position lies in an occupied cell.

    Parameters
    ----------
    origins, directions : (R, 3) tensors
        Unit frame, anywhere.
    cells : (G, G, G) bool tensor, indexed z, y, x
        Over the grid.
    lattice : Lattice
    jitter : (R,) tensor in [0, 1)
    start, count : int
        Which i; by default all.
    limits : (R, 2) tensor, optional
        Only points with ``limits[:, 0] <= t < limits[:, 1]``.
    """
    side = cells.shape[0]
    flat = cells.reshape(-1)
    stop = lattice.points if count is None else min(start + count, lattice.points)
    index = torch.arange(start, stop, device=origins.device, dtype=origins.dtype)
    at_once = max(1, LATTICE_POINTS // max(len(index), 1))
    parts = []
    for first in range(0, max(len(origins), 1), at_once):
        some = slice(first, first + at_once)
        at = lattice.distance(index + jitter[some, None])
        position = origins[some, None, :] + at[:, :, None] * directions[some, None, :]
        x, y, z = (contract(position) * side).to(torch.int64).clamp(max=side - 1).unbind(-1)
        kept = flat[x + side * (y + side * z)] & (at < lattice.far)
        if limits is not None:
            kept &= (at >= limits[some, :1]) & (at < limits[some, 1:])
        ray, place = torch.nonzero(kept, as_tuple=True)
        distance = at[ray, place]
        parts.append(Samples(ray + first, distance, position[ray, place], lattice.interval(distance)))
    return Samples(*(torch.cat(part) for part in zip(*parts, strict=True)))


def transmittance_before(ray: Tensor, optical_depth: Tensor, rays: int) -> Tensor:
    """exp(-sum of the optical depths in front of each sample on its own ray), for packed sorted samples.

    The running sums are taken in a table of rays by samples: one sum over all packed samples would lose its digits
    to the opaque rays in front.
    """
    counts = torch.bincount(ray, minlength=rays)
    first = (torch.cumsum(counts, dim=0) - counts)[ray]
    place = torch.arange(len(ray), device=ray.device) - first
    width = int(counts.max()) if rays else 0
    table = optical_depth.new_zeros(rays, width).index_put((ray, place), optical_depth)
    before = torch.cumsum(table, dim=1) - table
    return torch.exp(-before[ray, place])


def select(
    ray: Tensor,
    density: Tensor,
    step: float | Tensor,
    rays: int,
    weight_threshold: float,
    transmittance_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, transmittance and which samples count: in front of where the ray ended, and heavy enough."""
    optical_depth = density * step
    transmittance = transmittance_before(ray, optical_depth, rays)
    weights = transmittance * (1.0 - torch.exp(-optical_depth))
    selected = (weights > weight_threshold) & (transmittance >= transmittance_threshold)
    return weights, transmittance, selected


def composite(
    samples: Samples,
    density: Tensor,
    color: Tensor,
    step: float | Tensor,
    rays: int,
    weight_threshold: float = 0.0,
    transmittance_threshold: float = 0.0,
) -> Composite:
    """Volume rendering quadrature (Max 1995): ``C = sum_i T_i (1 - exp(-density_i step_i)) c_i`` over selected samples.

    Samples that are not selected absorb, but pass no gradient to their density: so the kernels, which do not train
    them, compute the same gradient.
    """
    chosen = select(samples.ray, density.detach(), step, rays, weight_threshold, transmittance_threshold)[2]
    trained = torch.where(chosen, density, density.detach())
    weights, transmittance, _ = select(samples.ray, trained, step, rays, 0.0, 0.0)
    counted = torch.where(chosen, weights, torch.zeros_like(weights))
    rgb = counted.new_zeros(rays, 3).index_add(0, samples.ray, counted[:, None] * color)
    alpha = counted.new_zeros(rays).index_add(0, samples.ray, counted)
    depth = counted.new_zeros(rays).index_add(0, samples.ray, counted * samples.distance)
    return Composite(weights, transmittance, chosen, rgb, alpha, depth)


def depth_loss(samples: Samples, result: Composite, depth: Tensor, reach: Tensor) -> Tensor:
    """How much of the light does not come from where it is known to, 0 to 1, the mean over rays.

    A ray whose depth is known loses ``1 - sum_i w_i max(0, 1 - |t_i - depth| / reach)`` over its selected samples. The
    sum is linear in the weights, so that it needs nothing of the ray beforehand, and its best is all weight at the
    depth: the samples in front are emptied because they take light from those that lie there, the surface is filled
    because what passes it is lost too, and what lies beyond the reach is neither here nor there, so that wrong depths
    can be outvoted by colours.

    Parameters
    ----------
    samples, result
        What was composited, and what came of it.
    depth : (R,) tensor
        Known distances; 0 where none is.
    reach : (R,) tensor
        Distance from the known one at which a sample is as good as none.
    """
    ray = samples.ray
    near = (1.0 - (samples.distance - depth[ray]).abs() / reach[ray]).clamp(min=0.0)
    counted = torch.where(result.selected & (depth[ray] > 0), result.weights * near, torch.zeros_like(near))
    return ((depth > 0).to(near.dtype).sum() - counted.sum()) / len(depth)


def loss(result: Composite, target: Tensor, background: Tensor) -> Tensor:
    """Mean squared error of the colours over their backgrounds, over rays and channels."""
    predicted = result.color + (1.0 - result.alpha)[:, None] * background
    return ((predicted - target) ** 2).mean()
