"""The NeRF objects of an evaluated scene as the layers that the core renders: which run, where, cropped by what."""

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

from ..capture.bounds import rendered_objects
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.messages import MAX_LAYERS
from . import find
from .create import rest_matrix

FLAT = 1e-9  # of its longest axis: a box with a shorter one holds nothing

Layer = dict[str, Any]


def scene_layers(
    depsgraph: bpy.types.Depsgraph,
    viewport: bool = False,
    run_id: str | None = None,
    space: bpy.types.SpaceView3D | None = None,
) -> list[Layer]:
    """The visible NeRF objects of an evaluated scene, in the scene's order.

    Parents, constraints, drivers, animation, hidden collections and collection instances count as Blender evaluated
    them. An object or crop box that is scaled to nothing shows nothing, and is left out.

    Parameters
    ----------
    depsgraph : Depsgraph
        Evaluated.
    viewport : bool
        Whether the viewport's visibility counts, or that of renders.
    run_id : str, optional
        Only the objects of one run.
    space : SpaceView3D, optional
        Only what this viewport shows, with its local view and local collections.

    Returns
    -------
    list of dict
        Each `{"run": absolute path, "matrix": 4x4, "crops": [4x4, ...]}`: `matrix` takes the training world to
        Blender's, affine; each crop takes the cube [-1, 1]^3 to Blender's world, and only what is inside all is shown.
        With `"window": [low, high]` where the object shows line integrals through a window of its own.

    Raises
    ------
    NerfError
        Naming the object whose run is not found; or when more are shown than the core takes.
    """
    layers = []
    for item, world, own in _visible(depsgraph, viewport, space):
        if run_id not in (None, item.nerf.run_id):
            continue
        crops = [world] if item.nerf.use_box else []
        crop = _crop_matrix(item, own, depsgraph)
        if crop is not None and has_volume(own):
            crops.append(world @ np.linalg.inv(own) @ crop)  # an instance is cropped as its original is
        if not all(has_volume(matrix) for matrix in (world, *crops)):
            continue
        run = find.run_of(item, drawing=viewport)
        matrix = world @ np.linalg.inv(rest_matrix(item))
        matrix[3] = (0.0, 0.0, 0.0, 1.0)
        layer = {"run": str(run.root), "matrix": matrix.tolist(), "crops": [each.tolist() for each in crops]}
        layers.append({**layer, **_window(item)})
    if len(layers) > MAX_LAYERS:
        raise NerfError(f"{len(layers)} NeRFs are shown at once; at most {MAX_LAYERS} can be rendered: hide some.")
    return layers


def _window(item: bpy.types.Object) -> Layer:
    shown = item.nerf_xray
    if not shown.use_window:
        return {}
    return {"window": [shown.level - shown.width / 2.0, shown.level + shown.width / 2.0]}


def nerf_to_world(item: bpy.types.Object) -> np.ndarray:
    """(4, 4) float64: the training world of a NeRF object's run to Blender's world, where it is shown now."""
    return _array(item.matrix_world) @ np.linalg.inv(rest_matrix(item))


def _visible(
    depsgraph: bpy.types.Depsgraph, viewport: bool, space: bpy.types.SpaceView3D | None
) -> Iterator[tuple[bpy.types.Object, np.ndarray, np.ndarray]]:
    """Evaluated NeRF objects with where they are seen, and where they stand: elsewhere when they are instanced."""
    # What is evaluated for the viewport knows nothing of what is hidden in renders.
    rendered = None
    if not viewport and depsgraph.mode != "RENDER":
        rendered = {item for item in rendered_objects(depsgraph.view_layer) if item.nerf.is_nerf or item.is_instancer}
    seen = set()
    for instance in depsgraph.object_instances:
        item = instance.object
        if not item.nerf.is_nerf:
            continue
        owner = instance.parent if instance.is_instance else item
        if rendered is not None and (owner.original not in rendered or item.hide_render):
            continue
        if space is not None and not owner.visible_in_viewport_get(space):
            continue
        world = _array(instance.matrix_world)
        if instance.is_instance:  # whose object is lent, with the instance's matrix
            yield item, world, _array(item.original.evaluated_get(depsgraph).matrix_world)
        else:
            seen.add(item.original)
            yield item, world, world
    for item in sorted((rendered or set()) - seen, key=lambda item: item.name):
        if item.nerf.is_nerf and not item.visible_get(view_layer=depsgraph.view_layer):
            world = _unevaluated_matrix(item, depsgraph)
            yield item, world, world


def crop_object(item: bpy.types.Object) -> bpy.types.Object | None:
    """The object that crops a NeRF; None when there is none, or the person deleted it."""
    crop = item.nerf.crop
    if crop is None:
        return None
    crop = crop.original
    # The pointer itself keeps a deleted object in the file, in no collection.
    if crop.library is None and item.original.library is None and not crop.users_collection:
        return None
    return crop


def crop_owner(item: bpy.types.Object, crop: bpy.types.Object) -> bpy.types.Object | None:
    """The NeRF of the same run that a crop box hangs below: where that goes, the box goes."""
    above = crop.parent
    while above is not None:
        if above.nerf.is_nerf and above.nerf.run_id == item.nerf.run_id:
            return above
        above = above.parent
    return None


def _crop_matrix(item: bpy.types.Object, own: np.ndarray, depsgraph: bpy.types.Depsgraph) -> np.ndarray | None:
    """The cube [-1, 1]^3 to the world, of what crops a NeRF object that stands at `own`; None without a crop."""
    crop = crop_object(item)
    if crop is None:
        return None
    matrix = _evaluated_matrix(crop, depsgraph) * np.array([*[crop.empty_display_size] * 3, 1.0])
    owner = crop_owner(item, crop)
    if owner is not None and owner != item.original:
        # A copy of a cropped NeRF is cropped as the original is, wherever the copy was moved to.
        original = _evaluated_matrix(owner, depsgraph)
        if not has_volume(original):
            return original
        matrix = own @ np.linalg.inv(original) @ matrix
    return matrix


def _evaluated_matrix(item: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> np.ndarray:
    """Where an original object stands."""
    if not item.constraints and _is_off(item, depsgraph.mode == "RENDER"):
        return _unevaluated_matrix(item, depsgraph)
    return _array(item.evaluated_get(depsgraph).matrix_world)


def _unevaluated_matrix(item: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> np.ndarray:
    """Where an original object stands that Blender does not evaluate, because it is switched off in viewports."""
    if item.constraints or (item.parent is not None and item.parent_type != "OBJECT"):
        return _array(item.matrix_world)
    own = _array(item.matrix_basis)
    if item.parent is None:
        return own
    return _evaluated_matrix(item.parent, depsgraph) @ _array(item.matrix_parent_inverse) @ own


def _is_off(item: bpy.types.Object, rendering: bool) -> bool:
    """Whether Blender may leave an object's copy as it was: for a render, only what is off everywhere."""
    places = (item, *item.users_collection)
    return any(place.hide_viewport for place in places) and (not rendering or any(p.hide_render for p in places))


def _array(matrix: Any) -> np.ndarray:
    return np.array(matrix, dtype=np.float64)


def has_volume(matrix: Any) -> bool:
    """Whether an affine matrix is finite and leaves a box its volume."""
    matrix = _array(matrix)
    if not np.isfinite(matrix).all():
        return False
    sizes = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return bool(sizes[2] > FLAT * sizes[0])
