"""Data sets laid out for other programs: read back, pixels, cameras and points where they belong."""

import atexit
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import bpy
import numpy as np
import pytest

from nerf_core.contract.camera import Camera
from nerf_core.data.dataset import load_dataset
from nerf_core.data.transforms import read_transforms

from . import capture_scenes as scenes

_captured: list[Path] = []


@pytest.fixture
def run(tmp_path):
    """A copy of one capture of the default cube (Workbench, moved aside), 4 + 1 + 1 views with depth, normal, mask."""
    scene = bpy.context.scene
    settings = scene.nerf.capture
    if not _captured:
        home = Path(tempfile.mkdtemp(prefix="nerf-toolkit-layouts-"))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        scenes.workbench(scene)
        scene.display.shading.color_type = "OBJECT"
        scene.display.shading.light = "FLAT"
        cube = bpy.data.objects["Cube"]
        cube.color, cube.location = (1.0, 0.0, 0.0, 1.0), (3.0, -1.0, 0.5)
        scenes.small(settings, home, train=4)
        settings.use_depth = settings.use_normal = settings.use_mask = True
        assert bpy.ops.nerf.capture() == {"FINISHED"}
        _captured.append(home / "run")
    shutil.copytree(_captured[0], tmp_path / "run")
    scene.nerf.run_folder = str(tmp_path / "run")
    return tmp_path / "run"


def lay_out(*keys: str, use_zip: bool = False) -> None:
    settings = bpy.context.scene.nerf.capture
    settings.layouts, settings.use_zip = set(keys), use_zip
    assert bpy.ops.nerf.lay_out() == {"FINISHED"}


def cameras(dataset) -> dict[str, Camera]:
    """All poses of a data set by their positions, so that names do not matter."""
    return {
        tuple(view.camera.position.round(6)): view.camera for views in dataset.splits.values() for view in views.views
    }


def same(found, original) -> None:
    """Whether cameras and pixels are those of the capture."""
    assert found.keys() == original.keys() and len(found) > 0
    for key, camera in found.items():
        np.testing.assert_allclose(camera.c2w, original[key].c2w, atol=1e-9)
        for name in ("fl_x", "fl_y", "cx", "cy", "width", "height"):
            assert getattr(camera, name) == pytest.approx(getattr(original[key], name), rel=1e-9)


@pytest.mark.parametrize(("key", "name"), [("NERFSTUDIO", "nerfstudio"), ("SYNTHETIC", "nerf-synthetic")])
def test_layouts_read_back_as_they_were(run, key, name):
    lay_out(key)
    original, found = load_dataset(run / "dataset"), load_dataset(run / "layouts" / name)
    assert {split: len(views) for split, views in found.splits.items()} == {"train": 4, "val": 1, "test": 1}
    same(cameras(found), cameras(original))
    for split, views in found.splits.items():
        for view, before in zip(views.views, original.splits[split].views, strict=True):
            assert (view.rgba == before.rgba).all() and view.rgba[..., 3].max() >= 254


def test_instant_ngp_has_its_box_around_the_subject_and_trains_on_training_views(run):
    lay_out("INSTANT_NGP")
    folder = run / "layouts/instant-ngp"
    document = json.loads((folder / "transforms.json").read_text())
    assert len(document["frames"]) == 4 and document["aabb_scale"] == 1
    cube = read_transforms(folder).unit_cube
    np.testing.assert_allclose(cube.mean(axis=0), (3.0, -1.0, 0.5), atol=1e-6)
    np.testing.assert_allclose(cube[1] - cube[0], 2.1, rtol=1e-6)
    assert len(json.loads((folder / "test/transforms.json").read_text())["frames"]) == 2
    assert sorted(path.name for path in folder.glob("*.json")) == ["transforms.json"]
    same(cameras(load_dataset(folder)), {
        key: camera for key, camera in cameras(load_dataset(run / "dataset")).items()
        if any(np.allclose(camera.position, np.array(f["transform_matrix"])[:3, 3]) for f in document["frames"])
    })  # fmt: skip


