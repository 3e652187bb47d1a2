"""Bake: the inspector's traces as objects whose attributes are the trace's numbers, where the rays are."""

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from ..trace_arrays import trace_arrays
from .small_run import core_python, look_from, needs_core, trained_run
from .test_importers_images import pixels
from .test_importers_points import positions

PARTS = ["samples", "rays", "bins", "skipped", "depths"]


@pytest.fixture
def objects(addon_module):
    return addon_module("importers.trace_objects")


@pytest.fixture
def state(addon_module):
    module = addon_module("inspect.state")
    module.current().clear()
    yield module
    module.current().clear()


def values(mesh, name):
    """An attribute's values, whatever its kind and domain."""
    layer = mesh.attributes[name]
    count = len(mesh.vertices) if layer.domain == "POINT" else len(mesh.edges)
    color = layer.data_type == "FLOAT_COLOR"
    dtype = {"INT": np.int32, "BOOLEAN": bool}.get(layer.data_type, np.float32)
    found = np.empty(count * (4 if color else 1), dtype)
    layer.data.foreach_get("color" if color else "value", found)
    return found.reshape(-1, 4) if color else found


def linear(color):
    color = np.asarray(color)
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def evaluated(item):
    """What the viewport shows of it: places and colours of its vertices, and faces."""
    mesh = item.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    return mesh, positions(mesh), values(mesh, "shown_color")


def test_every_number_of_a_trace_is_an_attribute(objects):
    arrays = trace_arrays(8)
    samples, rays, bins, skipped, depths = objects.bake(bpy.context.scene, [("occupancy", arrays)])
    collection = bpy.data.collections["NeRF Trace"]
    assert [item.name for item in (samples, rays, bins, skipped, depths)] == [
        f"NeRF Trace {part.title()}" for part in PARTS
    ]
    assert set(collection.objects) == {samples, rays, bins, skipped, depths}
    np.testing.assert_array_equal(positions(samples.data), arrays["position"])
    for name in ("t", "t0", "t1", "dt", "density", "weight", "transmittance", "optical_depth", "ray", "stage"):
        np.testing.assert_array_equal(values(samples.data, name), arrays[name], err_msg=name)
    assert samples.data.attributes["selected"].data_type == "BOOLEAN"
    np.testing.assert_array_equal(values(samples.data, "selected"), arrays["selected"] == 1)
    np.testing.assert_allclose(values(samples.data, "color")[:, :3], linear(arrays["color"]), atol=1e-6)
    order = np.argsort(arrays["weight"], kind="stable")
    assert (np.diff(values(samples.data, "radius")[order]) >= 0).all()

    def ends(item):
        return positions(item.data).reshape(-1, 2, 3)

    def at(ray, t):
        return arrays["origin"][ray] + t[:, None] * arrays["direction"][ray]

    every = np.arange(8)
    for item, ray, t0, t1 in (
        (rays, every, arrays["near"], arrays["end"]),
        (bins, arrays["bin_ray"], arrays["bin_t0"], arrays["bin_t1"]),
        (skipped, arrays["skip_ray"], arrays["skip_t0"], arrays["skip_t1"]),
    ):
        assert len(item.data.edges) == len(ray) and all(
            edge.vertices[1] == edge.vertices[0] + 1 for edge in item.data.edges
        )
        np.testing.assert_array_equal(values(item.data, "ray"), ray)
        np.testing.assert_allclose(ends(item)[:, 0], at(ray, t0), atol=1e-5)
        np.testing.assert_allclose(ends(item)[:, 1], at(ray, t1), atol=1e-5)
        np.testing.assert_allclose(values(item.data, "t").reshape(-1, 2), np.stack([t0, t1], 1), atol=1e-6)
    for name in ("near", "far", "end", "end_reason", "full", "density_only", "proposal",
                 "expected_depth", "median_depth", "true_depth"):  # fmt: skip
        assert rays.data.attributes[name].domain == "EDGE"
        np.testing.assert_array_equal(values(rays.data, name), arrays[name], err_msg=name)
    np.testing.assert_allclose(values(rays.data, "alpha"), arrays["rgba"][:, 3])
    hit = arrays["rgba"][:, 3] > 0
    np.testing.assert_allclose(
        values(rays.data, "color")[::2, :3][hit], linear([[0.8, 0.4, 0.2]] * hit.sum()), atol=1e-4
    )
    np.testing.assert_array_equal(values(bins.data, "weight"), arrays["bin_weight"])
    np.testing.assert_allclose(
        values(bins.data, "pdf") * (arrays["bin_t1"] - arrays["bin_t0"]), arrays["bin_weight"], atol=1e-6
    )
    kinds, ray, t = (values(depths.data, name) for name in ("kind", "ray", "t"))
    for kind, name in enumerate(("expected_depth", "median_depth", "true_depth")):
        known = np.flatnonzero(arrays[name] > 0)
        np.testing.assert_array_equal(ray[kinds == kind], known)
        np.testing.assert_array_equal(t[kinds == kind], arrays[name][known])
    np.testing.assert_allclose(positions(depths.data), at(ray, t), atol=1e-5)


