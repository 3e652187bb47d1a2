"""Blender's cameras and the contract's: against `calc_matrix_camera`, and against markers found in rendered pixels."""

import itertools
import math

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from . import capture_scenes as scenes

POINTS = np.random.default_rng(7).uniform(-2, 2, (24, 3))
FITS = ("AUTO", "HORIZONTAL", "VERTICAL")
SIZES = ((640, 360), (360, 640))
SHIFTS = ((0.0, 0.0), (0.13, -0.21))
ASPECTS = ((1.0, 1.0), (1.7, 1.0), (1.0, 2.25))
PERCENTAGES = (100, 37)


@pytest.fixture
def cameras(addon_module):
    return addon_module("capture.cameras")


def _set_up(scene, fit, size, shift, aspect, percentage, kind="PERSP"):
    item, render = scene.camera, scene.render
    data = item.data
    data.type, data.sensor_fit = kind, fit
    data.sensor_width, data.sensor_height, data.lens, data.ortho_scale = 36.0, 20.0, 42.0, 7.5
    data.shift_x, data.shift_y = shift
    render.resolution_x, render.resolution_y = size
    render.resolution_percentage = percentage
    render.pixel_aspect_x, render.pixel_aspect_y = aspect
    item.location = (7.0, -6.5, 5.0)
    item.rotation_euler = (math.radians(63.5), 0.0, math.radians(47.0))
    bpy.context.view_layer.update()
    return item


