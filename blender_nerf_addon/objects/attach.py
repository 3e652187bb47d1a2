"""What is brought back of a run lies where the scene shows that run, and goes along with it."""

import bpy
import numpy as np
from mathutils import Matrix

from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import find
from .create import nerf_objects, rest_matrix


def shown_nerf(scene: bpy.types.Scene, folder: RunFolder) -> bpy.types.Object | None:
    """The scene's NeRF object of a run: the active one, else one that is seen, else any; None without one."""
    run_id = find.identity(folder.root)
    items = sorted(nerf_objects(scene, run_id), key=lambda item: item.name) if run_id else []
    if not items:
        return None
    shown_here = bpy.context.scene == scene and bpy.context.view_layer is not None
    layer = bpy.context.view_layer if shown_here else scene.view_layers[0]
    if layer.objects.active in items:
        return layer.objects.active
    return next((item for item in items if item.visible_get(view_layer=layer)), items[0])


def attach(item: bpy.types.Object, nerf: bpy.types.Object | None, place: np.ndarray | None = None) -> None:
    """Hang what a run gave below its NeRF object, so that both coincide and stay together.

    What the person hung below something else is left there; without a NeRF object it lies as it came.

    Parameters
    ----------
    item : Object
        Of an import.
    nerf : Object or None
        Of `shown_nerf`.
    place : (4, 4) array, optional
        Where the NeRF object stood (local to world) when what came was brought to Blender's world; by default the
        item lies in the training world.
    """
    if item.parent is not None and not item.parent.nerf.is_nerf:
        return
    item.parent = nerf
    if nerf is None:
        item.matrix_parent_inverse = Matrix.Identity(4)
    else:
        item.matrix_parent_inverse = Matrix(np.linalg.inv(rest_matrix(nerf) if place is None else place).tolist())
