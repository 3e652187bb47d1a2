"""Showing a story in a window: in a workspace of its own, so that the person's own viewports stay as they are."""

import bpy

from ..importers.point_display import KIND_KEY
from .keys import KIND

NAME = "NeRF Explained"
TICK, TRIES = 0.1, 50
ZOOM, ASIDE = 12.0, 0.09  # of the camera's view in the viewport: its picture is large, and beside the sidebar


def show(scene: bpy.types.Scene, window: bpy.types.Window) -> None:
    """Go to the story's workspace, which is a copy of the present one, and to its scene.

    Parameters
    ----------
    scene : Scene
    window : Window
    """
    space = next((each for each in bpy.data.workspaces if each.get(KIND_KEY) == KIND), None)
    if space is None:
        before = set(bpy.data.workspaces)
        with bpy.context.temp_override(window=window):
            bpy.ops.workspace.duplicate()
        made = set(bpy.data.workspaces) - before
        if not made:
            window.scene = scene
            return
        space = made.pop()
        space.name, space[KIND_KEY] = NAME, KIND
    window.workspace = space
    window.scene = scene
    _dress(space)
    tries = iter(range(TRIES))

    def settle() -> float | None:
        """Blender changes the workspace when it comes to it; only then can an editor be told to show all."""
        try:
            if window.workspace == space and window.scene == scene:
                _dress(space)
                _show_all(window)
                return None
        except ReferenceError:  # the file is gone
            return None
        return TICK if next(tries, None) is not None else None

    bpy.app.timers.register(settle, first_interval=TICK)


def _dress(space: bpy.types.WorkSpace) -> None:
    for area in (area for screen in space.screens for area in screen.areas if area.type == "VIEW_3D"):
        view = area.spaces.active
        view.shading.type = "RENDERED"  # by Workbench, as the scene is set: what the video shows
        view.overlay.show_overlays = False
        view.show_gizmo = False
        view.show_region_toolbar = False  # in a narrow viewport it would lie on the picture
        if view.region_3d is not None:
            view.region_3d.view_perspective = "CAMERA"
            view.region_3d.view_camera_zoom = ZOOM
            view.region_3d.view_camera_offset = (ASIDE, 0.0)


def _show_all(window: bpy.types.Window) -> None:
    """The whole story in the timeline."""
    for area in window.screen.areas:
        region = next((region for region in area.regions if region.type == "WINDOW"), None)
        if area.type == "DOPESHEET_EDITOR" and region is not None:
            with bpy.context.temp_override(window=window, area=area, region=region):
                if bpy.ops.action.view_all.poll():
                    bpy.ops.action.view_all()