def _oracle(item, width, height, aspect, points):
    """Pixels by Blender's own matrices."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    matrix = item.calc_matrix_camera(depsgraph, x=width, y=height, scale_x=aspect[0], scale_y=aspect[1])
    view = item.evaluated_get(depsgraph).matrix_world.normalized().inverted()
    clip = np.c_[points, np.ones(len(points))] @ np.array(matrix @ view, dtype=np.float64).T
    ndc = clip[:, :2] / clip[:, 3:]
    return (ndc * (1, -1) + 1) / 2 * (width, height)


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_all_intrinsics_agree_with_blender(cameras, kind):
    scene = bpy.context.scene
    tried = 0
    for case in itertools.product(FITS, SIZES, SHIFTS, ASPECTS, PERCENTAGES):
        item = _set_up(scene, *case, kind=kind)
        frame = cameras.Frame.of_render(scene.render)
        found = cameras.camera_from_blender(item, bpy.context.evaluated_depsgraph_get(), frame)
        expected = _oracle(item, found.width, found.height, case[3], POINTS)
        np.testing.assert_allclose(found.project(POINTS)[0], expected, atol=0.01, err_msg=str(case))
        tried += 1
    assert tried == 72


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_back_into_blender_is_exact(cameras, kind):
    scene = bpy.context.scene
    for case in itertools.product(FITS, SIZES, SHIFTS, ASPECTS, (100,)):
        item = _set_up(scene, *case, kind=kind)
        frame = cameras.Frame.of_render(scene.render)
        first = cameras.camera_from_blender(item, bpy.context.evaluated_depsgraph_get(), frame)
        made = cameras.new_camera(first, "Made")
        scene.collection.objects.link(made)
        needed = cameras.camera_to_blender(first, made)
        cameras.apply_frame(scene.render, needed)
        bpy.context.view_layer.update()
        aspect = (scene.render.pixel_aspect_x, scene.render.pixel_aspect_y)
        oracle = _oracle(made, first.width, first.height, aspect, POINTS)
        np.testing.assert_allclose(oracle, first.project(POINTS)[0], atol=0.01, err_msg=str(case))
        again = cameras.camera_from_blender(
            made, bpy.context.evaluated_depsgraph_get(), cameras.Frame.of_render(scene.render)
        )
        np.testing.assert_allclose(again.project(POINTS)[0], first.project(POINTS)[0], atol=0.01)
        np.testing.assert_allclose(again.c2w, first.c2w, atol=1e-6)
        assert (again.width, again.height, again.kind) == (first.width, first.height, first.kind)
        bpy.data.objects.remove(made)


@pytest.mark.parametrize("focal", [4.0, 9000.0])
def test_extreme_lenses_come_back(cameras, focal, addon_module):
    camera = addon_module("vendor.nerf_core.contract.camera").Camera(200, 150, focal, focal * 1.3, 91.0, 80.0)
    made = cameras.new_camera(camera, "Extreme")
    bpy.context.scene.collection.objects.link(made)
    cameras.apply_frame(bpy.context.scene.render, cameras.camera_to_blender(camera, made))
    bpy.context.view_layer.update()
    frame = cameras.Frame.of_render(bpy.context.scene.render)
    again = cameras.camera_from_blender(made, bpy.context.evaluated_depsgraph_get(), frame)
    for name in ("fl_x", "fl_y", "cx", "cy"):
        assert getattr(again, name) == pytest.approx(getattr(camera, name), rel=1e-5)


@pytest.mark.parametrize("scale", [(2, 2, 2), (0.3, 5, 1.7), (-1, 1, 1), (-2, -2, -2), (1, 1, -1)])
def test_scaled_and_mirrored_cameras_give_rigid_poses(cameras, scale):
    item = bpy.context.scene.camera
    item.scale = scale
    bpy.context.view_layer.update()
    frame = cameras.Frame(320, 240)
    found = cameras.camera_from_blender(item, bpy.context.evaluated_depsgraph_get(), frame)
    rotation = found.c2w[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    world = np.array(item.matrix_world)
    np.testing.assert_allclose(found.forward, -world[:3, 2] / np.linalg.norm(world[:3, 2]), atol=1e-6)
    if min(scale) > 0:
        np.testing.assert_allclose(found.project(POINTS)[0], _oracle(item, 320, 240, (1.0, 1.0), POINTS), atol=0.01)


def test_a_sheared_camera_gives_a_rigid_pose(cameras):
    item = bpy.context.scene.camera
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.scale, item.parent = (1, 3, 0.5), parent
    bpy.context.view_layer.update()
    found = cameras.camera_from_blender(item, bpy.context.evaluated_depsgraph_get(), cameras.Frame(100, 100))
    np.testing.assert_allclose(found.c2w[:3, :3].T @ found.c2w[:3, :3], np.eye(3), atol=1e-9)


def test_bad_cameras_are_told_by_name(cameras, addon_module):
    error = addon_module("vendor.nerf_core.contract.errors").NerfError
    scene = bpy.context.scene
    depsgraph = bpy.context.evaluated_depsgraph_get()
    with pytest.raises(error, match="no camera"):
        cameras.camera_from_blender(None, depsgraph, cameras.Frame(10, 10))
    scene.camera.scale = (0, 0, 0)
    bpy.context.view_layer.update()
    with pytest.raises(error, match="'Camera' has a scale of zero"):
        cameras.camera_from_blender(scene.camera, bpy.context.evaluated_depsgraph_get(), cameras.Frame(10, 10))
    scene.camera.scale = (1, 1, 1)
    scene.camera.data.type = "PANO"
    settings = addon_module("compat").panorama(scene.camera.data)
    settings.panorama_type = "FISHEYE_EQUIDISTANT"
    bpy.context.view_layer.update()
    with pytest.raises(error, match="'Camera' is a fisheye equidistant panorama"):
        cameras.camera_from_blender(scene.camera, bpy.context.evaluated_depsgraph_get(), cameras.Frame(10, 10))


# --- real pixels ------------------------------------------------------------------------------------------------------
#
# Float pixels of a marker, and the centroid of what it covers, against our projection. Two things decide how near these
# come. The noise of Cycles: the centroid's standard deviation at 256 samples is about 0.002 px. And the pixel filter: a
# sum over pixel centres has the centroid of the true shape only as far as the filter's shifted copies balance around
# every point; a box does not (0.014 px off), Blackman-Harris of width 2 does to better than 0.001 px.

PIXELS = 0.01
RENDERED = (
    # fit, size, shift, aspect, percentage, kind
    ("AUTO", (200, 120), (0.0, 0.0), (1.0, 1.0), 100, "PERSP"),
    ("AUTO", (120, 200), (0.1, -0.05), (1.0, 1.0), 100, "PERSP"),
    ("HORIZONTAL", (120, 200), (0.0, 0.08), (1.0, 1.6), 100, "PERSP"),
    ("VERTICAL", (200, 120), (-0.1, 0.1), (1.5, 1.0), 100, "PERSP"),
    ("VERTICAL", (240, 400), (0.05, 0.0), (1.0, 1.0), 50, "PERSP"),
    ("HORIZONTAL", (413, 301), (0.0, 0.1), (1.0, 1.0), 47, "PERSP"),
    ("AUTO", (160, 160), (0.1, 0.05), (1.0, 1.3), 100, "ORTHO"),
    ("VERTICAL", (200, 120), (0.05, -0.1), (1.0, 1.0), 100, "ORTHO"),
)


def _marker(scene, camera_object, at):
    """A bright square parallel to the picture, whose centroid in pixels is exactly its centre's projection."""
    bpy.ops.mesh.primitive_plane_add(size=0.8)
    square = bpy.context.object
    square.matrix_world = Matrix.LocRotScale(Vector(at), camera_object.matrix_world.to_quaternion(), None)
    _show_only(scene, square)
    return square


