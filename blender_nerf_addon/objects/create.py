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
    low, high = run_bounds(folder)
    identity = folder.identity()
    item = bpy.data.objects.new(folder.root.name or "NeRF", None)
    item.empty_display_type, item.empty_display_size = "CUBE", 1.0
    nerf = item.nerf
    nerf.is_nerf, nerf.run_id = True, identity
    nerf.run_folder, nerf.last_place = runs.stored_path(folder.root), str(folder.root)
    item.delta_location = (low + high) / 2
    item.delta_scale = (high - low) / 2
    rest = np.diag([*item.delta_scale, 1.0])  # as Blender rounds them: at rest the matrix is the identity exactly
    rest[:3, 3] = item.delta_location
    nerf.rest = rest.ravel()
    (collection or scene.collection).objects.link(item)
    return item


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


def nerf_objects(scene: bpy.types.Scene, run_id: str | None = None) -> Iterator[bpy.types.Object]:
    """The scene's NeRF objects; with `run_id`, those of one run."""
    for item in scene.objects:
        if item.nerf.is_nerf and run_id in (None, item.nerf.run_id):
            yield item


def rest_matrix(item: bpy.types.Object) -> np.ndarray:
    """(4, 4) float64: a NeRF object's local space to the training world."""
    return np.array(item.nerf.rest[:], dtype=np.float64).reshape(4, 4)
