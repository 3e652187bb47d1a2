"""K1: which lattice points of each ray lie in occupied cells, packed into one list of samples.

A warp takes a ray and looks at 128 lattice points at once, four a lane, so that loads of the bitfield overlap and
lanes idle only behind a ray's last points. There is no walk from cell to cell: every lattice point is looked up. A
thread a ray that leaves empty blocks in one step (as on the CPU) makes about as many instructions, because a warp
waits for its longest ray; but each of its lookups waits for the one before, and a training batch of some thousands
of rays is too few threads to hide that. It also needs no distance to the next cell, which in contracted space is
another one in each of seven pieces, so all backends agree on every point.

Two kernels. `count_samples` writes each ray's count and its lattice points as a mask of 32 bits a word. `pack_samples`
gives each group of rays its place in the packed list (one addition to a counter for the group) and expands the masks.
A group's rays that no longer fit get count 0 and are counted; nothing is written behind the list's end, and the list
has no holes.

State: reads the rays [1]; adds to the samples asked for [7] and the rays cut [3], raises the samples packed [2]; all
three are to be zero before. ``state_f[2]`` and ``state_f[3]`` are the step and its growth.
"""

from torch import Tensor

from .geometry import grid_position, is_occupied, lattice_distance, lattice_length, ray_range
from .language import tl, triton
from .launch import launched

POINTS = 128
"""Lattice points of a ray that are looked at together; the masks' rows are a multiple of this."""
COUNT_PROGRAMS = 8192
"""Warps that share the rays: more than any GPU holds at once, and not one for every ray that there is room for."""
PACK_RAYS = 8
"""Rays that share one addition to the packed list's end."""


def mask_words(points: int) -> int:
    """Words of a ray's row in the masks, for rays of at most `points` lattice points (`longest_lattice`)."""
    return (points + POINTS - 1) // POINTS * (POINTS // 32)


