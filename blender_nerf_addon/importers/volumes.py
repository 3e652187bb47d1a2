"""The NeRF's density as a Blender volume: an OpenVDB file that the core wrote, with a material that shows it."""

from pathlib import Path

import bpy

from .. import compat
from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from .point_display import KIND_KEY, RESULT_KEY


def import_volume(
    scene: bpy.types.Scene,
    path: str | Path,
    name: str = "NeRF Volume",
    old: bpy.types.Object | None = None,
) -> bpy.types.Object:
    """Make the object of a file, or renew the one of an earlier import.

    Parameters
    ----------
    scene : Scene
    path : path
        Absolute, of an OpenVDB file in training coordinates with the grid `density`.
    name : str
    old : Object, optional
        Of an earlier import.

    Raises
    ------
    NerfError
        When Blender cannot read the file.
    """
    data = bpy.data.volumes.new(name)
    data.filepath = runs.stored_path(path)
    if not data.grids.load() or data.grids.get("density") is None:
        told = data.grids.error_message
        bpy.data.volumes.remove(data)
        raise NerfError(f"Blender cannot read the volume '{path}'{': ' + told if told else ''}.")
    data.materials.append(volume_material())
    if old is not None and old.get(RESULT_KEY) == "volume" and scene.objects.get(old.name) is old:
        before, old.data = old.data, data
        if before.users == 0:
            bpy.data.volumes.remove(before)
        item = old
    else:
        item = bpy.data.objects.new(name, data)
        item[RESULT_KEY] = "volume"
        scene.collection.objects.link(item)
    return item


def volume_material() -> bpy.types.Material:
    """A material whose light is stopped as the NeRF stops it: the density is per scene unit in both."""
    found = next((m for m in bpy.data.materials if m.get(KIND_KEY) == "volume"), None)
    if found is not None:
        return found
    material = bpy.data.materials.new("NeRF Volume")
    material[KIND_KEY] = "volume"
    compat.use_nodes(material)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    shader = nodes.new("ShaderNodeVolumePrincipled")
    shader.inputs["Density"].default_value = 1.0
    shader.inputs["Density Attribute"].default_value = "density"
    output = nodes.new("ShaderNodeOutputMaterial")
    shader.location, output.location = (-300, 0), (0, 0)
    links.new(shader.outputs["Volume"], output.inputs["Volume"])
    return material
