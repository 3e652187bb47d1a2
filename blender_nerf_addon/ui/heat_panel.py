"""The panels "Heat Map": beside the results, and beside the image that shows one."""

from typing import ClassVar

import bpy

from ..capture.cameras import PROPERTY
from ..engine.settings import draw_sampler
from ..heat import picture
from ..objects import chosen
from ..operators.photographs import frame_of
from ..vendor.nerf_core.contract.errors import NerfError
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
        draw_settings(layout, context)
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
    bl_order = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs the image."""
        image = context.space_data.image
        return image is not None and picture.KEY in image

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the maps and the numbers of the one that is shown."""
        layout = _split(self.layout)
        draw_shown(layout, context)
        draw_settings(layout, context)
        layout.operator("nerf.heat_map", text="Show Anew", icon="FILE_REFRESH")


def draw_shown(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The choice of the map and of what it was made with, and its numbers."""
    shown = picture.shown()
    column = layout.column()
    column.use_property_split = False
    column.prop(context.scene.nerf.heat, "map", expand=True)
    if len(shown.shots) > 1:
        column = layout.column(align=True)
        for index, shot in enumerate(shown.shots):
            text = f"{shot.view}: {shot.sampler}"
            column.operator("nerf.choose_heat_map", text=text, depress=index == shown.index).index = index
    numbers = shown.numbers
    rows = [("Mean", _text(numbers["mean"])), ("Range", f"{_text(numbers['least'])} to {_text(numbers['most'])}")]
    if numbers["mean_hit"] is not None:
        rows.append(("On the Subject", _text(numbers["mean_hit"])))
        rows.append(("Half below", _text(numbers["median_hit"])))
        rows.append(("95 % below", _text(numbers["most_hit"])))
    if unit := heat_kind(shown.map).unit:
        rows.append(("Unit", unit))
    if "reference" in numbers:
        rows.append(("Against", REFERENCES[numbers["reference"]]))
    if len(shown.shots) == 1:
        rows += [("Camera", shown.shot.view), ("Sampler", shown.shot.sampler)]
    draw_rows(layout, rows)


def draw_settings(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What the next maps are made with."""
    scene = context.scene
    draw_sampler(layout, scene.nerf_engine)
    layout.prop(scene.nerf.render, "percentage")
    layout.prop(scene.nerf.heat, "against")
    layout.prop(scene.nerf.heat, "keep_scale")
    camera = scene.camera
    if camera is None or PROPERTY not in camera.data:
        return
    # A camera of a data set: only in its own size can the picture be compared with the data.
    try:
        size = frame_of(camera)
    except NerfError:  # one that somebody has changed
        return
    if (size.width, size.height) != (scene.render.resolution_x, scene.render.resolution_y):
        row = layout.row()
        row.context_pointer_set("active_object", camera)
        row.operator("nerf.look_through", text=f"Render at {size.width} x {size.height}", icon="IMAGE_BACKGROUND")


def _text(value: float) -> str:
    return f"{value:.4g}"


def _split(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    layout.use_property_split = True
    layout.use_property_decorate = False
    return layout


CLASSES = (NERF_PT_heat, NERF_PT_heat_image)
