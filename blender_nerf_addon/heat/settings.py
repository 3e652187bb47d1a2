"""What a person chooses about heat maps in an Image Editor; kept in the .blend as `scene.nerf.heat`."""

import bpy
from bpy.props import BoolProperty, EnumProperty, PointerProperty

from ..vendor.nerf_core.contract.heat import HEAT_MAPS
from . import picture

ITEMS = tuple((kind.name.upper(), kind.label, kind.about) for kind in HEAT_MAPS)


def _show(self: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    picture.choose(self.map.lower())


class NERF_PG_heat(bpy.types.PropertyGroup):
    """Which map is shown."""

    map: EnumProperty(
        name="Heat Map", description="Which map the image 'NeRF Heat Map' shows", items=ITEMS, update=_show
    )
    against: EnumProperty(
        name="Against",
        description="What errors are measured against, here and in renders",
        items=(
            ("AUTO", "Data or Full", "The data set's view where the camera is one of its cameras, else full sampling"),
            ("FULL", "Full Sampling", "The run's own full sampling, always: what the sampler alone loses"),
        ),
        default="AUTO",
    )
    keep_scale: BoolProperty(
        name="Keep Scale",
        description="Colour the next maps on the scales of those that are shown, so that they can be compared",
        default=False,
    )
    image: PointerProperty(type=bpy.types.Image, name="Image", description="What shows them")


CLASSES = (NERF_PG_heat,)
