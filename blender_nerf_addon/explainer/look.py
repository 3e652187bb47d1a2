"""How a story looks: flat colours that are the same in Workbench, EEVEE and Cycles, and the shapes that wear them.

An object's own colour (`object.color`) is what it shows, and what keyframes change; pictures and clouds show a colour
attribute instead. In EEVEE and Cycles that is a material of pure emission, in Workbench its colour type "Attribute":
objects without one show their own colour there up to Blender 4.5, and their material's from 5.0 on, so they have both.
"""

from collections.abc import Sequence

import bmesh
import bpy
import numpy as np

from .. import compat
from ..importers.colors import srgb_to_linear
from ..importers.point_display import KIND_KEY
from .keys import KIND, key

GROUND = (0.045, 0.055, 0.075)  # sRGB, the stage's background
BAND = (0.025, 0.03, 0.042)
TEXT, QUIET = (0.95, 0.96, 0.98), (0.58, 0.63, 0.7)
YELLOW, BLUE, GREY, DARK = (1.0, 0.82, 0.26), (0.36, 0.68, 1.0), (0.5, 0.53, 0.58), (0.14, 0.16, 0.2)
RED, GREEN = (1.0, 0.42, 0.36), (0.42, 0.86, 0.5)
COLORS = "Colors"


def linear(color: Sequence[float]) -> tuple[float, float, float, float]:
    """An sRGB colour as `object.color` wants it."""
    red, green, blue, alpha = srgb_to_linear(np.asarray(color, dtype=np.float32)[None])[0].tolist()
    return red, green, blue, alpha


def flat_material() -> bpy.types.Material:
    """Emits the object's colour."""
    return _material("NeRF Explained Flat", "flat", "ShaderNodeObjectInfo", "Color")


def cells_material() -> bpy.types.Material:
    """Emits the mesh's colour attribute."""
    return _material("NeRF Explained Cells", "cells", "ShaderNodeVertexColor", "Color")


def _material(name: str, use: str, source: str, output: str) -> bpy.types.Material:
    found = next((m for m in bpy.data.materials if m.get(KIND_KEY) == KIND and m.get("use") == use), None)
    if found is not None:
        return found
    material = bpy.data.materials.new(name)
    material[KIND_KEY], material["use"] = KIND, use
    compat.use_nodes(material)
    nodes = material.node_tree.nodes
    nodes.clear()
    color, emission, out = (nodes.new(kind) for kind in (source, "ShaderNodeEmission", "ShaderNodeOutputMaterial"))
    color.location, emission.location, out.location = (-250, 0), (0, 0), (200, 0)
    if source == "ShaderNodeVertexColor":
        color.layer_name = COLORS
    material.node_tree.links.new(color.outputs[output], emission.inputs["Color"])
    material.node_tree.links.new(emission.outputs["Emission"], out.inputs["Surface"])
    return material


def _tint(color: Sequence[float]) -> bpy.types.Material:
    """The flat material in a colour for Workbench: one for all objects of that colour."""
    use = "tint " + " ".join(f"{channel:.4f}" for channel in color)
    found = next((m for m in bpy.data.materials if m.get(KIND_KEY) == KIND and m.get("use") == use), None)
    if found is None:
        found = flat_material().copy()
        found["use"] = use
        found.diffuse_color = color
    return found


def key_color(item: bpy.types.Object, table: Sequence[tuple[float, Sequence[float]]], how: str = "LINEAR") -> None:
    """Keyframe an object's colour, which the engines find in two places; `table` has (frame, `linear` colour)."""
    key(item, "color", table, how)
    slot = item.material_slots[0]
    if slot.material.get("use") != "own":
        before, slot.material = slot.material, flat_material().copy()
        slot.material["use"] = "own"
        if not before.users:
            bpy.data.materials.remove(before)
        slot.material.name = item.name
    key(slot.material, "diffuse_color", table, how)


