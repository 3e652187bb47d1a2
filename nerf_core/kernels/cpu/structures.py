"""The bundles of arrays that the fused kernels take, and how big a thread's working memory is."""

from typing import NamedTuple

import numpy as np

from ...fields.hash_grid import GEO_FEATURES, SH_FEATURES, FastLayout, FastSettings
from .vector import ROW_MULTIPLE

GROUP = 64
"""Rays that a thread takes along together."""
ROUND = 8
"""Samples that each ray of a group marches before it is asked whether it has become opaque."""
SELECTED = 4096
"""Samples of a group that can be trained; a group that fills it is cut short, which is counted."""
CHUNKS = 32
"""Parts of a training batch; each sums its own gradients, so that their order never depends on the threads."""
CHUNK_ROWS = 4096
"""Trained samples that a chunk can hold."""
TILE = 48
"""Samples that go through the networks at once, so that their activations stay in the first-level cache."""
OUT = 16
"""Columns of both networks' outputs; the colour network's last 13 are padding."""


class Field(NamedTuple):
    """The parameters: `table` (rows, 4); `levels` (L, 3) int64; weights [in, out] and their transposes."""

    table: np.ndarray
    levels: np.ndarray
    w0: np.ndarray
    w1: np.ndarray
    w2: np.ndarray
    w3: np.ndarray
    w0t: np.ndarray
    w1t: np.ndarray
    w2t: np.ndarray
    w3t: np.ndarray


class Rays(NamedTuple):
    """A group of rays: the pixels they come from, where they run, and how far along them the march has come.

    A ray's lattice begins at `start`: a distance in a bounded scene, else a jitter in [0, 1); `place` is the lattice
    point where it stands. `active` lists the rays that go on.
    """

    chosen_view: np.ndarray
    chosen_pixel: np.ndarray
    jitter: np.ndarray
    origin: np.ndarray
    direction: np.ndarray
    inverse: np.ndarray
    start: np.ndarray
    far: np.ndarray
    place: np.ndarray
    target: np.ndarray
    background: np.ndarray
    depth: np.ndarray
    active: np.ndarray
    goes_on: np.ndarray
    moving: np.ndarray  # (1 + GROUP,): how many, and which


class Scratch(NamedTuple):
    """One thread's working memory: per ray of a group, per sample of a round, per selected sample, per tile."""

    rays: Rays
    transmittance: np.ndarray
    harmonics: np.ndarray
    color: np.ndarray  # (GROUP, 6): rgb, weight, weighted distance, number of samples
    slope: np.ndarray  # (GROUP, 4): d loss / d rgb, and the running sum of later samples
    sharpness: np.ndarray  # (GROUP,): 1 / reach of the depth loss, 0 where no depth is known
    found: np.ndarray
    position: np.ndarray
    distance: np.ndarray
    interval: np.ndarray
    encoded: np.ndarray
    hidden: np.ndarray
    out: np.ndarray
    s_ray: np.ndarray
    s_distance: np.ndarray
    s_interval: np.ndarray
    s_weight: np.ndarray
    s_after: np.ndarray
    s_density: np.ndarray
    s_position: np.ndarray
    s_encoded: np.ndarray
    s_hidden: np.ndarray
    s_input: np.ndarray
    s_hidden2: np.ndarray
    s_color: np.ndarray
    s_dcolor: np.ndarray
    s_dlog: np.ndarray
    t_dhidden: np.ndarray
    t_dout: np.ndarray
    t_dencoded: np.ndarray


class Batch(NamedTuple):
    """What a training step's chunks leave for the optimiser, C = CHUNKS.

    `position` (C, rows, 3) in the grid, `gradient` (C, L, rows, 4) of the encoding, `density` (C, rows), `trained` (C,)
    int64, how many of these rows are filled; `weights` (C, W) gradients of all four matrices one after the other,
    `stats` (C, 7) float64: loss, squared error, rays, samples, trained samples, rays cut short, depth loss.
    """

    position: np.ndarray
    gradient: np.ndarray
    density: np.ndarray
    trained: np.ndarray
    weights: np.ndarray
    stats: np.ndarray


