"""From a pixel to rays: which camera made a picture, which pixels a patch has, and what the core answers for them."""

import json
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from nerf_core.contract.camera import Camera

from .small_run import (
    CENTER,
    RADIUS,
    core_python,
    look_from,
    needs_core,
    small_camera,
    trained_run,
    write_small_dataset,
)


@pytest.fixture
def inspector(addon_module, monkeypatch):
    """The inspector's modules, showing nothing before and after; the core that they start is gone at the end."""
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python() or "")
    names = ("state", "request", "rays", "picture_camera", "true_depth")
    modules = SimpleNamespace(**{name: addon_module(f"inspect.{name}") for name in names})
    modules.state.current().clear()
    yield modules
    modules.request.forget()
    modules.state.current().clear()
    addon_module("jobs.core").leave(20)


@pytest.fixture
def scene(tmp_path, inspector):
    """The scene of a trained run, seen from where a training camera was."""
    scene = bpy.context.scene
    scene.nerf.run_folder = str(trained_run(tmp_path))
    look_from(scene)
    return scene


def depsgraph():
    bpy.context.view_layer.update()
    return bpy.context.evaluated_depsgraph_get()


def ball(radius):
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=radius, location=CENTER)
    return bpy.context.object


def test_a_patch_is_the_pixels_about_a_pixel(inspector):
    camera = Camera(20, 12, 15.0, 15.0, 10.0, 6.0)
    aim = inspector.rays.Aim(camera, (7.5, 5.5), "View")
    pixels, chosen = aim.patch(1, 3)
    np.testing.assert_array_equal(pixels, [[7.5, 5.5]])
    assert chosen == 0
    pixels, chosen = aim.patch(3, 2)
    np.testing.assert_array_equal(pixels[chosen], aim.pixel)
    expected = [[x, y] for y in (3.5, 5.5, 7.5) for x in (5.5, 7.5, 9.5)]
    np.testing.assert_array_equal(pixels, expected)
    # At the corner what lies outside is left out, and the pixel itself is still found.
    pixels, chosen = inspector.rays.Aim(camera, (19.5, 0.5), "View").patch(4, 1)
    assert len(pixels) == 6 and (pixels > 0).all() and (pixels < (20, 12)).all()
    np.testing.assert_array_equal(pixels[chosen], (19.5, 0.5))
    assert len(aim.patch(16, 1)[0]) <= inspector.state.MAX_RAYS


def test_a_picture_of_the_core_keeps_its_camera(inspector, addon_module):
    images, camera = addon_module("importers.images"), small_camera(3, 16)
    image = images.show_preview(np.zeros((40, 40, 4), dtype=np.float32), "srgb", camera)
    found = inspector.picture_camera.camera_of_picture(image, bpy.context.scene, depsgraph())
    assert found.to_dict() == camera.to_dict()
    # A smaller picture of the same view has a smaller camera; a picture that nobody knows of has none.
    image = images.show_preview(np.zeros((20, 20, 4), dtype=np.float32), "srgb", camera)
    assert inspector.picture_camera.camera_of_picture(image, bpy.context.scene, depsgraph()).fl_x == camera.fl_x / 2
    image = images.show_preview(np.zeros((20, 20, 4), dtype=np.float32), "srgb")
    error = addon_module("vendor.nerf_core.contract.errors").NerfError
    with pytest.raises(error, match="Nobody knows which camera made the picture 'NeRF Preview'"):
        inspector.picture_camera.camera_of_picture(image, bpy.context.scene, depsgraph())


def test_a_picture_of_a_data_set_has_its_document_s_camera(inspector, tmp_path):
    data = write_small_dataset(tmp_path / "data", count=4)
    for name, index in (("train/0001.png", 1), ("val/0003.png", 3)):
        image = bpy.data.images.load(str(data / name))
        found = inspector.picture_camera.camera_of_picture(image, bpy.context.scene, depsgraph())
        camera = small_camera(index, 4)
        np.testing.assert_allclose(found.c2w, camera.c2w, atol=1e-9)
        assert (found.width, found.height, found.fl_x) == (40, 40, pytest.approx(camera.fl_x))
    assert not inspector.picture_camera._in_document.cache_info().currsize > 32


