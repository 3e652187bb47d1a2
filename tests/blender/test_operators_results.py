"""What comes back of a trained run: pictures, points, samples, cameras; with the real core."""

import os
import signal

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from . import capture_scenes as scenes
from .small_run import (
    CENTER,
    RADIUS,
    core_python,
    look_from,
    needs_core,
    process_gone,
    small_camera,
    sphere_image,
    trained_run,
)
from .test_importers_images import pixels
from .test_importers_points import attribute, positions

pytestmark = needs_core


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("results"))


@pytest.fixture
def jobs(addon_module, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())

    class Jobs:
        core = addon_module("jobs.core")
        pump = addon_module("jobs.pump")
        tasks = addon_module("jobs.tasks")
        render = addon_module("operators.render")
        images = addon_module("importers.images")
        rig_views = addon_module("capture.rig_views")

        def ask(self, method, **params):
            """The core's own answer, past all operators."""
            call = self.core.request(method, params)
            assert self.pump.pump_until(lambda: call.done, 120) and call.error is None, call.error
            return call

    jobs = Jobs()
    yield jobs
    process = jobs.core.running()
    jobs.core.leave(20)
    if process is not None:
        assert process_gone(process.pid)


@pytest.fixture
def scene(run):
    scene = bpy.context.scene
    scene.nerf.run_folder = str(run)
    look_from(scene)
    return scene


def test_a_novel_view_has_the_core_s_pixels(jobs, scene, run):
    assert bpy.ops.nerf.render_view() == {"FINISHED"}
    image = bpy.data.images["Camera"]
    assert bpy.path.abspath(image.filepath) == str(run / "renders" / "Camera.png")
    camera = jobs.render.camera_at(scene, bpy.context.view_layer, scene.camera)
    answer = jobs.ask("render", run=str(run), camera=camera.to_dict())
    expected = np.round(jobs.images.straight(answer.arrays["rgba"]) * 255).astype(np.uint8)
    np.testing.assert_array_equal(np.round(pixels(image) * 255).astype(np.uint8), expected)
    assert expected.shape == (30, 40, 4) and expected[15, 20, 3] > 200 and expected[0, 0, 3] < 30
    assert np.abs(expected[12:18, 16:24, 0].astype(int) - 170).max() < 80  # orange, as the sphere


def test_the_view_is_the_one_that_blender_s_camera_sees(jobs, scene, run):
    """The picture from a training camera's place agrees with that camera's training picture."""
    scene.render.resolution_x = scene.render.resolution_y = 40
    scene.camera.data.sensor_fit, scene.camera.data.sensor_width = "HORIZONTAL", 36.0
    scene.camera.data.lens = 1.4 * 36.0
    assert bpy.ops.nerf.render_view() == {"FINISHED"}
    seen = pixels(bpy.data.images["Camera"])[..., 3] > 0.5
    truth = sphere_image(small_camera(1, 16))[..., 3] > 127
    assert (seen == truth).mean() > 0.97


def test_all_cameras_and_the_frame_range(jobs, scene, run):
    other = bpy.data.objects.new("Second / one", bpy.data.cameras.new("c"))
    scene.collection.objects.link(other)
    other.matrix_world = scene.camera.matrix_world
    scene.nerf.render.views, scene.nerf.render.percentage = "ALL", 50
    assert bpy.ops.nerf.render_view() == {"FINISHED"}
    assert {"Camera.png", "Second _ one.png"} <= {path.name for path in (run / "renders").iterdir()}
    assert tuple(bpy.data.images["Second _ one"].size) == (20, 15)

    scene.camera.location = small_camera(1, 16).position
    scene.camera.keyframe_insert("location", frame=1)
    scene.camera.location = small_camera(1, 16).position + 2 * (small_camera(1, 16).position - CENTER)
    scene.camera.keyframe_insert("location", frame=3)
    scene.frame_start, scene.frame_end = 1, 3
    scene.frame_set(2, subframe=0.5)
    scene.nerf.render.views = "FRAMES"
    assert bpy.ops.nerf.render_view() == {"FINISHED"}
    assert (scene.frame_current, scene.frame_subframe) == (2, 0.5)
    covered = [pixels(bpy.data.images[f"Camera_000{frame}"])[..., 3].sum() for frame in (1, 2, 3)]
    assert covered[0] > 2 * covered[2] and covered[0] > covered[1] > covered[2]  # it moves away


