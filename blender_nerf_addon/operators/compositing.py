"""Set up the compositing of the scene with its NeRF, and take it away again."""

import bpy

from ..compositing import setup
from . import common


class NERF_OT_set_up_compositing(bpy.types.Operator):
    """Merge renders of the scene with its NeRF by depth."""

    bl_idname = "nerf.set_up_compositing"
    bl_label = "Set Up Compositing"
    bl_description = (
        "Let renders by Cycles or EEVEE show the scene's NeRF too: what is nearer hides what is behind it. "
        "Your compositing nodes stay; the merge goes in front of their output"
    )
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set up."""
        setup.set_up(context.scene, context.view_layer)
        self.report(
            {"INFO"}, f"Renders show the NeRF too; it is rendered in '{context.scene.nerf.compositing.scene.name}'"
        )
        return {"FINISHED"}


class NERF_OT_remove_compositing(bpy.types.Operator):
    """Let renders of the scene be as they were."""

    bl_idname = "nerf.remove_compositing"
    bl_label = "Remove Compositing"
    bl_description = "Take the NeRF out of the scene's renders: its nodes, its scene, and the settings that it needed"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs something to take away."""
        if context.scene.nerf.compositing.scene is None and not setup.is_set_up(context.scene):
            cls.poll_message_set("Compositing is not set up")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take away."""
        setup.take_away(context.scene)
        return {"FINISHED"}


CLASSES = (NERF_OT_set_up_compositing, NERF_OT_remove_compositing)
