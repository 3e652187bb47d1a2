"""Which run results are taken of: that of the selected NeRF object, else the scene's, else of one that it shows."""

import contextlib
from collections.abc import Iterator

import bpy

from ..jobs import runs
from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import find
from .create import nerf_objects

_scene_only = False


def chosen_run(scene: bpy.types.Scene) -> RunFolder:
    """The run to take views, points, meshes ... of, with a checkpoint.

    Raises
    ------
    NerfError
        When nothing is trained, or the run of a NeRF object is not found.
    """
    item = chosen_nerf(scene)
    return runs.trained_run(scene) if item is None else find.run_of(item)


def has_run(scene: bpy.types.Scene) -> bool:
    """Whether there is such a run; cheap enough for drawing."""
    item = chosen_nerf(scene)
    return runs.has_result(scene) if item is None else find.known_run(item) is not None


def chosen_nerf(scene: bpy.types.Scene) -> bpy.types.Object | None:
    """The NeRF object whose run counts; None where it is the scene's own."""
    if _scene_only:
        return None
    item = _selected(scene)
    if item is not None or runs.has_result(scene):
        return item
    # Such as one that was appended into a file in which nothing was trained.
    return next((each for each in nerf_objects(scene) if find.known_run(each) is not None), None)


@contextlib.contextmanager
def scene_run_only() -> Iterator[None]:
    """Have the scene's own run count, whatever is selected: somebody named it."""
    global _scene_only
    before, _scene_only = _scene_only, True
    try:
        yield
    finally:
        _scene_only = before


def _selected(scene: bpy.types.Scene) -> bpy.types.Object | None:
    """The active object when it is selected and a NeRF, or the NeRF that it crops."""
    if bpy.context.scene != scene or bpy.context.view_layer is None:
        return None
    item = bpy.context.view_layer.objects.active
    if item is None or not item.select_get():
        return None
    if item.nerf.is_nerf:
        return item
    above = item.parent
    return above if above is not None and above.nerf.is_nerf and above.nerf.crop == item else None
