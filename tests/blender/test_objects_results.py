"""What comes back of a run whose NeRF object was moved, turned and scaled lies where that shows it; the real core."""

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from .object_runs import layers, write_run
from .small_run import CENTER, RADIUS, core_python, look_from, needs_core, small_camera, trained_run
from .test_importers_images import pixels
from .test_importers_points import attribute, positions

pytestmark = needs_core


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("placed"))


@pytest.fixture
def nerf(addon_module, run, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    scene = bpy.context.scene
    scene.nerf.run_folder = str(run)
    look_from(scene)
    assert bpy.ops.nerf.add_object() == {"FINISHED"}
    yield bpy.context.object
    addon_module("jobs.core").leave(20)


def matrix_of(addon_module):
    return np.array(layers(addon_module)[0]["matrix"])


def in_world(item):
    bpy.context.view_layer.update()
    matrix = np.array(item.matrix_world)
    return positions(item.data) @ matrix[:3, :3].T + matrix[:3, 3]


def trained_from_world(addon_module, points):
    inverse = np.linalg.inv(matrix_of(addon_module))
    return points @ inverse[:3, :3].T + inverse[:3, 3]


def transform(item, location=(4, 3, 2), turn=(0.5, -0.4, 1.2), scale=(2.0, 0.7, 1.4)):
    item.location, item.rotation_euler, item.scale = location, turn, scale


def test_results_are_of_the_selected_nerf_where_the_scene_has_another_run_or_none(addon_module, nerf, run, tmp_path):
    scene, settings = bpy.context.scene, bpy.context.scene.nerf.points
    chosen = addon_module("objects.chosen")
    settings.count = 200
    for elsewhere in (tmp_path / "nothing", write_run(tmp_path / "other", "f" * 32).root):
        scene.nerf.run_folder = str(elsewhere)
        nerf.select_set(True)
        assert chosen.chosen_nerf(scene) == nerf and bpy.ops.nerf.import_points.poll()
        assert bpy.ops.nerf.import_points() == {"FINISHED"}
        assert settings.object.parent == nerf and len(settings.object.data.vertices) == 200
        bpy.data.objects.remove(settings.object)
        with chosen.scene_run_only():  # somebody named it
            assert chosen.has_run(scene) == (elsewhere.name == "other")
        nerf.select_set(False)
        assert chosen.chosen_nerf(scene) == (nerf if elsewhere.name == "nothing" else None)
        assert chosen.chosen_run(scene).root == (run if elsewhere.name == "nothing" else elsewhere)


def test_points_coincide_with_the_nerf_and_go_along(addon_module, nerf):
    transform(nerf)
    bpy.context.scene.nerf.points.count = 800
    assert bpy.ops.nerf.import_points() == {"FINISHED"}
    item = bpy.context.scene.nerf.points.object
    assert item.parent == nerf
    for _ in range(2):
        away = np.linalg.norm(trained_from_world(addon_module, in_world(item)) - CENTER, axis=1)
        assert abs(np.median(away) - RADIUS) < 0.15 * RADIUS
        assert np.linalg.norm(in_world(item).mean(axis=0) - CENTER) > 3
        transform(nerf, location=(-5, 0, 0), scale=(1, 1, 3))
    bpy.data.objects.remove(nerf)
    assert bpy.ops.nerf.import_points() == {"FINISHED"}  # the same object again, and no NeRF to hang below
    away = np.linalg.norm(in_world(bpy.context.scene.nerf.points.object) - CENTER, axis=1)
    assert abs(np.median(away) - RADIUS) < 0.15 * RADIUS


def test_training_cameras_stand_around_the_nerf_where_it_is_shown(addon_module, nerf):
    transform(nerf, scale=(2, 2, 2))
    assert bpy.ops.nerf.import_cameras() == {"FINISHED"}
    bpy.context.view_layer.update()
    matrix = matrix_of(addon_module)
    found = sorted((i for i in bpy.data.objects if i.name.startswith("NeRF train")), key=lambda item: item.name)
    assert len(found) == 14
    for index, item in enumerate(found):
        expected = matrix @ small_camera(index, 16).c2w
        np.testing.assert_allclose(item.matrix_world.translation, expected[:3, 3], atol=1e-4)
        forward = np.array(item.matrix_world.to_3x3().normalized())[:, 2]
        np.testing.assert_allclose(forward, expected[:3, 2] / 2, atol=1e-4)


def test_samples_lie_on_the_camera_s_rays_and_on_the_nerf_as_it_is_shown(addon_module, nerf):
    scene = bpy.context.scene
    transform(nerf)
    target = Vector((matrix_of(addon_module) @ [*CENTER, 1.0])[:3])
    eye = target + Vector((5.0, -4.0, 3.0))
    turned = (eye - target).to_track_quat("Z", "Y").to_matrix().to_4x4()
    scene.camera.matrix_world = Matrix.Translation(eye) @ turned
    scene.nerf.inspect.grid = (5, 5)
    assert bpy.ops.nerf.inspect_samples() == {"FINISHED"}
    item = scene.nerf.inspect.object
    assert item.parent == nerf and scene.nerf.inspect.rays.parent == item
    mesh = item.data
    t, ray = attribute(mesh, "t"), attribute(mesh, "ray", np.int32)
    weight, density = attribute(mesh, "weight").ravel(), attribute(mesh, "density").ravel()
    dt, clear = attribute(mesh, "dt").ravel(), attribute(mesh, "transmittance").ravel()
    points = in_world(item)
    np.testing.assert_allclose(np.linalg.norm(points - np.array(eye), axis=1), t, rtol=1e-3)
    np.testing.assert_allclose(weight, clear * (1 - np.exp(-density * dt)), atol=2e-3)
    middle = points[ray == 12]
    along = (middle - np.array(eye)) @ np.array((target - eye).normalized())
    np.testing.assert_allclose(np.linalg.norm(middle - np.array(eye), axis=1), along, rtol=1e-4)
    heavy = weight > 0.5 * weight.max()
    seen = trained_from_world(addon_module, points[heavy])
    assert len(seen) > 3 and abs(np.median(np.linalg.norm(seen - CENTER, axis=1)) - RADIUS) < 0.2 * RADIUS
    ends = in_world(scene.nerf.inspect.rays)
    np.testing.assert_allclose(ends[::2], np.broadcast_to(np.array(eye), ends[::2].shape), atol=1e-4)
    nerf.location = (0, 0, 9)
    again = trained_from_world(addon_module, in_world(item)[heavy])
    np.testing.assert_allclose(again, seen, atol=1e-3)


def test_a_novel_view_shows_the_nerf_where_it_is(addon_module, nerf):
    scene = bpy.context.scene

    def picture():
        assert bpy.ops.nerf.render_view() == {"FINISHED"}
        return pixels(bpy.data.images["Camera"]).copy()

    bpy.data.objects.remove(nerf)
    expected = picture()  # as it was trained
    assert expected[15, 20, 3] > 0.8
    bpy.ops.nerf.add_object()
    nerf = bpy.context.object
    move = Matrix.LocRotScale((7, -3, 2), Euler((0.3, 0.8, -1.1)), None)
    nerf.parent = bpy.data.objects.new("Mover", None)
    scene.collection.objects.link(nerf.parent)
    nerf.parent.matrix_world = move
    assert np.abs(picture() - expected)[..., 3].max() > 0.5  # it has left the picture
    scene.camera.matrix_world = move @ scene.camera.matrix_world
    assert np.abs(picture() - expected).max() < 4 / 255
    bpy.context.view_layer.objects.active = nerf
    bpy.ops.nerf.add_crop()
    bpy.context.object.location = (0, 0, 1)  # of the cropped cube only its upper half remains of the NeRF
    half = picture()
    assert half[..., 3].sum() < 0.8 * expected[..., 3].sum() and half[..., 3].max() > 0.8
