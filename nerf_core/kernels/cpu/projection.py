"""Line integrals through a voxel volume, and the transpose: Siddon's and Joseph's, for rays in the volume's own axes.

Rays are in index space: voxel (i, j, k)'s centre is at (i, j, k), so voxels fill -0.5 to n - 0.5 along each axis. A
direction is what one world unit along the ray makes in index space, so that t counts world units.

* Siddon (1985): mu is constant in each voxel; every voxel that the ray crosses counts with the length inside it.
* Joseph (1982): one sample a plane of voxel centres along the axis that the ray runs along most, interpolated
  bilinearly in that plane, 0 outside; each counts with the length from plane to plane.
"""

import numpy as np

from .compile import compiled, compiled_inside
from .vector import address, fetch_add

CHUNK = 128  # rays that a thread takes at once
SIDDON, JOSEPH = 0, 1


@compiled_inside
def siddon_walk(visit, sink, nx, ny, nz, ox, oy, oz, dx, dy, dz, amount):
    """Call ``visit(sink, total, x, y, z, length, amount)`` with each voxel on a ray; it returns the next `total`."""
    start, end = 0.0, np.inf
    if dx != 0.0:
        one, other = (-0.5 - ox) / dx, (nx - 0.5 - ox) / dx
        start, end = max(start, min(one, other)), min(end, max(one, other))
    elif not -0.5 <= ox < nx - 0.5:
        return 0.0
    if dy != 0.0:
        one, other = (-0.5 - oy) / dy, (ny - 0.5 - oy) / dy
        start, end = max(start, min(one, other)), min(end, max(one, other))
    elif not -0.5 <= oy < ny - 0.5:
        return 0.0
    if dz != 0.0:
        one, other = (-0.5 - oz) / dz, (nz - 0.5 - oz) / dz
        start, end = max(start, min(one, other)), min(end, max(one, other))
    elif not -0.5 <= oz < nz - 0.5:
        return 0.0
    if not start < end or end == np.inf:
        return 0.0
    x = min(max(np.int64(np.floor(ox + start * dx + 0.5)), 0), nx - 1)
    y = min(max(np.int64(np.floor(oy + start * dy + 0.5)), 0), ny - 1)
    z = min(max(np.int64(np.floor(oz + start * dz + 0.5)), 0), nz - 1)
    # Where the ray next leaves the voxel along each axis; from the planes themselves, so that nothing adds up.
    step_x, step_y, step_z = np.int64(np.sign(dx)), np.int64(np.sign(dy)), np.int64(np.sign(dz))
    per_x = 1.0 / dx if dx != 0.0 else 0.0
    per_y = 1.0 / dy if dy != 0.0 else 0.0
    per_z = 1.0 / dz if dz != 0.0 else 0.0
    next_x = (x + 0.5 * step_x - ox) * per_x if dx != 0.0 else np.inf
    next_y = (y + 0.5 * step_y - oy) * per_y if dy != 0.0 else np.inf
    next_z = (z + 0.5 * step_z - oz) * per_z if dz != 0.0 else np.inf
    total, t = 0.0, start
    while t < end:
        leave = min(min(next_x, next_y), min(next_z, end))
        if leave > t:
            total = visit(sink, total, x, y, z, leave - t, amount)
            t = leave
        if next_x <= leave:
            x += step_x
            if x < 0 or x >= nx:
                break
            next_x = (x + 0.5 * step_x - ox) * per_x
        elif next_y <= leave:
            y += step_y
            if y < 0 or y >= ny:
                break
            next_y = (y + 0.5 * step_y - oy) * per_y
        elif next_z <= leave:
            z += step_z
            if z < 0 or z >= nz:
                break
            next_z = (z + 0.5 * step_z - oz) * per_z
        else:
            break
    return total


@compiled_inside
def gathered(values, total, x, y, z, length, amount):
    """A voxel's part of the integral."""
    return total + values[x, y, z] * length


@compiled_inside
def scattered(values, total, x, y, z, length, amount):
    """A voxel's part of the transpose."""
    values[x, y, z] += np.float32(amount * length)
    return total


@compiled_inside
def counted(sink, total, x, y, z, length, amount):
    """How many voxels there are."""
    return total + 1.0


@compiled_inside
def recorded(sink, total, x, y, z, length, amount):
    """The voxel and its length, after `amount` entries of earlier rays; `sink` is voxels (flat), lengths, ny and nz."""
    voxels, lengths, ny, nz = sink
    at = amount + np.int64(total)
    voxels[at] = (x * ny + y) * nz + z
    lengths[at] = length
    return total + 1.0


@compiled
def siddon_ray(values, nx, ny, nz, ox, oy, oz, dx, dy, dz, amount, scatter):
    """The integral along one ray; with `scatter`, add `amount` times each voxel's length to `values` instead."""
    if scatter:
        return siddon_walk(scattered, values, nx, ny, nz, ox, oy, oz, dx, dy, dz, amount)
    return siddon_walk(gathered, values, nx, ny, nz, ox, oy, oz, dx, dy, dz, amount)


