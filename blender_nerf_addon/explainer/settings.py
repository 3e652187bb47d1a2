"""What a person chooses about the story; kept in the .blend."""

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from .. import compat


class NERF_PG_explainer(bpy.types.PropertyGroup):
    """How a story is made and exported."""

    use_inspected: BoolProperty(
        name="Inspected Pixel",
        description="Tell of the pixel that the inspector shows; without one, or when this is off, one is chosen",
        default=True,
    )
    out: StringProperty(
        name="Video",
        description="The .mp4 that the story is exported to; empty: the run's folder 'renders'",
        subtype="FILE_PATH",
        options=compat.path_options(),
    )
    scale: IntProperty(name="Scale", description="Of 1280 x 720", default=100, min=10, max=300, subtype="PERCENTAGE")
    last: StringProperty(name="Last", description="The last exported video", options=compat.path_options())


CLASSES = (NERF_PG_explainer,)
