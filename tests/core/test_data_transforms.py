"""Documents in: cameras, splits and boxes as their makers mean them, and a sentence for every broken one."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import DataError, NerfError
from nerf_core.contract.lens import Distortion
from nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms
from nerf_core.data.transforms import find_image, read_transforms

POSE = look_at((3.0, -4.0, 2.0), (0.0, 0.0, 0.5)).tolist()


def write(folder, document, name="transforms.json", images=("0.png",)):
    for image in images:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).touch()
    (folder / name).write_text(json.dumps(document))
    return folder


def frame(name="0.png", **values):
    return {"file_path": name, "transform_matrix": POSE, **values}


def only(folder):
    (found,) = read_transforms(folder).frames["train"]
    return found


def test_nerf_synthetic(tmp_path):
    angle = 0.6911112070083618
    for split, name in (("train", "r_0"), ("val", "r_1.5")):
        write(
            tmp_path,
            {"camera_angle_x": angle, "frames": [frame(f"./{split}/{name}")]},
            f"transforms_{split}.json",
            [f"{split}/{name}.png"],
        )
    found = read_transforms(tmp_path)
    assert {split: [f.image.name for f in frames] for split, frames in found.frames.items()} == {
        "train": ["r_0.png"],
        "val": ["r_1.5.png"],
    }
    camera = found.frames["train"][0].camera(800, 600)
    assert camera.fl_x == camera.fl_y == pytest.approx(0.5 * 800 / math.tan(0.5 * angle))
    assert (camera.cx, camera.cy) == (400, 300)
    np.testing.assert_allclose(camera.c2w, POSE, atol=1e-12)
    assert set(read_transforms(tmp_path, ("val",)).frames) == {"val"}
    assert set(read_transforms(tmp_path / "transforms_train.json").frames) == {"train", "val"}


def test_intrinsics_of_the_document_and_of_the_frame(tmp_path):
    shared = {"fl_x": 100, "fl_y": 110, "cx": 31, "cy": 22, "w": 64, "h": 48, "k1": 0.1, "p2": -0.02, "k4": 0.0}
    write(tmp_path, {**shared, "camera_model": "OPENCV", "frames": [frame(fl_x=90.0, cx=30)]})
    spec = only(tmp_path)
    camera = spec.camera(64, 48)
    assert spec.size() == (64, 48)
    assert (camera.fl_x, camera.fl_y, camera.cx, camera.cy) == (90, 90, 30, 22)
    assert camera.distortion == Distortion(k1=0.1, p2=-0.02)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"camera_angle_y": 1.0}, (48, 48)),
        ({"camera_angle_x": 1.0, "camera_angle_y": 1.0}, (64, 48)),
        ({"x_fov": math.degrees(1.0)}, (64, 64)),
        ({"camera_angle_x": 1.0, "fl_x": 64 / (2 * math.tan(0.5)), "fl_y": 5 / (2 * math.tan(0.5))}, (64, 5)),
    ],
)
def test_angles_stand_in_for_focal_lengths(tmp_path, values, expected):
    camera = only(write(tmp_path, {**values, "frames": [frame()]})).camera(64, 48)
    per_pixel = 1 / (2 * math.tan(0.5))
    assert (camera.fl_x, camera.fl_y) == pytest.approx((expected[0] * per_pixel, expected[1] * per_pixel))


def test_nerfstudio_split_lists_and_applied_transform(tmp_path):
    names = [f"images/{i}.png" for i in range(4)]
    document = {
        "fl_x": 50,
        "frames": [frame(name) for name in names],
        "train_filenames": ["./images/0.png", "images/2.png"],
        "test_filenames": ["images/1.png"],
        "applied_transform": [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]],
    }
    found = read_transforms(write(tmp_path, document, images=names)).frames
    assert {split: [f.name for f in frames] for split, frames in found.items()} == {
        "train": ["images/0.png", "images/2.png"],
        "test": ["images/1.png"],
    }


def test_every_eighth_frame_by_name_is_held_out(tmp_path):
    names = [f"{i}.png" for i in reversed(range(20))]
    write(tmp_path, {"fl_x": 50, "frames": [frame(name) for name in names]}, images=names)
    found = read_transforms(tmp_path / "transforms.json").frames
    assert [f.name for f in found["val"]] == ["16.png", "8.png", "0.png"]
    assert len(found["train"]) == 17
    write(tmp_path, {"fl_x": 50, "frames": [frame(name) for name in names[:7]]}, images=names)
    assert set(read_transforms(tmp_path).frames) == {"train"}


def test_what_we_write_is_read_back(tmp_path):
    cameras = [
        Camera(64, 48, 70.0, 71.0, 30.0, 25.0, look_at((4, i, 1), (0, 0, 0)), distortion=Distortion(0.1, 0, 0, 0.01, 0))
        for i in range(3)
    ]
    names = ["train/a.png", "train/b.png", "val/a.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    records = [FrameRecord(n, n.split("/")[0], c) for n, c in zip(names, cameras, strict=True)]
    bounds = np.array([[-1.0, -2.0, 0.0], [1.0, 2.0, 3.0]])
    write_transforms(tmp_path, records, DatasetFacts(bounds))
    for document in (tmp_path, tmp_path / "transforms.json"):
        found = read_transforms(document)
        np.testing.assert_array_equal(found.bounds, bounds)
        specs = found.frames["train"] + found.frames["val"]
        for spec, camera in zip(specs, cameras, strict=True):
            back = spec.camera(64, 48)
            assert (back.fl_x, back.fl_y, back.cx, back.cy) == (camera.fl_x, camera.fl_y, camera.cx, camera.cy)
            assert back.distortion == camera.distortion
            np.testing.assert_allclose(back.c2w, camera.c2w, atol=1e-12)


def test_instant_ngp_box(tmp_path):
    found = read_transforms(write(tmp_path, {"fl_x": 9, "aabb_scale": 4, "frames": [frame()]}))
    np.testing.assert_allclose(found.aabb, [[-2 / 0.33] * 3, [2 / 0.33] * 3])
    document = {"fl_x": 9, "aabb_scale": 1, "scale": 0.5, "offset": [0.0, 0.5, 1.0], "frames": [frame()]}
    np.testing.assert_allclose(read_transforms(write(tmp_path, document)).aabb, [[0, -1, -2], [2, 1, 0]])


def test_paths_outside_the_folder_and_absolute_ones(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "out.png").touch()
    (folder / "b.jpeg").touch()
    assert find_image(folder, "../out") == folder / "../out.png"
    assert find_image(folder, str(tmp_path / "out.png")) == tmp_path / "out.png"
    assert find_image(folder, "b").name == "b.jpeg"
    assert find_image(folder, "missing") is None and find_image(folder, "nul\0") is None


def test_a_uniform_scale_is_taken_out_and_a_small_error_rounded_off(tmp_path):
    scaled = np.array(POSE)
    scaled[:3, :3] = scaled[:3, :3] * 2.5 + 1e-4
    c2w = only(write(tmp_path, {"fl_x": 9, "frames": [frame(transform_matrix=scaled.tolist())]})).c2w
    np.testing.assert_allclose(c2w, POSE, atol=2e-4)
    np.testing.assert_allclose(c2w[:3, :3].T @ c2w[:3, :3], np.eye(3), atol=1e-12)


def matrix(row, column, value):
    changed = [list(values) for values in POSE]
    changed[row][column] = value
    return changed


MIRRORED = (np.array(POSE) @ np.diag([-1.0, 1, 1, 1])).tolist()
BROKEN = {
    "no frames": ({"frames": []}, "has no frames"),
    "frames is no list": ({"frames": {"0": 1}}, "has no frames"),
    "frame is no object": ({"frames": [3]}, "Frame 0"),
    "no file_path": ({"frames": [{"transform_matrix": POSE}]}, "no file_path"),
    "missing image": ({"frames": [frame("gone.png"), frame("lost.png")]}, r"gone\.png.*1 more.*does not exist"),
    "NaN": ({"frames": [frame(transform_matrix=matrix(0, 3, math.nan))]}, "NaN or infinity"),
    "infinity": ({"frames": [frame(transform_matrix=matrix(2, 1, math.inf))]}, "NaN or infinity"),
    "3x4": ({"frames": [frame(transform_matrix=POSE[:3])]}, "not a 4x4"),
    "ragged": ({"frames": [frame(transform_matrix=[*POSE[:3], [0]])]}, "not a 4x4"),
    "words": ({"frames": [frame(transform_matrix=matrix(0, 0, "1"))]}, "not a 4x4"),
    "no matrix": ({"frames": [{"file_path": "0.png"}]}, "not a 4x4"),
    "sheared": ({"frames": [frame(transform_matrix=matrix(0, 0, 3.0))]}, "not a rotation"),
    "mirrored": ({"frames": [frame(transform_matrix=MIRRORED)]}, "not a rotation"),
    "zero": ({"frames": [frame(transform_matrix=np.zeros((4, 4)).tolist())]}, "not a rotation"),
    "projective": ({"frames": [frame(transform_matrix=matrix(3, 0, 0.5))]}, "not a rotation"),
    "fisheye": ({"camera_model": "OPENCV_FISHEYE", "frames": [frame()]}, "OPENCV_FISHEYE.*undistort"),
    "is_fisheye": ({"is_fisheye": True, "frames": [frame()]}, "is_fisheye"),
    "k4": ({"k4": 0.1, "frames": [frame()]}, "k4"),
    "w is a word": ({"w": "wide", "frames": [frame()]}, "'w'"),
    "h too large": ({"h": 1e6, "frames": [frame()]}, "'h'"),
    "no focal length": ({"frames": [frame()]}, "neither fl_x nor camera_angle_x"),
    "focal length of 0": ({"fl_x": 0, "frames": [frame()]}, "not usable"),
    "huge whole number": ({"fl_x": 10**400, "frames": [frame()]}, "'fl_x'"),
    "half a turn": ({"camera_angle_x": 3.2, "frames": [frame()]}, "outside 0 to pi"),
    "bounds": ({"nerf_toolkit": {"bounds": [[0, 0, 0], [1, 0, 1]]}, "fl_x": 9, "frames": [frame()]}, "bounds"),
    "aabb_scale": ({"aabb_scale": -1, "fl_x": 9, "frames": [frame()]}, "aabb_scale"),
    "split list": ({"train_filenames": "0.png", "fl_x": 9, "frames": [frame()]}, "train_filenames"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_documents_say_what_is_wrong_in_one_sentence(tmp_path, name):
    document, told = BROKEN[name]
    with pytest.raises(DataError, match=told) as caught:
        spec = only(write(tmp_path, document))
        spec.size()
        spec.camera(64, 48)
    assert "transforms.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_documents(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.*does not exist"):
        read_transforms(tmp_path / "nowhere")
    with pytest.raises(DataError, match="neither transforms_train.json nor transforms.json"):
        read_transforms(tmp_path)
    for text in ('{"frames": [', "\xff\xfe", "[" * 100_000, "[]", ""):
        (tmp_path / "transforms.json").write_text(text, encoding="latin-1")
        with pytest.raises(DataError, match=r"transforms\.json"):
            read_transforms(tmp_path)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["w", "h", "fl_x", "fl_y", "cx", "cy", "k1", "k4", "p1", "camera_angle_x", "camera_model", "kind", "is_fisheye"]
KEYS += ["aabb_scale", "scale", "offset", "nerf_toolkit", "train_filenames", "val_filenames", "x_fov"]
documents = st.fixed_dictionaries(
    {},
    optional={
        **{key: anything for key in KEYS},
        "fl_x": st.just(50.0) | anything,
        "nerf_toolkit": st.fixed_dictionaries({"bounds": anything}) | anything,
        "frames": anything
        | st.lists(
            st.fixed_dictionaries(
                {"file_path": st.just("0.png") | anything},
                optional={"transform_matrix": st.just(POSE) | anything, "fl_x": anything, "w": anything},
            ),
            max_size=10,
        ),
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents)
def test_any_document_is_read_or_refused(tmp_path, document):
    write(tmp_path, document)
    try:
        for frames in read_transforms(tmp_path).frames.values():
            for spec in frames:
                spec.size()
                spec.camera(64, 48)
    except NerfError as error:
        assert str(error)
