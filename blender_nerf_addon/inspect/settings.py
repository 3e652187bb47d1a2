"""What a person chooses about the inspector: `scene.nerf.inspector`, kept in the .blend."""

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty

from .state import MAX_RAYS

SAMPLERS = (
    ("TRAINED", "As Trained", "The sampler that the run was trained with"),
    ("UNIFORM", "Uniform", "Evenly along the ray, one in each stretch"),
    ("HIERARCHICAL", "Hierarchical", "Where a coarse pass found matter: the 2020 paper's"),
    ("OCCUPANCY", "Occupancy", "In occupied cells, until the ray is opaque"),
    ("PROPOSAL", "Proposal", "Where a small proposal network found matter"),
    ("SURFACE", "Surface", "On the surface: a few, placed by a baked shell"),
    ("ORACLE", "Oracle", "At the true depth, where that is known: an upper bound"),
)
PATCH_SIDE = int(MAX_RAYS**0.5)

# Called with the context after a change: what traces anew, and what only draws anew.
on_change: dict[str, Callable[[bpy.types.Context], None]] = {}


def _retrace(_self: Any, context: bpy.types.Context) -> None:
    if "trace" in on_change:
        on_change["trace"](context)


def _redraw(_self: Any, context: bpy.types.Context) -> None:
    if "draw" in on_change:
        on_change["draw"](context)


def _samples(which: str) -> Any:
    return IntProperty(
        name="Samples",
        description=f"Full evaluations of the field that {which} sampler's last stage may make a ray; 0 is its own "
        "choice",
        default=0,
        min=0,
        max=4096,
        soft_max=256,
        update=_retrace,
    )


def _shown(name: str, description: str, default: bool = True) -> Any:
    return BoolProperty(name=name, description=description, default=default, update=_redraw)


class NERF_PG_inspector(bpy.types.PropertyGroup):
    """Which rays are looked at, by which samplers, and what is shown of them."""

    sampler: EnumProperty(
        name="Sampler", description="What places the samples", items=SAMPLERS, default="TRAINED", update=_retrace
    )
    samples: _samples("the")
    compare: BoolProperty(
        name="Compare With", description="Show the same rays under a second sampler beside", update=_retrace
    )
    sampler_b: EnumProperty(
        name="Second Sampler", description="What is compared with", items=SAMPLERS, default="UNIFORM", update=_retrace
    )
    samples_b: _samples("the second")
    patch: IntProperty(
        name="Patch",
        description=f"Side of the square of pixels whose rays are shown: 1 is one ray, {PATCH_SIDE} are {MAX_RAYS}",
        default=1,
        min=1,
        max=PATCH_SIDE,
        update=_retrace,
    )
    spacing: IntProperty(
        name="Spacing",
        description="Pixels from one ray of the patch to the next",
        default=2,
        min=1,
        max=256,
        update=_retrace,
    )
    show_bins: _shown("Bins", "The stretches that the first stage found, coloured by their weight")
    show_samples: _shown("Samples", "Each sample: its size is its weight, its fill the colour that the field gave it")
    show_strip: _shown("Strip", "Transmittance and accumulated colour, alongside the ray")
    show_skipped: _shown("Skipped", "Stretches that were passed over because nothing is there, dashed")
    show_depths: _shown("Depths", "Expected, median and true depth")
    show_box: _shown("Box", "The box that the NeRF was trained for, and where the ray enters and leaves it")
    show_legend: _shown("Legend", "Colours, costs and the ray from its side, in the view's corner")
    xray: _shown("X-Ray", "Show what objects hide, too")
    size: FloatProperty(name="Size", description="Of samples and lines", default=1.0, min=0.25, max=4.0, update=_redraw)


def sampler_request(name: str, samples: int) -> dict[str, Any] | None:
    """A choice of these settings as the `trace` request has it; None: what the run was trained with.

    The number of samples alone can be chosen of a sampler that is named.
    """
    if name == "TRAINED":
        return None
    return {"name": name.lower(), "samples": samples or None}


CLASSES = (NERF_PG_inspector,)