def weight_sizes(layout: FastLayout) -> list[int]:
    """Floats of the four weight matrices, the last one padded to 16 columns."""
    shapes = layout.shapes
    return [
        shapes["density_0"][0] * shapes["density_0"][1],
        shapes["density_1"][0] * shapes["density_1"][1],
        shapes["color_0"][0] * shapes["color_0"][1],
        shapes["color_1"][0] * OUT,
    ]


def make_scratch(layout: FastLayout) -> Scratch:
    """Allocate one thread's working memory."""
    encoded, width = layout.shapes["density_0"]
    width2 = layout.shapes["color_0"][1]
    round_rows = GROUP * ROUND + ROW_MULTIPLE
    rows = SELECTED + ROW_MULTIPLE

    def floats(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    return Scratch(
        rays=Rays(
            chosen_view=np.zeros(GROUP, np.int64),
            chosen_pixel=np.zeros(GROUP, np.int64),
            jitter=floats(GROUP),
            origin=floats(GROUP, 3),
            direction=floats(GROUP, 3),
            inverse=floats(GROUP, 3),
            start=floats(GROUP),
            far=floats(GROUP),
            place=np.zeros(GROUP, np.int64),
            target=floats(GROUP, 3),
            background=floats(GROUP, 3),
            depth=floats(GROUP),
            active=np.zeros(GROUP, np.int64),
            goes_on=np.zeros(GROUP, np.bool_),
            moving=np.zeros(1 + GROUP, np.int64),
        ),
        transmittance=floats(GROUP),
        harmonics=floats(GROUP, SH_FEATURES),
        color=floats(GROUP, 6),
        slope=floats(GROUP, 4),
        sharpness=floats(GROUP),
        found=np.zeros(GROUP, np.int64),
        position=floats(round_rows, 3),
        distance=floats(round_rows),
        interval=floats(round_rows),
        encoded=floats(round_rows, encoded),
        hidden=floats(round_rows, width),
        out=floats(round_rows, GEO_FEATURES),
        s_ray=np.zeros(rows, np.int64),
        s_distance=floats(rows),
        s_interval=floats(rows),
        s_weight=floats(rows),
        s_after=floats(rows),
        s_density=floats(rows),
        s_position=floats(rows, 3),
        s_encoded=floats(rows, encoded),
        s_hidden=floats(rows, width),
        s_input=floats(rows, GEO_FEATURES + SH_FEATURES),
        s_hidden2=floats(rows, width2),
        s_color=floats(rows, OUT),
        s_dcolor=floats(rows, OUT),
        s_dlog=floats(rows),
        t_dhidden=floats(TILE, max(width, width2)),
        t_dout=floats(TILE, GEO_FEATURES),
        t_dencoded=floats(TILE, encoded),
    )


def make_batch(layout: FastLayout) -> Batch:
    """Allocate what a training step's chunks write."""
    return Batch(
        position=np.zeros((CHUNKS, CHUNK_ROWS, 3), np.float32),
        gradient=np.zeros((CHUNKS, layout.levels, CHUNK_ROWS, 4), np.float32),
        density=np.zeros((CHUNKS, CHUNK_ROWS), np.float32),
        trained=np.zeros(CHUNKS, np.int64),
        weights=np.zeros((CHUNKS, sum(weight_sizes(layout))), np.float32),
        stats=np.zeros((CHUNKS, 7), np.float64),
    )


def level_array(layout: FastLayout) -> np.ndarray:
    """(L, 3) int64: first row, resolution, hash mask or -1, as `encoding` takes them."""
    rows = np.diff(layout.offsets)
    return np.stack([layout.offsets[:-1], layout.resolutions, np.where(layout.dense, -1, rows - 1)], axis=1)


def check_settings(settings: FastSettings) -> str | None:
    """Why these kernels cannot compute with `settings`, or None."""
    if settings.features != 4:
        return "the numba kernels need 'features' to be 4; use 4 or set 'backend' to 'reference'"
    return None
