"""The panel "Inspect", in the sidebars of 3D viewports and Image Editors: rays under the pointer, a grid of them."""

from typing import ClassVar

import bpy

from ..inspect import request, state
from ..objects import chosen
from . import core_box
from .panels import characters

CLOSED: set[str] = {"DEFAULT_CLOSED"}


class _Inspect:
    bl_region_type = "UI"
    bl_category = "NeRF"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        return chosen.has_run(context.scene)


class _View(_Inspect):
    bl_space_type = "VIEW_3D"


class _Image(_Inspect):
    bl_space_type = "IMAGE_EDITOR"


class NERF_PT_inspect(_View, bpy.types.Panel):
    """What is pointed at, and by which samplers it is looked at."""

    bl_label = "Inspect"
    bl_order = 35

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the buttons and the samplers."""
        draw_main(self.layout, context)


class NERF_PT_inspect_image(_Image, bpy.types.Panel):
    """The same beside a picture."""

    bl_label = "Inspect"
    bl_order = 10  # below what the picture itself is

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the buttons and the samplers."""
        draw_main(self.layout, context)


class NERF_PT_inspect_shown(_View, bpy.types.Panel):
    """What of the rays is drawn."""

    bl_label = "Shown"
    bl_parent_id = "NERF_PT_inspect"
    bl_order = 30
    bl_options: ClassVar[set[str]] = CLOSED

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the check boxes."""
        draw_shown(self.layout, context)


class NERF_PT_inspect_shown_image(_Image, bpy.types.Panel):
    """What of the rays is drawn."""

    bl_label = "Shown"
    bl_parent_id = "NERF_PT_inspect_image"
    bl_order = 30
    bl_options: ClassVar[set[str]] = CLOSED

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the check boxes."""
        draw_shown(self.layout, context)


class NERF_PT_inspect_grid(_View, bpy.types.Panel):
    """Samples of a grid of pixels, as objects."""

    bl_label = "Samples as Points"
    bl_parent_id = "NERF_PT_inspect"
    bl_order = 40
    bl_options: ClassVar[set[str]] = CLOSED

    def draw(self, context: bpy.types.Context) -> None:
        """Draw which pixels, and the button."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.nerf.inspect
        layout.row().prop(settings, "pixels", expand=True)
        if settings.pixels == "GRID":
            layout.prop(settings, "grid", text="Columns, Rows")
        else:
            layout.prop(settings, "use_center")
            row = layout.column()
            row.active = not settings.use_center
            row.prop(settings, "pixel")
        layout.prop(settings, "show_rays")
        layout.prop(settings, "size")
        layout.operator("nerf.inspect_samples", icon="PARTICLE_DATA")


def draw_main(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The buttons, the patch, the samplers, and what went wrong."""
    settings, current = context.scene.nerf.inspector, state.current()
    row = layout.row(align=True)
    row.scale_y = 1.3
    row.operator_context = "INVOKE_DEFAULT"
    row.operator("nerf.inspect_pixel", icon="EYEDROPPER")
    row = layout.row(align=True)
    if hasattr(bpy.types, "NERF_OT_bake_trace"):
        row.operator("nerf.bake_trace", text="Bake", icon="OUTLINER_OB_POINTCLOUD")
    row.operator("nerf.inspect_clear", icon="X")
    if current.error:
        core_box.labels(layout, current.error, "ERROR", characters(context))
    elif request.waiting() and not current.slots:
        layout.label(text="Asking the NeRF core", icon="SORTTIME")
    layout.use_property_split = True
    layout.use_property_decorate = False
    column = layout.column(align=True)
    column.prop(settings, "patch")
    spacing = column.row()
    spacing.active = settings.patch > 1
    spacing.prop(settings, "spacing")
    column = layout.column(align=True)
    column.prop(settings, "sampler")
    if settings.sampler != "TRAINED":
        column.prop(settings, "samples")
    layout.prop(settings, "compare", text="Compare")
    if settings.compare:
        column = layout.column(align=True)
        column.prop(settings, "sampler_b", text="With")
        if settings.sampler_b != "TRAINED":
            column.prop(settings, "samples_b")


def draw_shown(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The check boxes."""
    settings = context.scene.nerf.inspector
    layout.use_property_decorate = False
    flow = layout.grid_flow(columns=2, even_columns=True, align=True)
    for name in ("samples", "bins", "strip", "depths", "skipped", "box", "legend"):
        flow.prop(settings, f"show_{name}")
    flow.prop(settings, "xray")
    layout.use_property_split = True
    layout.prop(settings, "size", slider=True)


CLASSES = (
    NERF_PT_inspect,
    NERF_PT_inspect_image,
    NERF_PT_inspect_shown,
    NERF_PT_inspect_shown_image,
    NERF_PT_inspect_grid,
)
