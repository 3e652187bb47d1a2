"""The hash grid in Triton: K2, interpolating table rows at samples, and K7, scattering gradients into the table.

A grid is described to kernels by `levels`, an int32 tensor (L, 3) from `level_table`: first row in the table, cells
along the grid, and the hash mask (rows - 1), which is -1 where the level is dense.
"""

import numpy as np
import torch
from torch import Tensor

from ...fields.hash_grid import HASH_PRIMES, FastLayout
from .geometry import grid_position
from .language import tl, triton
from .launch import launched

PRIME_Y: tl.constexpr = tl.constexpr(HASH_PRIMES[1] - (1 << 32))
"""As a 32-bit integer: products wrap, and the mask keeps none of what 64 bits would have held above."""
PRIME_Z: tl.constexpr = tl.constexpr(HASH_PRIMES[2])

ENCODE_BLOCK = 128
ENCODE_LEVELS = 4
"""Levels that a program of K2 takes at once: few need few registers, so that more programs wait for memory together;
four of four fp16 numbers are one sector of it."""
BACKWARD_BLOCK = 128
BACKWARD_LEVELS = 2
"""Levels that a program of K7 takes at once. All programs of some levels come before those of the next, so that the
part of the gradient that is added to stays in the L2 cache, which all of it would fill."""


def level_table(layout: FastLayout) -> Tensor:
    """(L, 3) int32: first row in the table, cells along the grid, and the hash mask (-1 where dense) of each level."""
    rows = layout.offsets[1:] - layout.offsets[:-1]
    if int(layout.offsets[-1]) * layout.features >= 1 << 31:
        raise ValueError("the table has more numbers than 32 bits address")
    table = [layout.offsets[:-1], layout.resolutions, np.where(layout.dense, -1, rows - 1)]
    return torch.from_numpy(np.stack(table, axis=1).astype(np.int32))


def encoding_sizes(layout: FastLayout) -> dict[str, int]:
    """The constants that the encoding's kernels are compiled for: LEVELS and FEATURES."""
    return {"LEVELS": layout.levels, "FEATURES": layout.features}


def level_groups(sizes: dict[str, int], largest: int) -> tuple[int, int]:
    """How many levels a program takes, a power of two, and how many such groups there are."""
    group = min(largest, triton.next_power_of_2(sizes["LEVELS"]))
    return group, triton.cdiv(sizes["LEVELS"], group)


@triton.jit
def _cells(levels, level, x, y, z, L: tl.constexpr):
    """What the eight corners of each position's cell share, for levels (P,): (P, 1) level data, then (P, B) places.

    Levels come first and samples second so that a warp reads one level: neighbours on a ray meet the same rows.
    """
    known = level < L
    start = tl.load(levels + 3 * level, mask=known, other=0)[:, None]
    cells = tl.load(levels + 3 * level + 1, mask=known, other=1)[:, None]
    hash_mask = tl.load(levels + 3 * level + 2, mask=known, other=-1)[:, None]
    dense = hash_mask < 0
    stride_y = tl.where(dense, cells + 1, PRIME_Y)
    stride_z = tl.where(dense, (cells + 1) * (cells + 1), PRIME_Z)
    scale = cells.to(tl.float32)
    px, py, pz = x[None, :] * scale, y[None, :] * scale, z[None, :] * scale
    ix = tl.minimum(tl.maximum(px.to(tl.int32), 0), cells - 1)
    iy = tl.minimum(tl.maximum(py.to(tl.int32), 0), cells - 1)
    iz = tl.minimum(tl.maximum(pz.to(tl.int32), 0), cells - 1)
    fx, fy, fz = px - ix.to(tl.float32), py - iy.to(tl.float32), pz - iz.to(tl.float32)
    return start, hash_mask, dense, stride_y, stride_z, ix, iy, iz, fx, fy, fz


@triton.jit
def _corner(cell, X: tl.constexpr, Y: tl.constexpr, Z: tl.constexpr):
    """Table row and trilinear weight, both (P, B), of one corner of `_cells`."""
    start, hash_mask, dense, stride_y, stride_z, ix, iy, iz, fx, fy, fz = cell
    a, b, c = ix + X, (iy + Y) * stride_y, (iz + Z) * stride_z
    # A dense level's mask is all ones.
    row = start + (tl.where(dense, a + b + c, a ^ b ^ c) & hash_mask)
    weight = (fx if X else 1.0 - fx) * (fy if Y else 1.0 - fy) * (fz if Z else 1.0 - fz)
    return row, weight


