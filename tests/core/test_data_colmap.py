"""COLMAP models: cameras, lenses, layouts, placement, boxes; and broken ones, which give one sentence each."""

import json
import random
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import DataError, NerfError
from nerf_core.contract.lens import Distortion
from nerf_core.data.dataset import load_dataset
from nerf_core.data.describe import describe_dataset
from nerf_core.data.documents import read_documents
from nerf_core.data.placement import Placement, rotation_to_z

from .. import colmap_files
from . import tiny_scene

LENSES = {
    "SIMPLE_PINHOLE": Distortion(),
    "PINHOLE": Distortion(),
    "SIMPLE_RADIAL": Distortion(k1=-0.08),
    "RADIAL": Distortion(k1=-0.08, k2=0.02),
    "OPENCV": Distortion(k1=-0.08, k2=0.02, p1=0.003, p2=-0.002),
}
# COLMAP's world is any: here it lies on its side and off centre.
TURN = np.eye(4)
TURN[:3, :3] = rotation_to_z(np.array([0.3, -0.9, 0.2])).T
TURN[:3, 3] = (4.0, -2.0, 1.0)
RNG = np.random.default_rng(3)
POINTS = RNG.normal(size=(400, 3)) * (0.5, 0.4, 0.3)
COLORS = RNG.integers(0, 256, (400, 3))


def ring(count: int = 9, model: str = "OPENCV", size: int = 24) -> list[Camera]:
    """Cameras around the origin, level, in a world with Z up."""
    made = []
    for index in range(count):
        angle = 2 * np.pi * index / count
        place = np.array([3 * np.cos(angle), 3 * np.sin(angle), 0.6])
        oblong = 1.0 if model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL") else 1.02
        made.append(
            Camera(size, size - 4, 30.0 + index, (30.0 + index) * oblong, 12.5, 9.5, look_at(place, np.zeros(3)),
                   distortion=LENSES[model])
        )  # fmt: skip
    return made


def moved(cameras, matrix):
    return [replace(camera, c2w=matrix @ camera.c2w) for camera in cameras]


def write(folder, cameras=None, binary=True, model="OPENCV", inner="sparse/0", points=POINTS, names=None):
    cameras = ring(model=model) if cameras is None else cameras
    names = names or [f"a photo {index:02d}.png" for index in range(len(cameras))]
    (folder / "images").mkdir(parents=True)
    for camera, name in zip(cameras, names, strict=True):
        Image.fromarray(np.full((camera.height, camera.width, 3), 90, np.uint8)).save(folder / "images" / name)
    places = points @ TURN[:3, :3].T + TURN[:3, 3]
    colmap_files.write_model(folder / inner, moved(cameras, TURN), names, places, COLORS[: len(points)], binary, model)
    return folder


def all_frames(documents):
    frames = [frame for frames in documents.frames.values() for frame in frames]
    return sorted(frames, key=lambda frame: frame.name)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("model", LENSES)
def test_cameras_project_as_pycolmaps_own(tmp_path, model, binary):
    pycolmap = pytest.importorskip("pycolmap")
    write(tmp_path / "d", binary=binary, model=model)
    found = read_documents(tmp_path / "d", placement=Placement("none"))
    oracle = pycolmap.Reconstruction(str(tmp_path / "d" / "sparse" / "0"))
    places = POINTS @ TURN[:3, :3].T + TURN[:3, 3]
    for frame in all_frames(found):
        camera = frame.camera(24, 20)
        pixels, depth = camera.project(places[:40])
        image = oracle.images[int(frame.name.split()[2].split(".")[0]) + 1]
        truth = np.array([image.project_point(place) for place in places[:40]])
        assert (depth > 0).all()
        np.testing.assert_allclose(pixels, truth, atol=1e-6)
    np.testing.assert_allclose(np.sort(found.points, axis=0), np.sort(places, axis=0), atol=1e-9)
    assert found.kind == "colmap" and set(map(tuple, found.colors)) == set(map(tuple, COLORS))


