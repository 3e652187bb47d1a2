"""K4: from densities and colours of packed samples to the loss and its gradients, with what is trained picked out.

A warp takes eight rays, eight samples of each at a time. A training ray has some tens of samples, so a warp a ray
would leave most lanes idle on the last of its chunks, and a thread a ray would read memory in strides and wait for
the longest of 32. Eight samples are a sector of memory, and the running optical depth within them is a scan of three
shuffles. Two passes over a ray: its colour must be known before any gradient. The sum over later samples that a
gradient needs is the ray's whole sum less the running one, so the second pass also goes from front to back.

Quadrature as in Max 1995: w_i = T_i (1 - exp(-density_i dt_i)). A sample is selected where w_i is above the weight
threshold and T_i has not fallen below the transmittance threshold; others absorb, but are neither seen nor trained.
"""

from torch import Tensor

from .geometry import cell_index, grid_position, stretch
from .language import tl, triton
from .launch import launched

RAYS = 8
LANES = 8
OCCUPANCY_EVERY: tl.constexpr = tl.constexpr(16)
"""As `kernels.backend.OCCUPANCY_EVERY`: samples raise the grid's values in the steps that it is updated after."""
INFINITY: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def weigh(density, dt, before, weight_threshold, transmittance_threshold, valid):
    """Weights of a chunk (RAYS, LANES) of samples, front to back along axis 1.

    `before` (RAYS,) is the optical depth in front of the chunk. Gives weights, transmittance behind each sample,
    which are selected, and the optical depth behind the chunk.
    """
    depth = tl.where(valid, density * dt, 0.0)
    passing = tl.exp(-(before[:, None] + (tl.cumsum(depth, axis=1) - depth)))
    through = tl.exp(-depth)
    weight = passing * (1.0 - through)
    selected = valid & (weight > weight_threshold) & (passing >= transmittance_threshold)
    return weight, passing * through, selected, before + tl.sum(depth, axis=1)


@triton.jit
def load_color(rgb, sample, mask):
    """Colours of samples, three blocks; zero where not `mask`."""
    red = tl.load(rgb + 3 * sample + 0, mask=mask, other=0.0)
    green = tl.load(rgb + 3 * sample + 1, mask=mask, other=0.0)
    blue = tl.load(rgb + 3 * sample + 2, mask=mask, other=0.0)
    return red, green, blue


@triton.jit
def nearness(depth, sharpness, t):
    """1 at the known depth, falling to 0 within its reach; 0 where no depth is known (a sharpness of 0)."""
    return tl.where(sharpness > 0.0, tl.maximum(1.0 - tl.abs(t - depth) * sharpness, 0.0), 0.0)


@triton.jit
def feed_cells(values, origin, direction, ray, t, density, mask, growth_per_step, G: tl.constexpr, U: tl.constexpr):
    """Let densities at samples of rays (RAYS, 1) raise the values of the occupancy cells that they lie in."""
    known = ray >= 0
    x, y, z = grid_position(
        tl.load(origin + 3 * ray + 0, mask=known),
        tl.load(origin + 3 * ray + 1, mask=known),
        tl.load(origin + 3 * ray + 2, mask=known),
        tl.load(direction + 3 * ray + 0, mask=known),
        tl.load(direction + 3 * ray + 1, mask=known),
        tl.load(direction + 3 * ray + 2, mask=known),
        t,
        U,
    )
    cell = values + (cell_index(z, G) * G + cell_index(y, G)) * G + cell_index(x, G)
    value = density * stretch(x, y, z, growth_per_step, U)
    old = tl.load(cell, mask=mask, other=-1.0)
    # Cells that hold no place stay below 0. Floats that are not negative are ordered as their bits are.
    raises = mask & (old >= 0.0) & (value > old) & (value < INFINITY)
    bits = cell.to(tl.pointer_type(tl.int32), bitcast=True)
    tl.atomic_max(bits, value.to(tl.int32, bitcast=True), mask=raises, sem="relaxed")


