"""The live preview's place on the screen: put into empty Image Editors by itself, opened in a window on request."""

from collections.abc import Iterator
from typing import Any

import bpy

from ..importers.images import PREVIEW_KEY
from ..vendor.nerf_core.contract.errors import NerfError
from . import common

FIT_SECONDS = 0.3  # a new window has its size by then

_shown_for: Any = None


def show_once(image: bpy.types.Image, shown_for: object) -> None:
    """At the first preview of a training, let Image Editors that show nothing show it; later ones stay as they are.

    Parameters
    ----------
    image : Image
    shown_for : object
        The training.
    """
    global _shown_for
    if shown_for is _shown_for:
        return
    _shown_for = shown_for
    for _window, area in _image_editors():
        if area.spaces.active.image is None:
            area.spaces.active.image = image


class NERF_OT_open_preview(bpy.types.Operator):
    """Show the live preview in an Image Editor: an open one that is empty, or one in a new window."""

    bl_idname = "nerf.open_preview"
    bl_label = "Open Preview"
    bl_description = "Show the live preview in an Image Editor: an open one that is empty, or one in a new window"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a preview."""
        if find_preview() is None:
            cls.poll_message_set("There is no preview yet")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Find an Image Editor for it, or open a window with one."""
        image = find_preview()
        if image is None:
            raise NerfError("There is no preview yet: train with Live Preview turned on.")
        if bpy.app.background or context.window is None:
            raise NerfError("Blender has no window to open the preview in.")
        if not open_image(context, image):
            self.report({"INFO"}, f"An Image Editor shows '{image.name}' already")
        return {"FINISHED"}


def open_image(context: bpy.types.Context, image: bpy.types.Image) -> bool:
    """Show an image in an Image Editor that is empty, or in a new window; False when one shows it already."""
    editors = list(_image_editors())
    if any(area.spaces.active.image == image for _window, area in editors):
        return False
    area = next((area for _window, area in editors if area.spaces.active.image is None), None)
    if area is None:
        area = new_window(context)
        area.ui_type = "IMAGE_EDITOR"
    area.spaces.active.image = image
    area.tag_redraw()
    fit(area)
    return True


def fit(area: bpy.types.Area) -> None:
    """Have an Image Editor show all of its image, as large as fits, when Blender has laid the editor out."""
    place = area.as_pointer()

    def zoom() -> None:
        for window, each in _image_editors():
            region = next((region for region in each.regions if region.type == "WINDOW"), None)
            if each.as_pointer() == place and region is not None:
                with bpy.context.temp_override(window=window, area=each, region=region):
                    if bpy.ops.image.view_all.poll():
                        bpy.ops.image.view_all(fit_view=True)

    bpy.app.timers.register(zoom, first_interval=FIT_SECONDS)


def find_preview() -> bpy.types.Image | None:
    """The image that live previews go to, whatever its name is by now."""
    return next((image for image in bpy.data.images if image.get(PREVIEW_KEY)), None)


def _image_editors() -> Iterator[tuple[bpy.types.Window, bpy.types.Area]]:
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.ui_type == "IMAGE_EDITOR":  # not the UV Editor, which is of the same type
                yield window, area


def new_window(context: bpy.types.Context) -> bpy.types.Area:
    """The one area of a new window; its kind is up to the caller."""
    before = {window.as_pointer() for window in context.window_manager.windows}
    bpy.ops.wm.window_new()
    for window in context.window_manager.windows:
        if window.as_pointer() not in before:
            return window.screen.areas[0]
    raise NerfError("Blender opened no new window for that; turn an area into the editor that you want instead.")


CLASSES = (NERF_OT_open_preview,)


def unregister() -> None:
    """Forget which training was shown."""
    global _shown_for
    _shown_for = None
