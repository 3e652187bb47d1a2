"""Trace pixels: the rays of named pixels, for the inspector to show; how scripts and the command line point at them."""

import re
from typing import Any

import bpy
import numpy as np
from bpy.props import StringProperty

from ..inspect import state
from ..inspect.settings import sampler_request
from ..inspect.true_depth import true_depths
from ..jobs import runs, tasks
from ..objects import attach, chosen, create, layers
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from . import common
from .render import camera_at


class NERF_OT_trace_pixels(bpy.types.Operator):
    """Show the rays of named pixels."""

    bl_idname = "nerf.trace_pixels"
    bl_label = "Trace Pixels"
    bl_description = "Show the rays of named pixels of the scene's camera, as Inspect Pixels shows those pointed at"

    pixels: StringProperty(
        name="Pixels",
        description="Column,row from the picture's top left corner, counted from 0; several are separated by spaces",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run and a camera."""
        if context.scene.camera is None:
            cls.poll_message_set("The scene has no camera")
            return False
        return common.poll_trained(cls, context)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask which."""
        return context.window_manager.invoke_props_dialog(self)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Trace them, and wait for the answer."""
        trace_pixels(context.scene, context.view_layer, context.evaluated_depsgraph_get(), parse_pixels(self.pixels))
        return {"FINISHED"}


def parse_pixels(text: str) -> np.ndarray:
    """(R, 2) pixel coordinates of "x,y x,y ...": the pixels' centres.

    Raises
    ------
    NerfError
        When it is no such list, or one too long to be shown.
    """
    words = text.split()
    if not words or not all(re.fullmatch(r"\d{1,6},\d{1,6}", word) for word in words):
        raise NerfError(f"'{text:.80}' names no pixels: write column,row such as 120,80, and spaces between several.")
    if len(words) > state.MAX_RAYS:
        raise NerfError(f"{len(words)} pixels are too many to show at once: at most {state.MAX_RAYS}.")
    return np.array([[int(part) + 0.5 for part in word.split(",")] for word in words])


def trace_pixels(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, depsgraph: bpy.types.Depsgraph, pixels: np.ndarray
) -> None:
    """Trace pixels of the scene's camera under the inspector's samplers, and have the inspector show them; waits.

    Raises
    ------
    NerfError
        When there is no camera, a pixel lies outside its picture, or the core says why not.
    """
    if scene.camera is None:
        raise NerfError("The scene has no camera to look through; add one.")
    camera = camera_at(scene, layer, scene.camera)
    _check_inside(camera, pixels)
    settings = scene.nerf.inspector
    samplers = [sampler_request(settings.sampler, settings.samples)]
    if settings.compare:
        samplers.append(sampler_request(settings.sampler_b, settings.samples_b))
    folder = chosen.chosen_run(scene)
    nerf = attach.shown_nerf(scene, folder)
    placed = nerf is not None and layers.has_volume(nerf.matrix_world)
    matrix = layers.nerf_to_world(nerf) if placed else None
    params = {
        "run": str(folder.root),
        "camera": camera.to_dict(),
        "pixels": pixels.tolist(),
        "true_depth": true_depths(scene, depsgraph, *camera.rays(pixels)).tolist(),
    }
    if matrix is not None:
        params["matrix"] = matrix.tolist()
    slots: list[state.Slot] = []

    def step(sampler: dict[str, Any] | None) -> tasks.Step:
        def handle(result: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
            slots.append(state.Slot(sampler or {}, arrays, result))

        return tasks.Step("trace", {**params, "sampler": sampler}, handle, "Tracing rays")

    uid = scene.session_uid
    task = tasks.start("Trace", [lambda sampler=each: step(sampler) for each in samplers], len(samplers))
    common.wait_for(lambda: not task.running)
    if task.phase != "done":
        raise NerfError(task.text or "The trace was cancelled.")
    runs.scene_again(uid)
    state.current().show(
        slots,
        camera=camera,
        pixels=pixels,
        chosen_ray=0,
        run=str(folder.root),
        matrix=matrix,
        bounds=create.run_bounds(folder),
        view=scene.camera.name,
        pinned=True,
    )


def _check_inside(camera: Camera, pixels: np.ndarray) -> None:
    outside = (pixels > (camera.width, camera.height)).any(axis=1)
    if outside.any():
        x, y = np.floor(pixels[np.argmax(outside)]).astype(int)
        raise NerfError(
            f"The pixel ({x}, {y}) lies outside the picture, which has {camera.width}x{camera.height} pixels."
        )


CLASSES = (NERF_OT_trace_pixels,)
