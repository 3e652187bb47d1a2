"""Points, samples and rays as objects: values, places, and that they are seen with their colours."""

import bpy
import numpy as np
import pytest

N = 400


@pytest.fixture
def points(addon_module):
    return addon_module("importers.points")


@pytest.fixture
def samples(addon_module):
    return addon_module("importers.samples")


def attribute(mesh, name, dtype=np.float32):
    layer = mesh.attributes[name]
    assert layer.domain == "POINT"
    width = {"FLOAT": 1, "INT": 1, "FLOAT_COLOR": 4}[layer.data_type]
    values = np.empty(width * len(mesh.vertices), dtype=dtype)
    layer.data.foreach_get("color" if width == 4 else "value", values)
    return values.reshape(-1, 4) if width == 4 else values


def positions(mesh):
    values = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", values)
    return values.reshape(-1, 3)


def cloud(seed=0, center=(3, -2, 1)):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(N, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    position = (normal + center).astype(np.float32)
    return position, rng.uniform(1, 90, N).astype(np.float32), rng.random((N, 3), dtype=np.float32)


def test_points_hold_the_core_s_values_in_world_space(points):
    position, density, color = cloud()
    item = points.import_points(bpy.context.scene, points.prepare(position, density, color))
    assert item.name in bpy.context.scene.objects and np.array_equal(np.array(item.matrix_world), np.eye(4))
    mesh = item.data
    np.testing.assert_array_equal(positions(mesh), position)
    assert mesh.attributes["density"].data_type == "FLOAT" and mesh.attributes["color"].data_type == "FLOAT_COLOR"
    np.testing.assert_array_equal(attribute(mesh, "density"), density)
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(attribute(mesh, "color")[:, :3], linear, atol=1e-6)
    assert (attribute(mesh, "color")[:, 3] == 1).all()


def test_points_have_body_and_active_colour_in_the_viewport(points):
    position, density, color = cloud()
    item = points.import_points(bpy.context.scene, points.prepare(position, density, color, radius=0.05))
    shown = item.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    assert shown.color_attributes[shown.color_attributes.active_color_index].name == "color"
    assert shown.materials[0].name == item.data.materials[0].name == "NeRF Points"
    assert len(shown.polygons) == 8 * N
    reach = np.linalg.norm(positions(shown)[N:].reshape(N, -1, 3) - position[:, None], axis=-1)
    np.testing.assert_allclose(reach, 1.3 * 0.05, rtol=1e-3)


def test_very_many_points_stay_points_in_the_viewport(points, addon_module):
    most = addon_module("importers.point_display").MOST_BODIES
    few, many = (np.random.default_rng(0).random((count, 3), dtype=np.float32) for count in (most, most + 1))
    item = None
    for position, bodies in ((few, True), (many, False), (few, True)):
        ones = np.ones(len(position), np.float32)
        item = points.import_points(bpy.context.scene, points.prepare(position, ones, position, 0.01), old=item)
        shown = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
        assert (len(shown.data.polygons) if shown.type == "MESH" else 0) == (8 * most if bodies else 0)


@pytest.mark.parametrize("kind", ["points", "samples"])
def test_cycles_renders_their_colours(points, samples, addon_module, kind, tmp_path):
    scene = bpy.context.scene
    for item in list(scene.objects):
        if item.type != "CAMERA":
            bpy.data.objects.remove(item)
    scene.world.color = (0, 0, 0)
    position = (np.array(scene.camera.matrix_world)[:3] @ [0, 0, -5, 1]).astype(np.float32)[None]
    if kind == "points":
        color = np.array([[0.2, 0.8, 0.4]], np.float32)
        points.import_points(scene, points.prepare(position, np.ones(1, np.float32), color, radius=1.5))
        expected = (51, 204, 102)
    else:
        samples.import_samples(scene, trace(position), radius=1.5)
        ramp = np.array(addon_module("importers.colors").ramp_colors(np.ones(1)))[0, :3]
        expected = 255 * np.where(ramp <= 0.0031308, 12.92 * ramp, 1.055 * ramp ** (1 / 2.4) - 0.055)
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 2
    scene.view_settings.view_transform = "Standard"
    scene.render.dither_intensity = 0
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.render.filepath = str(tmp_path / "r.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    middle = np.array(image.pixels[:]).reshape(32, 32, 4)[16, 16]
    np.testing.assert_allclose(255 * middle[:3], expected, atol=2)


def trace(position=None):
    """A trace of two rays: three samples and one."""
    weight = np.array([0.1, 0.6, 0.05, 0.02], np.float32) if position is None else np.array([0.5], np.float32)
    count = len(weight)
    rng = np.random.default_rng(3)
    return {
        "ray": np.array([0, 0, 0, 1], np.int32)[:count],
        "t": np.array([1.0, 2.0, 3.0, 2.5], np.float32)[:count],
        "dt": np.full(count, 0.5, np.float32),
        "position": rng.random((count, 3), dtype=np.float32) if position is None else position,
        "density": rng.random(count, dtype=np.float32),
        "color": rng.random((count, 3), dtype=np.float32),
        "weight": weight,
        "transmittance": rng.random(count, dtype=np.float32),
        "stage": np.array([0, 1, 1, 0], np.int32)[:count],
        "rgba": np.array([[0.5, 0.2, 0.1, 0.75], [0.0, 0.0, 0.02, 0.02], [0, 0, 0, 0]], np.float32),
        "origin": np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32),
        "direction": np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float32),
    }