def test_what_pycolmap_writes_with_rigs_is_read(tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    write(tmp_path / "d")
    model = pycolmap.Reconstruction(str(tmp_path / "d" / "sparse" / "0"))
    for path in (tmp_path / "d" / "sparse" / "0").iterdir():
        path.unlink()
    model.write_binary(str(tmp_path / "d" / "sparse" / "0"))
    assert (tmp_path / "d" / "sparse" / "0" / "rigs.bin").is_file()
    cameras = [
        frame.camera(24, 20) for frame in all_frames(read_documents(tmp_path / "d", placement=Placement("none")))
    ]
    for camera, truth in zip(cameras, moved(ring(), TURN), strict=True):
        np.testing.assert_allclose(camera.c2w, truth.c2w, atol=1e-9)


def test_up_is_up_and_every_eighth_image_is_held_out(tmp_path):
    data = write(tmp_path / "d")
    found = read_documents(data)
    assert {split: len(frames) for split, frames in found.frames.items()} == {"train": 7, "val": 2}
    assert [frame.name for frame in found.frames["val"]] == ["a photo 00.png", "a photo 08.png"]
    ups = np.array([frame.c2w[:3, 1] for frame in all_frames(found)])
    np.testing.assert_allclose(ups.mean(axis=0)[:2], 0, atol=1e-9)
    heights = [frame.c2w[2, 3] for frame in all_frames(found)]
    assert np.ptp(heights) < 1e-9  # the ring lies level, in COLMAP's own units
    spread = np.linalg.norm(np.ptp([frame.c2w[:3, 3] for frame in all_frames(found)], axis=0))
    assert spread == pytest.approx(np.linalg.norm(np.ptp([c.position for c in ring()], axis=0)), rel=0.05)
    # A split alone stands where it stands among all.
    alone = read_documents(data, ("val",)).frames["val"]
    np.testing.assert_array_equal(alone[0].c2w, found.frames["val"][0].c2w)


def test_normalised_cameras_reach_one(tmp_path):
    found = read_documents(write(tmp_path / "d"), placement=Placement("up", "normalise"))
    places = np.array([frame.c2w[:3, 3] for frame in all_frames(found)])
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-9)
    assert np.abs(places).max() == pytest.approx(1.0)
    for frame in all_frames(found):
        np.testing.assert_allclose(frame.c2w[:3, :3].T @ frame.c2w[:3, :3], np.eye(3), atol=1e-9)
    assert np.abs(np.median(found.points, axis=0)).max() < 0.5  # the points went along


def test_a_transforms_file_can_be_turned_and_keeps_its_box_about_the_subject(tmp_path):
    data = tiny_scene.write_dataset(tmp_path / "d", size=8)
    plain, placed = load_dataset(data), load_dataset(data, placement=Placement("none", "normalise"))
    camera, other = plain.splits["train"].views[0].camera, placed.splits["train"].views[0].camera
    corners, moved_corners = plain.bounds, placed.bounds
    np.testing.assert_allclose(camera.project(corners)[0], other.project(moved_corners)[0], atol=1e-6)
    assert load_dataset(data).bounds.tolist() == tiny_scene.BOUNDS.tolist()


@pytest.mark.parametrize("inner", ["sparse/0", "sparse", "colmap/sparse/0", "", "sparse/3"])
def test_the_usual_layouts(tmp_path, inner):
    data = write(tmp_path / "données 球", inner=inner)
    ways = [data, data / inner, data / inner / "images.bin"]
    found = [all_frames(read_documents(way)) for way in ways]
    assert [len(frames) for frames in found] == [9, 9, 9]
    assert found[0][0].image.samefile(found[1][0].image)


def test_the_points_give_the_box(tmp_path):
    stray = np.concatenate([POINTS[:-2], [[60.0, 0, 0], [0, -70.0, 9]]])
    data = load_dataset(write(tmp_path / "d", points=stray))
    extent = data.bounds[1] - data.bounds[0]
    assert (extent > (1.8, 1.4, 1.0)).all() and (extent < 4.5).all()  # strays are left out
    middle = rotation_to_z(TURN[:3, :3] @ (0, 0, 1)) @ TURN[:3, 3]
    np.testing.assert_allclose(data.bounds.mean(axis=0), middle, atol=0.3)
    assert (data.subject[0] >= data.bounds[0]).all() and (data.subject[1] <= data.bounds[1]).all()
    shown = describe_dataset(tmp_path / "d")
    np.testing.assert_allclose(shown.bounds, data.subject)
    assert (shown.kind, shown.has_alpha, len(shown.points)) == ("colmap", False, 400)


def test_training_and_evaluation_see_one_world(nerf, tmp_path):
    cameras = [tiny_scene.camera(i, 9, 24) for i in range(9)]
    data = tmp_path / "photos"
    (data / "images").mkdir(parents=True)
    for index, camera in enumerate(cameras):
        Image.fromarray(tiny_scene.picture(camera)).save(data / "images" / f"{index}.png")
    points = tiny_scene.BOUNDS[0] + RNG.uniform(0, 1, (50, 3)) * np.ptp(tiny_scene.BOUNDS, axis=0)
    colmap_files.write_model(
        data / "sparse" / "0", cameras, [f"{i}.png" for i in range(9)], points, COLORS[:50], True, "PINHOLE"
    )
    nerf("train", data, "--run", tmp_path / "run", "--steps", 60, "--device", "cpu", "--scale", "normalise")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["placement"] == {"orientation": "auto", "scale": "normalise"} and facts["has_alpha"]
    told = json.loads(nerf("evaluate", tmp_path / "run", "--json").stdout.splitlines()[-1])
    assert told["psnr"] > 12  # cameras elsewhere see nothing of it