@triton.jit
def encode_block(table, levels, level, x, y, z, mask, L: tl.constexpr, F: tl.constexpr):
    """(B, P * F) fp32: table rows of the levels (P,) interpolated at grid positions (B,), levels side by side.

    Nothing is read, and the result is zero, where `mask` (B,) is false; likewise in the columns of levels past L.
    """
    cell = _cells(levels, level, x, y, z, L)
    wanted = (mask[None, :] & (level < L)[:, None])[:, :, None]
    feature = tl.arange(0, F)[None, None, :]
    total = tl.zeros((level.shape[0], x.shape[0], F), tl.float32)
    for corner in tl.static_range(8):
        row, weight = _corner(cell, corner & 1, (corner >> 1) & 1, corner >> 2)
        values = tl.load(table + row[:, :, None] * F + feature, mask=wanted, other=0.0)
        total += values.to(tl.float32) * weight[:, :, None]
    return tl.reshape(tl.permute(total, (1, 0, 2)), (x.shape[0], level.shape[0] * F))


@triton.jit
def _encode_group(
    table, levels, x, y, z, sample, mask, encoded, LEVELS: tl.constexpr, FEATURES: tl.constexpr, GROUP: tl.constexpr
):
    """Encode a program's levels, the second axis of the grid, of samples (B,) into their rows of `encoded`."""
    first = tl.program_id(1) * GROUP
    tile = encode_block(table, levels, first + tl.arange(0, GROUP), x, y, z, mask, LEVELS, FEATURES)
    column = first * FEATURES + tl.arange(0, GROUP * FEATURES)[None, :]
    target = encoded + sample[:, None] * (LEVELS * FEATURES) + column
    inside = mask[:, None] & (column < LEVELS * FEATURES)
    tl.store(target, tile.to(encoded.dtype.element_ty), mask=inside)


@triton.jit
def sample_position(origin, direction, s_ray, s_t, sample, mask, UNBOUNDED: tl.constexpr):
    """Grid positions x, y, z (B,) of packed samples: where their ray is at their distance."""
    ray = 3 * tl.load(s_ray + sample, mask=mask, other=0)
    t = tl.load(s_t + sample, mask=mask, other=0.0)
    ox = tl.load(origin + ray, mask=mask, other=0.0)
    oy = tl.load(origin + ray + 1, mask=mask, other=0.0)
    oz = tl.load(origin + ray + 2, mask=mask, other=0.0)
    dx = tl.load(direction + ray, mask=mask, other=0.0)
    dy = tl.load(direction + ray + 1, mask=mask, other=0.0)
    dz = tl.load(direction + ray + 2, mask=mask, other=0.0)
    return grid_position(ox, oy, oz, dx, dy, dz, t, UNBOUNDED)


