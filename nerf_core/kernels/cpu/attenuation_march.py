"""Line integrals of attenuation through a grid of nodes, and their gradients back into it.

Joseph's method ("An improved algorithm for reprojecting rays through pixel images", 1982): a ray is sampled where it
crosses the planes of nodes that it crosses most steeply, so that each sample interpolates four nodes and the samples
of a ray stand for equal lengths. The first and the last stand for as much of theirs as lies in the box: the lengths of
a ray sum to what of it lies in the box, and what adjacent limits find sums to what is found without.

Rays come in the grid's own frame: node (i, j, k) lies at position (i, j, k), the box reaches half a cell beyond the
outer nodes, and beyond them attenuation stays what it is at the outer nodes. Distances along rays keep their unit.
"""

import math

import numpy as np

from .compile import compiled, compiled_inside
from .rays import pixel_ray
from .vector import address, fetch_add

HALF = np.float32(0.5)
ONE = np.float32(1.0)
ZERO = np.float32(0.0)
TINY = np.float32(1e-9)
FAR = np.float32(1e30)
RAYS = 256
POINTS = 4096
"""A task's."""
MOST_INTEGRAL = np.float32(30.0)
"""Beyond it every line integral weighs the same: nothing."""


@compiled_inside
def box_range(origins, directions, ray, shape, near, far):
    """Where a ray is in the box, within `near` and `far`; the second is not above the first where it is not."""
    for axis in range(3):
        o, d = origins[ray, axis], directions[ray, axis]
        high = np.float32(shape[axis]) - HALF
        if abs(d) < TINY:
            if o < -HALF or o > high:
                far = near
        else:
            inverse = ONE / d
            a, b = (-HALF - o) * inverse, (high - o) * inverse
            near, far = max(near, min(a, b)), min(far, max(a, b))
    return near, far


@compiled_inside
def steepest(directions, ray):
    """The axis whose planes a ray crosses most steeply."""
    x, y, z = abs(directions[ray, 0]), abs(directions[ray, 1]), abs(directions[ray, 2])
    if x >= y and x >= z:
        return 0
    return 1 if y >= z else 2


@compiled_inside
def planes(origin, slope, near, far, count):
    """The first and the last plane of nodes whose share of a ray reaches into ``near..far``."""
    a, b = origin + near * slope, origin + far * slope
    first = np.int64(math.floor(min(a, b) + HALF))
    last = np.int64(math.ceil(max(a, b) - HALF))
    return max(first, np.int64(0)), min(last, count - 1)


@compiled_inside
def share(t, half, near, far):
    """How much of the length about a sample lies in ``near..far``."""
    return max(min(t + half, far) - max(t - half, near), ZERO)


@compiled_inside
def cell(position, count):
    """The lower node of a position's cell along one axis, and how far in the cell it lies; `count` of 32 bits."""
    # Towards zero: what lies before the first node is put there all the same.
    index = min(max(np.int32(position), np.int32(0)), np.int32(count - np.int32(2)))
    return index, min(max(position - np.float32(index), ZERO), ONE)


@compiled_inside
def _unsigned(index):
    """A number of a node that is not negative: numba then asks no more whether it is."""
    return np.uint64(np.uint32(index))


@compiled
def integrate_ray(values, shape, origins, directions, ray, near, far, out):
    """Write a ray's line integral, its first moment (integral of t) and its samples to ``out[ray]``; the samples.

    `values` are the nodes' attenuation, flat, the last axis fastest, per unit of the distance along rays.
    """
    out[ray, 0] = ZERO
    out[ray, 1] = ZERO
    out[ray, 2] = ZERO
    near, far = box_range(origins, directions, ray, shape, near, far)
    if far <= near:
        return np.int64(0)
    main = steepest(directions, ray)
    stride_y, stride_x = np.int64(shape[2]), np.int64(shape[1] * shape[2])
    # The two axes that are interpolated along, u the slower one in memory.
    if main == 0:
        u, v, step, step_u, step_v = 1, 2, stride_x, stride_y, np.int64(1)
    elif main == 1:
        u, v, step, step_u, step_v = 0, 2, stride_y, stride_x, np.int64(1)
    else:
        u, v, step, step_u, step_v = 0, 1, np.int64(1), stride_x, stride_y
    inverse = ONE / directions[ray, main]
    o, o_u, o_v = origins[ray, main], origins[ray, u], origins[ray, v]
    d_u, d_v = directions[ray, u], directions[ray, v]
    count_u, count_v = np.int64(shape[u]), np.int64(shape[v])
    half = HALF * abs(inverse)
    first, last = planes(o, directions[ray, main], near, far, np.int64(shape[main]))
    total = ZERO
    moment = ZERO
    next_u, next_v = _unsigned(step_u), _unsigned(step_v)
    # In a row, so that they are computed side by side; the first and the last stand for less.
    for plane in range(first, last + 1):
        t = (np.float32(plane) - o) * inverse
        iu, fu = cell(o_u + t * d_u, count_u)
        iv, fv = cell(o_v + t * d_v, count_v)
        at = _unsigned(plane * step + iu * step_u + iv * step_v)
        a, b = values[at], values[at + next_v]
        c, d = values[at + next_u], values[at + next_u + next_v]
        low, high = a + fv * (b - a), c + fv * (d - c)
        part = low + fu * (high - low)
        total += part
        moment += part * t
    whole = half + half
    total *= whole
    moment *= whole
    for end in range(min(last + 1 - first, 4)):
        # The two first and the two last ones.
        plane = first + end if end < 2 else last + 2 - end
        t = (np.float32(plane) - o) * inverse
        missing = whole - share(t, half, near, far)
        if missing > ZERO:
            iu, fu = cell(o_u + t * d_u, count_u)
            iv, fv = cell(o_v + t * d_v, count_v)
            at = plane * step + iu * step_u + iv * step_v
            low = values[at] + fv * (values[at + step_v] - values[at])
            high = values[at + step_u] + fv * (values[at + step_u + step_v] - values[at + step_u])
            part = missing * (low + fu * (high - low))
            total -= part
            moment -= part * t
    out[ray, 0] = total
    out[ray, 1] = moment
    out[ray, 2] = np.float32(last + 1 - first)
    return last + 1 - first


