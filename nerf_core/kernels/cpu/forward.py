"""A group of rays through the field: march, encode, density, select, colour. Shared by training and rendering."""

import math

import numpy as np

from ...fields.hash_grid import MAX_LOG_DENSITY
from .compile import compiled
from .encoding import encode
from .harmonics import spherical_harmonics
from .march import begin_ray, collect, skip
from .products import LOWEST, ZERO, product
from .structures import OUT, TILE
from .vector import ROW_MULTIPLE, address

ONE = np.float32(1.0)
LIMIT = np.float32(MAX_LOG_DENSITY)


@compiled
def density_network(field, encoded, hidden, out, count):
    """Fill `hidden` and `out` (rows of 16, log density first) from ``encoded[:count]``; rows are padded to 16."""
    inputs, width = field.w0.shape
    one, fresh, columns = np.int64(1), np.int64(0), np.int64(OUT)
    for first in range(0, count, TILE):
        rows = min(TILE, (count - first + ROW_MULTIPLE - 1) // ROW_MULTIPLE * ROW_MULTIPLE)
        x = address(encoded) + 4 * first * inputs
        h = address(hidden) + 4 * first * width
        y = address(out) + 4 * first * OUT
        product(x, inputs, one, address(field.w0), h, width, rows, width, inputs, fresh, ZERO)
        product(h, width, one, address(field.w1), y, columns, rows, columns, width, fresh, LOWEST)


@compiled
def color_network(field, inputs, hidden, color, count):
    """Fill `hidden` and `color` (rows of 16, sigmoid applied to the first 3) from ``inputs[:count]``."""
    size, width = field.w2.shape
    one, fresh, columns = np.int64(1), np.int64(0), np.int64(OUT)
    for first in range(0, count, TILE):
        rows = min(TILE, (count - first + ROW_MULTIPLE - 1) // ROW_MULTIPLE * ROW_MULTIPLE)
        x = address(inputs) + 4 * first * size
        h = address(hidden) + 4 * first * width
        y = address(color) + 4 * first * OUT
        product(x, size, one, address(field.w2), h, width, rows, width, size, fresh, ZERO)
        product(h, width, one, address(field.w3), y, columns, rows, columns, width, fresh, LOWEST)
    for row in range(count):
        for channel in range(3):
            color[row, channel] = ONE / (ONE + math.exp(-color[row, channel]))


@compiled
def density_of(log_density):
    """exp, clamped so that it stays finite."""
    return math.exp(min(log_density, LIMIT))


@compiled
def begin_rays(grid, scratch, rays, spacing):
    """Prepare `rays` rays whose origin, direction and jitter are in the scratch; gives how many meet the scene."""
    active = 0
    for ray in range(rays):
        meets = begin_ray(scratch.rays, ray, spacing, grid)
        scratch.transmittance[ray] = ONE
        for i in range(6):
            scratch.color[ray, i] = ZERO
        if meets:
            spherical_harmonics(scratch.rays.direction[ray], scratch.harmonics[ray])
            scratch.rays.active[active] = ray
            active += 1
    return active


@compiled
def advance(
    field, grid, scratch, active, selected, capacity, limit, spacing, weight_threshold, transmittance_threshold, keep
):
    """Take each active ray up to `limit` (at most `ROUND`) samples further.

    Samples whose weight exceeds the threshold are appended to the selected ones (from index `selected`, up to
    `capacity`); where `keep` is 1 their activations are kept too, for the backward pass.

    Returns
    -------
    active : int
        Rays that go on.
    selected : int
    samples : int
        Field evaluations made.
    cut : int
        Rays that were ended because the selected samples were full.
    """
    samples = np.int64(0)
    skip(scratch.rays, active, spacing, grid)
    for a in range(active):
        found, scratch.rays.goes_on[a] = collect(
            scratch.rays.active[a],
            limit,
            scratch.rays,
            spacing,
            grid,
            scratch.position,
            scratch.distance,
            scratch.interval,
            samples,
        )
        scratch.found[a] = found
        samples += found
    encode(field.table, field.levels, scratch.position, samples, scratch.encoded)
    density_network(field, scratch.encoded, scratch.hidden, scratch.out, samples)
    encoded_size = scratch.encoded.shape[1]
    hidden_size = scratch.hidden.shape[1]
    going_on = 0
    cut = 0
    row = 0
    for a in range(active):
        ray = scratch.rays.active[a]
        passing = scratch.transmittance[ray]
        goes_on = scratch.rays.goes_on[a]
        for j in range(scratch.found[a]):
            s = row + j
            density = density_of(scratch.out[s, 0])
            through = math.exp(-density * scratch.interval[s])
            weight = passing * (ONE - through)
            passing *= through
            if weight > weight_threshold:
                if selected == capacity:
                    goes_on = False
                    cut += 1
                    break
                scratch.s_ray[selected] = ray
                scratch.s_distance[selected] = scratch.distance[s]
                scratch.s_weight[selected] = weight
                for i in range(16):
                    scratch.s_input[selected, i] = scratch.out[s, i]
                for i in range(16):
                    scratch.s_input[selected, 16 + i] = scratch.harmonics[ray, i]
                if keep > 0:
                    scratch.s_after[selected] = passing
                    scratch.s_density[selected] = density
                    scratch.s_interval[selected] = scratch.interval[s]
                    for axis in range(3):
                        scratch.s_position[selected, axis] = scratch.position[s, axis]
                    for i in range(encoded_size):
                        scratch.s_encoded[selected, i] = scratch.encoded[s, i]
                    for i in range(hidden_size):
                        scratch.s_hidden[selected, i] = scratch.hidden[s, i]
                selected += 1
            if passing < transmittance_threshold:
                goes_on = False
                break
        row += scratch.found[a]
        scratch.transmittance[ray] = passing
        if goes_on:
            scratch.rays.active[going_on] = ray
            going_on += 1
    return going_on, selected, samples, cut


@compiled
def accumulate(scratch, selected):
    """Add the selected samples' weighted colours, weights and distances to their rays, and count them."""
    for s in range(selected):
        ray = scratch.s_ray[s]
        weight = scratch.s_weight[s]
        for channel in range(3):
            scratch.color[ray, channel] += weight * scratch.s_color[s, channel]
        scratch.color[ray, 3] += weight
        scratch.color[ray, 4] += weight * scratch.s_distance[s]
        scratch.color[ray, 5] += ONE
