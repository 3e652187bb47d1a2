"""Import a data set as cameras with their pictures, and look through one of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

from ..capture import folders
from ..capture.cameras import PROPERTY, Frame, apply_frame
from ..importers import points
from ..jobs import runs, tasks
from ..jobs.settings import ORIENTATIONS, SCALES
from ..photographs import build
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from . import common


class NERF_OT_import_dataset(bpy.types.Operator):
    """Bring a data set in: cameras with their pictures behind them, its box and points; Train then trains from it."""

    bl_idname = "nerf.import_dataset"
    bl_label = "Import Data Set"
    bl_description = (
        "Bring in a NeRF-synthetic, instant-ngp, nerfstudio or COLMAP data set: a camera for each picture, with the "
        "picture behind it. Train then trains from it"
    )
    # Not REGISTER: its redo panel would start the core again while the first answer is still on its way.
    bl_options = {"UNDO"}

    filepath: StringProperty(
        name="Data Set",
        description="A folder with transforms.json, transforms_train.json or a COLMAP model; or one of these files",
        subtype="FILE_PATH",
    )
    filter_glob: StringProperty(default="*.json;*.bin;*.txt", options={"HIDDEN"})
    orientation: EnumProperty(name="Up", items=ORIENTATIONS, default="AUTO")
    scale: EnumProperty(name="Scale", items=SCALES, default="KEEP")
    use_points: BoolProperty(name="Sparse Points", description="Bring COLMAP's points in, too", default=True)
    set_resolution: BoolProperty(
        name="Set Resolution",
        description="Give the scene the size of the first picture, so that pictures and cameras line up",
        default=True,
    )
    alpha: FloatProperty(
        name="Opacity", description="Of the pictures behind the scene", default=0.5, min=0.0, max=1.0, subtype="FACTOR"
    )
    wait: BoolProperty(
        name="Wait", description="Return when all is there; always so without a window", options={"SKIP_SAVE", "HIDDEN"}
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One task at a time."""
        if tasks.running():
            cls.poll_message_set(f"{tasks.current().title} is under way")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file or folder."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the options beside the file browser."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        for name in ("orientation", "scale", "alpha", "use_points", "set_resolution"):
            layout.prop(self, name)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core what the data set holds, and make it."""
        step = self._step(context.scene)
        outcome = common.begin_task(self, "Import Data Set", [lambda: step], undo=True)
        task = tasks.current()
        if outcome == {"FINISHED"} and not task.running and task.results:
            self.report({"INFO"}, summary(task.results[-1]))
        return outcome

    def _step(self, scene: bpy.types.Scene) -> tasks.Step:
        data = _chosen(self.filepath)
        name = build.data_name(data)
        options = build.Options(data, name, self.alpha, _run_root(scene, data, name))
        uid, use_points, set_resolution = scene.session_uid, self.use_points, self.set_resolution

        def prepare(arrays: dict[str, Any]) -> dict[str, Any] | None:
            places = arrays["points"]
            if not use_points or not len(places):
                return None
            return points.prepare(places, np.zeros(len(places)), arrays["color"])

        def handle(result: dict[str, Any], prepared: dict[str, Any] | None) -> Iterator[float]:
            imported = yield from build.build(uid, result, prepared, options)
            scene = runs.scene_again(uid)
            first = _camera(scene, imported)
            if first is not None and set_resolution:
                apply_frame(scene.render, frame_of(first))
            if first is not None and scene.camera is None:
                scene.camera = first
            return imported

        placement = {"orientation": self.orientation.lower(), "scale": self.scale.lower()}
        return tasks.Step("dataset", {"data": str(data), **placement}, handle, "Reading the data set", prepare)


class NERF_OT_look_through(bpy.types.Operator):
    """Make a picture's camera the scene's, with the picture's size, so that both line up."""

    bl_idname = "nerf.look_through"
    bl_label = "Look Through"
    bl_description = "Make the active camera the scene's, with its picture's size and pixel shape, so that both line up"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a camera of a data set."""
        item = context.active_object
        if item is None or item.type != "CAMERA" or PROPERTY not in item.data:
            cls.poll_message_set("Select a camera that was imported with its picture")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set camera, size and the view."""
        item, scene = context.active_object, context.scene
        apply_frame(scene.render, frame_of(item))
        scene.camera = item
        space = context.space_data
        if space is not None and space.type == "VIEW_3D":
            space.region_3d.view_perspective = "CAMERA"
        if item.get(build.NOTE_KEY):
            self.report({"INFO"}, item[build.NOTE_KEY])
        return {"FINISHED"}


def frame_of(item: bpy.types.Object) -> Frame:
    """The picture size and pixel shape that an imported camera was made for."""
    try:
        camera = Camera.from_dict(json.loads(item.data[PROPERTY]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NerfError(f"The camera '{item.name}' no longer knows its picture; import the data set again.") from error
    return Frame(camera.width, camera.height, camera.fl_x / camera.fl_y)


def summary(imported: build.Imported) -> str:
    """What an import did, as a sentence."""
    parts = [f"{imported.made} cameras in the collection '{imported.collection}'"]
    if imported.there:
        parts.append(f"{imported.there} were there already and stay as they are")
    if imported.distorted:
        parts.append(
            f"{imported.distorted} have distorted lenses, which Blender cannot show and training takes as they are"
        )
    return "; ".join(parts)


def _chosen(text: str) -> Path:
    """The absolute path of what was chosen."""
    text = text.strip()
    if not text:
        raise NerfError("Choose a data set: its folder, its transforms.json, or a COLMAP model.")
    if text.startswith("//") and not bpy.data.filepath:
        raise NerfError(f"'{text}' is relative to the .blend file, which is not saved yet; save it first.")
    path = Path(bpy.path.abspath(text)).expanduser().absolute()
    if not path.exists():
        raise NerfError(f"The data set '{path}' does not exist; choose another one.")
    return path


def _run_root(scene: bpy.types.Scene, data: Path, name: str) -> Path | None:
    """A free run folder for a data set that the scene does not train from yet."""
    known = scene.nerf.training.data.strip()
    if known and Path(bpy.path.abspath(known)).absolute() == data:
        return None
    settings = scene.nerf.capture
    return folders.free_run(folders.runs_folder(settings.folder) / folders.run_name(name, scene))


def _camera(scene: bpy.types.Scene, imported: build.Imported) -> bpy.types.Object | None:
    collection = bpy.data.collections[imported.collection]
    return next((item for item in collection.all_objects if item.get(build.IMAGE_KEY) == imported.first), None)


def _draw_menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(NERF_OT_import_dataset.bl_idname, text="NeRF Data Set (transforms.json, COLMAP)")


CLASSES = (NERF_OT_import_dataset, NERF_OT_look_through)


def register() -> None:
    """Join File > Import."""
    bpy.types.TOPBAR_MT_file_import.append(_draw_menu)


def unregister() -> None:
    """Leave it."""
    bpy.types.TOPBAR_MT_file_import.remove(_draw_menu)