def test_a_frame_range_follows_markers_and_leaves_the_scene_as_it_was(jobs, scene, run):
    other = bpy.data.objects.new("Other", bpy.data.cameras.new("Other"))
    scene.collection.objects.link(other)
    other.matrix_world = Matrix(small_camera(5, 16).c2w.tolist())
    scene.timeline_markers.new("cut", frame=21).camera = scene.camera
    scene.timeline_markers.new("other", frame=22).camera = other
    cube = scene.objects["Cube"]
    for frame, x in ((20, 0.0), (30, 2.0)):
        cube.location.x = x
        cube.keyframe_insert("location", index=0, frame=frame)
    scene.frame_start, scene.frame_end = 21, 23
    scene.frame_set(5, subframe=0.25)
    cube.location.x = -0.5  # changed, not keyed: a frame change overwrites it
    scene.nerf.render.views = "FRAMES"
    bpy.context.view_layer.update()
    before = scenes.dump()
    found = jobs.render.chosen_views(scene, bpy.context.view_layer)
    steps = jobs.render.render_steps(scene, bpy.context.view_layer)
    assert scenes.differences(before, scenes.dump()) == []
    assert [(view.name, view.frame) for view in found] == [("Camera", 21), ("Other", 22), ("Other", 23)]
    np.testing.assert_allclose(found[0].camera.c2w, small_camera(1, 16).c2w, atol=1e-5)
    np.testing.assert_allclose(found[2].camera.c2w, small_camera(5, 16).c2w, atol=1e-5)
    # What the person does meanwhile changes nothing about the pictures, and no picture moves the frame.
    other.location.x += 10
    scene.frame_set(7)
    moved = []
    bpy.app.handlers.frame_change_pre.append(lambda *_: moved.append(1))
    task = jobs.tasks.start("Render", steps, len(steps))
    assert jobs.pump.pump_until(lambda: not task.running, 120) and task.phase == "done", task.text
    bpy.app.handlers.frame_change_pre.pop()
    assert not moved and [image.name for image in task.results] == ["Camera_0021", "Other_0022", "Other_0023"]
    answer = jobs.ask("render", run=str(run), camera=found[2].camera.to_dict())
    expected = np.round(jobs.images.straight(answer.arrays["rgba"]) * 255)
    np.testing.assert_array_equal(np.round(pixels(task.results[2]) * 255), expected)


def test_a_picture_of_somebody_else_is_not_written_over(jobs, scene, run):
    scene.camera.name = "Mine"
    (run / "renders").mkdir(exist_ok=True)
    (run / "renders" / "Mine.png").write_bytes(b"a picture of the person's own")
    for _ in range(2):  # the second time over our own
        assert bpy.ops.nerf.render_view() == {"FINISHED"}
    assert (run / "renders" / "Mine.png").read_bytes() == b"a picture of the person's own"
    assert sorted(path.name for path in (run / "renders").glob("Mine*")) == ["Mine-2.png", "Mine.png"]
    assert bpy.path.abspath(bpy.data.images["Mine-2"].filepath) == str(run / "renders" / "Mine-2.png")


@pytest.mark.parametrize("where", ["make", "prepare", "handle"])
def test_a_bug_of_ours_ends_the_task_with_its_traceback(jobs, scene, run, where, capfd):
    def broken(*_arguments):
        raise ZeroDivisionError("oh")

    camera = jobs.render.camera_at(scene, bpy.context.view_layer, scene.camera)
    params = {"run": str(run), "camera": camera.to_dict()}
    prepare = broken if where == "prepare" else lambda arrays: arrays["rgba"]
    step = jobs.tasks.Step("render", params, broken, prepare=prepare)
    ended = []
    task = jobs.tasks.start("Render", [broken if where == "make" else lambda: step], 1, on_end=ended.append)
    assert jobs.pump.pump_until(lambda: not task.running, 120)
    assert (task.phase, task.text, ended) == ("failed", "Render failed: ZeroDivisionError: oh", [task])
    assert "in broken" in capfd.readouterr().err
    assert bpy.ops.nerf.render_view() == {"FINISHED"}


