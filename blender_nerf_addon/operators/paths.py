"""Camera paths in and out: nerfstudio's JSON and `transforms.json`."""

import time
from collections.abc import Iterator
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..paths import read, write
from ..vendor.nerf_core.contract.camera_path import CameraPath, read_camera_path
from ..vendor.nerf_core.contract.errors import NerfError
from . import common

TICK = 0.02  # seconds of frames between two looks at the events
FORMATS = (
    ("NERFSTUDIO", "nerfstudio", "nerfstudio's camera path: square pixels and centred lenses only"),
    (
        "TRANSFORMS",
        "transforms.json",
        "Every intrinsic of every frame, as instant-ngp, nerfstudio and NeRF Toolkit read it",
    ),
)


class NERF_OT_import_path(bpy.types.Operator):
    """Bring a camera path in as an animated camera."""

    bl_idname = "nerf.import_path"
    bl_label = "Import Camera Path"
    bl_description = "Bring a camera path of nerfstudio, or the cameras of a transforms.json, in as an animated camera"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(name="File", description="A JSON file", subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})
    set_scene: BoolProperty(
        name="Set Scene",
        description="Give the scene the path's picture size, frame rate and length, and make the camera its own",
        default=True,
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read it, and make the camera."""
        source = _path(self.filepath)
        path = read_camera_path(source)
        item = read.import_path(context.scene, path, source.stem, self.set_scene)
        words = f"{len(path.cameras)} cameras as the camera '{item.name}'"
        if any(not camera.distortion.is_identity for camera in path.cameras):
            words += "; their lens distortion is left out, because Blender's cameras have none"
        self.report({"INFO"}, words)
        return {"FINISHED"}


class NERF_OT_export_path(bpy.types.Operator):
    """Write the scene's camera through the frame range as a camera path."""

    bl_idname = "nerf.export_path"
    bl_label = "Export Camera Path"
    bl_description = "Write the scene's camera, frame by frame through the scene's range, as a camera path"

    filepath: StringProperty(name="File", description="A JSON file", subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    format: EnumProperty(name="Format", items=FORMATS, default="NERFSTUDIO")
    step: IntProperty(name="Every Nth Frame", description="Write every Nth frame", default=1, min=1)
    wait: BoolProperty(
        name="Wait", description="Return when it is written; so without a window", options={"SKIP_SAVE", "HIDDEN"}
    )

    _timer = None
    _frames: Iterator[float] | None = None
    _target: Path | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a camera."""
        scene = context.scene
        if scene.camera is None and not any(marker.camera for marker in scene.timeline_markers):
            cls.poll_message_set("The scene has no camera")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file."""
        if not self.filepath:
            self.filepath = str(Path(bpy.data.filepath).with_name("camera_path.json")) if bpy.data.filepath else ""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Go through the frames: at once without a window, else some at a time, so that Esc works."""
        self._target = _path(self.filepath)
        write.check_target(self._target)
        self._frames = write.collect(context.scene, context.view_layer, self.step)
        if common.waits(self) or context.window is None:
            while not self._advance():
                pass
            return {"FINISHED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(0.01, window=context.window)
        manager.progress_begin(0.0, 1.0)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Go through some more frames."""
        if event.type == "ESC" and event.value == "PRESS":
            self.cancel(context)
            self.report({"WARNING"}, "The camera path was not written")
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"RUNNING_MODAL"}  # the frame moves meanwhile: nothing else may
        try:
            if not self._advance(context):
                return {"RUNNING_MODAL"}
        except NerfError as error:
            self.cancel(context)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.cancel(context)
        return {"FINISHED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Let go of the timer, and have the scene as it was."""
        if self._frames is not None:
            self._frames.close()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            context.window_manager.progress_end()
            context.workspace.status_text_set(None)
            self._timer = None

    def _advance(self, context: bpy.types.Context | None = None) -> bool:
        """Some frames more; whether all are done and the file is written."""
        until = time.monotonic() + TICK
        while time.monotonic() < until:
            try:
                part = next(self._frames)
            except StopIteration as end:
                self._write(end.value)
                return True
            if context is not None:
                context.window_manager.progress_update(part)
                context.workspace.status_text_set(f"Camera path: {part:.0%}  (Esc: cancel)")
        return False

    def _write(self, made: CameraPath) -> None:
        write.write(self._target, made, self.format.lower())
        self.report({"INFO"}, f"{len(made.cameras)} cameras: '{self._target}'")


def _path(text: str) -> Path:
    text = text.strip()
    if not text:
        raise NerfError("Choose a JSON file.")
    if text.startswith("//") and not bpy.data.filepath:
        raise NerfError(f"'{text}' is relative to the .blend file, which is not saved yet; save it first.")
    return Path(bpy.path.abspath(text)).expanduser().absolute()


def _draw_import(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(NERF_OT_import_path.bl_idname, text="NeRF Camera Path (.json)")


def _draw_export(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(NERF_OT_export_path.bl_idname, text="NeRF Camera Path (.json)")


CLASSES = (NERF_OT_import_path, NERF_OT_export_path)


def register() -> None:
    """Join File > Import and File > Export."""
    bpy.types.TOPBAR_MT_file_import.append(_draw_import)
    bpy.types.TOPBAR_MT_file_export.append(_draw_export)


def unregister() -> None:
    """Leave them."""
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import)
    bpy.types.TOPBAR_MT_file_export.remove(_draw_export)
