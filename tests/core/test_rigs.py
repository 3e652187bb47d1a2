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