def test_cancel_ends_points_in_the_core(jobs, scene, run):
    params = {"run": str(run), "count": 20_000_000, "threshold": None}
    step = jobs.tasks.Step("points", params, lambda *_: None)
    task = jobs.tasks.start("Points", [lambda: step], 1)
    assert jobs.pump.pump_until(lambda: task.fraction > 0, 120)
    call = next(iter(jobs.core.running()._calls.values()))
    assert bpy.ops.nerf.task_cancel() == {"FINISHED"} and task.phase == "cancelled"
    assert jobs.pump.pump_until(lambda: call.done, 60) and call.error.cancelled


def test_points_are_the_core_s_and_lie_on_the_sphere(jobs, scene, run):
    scene.nerf.points.count = 3000
    assert bpy.ops.nerf.import_points() == {"FINISHED"}
    item = scene.nerf.points.object
    answer = jobs.ask("points", run=str(run), count=3000, threshold=None)
    np.testing.assert_array_equal(positions(item.data), answer.arrays["position"])
    np.testing.assert_array_equal(attribute(item.data, "density"), answer.arrays["density"])
    assert scene.nerf.points.threshold == pytest.approx(answer.result["threshold"], rel=1e-6)
    distance = np.abs(np.linalg.norm(positions(item.data) - CENTER, axis=1) - RADIUS)
    assert np.median(distance) < 0.15 * RADIUS
    assert "Cube" in scene.objects

    scene.nerf.points.automatic, scene.nerf.points.threshold = False, 2 * answer.result["threshold"]
    assert bpy.ops.nerf.import_points() == {"FINISHED"}
    assert scene.nerf.points.object == item
    assert attribute(item.data, "density").min() >= scene.nerf.points.threshold


def test_a_threshold_that_nothing_reaches_is_one_sentence(jobs, scene):
    scene.nerf.points.automatic, scene.nerf.points.threshold = False, 1e9
    with pytest.raises(RuntimeError, match="lower the threshold"):
        bpy.ops.nerf.import_points()
    assert scene.nerf.points.object is None


def test_samples_of_a_grid_are_the_core_s(jobs, scene, run):
    scene.nerf.inspect.grid = (4, 3)
    assert bpy.ops.nerf.inspect_samples() == {"FINISHED"}
    item, rays = scene.nerf.inspect.object, scene.nerf.inspect.rays
    camera = jobs.render.camera_at(scene, bpy.context.view_layer, scene.camera)
    asked = [[x, y] for y in (5, 15, 25) for x in (5, 15, 25, 35)]
    arrays = jobs.ask("trace", run=str(run), camera=camera.to_dict(), pixels=asked).arrays
    np.testing.assert_array_equal(positions(item.data), arrays["position"])
    for name in ("t", "density", "weight", "transmittance"):
        np.testing.assert_array_equal(attribute(item.data, name), arrays[name])
    np.testing.assert_array_equal(attribute(item.data, "stage", np.int32), arrays["stage"])
    assert len(rays.data.edges) == 12
    eye = np.array(scene.camera.matrix_world)[:3, 3]
    np.testing.assert_allclose(positions(rays.data)[::2], np.tile(eye, (12, 1)), atol=1e-5)
    # Every sample lies on its ray, t away from the eye.
    ray = attribute(item.data, "ray", np.int32)
    direction = camera.rays(np.array(asked, float))[1]
    np.testing.assert_allclose(
        positions(item.data), eye + direction[ray] * attribute(item.data, "t")[:, None], atol=1e-3
    )


