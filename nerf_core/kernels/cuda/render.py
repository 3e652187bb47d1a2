"""K10: rendering rays in waves, so that nothing behind a surface is evaluated and every warp stays full.

In a wave each ray that still goes on is taken to its next lattice points in occupied cells (`advance_rays`), the
field is evaluated at all of them by the same kernels as in training (K2 and K3), and what they see is added to the
rays (`blend_rays`), which lists the rays that go on. A wave takes the occupied ones of the first eight lattice points
among which there are any; a trained surface is opaque after some such, and after a few waves only the rays through
fog and along edges are left, which are then taken 32 points at a time.

One kernel for all of it would have to hold the networks' weights, a tile of activations and the rays' state in
registers, and its matrix products would idle for rays of its tile that have ended; waves write and read an encoded
sample (128 bytes, mostly within the second-level cache) instead, and there is one set of field kernels.

State: rays of this wave [1], its packed samples [2], what is asked for [7], the rays of the next wave [8], samples of
all waves [9].
"""

from collections.abc import Callable

from torch import Tensor

from .compositing import load_color, weigh
from .geometry import grid_position, is_occupied, lattice_distance, lattice_length, lattice_place, ray_range
from .language import tl, triton
from .launch import launched
from .waves import WARP_POINTS, Waves

BEGIN_BLOCK = 128
FIRST_POINTS, LATER_POINTS = 8, 32
"""How many of them are one ray's, in the first waves and in later ones."""
FIRST_WAVES = 4
DONE: tl.constexpr = tl.constexpr(1 << 30)
"""Lattice index of a ray that has left the scene."""


@triton.jit
def append(items, wanted, list_end, target):
    """Write the `wanted` ones of a block of items behind the end of a list, which is a counter on the device."""
    number = wanted.to(tl.int32)
    first = tl.atomic_add(list_end, tl.sum(number, axis=0), sem="relaxed")
    tl.store(target + first + tl.cumsum(number, axis=0) - number, items, mask=wanted)


