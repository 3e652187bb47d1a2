"""A Blender curve object as chains of world points, for cameras to follow."""

import bpy
import numpy as np

from ..vendor.nerf_core.contract.errors import NerfError
from .rig_paths import Chain


def curve_chains(item: bpy.types.Object | None) -> list[Chain]:
    """The splines of a curve object as it is drawn, without bevel, extrusion and modifiers.

    Raises
    ------
    NerfError
        When it is no curve or has no spline.
    """
    if item is None or item.type != "CURVE":
        raise NerfError("No curve is chosen for the cameras to follow: choose a curve object, or another rig.")
    data = item.data.copy()
    bare = bpy.data.objects.new("NeRF Curve", data)
    try:
        data.dimensions = "3D"  # a 2D curve may be filled
        data.bevel_mode, data.bevel_object, data.taper_object = "ROUND", None, None
        data.bevel_depth = data.extrude = data.offset = 0.0
        mesh = bare.to_mesh()
        points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
        mesh.vertices.foreach_get("co", points)
        edges = np.empty(2 * len(mesh.edges), dtype=np.int32)
        mesh.edges.foreach_get("vertices", edges)
        bare.to_mesh_clear()
    finally:
        bpy.data.objects.remove(bare)
        bpy.data.curves.remove(data)
    matrix = np.array(item.matrix_world, dtype=np.float64)
    world = points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    chains = _chains(world, {tuple(sorted(edge)) for edge in edges.reshape(-1, 2).tolist()})
    if not chains:
        raise NerfError(f"The curve '{item.name}' has no spline of two points or more; draw one, or choose another.")
    return chains


def _chains(points: np.ndarray, edges: set[tuple[int, int]]) -> list[Chain]:
    """Runs of points that follow each other; one whose ends are joined is closed."""
    found, start = [], 0
    for i in range(1, len(points) + 1):
        if i < len(points) and (i - 1, i) in edges:
            continue
        if i - start > 1:
            found.append(Chain(points[start:i], closed=i - start > 2 and (start, i - 1) in edges))
        start = i
    return found
