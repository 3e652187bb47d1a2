"""The panels "Heat Map": beside the results, and beside the image that shows one."""

from typing import ClassVar

import bpy

from ..engine.settings import draw_sampler
from ..heat import picture
from ..objects import chosen
from ..vendor.nerf_core.contract.heat import heat_kind
from .panels import draw_rows

REFERENCES = {"data": "The data set's view", "full": "Full sampling"}


class NERF_PT_heat(bpy.types.Panel):
    """Makes heat maps of the active camera's view."""

    bl_label = "Heat Map"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_parent_id = "NERF_PT_results"
    bl_order = 30
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        return chosen.has_run(context.scene)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw sampler, size and button, and what the image shows."""
        layout = _split(self.layout)
        draw_sampler(layout, context.scene.nerf_engine)
        layout.prop(context.scene.nerf.render, "percentage")
        row = layout.row(align=True)
        row.operator("nerf.heat_map", icon="NODE_TEXTURE")
        if picture.find() is not None:
            row.operator("nerf.open_heat_map", text="", icon="WINDOW")
            draw_shown(layout, context)


class NERF_PT_heat_image(bpy.types.Panel):
    """Chooses which map an Image Editor shows."""

    bl_label = "Heat Map"
    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_order = -10

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs the image."""
        image = context.space_data.image
        return image is not None and picture.KEY in image

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the maps and the numbers of the one that is shown."""
        layout = _split(self.layout)
        draw_shown(layout, context)
        draw_sampler(layout, context.scene.nerf_engine)
        layout.operator("nerf.heat_map", text="Show Anew", icon="FILE_REFRESH")


def draw_shown(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The choice of the map, and its numbers."""
    shown = picture.shown()
    column = layout.column()
    column.use_property_split = False
    column.prop(context.scene.nerf.heat, "map", expand=True)
    numbers = shown.numbers[shown.map]
    rows = [("Mean", f"{numbers['mean']:.4g}")]
    if numbers["mean_hit"] is not None:
        rows.append(("On the Subject", f"{numbers['mean_hit']:.4g}"))
    rows.append(("Range", f"{numbers['least']:.4g} to {numbers['most']:.4g}"))
    if unit := heat_kind(shown.map).unit:
        rows.append(("Unit", unit))
    if "reference" in numbers:
        rows.append(("Against", REFERENCES[numbers["reference"]]))
    draw_rows(layout, [*rows, ("Camera", shown.view), ("Sampler", shown.sampler)])


def _split(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    layout.use_property_split = True
    layout.use_property_decorate = False
    return layout


CLASSES = (NERF_PT_heat, NERF_PT_heat_image)
