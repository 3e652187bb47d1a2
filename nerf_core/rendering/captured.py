"""Captured weight: how much of what full sampling finds along a ray lies close to where a sampler looked.

Along a ray, full sampling gives weights w_i at distances t_i, which sum to its alpha. Captured is the part of that
sum within half a voxel of a sample whose colour the sampler asks for, ``sum(w_i: |t_i - t_s| <= h / 2 for some s)``,
where h is 1 / `VOXELS` of the longest side of the run's box. A pixel's rays, and its layers (each by itself), add up.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..contract.errors import Cancelled
from ..contract.heat import VOXELS
from ..contract.samplers import SamplerChoice
from ..methods.base import Trace
from .exposure import Exposure
from .frame import Chunks
from .layers import Layer, Rays, moved
from .view import View

#: A layer, (R,) world rays and the view's sampler to some numbers of each ray, (N, R).
Look = Callable[[Layer, Rays, SamplerChoice | None], np.ndarray]


def over_rays(
    look: Look,
    layers: Sequence[Layer],
    view: View,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[float], None] | None = None,
    shutter_layers: Sequence[Sequence[Layer]] = (),
) -> np.ndarray:
    """Numbers of the pixels' rays, such as :func:`captured_along` gives: means over the rays, sums over the layers.

    Parameters
    ----------
    look : callable
    layers, view, should_stop, on_progress, shutter_layers
        Of :func:`rendering.picture.render_picture`.

    Returns
    -------
    (N, H, W) float64 array
    """
    camera, count = view.camera, view.samples
    total = camera.width * camera.height
    sums: np.ndarray | None = None
    exposure, done = Exposure(view), 0
    chunks = Chunks(total, should_stop)
    for rows in chunks:
        pixels = np.arange(rows.start, rows.stop)
        for sample in range(count):
            if sample and should_stop is not None and should_stop():
                raise Cancelled("the render was stopped")
            for shot in exposure.shots(pixels, sample):
                group = shutter_layers[shot.pose] if shot.pose is not None and shutter_layers else layers
                for layer in group:
                    found = look(layer, shot.rays, view.sampler)
                    if sums is None:
                        sums = np.zeros((len(found), total))
                    sums[:, rows.start + shot.rows] += found
            done += len(pixels)
            chunks.lap()
            if on_progress is not None:
                on_progress(done / (total * count))
    assert sums is not None
    return sums.reshape(-1, camera.height, camera.width) / count


def captured_along(layer: Layer, rays: Rays, sampler: SamplerChoice | None) -> np.ndarray:
    """(2, R) weight of a layer's full sampling within half a voxel of a sample, and all of it, which is alpha.

    Parameters
    ----------
    layer : Layer
    rays : Rays
        World space.
    sampler : SamplerChoice or None
        Where the layer has none of its own; None: what its run was trained with.
    """
    method = layer.method
    chosen_by, fully = layer.sampler or sampler or method.trained_sampler, method.full_sampling
    cut = _CutRays(layer, rays)
    full = cut.trace(fully)
    chosen = full if chosen_by == fully else cut.trace(chosen_by)
    last = (full.stage == full.stage.max(initial=0)) & cut.inside(full)
    ray, t, weight = (values[last] for values in (full.ray, full.t, full.weight))
    seen = (chosen.selected > 0) & cut.inside(chosen)
    reach = 0.5 / VOXELS / method.normalisation.scale
    close = nearest(ray, t, chosen.ray[seen], chosen.t[seen]) <= reach * (1.0 + 1e-5)
    found = np.zeros((2, len(rays)))
    found[0, cut.rows] = np.bincount(ray[close], weight[close], minlength=len(cut.rows))
    found[1, cut.rows] = np.bincount(ray, weight, minlength=len(cut.rows))
    return found


class _CutRays:
    """Those of some rays that meet a layer, in its run's space, each from where it is looked along."""

    def __init__(self, layer: Layer, rays: Rays) -> None:
        limits = layer.range_of(rays)
        self.rows = np.flatnonzero(limits[:, 0] < limits[:, 1])
        self._method = layer.method
        if not len(self.rows):
            self._origins = self._directions = np.zeros((0, 3), np.float32)
            self._far = np.zeros(0)
            return
        rays, limits = rays[self.rows], limits[self.rows]
        origins, directions = moved(layer.to_run, rays)
        lengths = np.linalg.norm(directions, axis=-1)
        directions /= lengths[:, None]
        near, far = limits[:, 0] * lengths, limits[:, 1] * lengths
        # What is cut away in front hides nothing: such rays begin where they are cut. All others keep their samples.
        endless = replace(rays, limits=np.tile((0.0, np.inf), (len(rays), 1)))
        whole = replace(layer, crops=()).range_of(endless)[:, 0] * lengths
        begin = np.where(near > whole * (1.0 + 1e-6), near, 0.0)
        self._origins = (origins + directions * begin[:, None]).astype(np.float32)
        self._directions, self._far = directions.astype(np.float32), far - begin

    def trace(self, sampler: SamplerChoice | None) -> Trace:
        """Their samples."""
        if sampler == self._method.trained_sampler:
            sampler = None
        return self._method.trace_rays(self._origins, self._directions, sampler)

    def inside(self, trace: Trace) -> np.ndarray:
        """(S,) which samples of a trace of these lie before a ray's end."""
        return trace.t < self._far[trace.ray]


def nearest(ray: np.ndarray, t: np.ndarray, other_ray: np.ndarray, other_t: np.ndarray) -> np.ndarray:
    """(S,) distance of each place (ray, t) to the nearest of others on its ray; infinite where there is none.

    Parameters
    ----------
    ray, t : (S,) arrays
    other_ray, other_t : (K,) arrays
        In any order.
    """
    if not len(other_t):
        return np.full(len(t), np.inf)
    order = np.lexsort((other_t, other_ray))
    other_ray, other_t = other_ray[order], other_t[order].astype(np.float64)
    t = t.astype(np.float64)
    # Rays one behind the other on one axis, each at a multiple of what is longer than any.
    stride = 1.0 + max(float(np.abs(t).max(initial=0.0)), float(np.abs(other_t).max()))
    after = np.searchsorted(other_ray * stride + other_t, ray * stride + t)
    found = np.full(len(t), np.inf)
    for index in (after - 1, after):
        inside = (index >= 0) & (index < len(other_t))
        index = np.where(inside, index, 0)
        distance = np.where(inside & (other_ray[index] == ray), np.abs(other_t[index] - t), np.inf)
        found = np.minimum(found, distance)
    return found
