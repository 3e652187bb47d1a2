"""Sidebar panels of the capture: subject, cameras, pictures, and the button."""

from typing import Any

import bpy

from ..capture import planner, rig_views
from ..capture.driver import planned_run
from ..jobs.runs import stored_path
from ..operators import capture
from ..vendor.nerf_core.contract.errors import NerfError

# What a rig asks for beside counts, lens and distance.
_RIG_SETTINGS = {
    "ORBIT": ("elevation",),
    "SPIRAL": ("elevation_start", "elevation_end", "turns"),
    "RANDOM": ("seed", "use_upper_half", "distance_spread"),
    "GRID": ("azimuth", "elevation", "grid_size", "aim"),
    "CURVE": ("curve_object", "aim"),
    "INTERIOR": ("interior_shape", "interior_fill"),
}


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"


class NERF_PT_capture(_Sidebar, bpy.types.Panel):
    """What is captured, from where, and the button that does it."""

    bl_label = "Capture"
    bl_order = 10

    def draw(self, context: bpy.types.Context) -> None:
        """Draw progress while a capture is going on, else subject and buttons."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.nerf.capture
        job = capture.active_job()
        if job is not None:
            _draw_progress(layout, job)
            return
        column = layout.column()
        column.prop(settings, "subject")
        if settings.subject == "SELECTED":
            column.prop(settings, "isolate")
        _draw_bounds(layout, context, settings)
        buttons = layout.column(align=True)
        buttons.scale_y = 1.4
        buttons.operator("nerf.capture", text="Capture & Train", icon="RENDER_STILL").then_train = True
        buttons.operator("nerf.capture", text="Capture Only", icon="IMAGE_DATA").then_train = False
        _draw_place(layout, context)


class NERF_PT_capture_cameras(_Sidebar, bpy.types.Panel):
    """Where the cameras stand and how many there are."""

    bl_label = "Cameras"
    bl_parent_id = "NERF_PT_capture"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what the chosen rig needs."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.active = capture.active_job() is None
        settings = context.scene.nerf.capture
        layout.prop(settings, "rig", text="Placed")
        counts = layout.column(align=True)
        if settings.rig == "ANIMATION":
            counts.prop(settings, "frame_step")
            counts.prop(settings, "use_frame_range")
            if settings.use_frame_range:
                counts.prop(settings, "range_start")
                counts.prop(settings, "range_end")
        elif settings.rig != "CAMERAS":
            counts.prop(settings, "train_count", text="Train Views")
        counts.prop(settings, "val_count")
        counts.prop(settings, "test_count")
        if settings.rig in {"CAMERAS", "ANIMATION"}:
            layout.label(text=_sequence_text(context.scene, settings), icon="INFO")
        else:
            own = layout.column(align=True)
            for name in _RIG_SETTINGS.get(settings.rig, ()):
                own.prop(settings, name)
            layout.prop(settings, "focal_length")
            if settings.rig not in {"CURVE", "INTERIOR"}:
                column = layout.column()
                column.prop(settings, "use_auto_radius")
                if not settings.use_auto_radius:
                    column.prop(settings, "radius")
        row = layout.row(align=True)
        row.operator("nerf.preview_cameras", icon="OUTLINER_OB_CAMERA")
        row.operator("nerf.clear_cameras", text="", icon="X")


class NERF_PT_capture_pictures(_Sidebar, bpy.types.Panel):
    """Place, size and quality of the pictures."""

    bl_label = "Pictures"
    bl_parent_id = "NERF_PT_capture"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw place, size, background and quality."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.active = capture.active_job() is None
        settings = context.scene.nerf.capture
        layout.prop(settings, "folder")
        layout.prop(settings, "name")
        layout.prop(settings, "use_scene_size")
        if not settings.use_scene_size:
            size = layout.column(align=True)
            size.prop(settings, "resolution_x")
            size.prop(settings, "resolution_y")
        layout.prop(settings, "picture_format")
        layout.prop(settings, "use_transparent", text="Transparent")
        layout.prop(settings, "samples")
        if context.scene.render.engine == "CYCLES":
            layout.prop(settings, "use_denoise")
        passes = layout.column(heading="Passes", align=True)
        for name in ("use_depth", "use_normal", "use_mask", "use_index"):
            passes.prop(settings, name)


def _draw_progress(layout: bpy.types.UILayout, job: Any) -> None:
    layout.progress(factor=job.done / job.total, text=job.text)
    layout.operator("nerf.capture_stop", icon="CANCEL", text="Stopping" if capture.stop_asked() else "Stop")
    layout.label(text=str(job.run.root), icon="FILE_FOLDER")


def _draw_bounds(layout: bpy.types.UILayout, context: bpy.types.Context, settings: Any) -> None:
    row = layout.row(align=True)
    box = planner.bounds_object(context.scene, settings)
    if box is None:
        row.operator("nerf.make_bounds", text="Show Bounds as Box", icon="CUBE")
    else:
        row.prop(settings, "bounds_object", text="Bounds", icon="CUBE")
        row.operator("nerf.make_bounds", text="", icon="FILE_REFRESH")


def _draw_place(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    try:
        place = stored_path(planned_run(context.scene, context.scene.nerf.capture))
        layout.label(text=f"Goes to {place}", icon="FILE_FOLDER")
    except NerfError as error:
        layout.label(text=str(error), icon="ERROR")


def _sequence_text(scene: bpy.types.Scene, settings: Any) -> str:
    if settings.rig == "CAMERAS":
        total = len(rig_views.scene_cameras(scene, settings))
    else:
        total = len(rig_views.animation_frames(scene, settings))
    return f"{total} views, {max(0, total - settings.val_count - settings.test_count)} of them to train on"


CLASSES = (NERF_PT_capture, NERF_PT_capture_cameras, NERF_PT_capture_pictures)
