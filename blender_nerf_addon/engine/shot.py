"""What a final render asks the core for: cameras, the NeRFs' places, lens and shutter, as a `render` request."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np

from ..capture.cameras import Frame, camera_from_blender
from ..objects.layers import scene_layers
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from .lens import lens_of
from .settings import render_sampler

NO_NERF = "The scene has no NeRF to render: press Add NeRF to Scene in the sidebar's tab NeRF."
SEEDS = 65536  # a frame's, one for each row

# Sets frame and sub-frame (0 to 1) and evaluates the scene anew.
SetFrame = Callable[[int, float], None]


@dataclass(frozen=True)
class Shot:
    """A picture to ask for, whole or by its rows.

    Attributes
    ----------
    camera : Camera
        Of the picture as Blender wants it: of the border's part, where there is a border.
    shutter : list of Camera
        The camera at moments of the shutter time; empty without motion blur.
    params : dict
        All else of the `render` request.
    """

    camera: Camera
    shutter: list[Camera]
    params: dict[str, Any]

    def rows(self, top: int, count: int) -> dict[str, Any]:
        """The request for `count` rows from row `top` on, counted from the picture's top."""
        # The core's noise begins anew with every request: each part has its own.
        asked = {**self.params, "camera": part_of(self.camera, top, count).to_dict()}
        asked["seed"] += top
        if self.shutter:
            asked["shutter"] = [part_of(camera, top, count).to_dict() for camera in self.shutter]
        return asked


def part_of(camera: Camera, top: int, count: int) -> Camera:
    """The camera that sees only `count` of a camera's rows."""
    return replace(camera, height=count, cy=camera.cy - top)


def shot_of(
    item: bpy.types.Object | None, depsgraph: bpy.types.Depsgraph, set_frame: SetFrame, passes: list[str]
) -> Shot | None:
    """What to ask for, for the scene as it is evaluated; None when its NeRFs are all hidden here and now.

    Parameters
    ----------
    item : Object
        The camera.
    depsgraph : Depsgraph
    set_frame : callable
        For motion blur; the frame is as before afterwards.
    passes : list of str
        Of the contract.

    Raises
    ------
    NerfError
        When the scene has no camera or no NeRF at all, or a NeRF's run is not found.
    """
    if item is None:
        raise NerfError("The scene has no camera: add one, and make it the scene's camera.")
    scene = depsgraph.scene
    settings = scene.nerf_engine
    frame = Frame.of_render(scene.render, with_border=scene.render.use_border)
    camera, layers = _look(item, depsgraph, frame)
    if not layers:
        if not has_nerf(scene.original):
            raise NerfError(NO_NERF)
        return None  # another view layer, or another frame, shows one
    lens = lens_of(item, depsgraph)
    shutter, layers_shutter = _over_time(item, depsgraph, frame, set_frame, layers)
    blurred = lens is not None or bool(shutter)
    params: dict[str, Any] = {
        "layers": layers,
        "samples": max(settings.samples, settings.blur_samples) if blurred else settings.samples,
        "seed": settings.seed + SEEDS * scene.frame_current,
        "color": "linear",
        "depth": "z" if settings.depth == "Z" else "distance",
        "passes": passes,
        "sampler": render_sampler(scene),
        "heat_reference": scene.nerf.heat.against.lower(),
        "clip": True,
    }
    if lens is not None:
        params["lens"] = lens
    if layers_shutter:
        params["layers_shutter"] = layers_shutter
    return Shot(camera, shutter, params)


def has_nerf(scene: bpy.types.Scene) -> bool:
    """Whether a scene has a NeRF object, hidden or not: its own, instanced, or of its background set."""
    seen: set[bpy.types.ID] = set()
    waiting: list[bpy.types.ID] = [scene]
    while waiting:
        owner = waiting.pop()
        if owner in seen:
            continue
        seen.add(owner)
        for item in owner.objects if isinstance(owner, bpy.types.Scene) else owner.all_objects:
            if item.nerf.is_nerf:
                return True
            if item.instance_collection is not None:
                waiting.append(item.instance_collection)
        if isinstance(owner, bpy.types.Scene) and owner.background_set is not None:
            waiting.append(owner.background_set)
    return False


def shutter_times(render: bpy.types.RenderSettings, now: float, steps: int) -> list[float]:
    """The moments of the shutter time, in frames."""
    begin = {"START": 0.0, "CENTER": -0.5, "END": -1.0}[render.motion_blur_position]
    return [now + render.motion_blur_shutter * (begin + step / (steps - 1)) for step in range(steps)]


def _look(item: bpy.types.Object, depsgraph: bpy.types.Depsgraph, frame: Frame) -> tuple[Camera, list[dict[str, Any]]]:
    return camera_from_blender(item, depsgraph, frame), scene_layers(depsgraph)


def _over_time(
    item: bpy.types.Object,
    depsgraph: bpy.types.Depsgraph,
    frame: Frame,
    set_frame: SetFrame,
    now: list[dict[str, Any]],
) -> tuple[list[Camera], list[list[dict[str, Any]]]]:
    """Cameras and layers at the moments of the shutter time; empty where nothing moves."""
    scene = depsgraph.scene
    if not scene.render.use_motion_blur or scene.render.motion_blur_shutter <= 0.0:
        return [], []
    whole, part = scene.frame_current, scene.frame_subframe
    looks = []
    try:
        for time in shutter_times(scene.render, whole + part, scene.nerf_engine.motion_steps):
            set_frame(int(np.floor(time)), float(time - np.floor(time)))
            looks.append(_look(item, depsgraph, frame))
    finally:
        set_frame(whole, part)
    cameras, layers = [camera for camera, _ in looks], [found for _, found in looks]
    if any([each["run"] for each in found] != [each["run"] for each in layers[0]] for found in layers):
        # One that appears within the shutter time has no place in the moments before.
        layers = [layers[len(layers) // 2] or now] * len(layers)
    dicts = [camera.to_dict() for camera in cameras]
    if all(each == dicts[0] for each in dicts) and all(found == layers[0] for found in layers):
        return [], []
    return cameras, layers
