"""The world behind a NeRF: one colour, or none."""

import bpy

from .. import compat


def world_color(scene: bpy.types.Scene) -> tuple[float, float, float] | None:
    """The world's colour, scene-linear; None where the film is transparent.

    A world with nodes has its Background node's colour and strength where nothing is plugged in, else its own
    (viewport) colour: an external engine evaluates no nodes.
    """
    if scene.render.film_transparent:
        return None
    world = scene.world
    if world is None:
        return (0.0, 0.0, 0.0)
    if compat.uses_nodes(world) and world.node_tree is not None:
        output = world.node_tree.get_output_node("ALL")
        links = output.inputs["Surface"].links if output is not None else ()
        if not links:
            return (0.0, 0.0, 0.0)
        node = links[0].from_node
        if node.type == "BACKGROUND" and not any(socket.is_linked for socket in node.inputs):
            strength = node.inputs["Strength"].default_value
            red, green, blue = (channel * strength for channel in node.inputs["Color"].default_value[:3])
            return (red, green, blue)
    red, green, blue = world.color
    return (red, green, blue)
