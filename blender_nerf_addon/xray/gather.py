"""The closed meshes of a scene as X-rays meet them: evaluated, in world space, a little at a time."""

import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..capture.bounds import MESHABLE
from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray_words import PHANTOM
from . import materials
from .materials import Attenuation

MOST_PLACES = 5_000  # meshes and instances in all
STEP_SECONDS = 0.03
LARGE = 50_000  # faces: a mesh that is read in a step of its own
CHANGED = "The scene changed while its meshes were read: nothing was made. Start again, and wait until they are read."


@dataclass(frozen=True)
class Part:
    """A closed part of an object.

    Attributes
    ----------
    name : str
        Of its object, and of its Blender material where that has an attenuation of its own.
    vertices : (V, 3) float64 array
        World space.
    faces : (F, 3) int32 array
        Counter-clockwise as seen from outside.
    made_of : Attenuation
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    made_of: Attenuation


@dataclass(frozen=True)
class _Local:
    """Vertices (V, 3) float64 and triangles (F, 3) of a mesh in its own space; each triangle's material slot."""

    vertices: np.ndarray
    faces: np.ndarray
    slots: np.ndarray | None


def attenuating(layer: bpy.types.ViewLayer) -> list[bpy.types.Object]:
    """Objects of a view layer that take part in radiographs by their own settings, in the order of their names."""
    found = [
        item
        for item in layer.objects
        if (takes_part(item) or (is_ct(item) and item.nerf_xray.seen))
        and not item.hide_render
        and item.visible_get(view_layer=layer)
    ]
    return sorted(found, key=lambda item: item.name)


def takes_part(item: bpy.types.Object) -> bool:
    """Whether X-rays see a mesh object or a part of it."""
    if item.type not in MESHABLE or item.nerf_xray.kind != "NONE":
        return False
    whole = materials.of_object(item)
    return whole is not None or any(
        materials.of_material(slot.material, None) is not None for slot in item.material_slots
    )


def is_ct(item: bpy.types.Object) -> bool:
    """Whether an object stands for an imported CT."""
    return item.nerf_xray.kind == "CT" and bool(item.nerf_xray.source)


def ct_source(item: bpy.types.Object) -> str:
    """The CT that an object stands for, as the core takes it.

    Raises
    ------
    NerfError
        When it is not where it was.
    """
    source = item.nerf_xray.source
    if source.startswith(PHANTOM):
        return source
    path = os.path.abspath(bpy.path.abspath(source, library=item.library))
    if not Path(path).exists():
        raise NerfError(
            f"The CT of '{item.name}' is no longer at '{path}': say where it is now (Properties, Object, X-Ray), "
            "or hide the object."
        )
    return path


def gather(scene_uid: int, layer_name: str) -> Generator[float, None, list[Part]]:
    """Read all closed meshes of a view layer, modifiers and instances included; yields the part that is done.

    Nothing of Blender's is held between two steps, so that the person may go on working, or undo.

    Parameters
    ----------
    scene_uid : int
        Its `session_uid`.
    layer_name : str

    Returns
    -------
    list of Part

    Raises
    ------
    NerfError
        When the scene changes meanwhile, or holds too many places.
    """
    places = [_identity(*found) for found in _found(_layer(scene_uid, layer_name))]
    parts: list[Part] = []
    done = 0
    while done < len(places):
        yield done / len(places)
        some, done = _some(_layer(scene_uid, layer_name), places, done)
        parts += some
    return parts


def _layer(scene_uid: int, name: str) -> bpy.types.ViewLayer:
    layer = runs.scene_again(scene_uid).view_layers.get(name)
    if layer is None:
        raise NerfError(CHANGED)
    return layer


def _some(layer: bpy.types.ViewLayer, places: list[tuple[Any, ...]], done: int) -> tuple[list[Part], int]:
    """Read meshes from number `done` on for a while; how many are read then."""
    until = time.perf_counter() + STEP_SECONDS
    parts: list[Part] = []
    known: dict[tuple[int, int], _Local] = {}
    begun = done
    for number, found in enumerate(_found(layer)):
        if number < done:
            continue
        if number >= len(places) or _identity(*found) != places[number]:
            raise NerfError(CHANGED)
        _, item, owner, matrix = found
        if number > begun and len(item.data.polygons) > LARGE:
            break  # a step of its own
        key = (item.as_pointer(), item.data.as_pointer())
        if key not in known:
            known[key] = _read(item.data)
        parts += _parts(known[key], item, owner, np.array(matrix, dtype=np.float64))
        done = number + 1
        if time.perf_counter() > until:
            break
    if done == begun:
        raise NerfError(CHANGED)
    return parts, done


