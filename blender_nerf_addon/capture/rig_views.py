"""The cameras of the chosen rig as views: from capture settings and bounds to named, split, complete cameras."""

import math
from dataclasses import replace
from typing import Any

import bpy
import numpy as np

from ..importers.point_display import RESULT_KEY
from ..vendor.nerf_core.contract.camera import Camera, look_at
from ..vendor.nerf_core.contract.errors import NerfError
from . import rig_paths, rigs
from .cameras import Frame, camera_from_blender
from .curve_path import curve_chains
from .plan import View, name_views

MARGIN = 0.06  # part of the half picture that stays free around the subject
SPHERICAL = ("SPHERE", "HEMISPHERE", "ORBIT")
EXISTING = ("CAMERAS", "ANIMATION")  # rigs whose cameras the scene has


def make_views(
    scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, settings: Any, box: np.ndarray
) -> tuple[View, ...]:
    """All views of a capture; changes nothing in the scene.

    Raises
    ------
    NerfError
        When there is no camera or curve, or a setting cannot be used.
    """
    frame = output_frame(scene, settings)
    if settings.rig == "CAMERAS":
        return _camera_views(scene, view_layer, settings, frame)
    if settings.rig == "ANIMATION":
        return _animation_views(scene, settings)
    lens = rig_lens(frame, settings.focal_length)
    size = float(np.linalg.norm(box[1] - box[0]))
    middle = box.mean(axis=0)
    made = _spherical(settings, box, lens) if settings.rig in SPHERICAL else _row(settings, box, lens)
    reach = max(float(np.linalg.norm(view.c2w[:3, 3] - middle)) for view in made)
    # Near and far enclose the subject with room for what stands around it.
    step = min(reach, size) if settings.rig in ("INTERIOR", "CURVE") else reach
    near, far = max(min(0.01 * step, 0.1), 1e-5), 10.0 * (reach + size) + 1000.0
    return name_views(
        [(view.split, replace(lens, c2w=view.c2w, clip_start=near, clip_end=far), None) for view in made],
        picture_suffix(settings),
    )


def output_frame(scene: bpy.types.Scene, settings: Any) -> Frame:
    """The size of the pictures."""
    if settings.use_scene_size:
        return Frame.of_render(scene.render)
    return Frame(settings.resolution_x, settings.resolution_y)


def scene_cameras(scene: bpy.types.Scene, settings: Any) -> list[bpy.types.Object]:
    """The scene's own cameras, by name; neither those of a preview nor those that an import brought back."""
    preview = set(settings.preview_collection.all_objects) if settings.preview_collection else set()
    cameras = [item for item in scene.objects if item.type == "CAMERA" and not item.get(RESULT_KEY)]
    found = [item for item in cameras if item not in preview]
    return sorted(found, key=lambda item: item.name)


def animation_frames(scene: bpy.types.Scene, settings: Any) -> range:
    """The frames that the rig 'Camera Animation' takes."""
    first, last = scene.frame_start, scene.frame_end
    if settings.use_frame_range:
        first, last = settings.range_start, settings.range_end
    return range(first, last + 1, settings.frame_step)


def picture_suffix(settings: Any) -> str:
    """How the pictures' names end."""
    return ".exr" if settings.picture_format == "EXR" else ".png"


def rig_lens(frame: Frame, focal_length: float) -> Camera:
    """A centred lens for a frame: 36 mm along the longer side, seen through the frame's pixel aspect and crop."""
    longer = max(frame.width, frame.height * frame.aspect)
    focal = focal_length / 36.0 * longer
    left, top, width, height = frame.crop or (0, 0, frame.width, frame.height)
    return Camera(
        width=width,
        height=height,
        fl_x=focal,
        fl_y=focal / frame.aspect,
        cx=frame.width / 2 - left,
        cy=frame.height / 2 - top,
    )


def _spherical(settings: Any, box: np.ndarray, lens: Camera) -> list[rigs.RigView]:
    """Rigs that know where their held-out views belong."""
    counts = rigs.SplitCounts(settings.train_count, settings.val_count, settings.test_count)
    if settings.rig == "ORBIT":
        directions = rigs.orbit_directions(counts, settings.elevation)
    else:
        directions = rigs.sphere_directions(counts, upper_half=settings.rig == "HEMISPHERE")
    radius = _radius(settings, box, np.concatenate(list(directions.values())), lens)
    return rigs.place(directions, box.mean(axis=0), radius)


