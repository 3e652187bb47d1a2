"""Rigs and splits as geometry: even spread, held-out views between training views, subjects that fill the frame."""

import importlib
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at

ADDON = Path(__file__).resolve().parents[2] / "blender_nerf_addon"


@pytest.fixture(scope="module")
def rigs():
    """`capture.rigs` without bpy: the add-on's folder as a bare package, with the core where it is vendored."""
    package, vendor = types.ModuleType("bare_addon"), types.ModuleType("bare_addon.vendor")
    package.__path__, vendor.__path__ = [str(ADDON)], [str(ADDON.parent)]
    sys.modules.update({"bare_addon": package, "bare_addon.vendor": vendor})
    had_bpy = "bpy" in sys.modules
    yield importlib.import_module("bare_addon.capture.rigs")
    assert had_bpy or "bpy" not in sys.modules
    for name in [name for name in sys.modules if name.startswith("bare_addon")]:
        del sys.modules[name]


def _nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle in radians from each of `a` to the nearest of `b`."""
    return np.arccos(np.clip((a @ b.T).max(axis=1), -1, 1))


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("counts", [(60, 6, 4), (1, 1, 1), (12, 0, 5), (100, 20, 0), (7, 9, 9)])
def test_sphere_counts_and_spread(rigs, counts, upper):
    found = rigs.sphere_directions(rigs.SplitCounts(*counts), upper_half=upper)
    assert tuple(len(found[split]) for split in ("train", "val", "test")) == counts
    everything = np.concatenate([found[split] for split in ("train", "val", "test")])
    np.testing.assert_allclose(np.linalg.norm(everything, axis=1), 1.0, atol=1e-12)
    if upper:
        assert (everything[:, 2] >= math.sin(math.radians(5)) - 1e-12).all()
    same = everything @ everything.T - 2 * np.eye(len(everything))
    assert same.max() < math.cos(math.radians(1.0)), "two cameras at the same place"


def test_training_views_are_even_on_the_sphere(rigs):
    directions = rigs.sphere_directions(rigs.SplitCounts(60))["train"]
    gaps = np.arccos(np.clip(np.sort(directions @ directions.T, axis=1)[:, -2], -1, 1))
    assert gaps.min() > 0.75 * gaps.max()
    assert np.linalg.norm(directions.mean(axis=0)) < 0.01


@pytest.mark.parametrize("upper", [False, True])
def test_held_out_views_lie_between_training_views(rigs, upper):
    found = rigs.sphere_directions(rigs.SplitCounts(60, 6, 4), upper_half=upper)
    held_out = np.concatenate([found["val"], found["test"]])
    train = found["train"]
    spacing = np.median(np.arccos(np.clip(np.sort(train @ train.T, axis=1)[:, -2], -1, 1)))
    distance = _nearest(held_out, train)
    assert (distance > 0.5 * spacing).all() and (distance < 1.1 * spacing).all()
    # They cover the rig instead of crowding: for any direction of it there is a held-out view not too far away.
    assert _nearest(train, held_out).max() < (1.0 if upper else 1.2)


@pytest.mark.parametrize("counts", [(8, 2, 2), (5, 0, 1), (4, 9, 3), (36, 5, 0)])
def test_orbit(rigs, counts):
    elevation = math.radians(30)
    found = rigs.orbit_directions(rigs.SplitCounts(*counts), elevation)
    assert tuple(len(found[split]) for split in ("train", "val", "test")) == counts
    everything = np.concatenate([found[split] for split in ("train", "val", "test")])
    np.testing.assert_allclose(everything[:, 2], 0.5, atol=1e-12)
    angle = np.degrees(np.arctan2(everything[:, 1], everything[:, 0])) % 360
    np.testing.assert_allclose(angle[: counts[0]], 360 / counts[0] * np.arange(counts[0]), atol=1e-9)
    assert np.diff(np.sort(angle)).min() > 1.0
    if counts[1] + counts[2] <= counts[0]:  # one held-out view a gap lies in the gap's middle
        middle = (angle[counts[0] :] * counts[0] / 360) % 1
        np.testing.assert_allclose(middle, 0.5, atol=1e-9)


def test_sequence_is_split_as_asked_and_interleaved(rigs):
    splits = rigs.split_sequence(50, 4, 6)
    assert [splits.count(s) for s in ("train", "val", "test")] == [40, 4, 6]
    held_out = [i for i, split in enumerate(splits) if split != "train"]
    assert np.diff(held_out).tolist() == [5] * 9
    assert rigs.split_sequence(3, 0, 0) == ["train"] * 3


@pytest.mark.parametrize(("total", "val", "test", "word"), [(0, 0, 0, "no camera"), (5, 3, 2, "none is left")])
def test_sequence_without_training_views_is_refused(rigs, total, val, test, word):
    with pytest.raises(rigs.NerfError, match=word):
        rigs.split_sequence(total, val, test)


def test_counts_are_checked(rigs):
    with pytest.raises(rigs.NerfError, match="at least one training view"):
        rigs.SplitCounts(0, 1, 1)


@pytest.mark.parametrize("size", [(400, 400), (640, 360), (200, 500)])
@pytest.mark.parametrize("half", [(1, 1, 1), (0.2, 3, 0.5), (4, 4, 0.01)])
def test_radius_fits_the_whole_box_and_fills_the_frame(rigs, size, half):
    width, height = size
    lens = Camera(width, height, 500.0, 480.0, width / 2, height / 2)
    centre = np.array([3.0, -2.0, 1.0])
    bounds = np.stack([centre - half, centre + np.array(half)])
    directions = rigs.sphere_directions(rigs.SplitCounts(40))["train"]
    radius = rigs.fit_radius(bounds, directions, lens, margin=0.05)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half + centre
    reach = []
    for view in rigs.place({"train": directions}, centre, radius):
        camera = Camera(width, height, 500.0, 480.0, width / 2, height / 2, view.c2w)
        np.testing.assert_allclose(camera.project(centre)[0], (width / 2, height / 2), atol=1e-9)
        pixels, depth = camera.project(corners)
        assert (depth > 0).all()
        reach.append(np.abs(pixels / size * 2 - 1).max())
        np.testing.assert_allclose(np.linalg.norm(view.c2w[:3, 3] - centre), radius)
    assert max(reach) == pytest.approx(0.95, abs=1e-6)


def test_cameras_keep_up_up(rigs):
    for view in rigs.place(rigs.sphere_directions(rigs.SplitCounts(30)), np.zeros(3), 4.0):
        assert view.c2w[2, 1] > 0 and abs(view.c2w[2, 0]) < 1e-12  # +Y points up, +X is level
        np.testing.assert_allclose(view.c2w, look_at(view.c2w[:3, 3], np.zeros(3)), atol=1e-12)
        assert np.linalg.det(view.c2w[:3, :3]) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def paths(rigs):
    return importlib.import_module("bare_addon.capture.rig_paths")


def test_a_spiral_is_even_along_its_length(paths):
    low, high = math.radians(-30), math.radians(80)
    found = paths.spiral_directions(60, low, high, 5.0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.arcsin(found[[0, -1], 2]), (low, high), atol=1e-9)
    angle = np.unwrap(np.arctan2(found[:, 1], found[:, 0]))
    assert angle[-1] - angle[0] == pytest.approx(10 * math.pi, rel=1e-6)
    steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
    assert steps[:45].min() > 0.9 * steps[:45].max(), "evenly spaced, whatever the height"
    assert paths.spiral_directions(1, low, high, 5.0).shape == (1, 3)


@pytest.mark.parametrize("total", [1, 2, 7, 12, 25])
def test_a_grid_is_flat_full_and_faces_the_origin(paths, total):
    found = paths.grid_offsets(total, 0.3, 0.5, 0.8)
    normal = np.array([math.cos(0.5) * math.cos(0.3), math.cos(0.5) * math.sin(0.3), math.sin(0.5)])
    assert found.shape == (total, 3)
    np.testing.assert_allclose(found @ normal, 1.0, atol=1e-12)
    np.testing.assert_allclose(np.mean([found.max(axis=0), found.min(axis=0)], axis=0), normal, atol=0.21)
    if total == 25:
        steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
        np.testing.assert_allclose(steps, 0.2, atol=1e-12)  # there and back: each step is one place on
    assert len(np.unique(found.round(9), axis=0)) == total


def test_random_rows_keep_their_beginning(paths):
    few, factors = paths.random_directions(10, 3, True, 0.5)
    many, _ = paths.random_directions(400, 3, True, 0.5)
    assert (few == many[:10]).all() and (many[:, 2] >= math.sin(math.radians(5)) - 1e-12).all()
    assert (factors >= 1).all() and (factors <= 1.5).all() and np.ptp(factors) > 0.1
    whole, _ = paths.random_directions(2000, 0, False, 0.0)
    assert np.linalg.norm(whole.mean(axis=0)) < 0.05
    assert (np.histogram(whole[:, 2], bins=4)[0] > 400).all(), "even in height, as a sphere's surface is"


@pytest.mark.parametrize("shape", ["BOX", "SPHERE"])
def test_interior_places_fill_their_part_of_the_room(paths, shape):
    bounds = np.array([[1.0, 2.0, 3.0], [5.0, 4.0, 4.0]])
    poses = np.array(paths.interior_poses(200, bounds, 0.5, shape))
    place = (poses[:, :3, 3] - bounds.mean(axis=0)) / ((bounds[1] - bounds[0]) / 4)
    reach = np.abs(place).max(axis=1) if shape == "BOX" else np.linalg.norm(place, axis=1)
    assert reach.max() <= 1 + 1e-9 and reach.max() > 0.9
    np.testing.assert_allclose(place.mean(axis=0), 0, atol=0.03)
    forward = -poses[:, :3, 2]
    assert np.linalg.norm(forward.mean(axis=0)) < 0.01
    assert np.abs(np.corrcoef(place[:, 0], forward[:, 2])[0, 1]) < 0.2, "place says nothing about direction"


def test_points_along_chains(paths):
    corner = paths.Chain(np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0]], float))
    points, tangents = paths.along([corner], 5)
    np.testing.assert_allclose(points, [[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [2, 2, 0]], atol=1e-12)
    np.testing.assert_allclose(tangents[[0, 2, 4]], [[1, 0, 0], [0.5**0.5, 0.5**0.5, 0], [0, 1, 0]], atol=1e-12)
    square = paths.Chain(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float), closed=True)
    np.testing.assert_allclose(paths.along([square], 4)[0], square.points, atol=1e-12)
    far = paths.Chain(np.array([[0, 0, 9], [4, 0, 9]], float))
    both, _ = paths.along([corner, far], 8)
    assert len(both) == 8 and (both[:4, 2] == 0).all() and (both[4:, 2] == 9).all()
    np.testing.assert_allclose(both[4:, 0], [0.5, 1.5, 2.5, 3.5], atol=1e-12)
    with pytest.raises(paths.NerfError, match="no length"):
        paths.along([paths.Chain(np.zeros((3, 3)))], 3)
    with pytest.raises(paths.NerfError, match="stands in the middle"):
        paths.aim(np.zeros((1, 3)), np.zeros(3))
