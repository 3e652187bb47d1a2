"""The NeRF's mesh as an object with a colour attribute; the mesh that stands in for it in shadows and reflections."""

from typing import Any

import bpy
import numpy as np

from .. import compat
from .colors import srgb_to_linear
from .point_display import KIND_KEY, place, show_color

COLOR = "Color"


def prepare(vertices: np.ndarray, faces: np.ndarray, color: np.ndarray) -> dict[str, np.ndarray]:
    """What Blender's mesh holds; touches nothing of Blender, to be called in a thread.

    Blender would find the edges itself, but takes half a second for a million of them, while everything waits.

    Parameters
    ----------
    vertices : (V, 3) float32 array
        Training world.
    faces : (F, 3) int array
        Triangles, counter-clockwise from outside.
    color : (V, 3) float32 array
        Straight sRGB.

    Returns
    -------
    dict
        `vertices`, `edges` (E, 2), `corner_vert`, `corner_edge` (3 F,), `color` (V, 4) scene-linear.
    """
    corners = faces.ravel().astype(np.int32)
    ends = np.sort(np.stack([corners, faces[:, [1, 2, 0]].ravel()], axis=1), axis=1).astype(np.int64)
    keys, corner_edge = np.unique(ends[:, 0] << 32 | ends[:, 1], return_inverse=True)
    return {
        "vertices": np.ascontiguousarray(vertices, dtype=np.float32),
        "edges": np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1).astype(np.int32),
        "corner_vert": corners,
        "corner_edge": corner_edge.ravel().astype(np.int32),
        "color": srgb_to_linear(color),
    }


def import_mesh(
    scene: bpy.types.Scene,
    prepared: dict[str, Any],
    shading: str = "SEEN",
    name: str = "NeRF Mesh",
    old: bpy.types.Object | None = None,
) -> bpy.types.Object:
    """Make the object, or renew the one of an earlier import.

    Parameters
    ----------
    scene : Scene
    prepared : dict
        Of :func:`prepare`.
    shading : {'SEEN', 'LIT'}
    name : str
    old : Object, optional
        Of an earlier import.
    """
    mesh = triangle_mesh(name, prepared)
    mesh.materials.append(color_material(shading))
    item = place(scene, old, mesh, name, "mesh")
    return item


def import_shadow(
    scene: bpy.types.Scene,
    prepared: dict[str, Any],
    name: str = "NeRF Shadow",
    old: bpy.types.Object | None = None,
) -> bpy.types.Object:
    """Make a mesh that no camera sees, but light, reflections and bounces do; or renew it.

    Its colours are the NeRF's, as seen: mirrors show them, and they light what is near.
    """
    mesh = triangle_mesh(name, prepared)
    mesh.materials.append(color_material("SEEN"))
    item = place(scene, old, mesh, name, "shadow")
    item.visible_camera = False
    item.display_type = "WIRE"  # in the viewport it would hide the NeRF
    return item


def triangle_mesh(name: str, prepared: dict[str, np.ndarray]) -> bpy.types.Mesh:
    """A smooth mesh of triangles with the point attribute `Color`."""
    mesh = bpy.data.meshes.new(name)
    corners = prepared["corner_vert"]
    mesh.vertices.add(len(prepared["vertices"]))
    mesh.edges.add(len(prepared["edges"]))
    mesh.loops.add(len(corners))
    mesh.polygons.add(len(corners) // 3)
    # Straight into Blender's arrays: by way of `vertices`, `edges` and `loops` it takes forty times as long.
    for attribute, member, values in (
        ("position", "vector", prepared["vertices"]),
        (".edge_verts", "value", prepared["edges"]),
        (".corner_vert", "value", corners),
        (".corner_edge", "value", prepared["corner_edge"]),
    ):
        mesh.attributes[attribute].data.foreach_set(member, values.ravel())
    mesh.polygons.foreach_set("loop_start", np.arange(0, len(corners), 3, dtype=np.int32))
    mesh.attributes.new(COLOR, "FLOAT_COLOR", "POINT").data.foreach_set("color", prepared["color"].ravel())
    show_color(mesh, COLOR)
    mesh.update()
    return mesh


def color_material(shading: str) -> bpy.types.Material:
    """The material that shows the attribute `Color`: glowing as seen, or lit as a rough surface."""
    kind = f"mesh {shading.lower()}"
    found = next((m for m in bpy.data.materials if m.get(KIND_KEY) == kind), None)
    if found is not None:
        return found
    material = bpy.data.materials.new("NeRF Mesh" if shading == "SEEN" else "NeRF Mesh Lit")
    material[KIND_KEY] = kind
    compat.use_nodes(material)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    source = nodes.new("ShaderNodeAttribute")
    source.attribute_name = COLOR
    output = nodes.new("ShaderNodeOutputMaterial")
    if shading == "SEEN":
        shader = nodes.new("ShaderNodeEmission")
        links.new(source.outputs["Color"], shader.inputs["Color"])
    else:
        shader = nodes.new("ShaderNodeBsdfPrincipled")
        shader.inputs["Roughness"].default_value = 1.0
        shader.inputs["Specular IOR Level"].default_value = 0.0
        links.new(source.outputs["Color"], shader.inputs["Base Color"])
    links.new(shader.outputs[0], output.inputs["Surface"])
    source.location, shader.location, output.location = (-500, 0), (-250, 0), (100, 0)
    return material