def test_what_is_seen_of_it(objects):
    """Bars lie along their edges, balls about their points, both in their colours; a ray that misses has no bar."""
    arrays = trace_arrays(4)
    samples, rays, bins, skipped, depths = objects.bake(bpy.context.scene, [("x", arrays)])
    mesh, places, colors = evaluated(rays)
    assert len(mesh.polygons) == 3 * (8 + 2)  # one of the four misses
    width = values(rays.data, "radius")[0]
    bar = places[8:][:16]  # the edges' own ends come first
    np.testing.assert_allclose(bar[:, 0].min(), arrays["near"][0] - 3.0, atol=1e-4)
    np.testing.assert_allclose(bar[:, 0].max(), arrays["end"][0] - 3.0, atol=1e-4)
    np.testing.assert_allclose(np.hypot(bar[:, 1], bar[:, 2]), width, rtol=1e-3)
    np.testing.assert_allclose(colors[8:24], np.repeat(values(rays.data, "color")[:1], 16, axis=0), atol=1e-5)
    assert mesh.color_attributes[mesh.color_attributes.active_color_index].name == "color"
    assert "bar" not in mesh.attributes and mesh.materials[0].name == "NeRF Trace"

    mesh, places, colors = evaluated(bins)
    heaviest = int(np.argmax(values(bins.data, "radius") * (arrays["bin_ray"] == 0)))
    count = len(bins.data.vertices)
    bar = places[count:].reshape(-1, 16, 3)[heaviest]
    np.testing.assert_allclose(np.hypot(bar[:, 1], bar[:, 2]), values(bins.data, "radius")[heaviest], rtol=1e-3)
    np.testing.assert_allclose(bar[:, 0].mean(), 0.5 * (arrays["bin_t0"] + arrays["bin_t1"])[heaviest] - 3.0, atol=1e-4)

    mesh, places, colors = evaluated(samples)
    count = len(arrays["t"])
    balls = places[count:].reshape(count, -1, 3)
    reach = np.linalg.norm(balls - arrays["position"][:, None], axis=-1)
    np.testing.assert_allclose(reach.max(axis=1), values(samples.data, "radius"), rtol=1e-3)
    np.testing.assert_allclose(colors[:count, :3], linear(arrays["color"]), atol=1e-5)
    mesh, places, _ = evaluated(skipped)
    dashes = places[len(skipped.data.vertices) :].reshape(len(arrays["skip_ray"]), 12, 16, 3)
    np.testing.assert_allclose(dashes[..., 0].min(axis=(1, 2)), arrays["skip_t0"] - 3.0, atol=1e-4)
    np.testing.assert_allclose(dashes[..., 0].max(axis=(1, 2)), arrays["skip_t1"] - 3.0, atol=1e-4)
    long = np.ptp(dashes[..., 0], axis=2) / (arrays["skip_t1"] - arrays["skip_t0"])[:, None]
    np.testing.assert_allclose(long, 1 / 23, rtol=1e-2)
    assert len(evaluated(depths)[0].polygons) == len(depths.data.vertices) * 24 * 12


