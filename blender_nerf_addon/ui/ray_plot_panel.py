"""The plots of a ray in the sidebars: where they are shown, which curves, which ray."""

from typing import ClassVar

import bpy

from ..inspect import plot_view, state


def draw_settings(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """Which curves, which part of the ray, which ray."""
    settings, shown = scene.nerf.ray_plot, state.current()
    column = layout.column(heading="Show")
    column.prop(settings, "show_density")
    column.prop(settings, "show_weight")
    column.prop(settings, "show_sampling")
    row = layout.column()
    row.active = settings.show_density
    row.prop(settings, "log_density")
    layout.prop(settings, "focus")
    if plot_view.zoomed() is not None:
        row = layout.row()
        row.operator_context = "EXEC_DEFAULT"  # there is no pointer over the plot
        row.operator("nerf.ray_plot_zoom", text="Show All of the Ray", icon="ZOOM_PREVIOUS").factor = 0.0
    if len(shown.pixels) > 1:
        layout.prop(settings, "mean")
        row = layout.row(align=True)
        row.active = not settings.mean
        row.operator_context = "EXEC_DEFAULT"
        row.operator("nerf.ray_plot_step", text="", icon="TRIA_LEFT").step = -1
        row.label(text=f"Ray {shown.chosen_ray + 1} of {len(shown.pixels)}")
        row.operator("nerf.ray_plot_step", text="", icon="TRIA_RIGHT").step = 1
    layout.operator("nerf.save_ray_plot", icon="FILE_TICK")


class NERF_PT_ray_plot(bpy.types.Panel):
    """In the viewport's sidebar."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_label = "Ray Plots"
    bl_parent_id = "NERF_PT_inspect"
    bl_order = 20
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw where the plots are shown, and what of them."""
        layout, settings = self.layout, context.scene.nerf.ray_plot
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.operator("nerf.open_ray_plots", icon="GRAPH")
        layout.prop(settings, "card")
        column = layout.column()
        column.active = settings.card
        column.prop(settings, "corner")
        column.prop(settings, "size", slider=True)
        draw_settings(layout, context.scene)


class NERF_PT_ray_plot_image(bpy.types.Panel):
    """In the sidebar of an Image Editor that shows the plots."""

    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_label = "Ray Plots"
    bl_order = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where the plots are."""
        return plot_view.shows_plot(context.area)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what is shown of the ray."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        draw_settings(layout, context.scene)


CLASSES = (NERF_PT_ray_plot, NERF_PT_ray_plot_image)
