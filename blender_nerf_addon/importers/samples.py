"""Every sample along some rays as an object: what the method saw where, in the Spreadsheet and in the viewport."""

from collections.abc import Mapping

import bpy
import numpy as np

from .colors import srgb_to_linear
from .point_display import (
    RESULT_KEY,
    color_solid_views,
    emission_material,
    give_body,
    place,
    point_mesh,
    show_color,
)
from .trace_parts import sample_part


def import_samples(
    scene: bpy.types.Scene,
    arrays: Mapping[str, np.ndarray],
    name: str = "NeRF Samples",
    radius: float = 0.0,
    old: bpy.types.Object | None = None,
) -> bpy.types.Object:
    """Make the object of samples, or renew the one of an earlier inspection.

    Parameters
    ----------
    scene : Scene
        Where it goes.
    arrays : mapping
        What `trace` answers: `methods.base.Trace`'s arrays, all in world units.
    name : str
    radius : float
        Of the sample with the largest weight, world units; 0 chooses one from the samples' distance and extent.
    old : Object, optional
        The object of an earlier inspection.

    Returns
    -------
    Object
        Its mesh has the point attributes of `trace_parts.sample_part`; `weight_color` is its material's colour.
    """
    part = sample_part(arrays, radius)
    mesh = point_mesh(name, part.positions, part.points)
    show_color(mesh, "weight_color")
    item = place(scene, old, mesh, name, "samples")
    give_body(item, "samples", emission_material("NeRF Sample Weights", "samples"), "weight_color")
    color_solid_views()
    return item


def import_rays(
    scene: bpy.types.Scene,
    arrays: Mapping[str, np.ndarray],
    samples: bpy.types.Object,
    old: bpy.types.Object | None = None,
    name: str = "NeRF Rays",
) -> bpy.types.Object:
    """Each ray as an edge from its origin to its last sample, in an object below the samples' one.

    Parameters
    ----------
    scene : Scene
    arrays : mapping
        What `trace` answers.
    samples : Object
        Of :func:`import_samples`; the new object's parent.
    old : Object, optional
        The rays of an earlier inspection.
    name : str
    """
    origin = np.asarray(arrays["origin"], dtype=np.float32)
    direction = np.asarray(arrays["direction"], dtype=np.float32)
    far = np.zeros(len(origin), dtype=np.float32)
    np.maximum.at(far, arrays["ray"], np.asarray(arrays["t"]) + 0.5 * np.asarray(arrays["dt"]))
    reach = float(far.max()) if far.size and far.max() > 0 else 1.0
    far = np.where(far > 0, far, reach)  # a ray that met no sample is drawn as far as the others
    ends = origin + direction * far[:, None]
    vertices = np.stack([origin, ends], axis=1).reshape(-1, 3)
    color = srgb_to_linear(np.asarray(arrays["rgba"])[:, :3])
    mesh = point_mesh(name, vertices, {"color": np.repeat(color, 2, axis=0)})
    mesh.edges.add(len(origin))
    mesh.edges.foreach_set("vertices", np.arange(2 * len(origin), dtype=np.int32))
    mesh.update()
    item = place(scene, old, mesh, name, "rays")
    item.hide_render = True
    item.parent = samples
    item.hide_select = False
    return item


def remove_rays(old: bpy.types.Object | None) -> None:
    """Take away the rays of an earlier inspection."""
    if old is None or old.get(RESULT_KEY) != "rays":
        return
    mesh = old.data
    bpy.data.objects.remove(old)
    if mesh.users == 0:
        bpy.data.meshes.remove(mesh)
