"""One training step of the fast method as kernels K0 to K9: queued in order, nothing waited for, nothing allocated."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...fields.hash_grid import FastLayout
from ..backend import DEPTH_REACH, FastBackend, OccupancyUpdate
from .advance import launch_begin_step, launch_end_step
from .backward import launch_colour_backward, launch_density_backward
from .buffers import Batch, Packed, Parameters, State
from .compositing import launch_composite
from .encoding import (
    encoding_sizes,
    launch_encode_backward,
    launch_encode_positions,
    launch_encode_samples,
    level_table,
)
from .march import launch_count, launch_pack
from .networks import launch_density_forward, launch_field_forward, network_sizes
from .occupancy import cells_of_turn, launch_merge_density, launch_refresh_positions, launch_threshold, sum_programs
from .optimiser import launch_adam
from .rays import launch_choose_pixels
from .visible import Pieces, leave_out_hidden
from .waves import Waves


@dataclass(frozen=True)
class Numbers:
    """What kernels are told of the settings; lengths in the unit frame."""

    seed: int
    unbounded: bool
    resolution: int
    fine_step: float
    fine_growth: float
    beta1: float
    beta2: float
    epsilon: float
    weight_threshold: float
    transmittance_threshold: float
    occupancy_limit: float
    samples_per_step: int
    max_rays: int
    depth_growth: float

    @classmethod
    def of(cls, backend: FastBackend, max_rays: int) -> "Numbers":
        """Of a backend's settings."""
        settings = backend.settings
        return cls(
            seed=backend.seed,
            unbounded=backend.unbounded,
            resolution=settings.occupancy_resolution,
            fine_step=backend.fine_step,
            fine_growth=backend.fine_growth,
            beta1=settings.beta1,
            beta2=settings.beta2,
            epsilon=settings.epsilon,
            weight_threshold=settings.weight_threshold,
            transmittance_threshold=settings.transmittance_threshold,
            occupancy_limit=backend.occupancy_limit,
            samples_per_step=settings.samples_per_step,
            max_rays=max_rays,
            depth_growth=backend.depth_growth,
        )

    @property
    def growth_per_step(self) -> float:
        """The occupancy grid's stretch a length: see `fields.contraction.stretch`."""
        return self.fine_growth / self.fine_step

    @property
    def loss_scale(self) -> float:
        """What gradients are multiplied by on their way back, so that fp16 holds them; Adam divides it out.

        A ray's gradient is divided by the number of rays. A quarter of the most that there may be, as a power of two,
        makes the largest ones some tenths when there are as many, and some tens in the first steps' few rays.
        """
        return 2.0 ** round(math.log2(max(self.max_rays / 4, 1)))


