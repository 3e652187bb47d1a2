"""Random training pixels: choosing them, their rays, colours and backgrounds, from a counter-based generator.

Every number is a hash of (seed, step, ray, what it is for): the same whatever the number of threads.
"""

import math

import numpy as np

from ..views import ORTHOGRAPHIC, TABLE
from .compile import compiled

_A = np.uint64(0x9E3779B97F4A7C15)
_B = np.uint64(0xBF58476D1CE4E5B9)
_C = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S40 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40)
_TO_UNIT = np.float32(1.0 / (1 << 24))
_BYTE = np.float32(1.0 / 255.0)


@compiled
def mix(value):
    """SplitMix64's finaliser (Steele et al. 2014)."""
    value = (value ^ (value >> _S30)) * _B
    value = (value ^ (value >> _S27)) * _C
    return value ^ (value >> _S31)


@compiled
def random_bits(seed, step, index, purpose):
    """64 random bits for one use."""
    value = mix(np.uint64(seed) + _A * np.uint64(step + 1))
    value = mix(value ^ (_A * np.uint64(index + 1)))
    return mix(value + _A * np.uint64(purpose + 1))


@compiled
def random_unit(seed, step, index, purpose):
    """A float32 in [0, 1)."""
    return np.float32(np.int64(random_bits(seed, step, index, purpose) >> _S40)) * _TO_UNIT


@compiled
def pixel_ray(views, view, pixel, origin, direction):
    """Write the ray through a pixel's centre, in the unit cube's frame."""
    camera = views.cameras[view]
    width = views.widths[view]
    origin[0], origin[1], origin[2] = camera[9], camera[10], camera[11]
    x = np.float32(pixel % width) + np.float32(0.5)
    y = np.float32(pixel // width) + np.float32(0.5)
    kind = views.kinds[view]
    if kind == TABLE:
        local = views.lens[views.tables[view] + pixel]
        u, v, w = local[0], local[1], local[2]
    else:
        u = (x - camera[14]) / camera[12]
        v = -(y - camera[15]) / camera[13]
        w = np.float32(-1.0)
        if kind == ORTHOGRAPHIC:
            for axis in range(3):
                origin[axis] += camera[3 * axis] * u + camera[3 * axis + 1] * v
            u = np.float32(0.0)
            v = np.float32(0.0)
        length = np.float32(1.0) / math.sqrt(u * u + v * v + w * w)
        u *= length
        v *= length
        w *= length
    for axis in range(3):
        direction[axis] = camera[3 * axis] * u + camera[3 * axis + 1] * v + camera[3 * axis + 2] * w


@compiled
def random_pixel(views, seed, step, index, random_background, origin, direction, target, background):
    """Choose a pixel, and write its ray, its colour over a background, and that background."""
    total = views.starts[views.starts.shape[0] - 1]
    chosen = np.int64(random_bits(seed, step, index, 0) % np.uint64(total))
    view, last = 0, views.starts.shape[0] - 1
    while last - view > 1:
        middle = (view + last) // 2
        if views.starts[middle] <= chosen:
            view = middle
        else:
            last = middle
    pixel_ray(views, view, chosen - views.starts[view], origin, direction)
    alpha = np.float32(views.pixels[chosen, 3]) * _BYTE
    for channel in range(3):
        behind = random_unit(seed, step, index, 1 + channel) if random_background else np.float32(0.0)
        background[channel] = behind
        color = np.float32(views.pixels[chosen, channel]) * _BYTE
        target[channel] = color * alpha + behind * (np.float32(1.0) - alpha)
