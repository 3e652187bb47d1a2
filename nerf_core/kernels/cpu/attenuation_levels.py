"""Line integrals of attenuation through hashed levels (`fields.attenuation_levels`), and their gradients.

Rays, samples and their lengths are those of `attenuation_march`, on the planes of the FINEST level's nodes; positions
come in its units. A sample sums up all levels there and is zero where the sum is negative, in which case it passes no
gradient on either: `gates` keep which.
"""

import math

import numpy as np

from ...fields.hash_grid import HASH_PRIMES
from .attenuation_march import (
    FAR,
    HALF,
    ONE,
    POINTS,
    RAYS,
    TINY,
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
def _place(levels, level, axis, position):
    """A position along one axis, in the finest level's units, as a level's lower node and how far from it."""
    ratio = levels.ratios[level, axis]
    index, f = cell((position + HALF) * ratio - HALF, levels.counts[level, axis])
    return np.int64(index), f


@compiled
def sum_at(numbers, levels, x, y, z):
    """The sum of all levels at a position."""
    total = ZERO
    for level in range(levels.counts.shape[0]):
        ix, fx = _place(levels, level, 0, x)
        iy, fy = _place(levels, level, 1, y)
        iz, fz = _place(levels, level, 2, z)
        # At the finest level's nodes one of the two has no weight, whichever it is.
        value = ZERO
        if fz < ONE:
            value += (ONE - fz) * _layer(numbers, levels, level, iz, ix, iy, fx, fy)
        if fz > ZERO:
            value += fz * _layer(numbers, levels, level, iz + 1, ix, iy, fx, fy)
        total += value
    return total


@compiled_inside
def _on_plane(origins, directions, ray, main, axis, plane, t):
    """A sample's position along an axis: exactly the plane along its own."""
    return np.float32(plane) if axis == main else origins[ray, axis] + t * directions[ray, axis]


@compiled
def sum_ray(numbers, shape, levels, origins, directions, ray, near, far, out, gates):
    """As `attenuation_march.integrate_ray`; ``gates`` (N, planes) uint8 are filled, or (0, 0)."""
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
    total = ZERO
    moment = ZERO
    kept = gates.shape[0] > 0
    for plane in range(first, last + 1):
        t = (np.float32(plane) - o) * inverse
        x = _on_plane(origins, directions, ray, main, 0, plane, t)
        y = _on_plane(origins, directions, ray, main, 1, plane, t)
        z = _on_plane(origins, directions, ray, main, 2, plane, t)
        value = sum_at(numbers, levels, x, y, z)
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
def _spread_layer(gradients, levels, level, layer, ix, iy, fx, fy, value):
    """Add a number's shares to four nodes of a layer."""
    mask, base = levels.masks[level], levels.bases[level, layer]
    right = value * fx
    left = value - right
    if mask < NONE:
        step_x, step_y = levels.strides[level, 0], levels.strides[level, 1]
        at = base + ix * step_x + iy * step_y
        gradients[at] += left * (ONE - fy)
        gradients[at + step_y] += left * fy
        gradients[at + step_x] += right * (ONE - fy)
        gradients[at + step_x + step_y] += right * fy
        return
    key = layer * PRIME_Z
    low, high = key ^ (iy * PRIME_Y), key ^ ((iy + 1) * PRIME_Y)
    if fy < ONE:
        gradients[base + ((ix ^ low) & mask)] += left * (ONE - fy)
        gradients[base + (((ix + 1) ^ low) & mask)] += right * (ONE - fy)
    if fy > ZERO:
        gradients[base + ((ix ^ high) & mask)] += left * fy
        gradients[base + (((ix + 1) ^ high) & mask)] += right * fy


@compiled_inside
def _spread_at(gradients, levels, level, first_layer, last_layer, x, y, z, value):
    """Add d(sum at a position) / d(nodes) times `value` to a level's nodes in the layers ``first..last``, half open."""
    iz, fz = _place(levels, level, 2, z)
    if iz + 1 >= first_layer and iz < last_layer:
        ix, fx = _place(levels, level, 0, x)
        iy, fy = _place(levels, level, 1, y)
        if iz >= first_layer and fz < ONE:
            _spread_layer(gradients, levels, level, iz, ix, iy, fx, fy, value * (ONE - fz))
        if iz + 1 < last_layer and fz > ZERO:
            _spread_layer(gradients, levels, level, iz + 1, ix, iy, fx, fy, value * fz)


@compiled
def _spread_ray(
    gradients, shape, levels, origins, directions, spans, gates, ray, slope, level, first_layer, last_layer, low, high
):
    """A ray's gradients in some layers of a level, which reach from `low` to `high` in the finest level's units."""
    near, far = spans[ray, 0], spans[ray, 1]
    main = steepest(directions, ray)
    inverse = ONE / directions[ray, main]
    o = origins[ray, main]
    half = HALF * abs(inverse)
    whole_first, whole_last = planes(o, directions[ray, main], near, far, np.int64(shape[main]))
    o_z, d_z = origins[ray, 2], directions[ray, 2]
    near_layers, far_layers = near - half, far + half
    if abs(d_z) < TINY:
        if o_z < low or o_z > high:
            return
    else:
        inverse_z = ONE / d_z
        a, b = (low - o_z) * inverse_z, (high - o_z) * inverse_z
        near_layers, far_layers = max(near_layers, min(a, b)), min(far_layers, max(a, b))
        if far_layers <= near_layers:
            return
    first, last = planes(o, directions[ray, main], near_layers, far_layers, np.int64(shape[main]))
    for plane in range(max(first - 1, whole_first), min(last + 1, whole_last) + 1):
        if gates[ray, plane] == 0:
            continue
        t = (np.float32(plane) - o) * inverse
        x = _on_plane(origins, directions, ray, main, 0, plane, t)
        y = _on_plane(origins, directions, ray, main, 1, plane, t)
        z = _on_plane(origins, directions, ray, main, 2, plane, t)
        value = slope * share(t, half, near, far)
        _spread_at(gradients, levels, level, first_layer, last_layer, x, y, z, value)


@compiled
def sum_worker(counter, numbers, shape, levels, origins, directions, limits, out, gates):
    """Line integrals of rays in tasks; `limits` (N, 2) or (0, 2)."""
    rays = origins.shape[0]
    limited = limits.shape[0] > 0
    while True:
        first = fetch_add(address(counter), 1) * RAYS
        if first >= rays:
            break
        for ray in range(first, min(first + RAYS, rays)):
            near = max(limits[ray, 0], ZERO) if limited else ZERO
            far = limits[ray, 1] if limited else FAR
            sum_ray(numbers, shape, levels, origins, directions, ray, near, far, out, gates)


@compiled
def sum_residual_worker(
    counter, numbers, shape, levels, views, chosen, targets, frame, affine, noise, scale, origins, directions, spans,
    view_of, out, slopes, gates, stats,
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
            made += sum_ray(numbers, shape, levels, origins, directions, ray, ZERO, FAR, out, gates)
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


@compiled
def brick_worker(counter, numbers, shape, levels, corners, scale, weight, soft, sums, slopes):
    """Total variation of bricks of the finest level's nodes, which may reach beyond the box: d TV / d(sum at nodes).

    ``corners`` (B, 3) int64; ``scale`` (3,) weighs differences along the axes; ``sums``, ``slopes`` (B, n, n, n) are
    filled, n - 1 being a brick's side: the last layers are neighbours alone. What is negative has no gradient.
    """
    side = sums.shape[1] - 1
    a, b, c = scale[0] * scale[0], scale[1] * scale[1], scale[2] * scale[2]
    while True:
        brick = fetch_add(address(counter), 1)
        if brick >= corners.shape[0]:
            break
        x0, y0, z0 = corners[brick, 0], corners[brick, 1], corners[brick, 2]
        low_x, low_y, low_z = max(-x0, NONE), max(-y0, NONE), max(-z0, NONE)
        end_x, end_y, end_z = min(shape[0] - x0, side + 1), min(shape[1] - y0, side + 1), min(shape[2] - z0, side + 1)
        found, slope = sums[brick], slopes[brick]
        slope[:] = ZERO
        for i in range(low_x, end_x):
            for j in range(low_y, end_y):
                for k in range(low_z, end_z):
                    x, y, z = np.float32(x0 + i), np.float32(y0 + j), np.float32(z0 + k)
                    found[i, j, k] = sum_at(numbers, levels, x, y, z)
        for i in range(low_x, min(end_x, side)):
            for j in range(low_y, min(end_y, side)):
                for k in range(low_z, min(end_z, side)):
                    here = max(found[i, j, k], ZERO)
                    dx = max(found[i + 1, j, k], ZERO) - here if i + 1 < end_x else ZERO
                    dy = max(found[i, j + 1, k], ZERO) - here if j + 1 < end_y else ZERO
                    dz = max(found[i, j, k + 1], ZERO) - here if k + 1 < end_z else ZERO
                    s = weight / np.float32(math.sqrt(a * dx * dx + b * dy * dy + c * dz * dz + soft * soft))
                    if i + 1 < end_x:
                        slope[i + 1, j, k] += a * dx * s
                    if j + 1 < end_y:
                        slope[i, j + 1, k] += b * dy * s
                    if k + 1 < end_z:
                        slope[i, j, k + 1] += c * dz * s
                    slope[i, j, k] -= (a * dx + b * dy + c * dz) * s
        for i in range(low_x, end_x):
            for j in range(low_y, end_y):
                for k in range(low_z, end_z):
                    if found[i, j, k] < ZERO:
                        slope[i, j, k] = ZERO


@compiled
def sum_spread_worker(
    counter, gradients, shape, levels, origins, directions, spans, slopes, gates, corners, brick_slopes
):
    """Gradients of a batch's rays, then of its bricks, some layers of a level a task."""
    side = brick_slopes.shape[1]
    while True:
        task = fetch_add(address(counter), 1)
        if task >= levels.tasks.shape[0]:
            break
        level, first, last = levels.tasks[task, 0], levels.tasks[task, 1], levels.tasks[task, 2]
        ratio = levels.ratios[level, 2]
        low = (np.float32(first) - HALF) / ratio - HALF
        high = (np.float32(last) + HALF) / ratio - HALF
        for ray in range(origins.shape[0]):
            if slopes[ray] != ZERO and spans[ray, 2] <= high + ONE and spans[ray, 3] >= low - ONE:
                _spread_ray(
                    gradients, shape, levels, origins, directions, spans, gates, ray, slopes[ray], level, first, last,
                    low, high,
                )  # fmt: skip
        for brick in range(corners.shape[0]):
            if np.float32(corners[brick, 2]) > high or np.float32(corners[brick, 2] + side) < low:
                continue
            slope = brick_slopes[brick]
            for i in range(side):
                for j in range(side):
                    for k in range(side):
                        if slope[i, j, k] != ZERO:
                            x, y = np.float32(corners[brick, 0] + i), np.float32(corners[brick, 1] + j)
                            z = np.float32(corners[brick, 2] + k)
                            _spread_at(gradients, levels, level, first, last, x, y, z, slope[i, j, k])


@compiled
def flat_adam_worker(counter, numbers, updated, first, second, gradients, rate, betas, epsilon, step):
    """Adam's step on a flat array, into `updated`; zeroes `gradients`."""
    b1, b2 = np.float32(betas[0]), np.float32(betas[1])
    c1, c2 = ONE - b1, ONE - b2
    correction1 = np.float32(rate / (1.0 - betas[0] ** step))
    correction2 = np.float32(1.0 / (1.0 - betas[1] ** step))
    while True:
        start = fetch_add(address(counter), 1) * POINTS * 16
        if start >= numbers.shape[0]:
            break
        for i in range(start, min(start + POINTS * 16, numbers.shape[0])):
            g = gradients[i]
            mean = b1 * first[i] + c1 * g
            square = b2 * second[i] + c2 * g * g
            first[i] = mean
            second[i] = square
            gradients[i] = ZERO
            change = correction1 * mean / (np.float32(math.sqrt(square * correction2)) + epsilon)
            updated[i] = numbers[i] - change
