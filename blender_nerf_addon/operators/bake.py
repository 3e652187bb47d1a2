"""Bake: what the inspector shows, as objects with attributes for the Spreadsheet and geometry nodes."""

from pathlib import Path
from typing import Any

import bpy

from ..importers.trace_objects import bake
from ..inspect import state
from ..objects import attach, create, layers
from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import common


class NERF_OT_bake_trace(bpy.types.Operator):
    """Make objects of the rays that the inspector shows."""

    bl_idname = "nerf.bake_trace"
    bl_label = "Bake Trace"
    bl_description = (
        "Make objects of the rays that are shown: samples, rays, bins, skipped stretches and depths, each with all its "
        "numbers as attributes"
    )
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs rays that are shown."""
        if not state.current().slots:
            cls.poll_message_set("Inspect a pixel first")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Bake."""
        current = state.current()
        items = bake_shown(context.scene, current)
        rays, samples = current.slots[0].rays, sum(len(slot.arrays["t"]) for slot in current.slots)
        of = "1 ray" if rays == 1 else f"{rays} rays"
        self.report({"INFO"}, f"{samples} samples of {of} in {len(items)} objects, in 'NeRF Trace'")
        return {"FINISHED"}


def bake_shown(scene: bpy.types.Scene, shown: state.State) -> list[bpy.types.Object]:
    """Bake what a state shows; the objects hang below the NeRF object, where it was shown when it was traced."""
    traces = [(sampler_label(slot.used), slot.arrays) for slot in shown.slots]
    items = bake(scene, traces, scene.nerf.inspector.size)
    nerf = attach.shown_nerf(scene, RunFolder(Path(shown.run))) if shown.matrix is not None else None
    place = None
    if nerf is not None:
        place = shown.matrix @ create.rest_matrix(nerf)
        if not layers.has_volume(place):  # nothing can go along with what has no extent
            nerf = place = None
    for item in items:
        attach.attach(item, nerf, place)
    return items


def sampler_label(sampler: dict[str, Any]) -> str:
    """What a sampler is called in an object's name."""
    name = str(sampler.get("name") or "as trained")
    return name if not sampler.get("samples") else f"{name} {sampler['samples']}"


CLASSES = (NERF_OT_bake_trace,)
