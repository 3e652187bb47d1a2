"""Sidebar panels of the NeRF's geometry: mesh, shadows, volume."""

from typing import ClassVar

import bpy

from ..objects import chosen


class _Geometry:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_parent_id = "NERF_PT_results"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        return chosen.has_run(context.scene)


class NERF_PT_mesh(_Geometry, bpy.types.Panel):
    """The surface as a mesh, and its stand-in for shadows."""

    bl_label = "Mesh"
    bl_order = 25

    def draw(self, context: bpy.types.Context) -> None:
        """Draw how fine and how dense, and the buttons."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.nerf.mesh
        layout.prop(settings, "resolution")
        layout.prop(settings, "automatic")
        row = layout.row()
        row.active = not settings.automatic
        row.prop(settings, "threshold")
        row = layout.row(heading="Decimate")
        row.prop(settings, "decimate", text="")
        faces = row.row()
        faces.active = settings.decimate
        faces.prop(settings, "faces", text="")
        layout.prop(settings, "drop_islands")
        layout.prop(settings, "shading")
        layout.operator("nerf.import_mesh", icon="MESH_DATA")
        column = layout.column()
        column.separator()
        column.prop(settings, "shadow_faces", text="Shadow Faces")
        column.operator("nerf.add_shadow", icon="SHADING_RENDERED")


class NERF_PT_volume(_Geometry, bpy.types.Panel):
    """The density as a volume."""

    bl_label = "Volume"
    bl_order = 30

    def draw(self, context: bpy.types.Context) -> None:
        """Draw how fine, and the button."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(context.scene.nerf.volume, "resolution")
        layout.operator("nerf.import_volume", icon="VOLUME_DATA")


CLASSES = (NERF_PT_mesh, NERF_PT_volume)
