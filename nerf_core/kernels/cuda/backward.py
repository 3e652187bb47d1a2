"""Back through the field's two networks in Triton: K5, the colour network, and K6, the density network.

Hidden layers are computed again from the stored inputs. All of it in one kernel would spill registers, so there are
two. Each program takes every so-manieth block of samples, keeps its sums of the weights' gradients in registers, and
adds them to the flat buffer once, at its end. Gradients carry the static loss scale.
"""

from torch import Tensor

from .language import tl, triton
from .launch import launched
from .networks import (
    CHANNELS,
    GEO,
    LOGITS,
    SH,
    density_hidden,
    load_harmonics,
    load_tile,
    load_weights,
    store_tile,
)

BACKWARD_BLOCK = 64
"""Twice that would need more registers than a thread has, on GPUs before Hopper."""
BACKWARD_PROGRAMS = 396
"""Three an H200's SM, as many as fit; each ends with one atomic addition a weight, so more of them would cost more."""
BACKWARD_STAGES = 1
"""No pipelining of loads over the loop: with three programs on an SM it would only cost registers."""

LARGEST_HALF: tl.constexpr = tl.constexpr(65504.0)


@triton.jit
def narrow(gradient, like):
    """A gradient in the weights' dtype: what fp16 cannot hold becomes its largest number, NaN stays NaN."""
    if like.dtype == tl.float16:
        gradient = tl.minimum(gradient, LARGEST_HALF, propagate_nan=tl.PropagateNan.ALL)
        gradient = tl.maximum(gradient, -LARGEST_HALF, propagate_nan=tl.PropagateNan.ALL)
    return gradient.to(like.dtype)


@triton.jit
def report_not_finite(state_i, total):
    """Raise the count of ``state_i[5]`` where a program's sums are not all finite."""
    # Not below infinity: infinite, or NaN.
    bad = tl.sum(tl.sum((~(tl.abs(total) < float("inf"))).to(tl.int32), axis=1), axis=0)
    if bad > 0:
        tl.atomic_add(state_i + 5, bad, sem="relaxed")


