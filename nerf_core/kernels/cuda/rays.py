"""K0: random training pixels, their rays and colours, from a counter-based generator keyed by (seed, step, ray).

Philox (Salmon et al. 2011) on the device: no state besides the step counter, which lies on the device too, so that
a captured graph draws new pixels every time it runs.
"""

import torch
from torch import Tensor

from ..views import ORTHOGRAPHIC, TABLE
from .language import tl, triton
from .launch import launched

BLOCK = 128
KIND_ORTHOGRAPHIC: tl.constexpr = tl.constexpr(ORTHOGRAPHIC)
KIND_TABLE: tl.constexpr = tl.constexpr(TABLE)
FOR_PIXEL: tl.constexpr = tl.constexpr(0)
FOR_BACKGROUND: tl.constexpr = tl.constexpr(1)
FOR_CELL: tl.constexpr = tl.constexpr(2)


def small_seed(seed: int) -> int:
    """The seed folded to 31 bits, so that kernels take it as one type whatever it is."""
    return (seed ^ (seed >> 31) ^ (seed >> 62)) & 0x7FFFFFFF


@triton.jit
def random_words(seed, step, index, purpose: tl.constexpr):
    """Four blocks of 32 random bits for each of a block of indices."""
    counter = index.to(tl.uint32)
    zero = counter * 0
    return tl.philox(seed, counter, zero + step.to(tl.uint32), zero + purpose, zero)


@triton.jit
def to_unit(word):
    """Float32 in [0, 1) from 32 random bits: the upper 24 of them."""
    return (word >> 8).to(tl.int32).to(tl.float32) * 5.9604644775390625e-08


@triton.jit
def choose(seed, step, ray, total):
    """A pixel number below `total` for each ray, all equally likely: the upper half of a 64 x 64 bit product."""
    low, high, _, _ = random_words(seed, step, ray, FOR_PIXEL)
    bits = (high.to(tl.uint64) << 32) | low.to(tl.uint64)
    return tl.umulhi(bits, bits * 0 + total.to(tl.uint64)).to(tl.int64)


@triton.jit
def find_view(starts, chosen, views, valid):
    """The view that each pixel is in: the last one whose first pixel is not behind it, by bisection."""
    low = tl.zeros(chosen.shape, tl.int32)
    width = views
    while width > 1:
        half = width // 2
        # Of `width` candidates from `low` on, the upper `half` begin at `low + width - half`.
        middle = low + (width - half)
        upper = tl.load(starts + middle, mask=valid, other=0) <= chosen
        low = tl.where(upper, middle, low)
        width = tl.where(half * 2 == width, half, half + 1)
    return low


