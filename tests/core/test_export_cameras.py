"""Camera paths: every file kind that is read, orbits, sizes, and sentences for broken files."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import NerfError
from nerf_core.export.camera_paths import orbit, read_cameras, resize, write_cameras

from . import tiny_scene

POSE = look_at((3.0, -4.0, 2.0), (0.0, 0.0, 0.5))
CAMERA = Camera(64, 48, 70.0, 71.0, 30.0, 25.0, POSE)


def write(tmp_path, document):
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(document))
    return path


def test_our_own_list_comes_back(tmp_path):
    write_cameras(tmp_path / "cameras.json", [CAMERA, Camera(8, 8, 2.0, 2.0, 4.0, 4.0, POSE, kind="orthographic")])
    first, second = read_cameras(tmp_path / "cameras.json")
    assert first.to_dict() == CAMERA.to_dict() and second.kind == "orthographic"
    (held,) = read_cameras(write(tmp_path, {"cameras": [CAMERA.to_dict()]}))
    assert held.to_dict() == CAMERA.to_dict()


def test_a_transforms_file_without_its_images(tmp_path):
    tiny_scene.write_dataset(tmp_path / "d", train=3, val=2, size=24)
    for picture in (tmp_path / "d").rglob("*.png"):
        picture.unlink()
    found = read_cameras(tmp_path / "d" / "transforms_val.json")
    for i, camera in enumerate(found):
        truth = tiny_scene.camera(i, 3, 24)
        np.testing.assert_allclose(camera.c2w, truth.c2w, atol=1e-12)
        assert (camera.width, camera.fl_x, camera.cy) == (24, truth.fl_x, truth.cy)


def test_nerf_synthetic_cameras_take_the_asked_size(tmp_path):
    document = {"camera_angle_x": 1.0, "frames": [{"file_path": "./r_0", "transform_matrix": POSE.tolist()}]}
    (camera,) = read_cameras(write(tmp_path, document), 200, 100)
    assert (camera.width, camera.height) == (200, 100)
    assert camera.fl_x == camera.fl_y == pytest.approx(100 / math.tan(0.5))


def test_nerfstudio_camera_path(tmp_path):
    document = {
        "camera_type": "perspective",
        "render_width": 192,
        "render_height": 108,
        "camera_path": [{"camera_to_world": POSE.flatten().tolist(), "fov": 50, "aspect": 1.78}] * 2,
    }
    cameras = read_cameras(write(tmp_path, document))
    assert len(cameras) == 2
    camera = cameras[0]
    np.testing.assert_allclose(camera.c2w, POSE, atol=1e-9)
    assert (camera.width, camera.height, camera.cx, camera.cy) == (192, 108, 96, 54)
    top = camera.rays(np.array([96.0, 0.0]))[1]
    assert math.degrees(math.acos(top @ camera.forward)) == pytest.approx(25)  # the fov is the vertical one


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "holds no cameras"),
        ({"cameras": 3}, "holds no cameras"),
        ([3], "Camera 0"),
        ([{**CAMERA.to_dict(), "fl_x": "x"}], "'fl_x'"),
        ([{**CAMERA.to_dict(), "transform_matrix": np.zeros((4, 4)).tolist()}], "not a rotation"),
        ({"camera_path": [{"camera_to_world": [0] * 16, "fov": 50}]}, "render_width"),
        (
            {
                "render_width": 8,
                "render_height": 8,
                "camera_path": [{"camera_to_world": POSE.flatten().tolist(), "fov": 200}],
            },
            "under 180",
        ),
        ({"camera_type": "fisheye", "camera_path": [{}]}, "perspective"),
        ({"frames": [{"transform_matrix": POSE.tolist(), "w": 8}]}, "neither fl_x"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path, document, told):
    with pytest.raises(NerfError, match=told) as caught:
        read_cameras(write(tmp_path, document))
    assert "cameras.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_or_cut_file(tmp_path):
    with pytest.raises(NerfError, match=r"none\.json' does not exist"):
        read_cameras(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text("[{")
    with pytest.raises(NerfError, match=r"cut\.json' is not valid JSON"):
        read_cameras(tmp_path / "cut.json")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
entries = st.lists(
    st.fixed_dictionaries(
        {"transform_matrix": st.just(POSE.tolist()) | anything, "camera_to_world": st.just([0.0] * 16) | anything},
        optional={key: anything for key in ("w", "h", "fl_x", "fov", "kind", "k1", "clip_end")},
    ),
    max_size=2,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        entries,
        st.fixed_dictionaries({"frames": entries | anything}, optional={"fl_x": anything, "w": anything}),
        st.fixed_dictionaries({"camera_path": entries, "render_width": anything, "render_height": anything}),
        anything,
    )
)
def test_any_document_is_read_or_refused(tmp_path, document):
    try:
        read_cameras(write(tmp_path, document))
    except NerfError as error:
        assert str(error)


def test_an_orbit_stands_like_the_training_cameras_and_looks_at_the_box():
    bounds = np.array([[1.0, -2.0, 0.0], [3.0, 0.0, 1.0]])
    center = bounds.mean(axis=0)
    places = [center + 4.0 * np.array([np.cos(a) * 0.8, np.sin(a) * 0.8, 0.6]) for a in (0.3, 2.0, 4.0)]
    training = [Camera(64, 48, 70.0, 71.0, 30.0, 25.0, look_at(place, center)) for place in places]
    cameras = orbit(training, bounds, 12, width=32)
    assert len(cameras) == 12 and (cameras[0].width, cameras[0].height) == (32, 24)
    np.testing.assert_allclose(cameras[0].position, places[0], atol=1e-9)
    for camera in cameras:
        offset = camera.position - center
        assert np.linalg.norm(offset) == pytest.approx(4.0) and offset[2] == pytest.approx(2.4)
        np.testing.assert_allclose(camera.forward, -offset / 4.0, atol=1e-9)
        np.testing.assert_allclose(camera.project(center)[0], (camera.cx, camera.cy), atol=1e-9)
    angles = np.unwrap([math.atan2(*(c.position - center)[1::-1]) for c in cameras])
    np.testing.assert_allclose(np.diff(angles), 2 * np.pi / 12, atol=1e-9)


def test_orbits_that_cannot_be():
    bounds = np.array([[-1.0] * 3, [1.0] * 3])
    with pytest.raises(NerfError, match="no training cameras"):
        orbit([], bounds, 4)
    with pytest.raises(NerfError, match="1 to"):
        orbit([CAMERA], bounds, 0)
    with pytest.raises(NerfError, match="at least 1 pixel"):
        orbit([CAMERA], bounds, 4, width=0)


def test_another_aspect_ratio_shows_more_and_keeps_pixels_square():
    wide = resize(CAMERA, 128, 48)
    assert (wide.width, wide.height, wide.fl_x, wide.fl_y) == (128, 48, 70, 71)
    point = CAMERA.position + 3 * CAMERA.forward + 0.2
    shift = wide.project(point)[0] - CAMERA.project(point)[0]
    np.testing.assert_allclose(shift, (32, 0), atol=1e-9)
    half = resize(CAMERA, None, 24)
    assert (half.width, half.height, half.fl_x) == (32, 24, 35)
