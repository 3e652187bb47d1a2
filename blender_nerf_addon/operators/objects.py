"""Add a NeRF to the scene, crop it, bring it back to where it was trained, find its run again."""

import os
from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, StringProperty

from ..jobs import runs
from ..objects import create, find, layers
from ..vendor.nerf_core.contract.errors import CheckpointError, NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import common


def active_nerf(context: bpy.types.Context) -> bpy.types.Object | None:
    """The NeRF that the person works on: the active object, or the one whose crop box that is."""
    item = context.object
    if item is None or item.nerf.is_nerf:
        return item
    above = item.parent
    return above if above is not None and above.nerf.is_nerf and above.nerf.crop == item else None


class _Chooser:
    """An operator that asks for a folder."""

    directory: StringProperty(name="Run Folder", subtype="DIR_PATH", options={"SKIP_SAVE"})
    filter_folder: BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    def ask(self, context: bpy.types.Context, start: Path) -> set[str]:
        """Open the file browser on a folder, or its nearest parent that exists."""
        while not start.is_dir() and start != start.parent:
            start = start.parent
        self.directory = os.path.join(start, "")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def chosen(self) -> RunFolder | None:
        """What was chosen; None when nothing was."""
        text = self.directory.strip()
        return RunFolder(Path(os.path.abspath(os.path.expanduser(bpy.path.abspath(text))))) if text else None


class _OnNerf:
    """An operator on the active NeRF object."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs one that can be changed."""
        item = active_nerf(context)
        if item is None or not item.nerf.is_nerf:
            cls.poll_message_set("The active object is no NeRF")
            return False
        if item.library is not None:
            cls.poll_message_set("This NeRF is linked from another file; make a library override of it first")
            return False
        return True


