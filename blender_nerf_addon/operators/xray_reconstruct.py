"""Reconstruct a volume from one radiograph or a few by a prior, and bring it in."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty

from ..capture.folders import free_run
from ..experiments.places import whole
from ..jobs import pump, runs, tasks, training
from ..vendor.nerf_core.contract.errors import NerfError
from ..xray import reconstruct
from ..xray.prior_work import Work
from ..xray.reconstruct import SLICES, VOLUME
from . import common

_waiting: list[Work] = []  # to be imported


class NERF_OT_xray_reconstruct(bpy.types.Operator):
    """Reconstruct a volume from one of the scene's radiographs, or a few, by a prior of other volumes."""

    bl_idname = "nerf.xray_reconstruct"
    bl_label = "Reconstruct from Radiograph"
    bl_description = (
        "Reconstruct a volume from one of the scene's radiographs, or a few, by a prior of other volumes, "
        "and import it as a CT"
    )

    wait: BoolProperty(
        name="Wait", description="Return when it is there; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One at a time."""
        if reconstruct.running():
            cls.poll_message_set("A reconstruction is under way")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the process; wait for its end where nobody watches."""
        scene = context.scene
        settings = scene.nerf_xray
        data, prior = radiographs_of(scene), whole(settings.prior)
        if prior is None:
            raise NerfError("Choose the folder of a prior, or make one of phantoms or CTs: Build Prior.")
        root = runs.run_folder(scene).root
        out = free_run(root.with_name(f"{root.name}-reconstruction"))
        waiting = common.waits(self)
        made = reconstruct.start(data, prior, out, settings.given_views, None if waiting else _ended)
        if not waiting:
            return {"FINISHED"}
        common.wait_for(lambda: not made.under_way)
        if made.phase != "done":
            raise NerfError(made.text)
        common.wait_for(lambda: not tasks.running())
        _bring_in(made)
        self.report({"INFO"}, made.text)
        return {"FINISHED"}


class NERF_OT_xray_reconstruct_cancel(bpy.types.Operator):
    """End the reconstruction that is under way."""

    bl_idname = "nerf.xray_reconstruct_cancel"
    bl_label = "Cancel"
    bl_description = "End the reconstruction that is under way"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while one is."""
        return reconstruct.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """End it."""
        reconstruct.cancel()
        return {"FINISHED"}


def radiographs_of(scene: bpy.types.Scene) -> Path:
    """The data set that the scene's run was or would be trained on.

    Raises
    ------
    NerfError
        When there is none.
    """
    folder = runs.run_folder(scene)
    if (folder.dataset / "transforms.json").is_file():
        return folder.dataset
    known = folder.read() if folder.settings.exists() else {}
    found = whole(scene.nerf.training.data) or training.trained_data(folder, known)
    if found is None:
        raise NerfError("There are no radiographs: press Radiographs Only first, or choose a data set in Train.")
    return found


def _ended(made: Work) -> None:
    if made.phase == "failed":
        common.show_error(made.text)
    elif made.phase == "done":
        _waiting.append(made)
        pump.add_source(_bring_in_next)
        pump.before_leaving(_waiting.clear)
        _bring_in_next()


def _bring_in_next(_seconds: float = 0.0) -> int:
    """Import what waits, once no picture or other task is under way: there is one at a time."""
    if not _waiting:
        return 0
    if tasks.running():
        pump.redraw()  # keeps the timer's short interval
        return 0
    try:
        _bring_in(_waiting.pop())
    except (NerfError, RuntimeError) as error:
        common.show_error(str(error))
    return 1


def _bring_in(made: Work) -> None:
    """Import the volume, and have the picture of its slices at hand."""
    if (made.out / SLICES).is_file():
        image = bpy.data.images.load(str(made.out / SLICES), check_existing=True)
        image.name = f"{made.out.name} slices"
    # What was radiographed may still stand there: the two together would attenuate twice.
    bpy.ops.nerf.xray_import_ct(filepath=str(made.out / VOLUME), name=made.out.name.replace("-", " "), seen=False)


CLASSES = (NERF_OT_xray_reconstruct, NERF_OT_xray_reconstruct_cancel)