def test_one_pixel_is_inspected_without_rays(jobs, scene):
    settings = scene.nerf.inspect
    bpy.ops.nerf.inspect_samples()
    settings.pixels, settings.use_center, settings.show_rays = "PIXEL", True, False
    assert bpy.ops.nerf.inspect_samples() == {"FINISHED"}
    assert settings.rays is None and not [o for o in scene.objects if o.get("nerf_result") == "rays"]
    weight = attribute(settings.object.data, "weight")
    assert (attribute(settings.object.data, "ray", np.int32) == 0).all()
    assert 0.5 < weight.sum() <= 1.001  # it meets the sphere
    t = attribute(settings.object.data, "t")[np.argmax(weight)]
    assert abs(t - (np.linalg.norm(small_camera(1, 16).position - CENTER) - RADIUS)) < 0.3
    settings.use_center, settings.pixel = False, (40, 3)
    with pytest.raises(RuntimeError, match=r"The pixel \(40, 3\) lies outside the picture, which has 40x30 pixels"):
        bpy.ops.nerf.inspect_samples()


def test_training_cameras_come_back_where_they_were(jobs, scene):
    assert bpy.ops.nerf.import_cameras() == {"FINISHED"}
    assert bpy.ops.nerf.import_cameras() == {"FINISHED"}  # again: the same ones, renewed
    collection = bpy.data.collections["NeRF Cameras"]
    found = sorted(collection.objects, key=lambda item: item.name)
    assert len(found) == 14
    for index, item in enumerate(found):
        np.testing.assert_allclose(np.array(item.matrix_world), small_camera(index, 16).c2w, atol=1e-5)
        assert item.data.lens / item.data.sensor_width == pytest.approx(1.4, rel=1e-6)
    # They came back: they are none of the scene's own, to capture from or to render "All Cameras" from.
    assert jobs.rig_views.scene_cameras(scene, scene.nerf.capture) == [scene.camera]
    scene.nerf.render.views = "ALL"
    assert [view.name for view in jobs.render.chosen_views(scene, bpy.context.view_layer)] == ["Camera"]


def test_no_camera_is_one_sentence(jobs, scene):
    bpy.data.objects.remove(scene.camera)
    with pytest.raises(RuntimeError, match="There is no camera to render from"):
        bpy.ops.nerf.render_view()
    assert not bpy.ops.nerf.inspect_samples.poll()


def test_a_core_killed_in_a_render_is_told_and_the_next_render_starts_another(jobs, scene):
    scene.render.resolution_x = scene.render.resolution_y = 1500
    steps = jobs.render.render_steps(scene, bpy.context.view_layer)
    task = jobs.tasks.start("Render", steps, 1)
    assert jobs.pump.pump_until(lambda: jobs.core.running().ready, 120)
    first = jobs.core.running().pid
    os.kill(first, signal.SIGKILL)
    assert jobs.pump.pump_until(lambda: not task.running, 60)
    assert task.phase == "failed" and "killed by the system" in task.text
    assert jobs.core.status().kind == "failed"
    look_from(scene)
    assert bpy.ops.nerf.render_view() == {"FINISHED"}
    assert jobs.core.running().pid != first


def test_cancel_ends_a_render_and_keeps_what_is_finished(jobs, scene, run):
    scene.frame_start, scene.frame_end = 11, 15
    scene.nerf.render.views = "FRAMES"
    task = jobs.tasks.start("Render", jobs.render.render_steps(scene, bpy.context.view_layer), 5)
    assert jobs.pump.pump_until(lambda: task.done == 2, 120)
    assert bpy.ops.nerf.task_cancel() == {"FINISHED"}
    assert task.phase == "cancelled"
    jobs.ask("status", run=str(run))
    assert len(task.results) == 2
    written = {path.name for path in (run / "renders").iterdir()}
    assert {"Camera_0011.png", "Camera_0012.png"} <= written and "Camera_0015.png" not in written


def test_buttons_are_off_while_nothing_is_trained(jobs, tmp_path):
    bpy.context.scene.nerf.run_folder = str(tmp_path / "none")
    for name in ("render_view", "import_points", "inspect_samples", "import_cameras"):
        assert not getattr(bpy.ops.nerf, name).poll()