@launched
@triton.jit(do_not_specialize=["rays"])
def begin_rays(
    state_i,
    state_f,
    origin,
    direction,
    limits,
    box,
    rgba,
    depth,
    evaluations,
    optical_depth,
    ray_near,
    ray_far,
    cursor,
    going,
    rays,
    UNBOUNDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Nothing seen yet; list the rays that meet the scene."""
    ray = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = ray < rays
    ox, oy, oz = load_color(origin, ray, here)
    dx, dy, dz = load_color(direction, ray, here)
    near, far = ray_range(ox, oy, oz, dx, dy, dz, box, UNBOUNDED)
    # The lattice begins where it would without limits: what adjacent limits find is together what the ray finds.
    step = tl.load(state_f + 2)
    growth = tl.load(state_f + 3)
    first = tl.load(limits + 2 * ray, mask=here, other=0.0)
    far = tl.minimum(far, tl.load(limits + 2 * ray + 1, mask=here, other=0.0))
    meets = here & (near < far) & (first < far)
    begin = tl.where(meets, tl.maximum(first, near), near)
    index = tl.ceil(lattice_place(begin, near, step, growth, UNBOUNDED) - 0.5)
    # Rounding may have put it next to the first point.
    index -= (lattice_distance(index - 0.5, near, step, growth, UNBOUNDED) >= begin).to(tl.float32)
    index += (lattice_distance(index + 0.5, near, step, growth, UNBOUNDED) < begin).to(tl.float32)
    zero = tl.zeros((BLOCK,), tl.float32)
    tl.store(ray_near + ray, near, mask=here)
    tl.store(ray_far + ray, far, mask=here)
    tl.store(optical_depth + ray, zero, mask=here)
    tl.store(depth + ray, zero, mask=here)
    tl.store(evaluations + ray, ray * 0, mask=here)
    for channel in tl.static_range(4):
        tl.store(rgba + 4 * ray + channel, zero, mask=here)
    tl.store(cursor + ray, tl.maximum(index, 0.0).to(tl.int32), mask=here)
    append(ray, meets, state_i + 8, going)


@launched
@triton.jit
def begin_wave(state_i):
    """Make the rays that go on this wave's, and count the last one's samples."""
    tl.store(state_i + 9, tl.load(state_i + 9) + tl.load(state_i + 2))
    tl.store(state_i + 1, tl.load(state_i + 8))
    tl.store(state_i + 2, 0)
    tl.store(state_i + 7, 0)
    tl.debug_barrier()
    tl.store(state_i + 8, 0)


@launched
@triton.jit(do_not_specialize=["capacity"])
def advance_rays(
    state_i,
    state_f,
    origin,
    direction,
    bits,
    ray_near,
    ray_far,
    cursor,
    going,
    wave_start,
    wave_count,
    s_ray,
    s_t,
    s_dt,
    capacity,
    RESOLUTION: tl.constexpr,
    UNBOUNDED: tl.constexpr,
    RAYS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Pack the next samples of this wave's rays; one that finds no room stays where it is."""
    rays = tl.load(state_i + 1)
    first = tl.program_id(0) * RAYS
    if first < rays:
        place = first + tl.arange(0, RAYS)
        here = place < rays
        ray = tl.load(going + place, mask=here, other=0)
        lane = tl.arange(0, LANES)[None, :]
        step = tl.load(state_f + 2)
        growth = tl.load(state_f + 3)
        ox, oy, oz = load_color(origin, ray, here)
        dx, dy, dz = load_color(direction, ray, here)
        near = tl.load(ray_near + ray, mask=here, other=0.0)
        far = tl.load(ray_far + ray, mask=here, other=0.0)
        ahead = tl.load(cursor + ray, mask=here, other=0)
        begin = ahead
        kept = tl.zeros((RAYS, LANES), tl.int32)
        searching = here
        while tl.max(searching.to(tl.int32), axis=0) > 0:
            u = (ahead[:, None] + lane).to(tl.float32) + 0.5
            t = lattice_distance(u, near[:, None], step, growth, UNBOUNDED)
            valid = searching[:, None] & (t < far[:, None])
            x, y, z = grid_position(
                ox[:, None], oy[:, None], oz[:, None], dx[:, None], dy[:, None], dz[:, None], t, UNBOUNDED
            )
            full = (is_occupied(bits, x, y, z, valid, RESOLUTION) & valid).to(tl.int32)
            kept = tl.where(searching[:, None], full, kept)
            begin = tl.where(searching, ahead, begin)
            ahead = tl.where(searching, ahead + LANES, ahead)
            over = lattice_distance(ahead.to(tl.float32) + 0.5, near, step, growth, UNBOUNDED) >= far
            ahead = tl.where(searching & over, DONE, ahead)
            searching = searching & ~over & (tl.sum(full, axis=1) == 0)
        count = tl.sum(kept, axis=1)
        ends = tl.cumsum(count, axis=0)
        start = tl.atomic_add(state_i + 7, tl.sum(count, axis=0), sem="relaxed")
        fits = start + ends <= capacity
        count = tl.where(fits, count, 0)
        start = start + ends - count
        tl.atomic_max(state_i + 2, tl.max(tl.where(fits, start + count, 0), axis=0), sem="relaxed")
        tl.store(cursor + ray, tl.where(fits, ahead, begin), mask=here)
        tl.store(wave_start + place, tl.where(fits, start, 0), mask=here)
        tl.store(wave_count + place, count, mask=here)
        taken = (kept != 0) & fits[:, None]
        sample = start[:, None] + tl.cumsum(kept, axis=1) - kept
        u = (begin[:, None] + lane).to(tl.float32) + 0.5
        t = lattice_distance(u, near[:, None], step, growth, UNBOUNDED)
        tl.store(s_ray + sample, kept * 0 + ray[:, None], mask=taken)
        tl.store(s_t + sample, t, mask=taken)
        tl.store(s_dt + sample, lattice_length(t, step, growth, UNBOUNDED), mask=taken)


@launched
@triton.jit
def blend_rays(
    state_i,
    cursor,
    going,
    next_going,
    wave_start,
    wave_count,
    s_t,
    s_dt,
    density,
    rgb,
    rgba,
    depth,
    evaluations,
    optical_depth,
    weight_threshold,
    transmittance_threshold,
    RAYS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Add a wave's samples to their rays, and list the rays that go on."""
    rays = tl.load(state_i + 1)
    first = tl.program_id(0) * RAYS
    if first < rays:
        place = first + tl.arange(0, RAYS)
        here = place < rays
        ray = tl.load(going + place, mask=here, other=0)
        lane = tl.arange(0, LANES)[None, :]
        count = tl.load(wave_count + place, mask=here, other=0)[:, None]
        sample = tl.load(wave_start + place, mask=here, other=0)[:, None] + lane
        valid = lane < count
        thickness = tl.load(density + sample, mask=valid, other=0.0)
        dt = tl.load(s_dt + sample, mask=valid, other=0.0)
        before = tl.load(optical_depth + ray, mask=here, other=0.0)
        weight, _, seen, before = weigh(thickness, dt, before, weight_threshold, transmittance_threshold, valid)
        weight = tl.where(seen, weight, 0.0)
        red, green, blue = load_color(rgb, sample, seen)
        t = tl.load(s_t + sample, mask=seen, other=0.0)
        color = rgba + 4 * ray
        alpha = tl.load(color + 3, mask=here, other=0.0) + tl.sum(weight, axis=1)
        tl.store(color + 0, tl.load(color + 0, mask=here, other=0.0) + tl.sum(weight * red, axis=1), mask=here)
        tl.store(color + 1, tl.load(color + 1, mask=here, other=0.0) + tl.sum(weight * green, axis=1), mask=here)
        tl.store(color + 2, tl.load(color + 2, mask=here, other=0.0) + tl.sum(weight * blue, axis=1), mask=here)
        tl.store(color + 3, alpha, mask=here)
        tl.store(optical_depth + ray, before, mask=here)
        # Waves evaluate density and colour of every sample together.
        made = tl.load(evaluations + ray, mask=here, other=0) + tl.sum(valid.to(tl.int32), axis=1)
        tl.store(evaluations + ray, made, mask=here)
        inside = tl.load(cursor + ray, mask=here, other=DONE) < DONE
        goes_on = here & inside & (tl.exp(-before) >= transmittance_threshold)
        distance = tl.load(depth + ray, mask=here, other=0.0) + tl.sum(weight * t, axis=1)
        mean = tl.where(alpha > 0.0, distance / tl.maximum(alpha, 1e-20), 0.0)
        tl.store(depth + ray, tl.where(goes_on, distance, mean), mask=here)
        append(ray, goes_on, state_i + 8, next_going)


def launch_begin_rays(state_i: Tensor, state_f: Tensor, waves: Waves, box: Tensor, rays: int, unbounded: bool) -> None:
    """Begin the first `rays` rays of `waves`; ``state_i[2]``, [8] and [9] are to be zero."""
    begin_rays[(triton.cdiv(rays, BEGIN_BLOCK),)](
        state_i,
        state_f,
        waves.origin,
        waves.direction,
        waves.limits,
        box,
        waves.rgba,
        waves.depth,
        waves.evaluations,
        waves.optical_depth,
        waves.ray_near,
        waves.ray_far,
        waves.cursor,
        waves.going,
        rays,
        UNBOUNDED=unbounded,
        BLOCK=BEGIN_BLOCK,
        num_warps=4,
    )


def launch_wave(
    state_i: Tensor,
    state_f: Tensor,
    waves: Waves,
    bits: Tensor,
    resolution: int,
    unbounded: bool,
    weight_threshold: float,
    transmittance_threshold: float,
    forward: Callable[[], None],
    wave: int,
    rays: int,
) -> None:
    """Queue wave number `wave` (from 0), which at most `rays` rays take part in; see `render_rays`."""
    going, next_going = (waves.going, waves.next_going) if wave % 2 == 0 else (waves.next_going, waves.going)
    points = FIRST_POINTS if wave < FIRST_WAVES else LATER_POINTS
    begin_wave[(1,)](state_i, num_warps=1)
    at_once = WARP_POINTS // points
    grid = (triton.cdiv(rays, at_once),)
    advance_rays[grid](
        state_i,
        state_f,
        waves.origin,
        waves.direction,
        bits,
        waves.ray_near,
        waves.ray_far,
        waves.cursor,
        going,
        waves.wave_start,
        waves.wave_count,
        waves.s_ray,
        waves.s_t,
        waves.s_dt,
        waves.s_ray.shape[0],
        RESOLUTION=resolution,
        UNBOUNDED=unbounded,
        RAYS=at_once,
        LANES=points,
        num_warps=1,
    )
    forward()
    blend_rays[grid](
        state_i,
        waves.cursor,
        going,
        next_going,
        waves.wave_start,
        waves.wave_count,
        waves.s_t,
        waves.s_dt,
        waves.density,
        waves.rgb,
        waves.rgba,
        waves.depth,
        waves.evaluations,
        waves.optical_depth,
        float(weight_threshold),
        float(transmittance_threshold),
        RAYS=at_once,
        LANES=points,
        num_warps=1,
    )


def render_rays(
    state_i: Tensor,
    state_f: Tensor,
    waves: Waves,
    box: Tensor,
    bits: Tensor,
    rays: int,
    resolution: int,
    unbounded: bool,
    weight_threshold: float,
    transmittance_threshold: float,
    forward: Callable[[], None],
) -> int:
    """Render the first `rays` rays of `waves` into its `rgba` and `depth`; gives the field evaluations made.

    Unlike a launcher it waits for the device, once a wave after the first ones, to see whether any ray goes on.

    Parameters
    ----------
    state_i, state_f : (16,) int32 and float32
        Written; of `state_f`, step [2] and growth [3] are read.
    box : (2, 3) float32, bits : (G^3 / 32,) int32
        As for `launch_march`.
    forward : callable
        Queues K2 and K3: from the ``state_i[2]`` packed samples of `waves` to its `density` and `rgb`.
    """
    state_i.zero_()
    if rays == 0:
        return 0
    launch_begin_rays(state_i, state_f, waves, box, rays, unbounded)
    scene = (bits, resolution, unbounded, weight_threshold, transmittance_threshold)
    wave, going, made = 0, rays, 0
    while going:
        launch_wave(state_i, state_f, waves, *scene, forward, wave, going)
        wave += 1
        # After one of each kind, so that whoever records what is launched meets both.
        if wave > FIRST_WAVES:
            words = state_i.tolist()
            going, made = words[8], words[9] + words[2]
    return made
