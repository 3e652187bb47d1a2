"""Operators that lay out a captured data set for other programs, and what does so after a capture."""

from pathlib import Path

import bpy

from ..capture.layouts import job
from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import capture
from .common import tells_errors, wait_for, waits


class NERF_OT_lay_out(bpy.types.Operator):
    """Write the captured data set once more as other programs want it, into the run's folder 'layouts'."""

    bl_idname = "nerf.lay_out"
    bl_label = "Lay Out Captured Views"
    bl_description = (
        "Write the captured data set once more as the chosen programs want it, into the folder 'layouts' of the run. "
        "What is there already is kept"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One at a time, and something must be chosen."""
        settings = context.scene.nerf.capture
        if job.running():
            cls.poll_message_set("A data set is being laid out")
            return False
        if not settings.layouts and not settings.use_zip:
            cls.poll_message_set("Choose a layout or a zip file")
            return False
        return True

    @tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start; without a window, wait for the end."""
        settings = context.scene.nerf.capture
        under_way = job.start(runs.run_folder(context.scene), sorted(settings.layouts), settings.use_zip)
        if not waits(self):
            return {"FINISHED"}
        _wait(under_way)
        if under_way.phase == "failed":
            raise NerfError(under_way.text)
        if under_way.phase == "cancelled":
            return {"CANCELLED"}
        self.report({"INFO"}, under_way.text)
        return {"FINISHED"}


class NERF_OT_lay_out_cancel(bpy.types.Operator):
    """Stop laying out before the next file; what is half made goes."""

    bl_idname = "nerf.lay_out_cancel"
    bl_label = "Cancel"
    bl_description = "Stop laying out before the next file; what is half made goes"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while something is under way."""
        return job.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask it to end."""
        job.current().cancel()
        return {"FINISHED"}


def _after_capture(scene: bpy.types.Scene, root: Path, _then_train: bool) -> None:
    """Lay out what was captured, where that is asked for."""
    settings = scene.nerf.capture
    if not settings.layouts and not settings.use_zip:
        return
    under_way = job.start(RunFolder(root), sorted(settings.layouts), settings.use_zip)
    if bpy.app.background:
        _wait(under_way)
        if under_way.phase == "failed":
            raise NerfError(under_way.text)


def _wait(under_way: job.LayoutJob) -> None:
    wait_for(lambda: not under_way.running)


CLASSES = (NERF_OT_lay_out, NERF_OT_lay_out_cancel)


def register() -> None:
    """Follow captures."""
    # Before training starts: it may go on for long, and where nobody watches it is waited for.
    capture.on_captured.insert(0, _after_capture)


def unregister() -> None:
    """No longer follow captures."""
    capture.on_captured.remove(_after_capture)
    job.unregister()
