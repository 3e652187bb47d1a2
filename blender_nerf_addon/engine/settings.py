"""What a person chooses about the render engine; kept in the .blend as `scene.nerf_engine`."""

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, PointerProperty


def _redraw(_group: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


class NERF_PG_engine(bpy.types.PropertyGroup):
    """How the engine "NeRF Toolkit" renders."""

    samples: IntProperty(
        name="Samples",
        description="Rays a pixel; 1 is the ray through its centre, more smooth edges and fine detail",
        default=1,
        min=1,
        soft_max=64,
        max=4096,
    )
    blur_samples: IntProperty(
        name="Blur Samples",
        description="Rays a pixel at least where there is depth of field or motion blur",
        default=16,
        min=1,
        soft_max=256,
        max=4096,
    )
    motion_steps: IntProperty(
        name="Motion Steps",
        description="Moments of the shutter time at which cameras and objects are looked at",
        default=5,
        min=2,
        soft_max=17,
        max=65,
    )
    seed: IntProperty(name="Seed", description="Same seed, same noise", default=0, min=0)
    depth: EnumProperty(
        name="Depth",
        items=(
            ("Z", "Along Axis", "Along the viewing axis, as the Depth pass of Cycles, EEVEE and Workbench has it"),
            ("DISTANCE", "Distance", "The distance from the camera"),
        ),
        default="Z",
    )
    use_opacity: BoolProperty(
        name="Opacity", description="A pass with the alpha of the NeRF alone, without the world", default=True
    )
    viewport_training: BoolProperty(
        name="Follow Training", description="Show the viewport's NeRF as its training goes on", default=True
    )
    show_meshes: BoolProperty(
        name="Show Meshes",
        description="Show the scene's meshes among the NeRFs in the viewport, simply shaded; F12 renders NeRFs only",
        default=False,  # what a NeRF was trained on stands in its place
        update=_redraw,
    )


CLASSES = (NERF_PG_engine,)


def register() -> None:
    """Put the group on every scene."""
    bpy.types.Scene.nerf_engine = PointerProperty(type=NERF_PG_engine)


def unregister() -> None:
    """Take it away; what was set stays in the file."""
    del bpy.types.Scene.nerf_engine