def test_a_second_bake_renews_its_own_objects_and_no_others(objects):
    scene = bpy.context.scene
    first = objects.bake(scene, [("a", trace_arrays(6)), ("b 4", trace_arrays(6))])
    assert (
        len(first) == 10 and first[0].name == "NeRF Trace Samples (a)" and first[5].name == "NeRF Trace Samples (b 4)"
    )
    copy = first[0].copy()
    scene.collection.objects.link(copy)
    own = bpy.data.materials.new("Mine")
    first[0].data.materials[0] = own
    first[1].name = "The ray"
    first[2].location = (0, 0, 1)
    bpy.data.objects.remove(first[3])
    theirs = bpy.data.objects.new("NeRF Trace Bins", None)
    bpy.data.collections["NeRF Trace"].objects.link(theirs)
    groups, materials = len(bpy.data.node_groups), len(bpy.data.materials)

    again = objects.bake(scene, [("c", trace_arrays(4))])
    assert again[0] == first[0] and again[0].name == "NeRF Trace Samples"
    assert len(again[0].data.vertices) == len(trace_arrays(4)["t"]) and len(again[0].modifiers) == 1
    assert again[0].data.materials[0] == own  # the person's choice stays
    assert again[1].name == "The ray" and tuple(again[2].location) == (0, 0, 1)
    assert again[3].name == "NeRF Trace Skipped" and again[3].name in scene.objects
    # The second trace's objects are gone; the copy, and what was put into the collection, stay.
    assert not [item for item in bpy.data.objects if item.name.endswith("(b 4)")]
    assert copy.name in scene.objects and theirs.name in scene.objects
    assert [(entry.trace, entry.part) for entry in scene.nerf.baked] == [(0, part) for part in PARTS]
    assert (len(bpy.data.node_groups), len(bpy.data.materials)) == (groups, materials)
    assert len([c for c in bpy.data.collections if c.name.startswith("NeRF Trace")]) == 1
    # No mesh is left over: five parts, and what the copy holds.
    meshes = [mesh for mesh in bpy.data.meshes if mesh.name.startswith("NeRF Trace")]
    assert sum(mesh.users > 0 for mesh in meshes) == 6 and len(meshes) <= 7  # one is of what the person deleted


def test_nothing_hit_and_nothing_sampled_can_be_baked(objects):
    arrays = trace_arrays(4)
    sized = {"ray": "ray", "bin_ray": "bin_", "skip_ray": "skip_"}
    none = {name: values[3:4] for name, values in arrays.items() if len(values) == 4}
    for name, array in arrays.items():
        if len(array) != 4:
            none[name] = array[:0]
    assert sized
    items = objects.bake(bpy.context.scene, [("x", none)])
    assert [len(item.data.vertices) for item in items] == [0, 2, 0, 0, 0]
    assert len(evaluated(items[1])[0].polygons) == 0


def test_cycles_renders_bars_and_balls(objects, tmp_path):
    scene = bpy.context.scene
    for item in list(scene.objects):
        if item.type != "CAMERA":
            bpy.data.objects.remove(item)
    scene.render.film_transparent = True
    scene.camera.matrix_world = Matrix.Translation((0, 0, 4))
    objects.bake(scene, [("x", trace_arrays(4))], size=4.0)
    scene.render.engine, scene.cycles.samples = "CYCLES", 2
    scene.view_settings.view_transform = "Standard"
    scene.render.dither_intensity = 0
    scene.render.resolution_x = scene.render.resolution_y = 96
    scene.render.filepath = str(tmp_path / "r.png")
    bpy.ops.render.render(write_still=True)
    picture = pixels(bpy.data.images.load(scene.render.filepath))
    seen = picture[..., 3] > 0.5
    assert 0.005 < seen.mean() < 0.3
    ball = np.abs(picture[..., :3] - [0.8, 0.4, 0.2]).max(axis=-1) < 0.02
    assert ball.sum() > 20  # samples, and rays that end in the ball, in its colour


