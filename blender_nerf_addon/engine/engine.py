"""The render engine as Blender knows it; what it does is in `final` and `viewport`."""

from typing import Any

import bpy

from . import final, viewport

ID = "NERF_TOOLKIT"


class NERF_RE_engine(bpy.types.RenderEngine):
    """Renders the scene's NeRF objects."""

    bl_idname = ID
    bl_label = "NeRF Toolkit"
    bl_use_preview = False
    bl_use_postprocess = True
    bl_use_eevee_viewport = True  # material preview
    bl_use_shading_nodes_custom = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._view: viewport.View | None = None

    def update_render_passes(self, scene: bpy.types.Scene = None, renderlayer: bpy.types.ViewLayer = None) -> None:
        """Say which passes there are: what the compositor's Render Layers node offers."""
        self.register_pass(scene, renderlayer, "Combined", 4, "RGBA", "COLOR")
        for name, channels, letters, kind in final.wanted_passes(scene, renderlayer):
            self.register_pass(scene, renderlayer, name, channels, letters, kind)

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Render one view layer."""
        final.render(self, depsgraph)

    def view_update(self, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Take up what changed in the scene."""
        self._viewport().scene_changed(depsgraph, context.space_data)

    def view_draw(self, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Draw a viewport in Rendered mode."""
        self._viewport().draw(self, context, depsgraph)

    def _viewport(self) -> viewport.View:
        if self._view is None:
            self._view = viewport.View(self)
        return self._view


CLASSES = (NERF_RE_engine,)
