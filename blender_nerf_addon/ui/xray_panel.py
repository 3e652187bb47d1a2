"""Panels of the X-ray mode: the sidebar's tab NeRF, and what an object and a material are to X-rays."""

import bpy

from ..capture import bounds
from ..vendor.nerf_core.contract.xray import NOT_FOR_DIAGNOSIS
from . import core_box
from .panels import characters


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"


class NERF_PT_xray(_Sidebar, bpy.types.Panel):
    """Where the mode is switched on: what it is not for, and what comes in."""

    bl_label = "X-Ray"
    bl_order = 12
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    def draw(self, context: bpy.types.Context) -> None:
        """Say what it is not for; operators that bring CTs in follow."""
        core_box.labels(self.layout, NOT_FOR_DIAGNOSIS, "INFO", characters(context))


class NERF_PT_xray_object(bpy.types.Panel):
    """What an object is to X-rays."""

    bl_label = "X-Ray"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "object"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """For what encloses something, and for imported CTs."""
        item = context.object
        return item is not None and (item.nerf_xray.kind == "CT" or item.type in bounds.MESHABLE)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what the object is made of, or which CT it stands for."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.object.nerf_xray
        if settings.kind == "CT":
            layout.label(text=settings.source, icon="FILE_VOLUME")
        else:
            draw_attenuation(layout, settings, settings.material != "NONE")


class NERF_PT_xray_material(bpy.types.Panel):
    """What the faces with a material enclose."""

    bl_label = "X-Ray"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "material"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """For materials."""
        return context.material is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what these faces enclose."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.material.nerf_xray
        draw_attenuation(layout, settings, settings.material != "OBJECT")


def draw_attenuation(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, own: bool) -> None:
    """Draw a material with what belongs to it."""
    layout.prop(settings, "material")
    if settings.material == "CUSTOM":
        layout.prop(settings, "attenuation")
    if own:
        layout.prop(settings, "priority")


CLASSES = (NERF_PT_xray, NERF_PT_xray_object, NERF_PT_xray_material)
