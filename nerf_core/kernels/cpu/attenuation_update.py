"""One step of the attenuation grid: total variation, Adam, and nothing below zero.

The prior is the total variation of the nodes (Rudin, Osher & Fatemi 1992), rounded off below `soft` so that it has a
gradient everywhere: sum over nodes of sqrt(dx^2 + dy^2 + dz^2 + soft^2), with differences to the next node along each
axis and none across the box's faces.
"""

import math

import numpy as np

from .compile import compiled
from .vector import address, fetch_add

ZERO = np.float32(0.0)
ONE = np.float32(1.0)


@compiled
def slope_worker(counter, values, shape, scale, soft, out):
    """Fill `out` with 1 / sqrt(dx^2 + dy^2 + dz^2 + soft^2) of each node; ``scale`` (3,) weighs the axes."""
    count_x, count_y, count_z = shape[0], shape[1], shape[2]
    stride_x = count_y * count_z
    square = soft * soft
    a, b, c = scale[0] * scale[0], scale[1] * scale[1], scale[2] * scale[2]
    while True:
        ix = fetch_add(address(counter), 1)
        if ix >= count_x:
            break
        to_x = stride_x if ix + 1 < count_x else np.int64(0)
        for iy in range(count_y):
            to_y = count_z if iy + 1 < count_y else np.int64(0)
            at = ix * stride_x + iy * count_z
            row = values[at : at + count_z]
            row_x = values[at + to_x : at + to_x + count_z]
            row_y = values[at + to_y : at + to_y + count_z]
            made = out[at : at + count_z]
            for iz in range(count_z - 1):
                dx, dy, dz = row_x[iz] - row[iz], row_y[iz] - row[iz], row[iz + 1] - row[iz]
                made[iz] = ONE / np.float32(math.sqrt(a * dx * dx + b * dy * dy + c * dz * dz + square))
            iz = count_z - 1
            dx, dy = row_x[iz] - row[iz], row_y[iz] - row[iz]
            made[iz] = ONE / np.float32(math.sqrt(a * dx * dx + b * dy * dy + square))


@compiled
def adam_worker(
    counter, values, updated, first, second, gradients, slopes, shape, scale, weight, rate, betas, epsilon, step
):
    """Adam's step on data gradients plus `weight` times total variation's, into `updated`; zeroes `gradients`.

    `updated` is another array than `values`, because neighbours read these.
    """
    count_x, count_y, count_z = shape[0], shape[1], shape[2]
    stride_x = count_y * count_z
    b1, b2 = np.float32(betas[0]), np.float32(betas[1])
    c1, c2 = ONE - b1, ONE - b2
    correction1 = np.float32(rate / (1.0 - betas[0] ** step))
    correction2 = np.float32(1.0 / (1.0 - betas[1] ** step))
    a, b, c = scale[0] * scale[0] * weight, scale[1] * scale[1] * weight, scale[2] * scale[2] * weight
    while True:
        ix = fetch_add(address(counter), 1)
        if ix >= count_x:
            break
        to_x = stride_x if ix + 1 < count_x else np.int64(0)
        from_x = stride_x if ix > 0 else np.int64(0)
        for iy in range(count_y):
            to_y = count_z if iy + 1 < count_y else np.int64(0)
            from_y = count_z if iy > 0 else np.int64(0)
            at = ix * stride_x + iy * count_z
            row = values[at : at + count_z]
            next_x, next_y = values[at + to_x : at + to_x + count_z], values[at + to_y : at + to_y + count_z]
            last_x, last_y = values[at - from_x : at - from_x + count_z], values[at - from_y : at - from_y + count_z]
            own = slopes[at : at + count_z]
            slope_x, slope_y = slopes[at - from_x : at - from_x + count_z], slopes[at - from_y : at - from_y + count_z]
            gradient = gradients[at : at + count_z]
            m, v = first[at : at + count_z], second[at : at + count_z]
            made = updated[at : at + count_z]
            for iz in range(count_z):
                before, after = max(iz - 1, 0), min(iz + 1, count_z - 1)
                x = row[iz]
                g = gradient[iz]
                g += a * ((x - last_x[iz]) * slope_x[iz] - (next_x[iz] - x) * own[iz])
                g += b * ((x - last_y[iz]) * slope_y[iz] - (next_y[iz] - x) * own[iz])
                g += c * ((x - row[before]) * own[before] - (row[after] - x) * own[iz])
                mean = b1 * m[iz] + c1 * g
                square = b2 * v[iz] + c2 * g * g
                m[iz] = mean
                v[iz] = square
                gradient[iz] = ZERO
                change = correction1 * mean / (np.float32(math.sqrt(square * correction2)) + epsilon)
                made[iz] = max(x - change, ZERO)
