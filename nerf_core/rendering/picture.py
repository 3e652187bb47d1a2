"""A picture of layers, with all that a view asks for, in pieces between which it can be stopped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, NerfError
from ..data.memory import free_memory
from ..methods.cost import RenderCost, added
from .along import look_along
from .exposure import Exposure, Shot
from .frame import Chunks, Frame, prepared, render_frame
from .layers import Layer
from .normals import normals_at, unit
from .view import View

ShouldStop = Callable[[], bool]
OnProgress = Callable[[float], None]
LARGE = 16_000_000  # pixels, from which the memory is asked
BYTES_A_PIXEL = 48  # rgba, depth, normal, and a copy of the colours


def render_picture(
    layers: Sequence[Layer],
    view: View,
    should_stop: ShouldStop | None = None,
    on_progress: OnProgress | None = None,
    shutter_layers: Sequence[Sequence[Layer]] = (),
) -> Frame:
    """Render a view of layers.

    Parameters
    ----------
    layers : sequence of Layer
    view : View
        World space.
    should_stop : callable, optional
        Asked every now and then.
    on_progress : callable, optional
        Told the fraction that is done.
    shutter_layers : sequence of sequences of Layer
        The layers at the time of each of `view.shutter`; empty: they stand still.

    Raises
    ------
    NerfError
        When the picture does not fit into the memory.
    Cancelled
        When `should_stop` said so.
    """
    _check_memory(view.camera)
    if len(layers) == 1 and view.is_plain and not layers[0].crops and layers[0].scale is not None:
        return _whole(layers[0], view, should_stop, on_progress)
    return _Picture(layers, view, should_stop, on_progress, shutter_layers).render()


def _check_memory(camera: Camera) -> None:
    """A sentence before rendering beats a process killed in the middle of it."""
    pixels = camera.width * camera.height
    free = free_memory() if pixels > LARGE else None
    if free is not None and BYTES_A_PIXEL * pixels > free:
        raise NerfError(
            f"A picture of {camera.width}x{camera.height} pixels needs {BYTES_A_PIXEL * pixels / 1e9:.1f} GB of memory "
            f"and {free / 1e9:.1f} GB are free; render a smaller one."
        )


def _whole(layer: Layer, view: View, should_stop: ShouldStop | None, on_progress: OnProgress | None) -> Frame:
    """One run that is not cut or bent: its method makes the rays of a camera that is moved the other way."""
    color_space = "linear" if view.color == "linear" else layer.color_space
    camera = layer.camera_in_run(view.camera)
    frame = render_frame(
        layer.method, camera, None, should_stop, on_progress, color_space, layer.sampler or view.sampler
    )
    if layer.scale != 1.0:
        frame = replace(frame, depth=frame.depth * np.float32(layer.scale))
    if view.depth == "distance" and not view.normals:
        return frame
    started = time.perf_counter()
    depth, alpha = frame.depth.reshape(-1), frame.rgba.reshape(-1, 4)[:, 3]
    normal = np.zeros((len(depth), 3), np.float32) if view.normals else None
    z = depth.copy()
    exposure = Exposure(view)
    for rows in Chunks(len(depth), should_stop):
        (shot,) = exposure.shots(np.arange(rows.start, rows.stop), 0)
        if view.depth == "z":
            z[rows] = depth[rows] * shot.cosine
        if normal is not None:
            normal[rows] = _normals_of([layer], shot, np.zeros(len(shot.rows), np.int64), depth[rows], alpha[rows])
    shape = frame.depth.shape
    return replace(
        frame,
        depth=z.reshape(shape),
        seconds=frame.seconds + time.perf_counter() - started,
        normal=None if normal is None else normal.reshape(*shape, 3),
    )


class _Picture:
    """Sums over the samples of every pixel."""

    def __init__(
        self,
        layers: Sequence[Layer],
        view: View,
        should_stop: ShouldStop | None,
        on_progress: OnProgress | None,
        shutter_layers: Sequence[Sequence[Layer]],
    ) -> None:
        self.layers, self.shutter_layers, self.view = layers, shutter_layers, view
        self.should_stop, self.on_progress = should_stop, on_progress
        self.every = [layer for group in (layers, *shutter_layers) for layer in group]
        self.linear = view.color == "linear" or any(layer.color_space == "linear" for layer in self.every)
        total = view.camera.width * view.camera.height
        self.rgba = np.zeros((total, 4), np.float32)
        self.distance = np.zeros(total, np.float32)
        self.normal = np.zeros((total, 3), np.float32) if view.normals else None
        self.samples = 0
        self.cost: RenderCost | None = None
        self.evaluations: np.ndarray | None = np.zeros(total, np.float32)

    def render(self) -> Frame:
        self.on_progress = prepared(self._prepare, self.should_stop, self.on_progress)
        started = time.perf_counter()
        camera, count = self.view.camera, self.view.samples
        exposure = Exposure(self.view)
        total = len(self.rgba)
        done = 0
        chunks = Chunks(total, self.should_stop)
        for rows in chunks:
            pixels = np.arange(rows.start, rows.stop)
            for sample in range(count):
                if sample and self.should_stop is not None and self.should_stop():
                    raise Cancelled("the render was stopped")
                for shot in exposure.shots(pixels, sample):
                    self._add(shot, rows.start)
                done += len(pixels)
                chunks.lap()
                if self.on_progress is not None:
                    self.on_progress(done / (total * count))
        shape = (camera.height, camera.width)
        alpha = self.rgba[:, 3]
        depth = np.where(alpha > 0, self.distance / np.maximum(alpha, np.float32(1e-20)), np.float32(0.0))
        return Frame(
            (self.rgba / np.float32(count)).reshape(*shape, 4),
            depth.reshape(shape),
            self.samples,
            time.perf_counter() - started,
            None if self.normal is None else unit(self.normal).reshape(*shape, 3),
            self.cost,
            None if self.evaluations is None else (self.evaluations / np.float32(count)).reshape(shape),
        )

    def _prepare(self, tell: OnProgress) -> None:
        for layer in self.every:
            layer.prepare(self.view.sampler, tell)

    def _add(self, shot: Shot, first: int) -> None:
        layers = self.layers
        if shot.pose is not None and self.shutter_layers:
            layers = self.shutter_layers[shot.pose]
        if not layers:
            return
        seen = look_along(layers, shot.rays, sampler=self.view.sampler)
        where = shot.rows + first
        self.rgba[where] += seen.rgba(self.linear)
        distance = seen.distance.sum(axis=0)
        self.distance[where] += distance * shot.cosine if self.view.depth == "z" else distance
        self.samples += seen.samples
        self.cost = added(self.cost, seen.cost)
        if self.evaluations is not None and seen.evaluations is not None:
            self.evaluations[where] += seen.evaluations
        else:
            self.evaluations = None
        if self.normal is not None:
            alpha = seen.alpha
            self.normal[where] += alpha[:, None] * _normals_of(layers, shot, *seen.foremost(), alpha)


def _normals_of(
    layers: Sequence[Layer], shot: Shot, foremost: np.ndarray, distance: np.ndarray, alpha: np.ndarray
) -> np.ndarray:
    """(R, 3) normals of each ray's foremost layer at a distance; 0 where `alpha` is."""
    normal = np.zeros((len(foremost), 3), np.float32)
    for index, layer in enumerate(layers):
        rows = np.flatnonzero((foremost == index) & (alpha > 0))
        if len(rows):
            directions = shot.rays.directions[rows]
            normal[rows] = normals_at(layer, shot.rays.origins[rows] + directions * distance[rows, None], directions)
    return normal
