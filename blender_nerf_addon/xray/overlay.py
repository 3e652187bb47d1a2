"""The rig in 3D viewports: when it is drawn, and made anew when settings or the subject have changed."""

from dataclasses import dataclass
from typing import Any

import bpy
import gpu
import numpy as np

from ..inspect import drawing
from ..inspect.overlay import pixel_scale
from ..vendor.nerf_core.contract.errors import NerfError
from . import rig as rigs
from . import shapes, subject
from .rig import Rig


@dataclass(frozen=True)
class State:
    """What is drawn, and what the panel says of it.

    Attributes
    ----------
    key : tuple
        What it was made for.
    rig : Rig or None
        None where there is nothing to see.
    cut : int
        How many of the subject's points some view does not show.
    points : int
        Of how many; 0 where nothing attenuates.
    names : tuple of str
        Of the subject's objects.
    size : (3,) array
        Extent of the subject.
    trouble : str
        Why there is no rig, or what is wrong with it; empty where nothing is.
    marks : (N, 3) array
        The points that are cut off.
    """

    key: tuple[Any, ...]
    rig: Rig | None
    cut: int
    points: int
    names: tuple[str, ...]
    size: np.ndarray
    trouble: str
    marks: np.ndarray


_state: State | None = None
_batches: tuple[tuple[Any, ...], drawing.Batch | None, drawing.Batch | None] | None = None
_handle: Any = None


def state(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> State:
    """The rig as the settings and the scene are now; cheap enough for drawing."""
    global _state
    found, revision = subject.known(scene, layer)
    key = (scene.session_uid, revision, _settings_key(scene))
    if _state is None or _state.key != key:
        _state = _made(scene, found, key)
    return _state


def _made(scene: bpy.types.Scene, found: subject.Subject | None, key: tuple[Any, ...]) -> State:
    nothing = np.empty((0, 3), dtype=np.float32)
    if found is None:
        return State(key, None, 0, 0, (), np.zeros(3), "", nothing)
    try:
        rig = rigs.make_rig(scene, found)
    except NerfError as error:
        return State(key, None, 0, len(found.points), found.names, found.size, str(error), nothing)
    trouble = rigs.collision(rig, found)
    cut = rigs.cut_off(found.points, rig) if not trouble else np.zeros(len(found.points), dtype=bool)
    return State(key, rig, int(cut.sum()), len(found.points), found.names, found.size, trouble, found.points[cut])


def _settings_key(scene: bpy.types.Scene) -> tuple[Any, ...]:
    settings = scene.nerf_xray
    names = ("rig", "source_axis", "source_detector", "views", "val_views", "start", "arc")
    center = settings.isocentre
    return (
        *(getattr(settings, name) for name in names),
        tuple(settings.detector),
        tuple(settings.pixels),
        None if center is None else tuple(center.matrix_world.translation),
        scene.unit_settings.system,
        scene.unit_settings.scale_length,
    )


def _draw() -> None:
    global _batches
    context = bpy.context
    scene, space = context.scene, context.space_data
    if not scene.nerf_xray.show_rig or space is None or not space.overlay.show_overlays:
        return
    now = state(scene, context.view_layer)
    if now.rig is None:
        return
    key = (now.key, scene.nerf_xray.shown_view)
    if _batches is None or _batches[0] != key:
        made = shapes.build(now.rig, scene.nerf_xray.shown_view, now.marks)
        _batches = (key, drawing.band_batch(made.lines), drawing.disc_batch(made.discs))
    region = context.region
    size, matrix = (region.width, region.height), context.region_data.perspective_matrix
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_mask_set(False)
    gpu.state.depth_test_set("LESS_EQUAL")
    try:
        drawing.draw(_batches[1], matrix, size, pixel_scale())
        gpu.state.depth_test_set("NONE")
        drawing.draw(_batches[2], matrix, size, pixel_scale())
    finally:
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")


def register() -> None:
    """Draw from now on, where that is wanted."""
    global _handle
    if not bpy.app.background:
        _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")


def unregister() -> None:
    """Draw no longer."""
    global _handle, _state, _batches
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    _handle = _state = _batches = None
