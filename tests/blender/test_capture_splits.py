"""Splits, poses and intrinsics as asked, read back by readers that are written here from the formats' descriptions."""

import bpy
import numpy as np
import pytest

from . import capture_scenes as scenes

KEYS = {"fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y"}


@pytest.fixture
def cube(tmp_path):
    """The default cube, moved, turned and scaled; a capture of it in Workbench is set up."""
    scene = bpy.context.scene
    scenes.workbench(scene)
    item = bpy.data.objects["Cube"]
    item.location, item.rotation_euler, item.scale = (3, -2, 1), (0.4, 0.2, 0.9), (1.0, 0.6, 0.8)
    scenes.small(scene.nerf.capture, tmp_path, train=7, val=3, test=2, size=96)
    scene.nerf.capture.resolution_y = 64
    return item


def _silhouette(item, entry, shared):
    """Which pixels see the cube, by slab test in its own frame: fl_x, fl_y, cx, cy, w, h, c2w in OpenGL axes."""
    get = lambda key: entry.get(key, shared.get(key))  # noqa: E731 - keys may be per frame or shared
    width, height = int(get("w")), int(get("h"))
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ray = np.stack([(x - get("cx")) / get("fl_x"), -(y - get("cy")) / get("fl_y"), -np.ones_like(x)], -1)
    c2w = np.array(entry["transform_matrix"])
    inverse = np.linalg.inv(np.array(item.matrix_world))
    direction = ray @ c2w[:3, :3].T @ inverse[:3, :3].T
    origin = inverse[:3, :3] @ c2w[:3, 3] + inverse[:3, 3]
    with np.errstate(divide="ignore"):
        a, b = (-1 - origin) / direction, (1 - origin) / direction
    near, far = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
    return (near < far) & (far > 0)


def _overlap(mask, pixels):
    seen = pixels[..., 3] > 127
    return (mask & seen).sum() / (mask | seen).sum()


@pytest.mark.parametrize("rig", ["SPHERE", "HEMISPHERE", "ORBIT"])
def test_names_counts_poses_and_intrinsics(cube, tmp_path, rig):
    scene = bpy.context.scene
    scenes.cycles(scene)  # exact at edges; Workbench's smoothing moves them by a tenth of a pixel
    scene.nerf.capture.samples, scene.nerf.capture.rig = 16, rig
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    dataset = tmp_path / "run/dataset"
    expected = {"train": 7, "val": 3, "test": 2}
    for split, count in expected.items():
        names = sorted(path.name for path in (dataset / split).iterdir())
        assert names == [f"{i:04d}.png" for i in range(1, count + 1)]

    # nerfstudio: one file, image names with extension, splits by file name, intrinsics fl_x .. h.
    whole = scenes.document(tmp_path / "run")
    assert KEYS <= whole.keys() and len(whole["frames"]) == 12
    for split, count in expected.items():
        assert whole[f"{split}_filenames"] == [f"{split}/{i:04d}.png" for i in range(1, count + 1)]
    for entry in whole["frames"]:
        pixels = scenes.picture(dataset / entry["file_path"])
        assert pixels.shape[:2] == (whole["h"], whole["w"]) == (64, 96)
        assert _overlap(_silhouette(cube, entry, whole), pixels) > 0.98, entry["file_path"]
        assert pixels[0, :, 3].max() == 0 and pixels[:, 0, 3].max() == 0, "the subject is cut off"

    # instant-ngp and NeRF-synthetic: one file a split, image names without extension, angle or fl_x.
    poses = []
    for split, count in expected.items():
        part = scenes.document(tmp_path / "run", f"transforms_{split}.json")
        assert len(part["frames"]) == count and KEYS <= part.keys()
        assert part["camera_angle_x"] == pytest.approx(2 * np.arctan(part["w"] / 2 / part["fl_x"]))
        for entry in part["frames"]:
            assert not entry["file_path"].endswith(".png")
            pixels = scenes.picture(dataset / (entry["file_path"] + ".png"))
            assert _overlap(_silhouette(cube, entry, part), pixels) > 0.98
            poses.append(entry["transform_matrix"])
    positions = np.array(poses)[:, :3, 3]
    centre = np.array(whole["nerf_toolkit"]["bounds"]).mean(axis=0)
    radius = np.linalg.norm(positions - centre, axis=1)
    np.testing.assert_allclose(radius, radius[0], rtol=1e-6)
    if rig == "HEMISPHERE":
        assert (positions[:, 2] > centre[2]).all()
    if rig == "ORBIT":
        np.testing.assert_allclose(positions[:, 2], positions[0, 2], atol=1e-6)


def test_the_subject_fills_the_frame(cube, tmp_path):
    cube.rotation_euler, cube.scale = (0, 0, 0), (1, 1, 1)
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    reach = 0.0
    for path in (tmp_path / "run/dataset").glob("*/*.png"):
        rows, columns = np.nonzero(scenes.picture(path)[..., 3] > 127)
        reach = max(reach, np.abs(rows - 31.5).max() / 32, np.abs(columns - 47.5).max() / 48)
    assert 0.7 < reach < 1.0


