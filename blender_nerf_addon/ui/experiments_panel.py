"""The panels of experiments: the grid, progress, the results as they come; and in the Image Editor, the comparison."""

from typing import ClassVar

import bpy

from ..experiments import compare, places, state
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray import NOT_FOR_DIAGNOSIS
from . import core_box, panels

WIDTHS = (0.28, 0.18, 0.16, 0.21, 0.17)


class NERF_UL_experiment_rows(bpy.types.UIList):
    """A result a line: name, PSNR, SSIM, S_hit, milliseconds; or PSNR and SSIM of volume and radiographs."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: object,
        item: bpy.types.PropertyGroup,
        _icon: int,
        _active_data: object,
        _active_property: str,
    ) -> None:
        """Draw one."""
        name, *numbers = _columns(layout)
        name.label(text=item.name, icon="ERROR" if item.error else "NONE")
        if item.error:
            numbers[0].label(text="failed")
            return
        for cell, value in zip(numbers, (item.psnr, item.ssim, item.s_hit, item.frame), strict=True):
            cell.label(text=value or "–")


class NERF_PT_experiment(bpy.types.Panel):
    """A grid of settings, trained and compared."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_label = "Experiments"
    bl_order = 60
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw progress while it runs, else what can be started; then the results."""
        layout, settings = self.layout, context.scene.nerf.experiment
        current = state.current()
        if current is not None and current.under_way:
            _draw_progress(layout, current)
        else:
            _draw_choice(layout, context)
            if current is not None:
                icon = "ERROR" if current.phase == "failed" else "CHECKMARK"
                core_box.labels(layout, current.text, icon, panels.characters(context))
        if len(settings.rows):
            if settings.xray:
                core_box.labels(layout, NOT_FOR_DIAGNOSIS, "ERROR", panels.characters(context))
            _draw_results(layout, settings)
            _draw_chosen(layout, context)


class NERF_PT_compare(bpy.types.Panel):
    """Which turntable is shown, and where the wipe is."""

    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_label = "Compare Turntables"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs one of them in the editor."""
        return bool(compare.which(context.space_data.image))

    def draw(self, context: bpy.types.Context) -> None:
        """Draw both names, and the ways to compare."""
        _draw_comparison(self.layout, context.scene.nerf.experiment, choice=True)
        shown = compare.which(context.space_data.image)
        row = self.layout.row(align=True)
        for kind, text in (("BOTH", "Compare"), ("A", "Only A"), ("B", "Only B")):
            row.operator("nerf.compare_show", text=text, depress=shown == kind).kind = kind


def _draw_choice(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    settings = context.scene.nerf.experiment
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    row = column.row(align=True)
    row.prop(settings, "plan")
    row.operator("nerf.experiment_edit", text="", icon="TEXT")
    if settings.plan == "FILE":
        column.prop(settings, "file")
    elif settings.plan == "TEXT":
        column.prop(settings, "text")
    xray = settings.plan in places.XRAY_PLANS
    column.prop(settings, "data", text="CT" if xray else None, placeholder="The grid's own" if xray else "As captured")
    column.prop(settings, "folder", placeholder="Beside the run")
    resumes, text = False, "Run"
    try:
        out = places.out_folder(context.scene)
        resumes = state.is_experiment(out)
        if resumes:
            last = state.current()
            whole = last is not None and last.phase == "finished" and last.out == out
            text = "Run What Is New" if whole else "Resume"
    except NerfError as error:
        core_box.labels(layout, str(error), "ERROR", panels.characters(context))
    row = layout.row(align=True)
    row.scale_y = 1.3
    row.operator("nerf.experiment_run", text=text, icon="PLAY")
    if resumes:
        row.operator("nerf.experiment_results", text="", icon="FILE_REFRESH")


def _draw_progress(layout: bpy.types.UILayout, current: state.Experiment) -> None:
    left = "" if current.seconds_left is None else f", {panels.clock(current.seconds_left)} left"
    cell = f"{current.number} of {current.count}, " if current.count else ""
    layout.progress(factor=current.fraction, text=f"{cell}{current.fraction:.0%}{left}")
    layout.label(text=current.text)
    row = layout.row()
    row.enabled = current.phase != "stopping"
    row.operator("nerf.experiment_stop", icon="PAUSE", text="Stopping" if current.phase == "stopping" else "Stop")


def _draw_results(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    name, *numbers = _columns(layout)
    name.label(text="Cell")
    titles = ("vol.", "SSIM", "rad.", "SSIM") if settings.xray else ("dB", "SSIM", "S_hit", "ms")
    for cell, title in zip(numbers, titles, strict=True):
        cell.label(text=title)
    layout.template_list(
        NERF_UL_experiment_rows.__name__,
        "",
        settings,
        "rows",
        settings,
        "active",
        rows=min(8, max(3, len(settings.rows))),
    )
    for side in ("A", "B"):
        row = layout.split(factor=0.25, align=True)
        row.operator("nerf.compare_choose", text=side, icon="FORWARD").side = side
        row.prop_search(settings, side.lower(), settings, "rows", text="")
    layout.operator("nerf.compare_load", icon="IMAGE_REFERENCE")
    if settings.loaded:
        _draw_comparison(layout, settings, choice=False)
    row = layout.row(align=True)
    row.operator("nerf.experiment_open", icon="URL").place = "REPORT"
    row.operator("nerf.experiment_open", text="", icon="FILE_FOLDER").place = "FOLDER"


def _columns(layout: bpy.types.UILayout) -> list[bpy.types.UILayout]:
    """Columns of the same widths in every line: a name and four numbers."""
    columns, left, rest = [], layout, 1.0
    for width in WIDTHS[:-1]:
        split = left.split(factor=width / rest, align=True)
        columns.append(split.row(align=True))
        left, rest = split.row(align=True), rest - width
    columns.append(left.row(align=True))
    for column in columns[1:]:
        column.alignment = "RIGHT"
    return columns


def _draw_chosen(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Why the chosen cell failed, or what the narrow columns have no room for."""
    settings = context.scene.nerf.experiment
    if not 0 <= settings.active < len(settings.rows):
        return
    row, width = settings.rows[settings.active], panels.characters(context)
    if row.error:
        core_box.labels(layout, row.error, "ERROR", width)
    else:
        core_box.labels(layout, places.row_words(row, settings.xray), "INFO", width)


def _draw_comparison(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, choice: bool) -> None:
    column = layout.column(align=True)
    if choice:
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop_search(settings, "a", settings, "rows", icon="NONE")
        column.prop_search(settings, "b", settings, "rows", icon="NONE")
    row = layout.row(align=True)
    row.prop(settings, "shown", expand=True)
    row.operator("nerf.compare_flip", text="", icon="UV_SYNC_SELECT")
    column = layout.column()
    column.active = settings.shown == "WIPE"
    column.prop(settings, "split", slider=True)


CLASSES = (NERF_UL_experiment_rows, NERF_PT_experiment, NERF_PT_compare)
