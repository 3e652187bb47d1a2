"""Line integrals of attenuation through hashed levels (`fields.attenuation_levels`), and their gradients.

Rays, samples and their lengths are those of `attenuation_march`, on the planes of the FINEST level's nodes; positions
come in its units. A sample sums up all levels there and is zero where the sum is negative, in which case it passes no
gradient on either: `gates` keep which.
"""

import numpy as np

from ...fields.hash_grid import HASH_PRIMES
from .attenuation_march import (
    FAR,
    HALF,
    ONE,
    POINTS,
    RAYS,
    ZERO,
    box_range,
    cell,
    judge_ray,
    make_ray,
    pixels_view,
    planes,
    share,
    steepest,
)
from .compile import compiled, compiled_inside
from .vector import address, fetch_add

PRIME_Y, PRIME_Z = np.int64(HASH_PRIMES[1]), np.int64(HASH_PRIMES[2])
NONE = np.int64(0)


@compiled_inside
def _hashed_line(numbers, base, mask, x, key, f):
    """Between two neighbours along x of a table; nothing is read of the second where it has no weight."""
    value = numbers[base + ((x ^ key) & mask)]
    if f > ZERO:
        value += f * (numbers[base + (((x + 1) ^ key) & mask)] - value)
    return value


@compiled_inside
def _direct_line(numbers, at, step, f):
    value = numbers[at]
    if f > ZERO:
        value += f * (numbers[at + step] - value)
    return value


@compiled
def _layer(numbers, levels, level, layer, ix, iy, fx, fy):
    """A level's number between four nodes of a layer."""
    mask, base = levels.masks[level], levels.bases[level, layer]
    if mask < NONE:
        step_x, step_y = levels.strides[level, 0], levels.strides[level, 1]
        at = base + ix * step_x + iy * step_y
        value = _direct_line(numbers, at, step_x, fx)
        if fy > ZERO:
            value += fy * (_direct_line(numbers, at + step_y, step_x, fx) - value)
        return value
    key = layer * PRIME_Z
    value = _hashed_line(numbers, base, mask, ix, key ^ (iy * PRIME_Y), fx)
    if fy > ZERO:
        value += fy * (_hashed_line(numbers, base, mask, ix, key ^ ((iy + 1) * PRIME_Y), fx) - value)
    return value


@compiled_inside
def place(levels, level, axis, position):
    """A position along one axis, in the finest level's units, as a level's lower node and how far from it."""
    ratio = levels.ratios[level, axis]
    index, f = cell((position + HALF) * ratio - HALF, levels.counts[level, axis])
    return np.int64(index), f


@compiled
def sum_at(numbers, levels, x, y, z):
    """The sum of all levels at a position."""
    total = ZERO
    for level in range(levels.counts.shape[0]):
        ix, fx = place(levels, level, 0, x)
        iy, fy = place(levels, level, 1, y)
        iz, fz = place(levels, level, 2, z)
        # At the finest level's nodes one of the two has no weight, whichever it is.
        value = ZERO
        if fz < ONE:
            value += (ONE - fz) * _layer(numbers, levels, level, iz, ix, iy, fx, fy)
        if fz > ZERO:
            value += fz * _layer(numbers, levels, level, iz + 1, ix, iy, fx, fy)
        total += value
    return total


@compiled_inside
def line_of(origins, directions, ray, main, axis, ratio):
    """A ray's position along an axis, in a level's units, at plane p: the first number plus p times the second."""
    start, step = ZERO, ONE
    if axis != main:
        step = directions[ray, axis] / directions[ray, main]
        start = origins[ray, axis] - origins[ray, main] * step
    return (start + HALF) * ratio - HALF, step * ratio


@compiled_inside
def _read(numbers, index):
    """A number; numba asks no more whether the index is negative."""
    return numbers[np.uint64(index)]


@compiled_inside
def _read_hashed(numbers, base, mask, x, key):
    return numbers[np.uint64(base + ((np.int64(x) ^ key) & mask))]