def add(
    collection: bpy.types.Collection,
    name: str,
    data: bpy.types.ID | None,
    color: Sequence[float] = TEXT,
    parent: bpy.types.Object | None = None,
    at: Sequence[float] = (0.0, 0.0, 0.0),
) -> bpy.types.Object:
    """An object of a story, in sRGB `color`."""
    item = bpy.data.objects.new(name, data)
    item[KIND_KEY] = KIND
    item.color = linear(color)
    item.parent = parent
    item.location = at
    collection.objects.link(item)
    if item.material_slots and item.material_slots[0].material == flat_material():
        item.material_slots[0].link = "OBJECT"
        item.material_slots[0].material = _tint(item.color)
    for name in ("visible_shadow", "visible_diffuse", "visible_glossy"):
        setattr(item, name, False)
    return item


def mesh(name: str, vertices: np.ndarray, faces: Sequence[Sequence[int]], edges: Sequence = ()) -> bpy.types.Mesh:
    """A mesh with the flat material."""
    data = bpy.data.meshes.new(name)
    data.from_pydata(np.asarray(vertices, dtype=float).tolist(), list(edges), [list(face) for face in faces])
    data.materials.append(flat_material())
    data[KIND_KEY] = KIND
    return data


def ball(name: str, segments: int = 16) -> bpy.types.Mesh:
    """A sphere of radius 1."""
    return _built(name, lambda made: bmesh.ops.create_uvsphere(made, u_segments=segments, v_segments=10, radius=1.0))


def block(name: str) -> bpy.types.Mesh:
    """A cube from (0, -0.5, -0.5) to (1, 0.5, 0.5): scaled along x, it grows from its end."""

    def build(made: bmesh.types.BMesh) -> None:
        bmesh.ops.create_cube(made, size=1.0)
        bmesh.ops.translate(made, vec=(0.5, 0.0, 0.0), verts=made.verts)

    return _built(name, build)


def rod(name: str) -> bpy.types.Mesh:
    """A cylinder of radius 1 from (0, 0, 0) to (1, 0, 0)."""
    angles = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    circle = np.stack([np.zeros(12), np.cos(angles), np.sin(angles)], axis=-1)
    faces = [(i, (i + 1) % 12, (i + 1) % 12 + 12, i + 12) for i in range(12)]
    faces += [tuple(range(11, -1, -1)), tuple(range(12, 24))]
    return mesh(name, np.concatenate([circle, circle + (1.0, 0.0, 0.0)]), faces)


def ring(name: str, thickness: float = 0.12) -> bpy.types.Mesh:
    """A flat ring of radius 1 around the x axis."""
    angles = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    circle = np.stack([np.zeros(48), np.cos(angles), np.sin(angles)], axis=-1)
    offsets = [(dx, scale) for dx in (-0.5 * thickness, 0.5 * thickness) for scale in (1.0 - thickness, 1.0)]
    vertices = np.concatenate([circle * scale + (dx, 0, 0) for dx, scale in offsets])
    faces = []
    for i in range(48):
        j = (i + 1) % 48
        for a, b in ((0, 1), (1, 3), (3, 2), (2, 0)):
            faces.append((48 * a + i, 48 * a + j, 48 * b + j, 48 * b + i))
    return mesh(name, vertices, faces)


def panel(name: str, width: float, height: float) -> bpy.types.Mesh:
    """A rectangle about the origin in the xy plane."""
    x, y = width / 2, height / 2
    return mesh(name, np.array([(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)]), [(0, 1, 2, 3)])


