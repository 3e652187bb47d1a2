"""K9: keeping up the occupancy grid, from the field's density at random points in its cells to the bitfield.

After instant-NGP (Müller et al. 2022, appendix E.2), as the other backends: a cell's value is the largest density
seen, decaying each time the cell is asked; a cell is occupied where its value exceeds the smaller of a fixed
threshold and the mean. Cells with a value below 0 hold no place: they are not in the mean and never occupied.

In order: `refresh_positions`; the field's density at those positions (`encoding`, `networks`); `merge_density`; both
again for further parts of the cells, where one buffer does not hold them all; then `launch_threshold`. Which cells'
turn it is and the random points follow from the step on the device, which must still be the one of the training step
that has just been made. The sums over all values are added up in one order, so that the bits are the same each time.
"""

from torch import Tensor

from .geometry import stretch
from .language import tl, triton
from .launch import launched
from .rays import FOR_CELL, random_words, small_seed, to_unit

BLOCK = 256
SUM_BLOCK = 4096
"""Cells that one program sums."""
WORDS = 32
"""Words of the bitfield that one program makes."""
EVERY: tl.constexpr = tl.constexpr(16)
"""Training steps between two updates (`OCCUPANCY_EVERY`)."""


def cells_of_turn(resolution: int, every: int) -> int:
    """How many cells an update of every `every`-th cell asks at most."""
    return triton.cdiv(resolution**3, every)


def sum_programs(resolution: int) -> int:
    """Length of the two scratch arrays of `launch_threshold`."""
    return triton.cdiv(resolution**3, SUM_BLOCK)


