"""Panels of the NeRF object, in the sidebar and in Properties > Object, and its line in the Add menu."""

import bpy

from ..jobs import runs
from ..objects import facts, find, layers
from ..operators.objects import active_nerf
from ..vendor.nerf_core.contract.errors import NerfError
from . import core_box
from .panels import characters, clock, draw_rows


class NERF_PT_object(bpy.types.Panel):
    """The NeRF as an object of the scene."""

    bl_label = "NeRF Object"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_order = 25

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what adds one, or what the active one is."""
        layout = self.layout
        item = active_nerf(context)
        if item is not None and item.nerf.is_nerf:
            draw_nerf(layout, context, item)
            return
        column = layout.column(align=True)
        row = column.row(align=True)
        row.enabled = runs.has_result(context.scene)
        row.operator("nerf.add_object", icon="ADD").choose = False
        column.operator("nerf.add_object", text="Add from Folder", icon="FILE_FOLDER").choose = True


class NERF_PT_object_properties(bpy.types.Panel):
    """The same in the Properties editor."""

    bl_label = "NeRF"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "object"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for NeRF objects."""
        return context.object is not None and context.object.nerf.is_nerf

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what the object is."""
        draw_nerf(self.layout, context, context.object)


def draw_nerf(layout: bpy.types.UILayout, context: bpy.types.Context, item: bpy.types.Object) -> None:
    """Draw a NeRF object's run, what is known of it, its crop and its place."""
    nerf = item.nerf
    row = layout.row(align=True)
    # No field to type in: the path belongs to the run's id, and Find Run changes both.
    row.label(text=nerf.run_folder or "No run folder")
    row.operator("nerf.find_run", text="", icon="FILE_FOLDER")
    try:
        folder = find.run_of(item, drawing=True)
    except NerfError as error:
        core_box.labels(layout, str(error), "ERROR", characters(context))
        layout.operator("nerf.find_run", text="Find Run...", icon="VIEWZOOM")
    else:
        _draw_facts(layout, facts.run_facts(folder))
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.prop(nerf, "use_box")
    if nerf.crop is not None and layers.crop_object(item) is None:
        column.label(text="Its crop box was deleted", icon="INFO")
    else:
        column.prop(nerf, "crop")
    column = layout.column(align=True)
    column.operator("nerf.add_crop", icon="MESH_CUBE")
    column.operator("nerf.to_trained_place", icon="LOOP_BACK")


def _draw_facts(layout: bpy.types.UILayout, known: dict) -> None:
    rows = []
    if "method" in known:
        rows.append(("Method", known["method"]))
    if "seconds" in known:
        rows.append(("Trained", clock(known["seconds"])))
    if "steps" in known:
        rows.append(("Steps", f"{known['steps']:,}"))
    if "psnr" in known:
        rows.append(("Held-Out PSNR", f"{known['psnr']:.2f} dB"))
    draw_rows(layout, rows)


def _draw_add(menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
    menu.layout.separator()
    menu.layout.operator("nerf.add_object", text="NeRF", icon="MESH_CUBE").choose = False


CLASSES = (NERF_PT_object, NERF_PT_object_properties)


def register() -> None:
    """Put NeRF into the Add menu."""
    bpy.types.VIEW3D_MT_add.append(_draw_add)


def unregister() -> None:
    """Take it out again."""
    bpy.types.VIEW3D_MT_add.remove(_draw_add)