def _row(settings: Any, box: np.ndarray, lens: Camera) -> list[rigs.RigView]:
    """Rigs that are rows of cameras, held-out ones at even distances in the row."""
    total = settings.train_count + settings.val_count + settings.test_count
    splits = rigs.split_sequence(total, settings.val_count, settings.test_count)
    poses = _POSES[settings.rig](settings, total, box, lens)
    return [rigs.RigView(split, c2w) for split, c2w in zip(splits, poses, strict=True)]


def _spiral(settings: Any, total: int, box: np.ndarray, lens: Camera) -> list[np.ndarray]:
    directions = rig_paths.spiral_directions(total, settings.elevation_start, settings.elevation_end, settings.turns)
    middle = box.mean(axis=0)
    return rig_paths.aim(middle + _radius(settings, box, directions, lens) * directions, middle)


def _random(settings: Any, total: int, box: np.ndarray, lens: Camera) -> list[np.ndarray]:
    directions, factors = rig_paths.random_directions(
        total, settings.seed, settings.use_upper_half, settings.distance_spread
    )
    middle = box.mean(axis=0)
    radius = _radius(settings, box, directions, lens)
    return rig_paths.aim(middle + radius * factors[:, None] * directions, middle)


def _grid(settings: Any, total: int, box: np.ndarray, lens: Camera) -> list[np.ndarray]:
    offsets = rig_paths.grid_offsets(total, settings.azimuth, settings.elevation, settings.grid_size)
    middle = box.mean(axis=0)
    forward = settings.aim == "FORWARD"
    flat = math.cos(settings.elevation)
    facing = np.array([
        flat * math.cos(settings.azimuth), flat * math.sin(settings.azimuth), math.sin(settings.elevation)
    ])  # fmt: skip
    lengths = np.linalg.norm(offsets, axis=1, keepdims=True)
    places = middle + _radius(settings, box, facing[None] if forward else offsets / lengths, lens) * offsets
    return [look_at(place, place - facing) for place in places] if forward else rig_paths.aim(places, middle)


def _curve(settings: Any, total: int, box: np.ndarray, _lens: Camera) -> list[np.ndarray]:
    points, tangents = rig_paths.along(curve_chains(settings.curve_object), total)
    if settings.aim == "FORWARD":
        return [look_at(point, point + tangent) for point, tangent in zip(points, tangents, strict=True)]
    return rig_paths.aim(points, box.mean(axis=0))


def _interior(settings: Any, total: int, box: np.ndarray, _lens: Camera) -> list[np.ndarray]:
    return rig_paths.interior_poses(total, box, settings.interior_fill, settings.interior_shape)


_POSES = {"SPIRAL": _spiral, "RANDOM": _random, "GRID": _grid, "CURVE": _curve, "INTERIOR": _interior}


def _radius(settings: Any, box: np.ndarray, directions: np.ndarray, lens: Camera) -> float:
    return rigs.fit_radius(box, directions, lens, MARGIN) if settings.use_auto_radius else settings.radius


def _camera_views(
    scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, settings: Any, frame: Frame
) -> tuple[View, ...]:
    items = scene_cameras(scene, settings)
    if not items:
        raise NerfError("The scene has no camera: add cameras, or choose another way to place them.")
    depsgraph = view_layer.depsgraph or bpy.context.evaluated_depsgraph_get()
    splits = rigs.split_sequence(len(items), settings.val_count, settings.test_count)
    return name_views([
        (split, camera_from_blender(item, depsgraph, frame), None) for split, item in zip(splits, items, strict=True)
    ], picture_suffix(settings))  # fmt: skip


def _animation_views(scene: bpy.types.Scene, settings: Any) -> tuple[View, ...]:
    if scene.camera is None and not any(marker.camera for marker in scene.timeline_markers):
        raise NerfError("The scene has no active camera whose animation could be followed: set one.")
    frames = animation_frames(scene, settings)
    if not frames:
        raise NerfError(
            f"The frame range {settings.range_start} to {settings.range_end} is empty; set its end after its start."
        )
    splits = rigs.split_sequence(len(frames), settings.val_count, settings.test_count)
    items = [(split, None, number) for split, number in zip(splits, frames, strict=True)]
    return name_views(items, picture_suffix(settings))
