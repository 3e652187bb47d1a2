"""A CT as Blender's objects: its box, which stands for it, and under that a volume, surfaces and slices.

The box's own space is the patient's, RAS in metres; its matrix puts it into the world. Parts are made one after the
other, between which Blender lives on: what is held over are numbers that find objects again, because an undo meanwhile
makes references invalid.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..importers import encode, meshes
from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray_words import PHANTOM
from . import ct_materials
from .materials import metres_per_unit

PART_KEY = "nerf_ct_part"  # on what lies under the box: "volume", "bone", "skin", "axial", ...
EDGES = ((0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7))
PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class Made:
    """What came of an import.

    Attributes
    ----------
    uid : int
        `session_uid` of the CT's object.
    name : str
        Of the CT's object.
    parts : tuple of str
        Names of what lies under it.
    warnings : tuple of str
    size : (3,) tuple
        Millimetres.
    """

    uid: int
    name: str
    parts: tuple[str, ...]
    warnings: tuple[str, ...]
    size: tuple[float, float, float]

    @property
    def words(self) -> str:
        """A sentence on it."""
        size = " x ".join(f"{side:.0f}" for side in self.size)
        shown = ", ".join(part.removeprefix(f"{self.name} ").lower() for part in self.parts) or "its box"
        return f"'{self.name}', {size} mm: {shown}"


@dataclass
class Prepared:
    """What a thread made of the core's arrays."""

    surfaces: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    pictures: dict[str, tuple[bytes, tuple[int, int]]] = field(default_factory=dict)


def prepare(arrays: Mapping[str, np.ndarray]) -> Prepared:
    """Meshes and pictures of the answer to `ct`; touches nothing of Blender, to be called in a thread."""
    made = Prepared()
    for key, value in arrays.items():
        kind, _, name = key.partition("_")
        if kind == "vertices":
            plain = np.ones((len(value), 3), dtype=np.float32)
            made.surfaces[name] = meshes.prepare(value, arrays[f"faces_{name}"], plain)
        elif kind == "pixels":
            upright = np.ascontiguousarray(value[::-1])  # a file's first row is the top
            made.pictures[name] = encode.png_grey(upright), (value.shape[1], value.shape[0])
    return made


def build(
    scene_uid: int,
    result: Mapping[str, Any],
    prepared: Prepared,
    centered: bool = False,
    name: str = "",
    seen: bool = True,
) -> Iterator[float]:
    """Make the objects, a part at a time; yields the part that is done and returns what came of it.

    Parameters
    ----------
    scene_uid : int
    result : mapping
        The core's answer to `ct`.
    prepared : Prepared
    centered : bool
        To the world's origin.
    name : str
        Of the CT's object; by default after its file.
    seen : bool
        Whether it takes part in radiographs.

    Raises
    ------
    NerfError
        When the scene or the CT's object was taken away meanwhile, or Blender cannot read the volume.
    """
    scene = runs.scene_again(scene_uid)
    box = _box(scene, result, centered, name)
    box.nerf_xray.seen = seen
    uid, name = box.session_uid, box.name
    parts: list[str] = []
    todo = len(prepared.surfaces) + 2
    if result.get("volume"):
        yield 1 / todo
        parts.append(_volume(scene_uid, uid, result["volume"]))
    for number, (kind, arrays) in enumerate(prepared.surfaces.items(), start=2):
        yield number / todo
        parts.append(_surface(scene_uid, uid, kind, arrays))
    if result["slices"]:
        yield (todo - 1) / todo
        parts += show_slices(scene_uid, uid, result["slices"], prepared)
    corners = np.array(result["corners"])
    size = tuple(float(side) for side in 1e3 * np.linalg.norm(corners[[4, 2, 1]] - corners[0], axis=1))
    return Made(uid, name, tuple(parts), tuple(result["warnings"]), size)


def find(uid: int) -> bpy.types.Object:
    """A CT's object again."""
    for item in bpy.data.objects:
        if item.session_uid == uid:
            return item
    raise NerfError("The CT's object was taken away while it was made; import it again.")


def of(item: bpy.types.Object | None) -> bpy.types.Object | None:
    """The CT that an object is, or lies under; None for others."""
    while item is not None and item.nerf_xray.kind != "CT":
        item = item.parent
    return item


