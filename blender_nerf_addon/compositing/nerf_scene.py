"""The scene that the NeRF is rendered in, for compositing: its set is the person's scene, its engine NeRF Toolkit."""

from typing import Any

import bpy

from .. import compat_compositor as compat
from ..importers.point_display import KIND_KEY
from .merge import KIND

ENGINE = "NERF_TOOLKIT"
# What must be the same in both scenes for their pictures to fit.
_SCENE = ("camera", "frame_start", "frame_end", "frame_step")
_RENDER = (
    "resolution_x",
    "resolution_y",
    "resolution_percentage",
    "pixel_aspect_x",
    "pixel_aspect_y",
    "use_border",
    "use_crop_to_border",
    "border_min_x",
    "border_max_x",
    "border_min_y",
    "border_max_y",
    "fps",
    "fps_base",
    "use_motion_blur",
    "motion_blur_shutter",
    "motion_blur_position",
)


def make(scene: bpy.types.Scene) -> bpy.types.Scene:
    """A new scene that shows the same NeRFs to the same camera."""
    made = scene.copy()
    made.name = f"{scene.name} NeRF"
    made[KIND_KEY] = KIND
    for item in list(made.collection.objects):
        made.collection.objects.unlink(item)
    for child in list(made.collection.children):
        made.collection.children.unlink(child)
    # Objects that join the scene later are in it as well.
    made.background_set = scene
    made.render.engine = ENGINE
    made.render.film_transparent = True
    compat.forget_tree(made)
    made.render.use_compositing = made.render.use_sequencer = False
    for layer in list(made.view_layers)[1:]:
        made.view_layers.remove(layer)
    layer = made.view_layers[0]
    layer.use, layer.use_pass_z = True, True
    return made


def follow(made: bpy.types.Scene, scene: bpy.types.Scene) -> None:
    """Give it the person's scene's camera, times and size."""
    _copy(made, scene, _SCENE)
    _copy(made.render, scene.render, _RENDER)


def renew_markers(made: bpy.types.Scene, scene: bpy.types.Scene) -> None:
    """Give it the person's scene's markers, which may switch cameras."""
    made.timeline_markers.clear()
    for marker in scene.timeline_markers:
        made.timeline_markers.new(marker.name, frame=marker.frame).camera = marker.camera


def _copy(target: Any, source: Any, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(source, name)
        if getattr(target, name) != value:  # setting it tells all of Blender
            setattr(target, name, value)
