"""The hash grid: interpolating table rows at positions, and scattering gradients back into the table.

Levels are described by an int64 array [L, 3]: first row in the table, cells along the unit cube, and the hash mask
(rows - 1), which is -1 where the level is dense.
"""

import numpy as np

from ...fields.hash_grid import HASH_PRIMES
from .compile import compiled, compiled_inside
from .vector import address, interpolate_rows, prefetch, scatter_row

PRIME_Y = HASH_PRIMES[1]
PRIME_Z = HASH_PRIMES[2]
ONE = np.float32(1.0)
AHEAD = 8
"""Samples for which a hashed level's rows are on their way while one is interpolated."""


@compiled
def _corners(x, y, z, cells, mask):
    """The rows of a cell's eight corners (x fastest, z slowest), and where in the cell a position lies."""
    ix = min(max(np.int64(x), 0), cells - 1)
    iy = min(max(np.int64(y), 0), cells - 1)
    iz = min(max(np.int64(z), 0), cells - 1)
    fx, fy, fz = x - np.float32(ix), y - np.float32(iy), z - np.float32(iz)
    if mask < 0:
        side = cells + 1
        i0 = ix + side * (iy + side * iz)
        i1 = i0 + 1
        i2 = i0 + side
        i3 = i2 + 1
        i4 = i0 + side * side
        i5 = i4 + 1
        i6 = i4 + side
        i7 = i6 + 1
    else:
        y0 = iy * PRIME_Y
        y1 = y0 + PRIME_Y
        z0 = iz * PRIME_Z
        z1 = z0 + PRIME_Z
        i0 = (ix ^ y0 ^ z0) & mask
        i1 = ((ix + 1) ^ y0 ^ z0) & mask
        i2 = (ix ^ y1 ^ z0) & mask
        i3 = ((ix + 1) ^ y1 ^ z0) & mask
        i4 = (ix ^ y0 ^ z1) & mask
        i5 = ((ix + 1) ^ y0 ^ z1) & mask
        i6 = (ix ^ y1 ^ z1) & mask
        i7 = ((ix + 1) ^ y1 ^ z1) & mask
    return i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz


@compiled_inside
def _fetch(rows, row, x, y, z, cells, mask):
    """Have a hashed level's rows, `row` bytes each, fetched around a position.

    Neighbours along x are mostly in one line of the cache.
    """
    ix = min(max(np.int64(x), 0), cells - 1)
    y0 = min(max(np.int64(y), 0), cells - 1) * PRIME_Y
    z0 = min(max(np.int64(z), 0), cells - 1) * PRIME_Z
    y1 = y0 + PRIME_Y
    z1 = z0 + PRIME_Z
    prefetch(rows + row * ((ix ^ y0 ^ z0) & mask))
    prefetch(rows + row * ((ix ^ y1 ^ z0) & mask))
    prefetch(rows + row * ((ix ^ y0 ^ z1) & mask))
    prefetch(rows + row * ((ix ^ y1 ^ z1) & mask))


@compiled
def encode(table, levels, positions, count, out):
    """Fill ``out[:count]`` (rows of levels * 4 floats) from the table at ``positions[:count]`` in [0, 1]^3.

    The table is float32, or its upper halves (:func:`halved`).
    """
    width = out.shape[1]
    out_start = address(out)
    row = 4 * table.itemsize
    # Level by level, so that one level's rows stay in the cache while all samples of the block read them.
    for level in range(levels.shape[0]):
        start = levels[level, 0]
        rows = address(table) + row * start
        cells = levels[level, 1]
        mask = levels[level, 2]
        scale = np.float32(cells)
        target = out_start + 16 * level
        for s in range(count):
            if mask >= 0 and s + AHEAD < count:
                later = s + AHEAD
                x, y, z = positions[later, 0] * scale, positions[later, 1] * scale, positions[later, 2] * scale
                _fetch(rows, row, x, y, z, cells, mask)
            i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz = _corners(
                positions[s, 0] * scale, positions[s, 1] * scale, positions[s, 2] * scale, cells, mask
            )
            gx = ONE - fx
            gy = ONE - fy
            gz = ONE - fz
            a = gy * gz
            b = fy * gz
            c = gy * fz
            d = fy * fz
            interpolate_rows(
                table,
                target + 4 * s * width,
                start + i0,
                start + i1,
                start + i2,
                start + i3,
                start + i4,
                start + i5,
                start + i6,
                start + i7,
                gx * a,
                fx * a,
                gx * b,
                fx * b,
                gx * c,
                fx * c,
                gx * d,
                fx * d,
            )


def halved(table: np.ndarray) -> np.ndarray:
    """A float32 table rounded to its upper halves (bfloat16), as uint16: half as many cache lines to wait for."""
    bits = table.view(np.uint32)
    return ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)


@compiled
def scatter_level(levels, level, positions, gradients, count, table_gradient, first_row, last_row):
    """Add a level's gradients (rows of 4 floats) at ``positions[:count]`` to the table's gradient.

    Only rows ``first_row <= row < last_row`` of the level are touched, so that several threads can share a level:
    each entry is summed by one thread, in one order, whatever the number of threads.
    """
    rows = address(table_gradient) + 16 * levels[level, 0]
    cells = levels[level, 1]
    mask = levels[level, 2]
    scale = np.float32(cells)
    source = address(gradients)
    whole = first_row == 0 and last_row >= (mask + 1 if mask >= 0 else (cells + 1) ** 3)
    for s in range(count):
        i0, i1, i2, i3, i4, i5, i6, i7, fx, fy, fz = _corners(
            positions[s, 0] * scale, positions[s, 1] * scale, positions[s, 2] * scale, cells, mask
        )
        gx, gy, gz = ONE - fx, ONE - fy, ONE - fz
        a, b, c, d = gy * gz, fy * gz, gy * fz, fy * fz
        gradient = source + 16 * s
        if whole or first_row <= i0 < last_row:
            scatter_row(rows, gradient, i0, gx * a)
        if whole or first_row <= i1 < last_row:
            scatter_row(rows, gradient, i1, fx * a)
        if whole or first_row <= i2 < last_row:
            scatter_row(rows, gradient, i2, gx * b)
        if whole or first_row <= i3 < last_row:
            scatter_row(rows, gradient, i3, fx * b)
        if whole or first_row <= i4 < last_row:
            scatter_row(rows, gradient, i4, gx * c)
        if whole or first_row <= i5 < last_row:
            scatter_row(rows, gradient, i5, fx * c)
        if whole or first_row <= i6 < last_row:
            scatter_row(rows, gradient, i6, gx * d)
        if whole or first_row <= i7 < last_row:
            scatter_row(rows, gradient, i7, fx * d)
