"""Sidebar panel: for which programs the captured data set is laid out."""

import bpy

from ..capture.layouts import job


class NERF_PT_layouts(bpy.types.Panel):
    """Layouts, zip, and what is under way."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_label = "For Other Programs"
    bl_parent_id = "NERF_PT_capture"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 9

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the choice and the button, or progress."""
        layout = self.layout
        settings = context.scene.nerf.capture
        column = layout.column(align=True)
        column.active = not job.running()
        column.prop(settings, "layouts", expand=True)
        layout.prop(settings, "use_zip")
        under_way = job.current()
        if job.running():
            layout.progress(factor=under_way.fraction, text=under_way.text)
            layout.operator("nerf.lay_out_cancel", icon="CANCEL")
            return
        layout.operator("nerf.lay_out", icon="EXPORT")
        if under_way is not None and under_way.phase != "done":
            layout.label(text=under_way.text, icon="ERROR" if under_way.phase == "failed" else "INFO")
        for path in under_way.results if under_way is not None else ():
            layout.label(text=str(path), icon="FILE_FOLDER")


CLASSES = (NERF_PT_layouts,)