def show_slices(scene_uid: int, uid: int, cuts: Sequence[Mapping[str, Any]], prepared: Prepared) -> list[str]:
    """Make a CT's slices, or renew them; returns their names."""
    scene, box = runs.scene_again(scene_uid), find(uid)
    names = []
    for cut in cuts:
        plane = cut["plane"]
        label = f"{box.name} {plane.capitalize()}"
        image = _image(label, *prepared.pictures[plane])
        mesh = bpy.data.meshes.new(label)
        mesh.from_pydata([tuple(corner) for corner in cut["corners"]], [], [(0, 1, 2, 3)])
        layer = mesh.uv_layers.new(name="UVMap")
        layer.data.foreach_set("uv", np.array([0, 0, 1, 0, 1, 1, 0, 1], dtype=np.float32))
        mesh.materials.append(ct_materials.slice_material(label, image))
        old = next((item for item in box.children if item.get(PART_KEY) == plane), None)
        if old is None:
            names.append(_under(scene, box, label, mesh, plane).name)
            continue
        _replace(old, mesh)
        mesh.name = mesh.materials[0].name = image.name = label  # which the old ones had
        names.append(old.name)
    return names


def _box(scene: bpy.types.Scene, result: Mapping[str, Any], centered: bool, name: str) -> bpy.types.Object:
    """The object that stands for the CT: edges alone, so that nothing of it is rendered."""
    name = name or str(result["name"])
    if name.startswith(PHANTOM):
        name = name.replace(":", " ").capitalize()
    name = re.sub(r"\.(nii|nii\.gz|hdr|img)$", "", name, flags=re.IGNORECASE).strip()[:40] or "CT"
    mesh = bpy.data.meshes.new(f"{name} Box")
    corners = np.array(result["corners"], dtype=np.float64)
    mesh.from_pydata([tuple(corner) for corner in corners], EDGES, [])
    box = bpy.data.objects.new(name, mesh)
    box.nerf_xray.kind = "CT"
    source = str(result["source"])
    box.nerf_xray.source = source if source.startswith(PHANTOM) else runs.stored_path(source)
    matrix = Matrix.Scale(1.0 / metres_per_unit(scene), 4)
    if centered:
        matrix = matrix @ Matrix.Translation([-float(value) for value in corners.mean(axis=0)])
    box.matrix_basis = matrix
    scene.collection.objects.link(box)
    return box


def _under(scene: bpy.types.Scene, box: bpy.types.Object, name: str, data: bpy.types.ID, kind: str) -> bpy.types.Object:
    """An object of the CT: in the patient's space, where the box goes."""
    item = bpy.data.objects.new(name, data)
    item[PART_KEY] = kind
    item.parent = box
    for collection in box.users_collection or (scene.collection,):
        collection.objects.link(item)
    return item


def _volume(scene_uid: int, uid: int, path: str | Path) -> str:
    scene, box = runs.scene_again(scene_uid), find(uid)
    data = bpy.data.volumes.new(f"{box.name} Volume")
    data.filepath = runs.stored_path(path)
    if not data.grids.load() or data.grids.get("density") is None:
        told = data.grids.error_message
        bpy.data.volumes.remove(data)
        raise NerfError(f"Blender cannot read the volume '{path}'{': ' + told if told else ''}.")
    data.materials.append(ct_materials.volume_material())
    data.display.density = ct_materials.SOLID_DENSITY
    return _under(scene, box, data.name, data, "volume").name


def _surface(scene_uid: int, uid: int, kind: str, arrays: Mapping[str, np.ndarray]) -> str:
    scene, box = runs.scene_again(scene_uid), find(uid)
    mesh = meshes.triangle_mesh(f"{box.name} {kind.capitalize()}", dict(arrays))
    mesh.materials.append(ct_materials.surface_material(kind))
    return _under(scene, box, mesh.name, mesh, kind).name


def _image(name: str, data: bytes, size: tuple[int, int]) -> bpy.types.Image:
    """An image that holds a PNG file within the .blend; its pixels are read when they are needed."""
    image = bpy.data.images.new(name, *size, alpha=False)
    image.pack(data=data, data_len=len(data))
    image.source = "FILE"
    return image


def _replace(item: bpy.types.Object, mesh: bpy.types.Mesh) -> None:
    """Give a slice another place and picture, and take the old ones away."""
    before, item.data = item.data, mesh
    stale = list(before.materials)
    if before.users == 0:
        bpy.data.meshes.remove(before)
    for material in stale:
        if material is not None and material.users == 0 and material.get(ct_materials.KIND_KEY) == "ct slice":
            images = [node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE" and node.image]
            bpy.data.materials.remove(material)
            for image in images:
                if image.users == 0:
                    bpy.data.images.remove(image)
