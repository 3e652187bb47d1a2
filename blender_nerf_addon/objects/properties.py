"""`object.nerf`: what makes an empty a NeRF, kept in the .blend with the object and every copy of it."""

import bpy
from bpy.props import BoolProperty, FloatVectorProperty, PointerProperty, StringProperty

from .. import compat

_IDENTITY = tuple(float(row == column) for row in range(4) for column in range(4))
_OVERRIDABLE = {"LIBRARY_OVERRIDABLE"}  # on a linked NeRF, once Blender's library override is made


def _may_crop(self: bpy.types.PropertyGroup, item: bpy.types.Object) -> bool:
    return item.type == "EMPTY" and item != self.id_data


def _changed(self: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    self.id_data.update_tag()  # a property of ours alone does not make Blender evaluate the object again


class NERF_PG_object(bpy.types.PropertyGroup):
    """Which run an empty shows, where that was trained, and what of it is shown."""

    is_nerf: BoolProperty(name="NeRF", description="This empty shows a trained NeRF")
    run_folder: StringProperty(
        name="Run Folder",
        description="The trained run; relative to the .blend file once that is saved",
        subtype="DIR_PATH",
        options=compat.path_options(),
        override=_OVERRIDABLE,
        update=_changed,
    )
    last_place: StringProperty(
        name="Last Place", description="Where the run lay when the .blend file was last saved", options={"HIDDEN"}
    )
    run_id: StringProperty(name="Run Id", description="The run's own id, by which it is found again")
    rest: FloatVectorProperty(
        name="Rest", description="Local to training world, 4x4 row by row", size=16, default=_IDENTITY
    )
    crop: PointerProperty(
        type=bpy.types.Object,
        name="Crop Box",
        description="Only what is inside this cube empty is shown; it can be moved, turned, scaled and keyframed",
        poll=_may_crop,
        override=_OVERRIDABLE,
        update=_changed,
    )
    use_box: BoolProperty(
        name="Only Inside Its Box",
        description="Show nothing outside the box that the NeRF was trained for",
        override=_OVERRIDABLE,
        update=_changed,
    )


CLASSES = (NERF_PG_object,)


def register() -> None:
    """Put the group on every object."""
    bpy.types.Object.nerf = PointerProperty(type=NERF_PG_object, override=_OVERRIDABLE)


def unregister() -> None:
    """Take it away; what was set stays in the file."""
    del bpy.types.Object.nerf
