"""Rendering rays by the shell: a few samples stand for all the cells that a ray crosses, and only they have colour."""

import numpy as np

from ...fields.shell import BRICK, CELLS
from .compile import compiled
from .encoding import encode
from .forward import color_network, density_network, density_of
from .harmonics import spherical_harmonics
from .march import ONE, ZERO
from .placement import place, sample_of
from .rays import pixel_ray
from .shell import begin_walk, walk_group
from .structures import GROUP, ROUND
from .vector import address, fetch_add

BATCH = GROUP * ROUND


@compiled
def shade(field, positions, encoded, hidden, out, inputs, hidden2, color, samples):
    """Fill ``color[:samples]`` at grid positions; the harmonics of the views are in the right half of `inputs`."""
    encode(field.table, field.levels, positions, samples, encoded)
    density_network(field, encoded, hidden, out, samples)
    for s in range(samples):
        for i in range(16):
            inputs[s, i] = out[s, i]
    color_network(field, inputs, hidden2, color, samples)


@compiled
def put_sample(scratch, positions, sample, ray, t):
    """Write where a sample lies, and what the colour network is told of its view."""
    spherical_harmonics(scratch.rays.direction[ray], scratch.s_input[sample, 16:])
    for axis in range(3):
        at = scratch.rays.origin[ray, axis] + t * scratch.rays.direction[ray, axis]
        positions[sample, axis] = min(max(at, ZERO), ONE)


@compiled
def _add_colors(field, scratch, samples, rgba):
    """Colour what has come together, and add it to the rays' pixels."""
    shade(
        field,
        scratch.position,
        scratch.encoded,
        scratch.hidden,
        scratch.out,
        scratch.s_input,
        scratch.s_hidden2,
        scratch.s_color,
        samples,
    )
    for s in range(samples):
        ray = scratch.s_ray[s]
        for channel in range(3):
            rgba[ray, channel] += scratch.s_weight[s] * scratch.s_color[s, channel]


@compiled
def take_rays(scratch, grid, origins, directions, limits, views, first, group, count):
    """Put `count` rays from number `group` on into the scratch: those given, or `views`' only view's pixels."""
    rays = scratch.rays
    given = origins.shape[0] > 0
    none = np.int64(0)
    for ray in range(count):
        if given:
            for axis in range(3):
                rays.origin[ray, axis] = origins[group + ray, axis]
                rays.direction[ray, axis] = directions[group + ray, axis]
        else:
            pixel_ray(views, none, first + group + ray, rays.origin[ray], rays.direction[ray])
    begin_walk(rays, grid, count)
    if limits.shape[0] > 0:
        for ray in range(count):
            rays.start[ray] = max(rays.start[ray], limits[group + ray, 0])
            rays.far[ray] = min(rays.far[ray], limits[group + ray, 1])


@compiled
def surface_worker(
    counter,
    field,
    grid,
    memory,
    origins,
    directions,
    limits,
    views,
    first,
    rgba,
    depth,
    evaluations,
    looked,
    options,
):
    """Take groups of rays off the shared counter, as `render.render_worker` does; `memory` is (scratch, walk).

    `evaluations` (rays,) int32 is how many colours each ray asked for; `looked` (1,) int64, how many cells were looked
    up, is added to atomically. `options`: samples a ray, the transmittance below which a ray ends, and what parting
    samples must save.
    """
    scratch, walk = memory
    rays = rgba.shape[0]
    samples = np.int64(options[0])
    opaque_below, least = np.float32(options[1]), np.float32(options[2])
    made, total = np.int64(0), np.int64(0)
    while True:
        group = fetch_add(address(counter), 1) * GROUP
        if group >= rays:
            break
        count = min(GROUP, rays - group)
        take_rays(scratch, grid, origins, directions, limits, views, first, group, count)
        walk_group(scratch.rays, walk, grid, count, opaque_below)
        for ray in range(count):
            total += walk.looked[ray]
            if walk.found[ray] == 0:
                continue
            rgba[group + ray, 3] = walk.total[ray]
            depth[group + ray] = walk.mean[ray]
            groups = place(walk, ray, samples, least)
            evaluations[group + ray] = groups
            if made + groups > BATCH:
                _add_colors(field, scratch, made, rgba)
                made = np.int64(0)
            for g in range(groups):
                weight, t = sample_of(walk, ray, g, groups)
                scratch.s_ray[made] = group + ray
                scratch.s_weight[made] = weight
                put_sample(scratch, scratch.position, made, ray, t)
                made += 1
    _add_colors(field, scratch, made, rgba)
    fetch_add(address(looked), total)


@compiled
def profile_rays(scratch, walk, grid, origins, directions, limits, views, options, counts, groups, cells, samples):
    """What the shell holds along whole rays, and where samples go; for inspection and tests.

    `cells` (rays, CROSSED, 3) float32 is filled with each cell's t, length and weight, `counts` (rays,) int32 of them;
    `samples` (rays, MAX_SAMPLES, 3) with each sample's t and weight and the number of the cell behind its last one,
    `groups` (rays, 2) int32 with how many these are and how many cells were looked up.
    """
    rays = origins.shape[0]
    opaque_below, least = np.float32(options[1]), np.float32(options[2])
    for group in range(0, rays, GROUP):
        count = min(GROUP, rays - group)
        take_rays(scratch, grid, origins, directions, limits, views, 0, group, count)
        walk_group(scratch.rays, walk, grid, count, opaque_below)
        for ray in range(count):
            counts[group + ray] = walk.found[ray]
            for i in range(walk.found[ray]):
                cells[group + ray, i, 0] = walk.t[ray, i]
                cells[group + ray, i, 1] = walk.length[ray, i]
                cells[group + ray, i, 2] = walk.weight[ray, i]
            found = place(walk, ray, np.int64(options[0]), least)
            groups[group + ray, 0] = found
            groups[group + ray, 1] = walk.looked[ray]
            for g in range(found):
                weight, t = sample_of(walk, ray, g, found)
                samples[group + ray, g, 0] = t
                samples[group + ray, g, 1] = weight
                samples[group + ray, g, 2] = walk.low[g + 1]


@compiled
def bake_worker(counter, field, scratch, side, numbers, density):
    """The field's density in the middles of the cells of bricks, which lie at `numbers` of the occupancy grid.

    Batches of bricks off the shared counter; `density` (B, CELLS) is filled.
    """
    count = numbers.shape[0]
    size = ONE / np.float32(side * BRICK)
    half = np.float32(0.5)
    at_once = BATCH // CELLS
    while True:
        first = fetch_add(address(counter), 1) * at_once
        if first >= count:
            return
        bricks = min(at_once, count - first)
        for brick in range(bricks):
            number = numbers[first + brick]
            x, y, z = number % side * BRICK, number // side % side * BRICK, number // side // side * BRICK
            for i in range(CELLS):
                row = brick * CELLS + i
                scratch.position[row, 0] = (np.float32(x + i % BRICK) + half) * size
                scratch.position[row, 1] = (np.float32(y + i // BRICK % BRICK) + half) * size
                scratch.position[row, 2] = (np.float32(z + i // BRICK // BRICK) + half) * size
        encode(field.table, field.levels, scratch.position, bricks * CELLS, scratch.encoded)
        density_network(field, scratch.encoded, scratch.hidden, scratch.out, bricks * CELLS)
        for brick in range(bricks):
            for i in range(CELLS):
                density[first + brick, i] = density_of(scratch.out[brick * CELLS + i, 0])
