"""The training step, fused: a chunk of rays from pixels to gradients, then a level's scatter and update.

The loss is the mean over rays and channels of the squared difference to the pixel's colour over a background, and
a ray's colour is ``sum_i w_i c_i + (1 - sum_i w_i) background`` over the selected samples (w_i above the threshold).
Where depth is known, the depth loss (`reference.volume.depth_loss`) is added to it.
"""

import numpy as np

from .compile import compiled, compiled_inside
from .encoding import scatter_level
from .forward import accumulate, advance, begin_rays, color_network
from .march import stretch
from .optimiser import adam
from .products import LOWEST, ZERO, mask_where_zero, product, weight_gradient
from .rays import random_pixels
from .structures import CHUNK_ROWS, CHUNKS, GROUP, OUT, ROUND, SELECTED, TILE
from .vector import ROW_MULTIPLE, address, fetch_add

ONE = np.float32(1.0)


@compiled_inside
def color_slopes(scratch, ray, scale, error):
    """Write d loss / d colour of a ray; `error` and what the ray adds to the squared error."""
    behind = ONE - scratch.color[ray, 3]
    for channel in range(3):
        difference = (
            scratch.color[ray, channel]
            + behind * scratch.rays.background[ray, channel]
            - scratch.rays.target[ray, channel]
        )
        error += difference * difference
        scratch.slope[ray, channel] = np.float32(2.0) * scale * difference
    return error


@compiled_inside
def sample_slopes(scratch, ray, s, weight):
    """Write d loss / d colour logits of a ray's sample; q = dL/dcolor . (c - background)."""
    q = ZERO
    for channel in range(3):
        slope = scratch.slope[ray, channel]
        color = scratch.s_color[s, channel]
        q += slope * (color - scratch.rays.background[ray, channel])
        scratch.s_dcolor[s, channel] = slope * weight * color * (ONE - color)
    return q


@compiled_inside
def sample_gradients(scratch, rays, selected, scale, depth_scale, reach, growth):
    """Squared error and depth loss of a group's rays, and d loss / d (colour logits, log density) of selected samples.

    With q_i = dL/dcolor . (c_i - background): dL/ddensity_i = dt_i (q_i T_{i+1} - sum_{j>i} q_j w_j), where T_{i+1}
    is the transmittance after sample i (Max 1995). `scale` multiplies the squared error of one channel, `depth_scale`
    a ray's depth loss, which adds its own dL/dw_i to q_i; nobody looks at depth where that is 0. The depth loss
    reaches as far as `reach`, or `growth` times the known distance.
    """
    error = 0.0
    missed = 0.0
    if depth_scale > ZERO:
        for ray in range(rays):
            known = scratch.rays.depth[ray]
            scratch.sharpness[ray] = ONE / max(reach, growth * known) if known > ZERO else ZERO
            missed += 1.0 if known > ZERO else 0.0
    for ray in range(rays):
        error = color_slopes(scratch, ray, scale, error)
        scratch.slope[ray, 3] = ZERO
    for s in range(selected - 1, -1, -1):
        ray = scratch.s_ray[s]
        weight = scratch.s_weight[s]
        q = sample_slopes(scratch, ray, s, weight)
        if depth_scale > ZERO and scratch.sharpness[ray] > ZERO:
            near = ONE - abs(scratch.s_distance[s] - scratch.rays.depth[ray]) * scratch.sharpness[ray]
            if near > ZERO:
                q -= depth_scale * near
                missed -= weight * near
        later = scratch.slope[ray, 3]
        scratch.s_dlog[s] = scratch.s_density[s] * scratch.s_interval[s] * (q * scratch.s_after[s] - later)
        scratch.slope[ray, 3] = later + q * weight
    return error, missed


