"""Sidebar panels of the X-ray mode: what it is not for, the subject, the rig, and the buttons."""

from typing import ClassVar

import bpy

from ..capture.bounds import MESHABLE
from ..jobs import tasks
from ..jobs.runs import stored_path
from ..operators import capture, xray_ct
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray import NOT_FOR_DIAGNOSIS, ConeBeam
from ..xray import ct, materials, overlay, radiographs, subject, trained
from ..xray.gather import is_ct
from ..xray.radiographs import Radiographs
from . import core_box
from .panels import characters, clock, draw_rows

LISTED = 8  # objects of the subject, by name
WARNED = 6  # meshes that are not closed


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"


class _Part(_Sidebar):
    bl_parent_id = "NERF_PT_xray"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}


class NERF_PT_xray(_Sidebar, bpy.types.Panel):
    """Where the mode is switched on: what it is not for, what comes in, and the buttons."""

    bl_label = "X-Ray"
    bl_order = 12
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw progress while radiographs are made, else subject and buttons."""
        layout = self.layout
        width = characters(context)
        core_box.labels(layout, NOT_FOR_DIAGNOSIS, "INFO", width)
        made = radiographs.current()
        if made is not None and made.under_way:
            _draw_progress(layout, made)
            return
        _draw_trouble(layout, context, width)
        buttons = layout.column(align=True)
        buttons.scale_y = 1.4
        buttons.operator("nerf.xray_capture", text="Radiograph & Train", icon="RENDER_STILL").then_train = True
        buttons.operator("nerf.xray_capture", text="Radiographs Only", icon="IMAGE_DATA").then_train = False
        if made is not None:
            _draw_outcome(layout, made, width)
        try:
            layout.label(text=f"Goes to {stored_path(radiographs.planned_run(context.scene))}", icon="FILE_FOLDER")
        except NerfError as error:
            core_box.labels(layout, str(error), "ERROR", width)


class NERF_PT_xray_subject(_Part, bpy.types.Panel):
    """What attenuates."""

    bl_label = "Subject"
    bl_order = 0
    bl_options: ClassVar[set[str]] = set()

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the objects, what the active one is made of, and the buttons."""
        layout = self.layout
        found = overlay.state(context.scene, context.view_layer).names
        column = layout.column(align=True)
        for name in found[:LISTED]:
            item = context.scene.objects.get(name)
            if item is None:  # an instance's own object, which is in no collection of the scene
                continue
            row = column.row()
            row.label(text=item.name, icon="FILE_VOLUME" if is_ct(item) else "MESH_DATA")
            row.label(text=_told(item))
        if len(found) > LISTED:
            column.label(text=f"and {len(found) - LISTED} more", icon="BLANK1")
        draw_ct(layout, context)
        active = ct.of(context.object)
        if active is not None:
            layout.prop(active.nerf_xray, "seen", text="Active CT in Radiographs")
        row = layout.row(align=True)
        row.operator_menu_enum("nerf.xray_set_material", "material", text="Selected Are Of", icon="MATERIAL")
        row.operator("nerf.xray_select", text="", icon="RESTRICT_SELECT_OFF")
        item = context.object
        if item is not None and item.select_get() and item.nerf_xray.material != "NONE":
            column = layout.column()
            column.use_property_split = True
            column.use_property_decorate = False
            draw_attenuation(column, item.nerf_xray, True)
        if found:
            layout.operator("nerf.xray_check", icon="CHECKMARK")


