"""The wipe's line in the Image Editor, which can be dragged: a gizmo, so that no tool takes the mouse from it."""

from typing import ClassVar

import bpy
import gpu
from gpu_extras.batch import batch_for_shader

from . import compare

REACH = 9.0  # pixels to either side of the line in which the mouse takes it
HANDLE = 7.0


class NERF_GT_wipe_line(bpy.types.Gizmo):
    """A line from the picture's lower to its upper edge."""

    bl_idname = "NERF_GT_wipe_line"
    __slots__ = ("before",)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it dark in light, and a handle in its middle."""
        x, low, high = _line(context)
        middle = 0.5 * (low + high)
        scale = context.preferences.system.ui_scale
        size = HANDLE * scale
        handle = [(x - size, middle), (x, middle + size), (x + size, middle), (x, middle - size)]
        shader = gpu.shader.from_builtin("UNIFORM_COLOR")
        gpu.state.blend_set("ALPHA")
        for half, color in ((2.0 * scale, (0.0, 0.0, 0.0, 0.6)), (0.75 * scale, (1.0, 1.0, 1.0, 1.0))):
            shader.uniform_float("color", color)
            grown = half / (0.75 * scale)
            strip = [(x - half, low), (x + half, low), (x - half, high), (x + half, high)]
            batch_for_shader(shader, "TRI_STRIP", {"pos": strip}).draw(shader)
            corners = [
                (x + (px - x) * (1 + 0.12 * grown), middle + (py - middle) * (1 + 0.12 * grown)) for px, py in handle
            ]
            order = [corners[0], corners[1], corners[3], corners[2]]
            batch_for_shader(shader, "TRI_STRIP", {"pos": order}).draw(shader)
        gpu.state.blend_set("NONE")

    def test_select(self, context: bpy.types.Context, location: tuple[int, int]) -> int:
        """Whether the mouse is on it: 0, or -1."""
        x, low, high = _line(context)
        reach = REACH * context.preferences.system.ui_scale
        return 0 if abs(location[0] - x) <= reach and low <= location[1] <= high else -1

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Take it."""
        self.before = context.scene.nerf.experiment.split
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event, _tweak: set[str]) -> set[str]:
        """Follow the mouse."""
        x, _ = context.region.view2d.region_to_view(event.mouse_region_x, event.mouse_region_y)
        context.scene.nerf.experiment.split = min(1.0, max(0.0, x))
        context.area.tag_redraw()
        return {"RUNNING_MODAL"}

    def exit(self, context: bpy.types.Context, cancel: bool) -> None:
        """Put it back where it was taken, when that was cancelled."""
        if cancel:
            context.scene.nerf.experiment.split = self.before


class NERF_GGT_wipe(bpy.types.GizmoGroup):
    """The line, while an Image Editor shows the wipe."""

    bl_idname = "NERF_GGT_wipe"
    bl_label = "NeRF Wipe"
    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "WINDOW"
    bl_options: ClassVar[set[str]] = {"PERSISTENT", "SHOW_MODAL_ALL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs the comparison's image, and the wipe chosen."""
        shown = compare.which(getattr(context.space_data, "image", None)) == "BOTH"
        return shown and context.scene.nerf.experiment.shown == "WIPE"

    def setup(self, _context: bpy.types.Context) -> None:
        """Make it."""
        line = self.gizmos.new(NERF_GT_wipe_line.bl_idname)
        line.use_draw_modal = True


def _line(context: bpy.types.Context) -> tuple[float, float, float]:
    """The line's x, and its lower and upper end, in the region's pixels."""
    view = context.region.view2d
    x, low = view.view_to_region(context.scene.nerf.experiment.split, 0.0, clip=False)
    _, high = view.view_to_region(0.0, 1.0, clip=False)
    return x, low, high


CLASSES = (NERF_GT_wipe_line, NERF_GGT_wipe)