@compiled
def _add_direct(numbers, levels, level, a_x, b_x, a_y, b_y, a_z, b_z, first, last, samples):
    """Add a level whose nodes have a number each to a ray's samples."""
    step_x, step_y = levels.strides[level, 0], levels.strides[level, 1]
    start, step_z = levels.bases[level, 0], levels.bases[level, 1] - levels.bases[level, 0]
    count_x, count_y, count_z = levels.counts[level, 0], levels.counts[level, 1], levels.counts[level, 2]
    for plane in range(first, last + 1):
        p = np.float32(plane)
        ix, fx = cell(a_x + p * b_x, count_x)
        iy, fy = cell(a_y + p * b_y, count_y)
        iz, fz = cell(a_z + p * b_z, count_z)
        at = start + ix * step_x + iy * step_y + iz * step_z
        a, b = _read(numbers, at), _read(numbers, at + step_z)
        low = a + fz * (b - a)
        a, b = _read(numbers, at + step_y), _read(numbers, at + step_y + step_z)
        low += fy * (a + fz * (b - a) - low)
        at += step_x
        a, b = _read(numbers, at), _read(numbers, at + step_z)
        high = a + fz * (b - a)
        a, b = _read(numbers, at + step_y), _read(numbers, at + step_y + step_z)
        high += fy * (a + fz * (b - a) - high)
        samples[plane] += low + fx * (high - low)


@compiled_inside
def _hashed_layer(numbers, base, mask, ix, fx, low, high, fy):
    """Between four nodes of a table's layer; `low`, `high` are what x is combined with."""
    a, b = _read_hashed(numbers, base, mask, ix, low), _read_hashed(numbers, base, mask, ix + 1, low)
    c, d = _read_hashed(numbers, base, mask, ix, high), _read_hashed(numbers, base, mask, ix + 1, high)
    near, far = a + fx * (b - a), c + fx * (d - c)
    return near + fy * (far - near)


@compiled
def _add_hashed(numbers, levels, level, a_x, b_x, a_y, b_y, a_z, b_z, first, last, samples):
    """Add a level with a table to a ray's samples."""
    mask, bases = levels.masks[level], levels.bases[level]
    count_x, count_y, count_z = levels.counts[level, 0], levels.counts[level, 1], levels.counts[level, 2]
    for plane in range(first, last + 1):
        p = np.float32(plane)
        ix, fx = cell(a_x + p * b_x, count_x)
        iy, fy = cell(a_y + p * b_y, count_y)
        iz, fz = cell(a_z + p * b_z, count_z)
        y, z = iy * PRIME_Y, iz * PRIME_Z
        below = _hashed_layer(numbers, bases[iz], mask, ix, fx, y ^ z, (y + PRIME_Y) ^ z, fy)
        z += PRIME_Z
        above = _hashed_layer(numbers, bases[iz + 1], mask, ix, fx, y ^ z, (y + PRIME_Y) ^ z, fy)
        samples[plane] += below + fz * (above - below)


@compiled
def _add_finest(numbers, levels, level, main, a_x, b_x, a_y, b_y, a_z, b_z, first, last, samples):
    """Likewise the finest level, on whose nodes' planes samples lie: four nodes each."""
    mask, bases = levels.masks[level], levels.bases[level]
    count_x, count_y, count_z = levels.counts[level, 0], levels.counts[level, 1], levels.counts[level, 2]
    if main == 2:
        for plane in range(first, last + 1):
            p = np.float32(plane)
            ix, fx = cell(a_x + p * b_x, count_x)
            iy, fy = cell(a_y + p * b_y, count_y)
            y, z = iy * PRIME_Y, plane * PRIME_Z
            samples[plane] += _hashed_layer(numbers, bases[plane], mask, ix, fx, y ^ z, (y + PRIME_Y) ^ z, fy)
        return
    for plane in range(first, last + 1):
        p = np.float32(plane)
        iz, fz = cell(a_z + p * b_z, count_z)
        low, high = iz * PRIME_Z, (iz + 1) * PRIME_Z
        if main == 0:
            iy, f = cell(a_y + p * b_y, count_y)
            x0, x1 = np.int64(plane), np.int64(plane)
            y0, y1 = iy * PRIME_Y, (iy + 1) * PRIME_Y
        else:
            ix, f = cell(a_x + p * b_x, count_x)
            x0, x1 = np.int64(ix), np.int64(ix + 1)
            y0, y1 = plane * PRIME_Y, plane * PRIME_Y
        base = bases[iz]
        a, b = _read_hashed(numbers, base, mask, x0, y0 ^ low), _read_hashed(numbers, base, mask, x1, y1 ^ low)
        base = bases[iz + 1]
        c, d = _read_hashed(numbers, base, mask, x0, y0 ^ high), _read_hashed(numbers, base, mask, x1, y1 ^ high)
        below, above = a + f * (b - a), c + f * (d - c)
        samples[plane] += below + fz * (above - below)


