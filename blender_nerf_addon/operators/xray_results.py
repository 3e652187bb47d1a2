"""Operators on a trained attenuation field: its window, line integrals from the camera, its volume as a file."""

from functools import partial
from typing import Any

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from ..importers import encode, images
from ..jobs import tasks
from ..objects import chosen, find
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder, write_bytes
from ..vendor.nerf_core.contract.xray import NOT_FOR_DIAGNOSIS
from ..xray import trained
from . import common
from .render import NO_CAMERA, View, file_name, view_of

NOT_XRAY = "Choose a NeRF that was trained on radiographs"


class _OfField:
    wait: BoolProperty(
        name="Wait", description="Return when it is there; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a field that was trained on radiographs."""
        if not common.poll_trained(cls, context):
            return False
        if not trained.chosen_is_attenuation(context.scene):
            cls.poll_message_set(NOT_XRAY)
            return False
        return True


class NERF_OT_xray_line_integrals(_OfField, bpy.types.Operator):
    """Render the line integrals that the scene's camera sees, as floats."""

    bl_idname = "nerf.xray_line_integrals"
    bl_label = "Line Integrals"
    bl_description = (
        "Render the line integrals that the scene's camera sees into a float OpenEXR file in the run's folder 'renders'"
    )

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core for the picture."""
        scene, layer = context.scene, context.view_layer
        folder = chosen.chosen_run(scene)
        if scene.camera is None:
            raise NerfError(NO_CAMERA)
        view = view_of(scene, layer, scene.camera, find.identity(folder.root))
        out = folder.renders / f"{file_name(view.name)}-line-integrals.exr"
        if out.exists() and not encode.is_ours(out):
            raise NerfError(f"'{out}' was not made by NeRF Toolkit and is not overwritten: move it.")
        what: dict[str, Any] = {"layers": view.layers} if view.layers else {"run": str(folder.root)}
        outcome = common.begin_task(self, "Line Integrals", [partial(_integrals, what, view, out)], undo=False)
        task = tasks.current()
        if outcome == {"FINISHED"} and not task.running and task.results:
            self.report({"INFO"}, f"'{out}'")
        return outcome


class NERF_OT_xray_save_volume(_OfField, bpy.types.Operator):
    """Write the attenuation as a NIfTI file in Hounsfield units."""

    bl_idname = "nerf.xray_save_volume"
    bl_label = "Save Volume"
    bl_description = "Write the field's attenuation as a NIfTI file: Hounsfield units, RAS millimetres"

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.nii;*.nii.gz", options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    resolution: IntProperty(
        name="Resolution",
        description="Voxels along the longest side; 0: those of the CT that was radiographed, or the field's own",
        default=0,
        min=0,
        max=1024,
    )
    overwrite: BoolProperty(name="Overwrite", description="Write over a file of that name", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file's name; the file browser asks before one is written over."""
        if not self.filepath:
            try:
                folder = chosen.chosen_run(context.scene)
            except NerfError as error:
                self.report({"ERROR"}, str(error))
                return {"CANCELLED"}
            self.filepath = str(folder.root / f"{folder.root.name}.nii.gz")
        self.overwrite = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core for the file."""
        folder = chosen.chosen_run(context.scene)
        path = bpy.path.abspath(self.filepath) if self.filepath else str(folder.root / f"{folder.root.name}.nii.gz")
        overwrite = self.overwrite
        if not path.lower().endswith((".nii", ".nii.gz")):
            path += ".nii.gz"
            overwrite = False  # the file browser asked about the name as it was typed
        params = {
            "run": str(folder.root),
            "out": path,
            "resolution": self.resolution or None,
            "overwrite": overwrite,
        }
        step = tasks.Step("volume", params, lambda result, _arrays: str(result["out"]), "Writing the volume")
        outcome = common.begin_task(self, "Volume", [lambda: step], undo=False)
        task = tasks.current()
        if outcome == {"FINISHED"} and not task.running and task.results:
            self.report({"INFO"}, f"'{path}' ({NOT_FOR_DIAGNOSIS[:-1]})")
        return outcome


class NERF_OT_xray_fit_window(bpy.types.Operator):
    """Give the NeRF a window of its own, beginning with that of its radiographs."""

    bl_idname = "nerf.xray_fit_window"
    bl_label = "Window of Its Radiographs"
    bl_description = "Set level and width to the window of the radiographs that the field was trained on"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a NeRF object."""
        return trained.shown_object(context.scene) is not None and trained.chosen_is_attenuation(context.scene)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read it and set it."""
        item = trained.shown_object(context.scene)
        low, high = trained.facts_of(find.run_of(item)).window
        shown = item.nerf_xray
        shown.level, shown.width, shown.use_window = (low + high) / 2.0, high - low, True
        return {"FINISHED"}


def _integrals(what: dict[str, Any], view: View, out: Any) -> tasks.Step:
    camera: Camera = view.camera

    def write(arrays: dict[str, Any]) -> Any:
        make_folder(out.parent)
        write_bytes(out, encode.exr_channels({"V": arrays["line_integral"]}))
        return out

    def show(_result: dict[str, Any], written: Any) -> bpy.types.Image:
        return images.show_file(written, "linear", camera)

    params = {**what, "camera": camera.to_dict(), "passes": ["line_integral"]}
    return tasks.Step("render", params, show, "Line integrals", prepare=write)


CLASSES = (NERF_OT_xray_line_integrals, NERF_OT_xray_save_volume, NERF_OT_xray_fit_window)
