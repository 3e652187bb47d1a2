"""Set the core up, start it, and open what it wrote."""

import bpy
from bpy.props import BoolProperty, EnumProperty

from ..jobs import core, managed, pump, runs, training
from ..jobs.calls import CoreError
from ..jobs.environment import user_folder
from ..vendor.nerf_core.contract.errors import NerfError
from . import common


class NERF_OT_setup_core(bpy.types.Operator):
    """Download the NeRF core's packages."""

    bl_idname = "nerf.setup_core"
    bl_label = "Set Up Core"
    bl_description = "Make a Python environment of its own for the NeRF core and download what it needs"

    wait: BoolProperty(name="Wait", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One at a time, and not while something is trained."""
        if managed.running() or training.under_way():
            cls.poll_message_set("The core is busy")
            return False
        return True

    @common.tells_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Begin; wait for the end where nobody watches."""
        setup = managed.start()
        if not common.waits(self):
            return {"FINISHED"}
        pump.pump_until(lambda: not setup.running)
        if setup.phase != "ready":
            self.report({"ERROR"}, setup.text)
            return {"CANCELLED"}
        self.report({"INFO"}, setup.text)
        return {"FINISHED"}


class NERF_OT_setup_cancel(bpy.types.Operator):
    """Cancel the set-up."""

    bl_idname = "nerf.setup_cancel"
    bl_label = "Cancel"
    bl_description = "Cancel the set-up; the next one begins anew"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs a set-up under way."""
        return managed.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Cancel it."""
        managed.cancel()
        return {"FINISHED"}


class NERF_OT_restart_core(bpy.types.Operator):
    """Start the NeRF core, or start it again."""

    bl_idname = "nerf.restart_core"
    bl_label = "Start Core"
    bl_description = "Start the NeRF core (again) and show which device and versions it finds"

    wait: BoolProperty(name="Wait", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Not while something is trained."""
        if training.under_way():
            cls.poll_message_set("A training is under way")
            return False
        return True

    @common.tells_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        """End the one that runs, and start another."""
        core.forget_trouble()
        core.stop()
        process = core.start()
        if common.waits(self):
            common.wait_for(lambda: process.ready or not process.alive)
            if not process.ready:
                raise CoreError(process.end_sentence or "The NeRF core was stopped.")
            self.report({"INFO"}, core.describe(process.hello or {}))
        return {"FINISHED"}


class NERF_OT_open_place(bpy.types.Operator):
    """Open a log or a folder."""

    bl_idname = "nerf.open_place"
    bl_label = "Open"
    bl_description = "Open it in the system's own program"

    place: EnumProperty(
        name="Place",
        items=(
            ("RUN", "Run Folder", "Captured views, the trained NeRF and its renders"),
            ("CORE_LOG", "Core Log", "What the NeRF core printed"),
            ("SETUP_LOG", "Set-Up Log", "What the set-up printed"),
        ),
    )

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it."""
        if self.place == "RUN":
            path = runs.run_folder(context.scene).root
        elif self.place == "CORE_LOG":
            path = core.current_log()
        else:
            path = user_folder("logs") / "setup.log"
        if path is None or not path.exists():
            raise NerfError(f"There is no '{path}' yet." if path else "The NeRF core has not been started yet.")
        bpy.ops.wm.path_open(filepath=str(path))
        return {"FINISHED"}


CLASSES = (NERF_OT_setup_core, NERF_OT_setup_cancel, NERF_OT_restart_core, NERF_OT_open_place)
