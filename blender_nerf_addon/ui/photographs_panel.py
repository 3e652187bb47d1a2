"""The sidebar's panel of photographs and camera paths: what comes in from elsewhere, and goes out."""

from typing import ClassVar

import bpy

from ..capture.cameras import PROPERTY
from ..jobs import tasks
from ..photographs import build
from . import core_box
from .panels import characters


class NERF_PT_photographs(bpy.types.Panel):
    """Data sets in, camera paths in and out."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_label = "Photographs & Paths"
    bl_order = 50
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the buttons, and what there is to say about the active camera."""
        layout = self.layout
        task = tasks.current()
        if task is not None and task.title == "Import Data Set" and task.running:
            layout.progress(factor=task.fraction, text=task.text)
            layout.operator("nerf.task_cancel", icon="CANCEL")
        elif task is not None and task.title == "Import Data Set" and task.phase == "failed":
            core_box.labels(layout, task.text, "ERROR", characters(context))
        layout.operator("nerf.import_dataset", icon="IMPORT")
        collection = build.find_collection(context.scene)
        if collection is not None and context.scene.nerf.training.data:
            layout.label(text=f"Train trains from {collection.name}", icon="OUTLINER_COLLECTION")
        item = context.active_object
        if item is not None and item.type == "CAMERA" and PROPERTY in item.data:
            layout.operator("nerf.look_through", icon="VIEW_CAMERA", text=f"Look Through {item.name}")
            if item.get(build.NOTE_KEY):
                core_box.labels(layout, item[build.NOTE_KEY], "INFO", characters(context))
        column = layout.column(align=True)
        column.operator("nerf.import_path", icon="IMPORT")
        column.operator("nerf.export_path", icon="EXPORT")


CLASSES = (NERF_PT_photographs,)