def test_cameras_are_converted(nerf, tmp_path):
    data = write(tmp_path / "d")
    out = tmp_path / "elsewhere" / "transforms.json"
    nerf("cameras", data, "--out", out)
    direct, converted = describe_dataset(data), describe_dataset(out)
    assert [f.split for f in direct.frames] == [f.split for f in converted.frames]
    for first, second in zip(direct.frames, converted.frames, strict=True):
        assert first.image.samefile(second.image)
        pixels, _ = first.camera.project(direct.points)
        np.testing.assert_allclose(pixels, second.camera.project(direct.points)[0], atol=1e-9)
    np.testing.assert_allclose(direct.bounds, converted.bounds)
    (tmp_path / "foreign.json").write_text("{}")
    told = nerf("cameras", data, "--out", tmp_path / "foreign.json", code=2).stderr
    assert "was not made by NeRF Toolkit" in told
    told = nerf("cameras", data, "--out", tmp_path / "p.json", "--format", "nerfstudio", code=2).stderr
    assert "distorted lens" in told or "picture size" in told
    square = [replace(c, fl_y=c.fl_x, cx=12.0, cy=10.0, distortion=Distortion()) for c in ring()]
    write(tmp_path / "e", square, model="PINHOLE")
    nerf("cameras", tmp_path / "e", "--out", tmp_path / "p.json", "--format", "nerfstudio", "--fps", 12)
    path = json.loads((tmp_path / "p.json").read_text())
    assert (path["fps"], path["render_width"], len(path["camera_path"])) == (12, 24, 9)


@pytest.mark.parametrize("model", ["OPENCV_FISHEYE"])
def test_other_lenses_are_refused_by_name(tmp_path, model):
    data = write(tmp_path / "d")
    colmap_files.write_model(data / "sparse" / "0", ring(), [f"a photo {i:02d}.png" for i in range(9)], POINTS, COLORS,
                             True, model)  # fmt: skip
    with pytest.raises(DataError, match="camera model OPENCV_FISHEYE, which is not read"):
        read_documents(data)


def test_missing_parts_are_told(tmp_path, monkeypatch):
    data = write(tmp_path / "d")
    (data / "images" / "a photo 03.png").unlink()
    with pytest.raises(DataError, match=r"a photo 03\.png' of the COLMAP model .* is not in"):
        read_documents(data)
    (data / "sparse" / "0" / "points3D.bin").unlink()
    with pytest.raises(DataError, match=r"lacks 'points3D\.bin'"):
        read_documents(data)
    with pytest.raises(NerfError, match="orientation 'sideways' is not one of"):
        Placement("sideways")
    other = write(tmp_path / "e")
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(DataError, match="needs the package 'pycolmap', which is not installed"):
        read_documents(other)


def test_a_model_without_points_or_images(tmp_path):
    data = write(tmp_path / "d", points=POINTS[:0])
    assert load_dataset(data).bounds.shape == (2, 3)  # from the cameras
    empty = write(tmp_path / "e", cameras=[])
    with pytest.raises(DataError, match="has no images with a pose"):
        read_documents(empty)
    for part in ("cameras", "images"):
        hollow = write(tmp_path / f"hollow {part}")
        (hollow / "sparse" / "0" / f"{part}.bin").write_bytes(b"")
        with pytest.raises(DataError, match=rf"{part}\.bin' is empty"):
            read_documents(hollow)


@pytest.mark.parametrize("binary", [True, False])
def test_broken_models_are_read_or_refused_in_one_sentence(tmp_path, binary):
    pytest.importorskip("pycolmap")
    whole = write(tmp_path / "whole", binary=binary, points=POINTS[:30])
    extension = "bin" if binary else "txt"
    draw = random.Random(5)
    refused = 0
    for number in range(150):
        folder = tmp_path / "broken" / "sparse" / "0"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole / "sparse" / "0", folder)
        (tmp_path / "broken" / "images").exists() or shutil.copytree(whole / "images", tmp_path / "broken" / "images")
        path = folder / f"{draw.choice(('cameras', 'images', 'points3D'))}.{extension}"
        data = bytearray(path.read_bytes())
        if number % 3 == 0:
            data = data[: draw.randrange(len(data))]
        else:
            for _ in range(draw.randint(1, 3)):
                data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            describe_dataset(tmp_path / "broken")
        except DataError as error:
            refused += 1
            assert "\n" not in str(error) and str(tmp_path) in str(error), str(error)
    assert refused > 30