@launched
@triton.jit(do_not_specialize=["words"])
def count_samples(
    state_i,
    state_f,
    origin,
    direction,
    jitter,
    box,
    bits,
    masks,
    ray_near,
    ray_count,
    words,
    RESOLUTION: tl.constexpr,
    UNBOUNDED: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Lattice points of every so-manieth ray in occupied cells, as masks; see `launch_march`."""
    rays = tl.load(state_i + 1)
    step = tl.load(state_f + 2)
    growth = tl.load(state_f + 3)
    row = tl.arange(0, ROWS)
    lane = tl.arange(0, 32)
    for ray in range(tl.program_id(0), rays, tl.num_programs(0)):
        ox = tl.load(origin + 3 * ray + 0)
        oy = tl.load(origin + 3 * ray + 1)
        oz = tl.load(origin + 3 * ray + 2)
        dx = tl.load(direction + 3 * ray + 0)
        dy = tl.load(direction + 3 * ray + 1)
        dz = tl.load(direction + 3 * ray + 2)
        shift = tl.load(jitter + ray)
        near, far = ray_range(ox, oy, oz, dx, dy, dz, box, UNBOUNDED)
        count = tl.zeros((ROWS, 32), tl.int32)
        word = 0
        reached = near
        while (word < words) & (reached < far):
            index = (word + row[:, None]) * 32 + lane[None, :]
            t = lattice_distance(index.to(tl.float32) + shift, near, step, growth, UNBOUNDED)
            valid = t < far
            x, y, z = grid_position(ox, oy, oz, dx, dy, dz, t, UNBOUNDED)
            full = is_occupied(bits, x, y, z, valid, RESOLUTION).to(tl.int32)
            tl.store(masks + ray * words.to(tl.int64) + word + row, tl.sum(full << lane[None, :], axis=1))
            count += full
            word += ROWS
            reached = lattice_distance((word * 32).to(tl.float32) + shift, near, step, growth, UNBOUNDED)
        tl.store(ray_near + ray, near)
        tl.store(ray_count + ray, tl.sum(tl.sum(count, axis=1), axis=0))


@launched
@triton.jit(do_not_specialize=["words", "capacity"])
def pack_samples(
    state_i,
    state_f,
    jitter,
    masks,
    ray_near,
    ray_start,
    ray_count,
    s_ray,
    s_t,
    s_dt,
    words,
    capacity,
    UNBOUNDED: tl.constexpr,
    RAYS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Places in the packed list for a group of rays, and their samples there; see `launch_march`."""
    rays = tl.load(state_i + 1)
    first = tl.program_id(0) * RAYS
    if first < rays:
        step = tl.load(state_f + 2)
        growth = tl.load(state_f + 3)
        of_group = tl.arange(0, RAYS)
        here = first + of_group < rays
        wanted = tl.load(ray_count + first + of_group, mask=here, other=0)
        ends = tl.cumsum(wanted, axis=0)
        total = tl.sum(wanted, axis=0)
        begin = tl.atomic_add(state_i + 7, total, sem="relaxed")
        fits = (begin >= 0) & (begin + ends <= capacity)
        kept = tl.where(fits, wanted, 0)
        starts = tl.where(fits, begin + ends - wanted, 0)
        tl.store(ray_start + first + of_group, starts, mask=here)
        # The threads that read the counts above must have done so.
        tl.debug_barrier()
        tl.store(ray_count + first + of_group, kept, mask=here)
        tl.atomic_max(state_i + 2, tl.max(tl.where(fits, begin + ends, 0), axis=0), sem="relaxed")
        cut = tl.sum((here & (wanted > 0) & (kept == 0)).to(tl.int32), axis=0)
        if cut > 0:
            tl.atomic_add(state_i + 3, cut, sem="relaxed")
        row = tl.arange(0, ROWS)
        lane = tl.arange(0, 32)
        for i in range(RAYS):
            left = tl.sum(tl.where(of_group == i, kept, 0), axis=0)
            at = tl.sum(tl.where(of_group == i, starts, 0), axis=0)
            ray = first + i
            near = tl.load(ray_near + ray, mask=left > 0, other=0.0)
            shift = tl.load(jitter + ray, mask=left > 0, other=0.0)
            word = 0
            while (left > 0) & (word < words):
                mask = tl.load(masks + ray * words.to(tl.int64) + word + row)
                # Bits below the lane's own, counted in parallel (Hacker's Delight, section 5-1).
                below = mask[:, None] & ((1 << lane[None, :]) - 1)
                below = below - ((below >> 1) & 0x55555555)
                below = (below & 0x33333333) + ((below >> 2) & 0x33333333)
                below = (((below + (below >> 4)) & 0x0F0F0F0F) * 0x01010101) >> 24
                full = (mask[:, None] >> lane[None, :]) & 1
                of_row = tl.sum(full, axis=1)
                place = at + (tl.cumsum(of_row, axis=0) - of_row)[:, None] + below
                index = (word + row[:, None]) * 32 + lane[None, :]
                t = lattice_distance(index.to(tl.float32) + shift, near, step, growth, UNBOUNDED)
                taken = full != 0
                tl.store(s_ray + place, index * 0 + ray, mask=taken)
                tl.store(s_t + place, t, mask=taken)
                tl.store(s_dt + place, lattice_length(t, step, growth, UNBOUNDED), mask=taken)
                found = tl.sum(of_row, axis=0)
                at += found
                left -= found
                word += ROWS


def launch_march(
    state_i: Tensor,
    state_f: Tensor,
    origin: Tensor,
    direction: Tensor,
    jitter: Tensor,
    box: Tensor,
    bits: Tensor,
    masks: Tensor,
    ray_near: Tensor,
    ray_start: Tensor,
    ray_count: Tensor,
    s_ray: Tensor,
    s_t: Tensor,
    s_dt: Tensor,
    resolution: int,
    unbounded: bool,
) -> None:
    """K1: march ``state_i[1]`` rays through the occupancy bitfield, packing at most S samples.

    Parameters
    ----------
    state_i : (16,) int32
        Read: rays [1]. To be zero before: samples packed [2], rays cut by overflow [3], samples asked for [7].
    state_f : (16,) float32
        Read: step [2] and growth [3].
    origin, direction : (R, 3) float32, jitter : (R,) float32
    box : (2, 3) float32
        The subject's box in the unit frame.
    bits : (G^3 / 32,) int32
        Occupancy, as `geometry.cell_bit` has it.
    masks : (R, W) int32
        Scratch; W is `mask_words` of the longest ray.
    ray_near : (R,) float32
        Scratch: where each ray's lattice begins.
    ray_start, ray_count : (R,) int32
        Written: a ray's first sample and how many it has.
    s_ray : (S,) int32, s_t, s_dt : (S,) float32
        Written: ray, distance and length of each sample, sorted by distance within a ray.
    resolution : int
        G.
    """
    launch_count(
        state_i,
        state_f,
        origin,
        direction,
        jitter,
        box,
        bits,
        masks,
        ray_near,
        ray_count,
        resolution,
        unbounded,
    )
    launch_pack(state_i, state_f, jitter, masks, ray_near, ray_start, ray_count, s_ray, s_t, s_dt, unbounded)


def launch_count(
    state_i: Tensor,
    state_f: Tensor,
    origin: Tensor,
    direction: Tensor,
    jitter: Tensor,
    box: Tensor,
    bits: Tensor,
    masks: Tensor,
    ray_near: Tensor,
    ray_count: Tensor,
    resolution: int,
    unbounded: bool,
) -> None:
    """K1's first half: each ray's lattice points in occupied cells, as `masks` and `ray_count`."""
    rays, words = ray_count.shape[0], masks.shape[1]
    count_samples[(min(rays, COUNT_PROGRAMS),)](
        state_i,
        state_f,
        origin,
        direction,
        jitter,
        box,
        bits,
        masks,
        ray_near,
        ray_count,
        words,
        RESOLUTION=resolution,
        UNBOUNDED=unbounded,
        ROWS=POINTS // 32,
        num_warps=1,
    )


def launch_pack(
    state_i: Tensor,
    state_f: Tensor,
    jitter: Tensor,
    masks: Tensor,
    ray_near: Tensor,
    ray_start: Tensor,
    ray_count: Tensor,
    s_ray: Tensor,
    s_t: Tensor,
    s_dt: Tensor,
    unbounded: bool,
) -> None:
    """K1's second half: places in the packed list, and the samples there."""
    rays, words = masks.shape
    pack_samples[(triton.cdiv(rays, PACK_RAYS),)](
        state_i,
        state_f,
        jitter,
        masks,
        ray_near,
        ray_start,
        ray_count,
        s_ray,
        s_t,
        s_dt,
        words,
        s_ray.shape[0],
        UNBOUNDED=unbounded,
        RAYS=PACK_RAYS,
        ROWS=POINTS // 32,
        num_warps=1,
    )
