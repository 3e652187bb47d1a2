"""Small scenes and readings that the capture tests share."""

import json
from pathlib import Path

import bpy
import numpy as np
from PIL import Image

# What Blender counts or caches while it works; none of it is part of a scene.
VOLATILE = {
    *("rna_type", "bl_rna", "id_data", "original", "is_evaluated", "session_uid", "depsgraph", "preview", "tag"),
    *("active_strip", "filepath", "is_dirty", "library_weak_reference", "pixels", "statistics", "users"),
    *("cache_raw_size", "cache_final_size"),
    *("enabled", "is_unavailable"),  # of node sockets: computed when a material is first used
    "linear_colorspace_settings",  # of a PNG: filled in when a format is chosen for the first time, and not used
    "uv_sculpt",  # reading it crashes Blender 4.2 without a window
}


def small(settings, folder: Path, train: int = 3, val: int = 1, test: int = 1, size: int = 32) -> None:
    """Capture settings for a quick capture into `folder`."""
    settings.folder, settings.name = str(folder), "run"
    settings.train_count, settings.val_count, settings.test_count = train, val, test
    settings.resolution_x = settings.resolution_y = size
    settings.samples = 1
    settings.use_denoise = False


def workbench(scene) -> None:
    """The quickest engine, for tests in which colour does not matter."""
    scene.render.engine = "BLENDER_WORKBENCH"


def cycles(scene) -> None:
    """Cycles on the processor."""
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"


def emission(name: str, value: float) -> bpy.types.Material:
    """A material that gives off scene-linear grey `value` and reflects nothing."""
    material = bpy.data.materials.new(name)
    if not material.node_tree:  # from 5.0 on every material has one
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output, node = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeEmission")
    node.inputs["Color"].default_value = (value, value, value, 1.0)
    tree.links.new(node.outputs[0], output.inputs["Surface"])
    return material


def picture(path) -> np.ndarray:
    """(H, W, 4) uint8 as stored."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGBA"))


def document(run: Path, name: str = "transforms.json") -> dict:
    """One JSON file of a run's data set."""
    return json.loads((run / "dataset" / name).read_text(encoding="utf-8"))


def dump() -> dict:
    """Every readable property of scenes, objects, lights, cameras, worlds, materials, node groups; and all names."""
    state = {"counts": {}}
    for item in bpy.data.bl_rna.properties:
        if item.type == "COLLECTION":
            state["counts"][item.identifier] = sorted(block.name_full for block in getattr(bpy.data, item.identifier))
    for kind in (
        "scenes",
        "objects",
        "cameras",
        "lights",
        "worlds",
        "materials",
        "node_groups",
        "collections",
        "actions",
    ):
        for block in getattr(bpy.data, kind):
            state[f"{kind}/{block.name_full}"] = _struct(block, 0, kind)
    return state


def differences(before, after, path: str = "") -> list[str]:
    """Where two dumps differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = [f"{path}: only in one: {key}" for key in before.keys() ^ after.keys()]
        for key in before.keys() & after.keys():
            found += differences(before[key], after[key], f"{path}.{key}")
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for i, pair in enumerate(zip(before, after, strict=True))
            for line in differences(*pair, f"{path}[{i}]")
        ]
    return [] if before == after else [f"{path}: {before!r} became {after!r}"]


def _struct(struct, depth: int, where: str):
    values = {}
    for item in struct.bl_rna.properties:
        name = item.identifier
        if name in VOLATILE or name == "nerf":  # `nerf` is our own group: it remembers the run
            continue
        try:
            values[name] = _value(getattr(struct, name), item, depth, f"{where}.{name}")
        except (AttributeError, TypeError, RuntimeError, ValueError, UnicodeDecodeError):
            continue
    return values


def _value(value, item, depth: int, where: str):
    if item.type == "POINTER":
        if value is None:
            return None
        if isinstance(value, bpy.types.ID) and not getattr(value, "is_embedded_data", False):
            return value.name_full
        if isinstance(value, bpy.types.Node | bpy.types.NodeSocket | bpy.types.Bone):
            return value.name  # dumped where it is owned
        return _struct(value, depth + 1, where) if depth < 6 else repr(type(value))
    if item.type == "COLLECTION":
        if len(value) > 200:
            return len(value)
        return [
            entry.name_full if isinstance(entry, bpy.types.ID) else _struct(entry, depth + 1, where) if depth < 6 else 0
            for entry in value
        ]
    if getattr(item, "is_array", False):
        return np.array(value).tolist()
    return sorted(value) if isinstance(value, set) else value
