"""A camera's depth of field as the core wants it: Cycles' reading of Blender's settings."""

from typing import Any

import bpy
import numpy as np
from mathutils import Vector

MILLIMETRE = 1e-3  # scene units, whatever the scene's unit scale is, as in Cycles


def lens_of(item: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> dict[str, Any] | None:
    """The lens of a camera object; None without depth of field.

    Returns
    -------
    dict or None
        `radius` of the aperture and distance of `focus` along the viewing axis in world units, `blades` (0: a disc),
        `rotation` in radians, `ratio` of the aperture's height to its width.
    """
    evaluated = item.evaluated_get(depsgraph)
    data = evaluated.data
    dof = data.dof
    if not dof.use_dof:
        return None
    opening = 1.0 if data.type == "ORTHO" else data.lens * MILLIMETRE
    radius = opening / (2.0 * max(dof.aperture_fstop, 1e-5))
    focus = _focus_distance(evaluated, depsgraph)
    if radius <= 0.0 or focus <= 0.0:
        return None
    return {
        "radius": radius,
        "focus": focus,
        "blades": dof.aperture_blades if dof.aperture_blades >= 3 else 0,
        "rotation": dof.aperture_rotation,
        "ratio": dof.aperture_ratio,
    }


def _focus_distance(camera: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> float:
    dof = camera.data.dof
    if dof.focus_object is None:
        return float(dof.focus_distance)
    target = dof.focus_object.evaluated_get(depsgraph)
    place: Vector = target.matrix_world.translation
    if target.type == "ARMATURE" and dof.focus_subtarget in target.pose.bones:
        place = target.matrix_world @ target.pose.bones[dof.focus_subtarget].head
    axis = np.array(camera.matrix_world)[:3, 2]
    axis = axis / max(np.linalg.norm(axis), 1e-12)
    return float(abs(np.dot(axis, np.array(camera.matrix_world.translation - place))))