@triton.jit
def add_weights(pointer, state_i, total, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Add a program's sums to a matrix of the flat gradient buffer, and report what is not finite."""
    row = tl.arange(0, total.shape[0])[:, None]
    column = tl.arange(0, total.shape[1])[None, :]
    report_not_finite(state_i, total)
    tl.atomic_add(pointer + row * COLUMNS + column, total, mask=(row < ROWS) & (column < COLUMNS), sem="relaxed")


@launched
@triton.jit
def colour_backward(
    geo,
    weights,
    direction,
    s_ray,
    state_i,
    selected,
    d_rgb_logit,
    d_geo,
    d_weights,
    capacity,
    ENCODED: tl.constexpr,
    WIDTH: tl.constexpr,
    COLOR_WIDTH: tl.constexpr,
    SELECTED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """K5: from the gradient of the colour logits to the colour network's weights' and its input's."""
    C: tl.constexpr = triton.next_power_of_2(COLOR_WIDTH)
    first_weight: tl.constexpr = ENCODED * WIDTH + WIDTH * GEO
    count = tl.minimum(tl.load(state_i + (4 if SELECTED else 2)), capacity)
    begin = tl.program_id(0) * BLOCK
    if begin >= count:
        return
    color_0 = weights + first_weight
    # One product over both inputs side by side: their columns taken in turns, as joining them gives for nothing.
    turn = tl.arange(0, GEO + SH)[:, None]
    row = (turn % 2) * GEO + turn // 2
    column = tl.arange(0, C)[None, :]
    inside = column < COLOR_WIDTH
    c0 = tl.load(color_0 + row * COLOR_WIDTH + column, mask=inside, other=0.0)
    c0_geo = load_weights(color_0, GEO, COLOR_WIDTH, GEO, C)
    c1 = load_weights(color_0 + (GEO + SH) * COLOR_WIDTH, COLOR_WIDTH, CHANNELS, C, LOGITS)
    d_c0 = tl.zeros((GEO + SH, C), tl.float32)
    d_c1 = tl.zeros((C, LOGITS), tl.float32)
    for first in tl.range(begin, count, tl.num_programs(0) * BLOCK):
        sample = first + tl.arange(0, BLOCK)
        mask = sample < count
        if SELECTED:
            sample = tl.load(selected + sample, mask=mask, other=0)
        features = load_tile(geo, sample, mask, GEO, GEO).to(c0.dtype)
        harmonics = load_harmonics(direction, s_ray, sample, mask).to(c0.dtype)
        x = tl.reshape(tl.join(features, harmonics), (BLOCK, GEO + SH))
        d_logit = narrow(load_tile(d_rgb_logit, sample, mask, CHANNELS, LOGITS), c1)
        hidden = tl.maximum(tl.dot(x, c0, input_precision="ieee"), 0.0).to(c0.dtype)
        d_c1 = tl.dot(tl.trans(hidden), d_logit, acc=d_c1, input_precision="ieee")
        d_hidden = tl.dot(d_logit, tl.trans(c1), input_precision="ieee")
        d_hidden = narrow(tl.where(hidden > 0.0, d_hidden, 0.0), c1)
        d_c0 = tl.dot(tl.trans(x), d_hidden, acc=d_c0, input_precision="ieee")
        d_features = tl.dot(d_hidden, tl.trans(c0_geo), input_precision="ieee")
        store_tile(d_geo, sample, mask, narrow(d_features, c0), GEO)
    target = d_weights + first_weight
    report_not_finite(state_i, d_c0)
    tl.atomic_add(target + row * COLOR_WIDTH + column, d_c0, mask=inside, sem="relaxed")
    add_weights(target + (GEO + SH) * COLOR_WIDTH, state_i, d_c1, COLOR_WIDTH, CHANNELS)


@launched
@triton.jit
def density_backward(
    encoded,
    weights,
    state_i,
    selected,
    d_log_density,
    d_geo,
    d_encoded,
    d_weights,
    capacity,
    ENCODED: tl.constexpr,
    WIDTH: tl.constexpr,
    SELECTED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """K6: from the gradients of log density and of the colour network's input to the density network's."""
    E: tl.constexpr = triton.next_power_of_2(ENCODED)
    W: tl.constexpr = triton.next_power_of_2(WIDTH)
    count = tl.minimum(tl.load(state_i + (4 if SELECTED else 2)), capacity)
    begin = tl.program_id(0) * BLOCK
    if begin >= count:
        return
    w0 = load_weights(weights, ENCODED, WIDTH, E, W)
    w1 = load_weights(weights + ENCODED * WIDTH, WIDTH, GEO, W, GEO)
    d_w0 = tl.zeros((E, W), tl.float32)
    d_w1 = tl.zeros((W, GEO), tl.float32)
    log_density = (tl.arange(0, GEO) == 0)[None, :]
    for first in tl.range(begin, count, tl.num_programs(0) * BLOCK):
        sample = first + tl.arange(0, BLOCK)
        mask = sample < count
        if SELECTED:
            sample = tl.load(selected + sample, mask=mask, other=0)
        x = load_tile(encoded, sample, mask, ENCODED, E).to(w0.dtype)
        d_log = tl.load(d_log_density + sample, mask=mask, other=0.0)[:, None]
        d_features = load_tile(d_geo, sample, mask, GEO, GEO).to(tl.float32)
        d_features = narrow(d_features + tl.where(log_density, d_log, 0.0), w1)
        hidden = density_hidden(x, w0)
        d_w1 = tl.dot(tl.trans(hidden), d_features, acc=d_w1, input_precision="ieee")
        d_hidden = tl.dot(d_features, tl.trans(w1), input_precision="ieee")
        d_hidden = narrow(tl.where(hidden > 0.0, d_hidden, 0.0), w1)
        d_w0 = tl.dot(tl.trans(x), d_hidden, acc=d_w0, input_precision="ieee")
        d_x = tl.dot(d_hidden, tl.trans(w0), input_precision="ieee")
        store_tile(d_encoded, sample, mask, narrow(d_x, w0), ENCODED)
    add_weights(d_weights, state_i, d_w0, ENCODED, WIDTH)
    add_weights(d_weights + ENCODED * WIDTH, state_i, d_w1, WIDTH, GEO)


def launch_colour_backward(
    geo: Tensor,
    weights: Tensor,
    direction: Tensor,
    s_ray: Tensor,
    state_i: Tensor,
    d_rgb_logit: Tensor,
    d_geo: Tensor,
    d_weights: Tensor,
    sizes: dict[str, int],
    selected: Tensor | None = None,
    block: int = BACKWARD_BLOCK,
    programs: int = BACKWARD_PROGRAMS,
) -> None:
    """Run K5.

    Parameters
    ----------
    geo : (S, 16) tensor
        The density network's output.
    weights : flat tensor
        fp16 or fp32, like `geo`.
    direction : (R, 3) tensor
    s_ray : (S,) int32 tensor
    state_i : (16,) int32 tensor
        Samples at 2, selected ones at 4; the count at 5 is raised where a weight's gradient is not finite.
    d_rgb_logit : (S, 3) tensor
    d_geo : (S, 16) tensor
        Written.
    d_weights : flat fp32 tensor
        Added to.
    sizes : dict
        `networks.network_sizes`.
    selected : (S,) int32 tensor, optional
        The ``state_i[4]`` samples that have a gradient; without it all packed samples are taken.
    block, programs : int
        Samples that a program takes at once, and programs at most.
    """
    grid = (max(1, min(triton.cdiv(len(s_ray), block), programs)),)
    colour_backward[grid](
        geo,
        weights,
        direction,
        s_ray,
        state_i,
        s_ray if selected is None else selected,
        d_rgb_logit,
        d_geo,
        d_weights,
        len(s_ray),
        **sizes,
        SELECTED=selected is not None,
        BLOCK=block,
        num_stages=BACKWARD_STAGES,
    )


def launch_density_backward(
    encoded: Tensor,
    weights: Tensor,
    state_i: Tensor,
    d_log_density: Tensor,
    d_geo: Tensor,
    d_encoded: Tensor,
    d_weights: Tensor,
    sizes: dict[str, int],
    selected: Tensor | None = None,
    block: int = BACKWARD_BLOCK,
    programs: int = BACKWARD_PROGRAMS,
) -> None:
    """Run K6 after K5: `d_encoded` (S, L * F) is written, the density network's part of `d_weights` added to.

    `d_log_density` (S,) comes from compositing, `d_geo` (S, 16) from K5; other parameters as for
    `launch_colour_backward`.
    """
    grid = (max(1, min(triton.cdiv(len(d_log_density), block), programs)),)
    density_backward[grid](
        encoded,
        weights,
        state_i,
        state_i if selected is None else selected,
        d_log_density,
        d_geo,
        d_encoded,
        d_weights,
        len(d_log_density),
        ENCODED=sizes["ENCODED"],
        WIDTH=sizes["WIDTH"],
        SELECTED=selected is not None,
        BLOCK=block,
        num_stages=BACKWARD_STAGES,
    )
