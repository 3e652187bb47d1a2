"""Rays, samples and cells for every CUDA kernel: unit positions to the grid, the lattice of samples, occupancy bits.

All functions are `triton.jit` and work on blocks of any shape: coordinates come as three blocks x, y, z, so that no
block has a side of three. Frames: *unit* is the subject's box in the unit cube, where rays live; *grid* is the cube
[0, 1]^3 in which the hash grid and the occupancy grid live, the same as unit in bounded scenes, and the contraction
of all of space (L-infinity, Reiser et al. 2023, "MERF") in unbounded ones.
"""

from ...fields import contraction
from .language import tl, triton

NEAR: tl.constexpr = tl.constexpr(contraction.UNBOUNDED_NEAR)
FAR: tl.constexpr = tl.constexpr(contraction.UNBOUNDED_FAR)
TINY: tl.constexpr = tl.constexpr(1e-9)
FARTHEST: tl.constexpr = tl.constexpr(contraction.FARTHEST)


@triton.jit
def contract(x, y, z):
    """Unit to grid coordinates in an unbounded scene; of axes that tie for the largest, the first is the major one."""
    px = 2.0 * x - 1.0
    py = 2.0 * y - 1.0
    pz = 2.0 * z - 1.0
    ax = tl.abs(px)
    ay = tl.abs(py)
    az = tl.abs(pz)
    m = tl.maximum(tl.maximum(ax, ay), az)
    inverse = 1.0 / tl.maximum(m, 1.0)
    # Along the major axis x / m is +-1; inside the unit cube both factors are 1.
    shell = 2.0 - inverse
    x_major = ax == m
    y_major = (ay == m) & (ax < m)
    z_major = (ay < m) & (ax < m)
    cx = px * inverse * tl.where(x_major, shell, 1.0)
    cy = py * inverse * tl.where(y_major, shell, 1.0)
    cz = pz * inverse * tl.where(z_major, shell, 1.0)
    return 0.25 * cx + 0.5, 0.25 * cy + 0.5, 0.25 * cz + 0.5


@triton.jit
def unit_to_grid(x, y, z, UNBOUNDED: tl.constexpr):
    """Grid coordinates, clamped to [0, 1], of unit positions."""
    if UNBOUNDED:
        x, y, z = contract(x, y, z)
    x = tl.minimum(tl.maximum(x, 0.0), 1.0)
    y = tl.minimum(tl.maximum(y, 0.0), 1.0)
    z = tl.minimum(tl.maximum(z, 0.0), 1.0)
    return x, y, z


@triton.jit
def grid_position(ox, oy, oz, dx, dy, dz, t, UNBOUNDED: tl.constexpr):
    """Grid coordinates, clamped to [0, 1], of the points ``o + t d`` of rays in the unit frame."""
    return unit_to_grid(ox + t * dx, oy + t * dy, oz + t * dz, UNBOUNDED)


@triton.jit
def stretch(gx, gy, gz, growth_per_step, UNBOUNDED: tl.constexpr):
    """What a cell's density counts for more in the occupancy grid because steps through it are longer.

    `growth_per_step` is ``k_fine / fine_step``. 1 in bounded scenes.
    """
    n = tl.maximum(tl.maximum(tl.abs(4.0 * gx - 2.0), tl.abs(4.0 * gy - 2.0)), tl.abs(4.0 * gz - 2.0))
    m = tl.where(n <= 1.0, n, 1.0 / tl.maximum(2.0 - n, 1.0 / FARTHEST))
    if UNBOUNDED:
        return tl.maximum(1.0, growth_per_step * 0.5 * m)
    else:
        return tl.full(n.shape, 1.0, tl.float32)


@triton.jit
def _safe_reciprocal(d):
    sign = tl.where(d >= 0.0, 1.0, -1.0)
    return 1.0 / tl.where(tl.abs(d) < TINY, sign * TINY, d)


