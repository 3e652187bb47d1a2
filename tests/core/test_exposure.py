"""Samples over the pixel, the lens and the shutter's time, against what optics says."""

from dataclasses import replace

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at
from nerf_core.rendering.exposure import Exposure, aperture, pixel_shifts, sample_places
from nerf_core.rendering.layers import Layer
from nerf_core.rendering.picture import render_picture
from nerf_core.rendering.view import Lens, View

from .analytic import Ball, Balls

SIZE = 64
CAMERA = Camera(SIZE, SIZE, 80.0, 80.0, SIZE / 2, SIZE / 2, look_at(np.array([4.0, 0.0, 0.0]), np.zeros(3)))
SMALL = Balls(Ball(radius=0.1))
KINDS = {
    "perspective": CAMERA,
    "orthographic": replace(CAMERA, kind="orthographic", fl_x=20.0, fl_y=20.0),
    "panoramic": replace(CAMERA, kind="panoramic", fl_x=80.0, fl_y=80.0),
}


def placed(x: float, y: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:2, 3] = x, y
    return matrix


def radius_of(alpha: np.ndarray) -> float:
    """Of what can be seen at all, in pixels, from its middle row."""
    rows = np.flatnonzero(alpha.max(axis=0) > 1e-3)
    return (rows[-1] - rows[0] + 1) / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", [2.0, 4.0, 6.0])
def test_a_lens_blurs_what_is_out_of_focus_and_nothing_else(kind, distance):
    camera, lens = KINDS[kind], Lens(0.4, 4.0)
    layer = Layer(SMALL, matrix=placed(4.0 - distance))
    sharp, seen = (render_picture([layer], View(camera, lens=each, samples=64)).rgba[..., 3] for each in (None, lens))
    # The circle of confusion, by similar triangles.
    spread = lens.radius * abs(distance - lens.focus) / lens.focus
    blur = camera.fl_x * spread / (1.0 if kind == "orthographic" else distance)
    assert radius_of(seen) == pytest.approx(radius_of(sharp) + blur, abs=1.6)
    assert (blur > 2) == (distance != 4.0)
    if distance == 4.0:
        assert np.abs(seen - sharp).mean() < 2e-3
    elif kind != "perspective":
        assert seen.sum() == pytest.approx(sharp.sum(), rel=0.1)  # light is spread, not lost


def test_a_bladed_aperture_is_a_polygon_turned():
    generator = np.random.default_rng(4)
    numbers = generator.uniform(size=(20000, 2))
    for blades, rotation in ((3, 0.0), (5, 0.7), (6, -0.2)):
        places = aperture(numbers, blades, rotation)
        for edge in range(blades):
            angle = rotation + 2 * np.pi * edge / blades
            reach = (places @ (np.cos(angle), np.sin(angle))).max()
            assert np.cos(np.pi / blades) * 0.98 < reach <= np.cos(np.pi / blades) + 1e-9
        # Evenly: half of the area lies within the polygon that is smaller by the root of 2.
        turned = np.stack([places @ (np.cos(a), np.sin(a)) for a in rotation + 2 * np.pi * np.arange(blades) / blades])
        inner = turned.max(axis=0) < np.cos(np.pi / blades) / np.sqrt(2)
        assert inner.mean() == pytest.approx(0.5, abs=0.015) and np.abs(places.mean(axis=0)).max() < 0.02
    disc = aperture(numbers, 0, 0.3)
    radius = np.linalg.norm(disc, axis=-1)
    assert radius.max() <= 1.0 and (radius < np.sqrt(0.5)).mean() == pytest.approx(0.5, abs=0.015)


def test_an_anamorphic_aperture_is_higher_than_wide():
    layer = Layer(SMALL, matrix=placed(2.0))
    alpha = render_picture([layer], View(CAMERA, lens=Lens(0.4, 4.0, ratio=2.0), samples=64)).rgba[..., 3]
    sharp = render_picture([layer], View(CAMERA, samples=64)).rgba[..., 3]
    wide, high = (radius_of(a) - radius_of(b) for a, b in ((alpha, sharp), (alpha.T, sharp.T)))
    assert high == pytest.approx(2 * wide, abs=1.5) and wide > 2


