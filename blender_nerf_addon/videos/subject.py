"""What a turntable or an animation shows: the scene's NeRF objects, or without any its run where it was trained."""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..capture.bounds import box_bounds
from ..jobs import runs
from ..objects import create, find
from ..objects.layers import scene_layers
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder


@dataclass(frozen=True)
class Subject:
    """What is rendered.

    Attributes
    ----------
    folder : RunFolder
        Whose `renders` the files go to.
    params : dict
        Of the core's `render` request: `run` or `layers`.
    """

    folder: RunFolder
    params: dict[str, Any]


def of_scene(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph, use_objects: bool = True) -> Subject:
    """What the scene shows at its current frame.

    With NeRF objects in the scene these alone count; when all are hidden there is nothing in the picture.

    Parameters
    ----------
    scene : Scene
    depsgraph : Depsgraph
        Evaluated at that frame.
    use_objects : bool
        Whether NeRF objects are looked for; else it is the scene's run.

    Raises
    ------
    NerfError
        When there is no NeRF object and nothing is trained, or an object's run is not found.
    """
    item = chosen_object(scene) if use_objects else None
    if item is None:
        folder = runs.trained_run(scene)
        return Subject(folder, {"run": str(folder.root)})
    return Subject(find.run_of(item), {"layers": scene_layers(depsgraph)})


def box(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph, use_objects: bool = True) -> np.ndarray:
    """(2, 3) world bounds of what a turntable goes around: the chosen object's box, or the run's own.

    Raises
    ------
    NerfError
        When nothing is trained, or there is no box.
    """
    item = chosen_object(scene) if use_objects else None
    if item is None:
        return create.run_bounds(runs.trained_run(scene))
    try:
        return box_bounds(item.evaluated_get(depsgraph))
    except NerfError:
        raise NerfError(f"The NeRF '{item.name}' is scaled to nothing: there is no box to turn about.") from None


def chosen_object(scene: bpy.types.Scene) -> bpy.types.Object | None:
    """The active NeRF object, else a selected one, else the first that is rendered, else any; None without one."""
    items = list(create.nerf_objects(scene))
    if not items:
        return None
    active = scene.view_layers[0].objects.active
    if bpy.context.scene == scene:
        active = bpy.context.view_layer.objects.active
    if active in items:
        return active
    selected = [item for item in items if item.select_get()]
    shown = [item for item in items if not item.hide_render]
    return (selected or shown or items)[0]


def is_there(scene: bpy.types.Scene) -> bool:
    """Whether there is something to render; cheap enough for drawing."""
    return runs.has_result(scene) or any(find.known_run(item) for item in create.nerf_objects(scene))