@triton.jit
def pixel_rays(view, pixel, widths, cameras, kinds, tables, lens, valid):
    """Origins and unit directions, in the unit frame, of the rays through the centres of views' pixels."""
    camera = cameras + 16 * view
    width = tl.load(widths + view, mask=valid, other=1).to(tl.int32)
    kind = tl.load(kinds + view, mask=valid, other=0).to(tl.int32)
    r0 = tl.load(camera + 0, mask=valid, other=0.0)
    r1 = tl.load(camera + 1, mask=valid, other=0.0)
    r2 = tl.load(camera + 2, mask=valid, other=0.0)
    r3 = tl.load(camera + 3, mask=valid, other=0.0)
    r4 = tl.load(camera + 4, mask=valid, other=0.0)
    r5 = tl.load(camera + 5, mask=valid, other=0.0)
    r6 = tl.load(camera + 6, mask=valid, other=0.0)
    r7 = tl.load(camera + 7, mask=valid, other=0.0)
    r8 = tl.load(camera + 8, mask=valid, other=0.0)
    ox = tl.load(camera + 9, mask=valid, other=0.0)
    oy = tl.load(camera + 10, mask=valid, other=0.0)
    oz = tl.load(camera + 11, mask=valid, other=0.0)
    x = (pixel % width).to(tl.float32) + 0.5
    y = (pixel // width).to(tl.float32) + 0.5
    u = (x - tl.load(camera + 14, mask=valid, other=0.0)) / tl.load(camera + 12, mask=valid, other=1.0)
    v = -(y - tl.load(camera + 15, mask=valid, other=0.0)) / tl.load(camera + 13, mask=valid, other=1.0)
    flat = kind == KIND_ORTHOGRAPHIC
    ox += tl.where(flat, r0 * u + r1 * v, 0.0)
    oy += tl.where(flat, r3 * u + r4 * v, 0.0)
    oz += tl.where(flat, r6 * u + r7 * v, 0.0)
    u = tl.where(flat, 0.0, u)
    v = tl.where(flat, 0.0, v)
    length = 1.0 / tl.sqrt(u * u + v * v + 1.0)
    by_table = valid & (kind == KIND_TABLE)
    row = lens + 3 * (tl.load(tables + view, mask=by_table, other=0) + pixel)
    u = tl.where(by_table, tl.load(row + 0, mask=by_table, other=0.0), u * length)
    v = tl.where(by_table, tl.load(row + 1, mask=by_table, other=0.0), v * length)
    w = tl.where(by_table, tl.load(row + 2, mask=by_table, other=0.0), -length)
    dx = r0 * u + r1 * v + r2 * w
    dy = r3 * u + r4 * v + r5 * w
    dz = r6 * u + r7 * v + r8 * w
    return ox, oy, oz, dx, dy, dz


@launched
@triton.jit(do_not_specialize=["seed", "views"])
def choose_pixels_kernel(
    state_i,
    pixels,
    starts,
    widths,
    cameras,
    kinds,
    tables,
    lens,
    depths,
    views,
    seed,
    origin,
    direction,
    target,
    background,
    jitter,
    depth,
    RANDOM_BACKGROUND: tl.constexpr,
    B: tl.constexpr,
):
    """Fill rays below ``state_i[1]``; see `launch_choose_pixels`. `pixels` is (P,) int32, four bytes a pixel."""
    rays = tl.load(state_i + 1)
    first = tl.program_id(0) * B
    if first < rays:
        ray = first + tl.arange(0, B)
        valid = ray < rays
        step = tl.load(state_i)
        chosen = choose(seed, step, ray, tl.load(starts + views))
        view = find_view(starts, chosen, views, valid)
        pixel = (chosen - tl.load(starts + view, mask=valid, other=0)).to(tl.int32)
        ox, oy, oz, dx, dy, dz = pixel_rays(view, pixel, widths, cameras, kinds, tables, lens, valid)
        tl.store(origin + 3 * ray + 0, ox, mask=valid)
        tl.store(origin + 3 * ray + 1, oy, mask=valid)
        tl.store(origin + 3 * ray + 2, oz, mask=valid)
        tl.store(direction + 3 * ray + 0, dx, mask=valid)
        tl.store(direction + 3 * ray + 1, dy, mask=valid)
        tl.store(direction + 3 * ray + 2, dz, mask=valid)
        w0, w1, w2, w3 = random_words(seed, step, ray, FOR_BACKGROUND)
        tl.store(jitter + ray, to_unit(w3), mask=valid)
        back_r = tl.zeros((B,), tl.float32)
        back_g = back_r
        back_b = back_r
        if RANDOM_BACKGROUND:
            back_r = to_unit(w0)
            back_g = to_unit(w1)
            back_b = to_unit(w2)
        if depth is not None:
            tl.store(depth + ray, tl.load(depths + chosen, mask=valid, other=0.0), mask=valid)
        word = tl.load(pixels + chosen, mask=valid, other=0)
        byte: tl.constexpr = 1.0 / 255.0
        alpha = ((word >> 24) & 255).to(tl.float32) * byte
        red = (word & 255).to(tl.float32) * byte
        green = ((word >> 8) & 255).to(tl.float32) * byte
        blue = ((word >> 16) & 255).to(tl.float32) * byte
        tl.store(background + 3 * ray + 0, back_r, mask=valid)
        tl.store(background + 3 * ray + 1, back_g, mask=valid)
        tl.store(background + 3 * ray + 2, back_b, mask=valid)
        tl.store(target + 3 * ray + 0, red * alpha + back_r * (1.0 - alpha), mask=valid)
        tl.store(target + 3 * ray + 1, green * alpha + back_g * (1.0 - alpha), mask=valid)
        tl.store(target + 3 * ray + 2, blue * alpha + back_b * (1.0 - alpha), mask=valid)


def launch_choose_pixels(
    state_i: Tensor,
    pixels: Tensor,
    starts: Tensor,
    widths: Tensor,
    cameras: Tensor,
    kinds: Tensor,
    tables: Tensor,
    lens: Tensor,
    depths: Tensor | None,
    origin: Tensor,
    direction: Tensor,
    target: Tensor,
    background: Tensor,
    jitter: Tensor,
    depth: Tensor | None,
    seed: int,
    random_background: bool,
) -> None:
    """K0: choose ``state_i[1]`` pixels and write their rays.

    Parameters
    ----------
    state_i : (16,) int32
        Read: the step [0] and its rays [1], at most R.
    pixels, starts, widths, cameras, kinds, tables, lens, depths
        `ViewArrays` on the device, in its types; no `depths` where nobody asks for them.
    origin, direction, target, background : (R, 3) float32
        Written: rays in the unit frame, the pixels' colours over their backgrounds, the backgrounds.
    jitter : (R,) float32
        Written: [0, 1), the shift of the ray's lattice.
    depth : (R,) float32, optional
        Written: the pixels' known distances, 0 where there is none.
    seed : int
        Of any size; 31 bits of it count.
    random_background : bool
        A random colour behind each ray, else black.
    """
    grid = (triton.cdiv(jitter.shape[0], BLOCK),)
    choose_pixels_kernel[grid](
        state_i,
        pixels.view(torch.int32).view(-1),
        starts,
        widths,
        cameras,
        kinds,
        tables,
        lens,
        depths,
        widths.shape[0],
        small_seed(seed),
        origin,
        direction,
        target,
        background,
        jitter,
        depth,
        RANDOM_BACKGROUND=random_background,
        B=BLOCK,
        num_warps=4,
    )
