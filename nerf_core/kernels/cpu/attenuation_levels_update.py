"""Gradients of hashed levels' sums (`attenuation_levels`): of rays' line integrals and of total variation; Adam's step.

Total variation (Rudin, Osher & Fatemi 1992; rounded off as `attenuation_update`'s) is that of the sum at the finest
level's nodes, in bricks of them that are drawn anew in each step.
"""

import math

import numpy as np

from .attenuation_levels import NONE, PRIME_Y, PRIME_Z, line_of, place, sum_at
from .attenuation_march import HALF, ONE, POINTS, ZERO, between_layers, cell, planes, share, steepest
from .compile import compiled, compiled_inside
from .vector import address, fetch_add


@compiled_inside
def _spread_layer(gradients, base, mask, step_x, step_y, layer, ix, iy, fx, fy, value):
    """Add a number's shares to four nodes of a layer."""
    right = value * fx
    left = value - right
    if mask < NONE:
        at = base + ix * step_x + iy * step_y
        gradients[np.uint64(at)] += left * (ONE - fy)
        gradients[np.uint64(at + step_y)] += left * fy
        gradients[np.uint64(at + step_x)] += right * (ONE - fy)
        gradients[np.uint64(at + step_x + step_y)] += right * fy
    else:
        x, key = np.int64(ix), layer * PRIME_Z
        low, high = key ^ (iy * PRIME_Y), key ^ ((iy + 1) * PRIME_Y)
        if fy < ONE:
            gradients[np.uint64(base + ((x ^ low) & mask))] += left * (ONE - fy)
            if fx > ZERO:
                gradients[np.uint64(base + (((x + 1) ^ low) & mask))] += right * (ONE - fy)
        if fy > ZERO:
            gradients[np.uint64(base + ((x ^ high) & mask))] += left * fy
            if fx > ZERO:
                gradients[np.uint64(base + (((x + 1) ^ high) & mask))] += right * fy


@compiled_inside
def _spread_at(gradients, levels, level, first_layer, last_layer, x, y, z, value):
    """Add d(sum at a position) / d(nodes) times `value` to a level's nodes in the layers ``first..last``, half open."""
    iz, fz = place(levels, level, 2, z)
    if iz + 1 >= first_layer and iz < last_layer:
        ix, fx = place(levels, level, 0, x)
        iy, fy = place(levels, level, 1, y)
        mask, step_x, step_y = levels.masks[level], levels.strides[level, 0], levels.strides[level, 1]
        if iz >= first_layer and fz < ONE:
            base = levels.bases[level, iz]
            _spread_layer(gradients, base, mask, step_x, step_y, iz, ix, iy, fx, fy, value * (ONE - fz))
        if iz + 1 < last_layer and fz > ZERO:
            base = levels.bases[level, iz + 1]
            _spread_layer(gradients, base, mask, step_x, step_y, iz + 1, ix, iy, fx, fy, value * fz)


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
    near_layers, far_layers = between_layers(origins, directions, ray, near - half, far + half, low, high)
    if far_layers <= near_layers:
        return
    first, last = planes(o, directions[ray, main], near_layers, far_layers, np.int64(shape[main]))
    a_x, b_x = line_of(origins, directions, ray, main, 0, levels.ratios[level, 0])
    a_y, b_y = line_of(origins, directions, ray, main, 1, levels.ratios[level, 1])
    a_z, b_z = line_of(origins, directions, ray, main, 2, levels.ratios[level, 2])
    count_x, count_y, count_z = levels.counts[level, 0], levels.counts[level, 1], levels.counts[level, 2]
    mask, bases = levels.masks[level], levels.bases[level]
    step_x, step_y = levels.strides[level, 0], levels.strides[level, 1]
    for plane in range(max(first - 1, whole_first), min(last + 1, whole_last) + 1):
        p = np.float32(plane)
        iz, fz = cell(a_z + p * b_z, count_z)
        if iz + 1 < first_layer or iz >= last_layer or gates[ray, plane] == 0:
            continue
        ix, fx = cell(a_x + p * b_x, count_x)
        iy, fy = cell(a_y + p * b_y, count_y)
        value = slope * share((p - o) * inverse, half, near, far)
        if iz >= first_layer and fz < ONE:
            _spread_layer(gradients, bases[iz], mask, step_x, step_y, iz, ix, iy, fx, fy, value * (ONE - fz))
        if iz + 1 < last_layer and fz > ZERO:
            _spread_layer(gradients, bases[iz + 1], mask, step_x, step_y, iz + 1, ix, iy, fx, fy, value * fz)


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