def _show_only(scene, marker):
    marker.data.materials.append(scenes.emission("Marker", 1.0))
    for other in scene.objects:
        other.hide_render = other != marker


def _centroid(pixels: np.ndarray) -> np.ndarray:
    weight = pixels[..., 3].astype(np.float64)
    assert weight.max() == 1 and weight[[0, -1]].max() == 0 and weight[:, [0, -1]].max() == 0, "marker is cut off"
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def _centroid_of_outline(outline: np.ndarray) -> np.ndarray:
    """Centroid of the area within a closed polygon, (N, 2) pixels."""
    following = np.roll(outline, -1, axis=0)
    cross = outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]
    return ((outline + following) * cross[:, None]).sum(axis=0) / (3 * cross.sum())


def _outline_of_ball(center: np.ndarray, radius: float, eye: np.ndarray) -> np.ndarray:
    """(720, 3) points of a ball's outline as seen from `eye`: where the tangents through the eye touch it."""
    distance = np.linalg.norm(center - eye)
    axis = (center - eye) / distance
    side = np.cross(axis, (0.0, 0.0, 1.0))
    side /= np.linalg.norm(side)
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)[:, None]
    circle = np.cos(angle) * side + np.sin(angle) * np.cross(axis, side)
    sine = radius / distance
    return center - sine * radius * axis + math.sqrt(1 - sine**2) * radius * circle


