"""What a person chooses about the render engine; kept in the .blend as `scene.nerf_engine`."""

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, PointerProperty

from ..inspect.settings import SAMPLERS, sampler_request
from ..vendor.nerf_core.contract.heat import heat_kind


def _redraw(_group: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def _heat(name: str) -> Any:
    kind = heat_kind(name)
    return BoolProperty(name=kind.label, description=f"A pass: {kind.about}", default=False)


class NERF_PG_engine(bpy.types.PropertyGroup):
    """How the engine "NeRF Toolkit" renders."""

    samples: IntProperty(
        name="Samples",
        description="Rays a pixel; 1 is the ray through its centre, more smooth edges and fine detail",
        default=1,
        min=1,
        soft_max=64,
        max=4096,
    )
    blur_samples: IntProperty(
        name="Blur Samples",
        description="Rays a pixel at least where there is depth of field or motion blur",
        default=16,
        min=1,
        soft_max=256,
        max=4096,
    )
    motion_steps: IntProperty(
        name="Motion Steps",
        description="Moments of the shutter time at which cameras and objects are looked at",
        default=5,
        min=2,
        soft_max=17,
        max=65,
    )
    seed: IntProperty(name="Seed", description="Same seed, same noise", default=0, min=0)
    depth: EnumProperty(
        name="Depth",
        items=(
            ("Z", "Along Axis", "Along the viewing axis, as the Depth pass of Cycles, EEVEE and Workbench has it"),
            ("DISTANCE", "Distance", "The distance from the camera"),
        ),
        default="Z",
    )
    use_opacity: BoolProperty(
        name="Opacity", description="A pass with the alpha of the NeRF alone, without the world", default=True
    )
    use_line_integral: BoolProperty(
        name="Line Integral",
        description="A pass with the line integrals of attenuation, for NeRFs that were trained on radiographs",
        default=False,
    )
    use_sample_count: _heat("sample_count")
    use_captured_weight: _heat("captured_weight")
    use_depth_error: _heat("depth_error")
    use_colour_error: _heat("colour_error")
    sampler: EnumProperty(
        name="Sampler",
        description="What places the samples along rays: in renders, the viewport and heat maps",
        items=[item for item in SAMPLERS if item[0] != "ORACLE"],
        default="TRAINED",
        update=_redraw,
    )
    sampler_samples: IntProperty(
        name="Samples a Ray",
        description="Full evaluations of the field that the sampler may make a ray; 0 is its own choice",
        default=0,
        min=0,
        max=4096,
        soft_max=256,
        update=_redraw,
    )
    viewport_show: EnumProperty(
        name="Show",
        description="What the viewport shows of the NeRFs",
        items=(
            ("COLOUR", "Colour", "What a render shows"),
            ("SAMPLE_COUNT", "Sample Count", heat_kind("sample_count").about),
            ("CAPTURED_WEIGHT", "Captured Weight", heat_kind("captured_weight").about),
            ("DEPTH", "Depth", "How far away what is seen lies along the viewing axis; near is bright"),
        ),
        default="COLOUR",
        update=_redraw,
    )
    viewport_training: BoolProperty(
        name="Follow Training", description="Show the viewport's NeRF as its training goes on", default=True
    )
    show_meshes: BoolProperty(
        name="Show Meshes",
        description="Show the scene's meshes among the NeRFs in the viewport, simply shaded; F12 renders NeRFs only",
        default=False,  # what a NeRF was trained on stands in its place
        update=_redraw,
    )


def render_sampler(scene: bpy.types.Scene) -> dict[str, Any] | None:
    """The sampler that pictures are rendered with, as a request has it; None: what each run was trained with."""
    settings = scene.nerf_engine
    return sampler_request(settings.sampler, settings.sampler_samples)


def draw_sampler(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Draw the sampler and how many samples it may take."""
    column = layout.column()
    column.prop(settings, "sampler")
    if settings.sampler != "TRAINED":
        column.prop(settings, "sampler_samples")


CLASSES = (NERF_PG_engine,)


def register() -> None:
    """Put the group on every scene."""
    bpy.types.Scene.nerf_engine = PointerProperty(type=NERF_PG_engine)


def unregister() -> None:
    """Take it away; what was set stays in the file."""
    del bpy.types.Scene.nerf_engine