@compiled
def backward_networks(field, scratch, selected, gradients, batch, chunk, written):
    """Back through both networks; weight gradients are added to flat `gradients`, the encoding's are stored."""
    encoded_size, width = field.w0.shape
    input_size, width2 = field.w2.shape
    one, fresh, depth, out = np.int64(1), np.int64(0), np.int64(3), np.int64(OUT)
    g0 = address(gradients)
    g1 = g0 + 4 * field.w0.size
    g2 = g1 + 4 * field.w1.size
    g3 = g2 + 4 * field.w2.size
    hidden = scratch.t_dhidden.reshape(-1)
    dhidden = address(scratch.t_dhidden)
    dout = address(scratch.t_dout)
    dencoded = address(scratch.t_dencoded)
    flat_hidden = scratch.s_hidden.reshape(-1)
    flat_hidden2 = scratch.s_hidden2.reshape(-1)
    for first in range(0, selected, TILE):
        count = min(TILE, selected - first)
        rows = (count + ROW_MULTIPLE - 1) // ROW_MULTIPLE * ROW_MULTIPLE
        dcolor = address(scratch.s_dcolor) + 4 * first * OUT
        # color = sigmoid(relu(input w2) w3); w3's transpose is [16, width2], of which 3 rows count.
        weight_gradient(address(scratch.s_hidden2) + 4 * first * width2, width2, dcolor, g3, count, width2, out)
        product(dcolor, out, one, address(field.w3t), dhidden, width2, rows, width2, depth, fresh, LOWEST)
        mask_where_zero(hidden, flat_hidden2[first * width2 :], count * width2)
        weight_gradient(
            address(scratch.s_input) + 4 * first * input_size, input_size, dhidden, g2, count, input_size, width2
        )
        product(dhidden, width2, one, address(field.w2t), dout, out, rows, out, width2, fresh, LOWEST)
        for row in range(count):
            scratch.t_dout[row, 0] += scratch.s_dlog[first + row]
        # out = relu(encoded w0) w1
        weight_gradient(address(scratch.s_hidden) + 4 * first * width, width, dout, g1, count, width, out)
        product(dout, out, one, address(field.w1t), dhidden, width, rows, width, out, fresh, LOWEST)
        mask_where_zero(hidden, flat_hidden[first * width :], count * width)
        weight_gradient(
            address(scratch.s_encoded) + 4 * first * encoded_size, encoded_size, dhidden, g0, count, encoded_size, width
        )
        product(
            dhidden, width, one, address(field.w0t), dencoded, encoded_size, rows, encoded_size, width, fresh, LOWEST
        )
        for level in range(encoded_size // 4):
            for row in range(count):
                for i in range(4):
                    batch.gradient[chunk, level, written + first + row, i] = scratch.t_dencoded[row, 4 * level + i]


@compiled_inside
def train_chunk(field, grid, views, scratch, batch, chunk, rays, seed, step_index, spacing, options):
    """One chunk of a training batch of `rays` rays.

    `options` are the weight and transmittance thresholds, whether backgrounds are random, and the depth loss's weight,
    reach and growth.
    """
    first_ray = chunk * rays // CHUNKS
    last_ray = (chunk + 1) * rays // CHUNKS
    gradients = batch.weights[chunk]
    for i in range(gradients.shape[0]):
        gradients[i] = ZERO
    for i in range(batch.stats.shape[1]):
        batch.stats[chunk, i] = 0.0
    written = np.int64(0)
    scale = np.float32(1.0 / (3.0 * rays))
    keep, limit = np.int64(1), np.int64(ROUND)
    weight_threshold = np.float32(options[0])
    transmittance_threshold = np.float32(options[1])
    random_background = options[2] > 0.0
    depth_scale, reach, growth = np.float32(options[3] / rays), np.float32(options[4]), np.float32(options[5])
    for group in range(first_ray, last_ray, GROUP):
        count = min(GROUP, last_ray - group)
        random_pixels(views, seed, step_index, group, count, random_background, scratch.rays)
        active = begin_rays(grid, scratch, count, spacing)
        capacity = min(SELECTED, CHUNK_ROWS - written)
        selected = np.int64(0)
        samples = np.int64(0)
        cut = np.int64(0)
        while active > 0:
            active, selected, made, ended = advance(
                field,
                grid,
                scratch,
                active,
                selected,
                capacity,
                limit,
                spacing,
                weight_threshold,
                transmittance_threshold,
                keep,
            )
            samples += made
            cut += ended
        color_network(field, scratch.s_input, scratch.s_hidden2, scratch.s_color, selected)
        accumulate(scratch, selected)
        error, missed = sample_gradients(scratch, count, selected, scale, depth_scale, reach, growth)
        backward_networks(field, scratch, selected, gradients, batch, chunk, written)
        for s in range(selected):
            for axis in range(3):
                batch.position[chunk, written + s, axis] = scratch.s_position[s, axis]
            batch.density[chunk, written + s] = scratch.s_density[s]
        written += selected
        batch.stats[chunk, 0] += error * scale + missed * depth_scale
        batch.stats[chunk, 1] += error
        batch.stats[chunk, 2] += count
        batch.stats[chunk, 3] += samples
        batch.stats[chunk, 4] += selected
        batch.stats[chunk, 5] += cut
        batch.stats[chunk, 6] += missed
    batch.trained[chunk] = written


@compiled
def train_worker(counter, field, grid, views, scratch, batch, rays, seed, step_index, spacing, options):
    """Take chunks off the shared counter until none is left; any number of threads may run this."""
    while True:
        chunk = fetch_add(address(counter), 1)
        if chunk >= CHUNKS:
            return
        train_chunk(field, grid, views, scratch, batch, chunk, rays, seed, step_index, spacing, options)


@compiled_inside
def update_level(field, batch, level, part, parts, rows, first, second, gradient, rate, options, step_count):
    """Scatter a level's gradients into one part of its rows, then Adam over that part.

    `options`: beta1, beta2, epsilon. `rows` (L,) is each level's number of rows.
    """
    low = rows[level] * part // parts // 16 * 16
    high = rows[level] if part == parts - 1 else rows[level] * (part + 1) // parts // 16 * 16
    for chunk in range(CHUNKS):
        scatter_level(
            field.levels,
            level,
            batch.position[chunk],
            batch.gradient[chunk, level],
            batch.trained[chunk],
            gradient,
            low,
            high,
        )
    start = 4 * (field.levels[level, 0] + low)
    stop = 4 * (field.levels[level, 0] + high)
    adam(
        field.table.reshape(-1),
        first,
        second,
        gradient.reshape(-1),
        start,
        stop,
        rate,
        options[0],
        options[1],
        options[2],
        step_count,
    )


@compiled_inside
def feed_occupancy(values, batch, spacing):
    """Let the density that training samples met raise the occupancy grid's values: thin things stay."""
    side = values.shape[0]
    scale = np.float32(side)
    for chunk in range(CHUNKS):
        for s in range(batch.trained[chunk]):
            x, y, z = batch.position[chunk, s, 0], batch.position[chunk, s, 1], batch.position[chunk, s, 2]
            ix = min(np.int64(x * scale), side - 1)
            iy = min(np.int64(y * scale), side - 1)
            iz = min(np.int64(z * scale), side - 1)
            values[iz, iy, ix] = max(values[iz, iy, ix], batch.density[chunk, s] * stretch(x, y, z, spacing))


@compiled_inside
def sum_weight_gradients(batch, out):
    """Sum the chunks' weight gradients, in their order."""
    for i in range(out.shape[0]):
        out[i] = ZERO
    for chunk in range(CHUNKS):
        part = batch.weights[chunk]
        for i in range(out.shape[0]):
            out[i] += part[i]


@compiled
def update_worker(
    counter,
    field,
    batch,
    values,
    feed,
    spacing,
    parts,
    rows,
    table_state,
    weights,
    weight_state,
    rate,
    options,
    step_count,
):
    """Take update tasks off the shared counter: the networks, the occupancy grid, then each part of each level.

    `spacing` is that of rendering; `table_state` and `weight_state` are (3, floats): first moments, second moments,
    gradients.
    """
    levels = field.levels.shape[0]
    while True:
        task = fetch_add(address(counter), 1)
        if task >= levels * parts + 1:
            return
        if task < levels * parts:
            # The finest levels have the most to do: first come, first served works best with them first.
            level = levels - 1 - task // parts
            gradient = table_state[2].reshape(-1, 4)
            update_level(
                field,
                batch,
                level,
                task % parts,
                parts,
                rows,
                table_state[0],
                table_state[1],
                gradient,
                rate,
                options,
                step_count,
            )
        else:
            sum_weight_gradients(batch, weight_state[2])
            adam(
                weights,
                weight_state[0],
                weight_state[1],
                weight_state[2],
                np.int64(0),
                weights.shape[0],
                rate,
                options[0],
                options[1],
                options[2],
                step_count,
            )
            if feed:
                feed_occupancy(values, batch, spacing)
