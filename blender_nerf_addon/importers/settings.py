"""What a person chooses about meshes and volumes, and what was baked; kept in the .blend."""

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty


class NERF_PG_mesh(bpy.types.PropertyGroup):
    """Which mesh to make of the density."""

    resolution: IntProperty(
        name="Resolution",
        description="Voxels along the longest side of the NeRF's box; twice as many take eight times as long",
        default=192,
        min=8,
        max=1024,
        soft_max=512,
    )
    automatic: BoolProperty(name="Automatic Threshold", description="Let the core choose the density", default=True)
    threshold: FloatProperty(
        name="Threshold",
        description="Density of the surface, per scene unit: less gives a thicker mesh, more leaves out what is soft",
        default=10.0,
        min=0.001,
        soft_max=1000.0,
    )
    decimate: BoolProperty(name="Decimate", description="Make do with fewer triangles", default=True)
    faces: IntProperty(
        name="Faces", description="About how many triangles are left", default=100_000, min=4, max=20_000_000
    )
    drop_islands: BoolProperty(name="Drop Islands", description="Leave out small pieces that float about", default=True)
    shading: EnumProperty(
        name="Shading",
        items=(
            ("SEEN", "As Seen", "The colours as the NeRF shows them, whatever light the scene has; they give light"),
            ("LIT", "Lit", "The colours as a rough surface's, which the scene's light falls on"),
        ),
        default="SEEN",
    )
    object: PointerProperty(type=bpy.types.Object, name="Mesh", description="The object of the last import")
    shadow_faces: IntProperty(
        name="Faces", description="Triangles of the mesh that casts the shadows", default=10_000, min=4, max=1_000_000
    )
    shadow: PointerProperty(type=bpy.types.Object, name="Shadow", description="The mesh that casts the shadows")


class NERF_PG_volume(bpy.types.PropertyGroup):
    """Which volume to make of the density."""

    resolution: IntProperty(
        name="Resolution",
        description="Voxels along the longest side of the NeRF's box",
        default=128,
        min=8,
        max=1024,
        soft_max=512,
    )
    object: PointerProperty(type=bpy.types.Object, name="Volume", description="The object of the last import")


class NERF_PG_baked(bpy.types.PropertyGroup):
    """An object of the last bake."""

    trace: IntProperty(name="Trace", description="Which of the traces that were baked together")
    part: StringProperty(name="Part", description="What of it the object shows")
    object: PointerProperty(type=bpy.types.Object, name="Object", description="Renewed by the next bake")


CLASSES = (NERF_PG_mesh, NERF_PG_volume, NERF_PG_baked)