@compiled
def sum_ray(samples, numbers, shape, levels, origins, directions, ray, near, far, out, gates):
    """As `attenuation_march.integrate_ray`; ``gates`` (N, planes) uint8 are filled, or (0, 0).

    `samples` (planes,) is working memory.
    """
    out[ray, 0] = ZERO
    out[ray, 1] = ZERO
    out[ray, 2] = ZERO
    near, far = box_range(origins, directions, ray, shape, near, far)
    if far <= near:
        return np.int64(0)
    main = steepest(directions, ray)
    inverse = ONE / directions[ray, main]
    o = origins[ray, main]
    half = HALF * abs(inverse)
    first, last = planes(o, directions[ray, main], near, far, np.int64(shape[main]))
    samples[first : last + 1] = ZERO
    finest = levels.counts.shape[0] - 1
    for level in range(finest + 1):
        a_x, b_x = line_of(origins, directions, ray, main, 0, levels.ratios[level, 0])
        a_y, b_y = line_of(origins, directions, ray, main, 1, levels.ratios[level, 1])
        a_z, b_z = line_of(origins, directions, ray, main, 2, levels.ratios[level, 2])
        if levels.masks[level] < NONE:
            _add_direct(numbers, levels, level, a_x, b_x, a_y, b_y, a_z, b_z, first, last, samples)
        elif level < finest:
            _add_hashed(numbers, levels, level, a_x, b_x, a_y, b_y, a_z, b_z, first, last, samples)
        else:
            _add_finest(numbers, levels, level, main, a_x, b_x, a_y, b_y, a_z, b_z, first, last, samples)
    total = ZERO
    moment = ZERO
    kept = gates.shape[0] > 0
    for plane in range(first, last + 1):
        t = (np.float32(plane) - o) * inverse
        value = samples[plane]
        if kept:
            gates[ray, plane] = value >= ZERO
        part = max(value, ZERO) * share(t, half, near, far)
        total += part
        moment += part * t
    out[ray, 0] = total
    out[ray, 1] = moment
    out[ray, 2] = np.float32(last + 1 - first)
    return last + 1 - first


@compiled
def sum_worker(counter, samples, numbers, shape, levels, origins, directions, limits, out, gates):
    """Line integrals of rays in tasks; `limits` (N, 2) or (0, 2), `samples` a thread's own memory."""
    rays = origins.shape[0]
    limited = limits.shape[0] > 0
    while True:
        first = fetch_add(address(counter), 1) * RAYS
        if first >= rays:
            break
        for ray in range(first, min(first + RAYS, rays)):
            near = max(limits[ray, 0], ZERO) if limited else ZERO
            far = limits[ray, 1] if limited else FAR
            sum_ray(samples, numbers, shape, levels, origins, directions, ray, near, far, out, gates)


@compiled
def sum_residual_worker(
    counter, samples, numbers, shape, levels, views, chosen, targets, frame, affine, noise, scale, origins, directions,
    spans, view_of, out, slopes, gates, stats,
):  # fmt: skip
    """As `attenuation_march.residual_worker`."""
    rays = chosen.shape[0]
    while True:
        task = fetch_add(address(counter), 1)
        first = task * RAYS
        if first >= rays:
            break
        loss, error, made = 0.0, 0.0, np.int64(0)
        view = np.int64(0)
        for ray in range(first, min(first + RAYS, rays)):
            number = chosen[ray]
            view = pixels_view(views, view, number)
            view_of[ray] = view
            make_ray(views, view, number, frame, shape, ray, origins, directions, spans)
            made += sum_ray(samples, numbers, shape, levels, origins, directions, ray, ZERO, FAR, out, gates)
            hits = spans[ray, 1] > spans[ray, 0]
            slopes[ray], half, square = judge_ray(out[ray, 0], targets[number], view, affine, noise, scale, hits)
            loss += half
            error += square
        stats[task, 0] = loss
        stats[task, 1] = error
        stats[task, 2] = made


@compiled
def sum_query_worker(counter, numbers, levels, positions, out):
    """The field's numbers at (N, 3) positions, in units of the finest level's nodes; the caller asks inside the box."""
    while True:
        first = fetch_add(address(counter), 1) * POINTS
        if first >= positions.shape[0]:
            break
        for i in range(first, min(first + POINTS, positions.shape[0])):
            out[i] = max(sum_at(numbers, levels, positions[i, 0], positions[i, 1], positions[i, 2]), ZERO)
