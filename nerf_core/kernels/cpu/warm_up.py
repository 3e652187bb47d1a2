"""Compiling all kernels before they are needed, on two cores where there are two.

The training kernel is by far the largest, and what it is made of is compiled on its own. Another process compiles the
half of it that rendering shares, then the rest of rendering, while this one compiles the other half; each finds in the
cache what the other has left there.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...contract.errors import Cancelled
from ...fields.hash_grid import FastSettings
from ..backend import OccupancyUpdate
from . import forward, train
from .backend import NO_VIEWS, CpuBackend
from .compile import needs_compiling, say_compiled
from .encode_points import encode_points
from .rays import random_pixels
from .structures import make_batch
from .workers import thread_count

RAY = np.array([[0.5, 0.5, 2.0]], np.float32), np.array([[0.0, 0.0, -1.0]], np.float32)


def compile_all(should_stop: Callable[[], bool] | None = None, everything: bool = True) -> None:
    """Compile every kernel, or find it compiled.

    Parameters
    ----------
    should_stop : callable, optional
        Asked between two kernels.
    everything : bool
        Also the surface sampler's, which most trainings do without.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    other = _OtherProcess() if needs_compiling() and thread_count() > 1 else None
    try:
        for _ in _parts(_tiny_backend()):
            _go_on(should_stop)
        if other is not None:
            other.wait_for(other.half_way, should_stop)
        _tiny_backend().train_step(0.0)
        _go_on(should_stop)
        _query(_tiny_backend())
        if other is not None:
            other.wait_for(other.ended, should_stop)
        # What the other process has compiled, or has not, if it failed.
        for _ in _looking(_tiny_backend()):
            _go_on(should_stop)
        say_compiled()
        if everything:
            for _ in _surface(_tiny_backend()):
                _go_on(should_stop)
    finally:
        if other is not None:
            other.end()


def _go_on(should_stop: Callable[[], bool] | None) -> None:
    if should_stop is not None and should_stop():
        raise Cancelled


def _tiny_backend() -> CpuBackend:
    settings = FastSettings(
        scene="bounded",
        log2_table_size=10,
        occupancy_resolution=8,
        base_resolution=4,
        max_resolution=8,
        ray_steps=16,
    )
    backend = CpuBackend(settings, np.array([[0, 0, 0], [1, 1, 1]]), 0, threads=1)
    backend.load_views(NO_VIEWS, True)
    return backend


def _parts(backend: CpuBackend) -> Iterator[None]:
    """What the training kernel is made of, as far as the other process does not do it, and the updates."""
    backend.update_occupancy(OccupancyUpdate(1, 0, 0.5))
    yield
    scratch, batch = backend._scratch[0], make_batch(backend.layout)
    random_pixels(NO_VIEWS, 0, 0, 0, 1, True, scratch.rays)
    yield
    train.backward_networks(backend._field, scratch, 0, batch.weights[0], batch, 0, 0)
    yield
    backend._batch = batch
    backend._update(1e-3)
    yield


def _forward(backend: CpuBackend) -> None:
    """What the training and the rendering kernel share."""
    scratch, field, spacing = backend._scratch[0], backend._field, backend._spacing()
    small = np.float32(1e-3)
    active = forward.begin_rays(backend._grid, scratch, 0, spacing)
    forward.advance(field, backend._grid, scratch, active, 0, 0, 4, spacing, small, small, 0)
    forward.color_network(field, scratch.s_input, scratch.s_hidden2, scratch.s_color, 0)
    forward.accumulate(scratch, 0)


def _looking(backend: CpuBackend) -> Iterator[None]:
    backend.render(*RAY)
    yield
    backend.march(*RAY)
    yield


def _query(backend: CpuBackend) -> None:
    backend.query(*RAY)


def _surface(backend: CpuBackend) -> Iterator[None]:
    """What renders, traces and trains by a shell, and what looks at proposal networks."""
    encode_points(backend.layout, backend._table, RAY[0])
    yield
    backend.surface.grid()
    yield
    backend.render_surface(*RAY, None, 1)
    yield
    backend.profile_surface(*RAY, 1)
    yield
    backend.surface.gradients(1)
    yield


class _OtherProcess:
    """Python again, compiling `_forward` (then it is half way) and `_looking`."""

    def __init__(self) -> None:
        self.half_way, self.ended = threading.Event(), threading.Event()
        package = Path(__file__).resolve().parents[3]
        code = f"import sys; sys.path.insert(0, {str(package)!r}); from {__name__} import _other_half; _other_half()"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would open a console
            )
        except OSError:  # then this process compiles everything
            self.half_way.set()
            self.ended.set()
            return
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        self._process.stdout.readline()
        self.half_way.set()
        self._process.stdout.read()
        self.ended.set()

    def wait_for(self, event: threading.Event, should_stop: Callable[[], bool] | None) -> None:
        """Until the event is set, which it is too where the process has failed."""
        while not event.wait(0.02):
            _go_on(should_stop)

    def end(self) -> None:
        """Stop the process, if it has not ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _other_half() -> None:
    _forward(_tiny_backend())
    print("half way", flush=True)
    for _ in _looking(_tiny_backend()):
        pass
