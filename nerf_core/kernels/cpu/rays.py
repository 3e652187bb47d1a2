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
_S30, _S27, _S31, _S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
_MASK21, _MASK24 = np.uint64((1 << 21) - 1), np.uint64((1 << 24) - 1)
_TO_UNIT = np.float32(1.0 / (1 << 24))
_TO_UNIT21 = np.float32(1.0 / (1 << 21))
_BYTE = np.float32(1.0 / 255.0)


@compiled
def mix(value):
    """SplitMix64's finaliser (Steele et al. 2014)."""
    value = (value ^ (value >> _S30)) * _B
    value = (value ^ (value >> _S27)) * _C
    return value ^ (value >> _S31)


@compiled
def step_key(seed, step):
    """What all random numbers of one training step begin with."""
    return mix(np.uint64(seed) + _A * np.uint64(step + 1))


@compiled
def random_bits(key, index, purpose):
    """64 random bits for one use."""
    return mix(mix(key ^ (_A * np.uint64(index + 1))) + _A * np.uint64(purpose + 1))


@compiled
def unit_part(bits, part):
    """A float32 in [0, 1) from one of the three 21-bit parts (0 to 2) of random bits."""
    return np.float32(np.int64((bits >> np.uint64(21 * part)) & _MASK21)) * _TO_UNIT21


@compiled
def choose_pixel(views, key, index):
    """One of all views' pixels, every one alike: its view, its number in it, and the random bits it came from.

    The high half of the bits chose; the low half is free.
    """
    count = views.starts.shape[0] - 1
    total = np.uint64(views.starts[count])
    bits = random_bits(key, index, 0)
    chosen = np.int64(((bits >> _S32) * total) >> _S32)
    # Exact at once where all views are of one size.
    view = chosen * count // np.int64(total)
    while views.starts[view] > chosen:
        view -= 1
    while views.starts[view + 1] <= chosen:
        view += 1
    return view, chosen - views.starts[view], bits


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
def random_pixels(views, seed, step, first, count, random_background, group):
    """Fill a group (`structures.Rays`) with `count` random pixels: rays, colours over backgrounds, jitter, depth.

    The ray with number `first` in this step comes first. Three loops, so that the loads of pixels, which lie anywhere
    in memory, wait side by side.
    """
    key = step_key(seed, step)
    for ray in range(count):
        view, pixel, bits = choose_pixel(views, key, first + ray)
        group.chosen_view[ray] = view
        group.chosen_pixel[ray] = pixel
        group.jitter[ray] = np.float32(np.int64(bits & _MASK24)) * _TO_UNIT
        behind = random_bits(key, first + ray, 1)
        for channel in range(3):
            group.background[ray, channel] = unit_part(behind, channel) if random_background else np.float32(0.0)
    for ray in range(count):
        at = views.starts[group.chosen_view[ray]] + group.chosen_pixel[ray]
        alpha = np.float32(views.pixels[at, 3]) * _BYTE
        for channel in range(3):
            color = np.float32(views.pixels[at, channel]) * _BYTE
            group.target[ray, channel] = color * alpha + group.background[ray, channel] * (np.float32(1.0) - alpha)
    if views.depths.shape[0] > 0:
        for ray in range(count):
            group.depth[ray] = views.depths[views.starts[group.chosen_view[ray]] + group.chosen_pixel[ray]]
    for ray in range(count):
        pixel_ray(views, group.chosen_view[ray], group.chosen_pixel[ray], group.origin[ray], group.direction[ray])