def test_nerfstudio_gets_depth_along_the_axis_in_thousandths(run):
    lay_out("NERFSTUDIO")
    folder = run / "layouts/nerfstudio"
    document = json.loads((folder / "transforms.json").read_text())
    assert document["depth_unit_scale_factor"] == 0.001 and document["ply_file_path"] == "points3d.ply"
    assert document["camera_model"] == "OPENCV" and document["nerf_toolkit"].get("depth") is None
    assert not any("mask_path" in frame for frame in document["frames"]), "alpha says what is empty"
    for frame in document["frames"]:
        camera = Camera.from_dict({**document, **frame})
        z = np.load(folder / frame["depth_file_path"]) / 1000.0
        there = z > 0
        origins, directions = camera.rays()
        points = origins + directions * (z / (directions @ camera.forward))[..., None]
        _, depth = camera.project(points[there])
        np.testing.assert_allclose(depth, z[there], rtol=1e-6)
        local = np.abs(points[there] - (3.0, -1.0, 0.5))
        assert there.sum() > 50 and np.abs(local.max(axis=1) - 1.0).max() < 1e-3, "on the cube's faces"


def read_ply(path: Path) -> np.ndarray:
    head, _, body = path.read_bytes().partition(b"end_header\n")
    kinds = {b"float": "<f4", b"uchar": "u1"}
    rows = [line.split() for line in head.splitlines() if line.startswith(b"property")]
    return np.frombuffer(body, dtype=[(name.decode(), kinds[kind]) for _, kind, name in rows])


def test_splatting_gets_points_on_the_mesh_and_a_colmap_model(run):
    lay_out("GAUSSIAN", use_zip=True)
    folder = run / "layouts/3dgs"
    points = read_ply(folder / "points3d.ply")
    place = np.stack([points[axis] for axis in "xyz"], axis=-1) - (3.0, -1.0, 0.5)
    assert len(points) > 400 and np.abs(np.abs(place).max(axis=1) - 1.0).max() < 1e-3
    assert set(np.abs(place).argmax(axis=1)) == {0, 1, 2}, "on faces of all directions"
    assert (points["red"] > 220).all() and (points["green"] < 15).all()
    normal = np.stack([points[f"n{axis}"] for axis in "xyz"], axis=-1)
    assert (np.einsum("ij,ij->i", normal, place) > 0.99).all(), "normals look out of the cube"
    model = folder / "sparse/0"
    lens = (model / "cameras.txt").read_text().splitlines()[-1].split()
    images = [line.split() for line in (model / "images.txt").read_text().splitlines() if line.endswith(".png")]
    assert len(images) == 6 and lens[1] == "PINHOLE"
    assert (model / "test.txt").read_text().split() == ["val_0001.png", "test_0001.png"]
    document = json.loads((folder / "transforms.json").read_text())
    by_name = {Path(frame["file_path"]).name: Camera.from_dict({**document, **frame}) for frame in document["frames"]}
    rows = (model / "points3D.txt").read_text().splitlines()[1:]
    assert len(rows) == len(points)
    some = np.array([[float(value) for value in row.split()[1:4]] for row in rows[::37]])
    for row in images:
        w, x, y, z = (float(value) for value in row[1:5])
        rotation = np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ])  # fmt: skip
        seen = some @ rotation.T + np.array([float(value) for value in row[5:8]])
        fx, fy, cx, cy = (float(value) for value in lens[4:8])
        pixels = np.stack([fx * seen[:, 0] / seen[:, 2] + cx, fy * seen[:, 1] / seen[:, 2] + cy], axis=-1)
        expected, depth = by_name[row[9]].project(some)
        np.testing.assert_allclose(pixels, expected, atol=1e-6)
        np.testing.assert_allclose(seen[:, 2], depth, rtol=1e-9)
    with zipfile.ZipFile(run / "layouts/3dgs.zip") as archive:
        assert archive.testzip() is None
        assert archive.read("3dgs/points3d.ply") == (folder / "points3d.ply").read_bytes()
        assert {item.removeprefix("3dgs/") for item in archive.namelist()} == {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }


def test_nothing_is_overwritten_and_the_plain_data_set_is_zipped(run):
    (run / "layouts").mkdir()
    (run / "layouts/nerfstudio.zip").write_bytes(b"mine")
    (run / "layouts/dataset.zip").write_bytes(b"mine too")
    lay_out("NERFSTUDIO", use_zip=True)
    lay_out(use_zip=True)
    names = sorted(path.name for path in (run / "layouts").iterdir())
    assert names == ["dataset-002.zip", "dataset.zip", "nerfstudio-002", "nerfstudio-002.zip", "nerfstudio.zip"]
    assert (run / "layouts/nerfstudio.zip").read_bytes() == b"mine"
    with zipfile.ZipFile(run / "layouts/dataset-002.zip") as archive:
        archive.extractall(run / "unpacked")
    assert len(load_dataset(run / "unpacked/dataset-002").splits["train"]) == 4


def test_cancelled_it_leaves_nothing_half_made(run, addon_module):
    job, pump = addon_module("capture.layouts.job"), addon_module("jobs.pump")
    folder = addon_module("vendor.nerf_core.contract.run_folder").RunFolder(run)
    first = job.start(folder, ["NERFSTUDIO"], True)
    with pytest.raises(job.NerfError, match="being laid out"):
        job.start(folder, ["NERFSTUDIO"], True)
    pump.tick()
    first.cancel()
    pump.pump_until(lambda: not first.running, 20)
    assert first.phase == "cancelled" and not (run / "layouts").exists()
    second = job.start(folder, ["NERFSTUDIO"], True)
    told = []

    def stop_at_the_second_file(what):
        told.append(what)
        if len(told) == 6:
            second.cancel()

    original, second._told = second._told, lambda what: (original(what), stop_at_the_second_file(what))
    pump.pump_until(lambda: not second.running, 20)
    assert second.phase == "cancelled" and list((run / "layouts").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"picture_format": "EXR", "layouts": {"SYNTHETIC"}}, "NeRF-synthetic reads no OpenEXR pictures"),
        ({"rig": "CAMERAS", "layouts": {"NERFSTUDIO"}}, "nerfstudio knows perspective cameras alone"),
    ],
)
def test_what_a_layout_cannot_hold_is_told_before_the_first_picture(tmp_path, change, sentence):
    scene = bpy.context.scene
    scenes.workbench(scene)
    scene.camera.data.type = "ORTHO"
    scenes.small(scene.nerf.capture, tmp_path, val=0, test=0)
    for name, value in change.items():
        setattr(scene.nerf.capture, name, value)
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.nerf.capture()
    assert not (tmp_path / "run").exists()


def test_a_run_without_depth_or_capture_is_told(run, tmp_path):
    document = json.loads((run / "dataset/transforms.json").read_text())
    for frame in document["frames"]:
        del frame["depth_file_path"]
    (run / "dataset/transforms.json").write_text(json.dumps(document))
    bpy.context.scene.nerf.capture.layouts = {"GAUSSIAN"}
    with pytest.raises(RuntimeError, match="begins with points, which come from depth: capture with the pass Depth"):
        bpy.ops.nerf.lay_out()
    (run / "dataset/transforms.json").unlink()
    with pytest.raises(RuntimeError, match="holds no finished capture"):
        bpy.ops.nerf.lay_out()


def test_the_command_line_captures_lays_out_and_zips(tmp_path, addon_module, capsys):
    scene = bpy.context.scene
    scenes.workbench(scene)
    run = tmp_path / "run"
    arguments = ["capture", "--run", str(run), "--train", "2", "--val", "0", "--test", "0", "--resolution", "16",
                 "--rig", "random", "--seed", "4", "--layout", "3dgs,instant-ngp", "--zip", "--passes",
                 "mask"]  # fmt: skip
    assert addon_module("cli").main(arguments) == 0
    told = capsys.readouterr().out
    assert str(run / "layouts/3dgs.zip") in told and (run / "layouts/3dgs.zip").exists()
    assert len(read_ply(run / "layouts/3dgs/points3d.ply")) > 50
    assert set(scenes.document(run)["frames"][0]) >= {"depth_file_path", "mask_path"}
    assert addon_module("cli").main(["layout", "--run", str(run), "--layout", "nerf-synthetic"]) == 0
    assert len(load_dataset(run / "layouts/nerf-synthetic").splits["train"]) == 2
    assert addon_module("cli").main(["layout", "--run", str(run), "--layout", "colmap"]) == 2
    assert "'colmap' is none of instant-ngp, nerfstudio, 3dgs, nerf-synthetic" in capsys.readouterr().err
