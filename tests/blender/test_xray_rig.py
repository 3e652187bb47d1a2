"""The cone-beam rig: lengths in the scene's units, nothing cut off where it fits, cameras that see the detector."""

import math
import time
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from .xray_scenes import cube, made_of, only


@pytest.fixture
def rigs(addon_module):
    return addon_module("xray.rig")


@pytest.fixture
def subject(addon_module):
    return addon_module("xray.subject")


def rig_of(scene, rigs, subject):
    found = subject.find(scene, bpy.context.view_layer)
    return rigs.make_rig(scene, found), found


def newest(overlay, scene, wanted):
    """The state once it is as wanted: after a look that took long, the next one waits a while."""
    until = time.monotonic() + 20
    while not wanted(now := overlay.state(scene, bpy.context.view_layer)):
        assert time.monotonic() < until, now
        time.sleep(0.01)
    return now


def test_presets_have_their_true_size_in_the_scenes_units(rigs, subject):
    scene = only()
    cube("Box", size=200.0)
    scene.unit_settings.scale_length = 0.001  # a unit is a millimetre
    scene.nerf_xray.rig = "CHEST"
    rig, found = rig_of(scene, rigs, subject)
    assert (rig.beam.source_axis, rig.beam.source_detector) == pytest.approx((541.0, 949.0))
    assert rig.beam.detector == pytest.approx((500.0, 500.0)) and rig.beam.pixels == (128, 128)
    scene.unit_settings.system = "NONE"  # a unit is a metre
    scene.nerf_xray.rig = "KNEE"
    rig, found = rig_of(scene, rigs, subject)
    assert rig.beam.source_axis == pytest.approx(0.541) and rig.beam.detector == pytest.approx((0.35, 0.35))
    assert rigs.collision(rig, found).startswith("The source goes through the subject")
    errors = pytest.raises(Exception, match="source to axis larger")
    with errors:
        rigs.check(rig, found)


@pytest.mark.parametrize("pixels", [(64, 64), (48, 96)])
def test_a_fitted_rig_cuts_nothing_off_and_a_smaller_detector_does(rigs, subject, pixels):
    scene = only()
    cube("Box", location=(3, 1, -2), rotation=(0.3, 0.2, 0.7))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.7, location=(4.5, 1, -1))
    made_of(bpy.context.object, "Ball", "BONE")
    settings = scene.nerf_xray
    settings.pixels = pixels
    rig, found = rig_of(scene, rigs, subject)
    assert not rigs.cut_off(found.points, rig).any() and not rigs.collision(rig, found)
    low, high = found.bounds
    assert low[0] < 1.6 and high[0] == pytest.approx(5.2, abs=1e-3)
    across = rig.beam.pixel_size
    assert across[0] == pytest.approx(across[1])
    assert bpy.ops.nerf.xray_own_rig() == {"FINISHED"} and settings.rig == "CUSTOM"
    assert tuple(settings.detector) == pytest.approx(rig.beam.detector)
    settings.detector = [0.9 * side for side in rig.beam.detector]
    smaller, _ = rig_of(scene, rigs, subject)
    cut = rigs.cut_off(found.points, smaller)
    assert 0 < cut.sum() < len(cut)


def test_views_are_spread_over_the_arc_with_held_out_ones_in_the_gaps(rigs):
    settings = bpy.context.scene.nerf_xray
    settings.views, settings.val_views, settings.start, settings.arc = 4, 2, math.radians(10), math.radians(200)
    angles = rigs.spread_angles(settings)
    assert [angle for split, angle in angles if split == "train"] == pytest.approx([10, 60, 110, 160])
    assert [angle for split, angle in angles if split == "val"] == pytest.approx([35, 135])
    settings.val_views = 0
    assert len(rigs.spread_angles(settings)) == 4


