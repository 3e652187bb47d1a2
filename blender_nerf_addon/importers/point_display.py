"""How points look in Blender 4.2 to 5.2: a mesh of vertices with attributes, and nodes that give them body and colour.

A mesh with attributes can be filled in every version, keeps its values exactly and shows them in the Spreadsheet. A
geometry-nodes modifier turns the vertices into points for renders. Solid mode knows no colours of points, so that in
the viewport each becomes a small octahedron, which has them; so many that Blender would stall over them stay points.
"""

from collections.abc import Mapping

import bpy
import numpy as np

from .. import compat

KIND_KEY = "nerf_kind"  # marks what is ours: "points", "samples", "rays"
RESULT_KEY = "nerf_result"  # on objects: captures leave them out

SHOWN = "shown_color"  # what materials read; made by the modifier

MOST_BODIES = 200_000  # points that become octahedra in the viewport: Blender waits about 0.6 s for a million

MOST_ROUND = 4_000  # and smooth balls, where somebody looks at each of few

_WIDTHS = {"FLOAT": 1, "INT": 1, "BOOLEAN": 1, "FLOAT_COLOR": 4}
_STORED = {"FLOAT": np.float32, "INT": np.int32, "BOOLEAN": np.bool_, "FLOAT_COLOR": np.float32}


def point_mesh(name: str, positions: np.ndarray, attributes: Mapping[str, np.ndarray]) -> bpy.types.Mesh:
    """A mesh of loose vertices with attributes on them.

    Parameters
    ----------
    name : str
    positions : (N, 3) float32 array
        World space.
    attributes : mapping of str to array
        (N,) float32 becomes FLOAT, (N,) int32 INT, (N,) bool BOOLEAN, (N, 4) float32 FLOAT_COLOR (scene-linear).
    """
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(positions))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(positions, dtype=np.float32).ravel())
    add_attributes(mesh, "POINT", len(positions), attributes)
    mesh.update()
    return mesh


def add_attributes(mesh: bpy.types.Mesh, domain: str, count: int, attributes: Mapping[str, np.ndarray]) -> None:
    """Give the `count` points or edges of a mesh attributes; see :func:`point_mesh`."""
    for key, values in attributes.items():
        kind = (
            "FLOAT_COLOR"
            if values.ndim == 2
            else {"b": "BOOLEAN", "i": "INT", "u": "INT"}.get(values.dtype.kind, "FLOAT")
        )
        flat = np.ascontiguousarray(values, dtype=_STORED[kind]).ravel()
        if flat.size != _WIDTHS[kind] * count:
            raise ValueError(f"attribute '{key}' has {flat.size} numbers for {count} points or edges")
        member = "color" if kind == "FLOAT_COLOR" else "value"
        mesh.attributes.new(key, kind, domain).data.foreach_set(member, flat)


def show_color(mesh: bpy.types.Mesh, name: str) -> None:
    """Make a colour attribute the one that solid mode shows."""
    index = mesh.color_attributes.find(name)
    mesh.color_attributes.active_color_index = index
    mesh.color_attributes.render_color_index = index


def place(
    scene: bpy.types.Scene, old: bpy.types.Object | None, mesh: bpy.types.Mesh, name: str, kind: str
) -> bpy.types.Object:
    """The object that shows `mesh`: the old one with its mesh replaced while it is in the scene, else a new one.

    Parameters
    ----------
    scene : Scene
    old : Object or None
        Of an earlier import; what it showed is removed.
    mesh : Mesh
        In world space; a new object stands at the origin.
    name, kind : str
    """
    if old is not None and old.get(RESULT_KEY) == kind and scene.objects.get(old.name) is old:
        for material in old.data.materials:  # which may be another one by now
            mesh.materials.append(material)
        before, old.data = old.data, mesh
        if before.users == 0:
            bpy.data.meshes.remove(before)
        return old
    item = bpy.data.objects.new(name, mesh)
    item[RESULT_KEY] = kind
    scene.collection.objects.link(item)
    return item


def give_body(
    item: bpy.types.Object, kind: str, material: bpy.types.Material, attribute: str, rounded: bool = False
) -> None:
    """Give points their modifier and material.

    Parameters
    ----------
    item : Object
        Its attribute `radius` is each point's size.
    kind : str
        Marks the node group, which objects of a kind share.
    material : Material
    attribute : str
        The points' colour.
    rounded : bool
        Balls in the viewport, too, while there are few.
    """
    if not item.data.materials:
        item.data.materials.append(material)
    if any(m.type == "NODES" and m.node_group and m.node_group.get(KIND_KEY) == kind for m in item.modifiers):
        return
    item.modifiers.new("NeRF Points", "NODES").node_group = _group(kind, material, attribute, rounded)


