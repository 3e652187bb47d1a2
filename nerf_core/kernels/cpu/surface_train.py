"""Training steps with a few samples a ray: the colours where the shell puts them, and what holds them there.

A ray's colour is ``sum_g w_g c_g + (1 - sum_g w_g) background``: c_g the field's colour at the one place that stands
for the shell's cells of group g, and w_g what these cells hold back. The loss is the mean squared difference to pixels.
"""

import numpy as np

from .compile import compiled, compiled_inside
from .march import ZERO
from .placement import place, sample_of
from .rays import random_pixels
from .shell import begin_walk, walk_group
from .structures import CHUNKS, GROUP
from .surface import put_sample, shade
from .train import backward_networks, color_slopes, sample_slopes
from .vector import address, fetch_add


@compiled_inside
def surface_gradients(scratch, walk, grid, rays, scale, share):
    """Squared error of a group's rays, and d loss / d (colour logits, log density) of their samples.

    Cell i of the shell has the derivative ``dL/dlog(sigma_i) = sigma_i length_i (q_i T_{i+1} - sum_{j>i} q_j w_j)``, as
    in `train.sample_gradients`, with q_i of the sample that stands for it. The shell is the field's own density, baked:
    `share` of the sum over a sample's cells is passed on to the field where the sample lies (straight through).
    """
    codes, levels = grid.codes.reshape(-1), grid.levels
    error = 0.0
    for ray in range(rays):
        error = color_slopes(scratch, ray, scale, error)
        cell = walk.found[ray] - 1
        passing, later = walk.passing[ray], ZERO
        for g in range(walk.groups[ray] - 1, -1, -1):
            s = walk.first[ray] + g
            low = walk.end[s - 1] if g > 0 else np.int64(0)
            q = sample_slopes(scratch, ray, s, scratch.s_weight[s])
            log = ZERO
            while cell >= low:
                held = levels[np.uint64(codes[np.uint64(walk.cell[ray, cell])])] * walk.length[ray, cell]
                log += held * (q * passing - later)
                passing += walk.weight[ray, cell]
                later += q * walk.weight[ray, cell]
                cell -= 1
            scratch.s_dlog[s] = share * log
    return error


@compiled_inside
def surface_chunk(field, grid, views, scratch, walk, batch, chunk, rays, seed, step_index, options):
    """One chunk of a batch of `rays` rays.

    `options` as in `surface.surface_worker`; then whether backgrounds are random, and :func:`surface_gradients`' share.
    """
    first_ray = chunk * rays // CHUNKS
    last_ray = (chunk + 1) * rays // CHUNKS
    gradients = batch.weights[chunk]
    for i in range(gradients.shape[0]):
        gradients[i] = ZERO
    for i in range(batch.stats.shape[1]):
        batch.stats[chunk, i] = 0.0
    written = np.int64(0)
    samples = np.int64(options[0])
    opaque_below, least = np.float32(options[1]), np.float32(options[2])
    random_background = options[3] > 0.0
    share = np.float32(options[4])
    scale = np.float32(1.0 / (3.0 * rays))
    for group in range(first_ray, last_ray, GROUP):
        count = min(GROUP, last_ray - group)
        random_pixels(views, seed, step_index, group, count, random_background, scratch.rays)
        begin_walk(scratch.rays, grid, count)
        walk_group(scratch.rays, walk, grid, count, opaque_below)
        made = np.int64(0)
        for ray in range(count):
            for i in range(4):
                scratch.color[ray, i] = ZERO
            groups = place(walk, ray, samples, least)
            walk.first[ray] = made
            walk.groups[ray] = groups
            for g in range(groups):
                weight, t = sample_of(walk, ray, g, groups)
                scratch.s_ray[made] = ray
                scratch.s_weight[made] = weight
                scratch.color[ray, 3] += weight
                walk.end[made] = walk.low[g + 1]
                put_sample(scratch, scratch.s_position, made, ray, t)
                made += 1
        shade(
            field,
            scratch.s_position,
            scratch.s_encoded,
            scratch.s_hidden,
            scratch.out,
            scratch.s_input,
            scratch.s_hidden2,
            scratch.s_color,
            made,
        )
        for s in range(made):
            for channel in range(3):
                scratch.color[scratch.s_ray[s], channel] += scratch.s_weight[s] * scratch.s_color[s, channel]
        error = surface_gradients(scratch, walk, grid, count, scale, share)
        backward_networks(field, scratch, made, gradients, batch, chunk, written)
        for s in range(made):
            for axis in range(3):
                batch.position[chunk, written + s, axis] = scratch.s_position[s, axis]
        written += made
        batch.stats[chunk, 0] += error * scale
        batch.stats[chunk, 1] += error
        batch.stats[chunk, 2] += count
        batch.stats[chunk, 3] += made
        batch.stats[chunk, 4] += made
    batch.trained[chunk] = written


@compiled
def surface_train_worker(counter, field, grid, views, memory, batch, rays, seed, step_index, options):
    """Take chunks off the shared counter until none is left; each thread has a `memory` (scratch, walk) of its own."""
    scratch, walk = memory
    while True:
        chunk = fetch_add(address(counter), 1)
        if chunk >= CHUNKS:
            return
        surface_chunk(field, grid, views, scratch, walk, batch, chunk, rays, seed, step_index, options)
