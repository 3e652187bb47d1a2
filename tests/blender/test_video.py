"""Turntables and animations: files against the core's own pictures, the cameras, cancelling, the command line."""

import math
import shutil
import subprocess
import tempfile
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from PIL import Image

from .small_run import CENTER, RADIUS, core_python, look_from, needs_core, small_camera, trained_run

pytestmark = needs_core

GROUND = (0.45, 0.35, 0.3)  # near the ball's: video halves the resolution of colours


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("Fahrt – 旅"))


@pytest.fixture
def jobs(addon_module, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())

    class Jobs:
        core = addon_module("jobs.core")
        pump = addon_module("jobs.pump")
        tasks = addon_module("jobs.tasks")
        plan = addon_module("videos.plan")
        video = addon_module("operators.video")
        Camera = addon_module("vendor.nerf_core.contract.camera").Camera

        def rgba(self, frame):
            """The core's own picture of a frame, premultiplied."""
            call = self.core.request("render", frame)
            assert self.pump.pump_until(lambda: call.done, 120) and call.error is None, call.error
            return call.arrays["rgba"]

    yield Jobs()
    Jobs.core.leave(20)


@pytest.fixture
def scene(run):
    scene = bpy.context.scene
    scene.nerf.run_folder = str(run)
    look_from(scene)
    settings = scene.nerf.video
    settings.frames, settings.width, settings.height, settings.fps = 4, 96, 72, 12.0
    settings.background = GROUND
    return scene


def over(rgba, ground):
    return np.round(np.clip(rgba[..., :3] + (1 - rgba[..., 3:]) * np.float32(ground), 0, 1) * 255)


DECODE = """
import sys, imageio_ffmpeg, numpy
reader = imageio_ffmpeg.read_frames(sys.argv[1])
facts = next(reader)
width, height = facts["size"]
frames = [numpy.frombuffer(data, numpy.uint8).reshape(height, width, 3) for data in reader]
numpy.savez(sys.argv[2], fps=facts["fps"], frames=numpy.stack(frames))
"""