def test_given_radius_and_lens_are_taken(cube, tmp_path):
    settings = bpy.context.scene.nerf.capture
    settings.use_auto_radius, settings.radius, settings.focal_length = False, 9.0, 72.0
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    whole = scenes.document(tmp_path / "run")
    assert whole["fl_x"] == pytest.approx(72 / 36 * 96)
    centre = np.array(whole["nerf_toolkit"]["bounds"]).mean(axis=0)
    for entry in whole["frames"]:
        assert np.linalg.norm(np.array(entry["transform_matrix"])[:3, 3] - centre) == pytest.approx(9.0)


def test_scene_cameras_keep_their_own_lenses(cube, tmp_path):
    scene = bpy.context.scene
    bpy.data.objects.remove(bpy.data.objects["Camera"])
    names = []
    for i in range(6):
        data = bpy.data.cameras.new(f"Cam {i}")
        data.lens, data.shift_x = 30 + 5 * i, 0.02 * i
        data.dof.use_dof, data.dof.focus_distance, data.dof.aperture_fstop = True, 0.5, 0.1
        item = bpy.data.objects.new(f"Cam {i}", data)
        angle = i * 1.05
        item.location = (3 + 7 * np.cos(angle), -2 + 7 * np.sin(angle), 3 + 0.3 * i)
        item.scale = (1, 1, 1) if i % 2 else (2, 2, 2)
        constraint = item.constraints.new("TRACK_TO")
        constraint.target, constraint.track_axis, constraint.up_axis = cube, "TRACK_NEGATIVE_Z", "UP_Y"
        scene.collection.objects.link(item)
        names.append(item.name)
    settings = scene.nerf.capture
    settings.rig, settings.val_count, settings.test_count = "CAMERAS", 1, 1
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    whole = scenes.document(tmp_path / "run")
    assert [len(whole[f"{split}_filenames"]) for split in ("train", "val", "test")] == [4, 1, 1]
    lenses = sorted(entry["fl_x"] for entry in whole["frames"])
    np.testing.assert_allclose(lenses, [(30 + 5 * i) / 36 * 96 for i in range(6)], rtol=1e-6)
    for entry in whole["frames"]:
        pixels = scenes.picture(tmp_path / "run/dataset" / entry["file_path"])
        assert _overlap(_silhouette(cube, entry, whole), pixels) > 0.95


def test_scene_size_with_pixel_aspect_and_border(cube, tmp_path):
    scene = bpy.context.scene
    render, settings = scene.render, scene.nerf.capture
    render.resolution_x, render.resolution_y, render.resolution_percentage = 200, 160, 60
    render.pixel_aspect_x, render.pixel_aspect_y = 1.0, 1.4
    render.use_border = render.use_crop_to_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.1, 0.95, 0.05, 0.9
    settings.use_scene_size = True
    settings.train_count, settings.val_count, settings.test_count = 3, 0, 0
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    whole = scenes.document(tmp_path / "run")
    assert (whole["w"], whole["h"]) == (101, 82)  # as Blender truncates it
    assert whole["fl_x"] / whole["fl_y"] == pytest.approx(1.4)
    for entry in whole["frames"]:
        pixels = scenes.picture(tmp_path / "run/dataset" / entry["file_path"])
        assert _overlap(_silhouette(cube, entry, whole), pixels) > 0.95


def test_animation_follows_the_active_camera_and_markers(cube, tmp_path):
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 21
    camera = scene.camera
    constraint = camera.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = cube, "TRACK_NEGATIVE_Z", "UP_Y"
    for frame, x in ((1, -4.0), (21, 10.0)):
        camera.location = (x, -9.0, 4.0)
        camera.keyframe_insert("location", frame=frame)
    other = bpy.data.objects.new("Other", bpy.data.cameras.new("Other"))
    other.location, other.rotation_euler = (3, -2, 9), (0, 0, 0)
    scene.collection.objects.link(other)
    scene.timeline_markers.new("start", frame=1).camera = camera
    scene.timeline_markers.new("cut", frame=15).camera = other
    settings = scene.nerf.capture
    settings.rig, settings.frame_step, settings.val_count, settings.test_count = "ANIMATION", 4, 1, 1
    scene.frame_set(7)
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert scene.frame_current == 7 and scene.camera == camera
    whole = scenes.document(tmp_path / "run")
    assert len(whole["frames"]) == 6 and len(whole["train_filenames"]) == 4
    for entry in whole["frames"]:
        pixels = scenes.picture(tmp_path / "run/dataset" / entry["file_path"])
        assert _overlap(_silhouette(cube, entry, whole), pixels) > 0.95
    above = [e for e in whole["frames"] if np.allclose(np.array(e["transform_matrix"])[:3, 3], (3, -2, 9))]
    assert len(above) == 2  # frames 17 and 21 are the other camera's
