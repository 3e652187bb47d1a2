"""Sidebar panels of priors, below X-Ray: a volume from one radiograph or a few, and the prior that this takes."""

from typing import ClassVar

import bpy

from ..jobs.runs import stored_path
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray import NOT_FOR_DIAGNOSIS
from ..xray import prior_build, reconstruct
from ..xray.prior_work import Work
from . import core_box
from .panels import characters, clock


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}


class NERF_PT_xray_single(_Sidebar, bpy.types.Panel):
    """A volume from one radiograph or a few."""

    bl_parent_id = "NERF_PT_xray"
    bl_label = "From One Radiograph"
    bl_order = 4

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the prior and the button, or how far it is."""
        layout = self.layout
        width = characters(context)
        made = reconstruct.current()
        if made is not None and made.under_way:
            _draw_progress(layout, made, "nerf.xray_reconstruct_cancel")
            return
        column = _settings_column(layout)
        column.prop(context.scene.nerf_xray, "prior")
        column.prop(context.scene.nerf_xray, "given_views")
        layout.operator("nerf.xray_reconstruct", icon="OUTLINER_OB_VOLUME")
        _draw_outcome(layout, made, width)
        core_box.labels(layout, NOT_FOR_DIAGNOSIS, "INFO", width)


class NERF_PT_xray_prior(_Sidebar, bpy.types.Panel):
    """What a prior is built of, and where it goes."""

    bl_parent_id = "NERF_PT_xray_single"
    bl_label = "Build Prior"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the population, the place and the button, or how far it is."""
        layout = self.layout
        width = characters(context)
        made = prior_build.current()
        if made is not None and made.under_way:
            _draw_progress(layout, made, "nerf.xray_build_prior_cancel")
            return
        settings = context.scene.nerf_xray.new_prior
        _draw_population(layout, settings)
        column = _settings_column(layout)
        column.prop(settings, "folder", placeholder="Beside the runs")
        column.prop(settings, "name", placeholder="After its population")
        layout.operator("nerf.xray_build_prior", icon="OUTLINER_DATA_VOLUME")
        _draw_outcome(layout, made, width)
        try:
            layout.label(text=f"Goes to {stored_path(prior_build.planned(context.scene))}", icon="FILE_FOLDER")
        except NerfError as error:
            core_box.labels(layout, str(error), "ERROR", width)


def _settings_column(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def _draw_population(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    column = _settings_column(layout)
    column.prop(settings, "source")
    if settings.source == "CTS":
        column.prop(settings, "cts")
        column.prop(settings, "copies")
    else:
        column.prop(settings, "count")
        column.prop(settings, "first")
    column.prop(settings, "held_out")
    column.prop(settings, "kind")
    column.prop(settings, "voxels")


def _draw_progress(layout: bpy.types.UILayout, made: Work, cancel: str) -> None:
    left = "" if made.seconds_left is None else f", {clock(made.seconds_left)} left"
    layout.progress(factor=made.fraction, text=f"{made.text}{left}")
    layout.operator(cancel, icon="CANCEL")


def _draw_outcome(layout: bpy.types.UILayout, made: Work | None, width: int) -> None:
    if made is not None and made.text:
        icon = {"failed": "ERROR", "cancelled": "CANCEL"}.get(made.phase, "CHECKMARK")
        core_box.labels(layout, made.text, icon, width)


CLASSES = (NERF_PT_xray_single, NERF_PT_xray_prior)
