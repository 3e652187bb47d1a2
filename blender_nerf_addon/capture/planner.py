"""From a scene and its capture settings to a plan: the subject, its bounds, and the cameras of the chosen rig."""

from typing import Any

import bpy
import numpy as np

from ..importers.point_display import RESULT_KEY
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from . import bounds as bounds_module
from . import passes, rigs
from .bounds import GEOMETRY, with_sources
from .cameras import Frame, camera_from_blender
from .plan import CapturePlan, View, name_views

RIG_MARGIN = 0.06  # part of the half picture that stays free around the subject


def make_plan(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    settings: Any,
    selected: list[bpy.types.Object] | None = None,
) -> CapturePlan:
    """Work out what a capture would do; changes nothing in the scene.

    Parameters
    ----------
    scene, view_layer
        What is captured; the view layer's evaluated state counts.
    settings : NERF_PG_capture
    selected : list of Object, optional
        The selection; by default the view layer's.

    Raises
    ------
    NerfError
        When there is no subject, no camera, or a setting cannot be used.
    """
    view_layer.update()
    subject = find_subject(view_layer, settings, selected)
    box = subject_bounds(scene, view_layer, settings, subject)
    views = _views(scene, view_layer, settings, box)
    only = None
    if subject is not None and settings.isolate:
        only = tuple(sorted(item.name_full for item in subject if item.type in GEOMETRY or item.is_instancer))
    kinds = chosen_passes(settings)
    passes.check(scene, kinds)
    return CapturePlan(
        views=views,
        bounds=box,
        transparent=settings.use_transparent,
        samples=settings.samples,
        denoise=settings.use_denoise,
        engine=scene.render.engine,
        only=only,
        passes=kinds,
        subject=None if subject is None else tuple(sorted(item.name_full for item in with_sources(subject))),
        object_index=number_objects(view_layer) if "index" in kinds else {},
    )


def picture_suffix(settings: Any) -> str:
    """How the pictures' names end."""
    return ".exr" if settings.picture_format == "EXR" else ".png"


def chosen_passes(settings: Any) -> tuple[str, ...]:
    """What is captured beside the pictures, of `passes.KINDS`."""
    return tuple(kind for kind in passes.KINDS if getattr(settings, f"use_{kind}"))


def number_objects(view_layer: bpy.types.ViewLayer) -> dict[str, int]:
    """Object's full name to its number: the pass indices that the person gave, or 1, 2, 3 ... by name where none is."""
    items = with_sources(bounds_module.rendered_objects(view_layer))
    items = sorted((item for item in items if item.type in GEOMETRY), key=lambda item: item.name_full)
    if any(item.pass_index for item in items):
        return {item.name_full: item.pass_index for item in items}
    return {item.name_full: number for number, item in enumerate(items, start=1)}


def find_subject(
    view_layer: bpy.types.ViewLayer, settings: Any, selected: list[bpy.types.Object] | None = None
) -> set[bpy.types.Object] | None:
    """The objects to capture, or None for the whole visible scene.

    While nothing that renders is selected (say, the bounds box is, to be moved), the objects that the box was made for
    stay the subject.
    """
    if settings.subject == "SCENE":
        return None
    if selected is None:
        selected = [item for item in view_layer.objects if item.select_get(view_layer=view_layer)]
    subject = bounds_module.subject_objects(selected)
    if not any(item.type in GEOMETRY or item.is_instancer for item in subject):
        present = set(view_layer.objects)
        subject = {entry.object for entry in settings.bounds_subject if entry.object in present}
    if not subject:
        raise NerfError("Nothing is selected: select the objects to capture, or set the subject to the visible scene.")
    return subject


def subject_bounds(
    scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, settings: Any, subject: set[bpy.types.Object] | None
) -> np.ndarray:
    """(2, 3) world bounds: the box object's where there is one, else found from the subject's geometry."""
    depsgraph = view_layer.depsgraph or bpy.context.evaluated_depsgraph_get()
    found = bounds_module.find_bounds(depsgraph, view_layer, subject)  # an empty subject is an error with a box, too
    box = bounds_object(scene, settings)
    return found if box is None else bounds_module.box_bounds(box)


def bounds_object(scene: bpy.types.Scene, settings: Any) -> bpy.types.Object | None:
    """The box object of a scene; None when it was never made or was deleted from the scene."""
    box = settings.bounds_object
    return box if box is not None and scene.objects.get(box.name) == box else None


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


def rig_directions(settings: Any) -> dict[str, np.ndarray]:
    """Directions from the subject to the cameras of a geometric rig, for each split."""
    counts = rigs.SplitCounts(settings.train_count, settings.val_count, settings.test_count)
    if settings.rig == "ORBIT":
        return rigs.orbit_directions(counts, settings.elevation)
    return rigs.sphere_directions(counts, upper_half=settings.rig == "HEMISPHERE")


def _views(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, settings: Any, box: np.ndarray) -> tuple[View, ...]:
    frame = output_frame(scene, settings)
    if settings.rig == "CAMERAS":
        return _camera_views(scene, view_layer, settings, frame)
    if settings.rig == "ANIMATION":
        return _animation_views(scene, settings)
    lens = _rig_lens(frame, settings.focal_length)
    directions = rig_directions(settings)
    radius = settings.radius
    if settings.use_auto_radius:
        radius = rigs.fit_radius(box, np.concatenate(list(directions.values())), lens, RIG_MARGIN)
    size = float(np.linalg.norm(box[1] - box[0]))
    # Near and far enclose the subject with room for what stands around it.
    near, far = max(min(0.01 * radius, 0.1), 1e-5), 10.0 * (radius + size) + 1000.0
    return name_views([
        (view.split, Camera(lens.width, lens.height, lens.fl_x, lens.fl_y, lens.cx, lens.cy, view.c2w,
                            clip_start=near, clip_end=far), None)
        for view in rigs.place(directions, box.mean(axis=0), radius)
    ], picture_suffix(settings))  # fmt: skip


def _rig_lens(frame: Frame, focal_length: float) -> Camera:
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
    frames = range(scene.frame_start, scene.frame_end + 1, settings.frame_step)
    splits = rigs.split_sequence(len(frames), settings.val_count, settings.test_count)
    return name_views(
        [(split, None, number) for split, number in zip(splits, frames, strict=True)], picture_suffix(settings)
    )
