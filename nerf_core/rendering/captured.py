"""Captured weight: how much of what full sampling finds along a ray lies close to where a sampler looked.

Along a ray, full sampling gives weights w_i at distances t_i, which sum to the ray's alpha. Captured is the part of that
sum within half a voxel of a sample whose colour the sampler asks for, ``sum(w_i: |t_i - t_s| <= h / 2 for some s)``,
where h is 1 / `VOXELS` of the longest side of the run's box. A pixel's rays, and its layers (each by itself), add up.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..contract.errors import Cancelled
from ..contract.heat import VOXELS
from ..contract.samplers import SamplerChoice
from .exposure import Exposure
from .frame import Chunks
from .layers import Layer, Rays, moved
from .view import View


def captured(
    layers: Sequence[Layer],
    view: View,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[float], None] | None = None,
    shutter_layers: Sequence[Sequence[Layer]] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Weight within half a voxel of a sample, and all of it, of a picture.

    Parameters
    ----------
    layers, view, should_stop, on_progress, shutter_layers
        Of :func:`rendering.picture.render_picture`.

    Returns
    -------
    caught, every : (H, W) float64 arrays
        Means over the pixels' rays.
    """
    camera, count = view.camera, view.samples
    total_pixels = camera.width * camera.height
    caught, every = np.zeros((2, total_pixels))
    exposure, done = Exposure(view), 0
    chunks = Chunks(total_pixels, should_stop)
    for rows in chunks:
        pixels = np.arange(rows.start, rows.stop)
        for sample in range(count):
            if sample and should_stop is not None and should_stop():
                raise Cancelled("the render was stopped")
            for shot in exposure.shots(pixels, sample):
                group = shutter_layers[shot.pose] if shot.pose is not None and shutter_layers else layers
                for layer in group:
                    close, all_of_it = captured_along(layer, shot.rays, view.sampler)
                    caught[rows.start + shot.rows] += close
                    every[rows.start + shot.rows] += all_of_it
            done += len(pixels)
            chunks.lap()
            if on_progress is not None:
                on_progress(done / (total_pixels * count))
    shape = (camera.height, camera.width)
    return caught.reshape(shape) / count, every.reshape(shape) / count


def captured_along(layer: Layer, rays: Rays, sampler: SamplerChoice | None) -> tuple[np.ndarray, np.ndarray]:
    """Weight of a layer's full sampling within half a voxel of a sample, and all of it.

    Parameters
    ----------
    layer : Layer
    rays : Rays
        World space.
    sampler : SamplerChoice or None
        Where the layer has none of its own; None: what its run was trained with.

    Returns
    -------
    caught, every : (R,) float64 arrays
        ``every`` is alpha.
    """
    caught, every = np.zeros((2, len(rays)))
    limits = layer.range_of(rays)
    rows = np.flatnonzero(limits[:, 0] < limits[:, 1])
    if not len(rows):
        return caught, every
    origins, directions = moved(layer.to_run, rays[rows])
    lengths = np.linalg.norm(directions, axis=-1)
    directions /= lengths[:, None]
    near, far = limits[rows, 0] * lengths, limits[rows, 1] * lengths
    # What is cut away in front hides nothing: such rays begin where they are cut. All others keep their samples.
    whole = replace(layer, crops=()).range_of(replace(rays[rows], limits=np.tile((0.0, np.inf), (len(rows), 1))))
    cut = np.where(near > whole[:, 0] * lengths * (1.0 + 1e-6), near, 0.0)
    origins, far = (origins + directions * cut[:, None]).astype(np.float32), far - cut
    directions = directions.astype(np.float32)
    method = layer.method
    full = method.trace_rays(origins, directions, method.full_sampling())
    chosen_by = layer.sampler or sampler or method.trained_sampler()
    chosen = full if chosen_by == method.full_sampling() else method.trace_rays(origins, directions, chosen_by)
    last = full.stage == full.stage.max(initial=0)
    last &= full.t < far[full.ray]
    ray, t, weight = (values[last] for values in (full.ray, full.t, full.weight))
    seen = (chosen.selected > 0) & (chosen.t < far[chosen.ray])
    reach = 0.5 / VOXELS / method.normalisation.scale
    close = nearest(ray, t, chosen.ray[seen], chosen.t[seen]) <= reach * (1.0 + 1e-5)
    every[rows] = np.bincount(ray, weight, minlength=len(rows))
    caught[rows] = np.bincount(ray[close], weight[close], minlength=len(rows))
    return caught, every


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
