"""The field's two networks in Triton: blocks for other kernels, and K3, which runs them over packed samples.

The weights are one flat buffer, fp16 (or fp32, then everything is computed in it), each matrix [in, out] row-major:
density_0, density_1, color_0, color_1 one after the other (`weight_offsets`). Dots accumulate in fp32. Sizes need not
be powers of two: tiles are padded with zeros inside the kernels.
"""

from torch import Tensor

from ...fields.hash_grid import GEO_FEATURES, MAX_LOG_DENSITY, SH_FEATURES, FastLayout
from .language import tl, triton
from .launch import launched

GEO: tl.constexpr = tl.constexpr(GEO_FEATURES)
SH: tl.constexpr = tl.constexpr(SH_FEATURES)
MAX_LOG: tl.constexpr = tl.constexpr(MAX_LOG_DENSITY)
CHANNELS: tl.constexpr = tl.constexpr(3)
LOGITS: tl.constexpr = tl.constexpr(16)
"""Columns of the colour output inside the kernels: the smallest a matrix product takes, of which three count."""

FORWARD_BLOCK = 128
FORWARD_PROGRAMS = 1056
"""Programs that share the samples, each taking every so-manieth block with its weights loaded once: 8 an H200's SM."""


def weight_names(layout: FastLayout) -> list[str]:
    """Names of the weight matrices in the flat buffer's order."""
    return [name for name in layout.shapes if name != "table"]


def weight_offsets(layout: FastLayout) -> dict[str, int]:
    """Where each matrix starts in the flat buffer, and its length under ``total``."""
    offsets, end = {}, 0
    for name in weight_names(layout):
        offsets[name] = end
        end += layout.shapes[name][0] * layout.shapes[name][1]
    return {**offsets, "total": end}


def network_sizes(layout: FastLayout) -> dict[str, int]:
    """The constants that the networks' kernels are compiled for: ENCODED, WIDTH and COLOR_WIDTH."""
    encoded, width = layout.shapes["density_0"]
    return {"ENCODED": encoded, "WIDTH": width, "COLOR_WIDTH": layout.shapes["color_0"][1]}


@triton.jit
def load_weights(
    pointer, ROWS: tl.constexpr, COLUMNS: tl.constexpr, ROWS_PADDED: tl.constexpr, COLUMNS_PADDED: tl.constexpr
):
    """A row-major matrix as a tile, with zeros to the right of it and below."""
    row = tl.arange(0, ROWS_PADDED)[:, None]
    column = tl.arange(0, COLUMNS_PADDED)[None, :]
    return tl.load(pointer + row * COLUMNS + column, mask=(row < ROWS) & (column < COLUMNS), other=0.0)


@triton.jit
def density_hidden(encoded, w0):
    """(B, WIDTH) hidden layer of the density network, in the weights' dtype."""
    return tl.maximum(tl.dot(encoded.to(w0.dtype), w0, input_precision="ieee"), 0.0).to(w0.dtype)


@triton.jit
def density_block(encoded, w0, w1):
    """(B, 16) fp32: log density, and what the colour network is told of the place."""
    return tl.dot(density_hidden(encoded, w0), w1, input_precision="ieee")


@triton.jit
def colour_hidden(geo, harmonics, c0_geo, c0_sh):
    """(B, COLOR_WIDTH) hidden layer of the colour network, in the weights' dtype."""
    total = tl.dot(geo.to(c0_geo.dtype), c0_geo, input_precision="ieee")
    total = tl.dot(harmonics.to(c0_sh.dtype), c0_sh, acc=total, input_precision="ieee")
    return tl.maximum(total, 0.0).to(c0_geo.dtype)


@triton.jit
def colour_block(geo, harmonics, c0_geo, c0_sh, c1):
    """(B, 16) fp32 colour logits in the first three columns; the colour is their sigmoid."""
    return tl.dot(colour_hidden(geo, harmonics, c0_geo, c0_sh), c1, input_precision="ieee")


