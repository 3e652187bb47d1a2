"""Lines through closed triangle meshes: every crossing, watertight, and the integral of what encloses each stretch.

A line is turned into the z axis by a shear (Woop, Benthin and Wald, "Watertight Ray/Triangle Intersection", 2013), and
the vertices are rounded there: what each edge's side of the line is, is then found EXACTLY, with the line moved by an
infinitely small step off every edge and vertex (Edelsbrunner and Muecke, "Simulation of Simplicity", 1990). So a line
through an edge or a vertex crosses one of the faces that meet there, as one beside it would, and a closed mesh is left
as often as it is entered.

All of it is compiled strictly: an exact sign needs products that are rounded as written.
"""

import numpy as np

from .compile import compiled_strictly
from .vector import address, fetch_add

CHUNK = 64
LEAF = 4  # faces
MOST_HITS = 16384
INSIDE, PARITY = 1, 3
"""Rows of a thread's working memory: which solids a line is in, and which of them count by parity."""
STACK = 64
SPLIT = 134217729.0  # 2^27 + 1: halves a double's digits (Dekker 1971)
SURE = 1e-15  # of the products' sizes: a larger difference has the right sign


@compiled_strictly
def product_error(a, b, product):
    """What rounding took from a product of two doubles, exactly."""
    c = SPLIT * a
    a1 = c - (c - a)
    a0 = a - a1
    c = SPLIT * b
    b1 = c - (c - b)
    b0 = b - b1
    return ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0


@compiled_strictly
def side(ax, ay, bx, by):
    """On which side of the edge from a to b the line is: 1 or -1, exactly, never 0; the edge from b to a: the other."""
    one, other = ax * by, bx * ay
    difference = one - other
    if abs(difference) > SURE * (abs(one) + abs(other)):
        return 1 if difference > 0.0 else -1
    if difference == 0.0 or abs(difference) <= SURE * (abs(one) + abs(other)):
        # The products are so alike that their difference is exact.
        exact = difference + (product_error(ax, by, one) - product_error(bx, ay, other))
        if exact > 0.0:
            return 1
        if exact < 0.0:
            return -1
    # The line is on the edge's own line: it is taken to pass at (e, e^2), e > 0 beyond all smallness.
    if by != ay:
        return -1 if by > ay else 1
    if bx != ax:
        return 1 if bx > ax else -1
    return 1


@compiled_strictly
def box_is_met(lows, highs, node, ox, oy, oz, dx, dy, dz):
    """Whether the whole line meets a box."""
    start, end = -np.inf, np.inf
    if dx != 0.0:
        one, other = (lows[node, 0] - ox) / dx, (highs[node, 0] - ox) / dx
        start, end = max(start, min(one, other)), min(end, max(one, other))
    elif not lows[node, 0] <= ox <= highs[node, 0]:
        return False
    if dy != 0.0:
        one, other = (lows[node, 1] - oy) / dy, (highs[node, 1] - oy) / dy
        start, end = max(start, min(one, other)), min(end, max(one, other))
    elif not lows[node, 1] <= oy <= highs[node, 1]:
        return False
    if dz != 0.0:
        one, other = (lows[node, 2] - oz) / dz, (highs[node, 2] - oz) / dz
        start, end = max(start, min(one, other)), min(end, max(one, other))
    elif not lows[node, 2] <= oz <= highs[node, 2]:
        return False
    return start <= end


@compiled_strictly
def cross_face(vertices, faces, face, origin, direction, kx, ky, kz, sx, sy, place):
    """0 where the line misses a face, 1 where it enters through it, -1 where it leaves; `place[0]` is where."""
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    az, bz, cz = vertices[a, kz] - origin[kz], vertices[b, kz] - origin[kz], vertices[c, kz] - origin[kz]
    ax, ay = vertices[a, kx] - origin[kx] - sx * az, vertices[a, ky] - origin[ky] - sy * az
    bx, by = vertices[b, kx] - origin[kx] - sx * bz, vertices[b, ky] - origin[ky] - sy * bz
    first = side(ax, ay, bx, by)
    cx, cy = vertices[c, kx] - origin[kx] - sx * cz, vertices[c, ky] - origin[ky] - sy * cz
    if side(bx, by, cx, cy) != first or side(cx, cy, ax, ay) != first:
        return 0
    u, v, w = abs(bx * cy - cx * by), abs(cx * ay - ax * cy), abs(ax * by - bx * ay)
    whole = u + v + w
    z = (u * az + v * bz + w * cz) / whole if whole > 0.0 else (az + bz + cz) / 3.0
    z = min(max(z, min(az, min(bz, cz))), max(az, max(bz, cz)))
    place[0] = z / direction[kz]
    return -first if direction[kz] > 0.0 else first