def decoded(path):
    """Frame rate, and the pictures as (N, H, W, 3) bytes; by the core's Python, which has a decoder."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "frames.npz"
        subprocess.run([core_python(), "-c", DECODE, str(path), str(target)], check=True)
        found = np.load(target)
        return float(found["fps"]), found["frames"]


def psnr(a, b):
    return -10 * np.log10(np.mean((np.float64(a) - b) ** 2) / 255**2)


def place(scene):
    return Path(bpy.path.abspath(scene.nerf.video.last))


def test_a_turntable_is_the_core_s_own_pictures_and_keeps_earlier_takes(jobs, scene, run):
    scene.nerf.video.format = "BOTH"
    plan = jobs.plan.plan_turntable(scene, bpy.context.view_layer)
    assert bpy.ops.nerf.render_turntable() == {"FINISHED"}
    path = place(scene)
    assert path == run / "renders" / "turntable.mp4" and scene.nerf.video.last
    fps, shown = decoded(path)
    assert fps == 12 and shown.shape == (4, 72, 96, 3)
    pictures = sorted((run / "renders" / "turntable").iterdir())
    assert [picture.name for picture in pictures] == ["0001.png", "0002.png", "0003.png", "0004.png"]
    for frame, picture, seen in zip(plan.frames, pictures, shown, strict=True):
        rgba = jobs.rgba(frame)
        assert psnr(seen, over(rgba, GROUND)) > 30
        written = np.asarray(Image.open(picture)).astype(int)
        assert np.abs(written[..., 3] - np.round(rgba[..., 3] * 255)).max() <= 1
        assert np.abs(over(premultiplied(written), GROUND) - over(rgba, GROUND)).max() <= 2
        assert rgba[36, 48, 3] > 0.8 and rgba[0, 0, 3] < 0.2  # the ball in the middle, whole
    first = path.read_bytes()
    scene.nerf.video.format = "MP4"
    assert bpy.ops.nerf.render_turntable() == {"FINISHED"}
    assert place(scene).name == "turntable-2.mp4" and path.read_bytes() == first


def premultiplied(written):
    alpha = written[..., 3:] / 255
    return np.concatenate([written[..., :3] / 255 * alpha, alpha], axis=-1)


def cameras_of(jobs, plan):
    return [jobs.Camera.from_dict(frame["camera"]) for frame in plan.frames]


def test_the_turn_goes_evenly_around_the_box_and_shows_all_of_it(jobs, scene):
    settings = scene.nerf.video
    settings.frames, settings.elevation = 8, math.radians(30)
    cameras = cameras_of(jobs, jobs.plan.plan_turntable(scene, bpy.context.view_layer))
    offsets = np.array([camera.position - CENTER for camera in cameras])
    distance = np.linalg.norm(offsets, axis=1)
    assert np.ptp(distance) < 1e-6
    np.testing.assert_allclose(np.degrees(np.arcsin(offsets[:, 2] / distance)), 30, atol=1e-6)
    turned = np.degrees(np.unwrap(np.arctan2(offsets[:, 1], offsets[:, 0])))
    np.testing.assert_allclose(np.diff(turned), 45, atol=1e-6)
    start = np.array(scene.camera.matrix_world.translation) - CENTER
    assert turned[0] == pytest.approx(math.degrees(math.atan2(start[1], start[0])), abs=1e-4)
    half = 1.1 * RADIUS
    corners = CENTER + half * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    seen = np.concatenate([camera.project(corners)[0] for camera in cameras])
    assert (seen > 0).all() and (seen < (96, 72)).all()
    reach = np.abs(seen / (48, 36) - 1).max()
    assert reach == pytest.approx(0.95, abs=1e-3)  # and not from farther away than that needs
    settings.clockwise = True
    back = cameras_of(jobs, jobs.plan.plan_turntable(scene, bpy.context.view_layer))
    np.testing.assert_allclose(back[1].position, cameras[7].position, atol=1e-6)


def test_the_turn_starts_at_the_active_camera(jobs, scene):
    settings = scene.nerf.video
    settings.placed = "CAMERA"
    plan = jobs.plan.plan_turntable(scene, bpy.context.view_layer)
    first = cameras_of(jobs, plan)[0]
    np.testing.assert_allclose(first.position, scene.camera.matrix_world.translation, atol=1e-5)
    scene.camera.data.lens *= 2
    longer = cameras_of(jobs, jobs.plan.plan_turntable(scene, bpy.context.view_layer))[0]
    assert longer.fl_x == pytest.approx(2 * first.fl_x, rel=1e-5)
    settings.placed, settings.radius = "FIXED", 7.5
    near = cameras_of(jobs, jobs.plan.plan_turntable(scene, bpy.context.view_layer))[2]
    assert np.linalg.norm(near.position - CENTER) == pytest.approx(7.5)
    settings.placed, scene.camera = "CAMERA", None
    with pytest.raises(RuntimeError, match="no camera to take the distance from"):
        bpy.ops.nerf.render_turntable()


def test_an_animation_follows_camera_and_markers_and_leaves_the_scene(jobs, scene, run):
    scene.camera.location = small_camera(1, 16).position
    scene.camera.keyframe_insert("location", frame=1)
    scene.camera.location = small_camera(1, 16).position + (small_camera(1, 16).position - CENTER)
    scene.camera.keyframe_insert("location", frame=2)
    other = bpy.data.objects.new("Other", bpy.data.cameras.new("Other"))
    scene.collection.objects.link(other)
    other.matrix_world = Matrix(small_camera(5, 16).c2w.tolist())
    first = scene.camera
    scene.timeline_markers.new("one", frame=1).camera = first
    scene.timeline_markers.new("two", frame=3).camera = other
    scene.frame_start, scene.frame_end = 1, 3
    scene.render.fps, scene.render.fps_base = 30, 1.001
    scene.nerf.video.format, scene.nerf.video.percentage = "BOTH", 300
    scene.frame_set(2, subframe=0.25)
    assert bpy.ops.nerf.render_animation() == {"FINISHED"}
    assert (scene.frame_current, scene.frame_subframe, scene.camera) == (2, 0.25, first)
    fps, shown = decoded(run / "renders" / "animation.mp4")
    assert fps == pytest.approx(30 / 1.001, abs=0.01) and shown.shape == (3, 90, 120, 3)
    assert sorted(p.name for p in (run / "renders" / "animation").iterdir()) == ["0001.png", "0002.png", "0003.png"]
    cameras = [small_camera(1, 16).c2w, None, small_camera(5, 16).c2w]
    plan = jobs.plan.animation(scene)
    list(jobs.plan.read_animation(scene, bpy.context.view_layer, plan))
    for frame, seen, pose in zip(plan.frames, shown, cameras, strict=True):
        if pose is not None:
            np.testing.assert_allclose(frame["camera"]["transform_matrix"], pose, atol=1e-5)
        assert psnr(seen, over(jobs.rgba(frame), GROUND)) > 30
    covered = [np.asarray(Image.open(run / "renders" / "animation" / f"000{i}.png"))[..., 3].sum() for i in (1, 2)]
    assert covered[0] > 2 * covered[1]  # it moves away


def test_an_animation_shows_nerf_objects_where_they_are_keyframed(jobs, scene, run, addon_module):
    create = addon_module("objects.create")
    folder = addon_module("jobs.runs").RunFolder(run)
    item = create.add_nerf(scene, folder)
    item.keyframe_insert("location", frame=1)
    item.location = (0.0, 0.0, 0.7)
    item.keyframe_insert("location", frame=2)
    item.keyframe_insert("hide_render", frame=2)
    item.hide_render = True
    item.keyframe_insert("hide_render", frame=3)
    scene.frame_start, scene.frame_end = 1, 3
    scene.nerf.run_folder = ""
    settings = scene.nerf.video
    settings.format, settings.percentage = "BOTH", 300
    before = set((run / "renders").glob("*")) if (run / "renders").exists() else set()
    assert bpy.ops.nerf.render_animation() == {"FINISHED"}
    pictures = next(path for path in set((run / "renders").glob("*")) - before if path.is_dir())
    seen = [np.asarray(Image.open(pictures / f"000{i}.png")).astype(float) for i in (1, 2, 3)]
    _, shown = decoded(place(scene))
    assert not seen[2].any() and np.abs(shown[2] - np.round(np.float32(GROUND) * 255)).max() <= 3
    look_from(scene, width=120, height=90)
    camera = jobs.plan.camera_from_blender(
        scene.camera, bpy.context.evaluated_depsgraph_get(), jobs.plan.Frame.of_render(scene.render)
    )
    pose = np.array(camera.c2w)
    for index, height in enumerate((0.0, 0.7)):  # what moved up is seen as by a camera that moved down
        pose[2, 3] = camera.c2w[2, 3] - height
        rgba = jobs.rgba({"run": str(run), "camera": {**camera.to_dict(), "transform_matrix": pose.tolist()}})
        assert np.abs(seen[index][..., 3] - rgba[..., 3] * 255).mean() < 1.0
        assert psnr(shown[index], over(rgba, GROUND)) > 30
    assert np.abs(seen[0] - seen[1]).mean() > 10


def test_an_animation_has_its_camera_s_depth_of_field(jobs, scene, run):
    scene.frame_start = scene.frame_end = 1
    scene.nerf.video.format = "PNG"
    dof = scene.camera.data.dof
    dof.use_dof, dof.aperture_fstop, dof.focus_distance = True, 0.15, 1.5  # the ball stands behind
    assert bpy.ops.nerf.render_animation() == {"FINISHED"}
    seen = np.asarray(Image.open(place(scene) / "0001.png")).astype(float)
    plan = jobs.plan.animation(scene)
    list(jobs.plan.read_animation(scene, bpy.context.view_layer, plan))
    blurred = jobs.rgba(plan.frames[0])
    sharp = jobs.rgba({"run": str(run), "camera": plan.frames[0]["camera"]})
    assert np.abs(seen[..., 3] - blurred[..., 3] * 255).max() <= 1
    assert soft(seen[..., 3] / 255) > 1.5 * soft(sharp[..., 3])


def soft(alpha):
    """How many pixels are neither empty nor full."""
    return ((alpha > 0.1) & (alpha < 0.9)).sum()


def test_a_turntable_goes_around_the_object_where_it_stands(jobs, scene, run, addon_module):
    folder = addon_module("jobs.runs").RunFolder(run)
    item = addon_module("objects.create").add_nerf(scene, folder)
    item.location, item.scale = (10.0, 0.0, 0.0), (2.0, 2.0, 2.0)
    scene.nerf.run_folder = ""
    plan = jobs.plan.plan_turntable(scene, bpy.context.view_layer)
    assert plan.folder == run / "renders" and len(plan.frames[0]["layers"]) == 1
    for frame, camera in zip(plan.frames, cameras_of(jobs, plan), strict=True):
        np.testing.assert_allclose(camera.project(np.array(item.matrix_world.translation))[0], (48, 36), atol=1e-3)
        rgba = jobs.rgba(frame)
        assert rgba[36, 48, 3] > 0.8 and rgba[0, 0, 3] < 0.2


def test_a_cancelled_turntable_keeps_whole_pictures_and_no_half_video(jobs, scene, run, addon_module, monkeypatch):
    settings = scene.nerf.video
    settings.format, settings.frames, settings.width, settings.height = "BOTH", 300, 256, 256
    monkeypatch.setattr(addon_module("operators.common"), "waits", lambda _operator: False)  # as with a window
    before = set((run / "renders").rglob("*")) if (run / "renders").exists() else set()
    assert bpy.ops.nerf.render_turntable() == {"FINISHED"}
    task = jobs.tasks.current()
    assert jobs.pump.pump_until(lambda: task.fraction > 2 / 300 or not task.running, 120)
    assert task.running and task.seconds_left is not None and "of 300" in task.text
    assert bpy.ops.nerf.task_cancel() == {"FINISHED"}
    assert task.phase == "cancelled"
    jobs.rgba({"run": str(run), "camera": small_camera(1, 16).to_dict()})  # answered when the core has let go
    left = sorted(path for path in set((run / "renders").rglob("*")) - before if path.is_file())
    assert 2 <= len(left) < 300 and [path.name for path in left] == [f"{i + 1:04d}.png" for i in range(len(left))]
    assert all(Image.open(path).size == (256, 256) for path in left)


def test_what_is_in_the_way_is_left_alone(jobs, scene, run, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(run, mine, ignore=shutil.ignore_patterns("renders"))
    (mine / "renders" / "turntable-2").mkdir(parents=True)
    (mine / "renders" / "turntable.mp4").write_bytes(b"mine")
    scene.nerf.run_folder = str(mine)
    scene.nerf.video.frames = 2
    assert bpy.ops.nerf.render_turntable() == {"FINISHED"}
    assert place(scene).name == "turntable-3.mp4" and (mine / "renders" / "turntable.mp4").read_bytes() == b"mine"


def test_the_command_line(jobs, run, addon_module, capsys):
    cli = addon_module("cli").main
    look_from(bpy.context.scene)
    files = ["--run", str(run), "--frames", "2", "--size", "20", "16", "--fps", "8"]
    assert cli(["turntable", *files, "--mp4", "--background", "#ff0000"]) == 0
    path = capsys.readouterr().out.splitlines()[-1]
    fps, shown = decoded(path)
    assert fps == 8 and shown.shape == (2, 16, 20, 3) and path.startswith(str(run / "renders"))
    assert np.abs(shown[:, 0, 0].astype(int) - (255, 0, 0)).max() < 60
    assert cli(["animation", "--run", str(run), "--frames", "3", "5", "--step", "2", "--scale", "50", "--png"]) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    assert sorted(path.name for path in folder.iterdir()) == ["0003.png", "0005.png"]
    assert Image.open(folder / "0003.png").size == (20, 15) and Image.open(folder / "0003.png").mode == "RGBA"
    assert cli(["turntable", *files, "--background", "red"]) == 2
    assert "'red' is not a colour" in capsys.readouterr().err
    assert cli(["animation", "--run", str(run), "--frames", "5", "3"]) == 2
    assert "--frames 5 3 is no range" in capsys.readouterr().err
    assert cli(["turntable", "--run", str(run.parent / "none")]) == 2
    assert "is not a run folder" in capsys.readouterr().err