def emission_material(name: str, kind: str) -> bpy.types.Material:
    """A material that glows in the points' colours."""
    found = next((m for m in bpy.data.materials if m.get(KIND_KEY) == kind), None)
    if found is not None:
        return found
    material = bpy.data.materials.new(name)
    material[KIND_KEY] = kind
    compat.use_nodes(material)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    source = nodes.new("ShaderNodeAttribute")
    source.attribute_name = SHOWN
    emission = nodes.new("ShaderNodeEmission")
    output = nodes.new("ShaderNodeOutputMaterial")
    source.location, emission.location, output.location = (-500, 0), (0, 0), (200, 0)
    links.new(source.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


def color_solid_views() -> None:
    """Have solid viewports show colour attributes, as they must for points to have colours there."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.spaces.active.shading.color_type = "VERTEX"


def new_group(kind: str) -> bpy.types.NodeTree:
    """A new set-up of geometry nodes with an input "Size", marked as ours for a kind of result."""
    group = bpy.data.node_groups.new(f"NeRF {kind.replace('_', ' ').title()}", "GeometryNodeTree")
    group[KIND_KEY] = kind
    group.is_modifier = True
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    scale = group.interface.new_socket("Size", in_out="INPUT", socket_type="NodeSocketFloat")
    scale.default_value, scale.min_value = 1.0, 0.0
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    return group


def _group(kind: str, material: bpy.types.Material, attribute: str, rounded: bool) -> bpy.types.NodeTree:
    found = next((g for g in bpy.data.node_groups if g.get(KIND_KEY) == kind), None)
    if found is not None:
        return found
    group = new_group(kind)

    def node(idname: str, x: float, y: float) -> bpy.types.Node:
        new = group.nodes.new(idname)
        new.location = (x, y)
        return new

    links = group.links.new
    source, sink = node("NodeGroupInput", -800, 0), node("NodeGroupOutput", 850, 0)
    radius = node("GeometryNodeInputNamedAttribute", -800, -200)
    radius.data_type = "FLOAT"
    radius.inputs["Name"].default_value = "radius"
    size = node("ShaderNodeMath", -600, -150)
    size.operation = "MULTIPLY"
    links(radius.outputs["Attribute"], size.inputs[0])
    links(source.outputs["Size"], size.inputs[1])

    points = node("GeometryNodeMeshToPoints", -350, 150)
    links(source.outputs["Geometry"], points.inputs["Mesh"])
    links(size.outputs[0], points.inputs["Radius"])

    shape = node("GeometryNodeMeshUVSphere", -600, -400)
    for name, value in (
        (("Segments", 24), ("Rings", 12)) if rounded else (("Segments", 4), ("Rings", 2), ("Radius", 1.3))
    ):
        shape.inputs[name].default_value = value
    bodies = node("GeometryNodeInstanceOnPoints", -350, -150)
    links(source.outputs["Geometry"], bodies.inputs["Points"])
    smooth = node("GeometryNodeSetShadeSmooth", -600, -550)
    links(shape.outputs["Mesh"], smooth.inputs["Geometry" if "Geometry" in smooth.inputs else "Mesh"])
    links(smooth.outputs[0], bodies.inputs["Instance"])
    links(size.outputs[0], bodies.inputs["Scale"])
    # The vertices themselves go in front: what is realized takes its active colour and its materials from the first.
    join = node("GeometryNodeJoinGeometry", -150, -100)
    links(bodies.outputs["Instances"], join.inputs["Geometry"])
    links(source.outputs["Geometry"], join.inputs["Geometry"])
    realize = node("GeometryNodeRealizeInstances", 0, -100)
    links(join.outputs["Geometry"], realize.inputs["Geometry"])

    viewport = node("GeometryNodeIsViewport", 50, 300)
    switch = node("GeometryNodeSwitch", 250, 0)
    switch.input_type = "GEOMETRY"
    size_of = node("GeometryNodeAttributeDomainSize", -350, 450)
    size_of.component = "MESH"
    links(source.outputs["Geometry"], size_of.inputs["Geometry"])
    few = node("FunctionNodeCompare", -150, 450)
    few.data_type, few.operation = "INT", "LESS_EQUAL"
    count, most = (item for item in few.inputs if item.enabled and item.type == "INT")
    links(size_of.outputs["Point Count"], count)
    most.default_value = MOST_ROUND if rounded else MOST_BODIES
    both = node("FunctionNodeBooleanMath", 150, 400)
    links(viewport.outputs[0], both.inputs[0])
    links(few.outputs[0], both.inputs[1])
    links(both.outputs[0], switch.inputs["Switch"])
    links(points.outputs[0], switch.inputs["False"])
    links(realize.outputs["Geometry"], switch.inputs["True"])
    # Cycles takes the names "color" and "density" for a volume's grids: its material reads a copy.
    color = node("GeometryNodeInputNamedAttribute", 250, -250)
    color.data_type = "FLOAT_COLOR"
    color.inputs["Name"].default_value = attribute
    copy = node("GeometryNodeStoreNamedAttribute", 450, 0)
    copy.data_type, copy.domain = "FLOAT_COLOR", "POINT"
    copy.inputs["Name"].default_value = SHOWN
    links(switch.outputs["Output"], copy.inputs["Geometry"])
    links(color.outputs["Attribute"], next(i for i in copy.inputs if i.name == "Value" and i.enabled))
    paint = node("GeometryNodeSetMaterial", 650, 0)
    paint.inputs["Material"].default_value = material
    links(copy.outputs["Geometry"], paint.inputs["Geometry"])
    links(paint.outputs["Geometry"], sink.inputs["Geometry"])
    return group
