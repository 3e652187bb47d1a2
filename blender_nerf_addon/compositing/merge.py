"""The node group that merges two pictures by their depths, soft edges kept.

With premultiplied pictures M (the scene's) and N (the NeRF's), the one order is ``M + (1 - a_M) N``, the other
``N + (1 - a_N) M``; the alpha is the same in both, so that only colours are chosen between. Depth is not anti-aliased:
a pixel at an edge has the depth of what one of its samples met, which may be nothing. So the nearest depth around is
taken where a pixel is not full (where it is empty the order makes no difference), which keeps the choice the same all
along an edge, and the choice itself, where both are opaque and cross, is anti-aliased.

What is empty has the depth 1e10 in Cycles, Workbench and our engine, but the camera's clip end in EEVEE; so the scene's
is told by its alpha. A NeRF is often not quite opaque anywhere, and told by its depth.
"""

import bpy

from .. import compat_compositor as compat
from ..importers.point_display import KIND_KEY

KIND = "compositing"
NAME = "NeRF Depth Merge"
NOTHING = 1e9  # depths of the NeRF above are nothing's
FULL = 0.999  # alpha of pixels of the scene that are full
REACH = 4  # pixels; a filter of Blender's spreads a pixel over two or three


def merge_group(with_world: bool) -> bpy.types.NodeTree:
    """Make the group: Scene, Scene Depth, NeRF, NeRF Depth (and World) to Image.

    Parameters
    ----------
    with_world : bool
        Whether what the Environment pass shows of the world lies behind both.
    """
    group = bpy.data.node_groups.new(NAME, "CompositorNodeTree")
    group[KIND_KEY] = KIND
    for name, kind in (
        ("Scene", "Color"),
        ("Scene Alpha", "Float"),
        ("Scene Depth", "Float"),
        ("NeRF", "Color"),
        ("NeRF Depth", "Float"),
    ):
        group.interface.new_socket(name, in_out="INPUT", socket_type=f"NodeSocket{kind}")
    if with_world:
        group.interface.new_socket("World", in_out="INPUT", socket_type="NodeSocketColor")
    group.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    source, sink = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    source.location, sink.location = (-900, 0), (900, 0)
    scene, nerf = source.outputs["Scene"], source.outputs["NeRF"]

    near = compat.math(group, "LESS_THAN")
    near.location = (100, -300)
    partial = compat.math(group, "LESS_THAN")
    partial.inputs[1].default_value = FULL
    group.links.new(source.outputs["Scene Alpha"], partial.inputs[0])
    empty = compat.math(group, "GREATER_THAN")
    empty.inputs[1].default_value = NOTHING
    group.links.new(source.outputs["NeRF Depth"], empty.inputs[0])
    partial.location, empty.location = (-500, -250), (-500, -550)
    group.links.new(_filled(group, source.outputs["Scene Depth"], partial.outputs[0], -250), near.inputs[0])
    group.links.new(_filled(group, source.outputs["NeRF Depth"], empty.outputs[0], -550), near.inputs[1])
    smooth = group.nodes.new("CompositorNodeAntiAliasing")
    smooth.location = (300, -300)
    group.links.new(near.outputs[0], smooth.inputs[0])

    behind = _over(group, scene, nerf, 200)
    before = _over(group, nerf, scene, 0)
    chosen, factor, first, second, image = compat.mix(group, "MIX")
    chosen.location = (500, 100)
    group.links.new(smooth.outputs[0], factor)
    group.links.new(behind, first)
    group.links.new(before, second)
    if with_world:
        image = _add_world(group, image, source.outputs["World"], nerf)
    group.links.new(image, sink.inputs[0])
    return group


def _filled(
    group: bpy.types.NodeTree, depth: bpy.types.NodeSocket, where: bpy.types.NodeSocket, y: float
) -> bpy.types.NodeSocket:
    """The depth, and `where` (1) that of the nearest thing around."""
    around = compat.smallest_around(group, REACH)
    something = compat.math(group, "SUBTRACT")
    own, filled = compat.math(group, "MULTIPLY"), compat.math(group, "MULTIPLY_ADD")
    for index, node in enumerate((around, something, own, filled)):
        node.location = (-350 + 110 * index, y)
    links = group.links.new
    links(depth, around.inputs[0])
    something.inputs[0].default_value = 1.0
    links(where, something.inputs[1])
    # Products, not a difference: beside 1e10 a depth of 5 is rounded away.
    links(depth, own.inputs[0])
    links(something.outputs[0], own.inputs[1])
    links(around.outputs[0], filled.inputs[0])
    links(where, filled.inputs[1])
    links(own.outputs[0], filled.inputs[2])
    return filled.outputs[0]


def _over(
    group: bpy.types.NodeTree, below: bpy.types.NodeSocket, above: bpy.types.NodeSocket, y: float
) -> bpy.types.NodeSocket:
    node, background, foreground, image = compat.over(group)
    node.location = (100, y)
    group.links.new(below, background)
    group.links.new(above, foreground)
    return image


def _add_world(
    group: bpy.types.NodeTree, image: bpy.types.NodeSocket, world: bpy.types.NodeSocket, nerf: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    """The image with the world behind: of the Environment pass, which the scene has dimmed already, what N lets by."""
    split = group.nodes.new("CompositorNodeSeparateColor")
    rest = compat.math(group, "SUBTRACT")
    dimmed, one, first, second, seen = compat.mix(group, "MULTIPLY")
    added, all_of, below, above, result = compat.mix(group, "ADD")
    for node, place in ((split, (200, 500)), (rest, (350, 500)), (dimmed, (500, 500)), (added, (700, 300))):
        node.location = place
    links = group.links.new
    links(nerf, split.inputs[0])
    rest.inputs[0].default_value = 1.0
    links(split.outputs["Alpha"], rest.inputs[1])
    one.default_value = all_of.default_value = 1.0
    links(world, first)
    links(rest.outputs[0], second)
    links(seen, below)  # the first of a mix gives the alpha: the world's, which is 1
    links(image, above)
    return result
