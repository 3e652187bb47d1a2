"""The sidebar's panel of the explainer: the button, and the story's export."""

from pathlib import Path
from typing import ClassVar

import bpy

from ..explainer import stage
from ..inspect import state as inspector
from ..objects import chosen
from ..operators import explain


class NERF_PT_explainer(bpy.types.Panel):
    """How this NeRF makes a pixel, as an animated scene."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_parent_id = "NERF_PT_results"
    bl_label = "Explainer"
    bl_order = 50
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run, or a story."""
        return chosen.has_run(context.scene) or stage.find() is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the button, then the export."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.nerf.explainer
        if inspector.current().slots:
            layout.prop(settings, "use_inspected")
        row = layout.row()
        row.scale_y = 1.3
        row.operator("nerf.explain", icon="PLAY")
        made = explain.under_way()
        if made is not None:
            done, total = len(made.pictures), len(made.numbers)
            layout.progress(factor=done / total, text=f"Frame {done} of {total}  (Esc: cancel)")
            return
        if stage.find() is None:
            return
        column = layout.column()
        column.prop(settings, "out", placeholder="The run's renders")
        column.prop(settings, "scale")
        column.operator("nerf.export_story", icon="RENDER_ANIMATION")
        if settings.last:
            layout.label(text=f"Written: {Path(settings.last).name}", icon="CHECKMARK")


CLASSES = (NERF_PT_explainer,)
