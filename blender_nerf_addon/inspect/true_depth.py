"""How far off the scene's own surfaces are along rays: what a NeRF of the scene should have found."""

import bpy
import numpy as np
from mathutils import Vector

from ..importers.point_display import RESULT_KEY

MOST_HITS = 64  # of what a NeRF gave, in front of the scene's own surface
SURFACES = {"MESH", "CURVE", "SURFACE", "META", "FONT"}


def true_depths(
    scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph, origins: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """Distances to the first surface of the scene that no NeRF made, as a viewport shows it.

    Parameters
    ----------
    scene : Scene
    depsgraph : Depsgraph
    origins, directions : (R, 3) float64 arrays
        Blender's world; directions of unit length.

    Returns
    -------
    (R,) float64 array
        Scene units; 0 where nothing is hit.
    """
    found = np.zeros(len(origins))
    if not any(item.type in SURFACES and RESULT_KEY not in item for item in scene.objects):
        return found
    for index, (origin, direction) in enumerate(zip(origins, directions, strict=True)):
        found[index] = _first(scene, depsgraph, Vector(origin), Vector(direction))
    return found


def _first(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph, origin: Vector, direction: Vector) -> float:
    start = origin
    for _ in range(MOST_HITS):
        hit, place, _normal, _face, item, _matrix = scene.ray_cast(depsgraph, start, direction)
        if not hit:
            return 0.0
        distance = (place - origin).dot(direction)
        if item is None or RESULT_KEY not in item.original:
            return distance
        start = place + direction * max(1e-5, 1e-5 * distance)
    return 0.0
