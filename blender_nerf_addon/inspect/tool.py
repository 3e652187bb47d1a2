"""The tool "Inspect NeRF" in the toolbars of 3D viewports and Image Editors: press and drag, as with any tool."""

import bpy

_KEYS = (("nerf.inspect_pixel", {"type": "LEFTMOUSE", "value": "PRESS"}, {"properties": [("drag", True)]}),)
_TEXT = "Show the ray of a pixel with every sample on it: press, drag, and let go to pin it"


class NERF_TOOL_inspect_view(bpy.types.WorkSpaceTool):
    """In 3D viewports."""

    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = "nerf.inspect_tool_view"
    bl_label = "Inspect NeRF"
    bl_description = _TEXT
    bl_icon = "ops.paint.weight_sample"
    bl_widget = None
    bl_keymap = _KEYS

    def draw_settings(context, layout, _tool):  # noqa: N805 - Blender calls it so
        """The patch, in the tool's settings."""
        _draw(context, layout)


class NERF_TOOL_inspect_image(bpy.types.WorkSpaceTool):
    """In Image Editors."""

    bl_space_type = "IMAGE_EDITOR"
    bl_context_mode = "VIEW"
    bl_idname = "nerf.inspect_tool_image"
    bl_label = "Inspect NeRF"
    bl_description = _TEXT
    bl_icon = "ops.paint.weight_sample"
    bl_widget = None
    bl_keymap = _KEYS

    def draw_settings(context, layout, _tool):  # noqa: N805 - Blender calls it so
        """The patch, in the tool's settings."""
        _draw(context, layout)


def _draw(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    settings = context.scene.nerf.inspector
    layout.prop(settings, "patch")
    layout.prop(settings, "spacing")
    layout.prop(settings, "sampler")


_TOOLS = (NERF_TOOL_inspect_view, NERF_TOOL_inspect_image)
_registered: list[type] = []


def register() -> None:
    """Add the tools, where there is a window whose toolbar could show them."""
    if bpy.app.background:
        return
    for tool in _TOOLS:
        bpy.utils.register_tool(tool, separator=True)
        _registered.append(tool)


def unregister() -> None:
    """Take them away."""
    while _registered:
        bpy.utils.unregister_tool(_registered.pop())