def seen_meshes(
    layer: bpy.types.ViewLayer,
) -> Iterator[tuple[bpy.types.Object, bpy.types.Object, Matrix]]:
    """Evaluated meshes that X-rays see, instances too, with the object whose settings count and the world matrix."""
    for _number, item, owner, matrix in _found(layer):
        yield item, owner, matrix


def _found(
    layer: bpy.types.ViewLayer,
) -> Iterator[tuple[int, bpy.types.Object, bpy.types.Object, Matrix]]:
    """Evaluated meshes that X-rays see: number, object, whose settings count, world matrix."""
    count = 0
    depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
    for number, instance in enumerate(depsgraph.object_instances):
        item = instance.object
        if item.type != "MESH" or item.hide_render:  # curves, texts and metaballs come as meshes, too
            continue
        parent = instance.parent if instance.is_instance else None
        if parent is not None and parent.hide_render:
            continue
        if parent is None and item.is_instancer and not item.show_instancer_for_render:
            continue
        owner = _settings_owner(item, parent)
        if owner is None:
            continue
        count += 1
        if count > MOST_PLACES:
            raise NerfError(
                f"More than {MOST_PLACES:,} meshes and instances attenuate X-rays: give a material to fewer objects, "
                "or join them."
            )
        yield number, item, owner, instance.matrix_world


def _settings_owner(item: bpy.types.Object, parent: bpy.types.Object | None) -> bpy.types.Object | None:
    """Whose settings count for an evaluated object: its own, else those of what made it an instance."""
    for candidate in (item, parent):
        if candidate is not None and takes_part(candidate.original):
            return candidate.original
    return None


def _identity(
    number: int, item: bpy.types.Object, owner: bpy.types.Object, matrix: Matrix
) -> tuple[int, str, str, tuple[float, ...]]:
    """What must be the same when a mesh is come back to."""
    return number, item.name_full, owner.name_full, tuple(value for row in matrix for value in row)


def _parts(local: _Local, item: bpy.types.Object, owner: bpy.types.Object, matrix: np.ndarray) -> list[Part]:
    vertices = local.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    faces = local.faces
    if np.linalg.det(matrix[:3, :3]) < 0.0:  # mirrored: what looked outward would look inward
        faces = np.ascontiguousarray(faces[:, ::-1])
    return _by_material(item, owner, vertices, faces, local.slots)


def _by_material(
    item: bpy.types.Object,
    owner: bpy.types.Object,
    vertices: np.ndarray,
    faces: np.ndarray,
    slots: np.ndarray | None,
) -> list[Part]:
    """One part for what is as the object is, and one for each material with an attenuation of its own."""
    whole = materials.of_object(owner)
    used = [slot.material for slot in item.material_slots] or list(item.data.materials)
    own = {
        index: materials.of_material(material, None)
        for index, material in enumerate(used)
        if materials.of_material(material, None) is not None
    }
    if not own:
        return [Part(owner.name, vertices, faces, whole)] if whole is not None else []
    if slots is None:
        slots = np.zeros(len(faces), dtype=np.int32)
    slots = np.minimum(slots, len(used) - 1)
    parts = []
    rest = faces[~np.isin(slots, list(own))]
    if whole is not None and len(rest):
        parts.append(Part(owner.name, *_used(vertices, rest), whole))
    for index, made_of in own.items():
        if len(chosen := faces[slots == index]):
            parts.append(Part(f"{owner.name} / {used[index].name}", *_used(vertices, chosen), made_of))
    return parts


def _used(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices that faces need, and the faces with the new numbers."""
    needed = np.zeros(len(vertices), dtype=bool)
    needed[faces] = True
    numbers = np.cumsum(needed, dtype=np.int32) - 1
    return vertices[needed], numbers[faces]


def _read(mesh: bpy.types.Mesh) -> _Local:
    vertices = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    if len(vertices):
        mesh.attributes["position"].data.foreach_get("vector", vertices)
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    faces = np.empty(3 * count, dtype=np.int32)
    mesh.loop_triangles.foreach_get("vertices", faces)
    slots = None
    indices = mesh.attributes.get("material_index")
    if indices is not None and len(indices.data) and count:
        of_polygons = np.empty(len(indices.data), dtype=np.int32)
        indices.data.foreach_get("value", of_polygons)
        polygons: Any = np.empty(count, dtype=np.int32)
        mesh.loop_triangles.foreach_get("polygon_index", polygons)
        slots = of_polygons[polygons]
    return _Local(vertices.reshape(-1, 3).astype(np.float64), faces.reshape(-1, 3), slots)