@compiled
def joseph_ray(values, na, nb, nc, sa, sb, sc, oa, ob, oc, da, db, dc, amount, scatter):
    """The integral along one ray whose largest component is `da`; with `scatter` the transpose, as `siddon_ray`'s.

    `values` is flat; along the axes a, b, c it has `na`, `nb`, `nc` voxels that lie `sa`, `sb`, `sc` apart in it.
    """
    per = 1.0 / da
    low, high = -oa * per, (na - 1 - oa) * per  # t of the first and of the last plane
    first, last = min(low, high), max(low, high)
    first = max(first, 0.0)
    # Where the ray is less than a voxel away from the others' outermost centres.
    if db != 0.0:
        one, other = (-1.0 - ob) / db, (nb - ob) / db
        first, last = max(first, min(one, other)), min(last, max(one, other))
    elif not -1.0 < ob < nb:
        return 0.0
    if dc != 0.0:
        one, other = (-1.0 - oc) / dc, (nc - oc) / dc
        first, last = max(first, min(one, other)), min(last, max(one, other))
    elif not -1.0 < oc < nc:
        return 0.0
    if not first <= last:
        return 0.0
    from_, to = oa + first * da, oa + last * da
    k0 = max(np.int64(np.ceil(min(from_, to) - 1e-9)), 0)
    k1 = min(np.int64(np.floor(max(from_, to) + 1e-9)), na - 1)
    total, length = 0.0, abs(per)
    for k in range(k0, k1 + 1):  # type: ignore[call-overload] # numba types the whole
        t = (k - oa) * per
        b, c = ob + t * db, oc + t * dc
        floor_b, floor_c = np.floor(b), np.floor(c)
        ib, ic = np.int64(floor_b), np.int64(floor_c)
        if ib < -1 or ib >= nb or ic < -1 or ic >= nc:
            continue
        fb, fc = b - floor_b, c - floor_c
        at = k * sa + ib * sb + ic * sc
        if scatter:
            share = amount * length
            if ib >= 0 and ic >= 0:
                values[at] += np.float32(share * (1.0 - fb) * (1.0 - fc))
            if ib >= 0 and ic < nc - 1:
                values[at + sc] += np.float32(share * (1.0 - fb) * fc)
            if ib < nb - 1 and ic >= 0:
                values[at + sb] += np.float32(share * fb * (1.0 - fc))
            if ib < nb - 1 and ic < nc - 1:
                values[at + sb + sc] += np.float32(share * fb * fc)
        else:
            near = values[at] if ib >= 0 and ic >= 0 else np.float32(0.0)
            right = values[at + sc] if ib >= 0 and ic < nc - 1 else np.float32(0.0)
            below = values[at + sb] if ib < nb - 1 and ic >= 0 else np.float32(0.0)
            far = values[at + sb + sc] if ib < nb - 1 and ic < nc - 1 else np.float32(0.0)
            total += (1.0 - fb) * ((1.0 - fc) * near + fc * right) + fb * ((1.0 - fc) * below + fc * far)
    return total * length


@compiled
def any_ray(values, flat, nx, ny, nz, origins, directions, ray, model, amount, scatter):
    """One ray by either model; `flat` is `values` seen as one row."""
    ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
    dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
    if model == SIDDON:
        return siddon_ray(values, nx, ny, nz, ox, oy, oz, dx, dy, dz, amount, scatter)
    sx, sy = ny * nz, nz
    if abs(dx) >= abs(dy) and abs(dx) >= abs(dz):
        if dx == 0.0:
            return 0.0
        return joseph_ray(flat, nx, ny, nz, sx, sy, 1, ox, oy, oz, dx, dy, dz, amount, scatter)
    if abs(dy) >= abs(dz):
        return joseph_ray(flat, ny, nx, nz, sy, sx, 1, oy, ox, oz, dy, dx, dz, amount, scatter)
    return joseph_ray(flat, nz, nx, ny, 1, sx, sy, oz, ox, oy, dz, dx, dy, amount, scatter)


@compiled
def project_worker(counter, values, flat, origins, directions, model, out):
    """Fill `out` (N,) float32, some rays off the shared counter at a time."""
    count = origins.shape[0]
    nx, ny, nz = values.shape
    while True:
        first = fetch_add(address(counter), 1) * CHUNK
        if first >= count:
            return
        for ray in range(first, min(first + CHUNK, count)):
            out[ray] = any_ray(values, flat, nx, ny, nz, origins, directions, ray, model, 0.0, False)


@compiled
def backproject_worker(counter, thread, threads, values, flat, origins, directions, model, amounts):
    """Add the transpose to `values[thread]` (T, X, Y, Z); each thread has rays of its own, so sums are repeatable."""
    count = origins.shape[0]
    nx, ny, nz = values.shape[1:]
    for first in range(thread * CHUNK, count, threads * CHUNK):
        for ray in range(first, min(first + CHUNK, count)):
            if amounts[ray] != 0.0:
                any_ray(values[thread], flat[thread], nx, ny, nz, origins, directions, ray, model, amounts[ray], True)


@compiled
def siddon_count_worker(counter, shape, origins, directions, counts):
    """Fill `counts` (N,): how many voxels of a (nx, ny, nz) volume each ray crosses."""
    nx, ny, nz = shape
    while True:
        first = fetch_add(address(counter), 1) * CHUNK
        if first >= origins.shape[0]:
            return
        for ray in range(first, min(first + CHUNK, origins.shape[0])):
            ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
            dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
            counts[ray] = np.int64(siddon_walk(counted, 0, nx, ny, nz, ox, oy, oz, dx, dy, dz, 0))


@compiled
def siddon_record_worker(counter, shape, origins, directions, begin, voxels, lengths):
    """Write each ray's voxels (flat) and the lengths inside them, in their order, from entry `begin` (N,) on."""
    nx, ny, nz = shape
    while True:
        first = fetch_add(address(counter), 1) * CHUNK
        if first >= origins.shape[0]:
            return
        for ray in range(first, min(first + CHUNK, origins.shape[0])):
            ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
            dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
            sink = (voxels, lengths, ny, nz)
            siddon_walk(recorded, sink, nx, ny, nz, ox, oy, oz, dx, dy, dz, begin[ray])
