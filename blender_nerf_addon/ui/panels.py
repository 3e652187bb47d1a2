"""Sidebar panels after the capture: training, and what comes back of it."""

import os
from typing import ClassVar

import bpy

from ..engine.settings import draw_sampler
from ..jobs import core, managed, runs, tasks, training, training_sampler
from ..jobs.training import Training
from ..objects import chosen
from ..videos import subject
from . import core_box


def characters(context: bpy.types.Context) -> int:
    """How many characters a label in this region may have, about."""
    scale = context.preferences.system.ui_scale
    return max(20, int((context.region.width - 50 * scale) / (6.6 * scale))) if context.region else 40


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"


class NERF_PT_core(_Sidebar, bpy.types.Panel):
    """Shown while the core is not as it should be."""

    bl_label = "NeRF Core"
    bl_order = 0  # in front of everything: without it nothing trains

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only when there is something to say that the training's panel does not say already."""
        current = training.current()
        if current is not None and current.can_resume:
            return False
        return core.status().kind in ("missing", "failed") or managed.running()

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what is missing, and one button."""
        core_box.draw(self.layout, characters(context))


class NERF_PT_train(_Sidebar, bpy.types.Panel):
    """Training: its settings, its progress, its buttons."""

    bl_label = "Train"
    bl_order = 20

    def draw(self, context: bpy.types.Context) -> None:
        """Draw progress while training, else what can be started."""
        layout = self.layout
        current = training.current()
        if current is not None and current.under_way:
            _draw_progress(layout, current, context)
            return
        settings = context.scene.nerf.training
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.row().prop(settings, "budget", expand=True)
        column.prop(settings, "seconds" if settings.budget == "SECONDS" else "steps")
        if current is not None:
            _draw_outcome(layout, current, context)
        row = layout.row(align=True)
        row.scale_y = 1.3
        if current is not None and current.can_resume:
            row.operator("nerf.train_resume", icon="FILE_REFRESH")
        elif runs.has_result(context.scene):
            if runs.is_unfinished(context.scene):
                row.operator("nerf.train", text="Continue", icon="PLAY").more = False
            row.operator("nerf.train", text="Train More", icon="ADD").more = True
            anew = layout.operator("nerf.train", text="Train Anew", icon="FILE_NEW")
            anew.more, anew.anew = False, True
        else:
            row.operator("nerf.train", icon="PLAY").more = False


class NERF_PT_train_settings(_Sidebar, bpy.types.Panel):
    """What is chosen once."""

    bl_label = "Settings"
    bl_parent_id = "NERF_PT_train"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw method, device, data and preview."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.active = not training.under_way()
        nerf = context.scene.nerf
        settings = nerf.training
        layout.prop(settings, "method")
        if settings.method == "XRAY":
            for name in ("resolution", "grid", "smoothness", "init"):
                layout.prop(context.scene.nerf_xray, name)
        else:
            training_sampler.draw(layout, settings)
        layout.prop(settings, "device")
        layout.prop(settings, "seed")
        row = layout.row(align=True)
        row.prop(nerf, "run_folder", text="Run", placeholder="As captured")
        row.operator("nerf.open_place", text="", icon="FILE_FOLDER").place = "RUN"
        layout.prop(settings, "data", placeholder="As captured")
        layout.prop(settings, "add_object")
        column = layout.column(align=True, heading="Preview")
        column.prop(settings, "preview", text="Live, in an Image Editor")
        sizes = column.column(align=True)
        sizes.active = settings.preview
        sizes.prop(settings, "preview_size")
        sizes.prop(settings, "preview_seconds")


class NERF_PT_results(_Sidebar, bpy.types.Panel):
    """What comes back: views, points."""

    bl_label = "Results"
    bl_order = 30

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the task under way, or say what is missing."""
        layout = self.layout
        task = tasks.current()
        if task is not None and task.running:
            left = "" if task.seconds_left is None else f", {clock(task.seconds_left)} left"
            layout.progress(factor=task.fraction, text=f"{task.text}{left}")
            row = layout.row(align=True)
            row.operator("nerf.task_cancel", icon="CANCEL")
            if task.shows_preview:
                row.operator("nerf.open_preview", icon="IMAGE_DATA", text="Open Preview")
        elif task is not None and task.phase == "failed":
            core_box.labels(layout, task.text, "ERROR", characters(context))
        elif not subject.is_there(context.scene):
            core_box.labels(layout, _missing(context.scene), "INFO", characters(context))
        if chosen.has_run(context.scene):
            item = chosen.chosen_nerf(context.scene)
            if item is not None:
                layout.label(text=f"Of {item.name}", icon="EMPTY_AXIS")
            row = layout.row(align=True)
            row.operator("nerf.import_cameras", text="Training Cameras", icon="OUTLINER_OB_CAMERA")
            if item is None:
                row.operator("nerf.open_place", text="", icon="FILE_FOLDER").place = "RUN"


