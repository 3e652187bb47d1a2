"""Operators of the X-ray rig and its subject: a material for what is selected, a rig of one's own, its cameras."""

import bpy
from bpy.props import EnumProperty

from ..capture import preview
from ..capture.bounds import MESHABLE
from ..capture.plan import CapturePlan
from ..vendor.nerf_core.contract.errors import NerfError
from ..xray import rig as rigs
from ..xray import subject
from ..xray.gather import takes_part
from ..xray.materials import OBJECT_ITEMS


class NERF_OT_xray_set_material(bpy.types.Operator):
    """Make the selected objects of one material to X-rays."""

    bl_idname = "nerf.xray_set_material"
    bl_label = "Set X-Ray Material"
    bl_description = "Make the selected objects attenuate X-rays as a material does"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    material: EnumProperty(name="Material", items=OBJECT_ITEMS, default="SOFT_TISSUE")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs selected objects that may enclose something."""
        if not any(item.type in MESHABLE for item in context.selected_objects):
            cls.poll_message_set("Select meshes, curves, texts or metaballs")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set it on each, and say on how many."""
        chosen = [item for item in context.selected_objects if item.type in MESHABLE]
        for item in chosen:
            item.nerf_xray.material = self.material
        self.report({"INFO"}, f"{len(chosen)} object{'s' if len(chosen) != 1 else ''}")
        return {"FINISHED"}


class NERF_OT_xray_select(bpy.types.Operator):
    """Select all objects that attenuate X-rays."""

    bl_idname = "nerf.xray_select"
    bl_label = "Select Subject"
    bl_description = "Select all objects that attenuate X-rays"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Select them, and nothing else."""
        for item in context.view_layer.objects:
            item.select_set(takes_part(item) or (item.nerf_xray.kind == "CT" and item.nerf_xray.seen))
        return {"FINISHED"}


class NERF_OT_xray_own_rig(bpy.types.Operator):
    """Go on with the rig as it is, with lengths that can be changed."""

    bl_idname = "nerf.xray_own_rig"
    bl_label = "Edit Lengths"
    bl_description = "Take the rig's lengths over as they are, to change them"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Fill in the lengths and choose Custom."""
        scene = context.scene
        settings = scene.nerf_xray
        try:
            beam = rigs.make_rig(scene, subject.find(scene, context.view_layer)).beam
        except NerfError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        settings.source_axis, settings.source_detector = beam.source_axis, beam.source_detector
        settings.detector = beam.detector
        settings.rig = "CUSTOM"
        return {"FINISHED"}


class NERF_OT_xray_cameras(bpy.types.Operator):
    """Make the rig's views camera objects."""

    bl_idname = "nerf.xray_cameras"
    bl_label = "Add Cameras"
    bl_description = (
        "Make the rig's views camera objects in a collection of their own: each sees what its detector sees"
    )
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make or renew them."""
        scene = context.scene
        try:
            found = subject.find(scene, context.view_layer)
            rig = rigs.make_rig(scene, found)
        except NerfError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        plan = CapturePlan(rig.views(), found.bounds, transparent=False, samples=0, denoise=False, engine="")
        count = preview.show(scene, context.view_layer, scene.nerf_xray, plan)
        self.report({"INFO"}, f"{count} cameras in '{scene.nerf_xray.preview_collection.name}'")
        return {"FINISHED"}


class NERF_OT_xray_clear_cameras(bpy.types.Operator):
    """Remove the rig's cameras."""

    bl_idname = "nerf.xray_clear_cameras"
    bl_label = "Clear Cameras"
    bl_description = "Remove the rig's cameras"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there are some."""
        return context.scene.nerf_xray.preview_collection is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove them."""
        preview.clear(context.scene.nerf_xray)
        return {"FINISHED"}


CLASSES = (
    NERF_OT_xray_set_material,
    NERF_OT_xray_select,
    NERF_OT_xray_own_rig,
    NERF_OT_xray_cameras,
    NERF_OT_xray_clear_cameras,
)