def test_the_button_bakes_what_the_inspector_shows(objects, state):
    assert not bpy.ops.nerf.bake_trace.poll()
    arrays = trace_arrays(4)
    slots = [
        state.Slot({}, arrays, {"sampler": {"name": "surface", "samples": 4}}),
        state.Slot({"name": "oracle"}, arrays, {}),
    ]
    state.current().show(slots, run="/nowhere")
    assert bpy.ops.nerf.bake_trace() == {"FINISHED"}
    names = {item.name for item in bpy.data.collections["NeRF Trace"].objects}
    assert {"NeRF Trace Samples (surface 4)", "NeRF Trace Bins (oracle)"} <= names and len(names) == 10
    assert all(entry.object.parent is None for entry in bpy.context.scene.nerf.baked)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("baked"))


@pytest.fixture
def core(addon_module, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    yield addon_module("jobs.core")
    addon_module("jobs.core").leave(20)


@needs_core
def test_named_pixels_are_traced_shown_and_baked_where_the_nerf_stands(addon_module, core, state, run):
    scene = bpy.context.scene
    scene.nerf.run_folder = str(run)
    look_from(scene)
    assert bpy.ops.nerf.add_object() == {"FINISHED"}
    nerf = bpy.context.object
    assert bpy.ops.nerf.trace_pixels(pixels="20,15 0,0 21,15") == {"FINISHED"}
    shown = state.current()
    assert shown.slots[0].rays == 3 and shown.pinned
    np.testing.assert_allclose(shown.pixels, [[20.5, 15.5], [0.5, 0.5], [21.5, 15.5]])
    assert bpy.ops.nerf.bake_trace() == {"FINISHED"}
    samples = next(entry.object for entry in scene.nerf.baked if entry.part == "samples")
    bpy.context.view_layer.update()

    def seen():
        places = positions(samples.data)
        return places @ np.array(samples.matrix_world)[:3, :3].T + np.array(samples.matrix_world)[:3, 3]

    before = seen()
    np.testing.assert_allclose(before, shown.slots[0].arrays["position"], atol=1e-4)
    assert samples.parent == nerf
    nerf.location.z += 3.0  # what was baked goes along
    bpy.context.view_layer.update()
    np.testing.assert_allclose(seen(), before + [0, 0, 3.0], atol=1e-4)
    for text, words in (("20", "'20' names no pixels"), ("40,3", r"\(40, 3\) lies outside"), ("", "names no pixels")):
        with pytest.raises(RuntimeError, match=words):
            bpy.ops.nerf.trace_pixels(pixels=text)


@needs_core
def test_the_command_bakes_into_a_new_file(addon_module, monkeypatch, capsys, run, tmp_path):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    main = addon_module("cli").main
    look_from(bpy.context.scene)
    target = tmp_path / "trace.blend"
    assert main(["trace", "--run", str(run), "--pixel", "20,15", "--pixel", "22,15", "--save", str(target)]) == 0
    assert "samples of 2 rays" in capsys.readouterr().out
    assert main(["trace", "--run", str(run), "--pixel", "20"]) == 2
    assert "'20' names no pixels" in capsys.readouterr().err
    bpy.ops.wm.open_mainfile(filepath=str(target))
    baked = bpy.context.scene.nerf.baked
    assert [entry.part for entry in baked] == PARTS and all(entry.object is not None for entry in baked)
    weight = values(baked[0].object.data, "weight")
    selected = values(baked[0].object.data, "selected")
    assert 1.0 < weight[selected].sum() <= 2.001  # both meet the sphere
