"""Exact line integrals through ellipsoids, and their antialiased voxels.

An ellipsoid is where |M (x - c)| < 1, with M the rows of its axes divided by its half axes. Each ray's chord with it is
the stretch between the two roots of a quadratic.
"""

import numpy as np

from .compile import compiled
from .vector import address, fetch_add

RAYS_AT_ONCE = 256


@compiled
def integrals_worker(counter, stretches, centers, reaches, maps, values, painted, box, origins, directions, out):
    """Line integrals along rays, batches off the shared counter.

    Parameters: `stretches` (2, N + 1) is each thread's own memory; `centers` (N, 3), `reaches` (N,) radius around,
    `maps` (N, 3, 3), `values` (N,) per unit of length; `painted`: the first in the list that holds a point is all that
    counts there, else they are added; `box` (2, 3) cuts everything; `directions` of unit length; `out` (R,) float64.
    """
    total = origins.shape[0]
    while True:
        first = fetch_add(address(counter), 1) * RAYS_AT_ONCE
        if first >= total:
            return
        for ray in range(first, min(first + RAYS_AT_ONCE, total)):
            out[ray] = one_integral(
                stretches, centers, reaches, maps, values, painted, box, origins[ray], directions[ray]
            )


@compiled
def one_integral(stretches, centers, reaches, maps, values, painted, box, origin, direction):
    near, far = 0.0, 1e30
    for axis in range(3):
        if direction[axis] == 0.0:
            if origin[axis] < box[0, axis] or origin[axis] > box[1, axis]:
                return 0.0
        else:
            a = (box[0, axis] - origin[axis]) / direction[axis]
            b = (box[1, axis] - origin[axis]) / direction[axis]
            near, far = max(near, min(a, b)), min(far, max(a, b))
    if far <= near:
        return 0.0
    total = 0.0
    count = 0  # disjoint stretches that are covered so far, growing
    for n in range(centers.shape[0]):
        cx, cy, cz = centers[n, 0] - origin[0], centers[n, 1] - origin[1], centers[n, 2] - origin[2]
        along = cx * direction[0] + cy * direction[1] + cz * direction[2]
        # From the centre to the ray's nearest point: small numbers, whatever the distance of the origin.
        px, py, pz = along * direction[0] - cx, along * direction[1] - cy, along * direction[2] - cz
        reach = reaches[n]
        if px * px + py * py + pz * pz >= reach * reach or along + reach <= near or along - reach >= far:
            continue
        dd, pd, pp = 0.0, 0.0, 0.0
        for row in range(3):
            d = maps[n, row, 0] * direction[0] + maps[n, row, 1] * direction[1] + maps[n, row, 2] * direction[2]
            p = maps[n, row, 0] * px + maps[n, row, 1] * py + maps[n, row, 2] * pz
            dd, pd, pp = dd + d * d, pd + p * d, pp + p * p
        inside = pd * pd - dd * (pp - 1.0)
        if inside <= 0.0:
            continue
        half = np.sqrt(inside) / dd
        middle = along - pd / dd
        start, end = max(near, middle - half), min(far, middle + half)
        if end <= start:
            continue
        if painted:
            free, count = cover(stretches, count, start, end)
            total += values[n] * free
        else:
            total += values[n] * (end - start)
    return total


@compiled
def cover(stretches, count, start, end):
    """Add a stretch to the covered ones; returns the length that was not covered, and how many there are now."""
    first = 0
    while first < count and stretches[1, first] < start:
        first += 1
    last, covered = first, 0.0  # from first to last - 1 they touch the new one
    low, high = start, end
    while last < count and stretches[0, last] <= end:
        covered += min(end, stretches[1, last]) - max(start, stretches[0, last])
        low, high = min(low, stretches[0, last]), max(high, stretches[1, last])
        last += 1
    shift = 1 - (last - first)
    if shift > 0:
        for k in range(count - 1, last - 1, -1):
            stretches[0, k + 1], stretches[1, k + 1] = stretches[0, k], stretches[1, k]
    elif shift < 0:
        for k in range(last, count):
            stretches[0, k + shift], stretches[1, k + shift] = stretches[0, k], stretches[1, k]
    stretches[0, first], stretches[1, first] = low, high
    return end - start - covered, count + shift


@compiled
def voxels_worker(counter, lists, centers, reaches, maps, thinnest, values, painted, origin, steps, samples, out):
    """Mean values of the voxels of a grid, rows along z off the shared counter.

    Parameters: `lists` (2, N) int64 is each thread's own memory; `thinnest` (N,) the shortest half axes; `origin` (3,)
    the first voxel's centre, `steps` (3,) the voxels' sides, along the axes of the world; `samples` a side in voxels
    that a surface may cut; `out` (X, Y, Z) float32. The rest is as in `integrals_worker`.
    """
    x_count, y_count, z_count = out.shape
    rows = x_count * y_count
    half = 0.5 * np.sqrt(steps[0] * steps[0] + steps[1] * steps[1] + steps[2] * steps[2])
    part = 1.0 / samples
    while True:
        row = fetch_add(address(counter), 1)
        if row >= rows:
            return
        i, j = row // y_count, row % y_count
        x, y = origin[0] + i * steps[0], origin[1] + j * steps[1]
        row_count = 0
        for n in range(centers.shape[0]):
            if abs(centers[n, 0] - x) < reaches[n] + half and abs(centers[n, 1] - y) < reaches[n] + half:
                lists[0, row_count] = n
                row_count += 1
        for k in range(z_count):
            z = origin[2] + k * steps[2]
            near, cut = 0, False
            value = 0.0
            for m in range(row_count):
                n = lists[0, m]
                if abs(centers[n, 2] - z) >= reaches[n] + half:
                    continue
                r = radius(centers, maps, n, x, y, z)
                margin = half / thinnest[n]
                if r >= 1.0 + margin:
                    continue
                lists[1, near] = n
                near += 1
                if r > 1.0 - margin:
                    cut = True
                    continue
                value += values[n]
                if painted:
                    break
            if cut:
                value = 0.0
                for a in range(samples):
                    sx = x + ((a + 0.5) * part - 0.5) * steps[0]
                    for b in range(samples):
                        sy = y + ((b + 0.5) * part - 0.5) * steps[1]
                        for c in range(samples):
                            sz = z + ((c + 0.5) * part - 0.5) * steps[2]
                            for m in range(near):
                                n = lists[1, m]
                                if radius(centers, maps, n, sx, sy, sz) < 1.0:
                                    value += values[n]
                                    if painted:
                                        break
                value *= part * part * part
            out[i, j, k] = value


@compiled
def radius(centers, maps, n, x, y, z):
    """Of a point in an ellipsoid's own measure: below 1 inside."""
    px, py, pz = x - centers[n, 0], y - centers[n, 1], z - centers[n, 2]
    total = 0.0
    for row in range(3):
        q = maps[n, row, 0] * px + maps[n, row, 1] * py + maps[n, row, 2] * pz
        total += q * q
    return np.sqrt(total)