class _Result(_Sidebar):
    bl_parent_id = "NERF_PT_results"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        return chosen.has_run(context.scene)


class NERF_PT_render(_Result, bpy.types.Panel):
    """Novel views."""

    bl_label = "Novel View"
    bl_order = 0
    bl_options: ClassVar[set[str]] = set()

    def draw(self, context: bpy.types.Context) -> None:
        """Draw which cameras, and the button."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.nerf.render
        layout.prop(settings, "views")
        layout.prop(settings, "percentage")
        draw_sampler(layout, context.scene.nerf_engine)
        layout.operator("nerf.render_view", icon="RENDER_STILL")


class NERF_PT_points(_Result, bpy.types.Panel):
    """Density points."""

    bl_label = "Density Points"
    bl_order = 20

    def draw(self, context: bpy.types.Context) -> None:
        """Draw count and threshold, and the button."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.nerf.points
        layout.prop(settings, "count")
        layout.prop(settings, "automatic")
        row = layout.row()
        row.active = not settings.automatic
        row.prop(settings, "threshold")
        layout.prop(settings, "size")
        layout.operator("nerf.import_points", icon="OUTLINER_OB_POINTCLOUD")


def _missing(scene: bpy.types.Scene) -> str:
    """Why there are no results."""
    chosen_folder = scene.nerf.run_folder.strip()
    if chosen_folder and not os.path.isdir(bpy.path.abspath(chosen_folder)):
        return f"The run folder '{chosen_folder}' is not there; if it was moved, choose it with Add from Folder."
    return "Nothing is trained yet"


def _draw_progress(layout: bpy.types.UILayout, current: Training, context: bpy.types.Context) -> None:
    if current.phase == "training":
        left = "" if current.seconds_left is None else f", {clock(current.seconds_left)} left"
        layout.progress(factor=current.fraction, text=f"{current.fraction:.0%}{left}")
        _draw_numbers(layout, current)
    else:
        core_box.labels(layout, current.text, "SORTTIME", characters(context))
    row = layout.row(align=True)
    row.operator("nerf.train_stop", icon="PAUSE", text="Stopping" if current.phase == "stopping" else "Stop")
    if current.params.get("preview"):
        row.operator("nerf.open_preview", icon="IMAGE_DATA", text="Open Preview")


def _draw_outcome(layout: bpy.types.UILayout, current: Training, context: bpy.types.Context) -> None:
    icon = "ERROR" if current.phase in ("failed", "interrupted") else "CHECKMARK"
    core_box.labels(layout, current.text, icon, characters(context))
    if current.step:
        _draw_numbers(layout, current, quality=current.phase != "finished")


def _draw_numbers(layout: bpy.types.UILayout, current: Training, quality: bool = True) -> None:
    rows = [("Step", f"{current.step:,}")]
    if current.loss is not None:
        rows.append(("Loss", f"{current.loss:.5f}"))
    if not quality:
        pass  # the sentence above tells it
    elif current.val_psnr is not None:
        rows.append(("Held-Out PSNR", f"{current.val_psnr:.2f} dB"))
    elif current.psnr is not None:
        rows.append(("Training PSNR", f"{current.psnr:.2f} dB"))
    draw_rows(layout, rows)


def draw_rows(layout: bpy.types.UILayout, rows: list[tuple[str, str]]) -> None:
    """Names to the left of the middle, their values to the right of it."""
    split = layout.split(factor=0.5)
    names, values = split.column(align=True), split.column(align=True)
    names.alignment = "RIGHT"
    for name, value in rows:
        names.label(text=name)
        values.label(text=value)


def clock(seconds: float) -> str:
    """Seconds as a person reads them: 45 s, 2:05 min, 1:02 h."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"


CLASSES = (
    NERF_PT_core,
    NERF_PT_train,
    NERF_PT_train_settings,
    NERF_PT_results,
    NERF_PT_render,
    NERF_PT_points,
)
