"""Sidebar panel: one picture of the scene and the NeRF."""

from typing import ClassVar

import bpy

from ..compositing import setup
from ..objects.create import nerf_objects


class NERF_PT_compositing(bpy.types.Panel):
    """Set up, and take away."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_label = "Compositing"
    bl_order = 40
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a NeRF in the scene."""
        return next(nerf_objects(context.scene), None) is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what there is to do."""
        layout = self.layout
        if setup.is_set_up(context.scene):
            layout.label(text="Renders show the NeRF too", icon="CHECKMARK")
            layout.operator("nerf.set_up_compositing", text="Bring Up to Date", icon="FILE_REFRESH")
            layout.operator("nerf.remove_compositing", icon="X")
        else:
            layout.operator("nerf.set_up_compositing", icon="NODE_COMPOSITING")


CLASSES = (NERF_PT_compositing,)
