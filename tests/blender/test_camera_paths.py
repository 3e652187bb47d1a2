"""Camera paths both ways: every number to 1e-6, on the animated camera, in the file, headless."""

import json
import math

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.camera_path import CameraPath, read_camera_path, write_camera_path
from nerf_core.contract.errors import NerfError

EXACT = 1e-6


def path_cameras(count: int = 12, **changes) -> list[Camera]:
    """A flight that turns upside down on its way, so that every quaternion's component leads once."""
    made = []
    for index in range(count):
        angle = 2 * np.pi * index / count
        place = np.array([3 * np.cos(angle), 2 * np.sin(angle), 1.5 * np.cos(2 * angle)])
        c2w = look_at(place, (0.1, 0.2, 0.3)) @ np.array(Matrix.Rotation(3 * angle, 4, "Z"))
        values = {"width": 96, "height": 54, "fl_x": 80.0, "fl_y": 80.0, "cx": 48.0, "cy": 27.0, **changes}
        made.append(Camera(**{k: v(index) if callable(v) else v for k, v in values.items()}, c2w=c2w))
    return made


def by_frame(addon_module, item, count: int, step: float = 1.0) -> list[Camera]:
    """What Blender has at the path's frames."""
    module, scene = addon_module("capture.cameras"), bpy.context.scene
    found = []
    for index in range(count):
        at = scene.frame_start + index * step
        scene.frame_set(math.floor(at + 1e-4), subframe=max(0.0, at - math.floor(at + 1e-4)))
        frame = module.Frame.of_render(scene.render)
        found.append(module.camera_from_blender(item, bpy.context.evaluated_depsgraph_get(), frame))
    return found


def assert_same(found, truth, atol=EXACT):
    assert len(found) == len(truth)
    for first, second in zip(found, truth, strict=True):
        np.testing.assert_allclose(first.c2w, second.c2w, atol=atol)
        assert (first.width, first.height, first.kind) == (second.width, second.height, second.kind)
        for name in ("fl_x", "fl_y"):
            assert getattr(first, name) == pytest.approx(getattr(second, name), rel=1e-6)
        for name in ("cx", "cy"):
            assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-6 * second.width)


@pytest.mark.parametrize("kind", ["nerfstudio", "transforms"])
def test_a_path_comes_in_and_goes_out_the_same(tmp_path, addon_module, kind):
    zoom = path_cameras(fl_x=lambda i: 60.0 + 3 * i, fl_y=lambda i: 60.0 + 3 * i)
    source, target = tmp_path / "påth.json", tmp_path / "out" / "again.json"
    write_camera_path(source, CameraPath.even(zoom, 30000 / 1001), kind)
    scene = bpy.context.scene
    scene.frame_start = 11
    before = {item.name: np.array(item.matrix_world).tolist() for item in scene.objects}
    assert bpy.ops.nerf.import_path(filepath=str(source)) == {"FINISHED"}
    item = scene.camera
    assert item.name == "påth" and (scene.frame_start, scene.frame_end) == (11, 22)
    assert scene.render.fps / scene.render.fps_base == pytest.approx(30000 / 1001, rel=1e-6)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (96, 54)
    assert {name: np.array(scene.objects[name].matrix_world).tolist() for name in before} == before
    assert_same(by_frame(addon_module, item, 12), zoom)
    scene.frame_set(17)
    assert bpy.ops.nerf.export_path(filepath=str(target), format=kind.upper()) == {"FINISHED"}
    assert scene.frame_current == 17 and scene.camera is item
    again = read_camera_path(target)
    assert_same(again.cameras, zoom)
    assert again.fps == pytest.approx(30000 / 1001, rel=1e-6)
    np.testing.assert_allclose(again.times, np.arange(12) * 1001 / 30000, atol=1e-6)
    document = json.loads(target.read_text())
    if kind == "nerfstudio":
        first = json.loads(source.read_text())
        assert {"camera_path", "keyframes", "fps", "seconds", "render_width", "render_height"} <= document.keys()
        for mine, its in zip(document["camera_path"], first["camera_path"], strict=True):
            np.testing.assert_allclose(mine["camera_to_world"], its["camera_to_world"], atol=EXACT)
            assert mine["fov"] == pytest.approx(its["fov"], rel=1e-6) and mine["aspect"] == pytest.approx(96 / 54)
        assert document["seconds"] == pytest.approx(12 * 1001 / 30000)
    # A camera between two keys is between them.
    scene.frame_set(12, subframe=0.5)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(item.location, (zoom[1].position + zoom[2].position) / 2, atol=1e-5)


def test_shifts_and_oblong_pixels_need_transforms(tmp_path, addon_module):
    shifted = path_cameras(6, cx=lambda i: 40.0 + i, cy=30.0, fl_y=100.0)
    source = tmp_path / "transforms.json"
    write_camera_path(source, CameraPath.even(shifted, 24.0), "transforms")
    assert bpy.ops.nerf.import_path(filepath=str(source)) == {"FINISHED"}
    assert_same(by_frame(addon_module, bpy.context.scene.camera, 6), shifted)
    with pytest.raises(RuntimeError, match=r"cannot hold camera 0, which has pixels that are not square; export a"):
        bpy.ops.nerf.export_path(filepath=str(tmp_path / "x.json"))
    assert not (tmp_path / "x.json").exists()
    assert bpy.ops.nerf.export_path(filepath=str(tmp_path / "x.json"), format="TRANSFORMS") == {"FINISHED"}
    assert_same(read_camera_path(tmp_path / "x.json").cameras, shifted)