@pytest.mark.parametrize("moving", ["camera", "layer"])
def test_an_open_shutter_is_the_mean_of_its_poses(moving):
    steps = np.linspace(-0.4, 0.4, 4)
    if moving == "camera":
        poses = [replace(CAMERA, c2w=look_at(np.array([4.0, -s, 0.0]), np.array([0.0, -s, 0.0]))) for s in steps]
        layers, moved = [Layer(SMALL)], []
    else:
        poses, layers = [CAMERA] * 4, [Layer(SMALL)]
        moved = [[Layer(SMALL, matrix=placed(0.0, s))] for s in steps]
    view = View(CAMERA, tuple(poses), samples=64)
    blurred = render_picture(layers, view, shutter_layers=moved)
    alone = [render_picture(moved[i] if moved else layers, View(pose, samples=64)).rgba for i, pose in enumerate(poses)]
    np.testing.assert_allclose(blurred.rgba, np.mean(alone, axis=0), atol=0.1)
    assert np.abs(blurred.rgba - np.mean(alone, axis=0)).mean() < 1e-3
    assert blurred.rgba[..., 3].max() < 0.6 and radius_of(blurred.rgba[..., 3]) > 8
    one = render_picture(layers, replace(view, samples=1), shutter_layers=moved)
    np.testing.assert_array_equal(one.rgba, render_picture(layers, View(CAMERA)).rgba)


def test_a_layer_may_come_and_go_while_the_shutter_is_open():
    view = View(CAMERA, (CAMERA, CAMERA), samples=4)
    frame = render_picture([Layer(SMALL)], view, shutter_layers=[[], [Layer(SMALL)]])
    middle = frame.rgba[SIZE // 2, SIZE // 2]
    np.testing.assert_allclose(middle, [0.4, 0.2, 0.1, 0.5], atol=1e-4)
    # Where half of the samples see something, its distance is not halved.
    assert frame.depth[SIZE // 2, SIZE // 2] == pytest.approx(3.9, abs=0.02)


def test_samples_make_edges_as_smooth_as_they_are():
    camera = KINDS["orthographic"]
    alpha = render_picture([Layer(Balls())], View(camera, samples=16)).rgba[..., 3]
    hard = render_picture([Layer(Balls())], View(camera)).rgba[..., 3]
    area = np.pi * (0.5 * 20) ** 2
    assert ((alpha > 0.02) & (alpha < 0.98)).sum() > 40 and ((hard > 0.02) & (hard < 0.98)).sum() == 0
    assert alpha.sum() == pytest.approx(area, rel=0.005)


def test_places_are_stratified_in_pixel_lens_and_time():
    for samples in (2, 7, 16, 48):
        places = sample_places(samples, 3)
        shifted = (places + pixel_shifts(np.array([12345]), 9)) % 1.0
        for each in (places, shifted):
            for dimension in (0, 2, 4):
                parts = np.floor(each[:, dimension] * samples - (each[0, dimension] * samples) % 1.0 + 1e-6)
                assert len(np.unique(parts % samples)) == samples
        if samples == 16:
            for pair in (places[:, :2], places[:, 2:4]):
                assert len(np.unique(np.floor(pair * 4) @ (4, 1))) == 16
    shifts = pixel_shifts(np.arange(50000), 1)
    assert np.abs(shifts.mean(axis=0) - 0.5).max() < 0.01 and np.abs(np.corrcoef(shifts.T) - np.eye(5)).max() < 0.02


def test_the_same_seed_gives_the_same_picture_however_it_is_cut():
    view = View(CAMERA, (CAMERA, KINDS["perspective"]), Lens(0.2, 3.0, 6), samples=5, seed=8, normals=True)
    first, again = (render_picture([Layer(SMALL)], view) for _ in range(2))
    for name in ("rgba", "depth", "normal"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.rgba, render_picture([Layer(SMALL)], replace(view, seed=9)).rgba)
    exposure = Exposure(replace(view, shutter=()))
    (whole,), (part,) = exposure.shots(np.arange(SIZE * SIZE), 3), exposure.shots(np.arange(100, 130), 3)
    np.testing.assert_array_equal(whole.rays.directions[100:130], part.rays.directions)
