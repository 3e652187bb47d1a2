"""Several NeRFs along the same rays: composited front to back, also where they are within each other.

A ray is cut where it enters or leaves a layer. Where several layers share a piece it is cut into slabs, and within a
slab what is nearer on the mean is in front (Porter and Duff's "over" along the ray).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..contract.samplers import SamplerChoice
from ..data.color import decode_over_black, decode_premultiplied
from ..methods.cost import RenderCost, added
from .layers import Layer, Rays, Seen

SLABS = 16
"""Into which a piece of a ray that several layers share is cut; `docs/rendering.md` has the measurement."""
OPAQUE = 2e-3
"""What passes a ray that is not followed any further."""


@dataclass
class Along:
    """What R rays see of K layers.

    Attributes
    ----------
    color : (K, R, 3) float32 array
        Each layer's part, premultiplied, sRGB-encoded as methods learn it.
    weight : (K, R) float32 array
        Each layer's part of alpha.
    distance : (K, R) float32 array
        Distance of what is seen, world units, times `weight`.
    samples : int
        Field evaluations made.
    sampler : SamplerChoice or None
        What places them.
    cost : RenderCost or None
        Of all rays, each with what it took in all layers and slabs.
    evaluations : (R,) int32 array or None
        Full field evaluations of each ray in all layers; None where a sampler does not count them.
    over_black : tuple of K bool
        Of the layers' methods; empty: none is.
    """

    color: np.ndarray
    weight: np.ndarray
    distance: np.ndarray
    samples: int = 0
    sampler: SamplerChoice | None = None
    cost: RenderCost | None = None
    evaluations: np.ndarray | None = None
    over_black: tuple[bool, ...] = ()

    @property
    def alpha(self) -> np.ndarray:
        """(R,) of all layers."""
        return self.weight.sum(axis=0)

    @property
    def depth(self) -> np.ndarray:
        """(R,) mean distance, world units; 0 where nothing is seen."""
        return _ratio(self.distance.sum(axis=0), self.alpha)

    def foremost(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) the layer that has most weight on a ray, and the mean distance of what is seen of it."""
        layer = self.weight.argmax(axis=0)
        place = layer[None]
        distance = _ratio(np.take_along_axis(self.distance, place, 0), np.take_along_axis(self.weight, place, 0))
        return layer, distance[0]

    def rgba(self, linear: bool) -> np.ndarray:
        """(R, 4) premultiplied; scene-linear where asked: each layer's own straight colour is decoded."""
        if not linear:
            return np.concatenate([self.color.sum(axis=0), self.alpha[:, None]], axis=-1)
        parts = np.concatenate([self.color, self.weight[..., None]], axis=-1)
        black = self.over_black or (False,) * len(parts)
        decoded = [
            (decode_over_black if is_black else decode_premultiplied)(part)
            for part, is_black in zip(parts, black, strict=True)
        ]
        return np.sum(decoded, axis=0, dtype=np.float32)


def look_along(layers: Sequence[Layer], rays: Rays, slabs: int = SLABS, sampler: SamplerChoice | None = None) -> Along:
    """What rays see of layers.

    Parameters
    ----------
    layers : sequence of K Layer
    rays : Rays
        World space.
    slabs : int
        Into which shared pieces are cut.
    sampler : SamplerChoice, optional
    """
    count = len(rays)
    shape = (len(layers), count)
    color, weight, distance = (np.zeros(each, np.float32) for each in ((*shape, 3), shape, shape))
    black = tuple(layer.method.over_black for layer in layers)
    found = Along(color, weight, distance, sampler=sampler, evaluations=np.zeros(count, np.int32), over_black=black)
    ranges = [layer.range_of(rays) for layer in layers]
    near, far = (np.array([part[:, side] for part in ranges]).reshape(shape) for side in (0, 1))
    meets = near < far
    if len(layers) == 1:
        _add(found, layers, 0, rays, np.flatnonzero(meets[0]), ranges[0], np.ones(count, np.float32))
        return _counted(found)
    # A layer that a ray misses is as far away as the ray's other ends allow: pieces between equal ends are empty.
    near, far = np.where(meets, near, np.inf), np.where(meets, far, np.inf)
    ends = np.sort(np.concatenate([near, far]), axis=0)
    passing = np.ones(count, np.float32)
    for first, last in zip(ends[:-1], ends[1:], strict=True):
        inside = (near <= first) & (far >= last) & (first < last) & (passing > OPAQUE)
        number = inside.sum(axis=0)
        piece = np.stack([first, last], axis=-1)
        for index in range(len(layers)):
            _add(found, layers, index, rays, np.flatnonzero(inside[index] & (number == 1)), piece, passing)
        shared = np.flatnonzero(number > 1)
        if len(shared):
            _add_shared(found, layers, rays, shared, inside, piece, passing, slabs)
    return _counted(found)


