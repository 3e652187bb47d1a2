"""How edges look: a geometry-nodes group that lays a bar along each, as thick and coloured as its attributes say."""

import bpy

from .point_display import KIND_KEY, SHOWN, new_group

SIDES = 8
ALONG = "bar"  # an edge's vector, while the group needs it


def give_bars(item: bpy.types.Object, kind: str, material: bpy.types.Material, attribute: str, dashes: int = 1) -> None:
    """Give a mesh of loose edges its modifier and material.

    Parameters
    ----------
    item : Object
        The edge attribute `radius` is each bar's.
    kind : str
        Marks the node group, which objects of a kind share.
    material : Material
    attribute : str
        The colour, on the edges' points.
    dashes : int
        Into how many pieces a bar is cut, with gaps as long as they are.
    """
    if not item.data.materials:
        item.data.materials.append(material)
    if any(m.type == "NODES" and m.node_group and m.node_group.get(KIND_KEY) == kind for m in item.modifiers):
        return
    item.modifiers.new("NeRF Bars", "NODES").node_group = _group(kind, material, attribute, dashes)


def _group(kind: str, material: bpy.types.Material, attribute: str, dashes: int) -> bpy.types.NodeTree:
    found = next((g for g in bpy.data.node_groups if g.get(KIND_KEY) == kind), None)
    if found is not None:
        return found
    group = new_group(kind)
    links = group.links.new

    def node(idname: str, x: float, y: float, **settings: object) -> bpy.types.Node:
        new = group.nodes.new(idname)
        new.location = (x, y)
        for name, value in settings.items():
            setattr(new, name, value)
        return new

    def named(name: str, data_type: str, x: float, y: float) -> bpy.types.NodeSocket:
        read = node("GeometryNodeInputNamedAttribute", x, y, data_type=data_type)
        read.inputs["Name"].default_value = name
        return read.outputs["Attribute"]

    def store(name: str, data_type: str, domain: str, x: float, y: float) -> bpy.types.Node:
        new = node("GeometryNodeStoreNamedAttribute", x, y, data_type=data_type, domain=domain)
        new.inputs["Name"].default_value = name
        return new

    def value_of(stored: bpy.types.Node) -> bpy.types.NodeSocket:
        return next(item for item in stored.inputs if item.name == "Value" and item.enabled)

    source, sink = node("NodeGroupInput", -1100, 0), node("NodeGroupOutput", 1250, 0)
    ends = node("GeometryNodeInputMeshEdgeVertices", -1100, -250)
    between = node("ShaderNodeVectorMath", -900, -250, operation="SUBTRACT")
    links(ends.outputs["Position 2"], between.inputs[0])
    links(ends.outputs["Position 1"], between.inputs[1])
    along = store(ALONG, "FLOAT_VECTOR", "EDGE", -700, 0)
    links(source.outputs["Geometry"], along.inputs["Geometry"])
    links(between.outputs[0], value_of(along))

    # One point in the middle of each edge that has a length; it takes the edge's attributes along.
    length = node("ShaderNodeVectorMath", -700, -350, operation="LENGTH")
    links(between.outputs[0], length.inputs[0])
    real = node("FunctionNodeCompare", -500, -350, data_type="FLOAT", operation="GREATER_THAN")
    number, least = (item for item in real.inputs if item.enabled and item.type == "VALUE" and item.name in ("A", "B"))
    links(length.outputs["Value"], number)
    least.default_value = 1e-7
    points = node("GeometryNodeMeshToPoints", -450, 50, mode="EDGES")
    links(along.outputs["Geometry"], points.inputs["Mesh"])
    links(real.outputs["Result"], points.inputs["Selection"])
    thickness = named("radius", "FLOAT", -700, 200)
    links(thickness, points.inputs["Radius"])  # which becomes the points' attribute of that name

    bar = node("GeometryNodeMeshCylinder", -450, -500)
    piece = 1.0 / (2 * dashes - 1)
    for name, value in (("Vertices", SIDES), ("Radius", 1.0), ("Depth", piece)):
        bar.inputs[name].default_value = value
    body = bar.outputs["Mesh"]
    if dashes > 1:
        row = node("GeometryNodeMeshLine", -650, -650)
        row.inputs["Count"].default_value = dashes
        row.inputs["Start Location"].default_value = (0.0, 0.0, 0.5 * piece - 0.5)
        row.inputs["Offset"].default_value = (0.0, 0.0, 2.0 * piece)
        pieces = node("GeometryNodeInstanceOnPoints", -450, -650)
        links(row.outputs["Mesh"], pieces.inputs["Points"])
        links(body, pieces.inputs["Instance"])
        body = pieces.outputs["Instances"]
    vector = named(ALONG, "FLOAT_VECTOR", -450, -800)
    turn = node("FunctionNodeAlignRotationToVector", -200, -450, axis="Z")
    links(vector, turn.inputs["Vector"])
    lengths = node("ShaderNodeVectorMath", -200, -650, operation="LENGTH")
    links(vector, lengths.inputs[0])
    radius = node("ShaderNodeMath", -200, -800, operation="MULTIPLY")
    links(named("radius", "FLOAT", -450, -950), radius.inputs[0])
    links(source.outputs["Size"], radius.inputs[1])
    size = node("ShaderNodeCombineXYZ", 0, -650)
    for axis, socket in (("X", radius.outputs[0]), ("Y", radius.outputs[0]), ("Z", lengths.outputs["Value"])):
        links(socket, size.inputs[axis])
    bars = node("GeometryNodeInstanceOnPoints", 200, 0)
    links(points.outputs[0], bars.inputs["Points"])
    links(body, bars.inputs["Instance"])
    links(turn.outputs["Rotation"], bars.inputs["Rotation"])
    links(size.outputs[0], bars.inputs["Scale"])

    # The edges themselves go in front: what is realized takes its active colour from the first.
    join = node("GeometryNodeJoinGeometry", 400, 0)
    links(bars.outputs["Instances"], join.inputs["Geometry"])
    links(source.outputs["Geometry"], join.inputs["Geometry"])
    realize = node("GeometryNodeRealizeInstances", 550, 0)
    links(join.outputs["Geometry"], realize.inputs["Geometry"])
    clean = node("GeometryNodeRemoveAttribute", 700, 0)
    clean.inputs["Name"].default_value = ALONG
    links(realize.outputs["Geometry"], clean.inputs["Geometry"])
    copy = store(SHOWN, "FLOAT_COLOR", "POINT", 850, 0)
    links(clean.outputs["Geometry"], copy.inputs["Geometry"])
    links(named(attribute, "FLOAT_COLOR", 700, -250), value_of(copy))
    paint = node("GeometryNodeSetMaterial", 1050, 0)
    paint.inputs["Material"].default_value = material
    links(copy.outputs["Geometry"], paint.inputs["Geometry"])
    links(paint.outputs["Geometry"], sink.inputs["Geometry"])
    return group
