"""Heat maps of the active camera's view, coloured, in an Image Editor."""

from typing import Any

import bpy
from bpy.props import BoolProperty, IntProperty

from ..engine.settings import render_sampler
from ..heat import picture
from ..jobs import runs, tasks
from ..objects import chosen, find
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.heat import HEAT_NAMES, heat_kind
from . import common, live_preview
from .render import NO_CAMERA, file_name, view_of


class NERF_OT_heat_map(bpy.types.Operator):
    """Show how a picture of the active camera comes about."""

    bl_idname = "nerf.heat_map"
    bl_label = "Show Heat Map"
    bl_description = (
        "Show what the active camera sees as heat maps: how often the field is asked, how much of what is there the "
        "samples catch, and how far depth and colour are from the data set's view or from full sampling"
    )

    wait: BoolProperty(
        name="Wait", description="Return when the maps are there; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run and a camera."""
        if context.scene.camera is None:
            cls.poll_message_set(NO_CAMERA)
            return False
        return common.poll_trained(cls, context)

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core for a picture with all maps."""
        scene, layer = context.scene, context.view_layer
        outcome = common.begin_task(self, "Heat Map", [lambda: heat_step(scene, layer)], undo=False, on_end=_open)
        task = tasks.current()
        if outcome == {"FINISHED"} and not task.running and task.results:
            self.report({"INFO"}, summary(picture.shown(task.results[0])))
        return outcome


class NERF_OT_open_heat_map(bpy.types.Operator):
    """Show the heat map in an Image Editor."""

    bl_idname = "nerf.open_heat_map"
    bl_label = "Open Heat Map"
    bl_description = "Show the heat map in an Image Editor: an open one that is empty, or one in a new window"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs one."""
        if picture.find() is None:
            cls.poll_message_set("There is no heat map yet")
            return False
        return True

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Find an Image Editor for it, or open a window with one."""
        image = picture.find()
        if image is None:
            raise NerfError("There is no heat map yet: press Show Heat Map.")
        if bpy.app.background or context.window is None:
            raise NerfError("Blender has no window to open the heat map in.")
        if not live_preview.open_image(context, image):
            self.report({"INFO"}, f"An Image Editor shows '{image.name}' already")
        return {"FINISHED"}


class NERF_OT_choose_heat_map(bpy.types.Operator):
    """Show maps that were made before."""

    bl_idname = "nerf.choose_heat_map"
    bl_label = "Choose Heat Map"
    bl_description = "Show the maps of this view and sampler in the image"

    index: IntProperty(name="Index", min=0, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Needs the image."""
        return picture.find() is not None

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Show them."""
        shown = picture.shown()
        if shown is None or self.index >= len(shown.shots):
            self.report({"ERROR"}, "There is no such heat map any more")
            return {"CANCELLED"}
        picture.choose(index=self.index)
        return {"FINISHED"}


def heat_step(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> tasks.Step:
    """The step that makes the maps of what the scene's camera sees.

    Raises
    ------
    NerfError
        When nothing is trained or there is no camera.
    """
    if scene.camera is None:
        raise NerfError(NO_CAMERA)
    folder = chosen.chosen_run(scene)
    view = view_of(scene, layer, scene.camera, find.identity(folder.root))
    sampler = render_sampler(scene)
    name = sampler_name(sampler)
    paths = picture.files(folder.renders, file_name(view.name if sampler is None else f"{view.name}_{name}"))
    uid = scene.session_uid
    before = picture.shown()
    tops = {}
    if scene.nerf.heat.keep_scale and before is not None:
        tops = {each: numbers["top"] for each, numbers in before.shot.numbers.items()}

    def handle(result: dict[str, Any], _size: tuple[int, int]) -> bpy.types.Image:
        settings = runs.scene_again(uid).nerf.heat
        # The pointer keeps the image in the file, too.
        files = {each: str(group["picture"]) for each, group in paths.items()}
        shot = picture.Shot(view.name, name, result["heat"], files, view.camera.to_dict())
        settings.image = picture.show(shot, settings.map.lower())
        return settings.image

    return tasks.Step(
        "render",
        {
            **({"layers": view.layers} if view.layers else {"run": str(folder.root)}),
            "camera": view.camera.to_dict(),
            "passes": list(HEAT_NAMES),
            "heat_pictures": True,
            "heat_top": tops,
            "heat_reference": scene.nerf.heat.against.lower(),
            "sampler": sampler,
        },
        handle,
        f"Heat maps of {view.name}",
        prepare=lambda arrays: picture.write(arrays, paths),
    )


def sampler_name(sampler: dict[str, Any] | None) -> str:
    """A sampler as a person reads it."""
    if sampler is None:
        return "As trained"
    name = sampler["name"].capitalize()
    return f"{name} {sampler['samples']}" if sampler.get("samples") else name


def summary(shown: picture.Shown) -> str:
    """The map that is shown, in one sentence."""
    numbers = shown.numbers
    hit = "" if numbers["mean_hit"] is None else f", {numbers['mean_hit']:.3g} on the subject"
    return f"{heat_kind(shown.map).label} of {shown.shot.view}: {numbers['mean']:.3g} on the mean{hit}"


def _open(task: tasks.Task) -> None:
    """Show it to whoever watches, unless an Image Editor does so already."""
    if task.phase == "done" and task.results and bpy.context.window is not None:
        live_preview.open_image(bpy.context, task.results[0])


CLASSES = (NERF_OT_heat_map, NERF_OT_open_heat_map, NERF_OT_choose_heat_map)