@triton.jit
def turn_cell(state_i, item, every):
    """The cells that are items of this update: every `every`-th from the phase that the step says."""
    phase = (tl.load(state_i) // EVERY) % every
    return phase + item * every


@launched
@triton.jit(do_not_specialize=["every", "first", "items", "seed"])
def refresh_positions_kernel(
    state_i, positions, every, first, items, seed, RESOLUTION: tl.constexpr, BLOCK: tl.constexpr
):
    """Write random points in a part of this update's cells; see `launch_refresh_positions`."""
    item = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cell = turn_cell(state_i, first + item, every)
    valid = item < items
    wx, wy, wz, _ = random_words(seed, tl.load(state_i), cell, FOR_CELL)
    side: tl.constexpr = 1.0 / RESOLUTION
    x = (cell % RESOLUTION).to(tl.float32) + to_unit(wx)
    y = (cell // RESOLUTION % RESOLUTION).to(tl.float32) + to_unit(wy)
    z = (cell // RESOLUTION // RESOLUTION).to(tl.float32) + to_unit(wz)
    # The last phases have one cell less; what their last item is given lies in the grid, and is not used.
    tl.store(positions + 3 * item + 0, tl.minimum(x * side, 1.0), mask=valid)
    tl.store(positions + 3 * item + 1, tl.minimum(y * side, 1.0), mask=valid)
    tl.store(positions + 3 * item + 2, tl.minimum(z * side, 1.0), mask=valid)


@launched
@triton.jit(do_not_specialize=["every", "first", "items"])
def merge_density_kernel(
    state_i,
    positions,
    density,
    values,
    every,
    first,
    items,
    decay,
    growth_per_step,
    RESOLUTION: tl.constexpr,
    UNBOUNDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Let densities in a part of this update's cells raise their decayed values; see `launch_merge_density`."""
    item = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cell = turn_cell(state_i, first + item, every)
    valid = (item < items) & (cell < RESOLUTION * RESOLUTION * RESOLUTION)
    old = tl.load(values + cell, mask=valid, other=-1.0)
    x = tl.load(positions + 3 * item + 0, mask=valid, other=0.0)
    y = tl.load(positions + 3 * item + 1, mask=valid, other=0.0)
    z = tl.load(positions + 3 * item + 2, mask=valid, other=0.0)
    new = tl.load(density + item, mask=valid, other=0.0) * stretch(x, y, z, growth_per_step, UNBOUNDED)
    # A density that is NaN compares false and leaves the decayed value.
    decayed = old * decay
    tl.store(values + cell, tl.where(new > decayed, new, decayed), mask=valid & (old >= 0.0))


@launched
@triton.jit
def sum_values_kernel(values, sums, counts, CELLS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum and number of the values of a block of cells that hold a place."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(values + cell, mask=cell < CELLS, other=-1.0)
    inside = value >= 0.0
    tl.store(sums + tl.program_id(0), tl.sum(tl.where(inside, value, 0.0), axis=0))
    tl.store(counts + tl.program_id(0), tl.sum(inside.to(tl.int32), axis=0))


@launched
@triton.jit
def threshold_kernel(
    values,
    sums,
    counts,
    bits,
    limit,
    RESOLUTION: tl.constexpr,
    PARTS: tl.constexpr,
    PADDED: tl.constexpr,
    WORDS: tl.constexpr,
):
    """Words of the bitfield from the values; see `launch_threshold`."""
    part = tl.arange(0, PADDED)
    total = tl.sum(tl.load(sums + part, mask=part < PARTS, other=0.0), axis=0)
    number = tl.sum(tl.load(counts + part, mask=part < PARTS, other=0), axis=0)
    mean = total / tl.maximum(number, 1).to(tl.float32)
    # A grid that has not been asked yet (or has lost everything) holds back nothing.
    threshold = tl.where(mean > 0.0, tl.minimum(limit, mean), -0.5)
    side: tl.constexpr = RESOLUTION // 4
    words: tl.constexpr = side * side * (RESOLUTION // 2)
    word = (tl.program_id(0) * WORDS + tl.arange(0, WORDS))[:, None]
    bit = tl.arange(0, 32)[None, :]
    x = (word % side) * 4 + (bit & 3)
    y = (word // side % side) * 4 + ((bit >> 2) & 3)
    z = (word // side // side) * 2 + (bit >> 4)
    value = tl.load(values + (z * RESOLUTION + y) * RESOLUTION + x, mask=word < words, other=-1.0)
    full = (value > threshold).to(tl.int32)
    row = tl.program_id(0) * WORDS + tl.arange(0, WORDS)
    tl.store(bits + row, tl.sum(full << bit, axis=1), mask=row < words)


def launch_refresh_positions(
    state_i: Tensor, positions: Tensor, every: int, first: int, items: int, seed: int, resolution: int
) -> None:
    """K9, first: random points in this update's cells `first` to ``first + items``.

    Parameters
    ----------
    state_i : (16,) int32
        Read: the step [0]; the update's turn is ``step // 16``, its phase ``turn % every``.
    positions : (N, 3) float32
        Written: grid positions of the first `items` rows.
    every : int
        1, 2 or 8, as `FastBackend.occupancy_update` has it.
    first, items : int
        Part of the `cells_of_turn` cells.
    """
    refresh_positions_kernel[(triton.cdiv(items, BLOCK),)](
        state_i, positions, every, first, items, small_seed(seed), RESOLUTION=resolution, BLOCK=BLOCK, num_warps=4
    )


def launch_merge_density(
    state_i: Tensor,
    positions: Tensor,
    density: Tensor,
    values: Tensor,
    every: int,
    first: int,
    items: int,
    decay: float,
    growth_per_step: float,
    unbounded: bool,
) -> None:
    """K9, then: what was found at those `positions`, (N,) float32 `density`, into the `values` (G, G, G).

    Parameters as for `launch_refresh_positions`, `decay` as `FastBackend.occupancy_update` has it, `growth_per_step`
    as for `launch_composite`.
    """
    merge_density_kernel[(triton.cdiv(items, BLOCK),)](
        state_i,
        positions,
        density,
        values,
        every,
        first,
        items,
        float(decay),
        float(growth_per_step),
        RESOLUTION=values.shape[0],
        UNBOUNDED=unbounded,
        BLOCK=BLOCK,
        num_warps=4,
    )


def launch_threshold(values: Tensor, sums: Tensor, counts: Tensor, bits: Tensor, limit: float) -> None:
    """K9, last: the bitfield from the values.

    Parameters
    ----------
    values : (G, G, G) float32
    sums : (P,) float32, counts : (P,) int32
        Scratch, P = `sum_programs`.
    bits : (G^3 / 32,) int32
        Written, as `geometry.cell_bit` has it.
    limit : float
        `FastBackend.occupancy_limit`.
    """
    side = values.shape[0]
    parts = sum_programs(side)
    sum_values_kernel[(parts,)](values, sums, counts, CELLS=side**3, BLOCK=SUM_BLOCK, num_warps=4)
    threshold_kernel[(triton.cdiv(bits.shape[0], WORDS),)](
        values,
        sums,
        counts,
        bits,
        float(limit),
        RESOLUTION=side,
        PARTS=parts,
        PADDED=triton.next_power_of_2(parts),
        WORDS=WORDS,
        num_warps=4,
    )
