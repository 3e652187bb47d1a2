"""A material's one colour, for drawing meshes without evaluating nodes."""

import bpy

from .. import compat

_COLORS = {
    "BSDF_PRINCIPLED": "Base Color",
    "BSDF_DIFFUSE": "Color",
    "BSDF_GLOSSY": "Color",
    "EMISSION": "Color",
}


def surface_color(material: bpy.types.Material) -> tuple[float, float, float]:
    """The colour of a material's surface shader where nothing is plugged into it, else its viewport colour; linear."""
    if compat.uses_nodes(material) and material.node_tree is not None:
        output = material.node_tree.get_output_node("ALL")
        links = output.inputs["Surface"].links if output is not None else ()
        name = _COLORS.get(links[0].from_node.type) if links else None
        socket = links[0].from_node.inputs[name] if name else None
        if socket is not None and not socket.is_linked:
            red, green, blue = socket.default_value[:3]
            return (red, green, blue)
    red, green, blue = material.diffuse_color[:3]
    return (red, green, blue)
