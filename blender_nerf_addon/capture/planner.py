"""From a scene and its capture settings to a plan: the subject, its bounds, and the cameras of the chosen rig."""

from typing import Any

import bpy
import numpy as np

from ..vendor.nerf_core.contract.errors import NerfError
from . import bounds as bounds_module
from . import passes
from .bounds import GEOMETRY, with_sources
from .layouts import writers as layouts
from .plan import CapturePlan
from .rig_views import make_views


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
    views = make_views(scene, view_layer, settings, box)
    only = None
    if subject is not None and settings.isolate:
        only = tuple(sorted(item.name_full for item in subject if item.type in GEOMETRY or item.is_instancer))
    kinds = chosen_passes(settings)
    passes.check(scene, kinds)
    lenses = {str(view.camera.kind) for view in views if view.camera is not None}
    layouts.check(sorted(settings.layouts), settings.picture_format == "EXR", lenses, "depth" in kinds)
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


def chosen_passes(settings: Any) -> tuple[str, ...]:
    """What is captured beside the pictures, of `passes.KINDS`."""
    asked = {kind for kind in passes.KINDS if getattr(settings, f"use_{kind}")}
    if any(layouts.LAYOUTS[key].needs_points for key in settings.layouts):
        asked.add("depth")  # which the points are made of
    return tuple(kind for kind in passes.KINDS if kind in asked)


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