@launched
@triton.jit
def composite(
    state_i,
    state_f,
    origin,
    direction,
    target,
    background,
    depth,
    ray_start,
    ray_count,
    s_t,
    s_dt,
    density,
    rgb,
    d_log_density,
    d_rgb_logit,
    selected,
    values,
    weight_threshold,
    transmittance_threshold,
    loss_scale,
    growth_per_step,
    reach,
    depth_growth,
    RESOLUTION: tl.constexpr,
    UNBOUNDED: tl.constexpr,
    RAYS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Colours, loss and gradients of a few rays; see `launch_composite`."""
    rays = tl.load(state_i + 1)
    first = tl.program_id(0) * RAYS
    if first < rays:
        ray = first + tl.arange(0, RAYS)
        here = ray < rays
        lane = tl.arange(0, LANES)[None, :]
        start = tl.load(ray_start + ray, mask=here, other=0)[:, None]
        count = tl.load(ray_count + ray, mask=here, other=0)
        longest = tl.max(count, axis=0)
        count = count[:, None]
        back_r, back_g, back_b = load_color(background, ray, here)
        goal_r, goal_g, goal_b = load_color(target, ray, here)

        if depth is not None:
            known = tl.load(depth + ray, mask=here, other=0.0)
            sharpness = tl.where(known > 0.0, 1.0 / tl.maximum(reach, depth_growth * known), 0.0)[:, None]
            known = known[:, None]
            sum_near = tl.zeros((RAYS, LANES), tl.float32)
        # Sums stay apart a lane until the end of the ray.
        before = tl.zeros((RAYS,), tl.float32)
        sum_r = tl.zeros((RAYS, LANES), tl.float32)
        sum_g = sum_r
        sum_b = sum_r
        sum_w = sum_r
        chosen = tl.zeros((RAYS, LANES), tl.int32)
        bad = chosen
        for base in range(0, longest, LANES):
            sample = start + base + lane
            valid = base + lane < count
            thickness = tl.load(density + sample, mask=valid, other=0.0)
            dt = tl.load(s_dt + sample, mask=valid, other=0.0)
            weight, _, seen, before = weigh(thickness, dt, before, weight_threshold, transmittance_threshold, valid)
            red, green, blue = load_color(rgb, sample, seen)
            weight = tl.where(seen, weight, 0.0)
            sum_r += weight * red
            sum_g += weight * green
            sum_b += weight * blue
            sum_w += weight
            if depth is not None:
                sum_near += weight * nearness(known, sharpness, tl.load(s_t + sample, mask=seen, other=0.0))
            chosen += seen.to(tl.int32)
            # Not below infinity: infinite, or NaN.
            bad += (~(tl.abs(thickness) < INFINITY) | ~(tl.abs(red + green + blue) < INFINITY)).to(tl.int32)
        clear = 1.0 - tl.sum(sum_w, axis=1)
        seen_r = tl.sum(sum_r, axis=1)
        seen_g = tl.sum(sum_g, axis=1)
        seen_b = tl.sum(sum_b, axis=1)
        off_r = tl.where(here, seen_r + clear * back_r - goal_r, 0.0)
        off_g = tl.where(here, seen_g + clear * back_g - goal_g, 0.0)
        off_b = tl.where(here, seen_b + clear * back_b - goal_b, 0.0)
        error = off_r * off_r + off_g * off_g + off_b * off_b
        finite = error < INFINITY
        bad_total = tl.sum(tl.sum(bad, axis=1), axis=0) + tl.sum((~finite).to(tl.int32), axis=0)
        if bad_total > 0:
            tl.atomic_add(state_i + 5, bad_total, sem="relaxed")
        tl.atomic_add(state_f + 1, tl.sum(tl.where(finite, error, 0.0), axis=0), sem="relaxed")

        of_ray = tl.sum(chosen, axis=1)
        first_selected = tl.atomic_add(state_i + 4, tl.sum(of_ray, axis=0), sem="relaxed")
        listed = first_selected + tl.cumsum(of_ray, axis=0) - of_ray

        scale = 2.0 * loss_scale / (3.0 * rays.to(tl.float32))
        slope_r = scale * off_r
        slope_g = scale * off_g
        slope_b = scale * off_b
        slope_back = slope_r * back_r + slope_g * back_g + slope_b * back_b
        # What of q_j w_j still lies ahead; q_j = dL/dcolor . (c_j - background).
        ahead = slope_r * seen_r + slope_g * seen_g + slope_b * seen_b - (1.0 - clear) * slope_back
        if depth is not None:
            is_near = tl.sum(sum_near, axis=1)
            missed = tl.where(sharpness > 0.0, 1.0, 0.0)
            missed = tl.sum(tl.sum(missed, axis=1) - tl.where(is_near < INFINITY, is_near, 0.0), axis=0)
            tl.atomic_add(state_f + 5, missed, sem="relaxed")
            depth_scale = tl.load(state_f + 4) * loss_scale / rays.to(tl.float32)
            ahead -= depth_scale * is_near
        before = tl.zeros((RAYS,), tl.float32)
        step = tl.load(state_i)
        feeds = (step >= OCCUPANCY_EVERY) & (step % OCCUPANCY_EVERY == OCCUPANCY_EVERY - 1)
        for base in range(0, longest, LANES):
            sample = start + base + lane
            valid = base + lane < count
            thickness = tl.load(density + sample, mask=valid, other=0.0)
            dt = tl.load(s_dt + sample, mask=valid, other=0.0)
            weight, after, seen, before = weigh(thickness, dt, before, weight_threshold, transmittance_threshold, valid)
            red, green, blue = load_color(rgb, sample, seen)
            q = red * slope_r[:, None] + green * slope_g[:, None] + blue * slope_b[:, None] - slope_back[:, None]
            if depth is not None:
                q -= depth_scale * nearness(known, sharpness, tl.load(s_t + sample, mask=seen, other=0.0))
            share = tl.where(seen, q * weight, 0.0)
            later = ahead[:, None] - tl.cumsum(share, axis=1)
            ahead -= tl.sum(share, axis=1)
            d_log = tl.where(seen, thickness * dt * (q * after - later), 0.0)
            weight = tl.where(seen, weight, 0.0)
            tl.store(d_log_density + sample, d_log, mask=valid)
            tl.store(d_rgb_logit + 3 * sample + 0, slope_r[:, None] * weight * red * (1.0 - red), mask=valid)
            tl.store(d_rgb_logit + 3 * sample + 1, slope_g[:, None] * weight * green * (1.0 - green), mask=valid)
            tl.store(d_rgb_logit + 3 * sample + 2, slope_b[:, None] * weight * blue * (1.0 - blue), mask=valid)
            number = seen.to(tl.int32)
            tl.store(selected + listed[:, None] + tl.cumsum(number, axis=1) - number, sample, mask=seen)
            listed += tl.sum(number, axis=1)
            if feeds:
                t = tl.load(s_t + sample, mask=seen, other=0.0)
                whose = tl.where(here, ray, -1)[:, None]
                feed_cells(values, origin, direction, whose, t, thickness, seen, growth_per_step, RESOLUTION, UNBOUNDED)


def launch_composite(
    state_i: Tensor,
    state_f: Tensor,
    origin: Tensor,
    direction: Tensor,
    target: Tensor,
    background: Tensor,
    depth: Tensor | None,
    ray_start: Tensor,
    ray_count: Tensor,
    s_t: Tensor,
    s_dt: Tensor,
    density: Tensor,
    rgb: Tensor,
    d_log_density: Tensor,
    d_rgb_logit: Tensor,
    selected: Tensor,
    values: Tensor,
    weight_threshold: float,
    transmittance_threshold: float,
    loss_scale: float,
    growth_per_step: float,
    reach: float,
    depth_growth: float,
    unbounded: bool,
) -> None:
    """K4: composite ``state_i[1]`` rays; their loss and gradients.

    The loss is the mean over rays and channels of the squared difference to `target`, of colours over `background`;
    with `depth`, ``state_f[4]`` times the depth loss (`reference.volume.depth_loss`) is added to it.

    Parameters
    ----------
    state_i : (16,) int32
        Read: step [0], rays [1]. Added to: samples selected [4], numbers that are not finite [5].
    state_f : (16,) float32
        Added to: squared error over rays and channels [1] and depth loss over rays [5], without `loss_scale`.
    origin, direction, target, background : (R, 3) float32
    depth : (R,) float32, optional
        Known distances; 0 where none is.
    ray_start, ray_count : (R,) int32, s_t, s_dt, density : (S,) float32, rgb : (S, 3) float32
    d_log_density : (S,) float32, d_rgb_logit : (S, 3) float32
        Written for every packed sample: `loss_scale` times the gradients with respect to the density network's log
        density (as far as compositing goes) and the colour network's logits; 0 where a sample is not selected.
    selected : (S,) int32
        Written: the selected samples, in no order between rays.
    values : (G, G, G) float32
        The occupancy grid's values [z, y, x]; raised by selected samples in every 16th training step from number 31 on.
    loss_scale : float
    growth_per_step : float
        ``k_fine / fine_step``; not used in bounded scenes.
    reach, depth_growth : float
        How far from a known depth its loss reaches: that far, or that much of the distance.
    """
    grid = (triton.cdiv(ray_count.shape[0], RAYS),)
    composite[grid](
        state_i,
        state_f,
        origin,
        direction,
        target,
        background,
        depth,
        ray_start,
        ray_count,
        s_t,
        s_dt,
        density,
        rgb,
        d_log_density,
        d_rgb_logit,
        selected,
        values,
        float(weight_threshold),
        float(transmittance_threshold),
        float(loss_scale),
        float(growth_per_step),
        float(reach),
        float(depth_growth),
        RESOLUTION=values.shape[0],
        UNBOUNDED=unbounded,
        RAYS=RAYS,
        LANES=LANES,
        num_warps=1,
    )
