"""Switch the scene to the render engine "NeRF Toolkit"."""

from typing import ClassVar

import bpy

from ..engine.engine import ID


class NERF_OT_use_engine(bpy.types.Operator):
    """Choose the render engine "NeRF Toolkit" for this scene."""

    bl_idname = "nerf.use_engine"
    bl_label = "Render with NeRF Toolkit"
    bl_description = "Choose the render engine NeRF Toolkit: F12 and the viewport's Rendered mode show the NeRFs"
    bl_options: ClassVar[set[str]] = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a scene with another engine."""
        if context.scene.render.engine == ID:
            cls.poll_message_set("The scene's render engine is NeRF Toolkit already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set the engine."""
        context.scene.render.engine = ID
        return {"FINISHED"}


CLASSES = (NERF_OT_use_engine,)
