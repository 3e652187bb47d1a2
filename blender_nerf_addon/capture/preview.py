"""The cameras of a plan as objects to look at before the capture: a collection that renders never see."""

from typing import Any

import bpy
import numpy as np

from .cameras import camera_from_blender, new_camera
from .plan import CapturePlan
from .rig_views import output_frame
from .scene_guard import SceneGuard

COLLECTION_NAME = "NeRF Cameras"


def show(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, settings: Any, plan: CapturePlan) -> int:
    """Make or renew the preview of `plan`; returns the number of cameras shown."""
    cameras = [(view.file_path, view.camera) for view in plan.views]
    if plan.moves_in_time:
        cameras = _animated(scene, view_layer, settings, plan)
    clear(settings)
    collection = bpy.data.collections.new(COLLECTION_NAME)
    collection.hide_render = True
    scene.collection.children.link(collection)
    settings.preview_collection = collection
    size = 0.08 * float(np.linalg.norm(plan.bounds[1] - plan.bounds[0]))
    for file_path, camera in cameras:
        item = new_camera(camera, f"NeRF {file_path.rpartition('.')[0]}")
        item.data.display_size = size
        item.hide_select = True
        collection.objects.link(item)
    return len(cameras)


def clear(settings: Any) -> None:
    """Remove the preview's collection and the cameras that it made."""
    collection = settings.preview_collection
    if collection is None:
        return
    settings.preview_collection = None
    for item in list(collection.objects):
        if item.type == "CAMERA" and item.name.startswith("NeRF "):
            data = item.data
            bpy.data.objects.remove(item)
            if data.users == 0:
                bpy.data.cameras.remove(data)
    if not collection.objects and not collection.children:
        bpy.data.collections.remove(collection)


def _animated(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, settings: Any, plan: CapturePlan) -> list:
    frame = output_frame(scene, settings)
    found = []
    with SceneGuard(scene):
        for view in plan.views:
            scene.frame_set(view.frame)
            depsgraph = view_layer.depsgraph or bpy.context.evaluated_depsgraph_get()
            found.append((view.file_path, camera_from_blender(scene.camera, depsgraph, frame)))
    return found