def test_samples_hold_every_value_of_the_trace(samples):
    arrays = trace()
    item = samples.import_samples(bpy.context.scene, arrays)
    mesh = item.data
    np.testing.assert_array_equal(positions(mesh), arrays["position"])
    for name in ("t", "dt", "density", "weight", "transmittance"):
        np.testing.assert_array_equal(attribute(mesh, name), arrays[name])
    for name in ("stage", "ray"):
        assert mesh.attributes[name].data_type == "INT"
        np.testing.assert_array_equal(attribute(mesh, name, np.int32), arrays[name])
    brightness = attribute(mesh, "weight_color")[:, :3].sum(axis=1)
    assert list(np.argsort(brightness)) == list(np.argsort(arrays["weight"]))  # the heavier, the brighter
    assert mesh.materials[0].name == "NeRF Sample Weights"


def test_rays_are_edges_from_the_eye_to_the_last_sample(samples):
    arrays = trace()
    item = samples.import_samples(bpy.context.scene, arrays)
    rays = samples.import_rays(bpy.context.scene, arrays, item)
    assert rays.parent == item and len(rays.data.edges) == 3
    ends = positions(rays.data).reshape(3, 2, 3)
    np.testing.assert_array_equal(ends[:, 0], arrays["origin"])
    # 3 + dt/2 and 2.5 + dt/2; a ray without samples reaches as far as the longest
    np.testing.assert_allclose(ends[:, 1], [[0, 0, 3.25], [1, 2.75, 0], [5.25, 0, 0]], atol=1e-6)


def test_importing_again_renews_the_object_and_leaves_nothing_behind(points, samples):
    scene = bpy.context.scene
    first = points.import_points(scene, points.prepare(*cloud(0)))
    first.location = (1, 2, 3)
    again = points.import_points(scene, points.prepare(*cloud(1)), old=first)
    assert again == first and tuple(first.location) == (1, 2, 3) and len(first.modifiers) == 1
    np.testing.assert_array_equal(positions(first.data), cloud(1)[0])
    assert len([mesh for mesh in bpy.data.meshes if mesh.name.startswith("NeRF Points")]) == 1
    assert len([group for group in bpy.data.node_groups if group.get("nerf_kind")]) == 1
    bpy.data.objects.remove(first)
    fresh = points.import_points(scene, points.prepare(*cloud(0)), old=None)
    assert fresh.name in scene.objects
    item = samples.import_samples(scene, trace())
    rays = samples.import_rays(scene, trace(), item)
    samples.remove_rays(rays)
    assert not [o for o in scene.objects if o.get("nerf_result") == "rays"]


def test_a_user_s_own_object_is_never_taken_over(points):
    scene = bpy.context.scene
    cube = scene.objects["Cube"]
    item = points.import_points(scene, points.prepare(*cloud()), old=cube)
    assert item != cube and len(cube.data.vertices) == 8
