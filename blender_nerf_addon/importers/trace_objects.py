"""Bake a trace: its parts as objects in the collection "NeRF Trace", renewed by the next bake."""

from collections.abc import Mapping, Sequence

import bpy
import numpy as np

from .edge_display import give_bars
from .point_display import (
    KIND_KEY,
    RESULT_KEY,
    add_attributes,
    color_solid_views,
    emission_material,
    give_body,
    point_mesh,
    show_color,
)
from .trace_parts import Part, bin_part, depth_part, ray_part, reach, sample_part, sample_radius, skip_part

COLLECTION = "NeRF Trace"
PARTS = ("samples", "rays", "bins", "skipped", "depths")
SKIP_DASHES = 12
TITLE_KEY = "nerf_title"  # the name that a bake gave an object
COLORS = {"samples": "color", "rays": "color", "bins": "weight_color", "skipped": "color", "depths": "color"}

Arrays = Mapping[str, np.ndarray]


def bake(scene: bpy.types.Scene, traces: Sequence[tuple[str, Arrays]], size: float = 1.0) -> list[bpy.types.Object]:
    """Make the objects of one trace or of several, or renew those of the bake before.

    What an earlier bake made and this one has no use for is taken away; what the person made of it (copies, and what
    was hung below it) stays.

    Parameters
    ----------
    scene : Scene
        Where they go; it remembers them in `scene.nerf.baked`.
    traces : sequence of (str, mapping)
        What each is called, such as its sampler, and what `trace` answers: arrays in world units.
    size : float
        Times the sizes that are chosen.

    Returns
    -------
    list of Object
        Trace by trace, in the order of `PARTS`.
    """
    before = {(entry.trace, entry.part): entry.object for entry in scene.nerf.baked}
    collection = _collection(scene)
    made: list[tuple[int, str, bpy.types.Object]] = []
    for index, (label, arrays) in enumerate(traces):
        for name, part in trace_parts(arrays, size).items():
            title = f"{COLLECTION} {name.title()}" + (f" ({label})" if len(traces) > 1 else "")
            made.append((index, name, _object(scene, collection, before.pop((index, name), None), title, name, part)))
    for old in before.values():
        if _is_ours(scene, old):
            mesh = old.data
            bpy.data.objects.remove(old)
            if mesh.users == 0:
                bpy.data.meshes.remove(mesh)
    scene.nerf.baked.clear()
    for index, name, item in made:
        entry = scene.nerf.baked.add()
        entry.trace, entry.part, entry.object = index, name, item
    color_solid_views()
    return [item for _, _, item in made]


def trace_parts(arrays: Arrays, size: float = 1.0) -> dict[str, Part]:
    """The parts of a trace by their names, in sizes that suit each other."""
    # As large as lets neighbours nearly touch, but a patch of close rays must not become one lump.
    radius = min(sample_radius(arrays), 0.02 * reach(arrays)) * size
    thin = 0.0015 * reach(arrays) * size
    return {
        "samples": sample_part(arrays, radius),
        "rays": ray_part(arrays, thin),
        "bins": bin_part(arrays, 3.0 * thin),
        "skipped": skip_part(arrays, 1.5 * thin),
        "depths": depth_part(arrays, 0.8 * radius),
    }


def _object(
    scene: bpy.types.Scene,
    collection: bpy.types.Collection,
    old: bpy.types.Object | None,
    title: str,
    name: str,
    part: Part,
) -> bpy.types.Object:
    mesh = point_mesh(title, part.positions, part.points)
    if part.edges is not None:
        count = len(part.positions) // 2
        mesh.edges.add(count)
        mesh.edges.foreach_set("vertices", np.arange(2 * count, dtype=np.int32))
        add_attributes(mesh, "EDGE", count, part.edges)
        mesh.update()
    show_color(mesh, COLORS[name])
    kind = f"trace_{name}"
    if _is_ours(scene, old):
        item = old
        for material in item.data.materials:  # which may be another one by now
            mesh.materials.append(material)
        before, item.data = item.data, mesh
        if before.users == 0:
            bpy.data.meshes.remove(before)
        if item.name == item.get(TITLE_KEY):  # unless the person named it otherwise
            item.name = title
    else:
        item = bpy.data.objects.new(title, mesh)
        item[RESULT_KEY] = kind
        collection.objects.link(item)
    item[TITLE_KEY] = item.name
    material = emission_material("NeRF Trace", "trace")
    if part.edges is None:
        give_body(item, kind, material, COLORS[name], rounded=True)
    else:
        give_bars(item, kind, material, COLORS[name], dashes=SKIP_DASHES if name == "skipped" else 1)
    return item


def _is_ours(scene: bpy.types.Scene, item: bpy.types.Object | None) -> bool:
    """Whether an object that was baked is still there to be renewed."""
    return (
        item is not None and str(item.get(RESULT_KEY, "")).startswith("trace_") and scene.objects.get(item.name) is item
    )


def _collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    """The scene's collection for baked traces."""
    for found in scene.collection.children_recursive:
        if found.get(KIND_KEY) == "trace":
            return found
    made = bpy.data.collections.new(COLLECTION)
    made[KIND_KEY] = "trace"
    scene.collection.children.link(made)
    return made