@triton.jit
def ray_range(ox, oy, oz, dx, dy, dz, box, UNBOUNDED: tl.constexpr):
    """Distances at which rays enter and leave the scene; a ray misses it where near >= far.

    `box` points to (2, 3) float32, the subject's box in the unit frame; it is not read in unbounded scenes.
    """
    if UNBOUNDED:
        near = tl.zeros(ox.shape, tl.float32) + NEAR
        far = tl.zeros(ox.shape, tl.float32) + FAR
    else:
        rx = _safe_reciprocal(dx)
        ry = _safe_reciprocal(dy)
        rz = _safe_reciprocal(dz)
        ax = (tl.load(box + 0) - ox) * rx
        ay = (tl.load(box + 1) - oy) * ry
        az = (tl.load(box + 2) - oz) * rz
        bx = (tl.load(box + 3) - ox) * rx
        by = (tl.load(box + 4) - oy) * ry
        bz = (tl.load(box + 5) - oz) * rz
        near = tl.maximum(tl.maximum(tl.minimum(ax, bx), tl.minimum(ay, by)), tl.minimum(az, bz))
        near = tl.maximum(near, 0.0)
        far = tl.minimum(tl.minimum(tl.maximum(ax, bx), tl.maximum(ay, by)), tl.maximum(az, bz))
    return near, far


@triton.jit
def lattice_distance(u, near, step, growth, UNBOUNDED: tl.constexpr):
    """Distance t(u) of lattice coordinates ``u = i + jitter``; `samplers.lattice` says it in numpy.

    Bounded: ``near + u step``. Unbounded: that up to ``t0 = max(near, step / k)``, then spread exponentially,
    ``t0 exp(k (u - u0))`` with ``u0 = (t0 - near) / step`` and k = `growth`.
    """
    t = near + u * step
    if UNBOUNDED:
        t0 = tl.maximum(NEAR, step / growth)
        u0 = (t0 - NEAR) / step
        t = tl.where(u < u0, t, t0 * tl.exp(growth * tl.maximum(u - u0, 0.0)))
    return t


@triton.jit
def lattice_place(t, near, step, growth, UNBOUNDED: tl.constexpr):
    """Lattice coordinate u of distances t >= near: the inverse of `lattice_distance`."""
    u = (t - near) / step
    if UNBOUNDED:
        t0 = tl.maximum(NEAR, step / growth)
        u0 = (t0 - NEAR) / step
        u = tl.where(t < t0, u, u0 + tl.log(tl.maximum(t, t0) / t0) / growth)
    return u


@triton.jit
def lattice_length(t, step, growth, UNBOUNDED: tl.constexpr):
    """Length dt of the samples at distances t: ``step``, in unbounded scenes ``max(step, k t)``."""
    if UNBOUNDED:
        return tl.maximum(step, growth * t)
    else:
        return tl.zeros(t.shape, tl.float32) + step


@triton.jit
def cell_index(g, RESOLUTION: tl.constexpr):
    """Index along one axis of the cell that holds a grid coordinate in [0, 1]."""
    return tl.minimum((g * RESOLUTION).to(tl.int32), RESOLUTION - 1)


@triton.jit
def cell_bit(ix, iy, iz, RESOLUTION: tl.constexpr):
    """Word and bit of a cell in the occupancy bitfield.

    A word is a brick of 4 x 4 x 2 cells (x, y, z), so that consecutive points of a ray share words, whichever way it
    goes; `RESOLUTION` is a multiple of 4.
    """
    side: tl.constexpr = RESOLUTION // 4
    word = ((iz >> 1) * side + (iy >> 2)) * side + (ix >> 2)
    bit = ((iz & 1) << 4) | ((iy & 3) << 2) | (ix & 3)
    return word, bit


@triton.jit
def is_occupied(bits, gx, gy, gz, valid, RESOLUTION: tl.constexpr):
    """Whether the cells that hold grid positions are occupied; False where not `valid`, which are not looked up."""
    word, bit = cell_bit(cell_index(gx, RESOLUTION), cell_index(gy, RESOLUTION), cell_index(gz, RESOLUTION), RESOLUTION)
    return ((tl.load(bits + word, mask=valid, other=0) >> bit) & 1) != 0
