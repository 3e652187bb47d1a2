"""Make the object of a trained run: an empty whose cube is the run's box, at rest exactly where it was trained."""

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

from ..jobs import runs
from ..vendor.nerf_core.contract.errors import CheckpointError
from ..vendor.nerf_core.contract.run_folder import RunFolder


def add_nerf(scene: bpy.types.Scene, folder: RunFolder, collection: bpy.types.Collection | None = None) -> Any:
    """Make the NeRF object of a trained run.

    Its local cube [-1, 1]^3 is the run's box. The trained place is in the delta transforms, so that location 0,
    rotation 0 and scale 1 (Alt-G, Alt-R, Alt-S) bring it back.

    Parameters
    ----------
    scene : Scene
    folder : RunFolder
        With an absolute path.
    collection : Collection, optional
        Where it goes; the scene's own by default.

    Returns
    -------
    Object
        Named after the run's folder.

    Raises
    ------
    NerfError
        When there is no run, nothing is trained in it, or its `run.json` holds no usable box.
    """
    run_bounds(folder)  # before there is an object
    item = bpy.data.objects.new(folder.root.name or "NeRF", None)
    item.empty_display_type = "CUBE"
    item.nerf.is_nerf = True
    show_run(item, folder)
    (collection or scene.collection).objects.link(item)
    return item


def show_run(item: bpy.types.Object, folder: RunFolder) -> None:
    """Have a NeRF object show a trained run: its box and trained place become that run's, its own transforms stay.

    Raises
    ------
    NerfError
        As `add_nerf` does.
    """
    low, high = run_bounds(folder)
    identity = folder.identity()
    rest = np.diag([*(high - low) / 2, 1.0])
    rest[:3, 3] = (low + high) / 2
    # As Blender rounds them: at rest, the matrix from the training world is then the identity exactly.
    item.nerf.rest = rest.ravel()
    item.nerf.run_id = identity
    place_at(item, rest_matrix(item))
    set_run_folder(item, folder)


def place_at(item: bpy.types.Object, rest: np.ndarray) -> None:
    """Put the trained place into an object's delta transforms."""
    item.delta_location, item.delta_scale = rest[:3, 3], rest.diagonal()[:3]
    item.empty_display_size = 1.0


def set_run_folder(item: bpy.types.Object, folder: RunFolder) -> None:
    """Remember where a NeRF object's run lies, relative to the .blend where that is possible."""
    item.nerf.run_folder, item.nerf.last_place = runs.stored_path(folder.root), str(folder.root)


def run_bounds(folder: RunFolder) -> np.ndarray:
    """(2, 3) float64: smallest and largest corner of a trained run's box, training world.

    Raises
    ------
    NerfError
        When there is no run, nothing is trained in it, or its `run.json` holds no usable box.
    """
    known = folder.read()
    if not folder.checkpoint.is_file():
        raise CheckpointError(f"Nothing is trained in '{folder.root}' yet; train it first.")
    try:
        bounds = np.array(known["bounds"], dtype=np.float64)
        usable = bounds.shape == (2, 3) and bool(np.isfinite(bounds).all() and (bounds[1] > bounds[0]).all())
    except (KeyError, TypeError, ValueError):
        usable = False
    if not usable:
        raise CheckpointError(f"'{folder.settings}' holds no usable 'bounds' of the trained box; train again.")
    return bounds


def hide_overlapped(scene: bpy.types.Scene, item: bpy.types.Object) -> list[str]:
    """Hide the scene's other NeRFs that a new one would be drawn into: trained at the same place, and left there.

    They are hidden as by hand, in viewports (H) and renders; one that was moved, is keyed or hangs below something
    stays as it is, for the person has other plans with it.

    Returns
    -------
    list of str
        The names of those that were seen before.
    """
    low, high = _rest_box(item)
    hidden = []
    for other in nerf_objects(scene):
        is_left = other.parent is None and other.animation_data is None and not other.constraints
        if other == item or other.library is not None or not is_left or other.hide_render:
            continue
        if not np.allclose(np.array(other.matrix_basis), rest_matrix(other), rtol=1e-5, atol=1e-6):
            continue
        other_low, other_high = _rest_box(other)
        shared = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0.0, None).prod()
        if shared <= 0.5 * max((high - low).prod(), (other_high - other_low).prod()):
            continue
        other.hide_render = True
        for layer in scene.view_layers:
            if layer.objects.get(other.name) == other:
                other.hide_set(True, view_layer=layer)
        hidden.append(other.name)
    return hidden


def _rest_box(item: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    rest = rest_matrix(item)
    half = np.abs(rest.diagonal()[:3])
    return rest[:3, 3] - half, rest[:3, 3] + half


def nerf_objects(scene: bpy.types.Scene, run_id: str | None = None) -> Iterator[bpy.types.Object]:
    """The scene's NeRF objects; with `run_id`, those of one run."""
    for item in scene.objects:
        if item.nerf.is_nerf and run_id in (None, item.nerf.run_id):
            yield item


def rest_matrix(item: bpy.types.Object) -> np.ndarray:
    """(4, 4) float64: a NeRF object's local space to the training world."""
    return np.array(item.nerf.rest[:], dtype=np.float64).reshape(4, 4)