class NERF_PT_xray_rig(_Part, bpy.types.Panel):
    """Source, detector and views."""

    bl_label = "Rig"
    bl_order = 1
    bl_options: ClassVar[set[str]] = set()

    def draw(self, context: bpy.types.Context) -> None:
        """Draw its lengths, its views, and what shows it."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        scene = context.scene
        settings = scene.nerf_xray
        layout.prop(settings, "rig")
        now = overlay.state(scene, context.view_layer)
        if settings.rig == "CUSTOM":
            column = layout.column(align=True)
            column.prop(settings, "source_axis")
            column.prop(settings, "source_detector")
            column.prop(settings, "detector")
        elif now.rig is not None:
            _draw_lengths(layout, scene, now.rig.beam)
            layout.operator("nerf.xray_own_rig", icon="GREASEPENCIL")
        layout.prop(settings, "pixels")
        column = layout.column(align=True)
        column.prop(settings, "views")
        column.prop(settings, "val_views")
        column = layout.column(align=True)
        column.prop(settings, "start")
        column.prop(settings, "arc")
        layout.prop(settings, "isocentre")
        column = layout.column(heading="Viewport")
        column.prop(settings, "show_rig")
        row = column.row()
        row.active = settings.show_rig
        row.prop(settings, "shown_view")
        row = layout.row(align=True)
        row.operator("nerf.xray_cameras", icon="OUTLINER_OB_CAMERA")
        row.operator("nerf.xray_clear_cameras", text="", icon="X")


class NERF_PT_xray_pictures(_Part, bpy.types.Panel):
    """Where radiographs go, and their noise."""

    bl_label = "Radiographs"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """Draw folder, name and noise."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.active = capture.active_job() is None
        settings = context.scene.nerf_xray
        layout.prop(context.scene.nerf.capture, "folder")
        layout.prop(context.scene.nerf.capture, "name")
        layout.prop(settings, "noise")
        if settings.noise == "POISSON":
            column = layout.column(align=True)
            column.prop(settings, "photons")
            column.prop(settings, "readout")
            column.prop(settings, "seed")


class NERF_PT_xray_results(_Part, bpy.types.Panel):
    """What comes back of a trained field."""

    bl_label = "Attenuation Field"
    bl_order = 3

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a field that was trained on radiographs."""
        return trained.chosen_is_attenuation(context.scene)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw window and level, and what can be made of it."""
        layout = self.layout
        item = trained.shown_object(context.scene)
        if item is not None:
            layout.label(text=f"Of {item.name}", icon="EMPTY_AXIS")
            column = layout.column()
            column.use_property_split = True
            column.use_property_decorate = False
            shown = item.nerf_xray
            row = column.row(align=True)
            row.prop(shown, "use_window")
            row.operator("nerf.xray_fit_window", text="", icon="LOOP_BACK")
            values = column.column(align=True)
            values.active = shown.use_window
            values.prop(shown, "level")
            values.prop(shown, "width")
        column = layout.column(align=True)
        column.operator("nerf.render_view", text="Radiograph from Camera", icon="RENDER_STILL")
        column.operator("nerf.xray_line_integrals", icon="IMAGE_DATA")
        column.operator("nerf.xray_save_volume", icon="FILE_VOLUME")
        core_box.labels(layout, NOT_FOR_DIAGNOSIS, "INFO", characters(context))


class NERF_PT_xray_object(bpy.types.Panel):
    """What an object is to X-rays."""

    bl_label = "X-Ray"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "object"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """For what encloses something, and for imported CTs."""
        item = context.object
        return item is not None and (item.nerf_xray.kind == "CT" or item.type in MESHABLE)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what the object is made of, or which CT it stands for."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.object.nerf_xray
        if settings.kind == "CT":
            layout.prop(settings, "source")
            layout.prop(settings, "seen")
            layout.prop(settings, "priority")
        else:
            draw_attenuation(layout, settings, settings.material != "NONE")


class NERF_PT_xray_material(bpy.types.Panel):
    """What the faces with a material enclose."""

    bl_label = "X-Ray"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "material"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """For materials."""
        return context.material is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what these faces enclose."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.material.nerf_xray
        draw_attenuation(layout, settings, settings.material != "OBJECT")