def test_an_animation_of_blenders_own_goes_out_and_comes_back(tmp_path, addon_module):
    scene = bpy.context.scene
    camera, render = scene.camera, scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = 200, 120, 50
    render.fps, render.fps_base, scene.frame_start, scene.frame_end = 25, 1.0, 1, 9
    for frame, place, turn, lens in ((1, (4, -3, 2), (1.1, 0, 0.8), 30), (9, (1, -5, 3), (1.3, 0.2, 0.1), 70)):
        camera.location, camera.rotation_euler, camera.data.lens = place, Euler(turn), lens
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
        camera.data.keyframe_insert("lens", frame=frame)
    truth = by_frame(addon_module, camera, 9)
    for kind in ("NERFSTUDIO", "TRANSFORMS"):
        target = tmp_path / f"{kind}.json"
        assert bpy.ops.nerf.export_path(filepath=str(target), format=kind) == {"FINISHED"}
        assert_same(read_camera_path(target).cameras, truth)
        assert bpy.ops.nerf.import_path(filepath=str(target)) == {"FINISHED"}
        made = scene.camera
        assert made is not camera and render.resolution_percentage == 100 and render.resolution_x == 100
        assert_same(by_frame(addon_module, made, 9), truth)
        scene.camera = camera
    # Every second frame is half the rate.
    assert bpy.ops.nerf.export_path(filepath=str(tmp_path / "half.json"), step=2) == {"FINISHED"}
    half = read_camera_path(tmp_path / "half.json")
    assert half.fps == pytest.approx(12.5) and len(half.cameras) == 5
    assert_same(half.cameras, truth[::2])
    # At the scene's own rate its keys stand two frames apart.
    assert bpy.ops.nerf.import_path(filepath=str(tmp_path / "half.json"), set_scene=False) == {"FINISHED"}
    assert scene.camera is camera
    made = next(item for item in scene.objects if item.name == "half")
    assert_same(by_frame(addon_module, made, 5, step=2.0), truth[::2])


def test_a_whole_sphere_comes_back(tmp_path, addon_module):
    whole = {"width": 128, "height": 64, "fl_x": 128 / (2 * np.pi), "fl_y": 64 / np.pi, "cx": 64.0, "cy": 32.0}
    cameras = path_cameras(3, **whole, kind="panoramic")
    write_camera_path(tmp_path / "p.json", CameraPath.even(cameras, 24.0), "nerfstudio")
    assert bpy.ops.nerf.import_path(filepath=str(tmp_path / "p.json")) == {"FINISHED"}
    assert_same(by_frame(addon_module, bpy.context.scene.camera, 3), cameras)
    assert bpy.ops.nerf.export_path(filepath=str(tmp_path / "q.json")) == {"FINISHED"}
    assert_same(read_camera_path(tmp_path / "q.json").cameras, cameras)


def test_what_is_wrong_is_told_and_foreign_files_stay(tmp_path):
    (tmp_path / "mine.json").write_text('{"a": 1}')
    with pytest.raises(RuntimeError, match=r"mine\.json' exists and was not made by NeRF Toolkit"):
        bpy.ops.nerf.export_path(filepath=str(tmp_path / "mine.json"))
    assert (tmp_path / "mine.json").read_text() == '{"a": 1}'
    with pytest.raises(RuntimeError, match="holds no cameras"):
        bpy.ops.nerf.import_path(filepath=str(tmp_path / "mine.json"))
    mixed = path_cameras(2) + path_cameras(1, width=50)
    write_camera_path(tmp_path / "mixed.json", CameraPath.even(mixed, 24.0), "transforms")
    count = len(bpy.data.objects)
    with pytest.raises(RuntimeError, match="Camera 2 of the path has another kind or picture size"):
        bpy.ops.nerf.import_path(filepath=str(tmp_path / "mixed.json"))
    assert len(bpy.data.objects) == count
    with pytest.raises(NerfError, match="another picture size"):
        write_camera_path(tmp_path / "n.json", CameraPath.even(mixed, 24.0), "nerfstudio")
    assert bpy.ops.nerf.export_path(filepath=str(tmp_path / "own.json")) == {"FINISHED"}
    assert bpy.ops.nerf.export_path(filepath=str(tmp_path / "own.json")) == {"FINISHED"}  # our own is written anew


def test_headless(tmp_path, addon_module, capsys):
    cli = addon_module("cli").main
    cameras = path_cameras(5)
    write_camera_path(tmp_path / "in.json", CameraPath.even(cameras, 12.0), "nerfstudio")
    assert cli(["path-import", str(tmp_path / "in.json"), "--save", str(tmp_path / "s.blend")]) == 0
    assert "The camera is 'in', frames 1 to 5" in capsys.readouterr().out
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "s.blend"))
    for kind in ("nerfstudio", "transforms"):
        out = tmp_path / f"{kind}.json"
        assert cli(["path-export", str(out), "--format", kind, "--camera", "in"]) == 0
        assert_same(read_camera_path(out).cameras, cameras)
    capsys.readouterr()
    assert cli(["path-export", str(tmp_path / "a.json"), "--camera", "none"]) == 2
    assert "The scene has no camera 'none'." in capsys.readouterr().err
    assert cli(["path-import", str(tmp_path / "none.json")]) == 2
    assert "none.json' does not exist" in capsys.readouterr().err