def test_a_picture_behind_a_camera_has_that_camera_where_it_stands(inspector, addon_module, tmp_path):
    image = bpy.data.images.new("Photograph", 40, 40)
    item = addon_module("capture.cameras").new_camera(small_camera(2, 16), "View")
    bpy.context.scene.collection.objects.link(item)
    item.data.background_images.new().image = image
    moved = Matrix.Translation((1.0, 2.0, 3.0)) @ item.matrix_world
    item.matrix_world = moved
    found = inspector.picture_camera.camera_of_picture(image, bpy.context.scene, depsgraph())
    np.testing.assert_allclose(found.c2w, np.array(moved), atol=1e-5)
    assert found.fl_x == pytest.approx(small_camera(2, 16).fl_x)


def test_a_render_has_the_scene_s_camera(inspector, addon_module):
    scene = bpy.context.scene
    look_from(scene, width=48, height=27)
    scene.camera.data.shift_x = 0.1
    result = SimpleNamespace(type="RENDER_RESULT", size=(48, 27), name="Render Result")
    found = inspector.picture_camera.camera_of_picture(result, scene, depsgraph())
    cameras = addon_module("capture.cameras")
    expected = cameras.camera_from_blender(scene.camera, depsgraph(), cameras.Frame.of_render(scene.render))
    assert found.to_dict() == expected.to_dict()


def test_true_depth_is_the_scene_s_surface_and_none_of_a_nerf_s(inspector, addon_module):
    scene, camera = bpy.context.scene, small_camera(1, 16)
    bpy.data.objects.remove(scene.objects["Cube"])
    origins, directions = camera.rays(np.array([[20.0, 20.0], [0.5, 0.5]]))
    assert not inspector.true_depth.true_depths(scene, depsgraph(), origins, directions).any()
    ball(RADIUS)
    shell = ball(1.2 * RADIUS)
    shell[addon_module("importers.point_display").RESULT_KEY] = "mesh"
    found = inspector.true_depth.true_depths(scene, depsgraph(), origins, directions)
    distance = np.linalg.norm(camera.position - CENTER)
    assert found[0] == pytest.approx(distance - RADIUS, abs=0.01)
    assert found[1] == 0.0


def trace(x, y):
    assert bpy.ops.nerf.inspect_pixel(pixel=(x, y)) == {"FINISHED"}


@needs_core
def test_rays_stand_where_the_camera_sends_them_and_the_nerf_is_shown(inspector, scene, addon_module):
    bpy.data.objects.remove(scene.objects["Cube"])
    ball(RADIUS)
    scene.nerf.inspector.patch, scene.nerf.inspector.spacing = 3, 4
    trace(20, 15)
    current = inspector.state.current()
    assert current.pinned and current.error == "" and current.view == "Camera"
    assert current.pixel == (20.5, 15.5) and current.chosen_ray == 4 and len(current.pixels) == 9
    camera = addon_module("operators.render").camera_at(scene, bpy.context.view_layer, scene.camera)
    assert current.camera.to_dict() == camera.to_dict()
    origins, directions = camera.rays(current.pixels)
    still = current.slots[0].arrays
    np.testing.assert_allclose(still["origin"], origins, atol=1e-5)
    np.testing.assert_allclose(still["direction"], directions, atol=1e-6)
    place = still["origin"][still["ray"]] + still["direction"][still["ray"]] * still["t"][:, None]
    np.testing.assert_allclose(still["position"], place, atol=1e-4)
    # The ball is where it was trained: what the ray found is near what the scene's own mesh says.
    true = still["true_depth"]
    assert true[4] == pytest.approx(np.linalg.norm(camera.position - CENTER) - RADIUS, abs=0.05)
    assert abs(still["expected_depth"][4] - true[4]) < 0.6 * RADIUS
    np.testing.assert_allclose(current.bounds[1] - current.bounds[0], 2.2 * RADIUS, rtol=1e-3)

    # Moved with the camera that looks at it, the NeRF gives the same rays at the other place.
    folder = addon_module("vendor.nerf_core.contract.run_folder").RunFolder(Path(scene.nerf.run_folder))
    nerf = addon_module("objects.create").add_nerf(scene, folder)
    bpy.context.view_layer.update()
    move = Matrix.Translation((0.4, -3.0, 1.0)) @ Matrix.Rotation(0.7, 4, "Z")
    for item in (nerf, scene.camera):
        item.matrix_world = move @ item.matrix_world
    bpy.context.view_layer.update()
    trace(20, 15)
    moved = current.slots[0].arrays
    # So it does where it is moved while the answer is on its way.
    nerf.matrix_world = Matrix.Translation((0.0, 0.0, 50.0)) @ nerf.matrix_world
    bpy.context.view_layer.update()
    scene.nerf.inspector.spacing = 3
    assert inspector.request.waiting()
    nerf.matrix_world = Matrix.Translation((0.0, 0.0, -50.0)) @ nerf.matrix_world
    bpy.context.view_layer.update()
    inspector.request.wait()
    again = current.slots[0].of_ray(current.chosen_ray)
    ours = moved["ray"] == 4
    np.testing.assert_allclose(again["t"], moved["t"][ours], atol=1e-4)
    assert len(moved["t"]) == len(still["t"]) > 1
    turned = still["position"] @ np.array(move)[:3, :3].T + np.array(move)[:3, 3]
    np.testing.assert_allclose(moved["position"], turned, atol=2e-3)


