"""Rays that are only looked along from one distance to another."""

import math

import numpy as np

from .compile import compiled, compiled_inside
from .march import ZERO, lattice_distance


@compiled_inside
def _lattice_point(rays, ray, index, spacing):
    """The distance of one of a ray's lattice points, computed as `collect` does."""
    if spacing.growth > ZERO:
        return lattice_distance(rays.start[ray] + np.float32(index), spacing)
    return rays.start[ray] + np.float32(index) * spacing.step


@compiled
def limit_ray(rays, ray, spacing, near, far):
    """Keep a ray that `begin_ray` has begun to its lattice points t with ``near <= t < far``; whether any can be.

    The lattice stays where it is: what adjacent limits find is together what the ray finds without limits.
    """
    rays.far[ray] = min(rays.far[ray], far)
    if near >= rays.far[ray]:
        return False
    if spacing.growth > ZERO:
        if near < spacing.turn:
            u = (near - spacing.near) / spacing.step
        else:
            u = spacing.turn_index + np.float32(math.log(near / spacing.turn)) / spacing.growth
        index = np.int64(math.ceil(u - rays.start[ray]))
    else:
        index = np.int64(math.ceil((near - rays.start[ray]) / spacing.step))
    index = max(index, np.int64(0))
    # Rounding may have put it next to the first point: two limits that share an end must not share a point or lose one.
    while index > 0 and _lattice_point(rays, ray, index - 1, spacing) >= near:
        index -= 1
    while _lattice_point(rays, ray, index, spacing) < near:
        index += 1
    rays.place[ray] = index
    return True


@compiled
def limit_rays(rays, active, limits, first, spacing):
    """Keep a group's `active` rays within ``limits[first + ray]``; gives how many are left."""
    left = 0
    for a in range(active):
        ray = rays.active[a]
        if limit_ray(rays, ray, spacing, limits[first + ray, 0], limits[first + ray, 1]):
            rays.active[left] = ray
            left += 1
    return left
