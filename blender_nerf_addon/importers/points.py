"""Density points of a trained run as an object in world space, with attributes `density` and `color`."""

from typing import Any

import bpy
import numpy as np

from .colors import srgb_to_linear
from .point_display import (
    color_solid_views,
    emission_material,
    give_body,
    place,
    point_mesh,
    show_color,
)


def prepare(position: np.ndarray, density: np.ndarray, color: np.ndarray, radius: float = 0.0) -> dict[str, np.ndarray]:
    """What a mesh of points holds; touches nothing of Blender, to be called in a thread.

    Parameters
    ----------
    position : (N, 3) float32 array
        World space.
    density : (N,) float32 array
        Per world unit.
    color : (N, 3) float32 array
        Straight sRGB.
    radius : float
        Of each point, world units; 0 chooses one from the points' number and extent.
    """
    size = radius if radius > 0 else _radius(position)
    return {
        "position": position,
        "density": np.asarray(density, dtype=np.float32),
        "color": srgb_to_linear(color),
        "radius": np.full(len(position), size, dtype=np.float32),
    }


def import_points(
    scene: bpy.types.Scene,
    prepared: dict[str, Any],
    name: str = "NeRF Points",
    old: bpy.types.Object | None = None,
) -> bpy.types.Object:
    """Make the object, or renew the one of an earlier import.

    Parameters
    ----------
    scene : Scene
        Where it goes.
    prepared : dict
        Of :func:`prepare`.
    name : str
    old : Object, optional
        The object of an earlier import.
    """
    attributes = {key: values for key, values in prepared.items() if key != "position"}
    mesh = point_mesh(name, prepared["position"], attributes)
    show_color(mesh, "color")
    item = place(scene, old, mesh, name, "points")
    give_body(item, "points", emission_material("NeRF Points", "points"), "color")
    color_solid_views()
    return item


def _radius(position: np.ndarray) -> float:
    """So large that points spread evenly over the surface of their box overlap a little."""
    if len(position) < 2:
        return 0.01
    low, high = np.percentile(position, (1, 99), axis=0)
    a, b, c = np.maximum(high - low, 1e-6)
    return float(0.75 * np.sqrt(2.0 * (a * b + b * c + c * a) / len(position)))