@needs_core
def test_what_changes_what_is_shown(inspector, scene, addon_module):
    trace(20, 15)
    current = inspector.state.current()
    before = current.slots[0]
    scene.nerf.inspector.patch = 2  # a setting traces the same pixel anew
    inspector.request.wait()
    assert len(current.pixels) == 4 and current.slots[0] is not before
    assert current.pixel == (20.5, 15.5)
    scene.nerf.inspector.sampler, scene.nerf.inspector.sampler_b = "OCCUPANCY", "TRAINED"
    scene.nerf.inspector.compare = True
    inspector.request.wait()
    assert [slot.used["name"] for slot in current.slots] == ["occupancy", "occupancy"]
    np.testing.assert_array_equal(current.slots[0].arrays["t"], current.slots[1].arrays["t"])

    # What cannot be traced is one sentence, and what is shown stays.
    shown = list(current.slots)
    with pytest.raises(RuntimeError, match=r"The pixel \(40, 3\) lies outside the picture, which has 40x30 pixels"):
        bpy.ops.nerf.inspect_pixel(pixel=(40, 3))
    scene.nerf.inspector.compare = False
    inspector.request.wait()
    shown = list(current.slots)
    scene.nerf.inspector.sampler = "PROPOSAL"  # none was trained in this run
    with pytest.raises(RuntimeError, match="proposal"):
        bpy.ops.nerf.inspect_pixel(pixel=(21, 15))
    assert current.slots == shown and "proposal" in current.error
    # Nor is anything lost where nothing was shown before: the next setting is tried as well.
    assert bpy.ops.nerf.inspect_clear() == {"FINISHED"}
    with pytest.raises(RuntimeError, match="proposal"):
        bpy.ops.nerf.inspect_pixel(pixel=(21, 15))
    assert current.slots == [] and "proposal" in current.error
    scene.nerf.inspector.sampler = "OCCUPANCY"
    inspector.request.wait()
    assert len(current.slots) == 1 and current.pixel == (21.5, 15.5) and current.error == ""
    assert bpy.ops.nerf.inspect_clear() == {"FINISHED"}
    assert current.slots == [] and current.error == "" and not inspector.request.waiting()
    assert not bpy.ops.nerf.inspect_clear.poll()

    # A novel view remembers its camera.
    assert bpy.ops.nerf.render_view() == {"FINISHED"}
    camera = addon_module("operators.render").camera_at(scene, bpy.context.view_layer, scene.camera)
    assert json.loads(bpy.data.images["Camera"]["nerf_camera"]) == camera.to_dict()

    # Another file shows nothing of this one.
    scene.nerf.inspector.sampler = "TRAINED"
    trace(20, 15)
    assert current.slots
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert current.slots == []
