"""Rendering rays, and asking the field for density and colour at points."""

import numpy as np

from .compile import compiled
from .encoding import encode
from .forward import accumulate, advance, begin_rays, color_network, density_network, density_of
from .harmonics import spherical_harmonics
from .limits import limit_rays
from .rays import pixel_ray
from .structures import GROUP, ROUND
from .vector import address, fetch_add

HALF = np.float32(0.5)
BATCH = GROUP * ROUND
RENDER_ROUND = 3
"""Samples that a ray takes in a round: fewer than in training, because more rays of a group are opaque after them."""


@compiled
def render_worker(
    counter,
    field,
    grid,
    scratch,
    origins,
    directions,
    limits,
    views,
    first,
    rgba,
    depth,
    samples,
    evaluations,
    spacing,
    options,
):
    """Take groups of rays off the shared counter; `options` are the weight and transmittance thresholds.

    The rays are those given; where none are, those of `views`' only view through its pixels from number `first` on,
    as many as `rgba` has rows. Where `limits` has rows, each ray is only looked along from limits[ray, 0] to
    limits[ray, 1]. `depth` is the mean distance of what is seen, in unit-cube lengths, 0 where nothing is;
    `samples` (1,) int64, the densities that were asked for, is added to atomically; `evaluations` (rays,) int32 is how
    many of each ray's were worth a colour.
    """
    rays = rgba.shape[0]
    given = origins.shape[0] > 0
    weight_threshold = np.float32(options[0])
    transmittance_threshold = np.float32(options[1])
    none, capacity, limit = np.int64(0), np.int64(BATCH), np.int64(RENDER_ROUND)
    for ray in range(GROUP):
        scratch.rays.jitter[ray] = HALF
    while True:
        group = fetch_add(address(counter), 1) * GROUP
        if group >= rays:
            return
        count = min(GROUP, rays - group)
        for ray in range(count):
            if given:
                for axis in range(3):
                    scratch.rays.origin[ray, axis] = origins[group + ray, axis]
                    scratch.rays.direction[ray, axis] = directions[group + ray, axis]
            else:
                pixel_ray(views, none, first + group + ray, scratch.rays.origin[ray], scratch.rays.direction[ray])
        active = begin_rays(grid, scratch, count, spacing)
        if limits.shape[0] > 0:
            active = limit_rays(scratch.rays, active, limits, group, spacing)
        total = np.int64(0)
        while active > 0:
            active, selected, made, _ = advance(
                field,
                grid,
                scratch,
                active,
                none,
                capacity,
                limit,
                spacing,
                weight_threshold,
                transmittance_threshold,
                none,
            )
            color_network(field, scratch.s_input, scratch.s_hidden2, scratch.s_color, selected)
            accumulate(scratch, selected)
            total += made
        fetch_add(address(samples), total)
        for ray in range(count):
            weight = scratch.color[ray, 3]
            for channel in range(3):
                rgba[group + ray, channel] = scratch.color[ray, channel]
            rgba[group + ray, 3] = weight
            evaluations[group + ray] = np.int32(scratch.color[ray, 5])
            depth[group + ray] = scratch.color[ray, 4] / weight if weight > np.float32(0.0) else np.float32(0.0)


@compiled
def query_worker(counter, field, scratch, positions, directions, with_color, density, color):
    """Density, and colour along `directions` if asked, at grid positions; batches off the shared counter."""
    points = positions.shape[0]
    while True:
        first = fetch_add(address(counter), 1) * BATCH
        if first >= points:
            return
        count = min(BATCH, points - first)
        encode(field.table, field.levels, positions[first:], count, scratch.encoded)
        density_network(field, scratch.encoded, scratch.hidden, scratch.out, count)
        for s in range(count):
            density[first + s] = density_of(scratch.out[s, 0])
        if with_color:
            for s in range(count):
                for i in range(16):
                    scratch.s_input[s, i] = scratch.out[s, i]
                spherical_harmonics(directions[first + s], scratch.s_input[s, 16:])
            color_network(field, scratch.s_input, scratch.s_hidden2, scratch.s_color, count)
            for s in range(count):
                for channel in range(3):
                    color[first + s, channel] = scratch.s_color[s, channel]