@triton.jit
def harmonics_block(x, y, z):
    """(B, 16) fp32 real spherical harmonics of degree 0 to 3 at unit directions (B,); as the reference's."""
    xx, yy, zz = x * x, y * y, z * z
    h0 = tl.full(x.shape, 0.28209479177387814, tl.float32)
    h1 = -0.48860251190291987 * y
    h2 = 0.48860251190291987 * z
    h3 = -0.48860251190291987 * x
    h4 = 1.0925484305920792 * x * y
    h5 = -1.0925484305920792 * y * z
    h6 = 0.94617469575755997 * zz - 0.31539156525251999
    h7 = -1.0925484305920792 * x * z
    h8 = 0.54627421529603959 * (xx - yy)
    h9 = 0.59004358992664352 * y * (yy - 3.0 * xx)
    h10 = 2.8906114426405538 * x * y * z
    h11 = 0.45704579946446572 * y * (1.0 - 5.0 * zz)
    h12 = 0.3731763325901154 * z * (5.0 * zz - 3.0)
    h13 = 0.45704579946446572 * x * (1.0 - 5.0 * zz)
    h14 = 1.4453057213202769 * z * (xx - yy)
    h15 = 0.59004358992664352 * x * (3.0 * yy - xx)
    # Joining puts a new fastest dimension last, so the first join decides the index's highest bit.
    a0, a1, a2, a3 = tl.join(h0, h8), tl.join(h1, h9), tl.join(h2, h10), tl.join(h3, h11)
    a4, a5, a6, a7 = tl.join(h4, h12), tl.join(h5, h13), tl.join(h6, h14), tl.join(h7, h15)
    b0, b1, b2, b3 = tl.join(a0, a4), tl.join(a1, a5), tl.join(a2, a6), tl.join(a3, a7)
    c0, c1 = tl.join(b0, b2), tl.join(b1, b3)
    return tl.reshape(tl.join(c0, c1), (x.shape[0], SH))


@triton.jit
def column(tile, INDEX: tl.constexpr):
    """(B,) one column of a tile (B, N)."""
    at = tl.arange(0, tile.shape[1])[None, :]
    return tl.sum(tl.where(at == INDEX, tile, 0.0), axis=1)


@triton.jit
def density_of(log_density):
    """Density per unit-cube length of log densities, clamped so that it stays finite."""
    return tl.exp(tl.minimum(log_density, MAX_LOG, propagate_nan=tl.PropagateNan.ALL))


@triton.jit
def load_tile(pointer, row, mask, COLUMNS: tl.constexpr, PADDED: tl.constexpr):
    """Rows (B,) of a row-major array of COLUMNS columns as a tile (B, PADDED); zero where `mask` (B,) is false."""
    at = tl.arange(0, PADDED)[None, :]
    return tl.load(pointer + row[:, None] * COLUMNS + at, mask=mask[:, None] & (at < COLUMNS), other=0.0)


@triton.jit
def store_tile(pointer, row, mask, tile, COLUMNS: tl.constexpr):
    """Store the first COLUMNS columns of a tile (B, N) to rows (B,) of a row-major array of so many columns."""
    at = tl.arange(0, tile.shape[1])[None, :]
    target = pointer + row[:, None] * COLUMNS + at
    tl.store(target, tile.to(pointer.dtype.element_ty), mask=mask[:, None] & (at < COLUMNS))


@triton.jit
def load_harmonics(direction, s_ray, sample, mask):
    """(B, 16) fp32 spherical harmonics of the directions of samples' rays."""
    ray = 3 * tl.load(s_ray + sample, mask=mask, other=0)
    x = tl.load(direction + ray, mask=mask, other=0.0)
    y = tl.load(direction + ray + 1, mask=mask, other=0.0)
    z = tl.load(direction + ray + 2, mask=mask, other=0.0)
    return harmonics_block(x, y, z)