def _render(scene, path):
    """(H, W, 4) float pixels, by Blender itself through the person's own camera; nothing of ours takes part."""
    scenes.cycles(scene)
    scene.cycles.samples, scene.cycles.seed = 256, 0
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = "BLACKMAN_HARRIS", 2.0
    scene.render.film_transparent = True
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "32"
    scene.render.filepath = str(path)
    assert bpy.ops.render.render(write_still=True) == {"FINISHED"}
    image = bpy.data.images.load(str(path))
    pixels = np.empty(4 * image.size[0] * image.size[1], dtype=np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(image.size[1], image.size[0], 4)[::-1]
    bpy.data.images.remove(image)
    return pixels


@pytest.mark.parametrize("case", RENDERED, ids=lambda case: "-".join(map(str, case)).replace(" ", ""))
def test_markers_are_rendered_where_the_camera_says(cameras, tmp_path, case):
    scene = bpy.context.scene
    item = _set_up(scene, *case)
    at = (0.4, 0.3, 0.5)
    _marker(scene, item, at)
    pixels = _render(scene, tmp_path / "own.exr")
    frame = cameras.Frame.of_render(scene.render)
    found = cameras.camera_from_blender(item, bpy.context.evaluated_depsgraph_get(), frame)
    assert pixels.shape == (found.height, found.width, 4)
    np.testing.assert_allclose(_centroid(pixels), found.project(np.array(at))[0], atol=PIXELS)
    # And the same through the camera that a capture makes from it.
    made = cameras.new_camera(found, "Made")
    cameras.apply_frame(scene.render, cameras.camera_to_blender(found, made))
    scene.camera = made
    np.testing.assert_allclose(
        _centroid(_render(scene, tmp_path / "made.exr")), found.project(np.array(at))[0], atol=PIXELS
    )


def test_cropped_borders_have_blenders_size_and_place(cameras, tmp_path):
    scene = bpy.context.scene
    item = _set_up(scene, "AUTO", (157, 101), (0.0, 0.0), (1.0, 1.0), 100)
    at = (0.2, 0.1, 0.3)
    _marker(scene, item, at)
    render = scene.render
    render.use_border = render.use_crop_to_border = True
    borders = ((0.2, 0.9, 0.1, 0.95), (0.333, 0.777, 0.123, 0.987), (0.1, 0.999, 0.301, 0.901), (0.1, 0.95, 0.05, 0.9))
    for border in borders:
        render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = border
        pixels = _render(scene, tmp_path / "crop.exr")
        frame = cameras.Frame.of_render(render)
        found = cameras.camera_from_blender(item, bpy.context.evaluated_depsgraph_get(), frame)
        assert pixels.shape == (found.height, found.width, 4), border
        np.testing.assert_allclose(_centroid(pixels), found.project(np.array(at))[0], atol=PIXELS)


def test_a_panorama_is_rendered_where_the_camera_says(cameras, addon_module, tmp_path):
    scene = bpy.context.scene
    item = _set_up(scene, "AUTO", (160, 80), (0.0, 0.0), (1.0, 1.0), 100)
    item.data.type = "PANO"
    settings = addon_module("compat").panorama(item.data)
    settings.panorama_type = "EQUIRECTANGULAR"
    settings.longitude_min, settings.longitude_max = math.radians(-120), math.radians(160)
    settings.latitude_min, settings.latitude_max = math.radians(-50), math.radians(80)
    item.location, item.rotation_euler = (0, 0, 0), Euler((math.radians(80), 0, math.radians(20)))
    bpy.context.view_layer.update()
    frame = cameras.Frame.of_render(scene.render)
    found = cameras.camera_from_blender(item, bpy.context.evaluated_depsgraph_get(), frame)
    assert found.kind == "panoramic"
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.8, segments=192, ring_count=96)
    ball = bpy.context.object
    _show_only(scene, ball)
    for at in ((-1.0, 4.0, 0.4), (2.5, 3.0, 1.2), (-3.0, 1.0, -0.6)):
        ball.location = at
        # A panorama distorts: the ball's centroid is that of its outline, not its centre's projection.
        expected = _centroid_of_outline(found.project(_outline_of_ball(np.array(at), 0.8, found.position))[0])
        pixels = _render(scene, tmp_path / "pano.exr")
        np.testing.assert_allclose(_centroid(pixels), expected, atol=PIXELS)
    made = cameras.new_camera(found, "Made")
    scene.collection.objects.link(made)
    cameras.apply_frame(scene.render, cameras.camera_to_blender(found, made))
    bpy.context.view_layer.update()
    again = cameras.camera_from_blender(made, bpy.context.evaluated_depsgraph_get(), frame)
    np.testing.assert_allclose(again.project(POINTS)[0], found.project(POINTS)[0], atol=0.01)
