"""The render engine's panels in the Properties editor, and Blender's own panels that apply to it too."""

from collections.abc import Iterator
from typing import ClassVar

import bpy

from ..engine.engine import ID
from ..engine.settings import draw_sampler
from ..vendor.nerf_core.contract.heat import HEAT_NAMES

# Panels of Blender that say nothing to this engine, though they do to most.
_NOT_OURS = ("freestyle", "gpencil", "greasepencil", "stereoscopy", "output_views", "texture")
# Panels of other engines that say just what this one needs.
_BORROWED = (
    "DATA_PT_camera_dof",
    "DATA_PT_camera_dof_aperture",
    "EEVEE_WORLD_PT_surface",
    "DATA_PT_light",
    "DATA_PT_EEVEE_light",
    "EEVEE_MATERIAL_PT_context_material",
    "EEVEE_MATERIAL_PT_surface",
    "MATERIAL_PT_preview",
)


class _Panel:
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    COMPAT_ENGINES: ClassVar[set[str]] = {ID}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only with this engine."""
        return context.engine in cls.COMPAT_ENGINES


class _RenderPanel(_Panel):
    bl_context = "render"


class NERF_PT_engine_sampling(_RenderPanel, bpy.types.Panel):
    """How many rays."""

    bl_label = "Sampling"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings."""
        layout = _split(self.layout)
        settings = context.scene.nerf_engine
        layout.prop(settings, "samples", text="Rays a Pixel")
        draw_sampler(layout, settings)
        layout.prop(settings, "blur_samples")
        layout.prop(settings, "seed")
        layout.prop(settings, "viewport_training")
        layout.prop(settings, "show_meshes")


class NERF_PT_engine_motion_blur(_RenderPanel, bpy.types.Panel):
    """Motion of the camera and of NeRF objects."""

    bl_label = "Motion Blur"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    def draw_header(self, context: bpy.types.Context) -> None:
        """Draw the check box."""
        self.layout.prop(context.scene.render, "use_motion_blur", text="")

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings."""
        layout = _split(self.layout)
        render = context.scene.render
        layout.active = render.use_motion_blur
        layout.prop(render, "motion_blur_position", text="Position")
        layout.prop(render, "motion_blur_shutter")
        layout.prop(context.scene.nerf_engine, "motion_steps")


class NERF_PT_engine_film(_RenderPanel, bpy.types.Panel):
    """What is behind the NeRFs."""

    bl_label = "Film"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings."""
        _split(self.layout).prop(context.scene.render, "film_transparent", text="Transparent")


class NERF_PT_engine_passes(_Panel, bpy.types.Panel):
    """What is rendered beside the picture."""

    bl_label = "Passes"
    bl_context = "view_layer"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the check boxes."""
        layout = _split(self.layout)
        layer, settings = context.view_layer, context.scene.nerf_engine
        column = layout.column(heading="Include", align=True)
        column.prop(layer, "use_pass_z", text="Depth")
        column.prop(layer, "use_pass_normal", text="Normal")
        column.prop(settings, "use_opacity")
        column.prop(settings, "use_line_integral")
        row = layout.row()
        row.active = layer.use_pass_z
        row.prop(settings, "depth", text="Depth Is")
        column = layout.column(heading="Heat Maps", align=True)
        for name in HEAT_NAMES:
            column.prop(settings, f"use_{name}")
        row = layout.row()
        row.active = settings.use_depth_error or settings.use_colour_error
        row.prop(context.scene.nerf.heat, "against")


class NERF_PT_engine(bpy.types.Panel):
    """The way to the engine, beside the NeRF object."""

    bl_label = "Render Engine"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "NeRF"
    bl_parent_id = "NERF_PT_object"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the button that chooses the engine, then what it is for."""
        column = self.layout.column(align=True)
        if context.engine != ID:
            column.operator("nerf.use_engine", icon="SCENE")
            return
        column.operator("render.render", text="Render Image", icon="RENDER_STILL").use_viewport = True
        column.prop_enum(
            context.space_data.shading, "type", "RENDERED", text="Show in Viewport", icon="SHADING_RENDERED"
        )
        column.prop(context.scene.nerf_engine, "show_meshes", toggle=True, icon="MESH_CUBE")
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(context.scene.nerf_engine, "viewport_show")
        draw_sampler(column, context.scene.nerf_engine)


def _split(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    layout.use_property_split = True
    layout.use_property_decorate = False
    return layout


def _blender_panels() -> Iterator[type]:
    """Blender's own panels that apply to this engine."""
    for kind in _subclasses(bpy.types.Panel):
        engines = getattr(kind, "COMPAT_ENGINES", None)
        if not isinstance(engines, set) or not kind.__module__.startswith("bl_ui."):
            continue
        general = "BLENDER_RENDER" in engines and not any(word in kind.__name__ for word in _NOT_OURS)
        if general or kind.__name__ in _BORROWED:
            yield kind


def _subclasses(kind: type) -> Iterator[type]:
    for found in kind.__subclasses__():
        yield found
        yield from _subclasses(found)


CLASSES = (
    NERF_PT_engine,
    NERF_PT_engine_sampling,
    NERF_PT_engine_motion_blur,
    NERF_PT_engine_film,
    NERF_PT_engine_passes,
)


def register() -> None:
    """Have Blender's own panels drawn for this engine too."""
    for kind in _blender_panels():
        kind.COMPAT_ENGINES.add(ID)


def unregister() -> None:
    """No longer."""
    for kind in _subclasses(bpy.types.Panel):
        engines = getattr(kind, "COMPAT_ENGINES", None)
        if isinstance(engines, set) and kind.__module__.startswith("bl_ui."):
            engines.discard(ID)