@launched
@triton.jit
def field_forward(
    encoded,
    weights,
    direction,
    s_ray,
    state_i,
    density,
    rgb,
    geo,
    capacity,
    ENCODED: tl.constexpr,
    WIDTH: tl.constexpr,
    COLOR_WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """K3: density, colour and the density network's output of ``state_i[2]`` packed samples (at most `capacity`)."""
    E: tl.constexpr = triton.next_power_of_2(ENCODED)
    W: tl.constexpr = triton.next_power_of_2(WIDTH)
    C: tl.constexpr = triton.next_power_of_2(COLOR_WIDTH)
    count = tl.minimum(tl.load(state_i + 2), capacity)
    color_0 = weights + ENCODED * WIDTH + WIDTH * GEO
    w0 = load_weights(weights, ENCODED, WIDTH, E, W)
    w1 = load_weights(weights + ENCODED * WIDTH, WIDTH, GEO, W, GEO)
    c0_geo = load_weights(color_0, GEO, COLOR_WIDTH, GEO, C)
    c0_sh = load_weights(color_0 + GEO * COLOR_WIDTH, SH, COLOR_WIDTH, SH, C)
    c1 = load_weights(color_0 + (GEO + SH) * COLOR_WIDTH, COLOR_WIDTH, CHANNELS, C, LOGITS)
    for first in tl.range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        sample = first + tl.arange(0, BLOCK)
        mask = sample < count
        features = density_block(load_tile(encoded, sample, mask, ENCODED, E), w0, w1)
        tl.store(density + sample, density_of(column(features, 0)), mask=mask)
        store_tile(geo, sample, mask, features, GEO)
        harmonics = load_harmonics(direction, s_ray, sample, mask)
        store_tile(rgb, sample, mask, tl.sigmoid(colour_block(features, harmonics, c0_geo, c0_sh, c1)), CHANNELS)


@launched
@triton.jit
def density_forward(
    encoded,
    weights,
    density,
    count,
    ENCODED: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """K3, density only, of `count` encoded positions."""
    E: tl.constexpr = triton.next_power_of_2(ENCODED)
    W: tl.constexpr = triton.next_power_of_2(WIDTH)
    w0 = load_weights(weights, ENCODED, WIDTH, E, W)
    w1 = load_weights(weights + ENCODED * WIDTH, WIDTH, GEO, W, GEO)
    for first in tl.range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        sample = first + tl.arange(0, BLOCK)
        mask = sample < count
        features = density_block(load_tile(encoded, sample, mask, ENCODED, E), w0, w1)
        tl.store(density + sample, density_of(column(features, 0)), mask=mask)


def launch_field_forward(
    encoded: Tensor,
    weights: Tensor,
    direction: Tensor,
    s_ray: Tensor,
    state_i: Tensor,
    density: Tensor,
    rgb: Tensor,
    geo: Tensor,
    sizes: dict[str, int],
    block: int = FORWARD_BLOCK,
    programs: int = FORWARD_PROGRAMS,
) -> None:
    """Run K3 over the packed samples.

    Parameters
    ----------
    encoded : (S, L * F) tensor
        fp16 or fp32, like `weights` (flat).
    direction : (R, 3) tensor
    s_ray : (S,) int32 tensor
    state_i : (16,) int32 tensor
        Number of packed samples at 2.
    density, rgb, geo : (S,), (S, 3) fp32, and (S, 16) tensors
        Written.
    sizes : dict
        `network_sizes`.
    block, programs : int
        Samples that a program takes at once, and programs at most.
    """
    grid = (max(1, min(triton.cdiv(len(density), block), programs)),)
    field_forward[grid](
        encoded, weights, direction, s_ray, state_i, density, rgb, geo, len(density), **sizes, BLOCK=block
    )


def launch_density_forward(
    encoded: Tensor,
    weights: Tensor,
    density: Tensor,
    count: int,
    sizes: dict[str, int],
    block: int = FORWARD_BLOCK,
    programs: int = FORWARD_PROGRAMS,
) -> None:
    """Density (count,) of `count` encoded positions; other parameters as for `launch_field_forward`."""
    grid = (max(1, min(triton.cdiv(count, block), programs)),)
    density_forward[grid](encoded, weights, density, count, ENCODED=sizes["ENCODED"], WIDTH=sizes["WIDTH"], BLOCK=block)