class NERF_OT_add_object(_Chooser, bpy.types.Operator):
    """Add a trained NeRF to the scene as an object."""

    bl_idname = "nerf.add_object"
    bl_label = "Add NeRF to Scene"
    bl_description = "Add a trained NeRF to the scene: an empty with its box, to be moved, cropped and rendered"
    bl_options = {"REGISTER", "UNDO"}

    choose: BoolProperty(name="Choose", description="Ask for the run's folder", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Say which run."""
        which = "a trained run that you choose" if properties.choose else "the scene's trained run"
        return f"Add {which} to the scene: an empty with its box, to be moved, cropped and rendered"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """As Blender's own: in object mode."""
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave edit mode first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for a folder when that is wished, or the scene has no trained run."""
        if self.choose or not runs.has_result(context.scene):
            return self.ask(context, _runs_place(context.scene))
        return self.execute(context)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add it to the active collection, selected and active."""
        folder = self.chosen() or runs.trained_run(context.scene)
        item = create.add_nerf(context.scene, folder, context.collection)
        _select(context, item)
        self.report({"INFO"}, f"Added the NeRF '{item.name}'")
        return {"FINISHED"}


class NERF_OT_add_crop(_OnNerf, bpy.types.Operator):
    """Add a box that bounds what is shown of the NeRF."""

    bl_idname = "nerf.add_crop"
    bl_label = "Add Crop Box"
    bl_description = "Add a box that bounds what is shown of the NeRF: move, turn, scale and keyframe it as any object"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a NeRF without a crop box of its own."""
        if not super().poll(context):
            return False
        item = active_nerf(context)
        crop = layers.crop_object(item)
        if crop is not None and layers.crop_owner(item, crop) in (None, item):
            cls.poll_message_set(f"'{crop.name}' crops it already")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make a cube empty below the NeRF, as large as its box."""
        item = active_nerf(context)
        crop = bpy.data.objects.new(f"{item.name} Crop", None)
        crop.empty_display_type, crop.empty_display_size = "CUBE", 1.0
        for collection in item.users_collection or (context.scene.collection,):
            if collection.library is None:
                collection.objects.link(crop)
        crop.parent = item
        item.nerf.crop = crop
        _select(context, crop)
        return {"FINISHED"}


class NERF_OT_to_trained_place(_OnNerf, bpy.types.Operator):
    """Put the NeRF back where it was trained."""

    bl_idname = "nerf.to_trained_place"
    bl_label = "Back to Trained Place"
    bl_description = "Put the NeRF exactly where it was trained, over the objects that it was captured from"
    bl_options = {"REGISTER", "UNDO"}

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Clear its transforms, and take out what its parent adds."""
        item = active_nerf(context)
        _to_rest(item, create.rest_matrix(item))
        context.view_layer.update()
        if abs(layers.nerf_to_world(item) - np.eye(4)).max() > 1e-3:
            self.report({"WARNING"}, f"Keyframes, drivers or constraints move '{item.name}'; remove those, too")
        return {"FINISHED"}


class NERF_OT_find_run(_Chooser, _OnNerf, bpy.types.Operator):
    """Say where the NeRF's run lies."""

    bl_idname = "nerf.find_run"
    bl_label = "Find Run"
    bl_description = "Choose the folder of the run that this NeRF shows, when it was moved or renamed"
    bl_options = {"REGISTER", "UNDO"}

    use_other: BoolProperty(
        name="Show Another Run",
        description="Take the folder even when it holds another run than the one that this NeRF showed so far",
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the folder, beginning where the run should be."""
        item = active_nerf(context)
        return self.ask(context, find.stored_place(item) or _runs_place(context.scene))

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take the chosen folder; another run only when that is confirmed."""
        folder = self.chosen()
        item = active_nerf(context)
        find.forget()
        if folder is None:  # from a script: look for it
            folder = find.run_of(item)
        elif below := find.run_below(folder.root, item.nerf.run_id):  # it was chosen, but not entered
            folder = RunFolder(below)
        create.run_bounds(folder)
        if not find.is_run(folder.root, item.nerf.run_id):
            if not self.use_other:
                raise CheckpointError(
                    f"'{folder.root}' holds another run than the one that '{item.name}' shows; switch on "
                    "'Show Another Run' to take it all the same."
                )
            create.show_run(item, folder)
        else:
            create.set_run_folder(item, folder)
        self.report({"INFO"}, f"'{item.name}' shows '{folder.root}'")
        return {"FINISHED"}


def add_after_training(scene_uid: int, folder: RunFolder) -> list[str]:
    """Add the NeRF of a training that ended, unless the scene has one of that run; an undo step of its own.

    Returns
    -------
    list of str
        The names of older NeRFs that are hidden now, because the new one stands in their place.

    Raises
    ------
    NerfError
        When the scene is gone, or nothing was trained.
    """
    scene = runs.scene_again(scene_uid)
    if next(create.nerf_objects(scene, folder.identity()), None) is not None:
        return []
    item = create.add_nerf(scene, folder, _shown_collection(scene))
    hidden = create.hide_overlapped(scene, item)
    bpy.ops.ed.undo_push(message="Add NeRF to Scene")
    return hidden


def _shown_collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    """The active collection when what is put there is seen."""
    view = bpy.context.view_layer
    if view is None or bpy.context.scene != scene:
        view = scene.view_layers[0]
    active = view.active_layer_collection
    if active is None or active.exclude or not active.is_visible or active.collection.library is not None:
        return scene.collection
    return active.collection


def _to_rest(item: bpy.types.Object, rest: np.ndarray) -> None:
    item.location, item.scale = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    item.rotation_euler = item.delta_rotation_euler = (0.0, 0.0, 0.0)
    item.rotation_quaternion = item.delta_rotation_quaternion = (1.0, 0.0, 0.0, 0.0)
    item.rotation_axis_angle = (0.0, 0.0, 1.0, 0.0)
    create.place_at(item, rest)
    if item.parent is not None:
        item.matrix_parent_inverse = item.parent.matrix_world.inverted_safe()


def _runs_place(scene: bpy.types.Scene) -> Path:
    from ..capture import folders

    try:
        return folders.runs_folder(scene.nerf.capture.folder)
    except NerfError:
        return Path.home()


def _select(context: bpy.types.Context, item: bpy.types.Object) -> None:
    for other in context.view_layer.objects:
        other.select_set(False)
    if context.view_layer.objects.get(item.name) is item:  # not in a collection that is excluded
        item.select_set(True)
        context.view_layer.objects.active = item


CLASSES = (NERF_OT_add_object, NERF_OT_add_crop, NERF_OT_to_trained_place, NERF_OT_find_run)
