"""Where the core lives, which device it takes and where runs go."""

import bpy
from bpy.props import EnumProperty, StringProperty

from . import compat
from .jobs.settings import DEVICES


def _interpreter_changed(_self: bpy.types.AddonPreferences, _context: bpy.types.Context) -> None:
    from .jobs import core

    core.interpreter_changed()


class NERF_AP_preferences(bpy.types.AddonPreferences):
    """The add-on's preferences."""

    bl_idname = __package__

    interpreter: StringProperty(
        name="Own Python",
        description="A Python 3.11 or newer that has the core's packages; empty: the one that Set Up Core makes",
        subtype="FILE_PATH",
        update=_interpreter_changed,
    )
    device: EnumProperty(name="Device", description="What the core computes on", items=DEVICES, default="AUTO")
    default_folder: StringProperty(
        name="Runs Folder",
        description="Where new runs go; empty: a folder 'nerf' beside the .blend file",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the core's state first: without it nothing trains."""
        from .ui import core_box

        core_box.draw(self.layout)
        column = self.layout.column()
        column.use_property_split = True
        column.prop(self, "device")
        column.prop(self, "default_folder", placeholder="Beside the .blend file")
        column.prop(self, "interpreter", placeholder="The Python that Set Up Core makes")


CLASSES = (NERF_AP_preferences,)
