"""The camera model: projection inverts rays for every kind and lens, and JSON carries cameras whole."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf_core.contract.camera import Camera, look_at, pixel_centres
from nerf_core.contract.errors import DataError, NerfError
from nerf_core.contract.lens import Distortion, distort, undistort

POSE = look_at((3.0, -4.0, 2.0), (0.2, 0.1, 0.5))
LENS = Distortion(-0.12, 0.03, -0.004, 0.002, -0.003)
CAMERAS = {
    "perspective": Camera(64, 48, 70.0, 75.0, 30.0, 26.0, POSE),
    "distorted": Camera(64, 48, 70.0, 75.0, 30.0, 26.0, POSE, distortion=LENS),
    "orthographic": Camera(64, 48, 12.0, 13.0, 30.0, 26.0, POSE, kind="orthographic"),
    "panoramic": Camera(64, 32, 64 / (2 * np.pi), 32 / np.pi, 32.0, 16.0, POSE, kind="panoramic"),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_projection_inverts_rays(name):
    camera = CAMERAS[name]
    origins, directions = camera.rays()
    assert origins.shape == directions.shape == (camera.height, camera.width, 3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1.0, atol=1e-12)
    pixels, depth = camera.project(origins + 2.5 * directions)
    np.testing.assert_allclose(pixels, pixel_centres(camera.width, camera.height), atol=1e-6)
    assert (depth > 0).all()


def test_axes_and_pixel_centres():
    camera = Camera(4, 2, 2.0, 2.0, 2.0, 1.0)
    origins, directions = camera.rays(np.array([[2.0, 1.0], [4.0, 1.0], [2.0, 0.0]]))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(directions[:2], [[0, 0, -1], [half, 0, -half]], atol=1e-12)
    assert directions[2][1] > 0  # the top of the picture looks up
    assert (origins == 0).all()
    assert pixel_centres(2, 1).tolist() == [[[0.5, 0.5], [1.5, 0.5]]]


def test_opencv_distortion_by_its_published_formula():
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    radial = 1 + LENS.k1 * r2 + LENS.k2 * r2**2 + LENS.k3 * r2**3
    expected = (
        x * radial + 2 * LENS.p1 * x * y + LENS.p2 * (r2 + 2 * x * x),
        y * radial + LENS.p1 * (r2 + 2 * y * y) + 2 * LENS.p2 * x * y,
    )
    np.testing.assert_allclose(distort(LENS, np.array([x, y])), expected, atol=1e-15)
    np.testing.assert_allclose(undistort(LENS, np.array(expected)), (x, y), atol=1e-12)


def test_another_size_is_the_same_view():
    camera = CAMERAS["distorted"]
    double = camera.resized(128, 96)
    points = np.random.default_rng(0).normal(0, 0.5, (50, 3))
    np.testing.assert_allclose(double.project(points)[0], 2 * camera.project(points)[0], atol=1e-9)


@pytest.mark.parametrize("position", [(3.0, 1.0, 2.0), (0.0, 0.0, 5.0), (0.0, 0.0, -5.0)])
def test_look_at_is_a_rotation_that_looks_there(position):
    c2w = look_at(np.array(position), np.zeros(3))
    np.testing.assert_allclose(c2w[:3, :3].T @ c2w[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(c2w[:3, :3]) == pytest.approx(1.0)
    pixels, depth = Camera(8, 8, 8.0, 8.0, 4.0, 4.0, c2w).project(np.zeros(3))
    np.testing.assert_allclose(pixels, (4, 4), atol=1e-9)
    assert depth == pytest.approx(np.linalg.norm(position))


@pytest.mark.parametrize("name", CAMERAS)
def test_json_carries_a_camera_whole(name):
    camera = CAMERAS[name]
    back = Camera.from_dict(json.loads(json.dumps(camera.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(back.c2w, camera.c2w)
    assert {**vars(back), "c2w": 0} == {**vars(camera), "c2w": 0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fl_x": None}, "'fl_x' is missing"),
        ({"fl_x": "wide"}, "'fl_x' is not a number"),
        ({"fl_x": 0.0}, "not usable"),
        ({"fl_x": 10**400}, "'fl_x' is not a usable number"),
        ({"w": float("nan")}, "'w' is not a usable number"),
        ({"w": 0}, "outside 1 to 65536"),
        ({"k1": float("inf")}, "'k1'"),
        ({"kind": "fisheye"}, "kind 'fisheye'"),
        ({"transform_matrix": [[1, 0], [0, 1]]}, "must be 4x4"),
        ({"transform_matrix": [["a"] * 4] * 4}, "transform_matrix"),
        ({"transform_matrix": np.full((4, 4), np.nan).tolist()}, "NaN"),
    ],
)
def test_unusable_values_are_named(change, told):
    with pytest.raises(DataError, match=told):
        Camera.from_dict({**CAMERAS["perspective"].to_dict(), **change})


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.floats())


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(list(CAMERAS["distorted"].to_dict())), anything, max_size=4))
def test_any_values_make_a_camera_or_an_error(change):
    try:
        Camera.from_dict({**CAMERAS["distorted"].to_dict(), **change})
    except NerfError as error:
        assert str(error)


def test_a_strange_kind_is_told_on_one_line():
    data = {**Camera(4, 4, 1.0, 1.0, 2.0, 2.0).to_dict(), "kind": "round\n\x1b[31m"}
    with pytest.raises(DataError, match=r"camera kind 'round\\n\\x1b\[31m' is not one of"):
        Camera.from_dict(data)