def draw_ct(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What brings a CT in, how far it is, and what may be done with the active one."""
    task = tasks.current()
    ours = task is not None and task.title in (xray_ct.IMPORT, xray_ct.SLICES)
    if ours and task.running:
        layout.progress(factor=task.fraction, text=task.text)
        layout.operator("nerf.task_cancel", icon="CANCEL")
        return
    row = layout.row(align=True)
    row.operator("nerf.xray_import_ct", icon="IMPORT")
    row.operator("nerf.xray_add_phantom", text="Phantom", icon="OUTLINER_OB_ARMATURE")
    if ct.of(context.object) is not None:
        row.operator("nerf.xray_ct_slices", text="", icon="MESH_PLANE")
    if ours and task.phase == "failed":
        core_box.labels(layout, task.text, "ERROR", characters(context))


def draw_attenuation(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, own: bool) -> None:
    """Draw a material with what belongs to it."""
    layout.prop(settings, "material")
    if settings.material == "CUSTOM":
        layout.prop(settings, "attenuation")
    if own:
        layout.prop(settings, "priority")


def _draw_progress(layout: bpy.types.UILayout, made: Radiographs) -> None:
    left = "" if made.seconds_left is None else f", {clock(made.seconds_left)} left"
    layout.progress(factor=made.fraction, text=f"{made.text}{left}")
    row = layout.row(align=True)
    row.operator("nerf.xray_cancel", icon="CANCEL")
    row.operator("nerf.open_preview", icon="IMAGE_DATA", text="Open Preview")
    if made.run is not None:
        layout.label(text=str(made.run), icon="FILE_FOLDER")


def _draw_outcome(layout: bpy.types.UILayout, made: Radiographs, width: int) -> None:
    if made.text:
        icon = {"failed": "ERROR", "cancelled": "CANCEL"}.get(made.phase, "CHECKMARK")
        core_box.labels(layout, made.text, icon, width)
    for warning in made.warnings[:WARNED]:
        core_box.labels(layout, warning, "ERROR", width)
    if len(made.warnings) > WARNED:
        layout.label(text=f"and {len(made.warnings) - WARNED} more", icon="BLANK1")


def _draw_trouble(layout: bpy.types.UILayout, context: bpy.types.Context, width: int) -> None:
    """How large the subject is, and what is wrong with the rig."""
    scene = context.scene
    now = overlay.state(scene, context.view_layer)
    if not now.points:
        core_box.labels(layout, subject.NOTHING, "INFO", width)
        return
    size = " x ".join(f"{100.0 * side * materials.metres_per_unit(scene):.3g}" for side in now.size)
    layout.label(text=f"{size} cm", icon="ARROW_LEFTRIGHT")
    if now.trouble:
        core_box.labels(layout, now.trouble, "ERROR", width)
    elif now.cut:
        core_box.labels(layout, f"{now.cut / now.points:.0%} of the subject is cut off in some view", "ERROR", width)


def _draw_lengths(layout: bpy.types.UILayout, scene: bpy.types.Scene, beam: ConeBeam) -> None:
    def told(length: float) -> str:
        return f"{100.0 * length * materials.metres_per_unit(scene):.4g} cm"

    width, height = beam.detector
    draw_rows(
        layout,
        [
            ("Source to Axis", told(beam.source_axis)),
            ("Source to Detector", told(beam.source_detector)),
            ("Detector", f"{told(width)[:-3]} x {told(height)}"),
        ],
    )


def _told(item: bpy.types.Object) -> str:
    if is_ct(item):
        return "CT"
    settings = item.nerf_xray
    if settings.material == "NONE":
        return "by its materials"
    if settings.material == "CUSTOM":
        return f"{settings.attenuation:.4g} / cm"
    return settings.bl_rna.properties["material"].enum_items[settings.material].name


CLASSES = (
    NERF_PT_xray,
    NERF_PT_xray_subject,
    NERF_PT_xray_rig,
    NERF_PT_xray_pictures,
    NERF_PT_xray_results,
    NERF_PT_xray_object,
    NERF_PT_xray_material,
)
