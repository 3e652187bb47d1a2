"""Take the rays of a camera's pixels apart: a trace, wherever the NeRF was placed, and what the data set knows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, NerfError
from ..contract.samplers import SamplerChoice
from ..data.views import View
from ..methods.base import Method
from ..methods.trace import Trace, join
from .frame import prepared
from .placed_trace import into_training, out_of_training, rays_out_of_training

TRACED_AT_ONCE = 512  # rays: what a cancelled trace has to wait for


@dataclass(frozen=True)
class TracedPixels:
    """The trace of some pixels.

    Attributes
    ----------
    trace : Trace
        In the world in which the NeRF was placed.
    origin, direction : (R, 3) float32 arrays
        The rays, in the same world.
    true_depth : (R,) float32 array
        Distance along the ray at which the data set, or whoever asked, knows the surface; 0 where nobody does.
    truth : (R, 4) float32 array or None
        The data set's pixels, straight sRGB.
    sampler : SamplerChoice
        That placed the samples.
    seconds : float
        That tracing took.
    """

    trace: Trace
    origin: np.ndarray
    direction: np.ndarray
    true_depth: np.ndarray
    truth: np.ndarray | None
    sampler: SamplerChoice
    seconds: float

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by the names that the `trace` request answers them under."""
        found = {
            **vars(self.trace),
            "origin": self.origin,
            "direction": self.direction,
            "true_depth": self.true_depth,
        }
        return found if self.truth is None else {**found, "truth": self.truth}


def trace_pixels(
    method: Method,
    camera: Camera,
    pixels: np.ndarray,
    sampler: SamplerChoice | None = None,
    matrix: np.ndarray | None = None,
    true_depth: np.ndarray | None = None,
    view: View | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> TracedPixels:
    """Trace the rays through pixels.

    Parameters
    ----------
    method : Method
    camera : Camera
        In the world in which the NeRF was placed.
    pixels : (R, 2) array
        Pixel coordinates (x, y); the first pixel's centre is (0.5, 0.5).
    sampler : SamplerChoice, optional
        By default what the field was trained with.
    matrix : (4, 4) array, optional
        Training world to the camera's; invertible.
    true_depth : (R,) array, optional
        Known distances along the unit rays, in the camera's world; 0 where unknown. Before `view`'s.
    view : View, optional
        Of the data set; its camera is `camera`, which stands in the training world then, wherever the NeRF was placed.
        Its pixels become `truth`, its depth `true_depth`.
    should_stop, on_progress : callable, optional

    Raises
    ------
    NerfError
        When the field cannot be sampled so.
    Cancelled
        When `should_stop`, asked between some hundred rays and while the sampler's grid is filled, said so.
    """
    on_progress = prepared(partial(method.prepare, sampler), should_stop, on_progress)
    began = time.perf_counter()
    count = len(pixels)
    ray_origins, ray_directions = origins, directions = camera.rays(pixels)
    stretch = np.ones(count)
    if matrix is not None and view is not None:
        ray_origins, ray_directions, stretch = rays_out_of_training(matrix, origins, directions)
    elif matrix is not None:
        origins, directions, stretch = into_training(matrix, ray_origins, ray_directions)
    truth, known = None, None
    if view is not None:
        x, y = whole_pixels(camera, pixels).T
        truth = view.rgba[y, x].astype(np.float32) / np.float32(255.0)
        if view.depth is not None:
            known = view.depth[y, x] * stretch
    if true_depth is not None:
        known = np.asarray(true_depth, np.float64)
    origins, directions = origins.astype(np.float32), directions.astype(np.float32)
    inner_depth = None if known is None else (known / stretch).astype(np.float32)
    parts: list[tuple[int, Trace]] = []
    for start in range(0, max(count, 1), TRACED_AT_ONCE):
        if should_stop is not None and should_stop():
            raise Cancelled("the trace was stopped")
        part = slice(start, start + TRACED_AT_ONCE)
        depth = None if inner_depth is None else inner_depth[part]
        parts.append((start, method.trace_rays(origins[part], directions[part], sampler, depth)))
        if on_progress is not None:
            on_progress(min(1.0, part.stop / max(count, 1)))
    trace = join(parts)
    if matrix is not None:
        trace = out_of_training(matrix, stretch, trace)
    return TracedPixels(
        trace,
        ray_origins.astype(np.float32),
        ray_directions.astype(np.float32),
        np.zeros(count, np.float32) if known is None else known.astype(np.float32),
        truth,
        sampler or method.trained_sampler,
        time.perf_counter() - began,
    )


def whole_pixels(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """(R, 2) ints: the columns and rows that pixel coordinates lie in; NerfError for one outside the picture."""
    pixels = np.asarray(pixels, np.float64)
    outside = ~((pixels >= 0) & (pixels <= (camera.width, camera.height))).all(axis=-1)
    if outside.any():
        x, y = pixels[np.argmax(outside)]
        raise NerfError(
            f"The pixel ({x:g}, {y:g}) lies outside the picture, which has {camera.width}x{camera.height} pixels."
        )
    return np.minimum(pixels.astype(np.int64), (camera.width - 1, camera.height - 1))