def test_the_rigs_cameras_see_what_its_detector_sees(rigs, subject, addon_module):
    scene = only()
    cube("Box", location=(0.4, -0.3, 0.2))
    settings = scene.nerf_xray
    settings.views, settings.val_views, settings.pixels = 5, 1, (60, 40)
    rig, _ = rig_of(scene, rigs, subject)
    assert bpy.ops.nerf.xray_cameras() == {"FINISHED"}
    cameras = sorted(settings.preview_collection.objects, key=lambda item: item.name)
    assert len(cameras) == 6 and settings.preview_collection.hide_render
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 60, 40, 100
    bpy.context.view_layer.update()
    shapes = addon_module("xray.shapes")
    first = next(item for item in cameras if item.name == "NeRF train/0000")
    # At angle 0 the source is on -Y and looks along +Y.
    np.testing.assert_allclose(first.matrix_world.translation, (0.4, -0.3 - rig.beam.source_axis, 0.2), atol=1e-5)
    corners = shapes.detector_corners(rig.camera(0.0), rig)
    seen = [world_to_camera_view(scene, first, Vector(corner)) for corner in corners]
    np.testing.assert_allclose([(v.x, v.y) for v in seen], [(0, 1), (1, 1), (1, 0), (0, 0)], atol=1e-5)
    assert [v.z for v in seen] == pytest.approx([rig.beam.source_detector] * 4, rel=1e-5)
    assert bpy.ops.nerf.xray_clear_cameras() == {"FINISHED"} and settings.preview_collection is None


def test_the_shapes_of_the_rig_lie_where_it_stands(rigs, subject, addon_module):
    scene = only()
    cube("Box")
    scene.nerf_xray.views = 8
    rig, found = rig_of(scene, rigs, subject)
    made = addon_module("xray.shapes").build(rig, 2, found.points[:3])
    places = made.discs.vertices.position
    assert len(places) == 8 + 8 + 2 + 3
    away = np.hypot(*places[:16, :2].T)
    np.testing.assert_allclose(away, rig.beam.source_axis, rtol=1e-5)
    # View 2 of 8: a quarter of a turn against the clock from -Y is +X.
    np.testing.assert_allclose(places[16], (rig.beam.source_axis, 0, 0), atol=1e-5)
    assert np.isfinite(made.lines.position).all() and len(made.lines) % 4 == 0


def test_nothing_that_attenuates_is_said(subject, addon_module):
    scene = bpy.context.scene
    with pytest.raises(Exception, match="Nothing attenuates X-rays"):
        subject.find(scene, bpy.context.view_layer)
    overlay = addon_module("xray.overlay")
    assert overlay.state(scene, bpy.context.view_layer).rig is None
    scene.objects["Cube"].select_set(True)
    assert bpy.ops.nerf.xray_set_material(material="WATER") == {"FINISHED"}
    now = newest(overlay, scene, lambda state: state.rig is not None)
    assert now.cut == 0 and now.points == 8
    np.testing.assert_allclose(now.size, (2, 2, 2), atol=1e-6)
    scene.nerf_xray.rig = "CHEST"
    assert "source" in newest(overlay, scene, lambda state: state.trouble).trouble


def test_a_look_that_took_long_is_taken_again_when_its_rest_is_over(subject, addon_module, monkeypatch):
    scene, layer = only(), bpy.context.view_layer
    cube("First")
    layer.update()
    assert len(subject.known(scene, layer)[0].points) == 8
    clock = [time.monotonic()]
    monkeypatch.setattr(subject, "time", SimpleNamespace(monotonic=lambda: clock[0], perf_counter=time.perf_counter))
    subject._known.took, subject._known.looked = 0.1, clock[0]
    cube("Second")
    layer.update()
    clock[0] += 1.9
    assert len(subject.known(scene, layer)[0].points) == 8
    clock[0] += 0.2
    assert len(subject.known(scene, layer)[0].points) == 16


def test_a_capture_of_light_after_radiographs_is_not_trained_as_radiographs(addon_module, tmp_path):
    scene = bpy.context.scene
    scene.nerf.training.method = "XRAY"
    addon_module("operators.train").train_captured(scene, tmp_path, False)
    assert scene.nerf.training.method == "FAST"