@compiled_inside
def between_layers(origins, directions, ray, near, far, low, high):
    """What of a ray from `near` to `far` runs between two places of the last index; nothing where far <= near."""
    o, d = origins[ray, 2], directions[ray, 2]
    if abs(d) < TINY:
        if o < low or o > high:
            far = near
    else:
        inverse = ONE / d
        a, b = (low - o) * inverse, (high - o) * inverse
        near, far = max(near, min(a, b)), min(far, max(a, b))
    return near, far


@compiled
def spread_ray(gradients, shape, origins, directions, spans, ray, slope, first_slab, last_slab):
    """Add `slope` times d(line integral) / d(nodes) to those nodes whose last index lies in ``first_slab..last_slab``.

    Half open. Several threads can so share a batch's rays, each with nodes of its own, and every sum is made by one
    thread in one order, whatever their number.
    """
    near, far = spans[ray, 0], spans[ray, 1]
    main = steepest(directions, ray)
    stride_y, stride_x = np.int64(shape[2]), np.int64(shape[1] * shape[2])
    inverse = ONE / directions[ray, main]
    o = origins[ray, main]
    half = HALF * abs(inverse)
    whole_first, whole_last = planes(o, directions[ray, main], near, far, np.int64(shape[main]))
    # Where the ray can touch the slab's nodes: one cell about them. Its outer samples stand a little outside the box.
    low, high = np.float32(first_slab) - ONE, np.float32(last_slab)
    near_slab, far_slab = between_layers(origins, directions, ray, near - half, far + half, low, high)
    if far_slab <= near_slab:
        return
    first, last = planes(o, directions[ray, main], near_slab, far_slab, np.int64(shape[main]))
    first, last = max(first - 1, whole_first), min(last + 1, whole_last)
    o_x, o_y, o_z = origins[ray, 0], origins[ray, 1], origins[ray, 2]
    d_x, d_y, d_z = directions[ray, 0], directions[ray, 1], directions[ray, 2]
    if main == 2:
        first, last = max(first, np.int64(first_slab)), min(last, np.int64(last_slab) - 1)
        for plane in range(first, last + 1):
            t = (np.float32(plane) - o) * inverse
            value = slope * share(t, half, near, far)
            ix, fx = cell(o_x + t * d_x, np.int64(shape[0]))
            iy, fy = cell(o_y + t * d_y, np.int64(shape[1]))
            at = plane + ix * stride_x + iy * stride_y
            right = value * fx
            left = value - right
            gradients[at] += left * (ONE - fy)
            gradients[at + stride_y] += left * fy
            at += stride_x
            gradients[at] += right * (ONE - fy)
            gradients[at + stride_y] += right * fy
        return
    if main == 0:
        step, step_u = stride_x, stride_y
        o_u, d_u, count_u = o_y, d_y, np.int64(shape[1])
    else:
        step, step_u = stride_y, stride_x
        o_u, d_u, count_u = o_x, d_x, np.int64(shape[0])
    for plane in range(first, last + 1):
        t = (np.float32(plane) - o) * inverse
        iz, fz = cell(o_z + t * d_z, np.int64(shape[2]))
        if iz + 1 < first_slab or iz >= last_slab:
            continue
        length = share(t, half, near, far) if plane <= whole_first + 1 or plane >= whole_last - 1 else half + half
        value = slope * length
        iu, fu = cell(o_u + t * d_u, count_u)
        at = plane * step + iu * step_u + iz
        upper = value * fz
        lower = value - upper
        if iz >= first_slab:
            gradients[at] += lower * (ONE - fu)
            gradients[at + step_u] += lower * fu
        if iz + 1 < last_slab:
            gradients[at + 1] += upper * (ONE - fu)
            gradients[at + step_u + 1] += upper * fu


@compiled
def integrate_worker(counter, values, shape, origins, directions, limits, out):
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
            integrate_ray(values, shape, origins, directions, ray, near, far, out)


