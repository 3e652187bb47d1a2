"""Which samples of a ray can be seen, in unbounded scenes: the rest is not worth a place in the packed list.

What no view has ever seen stays fog, and behind the walls of a room is most of it: of a ray's lattice points in
occupied cells nine in ten may lie behind where it has become opaque. So before a step's samples are packed, rays are
taken a piece of the lattice at a time: the field's density at the piece's points (packed by K1, evaluated by K2 and
K3), the running optical depth, and on with the rays that something still passes. Their masks (:mod:`.march`) then keep
the points that were reached. The number of pieces is fixed, so that a graph holds them and nothing waits; a piece that
no ray takes part in costs its launches.

Per ray: points taken so far, of those seen, and the optical depth of what was taken.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .compositing import weigh
from .language import tl, triton
from .launch import launched
from .march import launch_pack

PIECE = 4
"""Words of a piece: 128 lattice points, as many as K1 looks at together. Larger ones would be fewer launches, and more
hidden points in the piece that a ray ends in."""
RAYS, LANES = 8, 8
TRIM_WORDS = 32
"""Words of a ray's mask that are trimmed together."""


@dataclass(frozen=True)
class Pieces:
    """Device memory for R rays: masks (R, PIECE) and jitter of a piece, and what is known of each ray."""

    masks: Tensor
    jitter: Tensor
    wanted: Tensor
    start: Tensor
    count: Tensor
    taken: Tensor
    seen: Tensor
    optical_depth: Tensor

    @classmethod
    def allocate(cls, rays: int, device: torch.device) -> "Pieces":
        """Room for so many rays."""

        def make(dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        whole, real = torch.int32, torch.float32
        return cls(
            masks=make(whole, rays, PIECE),
            jitter=make(real, rays),
            wanted=make(whole, rays),
            start=make(whole, rays),
            count=make(whole, rays),
            taken=make(whole, rays),
            seen=make(whole, rays),
            optical_depth=make(real, rays),
        )


@triton.jit
def ones(word):
    """Number of one bits of 32-bit words (Hacker's Delight, section 5-1)."""
    word = word - ((word >> 1) & 0x55555555)
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
    return ((((word + (word >> 4)) & 0x0F0F0F0F) * 0x01010101) >> 24) & 255


@launched
@triton.jit(do_not_specialize=["first", "words"])
def take_piece(
    state_i,
    masks,
    jitter,
    ray_count,
    piece_masks,
    piece_jitter,
    piece_wanted,
    piece_count,
    taken,
    seen,
    optical_depth,
    first,
    words,
    transmittance_threshold,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The piece from word `first` on of the rays that go on; empty for the others."""
    ray = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = ray < tl.load(state_i + 1)
    again = here & (first > 0)
    had = tl.load(taken + ray, mask=again, other=0)
    depth = tl.load(optical_depth + ray, mask=again, other=0.0)
    left = tl.load(ray_count + ray, mask=here, other=0) - had
    going = here & (left > 0) & (tl.exp(-depth) >= transmittance_threshold)
    word = tl.arange(0, WIDTH)[None, :]
    source = masks + ray[:, None] * words.to(tl.int64) + first + word
    mask = tl.load(source, mask=going[:, None] & (first + word < words), other=0)
    # What is read above is written below, maybe by other threads.
    tl.debug_barrier()
    # Behind a ray's last points its row holds what an earlier step has left.
    wanted = tl.minimum(tl.sum(ones(mask), axis=1), tl.maximum(left, 0))
    tl.store(piece_masks + ray[:, None] * WIDTH + word, mask, mask=here[:, None])
    tl.store(piece_jitter + ray, tl.load(jitter + ray, mask=here, other=0.0) + 32.0 * first, mask=here)
    tl.store(piece_wanted + ray, wanted, mask=here)
    tl.store(piece_count + ray, wanted, mask=here)
    tl.store(taken + ray, had + wanted, mask=here)
    tl.store(seen + ray, tl.load(seen + ray, mask=again, other=0), mask=here)
    tl.store(optical_depth + ray, depth, mask=here)


@launched
@triton.jit
def end_piece(
    state_i,
    piece_start,
    piece_count,
    piece_wanted,
    s_dt,
    density,
    seen,
    optical_depth,
    transmittance_threshold,
    RAYS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Count the piece's samples that light reaches, and add up their optical depth."""
    rays = tl.load(state_i + 1)
    first = tl.program_id(0) * RAYS
    if first < rays:
        ray = first + tl.arange(0, RAYS)
        here = ray < rays
        lane = tl.arange(0, LANES)[None, :]
        start = tl.load(piece_start + ray, mask=here, other=0)[:, None]
        count = tl.load(piece_count + ray, mask=here, other=0)
        wanted = tl.load(piece_wanted + ray, mask=here, other=0)
        before = tl.load(optical_depth + ray, mask=here, other=0.0)
        reached = tl.zeros((RAYS, LANES), tl.int32)
        for base in range(0, tl.max(count, axis=0), LANES):
            valid = base + lane < count[:, None]
            thickness = tl.load(density + start + base + lane, mask=valid, other=0.0)
            dt = tl.load(s_dt + start + base + lane, mask=valid, other=0.0)
            # Without a weight threshold those are selected that light reaches.
            _, _, passed, before = weigh(thickness, dt, before, -1.0, transmittance_threshold, valid)
            reached += passed.to(tl.int32)
        number = tl.sum(reached, axis=1)
        # A ray that found no room is not known to end here.
        number = tl.where(count < wanted, wanted, number)
        tl.store(seen + ray, tl.load(seen + ray, mask=here, other=0) + number, mask=here)
        tl.store(optical_depth + ray, before, mask=here)


@launched
@triton.jit(do_not_specialize=["words"])
def keep_seen(state_i, masks, ray_count, seen, words, WORDS: tl.constexpr):
    """Clear all but the first `seen` points of a ray's mask."""
    ray = tl.program_id(0)
    if ray < tl.load(state_i + 1):
        left = tl.load(seen + ray)
        tl.store(ray_count + ray, left)
        row = tl.arange(0, WORDS)
        lane = tl.arange(0, 32)
        word = 0
        while (left > 0) & (word < words):
            at = masks + ray * words.to(tl.int64) + word + row
            mask = tl.load(at, mask=word + row < words, other=0)
            number = ones(mask)
            before = tl.cumsum(number, axis=0) - number
            below = ones(mask[:, None] & ((1 << lane[None, :]) - 1))
            kept = ((mask[:, None] >> lane[None, :]) & 1) * (before[:, None] + below < left).to(tl.int32)
            tl.store(at, tl.sum(kept << lane[None, :], axis=1), mask=word + row < words)
            left -= tl.sum(number, axis=0)
            word += WORDS


def leave_out_hidden(
    state_i: Tensor,
    state_f: Tensor,
    jitter: Tensor,
    masks: Tensor,
    ray_near: Tensor,
    ray_count: Tensor,
    s_ray: Tensor,
    s_t: Tensor,
    s_dt: Tensor,
    density: Tensor,
    pieces: Pieces,
    transmittance_threshold: float,
    unbounded: bool,
    begin: Callable[[], None],
    forward: Callable[[], None],
) -> None:
    """Between K1's counting and its packing: have `masks` and `ray_count` keep what can be seen.

    Parameters
    ----------
    state_i, state_f, jitter, masks, ray_near, ray_count
        As `launch_count` leaves them; `masks` and `ray_count` are changed.
    s_ray, s_t, s_dt, density : (S,) tensors
        Scratch: the packed samples of a piece, and their densities.
    pieces : Pieces
    begin : callable
        Queues what sets the counters of samples to zero.
    forward : callable
        Queues K2 and K3 over the packed samples.
    """
    rays, words = masks.shape
    threshold = float(transmittance_threshold)
    for first in range(0, words, PIECE):
        begin()
        take_piece[(triton.cdiv(rays, 128),)](
            state_i,
            masks,
            jitter,
            ray_count,
            pieces.masks,
            pieces.jitter,
            pieces.wanted,
            pieces.count,
            pieces.taken,
            pieces.seen,
            pieces.optical_depth,
            first,
            words,
            threshold,
            WIDTH=PIECE,
            BLOCK=128,
        )
        launch_pack(
            state_i,
            state_f,
            pieces.jitter,
            pieces.masks,
            ray_near,
            pieces.start,
            pieces.count,
            s_ray,
            s_t,
            s_dt,
            unbounded,
        )
        forward()
        end_piece[(triton.cdiv(rays, RAYS),)](
            state_i,
            pieces.start,
            pieces.count,
            pieces.wanted,
            s_dt,
            density,
            pieces.seen,
            pieces.optical_depth,
            threshold,
            RAYS=RAYS,
            LANES=LANES,
            num_warps=1,
        )
    begin()
    keep_seen[(rays,)](state_i, masks, ray_count, pieces.seen, words, WORDS=TRIM_WORDS, num_warps=1)
