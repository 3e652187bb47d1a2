"""Which variants of which kernels there are, found by going through the backend's motions without launching anything.

So the list cannot fall behind the code: what is compiled ahead is what the backend asks for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...fields.hash_grid import FastSettings
from ..backend import FastBackend
from ..views import ViewArrays
from .launch import Variant, recording


@dataclass(frozen=True)
class Ceiling:
    """What a kernel may need of a multiprocessor; spilling or a stack is never allowed.

    Attributes
    ----------
    registers : int
        A thread, on any architecture.
    shared : int
        Bytes a block.
    """

    registers: int
    shared: int


CEILINGS = {
    "begin_step": Ceiling(32, 0),
    "choose_pixels_kernel": Ceiling(48, 0),
    "count_samples": Ceiling(64, 64),
    "pack_samples": Ceiling(80, 64),
    "take_piece": Ceiling(48, 1 << 10),
    "end_piece": Ceiling(56, 64),
    "keep_seen": Ceiling(80, 256),
    "encode_samples": Ceiling(104, 4 << 10),
    "encode_positions": Ceiling(104, 4 << 10),
    "field_forward": Ceiling(176, 40 << 10),
    "density_forward": Ceiling(112, 32 << 10),
    "composite": Ceiling(96, 64),
    "colour_backward": Ceiling(184, 24 << 10),
    "density_backward": Ceiling(200, 24 << 10),
    "encode_backward": Ceiling(72, 64),
    "adam": Ceiling(64, 4 << 10),
    "refresh_positions_kernel": Ceiling(40, 0),
    "merge_density_kernel": Ceiling(32, 2 << 10),
    "sum_values_kernel": Ceiling(56, 64),
    "threshold_kernel": Ceiling(40, 256),
    "end_step": Ceiling(32, 0),
    "begin_rays": Ceiling(48, 64),
    "begin_wave": Ceiling(24, 0),
    "advance_rays": Ceiling(96, 64),
    "blend_rays": Ceiling(80, 64),
}
"""By kernel. 168 registers are three blocks of 128 threads on a multiprocessor, 255 the most that a thread can have."""

OTHER_RESOLUTIONS = (64, 96)
"""Occupancy grids of runs that were trained on the CPU."""


def _settings(scene: str, resolution: int) -> FastSettings:
    # The sizes that kernels are compiled for; those that they are told at run time are small.
    settings = FastSettings(scene=scene, log2_table_size=10, occupancy_resolution=resolution, ray_steps=64)
    return replace(settings.sized_for(400.0, cuda=True), samples_per_step=1024, max_rays_per_step=64)


def record(everything: bool = False) -> dict[Variant, Any]:
    """The variants that the default settings use, with their functions.

    Needs a process in which Triton does not interpret.

    Parameters
    ----------
    everything : bool
        Also what runs with other occupancy grids use.
    """
    from .backend import CudaBackend

    cases = [("bounded", 128), ("unbounded", 128)]
    if everything:
        cases += [("bounded", resolution) for resolution in OTHER_RESOLUTIONS]
    box = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], np.float32)
    with recording() as variants:
        for scene, resolution in cases:
            for _ in go_through(CudaBackend(_settings(scene, resolution), box, 0, device="cpu")):
                pass
    return variants


def go_through(backend: FastBackend) -> Iterator[None]:
    """Launch every kernel of a backend once, on a view of a few pixels; pauses between kinds of work."""
    origins, directions = np.array([[0.5, 0.5, 2.0]], np.float32), np.array([[0.0, 0.0, -1.0]], np.float32)
    for random_background, with_depth in ((True, False), (False, False), (True, True), (False, True)):
        backend.load_views(_one_view(with_depth), random_background)
        backend.step = 15  # one that ends with an update of the occupancy grid
        backend.train_step(0.0)
        yield
    backend.drop_views()
    backend.render(origins, directions)
    yield
    backend.march(origins, directions)
    yield
    backend.query(origins, directions)
    backend.query(origins, None)


def _one_view(with_depth: bool) -> ViewArrays:
    return ViewArrays(
        pixels=np.zeros((16, 4), np.uint8),
        starts=np.array([0, 16], np.int64),
        widths=np.array([4], np.int64),
        cameras=np.array([[1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 2, 4, 4, 2, 2]], np.float32),
        kinds=np.zeros(1, np.int64),
        tables=np.zeros(1, np.int64),
        lens=np.zeros((1, 3), np.float32),
        depths=np.zeros(16 if with_depth else 0, np.float32),
    )
