"""The sidebar's panel of turntables and animations: settings, buttons, and the last result."""

from typing import ClassVar

import bpy

from ..operators.video import last_result
from ..videos import subject


class NERF_PT_video(bpy.types.Panel):
    """One turn around the NeRF, or the scene's own animation."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_parent_id = "NERF_PT_results"
    bl_label = "Turntable & Animation"
    bl_order = 10
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs something trained."""
        return subject.is_there(context.scene)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the files' settings, then both kinds with their buttons."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.nerf.video
        layout.row().prop(settings, "format", expand=True)
        if settings.format != "PNG":
            layout.prop(settings, "background")
        layout.prop(settings, "samples")
        _draw_turntable(layout.box(), settings)
        _draw_animation(layout.box(), context.scene)
        path = last_result(context.scene)
        if path is not None:
            row = layout.row(align=True)
            is_video = path.suffix.lower() == ".mp4"
            play = row.operator("nerf.open_video", text=f"Play {path.name}" if is_video else f"Open {path.name}")
            play.place = "FILE"
            row.operator("nerf.open_video", text="", icon="FILE_FOLDER").place = "FOLDER"


def _draw_turntable(box: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    column = box.column(align=True)
    column.prop(settings, "frames")
    column.prop(settings, "fps")
    column = box.column(align=True)
    column.prop(settings, "width")
    column.prop(settings, "height")
    column = box.column()
    column.prop(settings, "placed")
    if settings.placed == "FIXED":
        column.prop(settings, "radius")
    if settings.placed != "CAMERA":
        column.prop(settings, "elevation")
        column.prop(settings, "focal_length")
    column.prop(settings, "clockwise")
    box.operator("nerf.render_turntable", icon="FILE_MOVIE")


def _draw_animation(box: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    settings, render = scene.nerf.video, scene.render
    factor = render.resolution_percentage * settings.percentage / 10_000
    width, height = round(render.resolution_x * factor), round(render.resolution_y * factor)
    box.label(text=f"Frames {scene.frame_start} to {scene.frame_end}, {width} x {height}", icon="PREVIEW_RANGE")
    box.prop(settings, "percentage")
    box.operator("nerf.render_animation", icon="RENDER_ANIMATION")


CLASSES = (NERF_PT_video,)