class Field:
    """The field on the device: parameters, their layout as kernels want it, and the occupancy grid.

    Attributes
    ----------
    values : (G, G, G) float32 tensor
        The occupancy grid's values, z, y, x.
    bits : (G^3 / 32,) int32 tensor
        Which cells are occupied (`geometry.cell_bit`).
    box : (2, 3) float32 tensor
    """

    def __init__(self, layout: FastLayout, side: int, box: Tensor, dtype: torch.dtype) -> None:
        device = box.device
        self.parameters = Parameters.allocate(layout, dtype, device)
        self.levels = level_table(layout).to(device)
        self.encoding = encoding_sizes(layout)
        self.networks = network_sizes(layout)
        self.box = box
        self.values = torch.zeros(side, side, side, device=device)
        self.bits = torch.full((side**3 // 32,), -1, dtype=torch.int32, device=device)
        self._sums = torch.zeros(sum_programs(side), device=device)
        self._counts = torch.zeros(sum_programs(side), dtype=torch.int32, device=device)

    def threshold(self, limit: float) -> None:
        """Make the bits from the values."""
        launch_threshold(self.values, self._sums, self._counts, self.bits, limit)

    def encode(self, positions: Tensor, encoded: Tensor, count: int) -> None:
        """Encode grid positions."""
        launch_encode_positions(self.parameters.table_copy, self.levels, positions, encoded, count, self.encoding)


def march(field: Field, numbers: Numbers, state: State, packed: Packed) -> None:
    """K1 over the rays that `packed` holds: all lattice points in occupied cells."""
    count(field, numbers, state, packed)
    pack(numbers, state, packed)


def count(field: Field, numbers: Numbers, state: State, packed: Packed) -> None:
    """K1's first half: masks of lattice points."""
    launch_count(
        state.i,
        state.f,
        packed.origin,
        packed.direction,
        packed.jitter,
        field.box,
        field.bits,
        packed.masks,
        packed.ray_near,
        packed.ray_count,
        numbers.resolution,
        numbers.unbounded,
    )


def pack(numbers: Numbers, state: State, packed: Packed) -> None:
    """K1's second half: the packed list."""
    launch_pack(
        state.i,
        state.f,
        packed.jitter,
        packed.masks,
        packed.ray_near,
        packed.ray_start,
        packed.ray_count,
        packed.s_ray,
        packed.s_t,
        packed.s_dt,
        numbers.unbounded,
    )


def keep_visible(field: Field, numbers: Numbers, state: State, packed: Packed, batch: Batch, pieces: Pieces) -> None:
    """Between K1's halves, where most samples may be hidden: leave those out that no light reaches."""
    leave_out_hidden(
        state.i,
        state.f,
        packed.jitter,
        packed.masks,
        packed.ray_near,
        packed.ray_count,
        packed.s_ray,
        packed.s_t,
        packed.s_dt,
        batch.density,
        pieces,
        numbers.transmittance_threshold,
        numbers.unbounded,
        lambda: launch_begin_step(state.i),
        lambda: forward(field, numbers, state, packed, batch),
    )


def forward(field: Field, numbers: Numbers, state: State, packed: Packed | Waves, batch: Batch | Waves) -> None:
    """K2 and K3: the field at the packed samples."""
    launch_encode_samples(
        field.parameters.table_copy,
        field.levels,
        packed.origin,
        packed.direction,
        packed.s_ray,
        packed.s_t,
        state.i,
        batch.encoded,
        field.encoding,
        numbers.unbounded,
    )
    launch_field_forward(
        batch.encoded,
        field.parameters.weights_copy,
        packed.direction,
        packed.s_ray,
        state.i,
        batch.density,
        batch.rgb,
        batch.geo,
        field.networks,
    )


def composite(field: Field, numbers: Numbers, state: State, packed: Packed, batch: Batch) -> None:
    """K4: loss and gradients of the packed samples; raises the occupancy grid's values."""
    launch_composite(
        state.i,
        state.f,
        packed.origin,
        packed.direction,
        batch.target,
        batch.background,
        batch.depth,
        packed.ray_start,
        packed.ray_count,
        packed.s_t,
        packed.s_dt,
        batch.density,
        batch.rgb,
        batch.d_log_density,
        batch.d_rgb_logit,
        batch.selected,
        field.values,
        numbers.weight_threshold,
        numbers.transmittance_threshold,
        numbers.loss_scale,
        numbers.growth_per_step,
        DEPTH_REACH,
        numbers.depth_growth,
        numbers.unbounded,
    )


def backward(field: Field, numbers: Numbers, state: State, packed: Packed, batch: Batch) -> None:
    """K5, K6 and K7: gradients of all parameters, added up over the selected samples."""
    parameters = field.parameters
    launch_colour_backward(
        batch.geo,
        parameters.weights_copy,
        packed.direction,
        packed.s_ray,
        state.i,
        batch.d_rgb_logit,
        batch.d_geo,
        parameters.weights_gradient,
        field.networks,
        selected=batch.selected,
    )
    launch_density_backward(
        batch.encoded,
        parameters.weights_copy,
        state.i,
        batch.d_log_density,
        batch.d_geo,
        batch.d_encoded,
        parameters.weights_gradient,
        field.networks,
        selected=batch.selected,
    )
    launch_encode_backward(
        field.levels,
        packed.origin,
        packed.direction,
        packed.s_ray,
        packed.s_t,
        state.i,
        batch.d_encoded,
        parameters.table_gradient,
        field.encoding,
        numbers.unbounded,
        selected=batch.selected,
    )


def update(field: Field, numbers: Numbers, state: State) -> None:
    """K8: Adam over table and weights, unless something was not finite; gradients at zero again."""
    parameters = field.parameters
    for name in ("table", "weights"):
        launch_adam(
            getattr(parameters, name),
            getattr(parameters, name + "_first"),
            getattr(parameters, name + "_second"),
            getattr(parameters, name + "_gradient"),
            getattr(parameters, name + "_copy"),
            state.i,
            state.f,
            numbers.loss_scale,
            numbers.beta1,
            numbers.beta2,
            numbers.epsilon,
        )


def refresh(field: Field, numbers: Numbers, state: State, asked: OccupancyUpdate, batch: Batch, room: Tensor) -> None:
    """K9: ask part of the occupancy grid's cells anew, in as many parts as `room` (N, 3) float32 makes necessary."""
    total = cells_of_turn(numbers.resolution, asked.every)
    at_once = min(len(room), len(batch.density))
    for first in range(0, total, at_once):
        items = min(at_once, total - first)
        launch_refresh_positions(state.i, room, asked.every, first, items, numbers.seed, numbers.resolution)
        field.encode(room, batch.encoded, items)
        launch_density_forward(batch.encoded, field.parameters.weights_copy, batch.density, items, field.networks)
        launch_merge_density(
            state.i,
            room,
            batch.density,
            field.values,
            asked.every,
            first,
            items,
            asked.decay,
            numbers.growth_per_step,
            numbers.unbounded,
        )
    field.threshold(numbers.occupancy_limit)


def train_step(
    field: Field,
    numbers: Numbers,
    state: State,
    views: tuple[Any, ...],
    random_background: bool,
    packed: Packed,
    batch: Batch,
    pieces: Pieces | None,
    asked: OccupancyUpdate | None,
) -> None:
    """Queue one training step: all of its inputs and results are in device memory, its numbers in `state`.

    Parameters
    ----------
    field, numbers, state, packed, batch
        What the step changes, and what it is told.
    views : tuple of tensors
        The training pixels (`buffers.device_views`), with depths where `batch` has room for them.
    random_background : bool
        Composite over a random colour a ray; else over black.
    pieces : Pieces, optional
        Memory for leaving out what cannot be seen; without it all that is marched is trained on.
    asked : OccupancyUpdate, optional
        What to do to the occupancy grid after the step.
    """
    launch_begin_step(state.i)
    pixels, starts, widths, cameras, kinds, tables, lens, depths = views
    launch_choose_pixels(
        state.i,
        pixels,
        starts,
        widths,
        cameras,
        kinds,
        tables,
        lens,
        depths,
        packed.origin,
        packed.direction,
        batch.target,
        batch.background,
        packed.jitter,
        batch.depth,
        numbers.seed,
        random_background,
    )
    count(field, numbers, state, packed)
    if pieces is not None:
        keep_visible(field, numbers, state, packed, batch, pieces)
    pack(numbers, state, packed)
    forward(field, numbers, state, packed, batch)
    composite(field, numbers, state, packed, batch)
    backward(field, numbers, state, packed, batch)
    update(field, numbers, state)
    if asked is not None:
        # The colours' memory is free again, and takes the positions that are asked for.
        refresh(field, numbers, state, asked, batch, batch.rgb)
    launch_end_step(state.i, state.f, numbers.samples_per_step, numbers.max_rays)
