"""Rigs in a real scene: what the settings say is where the pictures are taken from."""

import math

import bpy
import numpy as np
import pytest

from nerf_core.contract.camera import Camera

from . import capture_scenes as scenes


@pytest.fixture
def scene(tmp_path):
    scene = bpy.context.scene
    scenes.workbench(scene)
    scenes.small(scene.nerf.capture, tmp_path, train=10, val=1, test=1, size=16)
    return scene


@pytest.fixture
def plan(addon_module, scene):
    """The plan's cameras by file path, with nothing rendered."""
    planner = addon_module("capture.planner")

    def make() -> dict[str, Camera]:
        found = planner.make_plan(scene, bpy.context.view_layer, scene.nerf.capture)
        return {view.file_path: view.camera for view in found.views}

    return make


def positions(cameras: dict[str, Camera]) -> np.ndarray:
    return np.array([camera.position for camera in cameras.values()])


def sees_the_cube(camera: Camera) -> bool:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    pixels, depth = camera.project(corners)
    return bool((depth > 0).all() and (pixels > 0).all() and (pixels < 16).all())


@pytest.mark.parametrize("rig", ["SPIRAL", "RANDOM", "GRID"])
def test_rigs_around_a_subject_show_all_of_it(scene, plan, rig):
    scene.nerf.capture.rig = rig
    cameras = plan()
    assert len(cameras) == 12 and sum(path.startswith("train/") for path in cameras) == 10
    assert all(sees_the_cube(camera) for camera in cameras.values())
    assert len(np.unique(positions(cameras).round(6), axis=0)) == 12
    if rig == "GRID":
        np.testing.assert_allclose(
            positions(cameras) @ (0, -math.cos(0.436332), math.sin(0.436332)),
            positions(cameras)[0] @ (0, -math.cos(0.436332), math.sin(0.436332)),
            rtol=1e-5,
        )
        scene.nerf.capture.aim = "FORWARD"
        for camera in plan().values():
            np.testing.assert_allclose(camera.forward, (0, math.cos(0.436332), -math.sin(0.436332)), atol=1e-6)


def test_random_cameras_are_the_seed_s(scene, plan):
    settings = scene.nerf.capture
    settings.rig, settings.use_upper_half, settings.distance_spread = "RANDOM", True, 0.5
    first, again = positions(plan()), positions(plan())
    assert (first == again).all() and (first[:, 2] > 0).all()
    distance = np.linalg.norm(first, axis=1)
    assert distance.max() / distance.min() > 1.2 and distance.max() / distance.min() < 1.5
    settings.seed = 5
    assert np.abs(positions(plan()) - first).max() > 0.5


def _curve(points, cyclic=False, kind="POLY"):
    data = bpy.data.curves.new("Path", "CURVE")
    data.dimensions = "3D"
    spline = data.splines.new(kind)
    spline.points.add(len(points) - 1)
    for point, place in zip(spline.points, points, strict=True):
        point.co = (*place, 1.0)
    spline.use_cyclic_u = cyclic
    data.bevel_depth = 0.3  # thick in the viewport: its middle line is what counts
    item = bpy.data.objects.new("Path", data)
    item.location = (0, 0, 2)
    item.hide_render = True
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.update()
    return item


def test_cameras_follow_a_curve(scene, plan):
    settings = scene.nerf.capture
    settings.rig, settings.train_count, settings.val_count, settings.test_count = "CURVE", 6, 0, 0
    with pytest.raises(Exception, match="No curve is chosen for the cameras to follow"):
        plan()
    settings.curve_object = _curve([(-5, -6, 0), (5, -6, 0)])
    before = scenes.dump()
    cameras = plan()
    assert scenes.differences(before, scenes.dump()) == []
    np.testing.assert_allclose(positions(cameras), [(x, -6, 2) for x in (-5, -3, -1, 1, 3, 5)], atol=1e-5)
    for camera in cameras.values():
        np.testing.assert_allclose(camera.project(np.zeros(3))[0], (8, 8), atol=1e-3)
    settings.aim = "FORWARD"
    for camera in plan().values():
        np.testing.assert_allclose(camera.forward, (1, 0, 0), atol=1e-6)
    settings.curve_object, settings.train_count = _curve([(4, 4, 0), (-4, 4, 0), (-4, -4, 0), (4, -4, 0)], True), 8
    corners = positions(plan())
    assert {tuple(corner) for corner in corners.round(4)} == {
        (x, y, 2.0) for x in (-4, 0, 4) for y in (-4, 0, 4) if (x, y) != (0, 0)
    }
    settings.curve_object = bpy.data.objects["Cube"]
    with pytest.raises(Exception, match="No curve is chosen"):
        plan()


def test_inside_cameras_look_outward_all_around(scene, plan):
    settings = scene.nerf.capture
    bpy.data.objects["Cube"].scale = (4, 2, 1)
    settings.rig, settings.train_count, settings.val_count, settings.test_count = "INTERIOR", 40, 0, 0
    cameras = plan()
    places = positions(cameras)
    assert (np.abs(places) <= (2.0, 1.0, 0.5)).all() and np.ptp(places, axis=0)[0] > 3
    forward = np.array([camera.forward for camera in cameras.values()])
    assert np.linalg.norm(forward.mean(axis=0)) < 0.02
    assert max(camera.clip_start for camera in cameras.values()) < 0.2
    settings.interior_fill = 0.0
    assert np.abs(positions(plan())).max() < 1e-9


def test_part_of_an_animation(scene, tmp_path, addon_module):
    settings = scene.nerf.capture
    for frame, x in ((1, 0.0), (101, 10.0)):
        scene.camera.location.x = x
        scene.camera.keyframe_insert("location", frame=frame)
    for curve in addon_module("compat").action_curves(scene.camera.animation_data):
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"
    settings.rig, settings.val_count, settings.test_count, settings.frame_step = "ANIMATION", 0, 0, 10
    settings.use_frame_range, settings.range_start, settings.range_end = True, 21, 60
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    found = [entry["transform_matrix"][0][3] for entry in scenes.document(tmp_path / "run")["frames"]]
    np.testing.assert_allclose(found, [2, 3, 4, 5], atol=1e-4)
    settings.range_end = 20
    with pytest.raises(RuntimeError, match="The frame range 21 to 20 is empty"):
        bpy.ops.nerf.capture()


@pytest.mark.parametrize("rig", ["SPIRAL", "GRID", "CURVE", "INTERIOR"])
def test_previews_stand_where_pictures_are_taken(scene, plan, rig):
    settings = scene.nerf.capture
    settings.rig, settings.curve_object, settings.picture_format = rig, _curve([(-5, -6, 0), (5, -6, 0)]), "EXR"
    cameras = plan()
    assert bpy.ops.nerf.preview_cameras() == {"FINISHED"}
    shown = {item.name: item for item in settings.preview_collection.objects}
    assert len(shown) == len(cameras) and "NeRF train/0001" in shown
    for path, camera in cameras.items():
        np.testing.assert_allclose(
            np.array(shown[f"NeRF {path.removesuffix('.exr')}"].matrix_world), camera.c2w, atol=1e-5
        )