@launched
@triton.jit
def encode_samples(
    table,
    levels,
    origin,
    direction,
    s_ray,
    s_t,
    state_i,
    encoded,
    capacity,
    LEVELS: tl.constexpr,
    FEATURES: tl.constexpr,
    UNBOUNDED: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """K2: encode ``state_i[2]`` packed samples (at most `capacity`); a program takes GROUP levels."""
    count = tl.minimum(tl.load(state_i + 2), capacity)
    first = tl.program_id(0) * BLOCK
    if first >= count:
        return
    sample = first + tl.arange(0, BLOCK)
    mask = sample < count
    x, y, z = sample_position(origin, direction, s_ray, s_t, sample, mask, UNBOUNDED)
    _encode_group(table, levels, x, y, z, sample, mask, encoded, LEVELS, FEATURES, GROUP)


@launched
@triton.jit
def encode_positions(
    table,
    levels,
    positions,
    encoded,
    count,
    LEVELS: tl.constexpr,
    FEATURES: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """K2 at `count` given grid positions."""
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = sample < count
    x = tl.load(positions + 3 * sample, mask=mask, other=0.0)
    y = tl.load(positions + 3 * sample + 1, mask=mask, other=0.0)
    z = tl.load(positions + 3 * sample + 2, mask=mask, other=0.0)
    _encode_group(table, levels, x, y, z, sample, mask, encoded, LEVELS, FEATURES, GROUP)


@launched
@triton.jit
def encode_backward(
    levels,
    origin,
    direction,
    s_ray,
    s_t,
    state_i,
    selected,
    d_encoded,
    d_table,
    capacity,
    LEVELS: tl.constexpr,
    FEATURES: tl.constexpr,
    UNBOUNDED: tl.constexpr,
    SELECTED: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """K7: add the gradients of samples' encodings to the table's; levels of samples without any are skipped.

    Of all ``state_i[2]`` packed samples or, with SELECTED, of the ``state_i[4]`` that `selected` lists. A program takes
    GROUP levels.
    """
    count = tl.minimum(tl.load(state_i + (4 if SELECTED else 2)), capacity)
    first = tl.program_id(0) * BLOCK
    # A step with a gradient that is not finite is thrown away.
    if (first >= count) | (tl.load(state_i + 5) != 0):
        return
    sample = first + tl.arange(0, BLOCK)
    mask = sample < count
    if SELECTED:
        sample = tl.load(selected + sample, mask=mask, other=0)
    level = tl.program_id(1) * GROUP + tl.arange(0, GROUP)
    feature = tl.arange(0, FEATURES)[None, None, :]
    source = d_encoded + (sample[None, :] * (LEVELS * FEATURES) + level[:, None] * FEATURES)[:, :, None] + feature
    inside = mask[None, :] & (level < LEVELS)[:, None]
    gradient = tl.load(source, mask=inside[:, :, None], other=0.0).to(tl.float32)
    wanted = (tl.sum((gradient != 0.0).to(tl.int32), axis=2) > 0)[:, :, None]
    x, y, z = sample_position(origin, direction, s_ray, s_t, sample, mask, UNBOUNDED)
    cell = _cells(levels, level, x, y, z, LEVELS)
    for corner in tl.static_range(8):
        row, weight = _corner(cell, corner & 1, (corner >> 1) & 1, corner >> 2)
        part = (gradient * weight[:, :, None]).to(d_table.dtype.element_ty)
        tl.atomic_add(d_table + row[:, :, None] * FEATURES + feature, part, mask=wanted, sem="relaxed")


def launch_encode_samples(
    table: Tensor,
    levels: Tensor,
    origin: Tensor,
    direction: Tensor,
    s_ray: Tensor,
    s_t: Tensor,
    state_i: Tensor,
    encoded: Tensor,
    sizes: dict[str, int],
    unbounded: bool,
    block: int = ENCODE_BLOCK,
) -> None:
    """Run K2 over the packed samples.

    Parameters
    ----------
    table : (rows, F) tensor
        fp16 or fp32.
    levels : (L, 3) int32 tensor
        `level_table`.
    origin, direction : (R, 3) tensors
        Rays in the unit frame.
    s_ray, s_t : (S,) int32 and fp32 tensors
        Each sample's ray, and its distance along it.
    state_i : (16,) int32 tensor
        Number of packed samples at 2.
    encoded : (S, L * F) tensor
        Written; fp16 or fp32.
    sizes : dict
        `encoding_sizes`.
    unbounded : bool
        Whether the grid is the contracted space or the unit cube.
    block : int
        Samples a program.
    """
    group, groups = level_groups(sizes, ENCODE_LEVELS)
    grid = (max(1, triton.cdiv(len(s_t), block)), groups)
    encode_samples[grid](
        table,
        levels,
        origin,
        direction,
        s_ray,
        s_t,
        state_i,
        encoded,
        len(s_t),
        **sizes,
        UNBOUNDED=unbounded,
        GROUP=group,
        BLOCK=block,
    )


def launch_encode_positions(
    table: Tensor,
    levels: Tensor,
    positions: Tensor,
    encoded: Tensor,
    count: int,
    sizes: dict[str, int],
    block: int = ENCODE_BLOCK,
) -> None:
    """Encode `count` grid positions (N, 3); other parameters as for `launch_encode_samples`."""
    group, groups = level_groups(sizes, ENCODE_LEVELS)
    grid = (max(1, triton.cdiv(count, block)), groups)
    encode_positions[grid](table, levels, positions, encoded, count, **sizes, GROUP=group, BLOCK=block)


def launch_encode_backward(
    levels: Tensor,
    origin: Tensor,
    direction: Tensor,
    s_ray: Tensor,
    s_t: Tensor,
    state_i: Tensor,
    d_encoded: Tensor,
    d_table: Tensor,
    sizes: dict[str, int],
    unbounded: bool,
    selected: Tensor | None = None,
    block: int = BACKWARD_BLOCK,
) -> None:
    """Run K7: add to `d_table` (rows, F), fp32 or fp16, what `d_encoded` (S, L * F) says.

    `selected` (S,) int32 lists the ``state_i[4]`` samples that have a gradient; without it all packed samples are
    looked at. Other parameters as for `launch_encode_samples`.
    """
    group, groups = level_groups(sizes, BACKWARD_LEVELS)
    grid = (max(1, triton.cdiv(len(s_t), block)), groups)
    encode_backward[grid](
        levels,
        origin,
        direction,
        s_ray,
        s_t,
        state_i,
        s_ray if selected is None else selected,
        d_encoded,
        d_table,
        len(s_t),
        **sizes,
        UNBOUNDED=unbounded,
        SELECTED=selected is not None,
        GROUP=group,
        BLOCK=block,
    )