def _add(
    found: Along,
    layers: Sequence[Layer],
    index: int,
    rays: Rays,
    rows: np.ndarray,
    limits: np.ndarray,
    passing: np.ndarray,
) -> None:
    """Put what some rays see of one layer between limits behind what they have seen; `passing` is changed."""
    if not len(rows):
        return
    seen = layers[index].render(Rays(rays.origins[rows], rays.directions[rows], limits[rows]), found.sampler)
    _blend(found, index, rows, seen.rgba, seen.depth, passing)
    _count(found, rows, seen)


def _count(found: Along, rows: np.ndarray, seen: Seen) -> None:
    found.samples += seen.samples
    found.cost = added(found.cost, seen.cost)
    if found.evaluations is None or seen.evaluations is None:
        found.evaluations = None
    else:
        found.evaluations[rows] += seen.evaluations


def _counted(found: Along) -> Along:
    """The same with costs a ray: layers were asked for pieces of rays, of which each would pass for a ray."""
    if found.evaluations is not None:
        cost = found.cost or RenderCost()
        found.cost = RenderCost.of_rays(found.evaluations, found.alpha, cost.density_only, cost.proposal)
    return found


def _blend(
    found: Along, index: int, rows: np.ndarray, rgba: np.ndarray, depth: np.ndarray, passing: np.ndarray
) -> None:
    before = passing[rows]
    weight = before * rgba[:, 3]
    found.color[index, rows] += before[:, None] * rgba[:, :3]
    found.weight[index, rows] += weight
    found.distance[index, rows] += weight * depth
    passing[rows] = before - weight


def _add_shared(
    found: Along,
    layers: Sequence[Layer],
    rays: Rays,
    rows: np.ndarray,
    inside: np.ndarray,
    piece: np.ndarray,
    passing: np.ndarray,
    slabs: int,
) -> None:
    """The same for a piece of the rays `rows` that several layers share; `inside` (K, R) says which."""
    whole = _parts(found, layers, rays, rows, inside, piece[rows])
    # Most pieces of most rays hold something of one layer at most: then nothing is to be sorted.
    lone = (whole[0][..., 3] > 0).sum(axis=0) < 2
    _blend_together(found, rows[lone], whole[0][:, lone], whole[1][:, lone], passing)
    rows = rows[~lone]
    first, length = piece[rows, 0], piece[rows, 1] - piece[rows, 0]
    # Slabs grow along pieces that are long beside the layers, as those of unbounded scenes are.
    growth = np.log1p(length / min(layer.size for layer in layers))
    for slab in range(slabs):
        going = passing[rows] > OPAQUE
        some = rows[going]
        if not len(some):
            return
        edges = [first + length * (np.expm1(growth * (slab + end) / slabs) / np.expm1(growth)) for end in (0, 1)]
        limits = np.stack(edges, axis=-1)[going]
        _blend_together(found, some, *_parts(found, layers, rays, some, inside, limits), passing)


def _parts(
    found: Along, layers: Sequence[Layer], rays: Rays, rows: np.ndarray, inside: np.ndarray, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the rays `rows` see of each layer between limits: rgba (K, N, 4), depth (K, N), infinite where nothing."""
    shape = (len(layers), len(rows))
    rgba, depth = np.zeros((*shape, 4), np.float32), np.full(shape, np.inf, np.float32)
    for index, layer in enumerate(layers):
        here = np.flatnonzero(inside[index, rows])
        if len(here):
            where = rows[here]
            seen = layer.render(Rays(rays.origins[where], rays.directions[where], limits[here]), found.sampler)
            rgba[index, here] = seen.rgba
            depth[index, here] = np.where(seen.rgba[:, 3] > 0, seen.depth, np.inf)
            _count(found, where, seen)
    return rgba, depth


def _blend_together(found: Along, rows: np.ndarray, rgba: np.ndarray, depth: np.ndarray, passing: np.ndarray) -> None:
    """Put what K layers show in the same slab, (K, N, 4) and (K, N), behind what the rays `rows` have seen.

    Thin media share what the slab stops as their optical depths do; of things that are opaque, the nearer is in front.
    """
    alpha = rgba[..., 3]
    total = 1.0 - np.prod(1.0 - alpha, axis=0)
    thickness = -np.log1p(-np.minimum(alpha, np.float32(0.9999)))
    mixed = total * _ratio(thickness, np.broadcast_to(thickness.sum(axis=0), thickness.shape))
    order = np.argsort(depth, axis=0, kind="stable")
    sorted_alpha = np.take_along_axis(alpha, order, axis=0)
    before = np.cumprod(1.0 - sorted_alpha, axis=0)
    before = np.concatenate([np.ones_like(before[:1]), before[:-1]])
    ordered = np.empty_like(alpha)
    np.put_along_axis(ordered, order, before * sorted_alpha, axis=0)
    opacity = alpha.max(axis=0)
    weight = passing[rows] * (mixed + opacity * (ordered - mixed))
    found.color[:, rows] += _ratio(weight, alpha)[..., None] * rgba[..., :3]
    found.weight[:, rows] += weight
    found.distance[:, rows] += weight * np.where(alpha > 0, depth, np.float32(0.0))
    passing[rows] *= 1.0 - total


def _ratio(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.where(weights > 0, sums / np.maximum(weights, np.float32(1e-20)), np.float32(0.0))
