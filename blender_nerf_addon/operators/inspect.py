"""Inspect samples: take the rays of chosen pixels apart."""

from typing import Any

import bpy
import numpy as np
from bpy.props import BoolProperty

from ..importers import samples
from ..inspect.settings import sampler_request
from ..jobs import runs, tasks
from ..objects import attach, chosen, layers
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from . import common
from .render import camera_at


class NERF_OT_inspect_samples(bpy.types.Operator):
    """Show every sample along the rays of chosen pixels."""

    bl_idname = "nerf.inspect_samples"
    bl_label = "Inspect Samples"
    bl_description = "Show every sample along the rays of the chosen pixels, as points with all their values"
    # Not REGISTER: its redo panel would start the core again while the first answer is still on its way.
    bl_options = {"UNDO"}

    wait: BoolProperty(
        name="Wait", description="Return when the samples are there; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run and a camera."""
        if context.scene.camera is None:
            cls.poll_message_set("The scene has no camera")
            return False
        return common.poll_trained(cls, context)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core to trace the rays."""
        scene, layer = context.scene, context.view_layer
        outcome = common.begin_task(self, "Samples", [lambda: inspect_step(scene, layer)], undo=True)
        task = tasks.current()
        if outcome == {"FINISHED"} and task.results:
            item = task.results[0]
            self.report({"INFO"}, f"{len(item.data.vertices)} samples in '{item.name}'")
        return outcome


def inspect_step(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> tasks.Step:
    """The step that traces what `scene.nerf.inspect` says and makes the objects of it."""
    settings = scene.nerf.inspect
    folder = chosen.chosen_run(scene)
    camera = camera_at(scene, layer, scene.camera)
    pixels = chosen_pixels(settings, camera)
    uid = scene.session_uid
    nerf = attach.shown_nerf(scene, folder)
    # Not where it is scaled to nothing: no ray leads in there.
    place = np.array(nerf.matrix_world) if nerf is not None and layers.has_volume(nerf.matrix_world) else None
    nerf_uid = nerf.session_uid if place is not None else None

    def handle(_result: dict[str, Any], arrays: dict[str, Any]) -> bpy.types.Object:
        scene = runs.scene_again(uid)
        settings = scene.nerf.inspect
        item = samples.import_samples(scene, arrays, radius=settings.size, old=settings.object)
        if settings.show_rays:
            settings.rays = samples.import_rays(scene, arrays, item, old=settings.rays)
        else:
            samples.remove_rays(settings.rays)
            settings.rays = None
        # The core gave them in Blender's world: they go along with the NeRF from where that stood then.
        attach.attach(item, next((each for each in scene.objects if each.session_uid == nerf_uid), None), place)
        settings.object = item
        return item

    chosen_sampler = scene.nerf.inspector
    params = {
        "run": str(folder.root),
        "camera": camera.to_dict(),
        "pixels": pixels.tolist(),
        "sampler": sampler_request(chosen_sampler.sampler, chosen_sampler.samples),
    }
    if place is not None:
        params["matrix"] = layers.nerf_to_world(nerf).tolist()
    return tasks.Step("trace", params, handle, "Tracing rays")


def chosen_pixels(settings: Any, camera: Camera) -> np.ndarray:
    """(R, 2) pixel coordinates: the centres of the chosen pixel or of a grid's cells.

    Raises
    ------
    NerfError
        When the pixel lies outside the picture.
    """
    if settings.pixels == "GRID":
        columns, rows = settings.grid
        x, y = np.meshgrid(
            (np.arange(columns) + 0.5) * camera.width / columns, (np.arange(rows) + 0.5) * camera.height / rows
        )
        return np.stack([x.ravel(), y.ravel()], axis=-1)
    if settings.use_center:
        return np.array([[camera.width / 2, camera.height / 2]])
    x, y = settings.pixel
    if x >= camera.width or y >= camera.height:
        raise NerfError(
            f"The pixel ({x}, {y}) lies outside the picture, which has {camera.width}x{camera.height} pixels."
        )
    return np.array([[x + 0.5, y + 0.5]])


CLASSES = (NERF_OT_inspect_samples,)