@compiled_strictly
def find_crossings(vertices, faces, solid_of, lows, highs, origin, direction, stack, places, hits):
    """Fill `places` with where a line crosses faces, ascending, and `hits` with 2 * solid + entering; their number.

    -1 where there are more than the arrays hold. The tree is complete: node i's children are 2 i + 1 and 2 i + 2.
    """
    ox, oy, oz = origin[0], origin[1], origin[2]
    dx, dy, dz = direction[0], direction[1], direction[2]
    kz = 0
    if abs(dy) > abs(dx):
        kz = 1
    if abs(dz) > abs(direction[kz]):
        kz = 2
    if direction[kz] == 0.0:
        return 0
    kx, ky = (kz + 1) % 3, (kz + 2) % 3
    sx, sy = direction[kx] / direction[kz], direction[ky] / direction[kz]
    leaves = (lows.shape[0] + 1) // 2
    found, depth = 0, 1
    stack[0] = 0
    while depth > 0:
        depth -= 1
        node = stack[depth]
        if not box_is_met(lows, highs, node, ox, oy, oz, dx, dy, dz):
            continue
        if node < leaves - 1:
            stack[depth], stack[depth + 1] = 2 * node + 1, 2 * node + 2
            depth += 2
            continue
        begin = (node - (leaves - 1)) * LEAF
        for face in range(begin, min(begin + LEAF, faces.shape[0])):
            if found == places.shape[0]:
                return -1
            sign = cross_face(vertices, faces, face, origin, direction, kx, ky, kz, sx, sy, places[found : found + 1])
            if sign != 0:
                t, key = places[found], 2 * np.int64(solid_of[face]) + (1 if sign > 0 else 0)
                at = found
                while at > 0 and places[at - 1] > t:
                    places[at], hits[at] = places[at - 1], hits[at - 1]
                    at -= 1
                places[at], hits[at] = t, key
                found += 1
    return found


@compiled_strictly
def pair_crossings(hits, found, by_parity, counts, sums, first, last):
    """Drop (-1) a crossing of each solid that this line leaves more or less often than it enters it.

    Solids that `by_parity` says, and those whose crossings do not add up, are inside between every second crossing;
    of an odd number the first is dropped where it leaves, else the last. `sums` is 1 then for those, else 0.
    """
    for i in range(found):
        solid = hits[i] >> 1
        counts[solid] = 0
        sums[solid] = 0
    for i in range(found):
        solid = hits[i] >> 1
        if counts[solid] == 0:
            first[solid] = i
        last[solid] = i
        counts[solid] += 1
        sums[solid] += 1 if hits[i] & 1 else -1
    for i in range(found):
        if hits[i] < 0:
            continue
        solid = hits[i] >> 1
        if counts[solid] < 0:  # seen
            continue
        odd = counts[solid] % 2 == 1
        parity = by_parity[solid] or sums[solid] != 0
        counts[solid] = -1
        sums[solid] = 1 if parity else 0
        if parity and odd:
            begin, end = first[solid], last[solid]
            hits[begin if hits[begin] & 1 == 0 else end] = -1


@compiled_strictly
def paired_crossings(vertices, faces, solid_of, lows, highs, by_parity, origin, direction, memory, places, hits):
    """Find a line's crossings and pair them, solid by solid; their number, below 0 where they are too many.

    `memory` (6, solids or STACK) is a thread's own; its row `PARITY` then says which solids count by parity.
    """
    found = find_crossings(vertices, faces, solid_of, lows, highs, origin, direction, memory[0], places, hits)
    if found >= 0:
        pair_crossings(hits, found, by_parity, memory[2], memory[PARITY], memory[4], memory[5])
    return found


@compiled_strictly
def integrate_crossings(places, hits, found, mu, inside, parity):
    """Sum of mu times length ahead of the origin; solids are numbered by priority, the highest first."""
    for i in range(found):
        if hits[i] >= 0:
            inside[hits[i] >> 1] = 0
    solids = mu.shape[0]
    total, top, since = 0.0, solids, 0.0
    for i in range(found):
        if hits[i] < 0:
            continue
        t = max(places[i], 0.0)
        if top < solids:
            total += mu[top] * (t - since)
        since = t
        solid = hits[i] >> 1
        if parity[solid]:
            inside[solid] = 1 - inside[solid]
        else:
            inside[solid] += 1 if hits[i] & 1 else -1
        if inside[solid] != 0:
            top = min(top, solid)
        elif solid == top:
            top += 1
            while top < solids and inside[top] == 0:
                top += 1
    # What was entered has been left: every solid's crossings are paired.
    for i in range(found):
        if hits[i] >= 0:
            inside[hits[i] >> 1] = 0
    return total


@compiled_strictly
def mesh_worker(
    counter,
    thread,
    memory,
    vertices,
    faces,
    solid_of,
    lows,
    highs,
    mu,
    by_parity,
    origins,
    directions,
    places,
    hits,
    out,
):
    """Fill `out` (N,) with integrals, some rays off the shared counter at a time; NaN where a line crosses too much.

    `memory` (threads, 6, solids or STACK) int64, `places`, `hits` (threads, MOST_HITS) are this thread's own rows.
    """
    count, solids = origins.shape[0], mu.shape[0]
    inside = memory[thread, INSIDE]
    for solid in range(solids):
        inside[solid] = 0
    while True:
        begin = fetch_add(address(counter), 1) * CHUNK
        if begin >= count:
            return
        for ray in range(begin, min(begin + CHUNK, count)):
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
                out[ray] = np.nan
                continue
            parity = memory[thread, PARITY]
            out[ray] = integrate_crossings(places[thread], hits[thread], found, mu, inside, parity)
