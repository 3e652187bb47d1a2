"""The operators of the capture: what they report, the hook for training, the camera preview."""

import sys

import bpy
import numpy as np
import pytest

from . import capture_scenes as scenes


@pytest.fixture
def scene(tmp_path):
    scene = bpy.context.scene
    scenes.workbench(scene)
    scenes.small(scene.nerf.capture, tmp_path)
    return scene


def test_the_hook_is_told_where_and_whether_to_train(scene, addon_module, tmp_path, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", sys.executable)  # there must be one, or nothing is captured to train on
    hooks = addon_module("operators.capture").on_captured
    told = []
    before = list(hooks)
    hooks[:] = [lambda *arguments: told.append(arguments)]
    try:
        assert bpy.ops.nerf.capture() == {"FINISHED"}
        assert bpy.ops.nerf.capture(then_train=True) == {"FINISHED"}
    finally:
        hooks[:] = before
    assert told == [(scene, tmp_path / "run", False), (scene, tmp_path / "run-002", True)]


def test_one_capture_at_a_time_and_stop_only_then(scene, addon_module):
    operators = addon_module("operators.capture")
    assert operators.active_job() is None
    assert not bpy.ops.nerf.capture_stop.poll()
    assert bpy.ops.nerf.capture.poll()


def test_errors_leave_no_capture_behind(scene, addon_module, tmp_path):
    scene.nerf.capture.rig = "CAMERAS"
    bpy.data.objects.remove(scene.camera)
    with pytest.raises(RuntimeError, match="The scene has no camera"):
        bpy.ops.nerf.capture()
    scene.nerf.capture.rig = "ANIMATION"
    with pytest.raises(RuntimeError, match="no active camera"):
        bpy.ops.nerf.capture()
    assert addon_module("operators.capture").active_job() is None
    assert list(tmp_path.iterdir()) == []


def test_too_few_cameras_for_the_held_out_views_are_told(scene):
    scene.nerf.capture.rig = "CAMERAS"
    with pytest.raises(RuntimeError, match="none is left to train on"):
        bpy.ops.nerf.capture()


def test_the_nerf_itself_is_not_photographed(scene):
    scene.render.engine = "NERF_TOOLKIT"
    with pytest.raises(RuntimeError, match="choose the engine that takes the pictures"):
        bpy.ops.nerf.capture()


def test_an_engine_that_draws_nothing_is_told(scene):
    class Broken(bpy.types.RenderEngine):
        bl_idname = "TEST_BROKEN"
        bl_label = "Broken"

        def render(self, depsgraph):
            pass

    bpy.utils.register_class(Broken)
    try:
        scene.render.engine = "TEST_BROKEN"
        before = scenes.dump()
        try:
            bpy.ops.nerf.capture()
        except RuntimeError as error:
            assert "TEST_BROKEN" in str(error) or "Blender" in str(error)
        assert scenes.differences(before, scenes.dump()) == []
    finally:
        scene.render.engine = "CYCLES"
        bpy.utils.unregister_class(Broken)


@pytest.mark.parametrize("rig", ["SPHERE", "ORBIT", "CAMERAS", "ANIMATION"])
def test_the_preview_shows_the_cameras_that_are_captured(scene, tmp_path, rig):
    settings = scene.nerf.capture
    settings.rig = rig
    if rig == "CAMERAS":
        for i in range(4):
            copy = scene.camera.copy()
            copy.location.x += i + 1
            scene.collection.objects.link(copy)
    if rig == "ANIMATION":
        scene.frame_start, scene.frame_end, settings.frame_step = 1, 10, 2
        for frame, x in ((1, 5.0), (10, 8.0)):
            scene.camera.location.x = x
            scene.camera.keyframe_insert("location", frame=frame)
    bpy.context.view_layer.update()
    before = scenes.dump()
    for _ in range(2):  # shown twice there is still one preview
        assert bpy.ops.nerf.preview_cameras() == {"FINISHED"}
    collection = settings.preview_collection
    assert collection.hide_render and collection.name == "NeRF Cameras"
    bpy.context.view_layer.update()
    shown = np.array([np.array(item.matrix_world) for item in collection.objects])
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    taken = np.array([entry["transform_matrix"] for entry in scenes.document(tmp_path / "run")["frames"]])
    assert len(shown) == len(taken) == 5
    for pose in taken:
        assert np.abs(shown - pose).max(axis=(1, 2)).min() < 1e-5
    assert bpy.ops.nerf.clear_cameras() == {"FINISHED"}
    assert scenes.differences(before, scenes.dump()) == []
    assert not bpy.ops.nerf.clear_cameras.poll()


def test_clearing_keeps_what_a_person_put_there(scene):
    assert bpy.ops.nerf.preview_cameras() == {"FINISHED"}
    collection = scene.nerf.capture.preview_collection
    mine = bpy.data.objects.new("Mine", None)
    collection.objects.link(mine)
    assert bpy.ops.nerf.clear_cameras() == {"FINISHED"}
    assert [item.name for item in collection.objects] == ["Mine"]


def test_loading_another_file_ends_a_capture(scene, addon_module, tmp_path):
    operators, planner, driver = (
        addon_module(name) for name in ("operators.capture", "capture.planner", "capture.driver")
    )
    settings, layer = scene.nerf.capture, bpy.context.view_layer
    operators._active = driver.CaptureJob(scene, layer, settings, planner.make_plan(scene, layer, settings))
    operators._active.step()
    assert not bpy.ops.nerf.capture.poll() and bpy.ops.nerf.capture_stop.poll()
    assert bpy.ops.nerf.capture_stop() == {"FINISHED"} and operators.stop_asked()
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert operators.active_job() is None and not operators.stop_asked()
    assert bpy.context.scene.render.use_persistent_data is False


def test_all_panels_have_what_they_draw(scene):
    """Every property that a panel names exists, with a description."""
    for item in scene.nerf.capture.bl_rna.properties:
        if item.identifier not in {"rna_type", "name"}:
            assert item.name and item.description, item.identifier
