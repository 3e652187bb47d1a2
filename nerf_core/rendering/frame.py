"""A picture from a method and a camera, in chunks between which it can be stopped."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled
from ..contract.samplers import SamplerChoice
from ..contract.transforms import ColorSpace
from ..data.color import decode_over_black, decode_premultiplied
from ..kernels.rays import RayArrays
from ..methods.base import Method
from ..methods.cost import RenderCost, added

FIRST_CHUNK = 8192
SMALLEST_CHUNK, LARGEST_CHUNK = 64, 1 << 18
CHUNK_SECONDS = 0.05  # what a stop, and a newer picture, has to wait for, about


@dataclass(frozen=True)
class Frame:
    """A rendered picture.

    Attributes
    ----------
    rgba : (height, width, 4) float32 array
        Premultiplied, in the training data's colour space, no background.
    depth : (height, width) float32 array
        Expected distance along the unit ray, world units; 0 where nothing was hit.
    samples : int
        Field evaluations made.
    seconds : float
    normal : (height, width, 3) float32 array or None
        Unit normals in the world, 0 where nothing was hit; where they were asked for.
    cost : RenderCost or None
        Of all rays, where the sampler counts them.
    evaluations : (height, width) float32 or int32 array or None
        Full field evaluations of each pixel's rays, mean over them; where the sampler counts them.
    """

    rgba: np.ndarray
    depth: np.ndarray
    samples: int
    seconds: float
    normal: np.ndarray | None = None
    cost: RenderCost | None = None
    evaluations: np.ndarray | None = None


class Chunks:
    """Ranges of rays, one after the other, each as many as take about `CHUNK_SECONDS`, as found on the way.

    Parameters
    ----------
    total : int
    should_stop : callable, optional
        Asked before every chunk.
    size : int, optional
        Rays at a time, whatever they take.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """

    def __init__(self, total: int, should_stop: Callable[[], bool] | None = None, size: int | None = None) -> None:
        self._total, self._should_stop, self._fixed = total, should_stop, size
        self._laps = 0

    def __iter__(self) -> Iterator[slice]:
        start, size = 0, self._fixed or FIRST_CHUNK
        while start < self._total:
            if self._should_stop is not None and self._should_stop():
                raise Cancelled("the render was stopped")
            begun, self._laps = time.perf_counter(), 0
            stop = min(start + size, self._total)
            yield slice(start, stop)
            start = stop
            if self._fixed is None:
                ratio = CHUNK_SECONDS * max(self._laps, 1) / max(time.perf_counter() - begun, 1e-6)
                size = int(np.clip(size * np.clip(ratio, 0.25, 4.0), SMALLEST_CHUNK, LARGEST_CHUNK))

    def lap(self) -> None:
        """Between two stops that the caller makes itself within a chunk: the time is for one of these."""
        self._laps += 1


def prepared(
    prepare: Callable[[Callable[[float], None]], None],
    should_stop: Callable[[], bool] | None,
    on_progress: Callable[[float], None] | None,
) -> Callable[[float], None] | None:
    """Have something made before the rays' turn; gives what tells the progress of the rest.

    Making it takes the first half of the progress, where it takes any.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    begin = 0.0

    def tell(done: float) -> None:
        nonlocal begin
        begin = 0.5
        if on_progress is not None:
            on_progress(begin * done)
        if should_stop is not None and should_stop():
            raise Cancelled("the sampler was stopped while it got ready")

    prepare(tell)
    return None if on_progress is None else lambda done: on_progress(begin + (1.0 - begin) * done)


def render_frame(
    method: Method,
    camera: Camera,
    chunk: int | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[float], None] | None = None,
    color_space: ColorSpace = "srgb",
    sampler: SamplerChoice | None = None,
    true_depth: np.ndarray | None = None,
) -> Frame:
    """Render all pixels of a camera.

    Parameters
    ----------
    method : Method
    camera : Camera
        World space.
    chunk : int, optional
        Rays at a time; by default as many as take about a twentieth of a second, found on the way.
    should_stop : callable, optional
        Asked before every chunk.
    on_progress : callable, optional
        Told the fraction that is done after every chunk.
    color_space : {'srgb', 'linear'}
        Of the run: methods always learn sRGB, and 'linear' (EXR data sets) is decoded to here.
    sampler : SamplerChoice, optional
        By default the one that the method was trained with.
    true_depth : (height, width) array, optional
        Distances along the rays, 0 where unknown; for the oracle alone.

    Raises
    ------
    NerfError
        When the field cannot be sampled so.
    Cancelled
        When `should_stop` said so.
    """
    on_progress = prepared(partial(method.prepare, sampler), should_stop, on_progress)
    started = time.perf_counter()
    total = camera.width * camera.height
    made = RayArrays.empty(total)
    samples = 0
    cost: RenderCost | None = None
    counted = True
    for rows in Chunks(total, should_stop, chunk):
        known = None if true_depth is None else true_depth.reshape(-1)[rows]
        part = made.part(rows)
        colors = method.render_pixels(camera, rows.start, rows.stop - rows.start, sampler, known, part)
        if colors.rgba is not part.rgba:  # else it was written where it belongs
            part.rgba[:], part.depth[:] = colors.rgba, colors.depth
            if colors.evaluations is not None:
                part.evaluations[:] = colors.evaluations
        samples += colors.samples
        cost = added(cost, colors.cost)
        counted = counted and colors.evaluations is not None
        if on_progress is not None:
            on_progress(rows.stop / total)
    rgba = made.rgba
    if color_space == "linear":
        rgba = decode_over_black(rgba) if method.over_black else decode_premultiplied(rgba)
    shape = (camera.height, camera.width)
    seconds = time.perf_counter() - started
    evaluations = made.evaluations.reshape(shape) if counted else None
    return Frame(rgba.reshape(*shape, 4), made.depth.reshape(shape), samples, seconds, None, cost, evaluations)
