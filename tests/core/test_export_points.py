"""Density points lie on what was photographed, have its colours, and arrive in any PLY reader."""

import struct

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import Cancelled, NerfError
from nerf_core.data.views import View, Views
from nerf_core.export.points import PointCloud, _draw, extract_points, random_rays, write_ply
from nerf_core.methods.base import Normalisation
from nerf_core.methods.registry import create

from ..trace_arrays import trace_of

SIZE = 0.9
CENTER = np.array([3.0, -2.0, 1.0])
_turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
TURN = _turn * np.sign(np.linalg.det(_turn))
FACES = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]], np.uint8)


def picture(camera: Camera) -> np.ndarray:
    """A turned cube with one colour an axis, by the slab method."""
    origins, directions = camera.rays()
    o, d = (origins - CENTER) @ TURN, directions @ TURN
    near, far = np.sort(np.stack([(-SIZE / 2 - o) / d, (SIZE / 2 - o) / d]), axis=0)
    hit = near.max(axis=-1) < far.min(axis=-1)
    rgba = np.zeros((camera.height, camera.width, 4), np.uint8)
    rgba[hit, :3] = FACES[near.argmax(axis=-1)[hit]]
    rgba[hit, 3] = 255
    return rgba


def cameras(count: int, size: int = 48) -> list[Camera]:
    places = np.random.default_rng(1).normal(size=(count, 3))
    places *= 3.0 / np.linalg.norm(places, axis=1, keepdims=True)
    return [Camera(size, size, 1.4 * size, 1.4 * size, size / 2, size / 2, look_at(CENTER + p, CENTER)) for p in places]


@pytest.fixture(scope="module")
def cube():
    """The fast method, trained on the cube; and its cameras."""
    seen_by = cameras(24)
    method = create("fast", Normalisation(np.stack([CENTER - 1.0, CENTER + 1.0])), "cpu", seed=1)
    method.load_views(Views([View(str(i), c, picture(c)) for i, c in enumerate(seen_by)], "srgb", True))
    for step in range(400):
        method.train_step(step / 400)
    return method, seen_by


def distance_to_surface(points: np.ndarray) -> np.ndarray:
    outside = np.abs((points - CENTER) @ TURN) - SIZE / 2
    return np.abs(np.minimum(outside.max(axis=1), 0) + np.linalg.norm(np.maximum(outside, 0), axis=1))


def test_points_of_a_trained_cube_lie_on_it_in_its_colours(cube):
    method, seen_by = cube
    told = []
    cloud = extract_points(method, seen_by, 4000, progress=told.append)
    assert cloud.position.shape == (4000, 3) and cloud.position.dtype == np.float32
    away = distance_to_surface(cloud.position.astype(np.float64))
    assert np.median(away) < 0.02 * SIZE
    assert np.quantile(away, 0.9) < 0.08 * SIZE
    assert (cloud.density >= cloud.threshold).all() and cloud.threshold > 1.0
    local = (cloud.position - CENTER) @ TURN
    for axis in range(3):  # every face has its share, and its colour
        for side in (-1, 1):
            on = (np.abs(local[:, axis] * side - SIZE / 2) < 0.03) & (np.abs(np.delete(local, axis, 1)) < 0.4).all(
                axis=1
            )
            assert on.sum() > 100
            assert np.abs(np.median(cloud.color[on], axis=0) * 255 - FACES[axis]).max() < 25
    assert told == sorted(told) and told[-1] == 1.0


def test_the_same_seed_gives_the_same_points_and_a_threshold_is_kept(cube):
    method, seen_by = cube
    first, second = (extract_points(method, seen_by, 200, threshold=30.0, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.position, second.position)
    assert first.threshold == 30.0 and (first.density >= 30.0).all()
    assert not np.array_equal(first.position, extract_points(method, seen_by, 200, threshold=30.0, seed=6).position)


def test_what_cannot_be_done_is_said(cube):
    method, seen_by = cube
    with pytest.raises(NerfError, match="lower the threshold"):
        extract_points(method, seen_by, 10, threshold=1e12)
    for count in (0, -1, 10**9):
        with pytest.raises(NerfError, match="number of points"):
            extract_points(method, seen_by, count)
    with pytest.raises(NerfError, match="density threshold"):
        extract_points(method, seen_by, 10, threshold=float("nan"))
    with pytest.raises(NerfError, match="no training cameras"):
        extract_points(method, [], 10)
    with pytest.raises(Cancelled):
        extract_points(method, seen_by, 10, threshold=1.0, should_stop=lambda: True)


def test_draws_follow_the_sharpened_weights_of_the_last_stage():
    rays = 20000
    trace = trace_of(
        ray=np.repeat(np.arange(rays, dtype=np.int32), 4),
        t=np.tile(np.arange(4, dtype=np.float32), rays),
        density=np.tile(np.array([9.0, 9.0, 1.0, 9.0], np.float32), rays),
        weight=np.tile(np.array([0.9, 0.3, 0.1, 0.4], np.float32), rays),
        transmittance=np.tile(np.array([1.0, 1.0, 0.7, 0.6], np.float32), rays),
        stage=np.tile(np.array([0, 1, 1, 1], np.int32), rays),
        rays=rays,
    )
    drawn = _draw(trace, 5.0, np.random.default_rng(0))
    share = np.bincount(drawn % 4, minlength=4) / rays
    np.testing.assert_allclose(share, [0, 1 - 0.7**4, 0, 0.6**4 - 0.2**4], atol=0.015)
    assert len(np.unique(trace.ray[drawn])) == len(drawn)  # at most one a ray


def test_random_rays_pass_through_their_cameras_pictures():
    seen_by = cameras(5)
    origins, directions = random_rays(seen_by, 3000, np.random.default_rng(2))
    used = 0
    for camera in seen_by:
        own = (origins == camera.position.astype(np.float32)).all(axis=1)
        pixels, depth = camera.project(origins[own].astype(np.float64) + directions[own])
        assert (depth > 0).all() and (pixels > -0.01).all() and (pixels < 48.01).all()
        np.testing.assert_allclose(pixels.mean(axis=0), (24, 24), atol=2.5)
        used += own.sum()
    assert used == 3000


def read_ply(data: bytes) -> tuple[list[str], list[tuple]]:
    """An independent reader of binary PLY: property names and rows, by struct from the header's own words."""
    head, _, body = data.partition(b"end_header\n")
    lines = head.decode("ascii").split("\n")
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    (count,) = (int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    properties = [line.split()[1:] for line in lines if line.startswith("property")]
    layout = struct.Struct("<" + "".join({"float": "f", "uchar": "B"}[kind] for kind, _ in properties))
    assert len(body) == count * layout.size
    return [name for _, name in properties], list(layout.iter_unpack(body))


def test_ply_is_read_by_an_independent_reader(tmp_path):
    rng = np.random.default_rng(3)
    cloud = PointCloud(
        rng.normal(size=(7, 3)).astype(np.float32),
        rng.random(7).astype(np.float32) * 100,
        rng.random((7, 3)).astype(np.float32),
        12.5,
    )
    write_ply(tmp_path / "a.ply", cloud)
    names, rows = read_ply((tmp_path / "a.ply").read_bytes())
    assert names == ["x", "y", "z", "red", "green", "blue", "density"]
    table = np.array(rows)
    np.testing.assert_array_equal(table[:, :3].astype(np.float32), cloud.position)
    np.testing.assert_array_equal(table[:, 3:6], np.floor(cloud.color * np.float32(255) + np.float32(0.5)))
    np.testing.assert_array_equal(table[:, 6].astype(np.float32), cloud.density)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"]
