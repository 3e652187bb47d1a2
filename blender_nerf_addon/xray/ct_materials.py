"""How a CT looks in Blender: bone white and soft tissue faint in the volume, ivory and skin, slices in their greys."""

import bpy

from .. import compat
from ..importers.point_display import KIND_KEY

SOLID_DENSITY = 8.0  # of a volume's smoke in solid mode: a metre is much for a body
# What stops and sends light in the volume, per metre, over attenuation against water's (1: water).
SOFT_FROM, SOFT_TO, SOFT_STRENGTH = 0.75, 1.05, 4.0
BONE_FROM, BONE_TO, BONE_STRENGTH = 1.2, 1.7, 260.0
SOFT_COLOR, BONE_COLOR = (0.75, 0.25, 0.16, 1.0), (0.95, 0.91, 0.82, 1.0)
SURFACES = {"bone": ((0.84, 0.79, 0.68, 1.0), 0.45), "skin": ((0.78, 0.52, 0.42, 0.22), 0.6)}


def volume_material() -> bpy.types.Material:
    """Light that is sent and stopped in proportion, without any lamp: a plain look through the CT.

    The grid `density` holds attenuation against water's; it is per metre of the patient, whatever the object's scale.
    """
    found = _known("ct volume")
    if found is not None:
        return found
    material, nodes, links = _new("CT Volume", "ct volume")
    source = nodes.new("ShaderNodeAttribute")
    source.attribute_name = "density"
    soft = _ramp(nodes, links, source, SOFT_FROM, SOFT_TO, SOFT_STRENGTH)
    bone = _ramp(nodes, links, source, BONE_FROM, BONE_TO, BONE_STRENGTH)
    both = nodes.new("ShaderNodeMath")
    both.operation = "ADD"
    links.new(soft.outputs["Result"], both.inputs[0])
    links.new(bone.outputs["Result"], both.inputs[1])
    share = _ramp(nodes, links, source, SOFT_TO, BONE_FROM + 0.1, 1.0)
    color = nodes.new("ShaderNodeValToRGB")
    color.color_ramp.elements[0].color, color.color_ramp.elements[1].color = SOFT_COLOR, BONE_COLOR
    links.new(share.outputs["Result"], color.inputs["Fac"])
    shader = nodes.new("ShaderNodeVolumePrincipled")
    shader.inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)  # nothing is scattered
    shader.inputs["Density Attribute"].default_value = ""
    links.new(both.outputs[0], shader.inputs["Density"])
    links.new(both.outputs[0], shader.inputs["Emission Strength"])
    links.new(color.outputs["Color"], shader.inputs["Emission Color"])
    output = nodes.new("ShaderNodeOutputMaterial")
    links.new(shader.outputs["Volume"], output.inputs["Volume"])
    for column, row in enumerate(((source,), (soft, bone, share), (both, color), (shader,), (output,))):
        for place, node in enumerate(row):
            node.location = (220 * column, -260 * place)
    return material


def surface_material(kind: str) -> bpy.types.Material:
    """Of a surface: bone is solid, skin is looked through."""
    found = _known(f"ct {kind}")
    if found is not None:
        return found
    color, roughness = SURFACES[kind]
    material, nodes, links = _new(f"CT {kind.capitalize()}", f"ct {kind}")
    material.diffuse_color = color
    if color[3] < 1.0:
        material.surface_render_method = "BLENDED"
    shader = nodes.new("ShaderNodeBsdfPrincipled")
    shader.inputs["Base Color"].default_value = (*color[:3], 1.0)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Alpha"].default_value = color[3]
    output = nodes.new("ShaderNodeOutputMaterial")
    output.location = (300, 0)
    links.new(shader.outputs[0], output.inputs["Surface"])
    return material


def slice_material(name: str, image: bpy.types.Image) -> bpy.types.Material:
    """That glows with the greys of an image, in whatever light."""
    material, nodes, links = _new(name, "ct slice")
    texture = nodes.new("ShaderNodeTexImage")
    texture.image = image
    texture.extension = "EXTEND"  # at the rims nothing comes in from the other side
    emission = nodes.new("ShaderNodeEmission")
    output = nodes.new("ShaderNodeOutputMaterial")
    texture.location, emission.location, output.location = (-550, 0), (-250, 0), (0, 0)
    links.new(texture.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs[0], output.inputs["Surface"])
    nodes.active = texture  # which solid mode shows
    return material


def _known(kind: str) -> bpy.types.Material | None:
    return next((material for material in bpy.data.materials if material.get(KIND_KEY) == kind), None)


def _new(name: str, kind: str) -> tuple[bpy.types.Material, bpy.types.Nodes, bpy.types.NodeLinks]:
    material = bpy.data.materials.new(name)
    material[KIND_KEY] = kind
    compat.use_nodes(material)
    material.node_tree.nodes.clear()
    return material, material.node_tree.nodes, material.node_tree.links


def _ramp(
    nodes: bpy.types.Nodes, links: bpy.types.NodeLinks, source: bpy.types.Node, low: float, high: float, strength: float
) -> bpy.types.Node:
    """From 0 to a strength between two densities."""
    node = nodes.new("ShaderNodeMapRange")
    for name, value in (("From Min", low), ("From Max", high), ("To Min", 0.0), ("To Max", strength)):
        node.inputs[name].default_value = value
    links.new(source.outputs["Fac"], node.inputs["Value"])
    return node