def frame(name: str, width: float, height: float, line: float) -> bpy.types.Mesh:
    """A rectangle's outline about the origin in the xy plane, its inside that large."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.5
    inner = corners * (width, height)
    outer = corners * (width + 2 * line, height + 2 * line)
    vertices = np.concatenate([np.pad(ring_, ((0, 0), (0, 1))) for ring_ in (inner, outer)])
    return mesh(name, vertices, [(i, (i + 1) % 4, (i + 1) % 4 + 4, i + 4) for i in range(4)])


def cells(name: str, picture: np.ndarray, width: float, height: float) -> bpy.types.Mesh:
    """A picture as a sheet of coloured squares about the origin, in the xy plane; sRGB (H, W, 3), row 0 on top."""
    rows, columns = picture.shape[:2]
    x, y = np.linspace(-width / 2, width / 2, columns + 1), np.linspace(height / 2, -height / 2, rows + 1)
    vertices = np.stack([*np.meshgrid(x, y), np.zeros((rows + 1, columns + 1))], axis=-1).reshape(-1, 3)
    first = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).reshape(-1, 1)
    faces = first + np.array([columns + 1, columns + 2, 1, 0])
    return colored(name, vertices, faces, picture.reshape(-1, 3))


def bodies(name: str, centers: np.ndarray, colors: np.ndarray, radius: np.ndarray | float) -> bpy.types.Mesh:
    """Many small octahedra in one mesh, one (3,) sRGB colour each."""
    corners = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], dtype=float)
    shape = np.array([(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)])
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(centers))
    vertices = (centers[:, None] + radii[:, None, None] * corners).reshape(-1, 3)
    faces = (6 * np.arange(len(centers))[:, None, None] + shape).reshape(-1, 3)
    return colored(name, vertices, faces, np.repeat(colors, len(corners), axis=0), "POINT")


def colored(
    name: str, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray, domain: str = "FACE"
) -> bpy.types.Mesh:
    """A mesh of (F, K) faces, each, or each vertex, in its own (3,) sRGB colour."""
    count, corners = faces.shape
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(vertices))
    data.vertices.foreach_set("co", np.ascontiguousarray(vertices, dtype=np.float32).ravel())
    data.loops.add(count * corners)
    data.loops.foreach_set("vertex_index", np.ascontiguousarray(faces, dtype=np.int32).ravel())
    data.polygons.add(count)
    data.polygons.foreach_set("loop_start", np.arange(0, count * corners, corners, dtype=np.int32))
    data.update(calc_edges=True)
    layer = data.color_attributes.new(COLORS, "FLOAT_COLOR", "POINT" if domain == "POINT" else "CORNER")
    values = srgb_to_linear(colors)
    layer.data.foreach_set("color", (values if domain == "POINT" else np.repeat(values, corners, axis=0)).ravel())
    data.color_attributes.active_color_index = data.color_attributes.render_color_index = 0
    data.materials.append(cells_material())
    data[KIND_KEY] = KIND
    return data


def tubes(name: str, lines: Sequence[np.ndarray], thickness: float) -> bpy.types.Curve:
    """Straight lines through (K, 3) points each, as a curve with a round profile."""
    curve = bpy.data.curves.new(name, "CURVE")
    curve.dimensions, curve.bevel_depth, curve.bevel_resolution = "3D", thickness, 1
    curve.use_fill_caps = True
    for line in lines:
        spline = curve.splines.new("POLY")
        spline.points.add(len(line) - 1)
        spline.points.foreach_set("co", np.pad(np.asarray(line, float), ((0, 0), (0, 1)), constant_values=1.0).ravel())
    curve.materials.append(flat_material())
    curve[KIND_KEY] = KIND
    return curve


def words(name: str, text: str, size: float, align: str = "LEFT") -> bpy.types.TextCurve:
    """Text in the xy plane, from its base line's end."""
    curve = bpy.data.curves.new(name, "FONT")
    curve.body, curve.size, curve.align_x = text, size, align
    curve.space_line = 0.9
    curve.materials.append(flat_material())
    curve[KIND_KEY] = KIND
    return curve


def _built(name: str, build) -> bpy.types.Mesh:
    made = bmesh.new()
    try:
        build(made)
        data = bpy.data.meshes.new(name)
        made.to_mesh(data)
    finally:
        made.free()
    data.materials.append(flat_material())
    data[KIND_KEY] = KIND
    return data
