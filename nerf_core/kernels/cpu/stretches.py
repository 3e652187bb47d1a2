"""Stretches of rays: where they run inside closed meshes, and integrals through voxels along them alone.

What a mesh replaces of a volume is the volume's integral along the stretches inside it. By Joseph's method each sample
stands for half a plane's distance before and behind it: a stretch counts so much of that as it covers, so that
stretches that follow one another add up to the whole ray's integral.
"""

import numpy as np

from .compile import compiled, compiled_strictly
from .projection import SIDDON, siddon_ray
from .triangles import INSIDE, PARITY, paired_crossings
from .vector import address, fetch_add

CHUNK = 64


@compiled_strictly
def join_stretches(places, hits, found, takes, inside, parity, starts, stops):
    """Fill `starts` and `stops` with where a line is in any solid that `takes` says; their number, -1: too many."""
    for i in range(found):
        if hits[i] >= 0:
            inside[hits[i] >> 1] = 0
    count, depth, since = 0, 0, 0.0
    for i in range(found):
        if hits[i] < 0 or not takes[hits[i] >> 1]:
            continue
        solid = hits[i] >> 1
        was = inside[solid] != 0
        if parity[solid]:
            inside[solid] = 1 - inside[solid]
        else:
            inside[solid] += 1 if hits[i] & 1 else -1
        now = inside[solid] != 0
        if now and not was:
            depth += 1
            if depth == 1:
                since = places[i]
        elif was and not now:
            depth -= 1
            if depth == 0 and places[i] > max(since, 0.0):
                if count == starts.shape[0]:
                    count = -1
                    break
                starts[count], stops[count] = since, places[i]
                count += 1
    for i in range(found):
        if hits[i] >= 0:
            inside[hits[i] >> 1] = 0
    return count


@compiled_strictly
def stretches_worker(
    counter,
    thread,
    memory,
    vertices,
    faces,
    solid_of,
    lows,
    highs,
    takes,
    by_parity,
    origins,
    directions,
    places,
    hits,
    starts,
    stops,
    counts,
):
    """Fill `starts`, `stops` (N, M) and `counts` (N,) with rays' stretches inside solids; -1 stretches: more than M.

    -2 where a line crosses too much; everything else is as `triangles.mesh_worker` takes it.
    """
    total, solids = origins.shape[0], takes.shape[0]
    inside = memory[thread, INSIDE]
    for solid in range(solids):
        inside[solid] = 0
    while True:
        begin = fetch_add(address(counter), 1) * CHUNK
        if begin >= total:
            return
        for ray in range(begin, min(begin + CHUNK, total)):
            found = paired_crossings(
                vertices,
                faces,
                solid_of,
                lows,
                highs,
                by_parity,
                origins[ray],
                directions[ray],
                memory[thread],
                places[thread],
                hits[thread],
            )
            if found < 0:
                counts[ray] = -2
                continue
            parity = memory[thread, PARITY]
            counts[ray] = join_stretches(
                places[thread], hits[thread], found, takes, inside, parity, starts[ray], stops[ray]
            )


@compiled
def joseph_between(values, na, nb, nc, sa, sb, sc, oa, ob, oc, da, db, dc, start, stop):
    """`projection.joseph_ray`'s integral from `start` to `stop` alone; samples before the origin count as little."""
    per = 1.0 / da
    length = abs(per)
    if start <= 0.0:
        start = -0.5 * length  # all of the first sample's
    one, other = oa + (start - 0.5 * length) * da, oa + (stop + 0.5 * length) * da
    k0 = max(np.int64(np.ceil(max(min(one, other), -1.0))), 0)
    k1 = min(np.int64(np.floor(min(max(one, other), np.float64(na)))), na - 1)
    total = 0.0
    for k in range(k0, k1 + 1):  # type: ignore[call-overload] # numba types the whole
        t = (k - oa) * per
        share = min(t + 0.5 * length, stop) - max(t - 0.5 * length, start)
        if t < 0.0 or share <= 0.0:
            continue
        b, c = ob + t * db, oc + t * dc
        if not (-1.0 < b < nb and -1.0 < c < nc):
            continue
        floor_b, floor_c = np.floor(b), np.floor(c)
        ib, ic = np.int64(floor_b), np.int64(floor_c)
        fb, fc = b - floor_b, c - floor_c
        at = k * sa + ib * sb + ic * sc
        near = values[at] if ib >= 0 and ic >= 0 else np.float32(0.0)
        right = values[at + sc] if ib >= 0 and ic < nc - 1 else np.float32(0.0)
        below = values[at + sb] if ib < nb - 1 and ic >= 0 else np.float32(0.0)
        far = values[at + sb + sc] if ib < nb - 1 and ic < nc - 1 else np.float32(0.0)
        total += share * ((1.0 - fb) * ((1.0 - fc) * near + fc * right) + fb * ((1.0 - fc) * below + fc * far))
    return total


@compiled
def between_worker(counter, values, flat, origins, directions, starts, stops, model, out):
    """Fill `out` (N,) float64 with integrals along a stretch of each ray; as `projection.project_worker` takes them."""
    count = origins.shape[0]
    nx, ny, nz = values.shape
    sx, sy = ny * nz, nz
    while True:
        begin = fetch_add(address(counter), 1) * CHUNK
        if begin >= count:
            return
        for ray in range(begin, min(begin + CHUNK, count)):
            ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
            dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
            a, b = starts[ray], stops[ray]
            if model == SIDDON:
                a = max(a, 0.0)
                x, y, z = ox + a * dx, oy + a * dy, oz + a * dz
                before = siddon_ray(values, nx, ny, nz, x, y, z, dx, dy, dz, 0.0, False)
                x, y, z = ox + b * dx, oy + b * dy, oz + b * dz
                out[ray] = before - siddon_ray(values, nx, ny, nz, x, y, z, dx, dy, dz, 0.0, False)
            elif abs(dx) >= abs(dy) and abs(dx) >= abs(dz):
                out[ray] = joseph_between(flat, nx, ny, nz, sx, sy, 1, ox, oy, oz, dx, dy, dz, a, b)
            elif abs(dy) >= abs(dz):
                out[ray] = joseph_between(flat, ny, nx, nz, sy, sx, 1, oy, ox, oz, dy, dx, dz, a, b)
            else:
                out[ray] = joseph_between(flat, nz, nx, ny, 1, sx, sy, oz, ox, oy, dz, dx, dy, a, b)