@compiled_inside
def error_weight(target, noise):
    """One over the variance that a line integral's noise is expected to have."""
    variance = noise[2] * noise[2]
    if noise[0] > ZERO:
        thinned = np.float32(math.exp(min(target / noise[3], MOST_INTEGRAL))) / noise[0]
        variance += noise[3] * noise[3] * (thinned + noise[1] * noise[1] * thinned * thinned)
    return ONE / variance


@compiled_inside
def pixels_view(views, view, number):
    """The view that a pixel is of; `view` is where to begin to look."""
    while view > 0 and views.starts[view] > number:
        view -= 1
    while view + 2 < views.starts.shape[0] and views.starts[view + 1] <= number:
        view += 1
    return view


@compiled_inside
def make_ray(views, view, number, frame, shape, ray, origins, directions, spans):
    """Write a pixel's ray, in units of nodes, and its spans (see `residual_worker`)."""
    pixel_ray(views, view, number - views.starts[view], origins[ray], directions[ray])
    for axis in range(3):
        origins[ray, axis] = origins[ray, axis] * frame[0, axis] + frame[1, axis]
        directions[ray, axis] *= frame[0, axis] * frame[2, axis]
    near, far = box_range(origins, directions, ray, shape, ZERO, FAR)
    a = origins[ray, 2] + near * directions[ray, 2]
    b = origins[ray, 2] + far * directions[ray, 2]
    spans[ray, 0], spans[ray, 1], spans[ray, 2], spans[ray, 3] = near, far, min(a, b), max(a, b)


@compiled_inside
def judge_ray(found, target, view, affine, noise, scale, hits):
    """A line integral's d loss / d itself times `scale`, its loss, and its squared error."""
    gain, shift = ONE, ZERO
    if affine.shape[0] > 0:
        gain, shift = affine[view, 0], affine[view, 1]
    difference = gain * found + shift - target
    weight = error_weight(target, noise)
    slope = scale * weight * difference * gain if hits else ZERO
    return slope, 0.5 * weight * difference * difference, difference * difference


@compiled
def residual_worker(
    counter, values, shape, views, chosen, targets, frame, affine, noise, scale, origins, directions, spans, view_of,
    out, slopes, stats,
):  # fmt: skip
    """Rays of pixels, their line integrals, and d loss / d line integral: `slopes`, times `scale`.

    The loss is half the sum of squared errors over their expected variances. ``frame`` (3, 3): scale and offset from
    the unit cube to nodes, and the cell's length; ``affine`` (V, 2): gain and offset of views, or (0, 2); ``spans``
    (N, 4) are filled with where rays enter and leave the box, and between which of the last index they then are;
    ``stats`` (tasks, 3): loss, squared error, samples.
    """
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
            made += integrate_ray(values, shape, origins, directions, ray, ZERO, FAR, out)
            hits = spans[ray, 1] > spans[ray, 0]
            slopes[ray], half, square = judge_ray(out[ray, 0], targets[number], view, affine, noise, scale, hits)
            loss += half
            error += square
        stats[task, 0] = loss
        stats[task, 1] = error
        stats[task, 2] = made


@compiled
def query_worker(counter, values, shape, positions, out):
    """The field's numbers between the nodes at (N, 3) positions, in units of nodes; the caller asks inside the box."""
    stride_y, stride_x = np.int64(shape[2]), np.int64(shape[1] * shape[2])
    while True:
        first = fetch_add(address(counter), 1) * POINTS
        if first >= positions.shape[0]:
            break
        for i in range(first, min(first + POINTS, positions.shape[0])):
            ix, fx = cell(positions[i, 0], np.int64(shape[0]))
            iy, fy = cell(positions[i, 1], np.int64(shape[1]))
            iz, fz = cell(positions[i, 2], np.int64(shape[2]))
            at = ix * stride_x + iy * stride_y + iz
            a = values[at] + fz * (values[at + 1] - values[at])
            at += stride_y
            b = values[at] + fz * (values[at + 1] - values[at])
            at += stride_x
            d = values[at] + fz * (values[at + 1] - values[at])
            at -= stride_y
            c = values[at] + fz * (values[at + 1] - values[at])
            low, high = a + fy * (b - a), c + fy * (d - c)
            out[i] = low + fx * (high - low)


@compiled
def spread_worker(counter, gradients, shape, origins, directions, spans, slopes, slab):
    """Gradients of a batch's rays, `slab` layers of nodes a task; `spans` as `residual_worker` leaves them."""
    rays = origins.shape[0]
    while True:
        first = fetch_add(address(counter), 1) * slab
        if first >= shape[2]:
            break
        last = min(first + slab, np.int64(shape[2]))
        low, high = np.float32(first) - ONE - HALF, np.float32(last) + HALF
        for ray in range(rays):
            if slopes[ray] != ZERO and spans[ray, 2] <= high and spans[ray, 3] >= low:
                spread_ray(gradients, shape, origins, directions, spans, ray, slopes[ray], first, last)
