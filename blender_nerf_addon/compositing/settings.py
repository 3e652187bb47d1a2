"""What a scene remembers of its compositing, so that it can be taken away again."""

import bpy
from bpy.props import BoolProperty, PointerProperty


class NERF_PG_compositing(bpy.types.PropertyGroup):
    """How the scene was before the NeRF joined it."""

    scene: PointerProperty(type=bpy.types.Scene, name="NeRF Scene", description="Where the NeRF is rendered")
    made_tree: BoolProperty(options={"HIDDEN"})
    was_opaque: BoolProperty(options={"HIDDEN"})
    added_depth: BoolProperty(options={"HIDDEN"})
    added_world: BoolProperty(options={"HIDDEN"})


CLASSES = (NERF_PG_compositing,)
