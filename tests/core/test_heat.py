"""Heat maps: exact numbers on samples that are known, and a trained field against its data set and against itself."""

from dataclasses import replace

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.heat import HEAT_NAMES, colour_table, coloured, heat_kind, round_up, top_value
from nerf_core.contract.samplers import SamplerChoice
from nerf_core.data.truth import window_of
from nerf_core.export.heat_pictures import heat_numbers, heat_picture
from nerf_core.rendering.captured import nearest
from nerf_core.rendering.heat import render_heat, truth_of
from nerf_core.rendering.layers import Layer
from nerf_core.rendering.picture import render_picture
from nerf_core.rendering.view import View
from nerf_core.training.load import load_run

from . import tiny_scene
from .fuzzing import fresh_seed
from .known_samples import COLORS, PLACES, VOXEL, WEIGHTS, KnownSamples

WHITE = (1.0, 1.0, 1.0)
#: Half of its rays look up, and meet the known samples.
LEVEL = Camera(8, 8, 8.0, 8.0, 4.0, 4.0, look_at(np.array([0.0, -3.0, 0.0]), np.zeros(3)))


def known(count, **view):
    sampler = SamplerChoice("surface", count)
    return render_heat([Layer(KnownSamples())], View(LEVEL, sampler=sampler, **view), HEAT_NAMES, WHITE)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_known_samples_give_exact_maps(count):
    frame, heat = known(count, depth="z")
    assert list(heat.maps) == list(HEAT_NAMES)
    up = np.arange(8) < 4
    picked = KnownSamples().picked(SamplerChoice("surface", count))
    expected = {"sample_count": float(count)}
    close = np.abs(PLACES[:, None] - PLACES[picked]).min(axis=1) <= VOXEL / 2
    expected["captured_weight"] = WEIGHTS[close].sum() / WEIGHTS.sum()
    depths = [(WEIGHTS * PLACES)[which].sum() / WEIGHTS[which].sum() for which in (picked, np.arange(8))]
    expected["depth_error"] = abs(depths[0] - depths[1])
    over = [WEIGHTS[w] @ COLORS[w] + 1.0 - WEIGHTS[w].sum() for w in (picked, np.arange(8))]
    expected["colour_error"] = np.abs(over[0] - over[1]).mean()
    for name, value in expected.items():
        assert heat.maps[name].dtype == np.float32 and heat.maps[name].shape == (8, 8)
        np.testing.assert_allclose(heat.maps[name][up], value, atol=2e-6, err_msg=name)
        np.testing.assert_array_equal(heat.maps[name][~up], float(name == "captured_weight"), err_msg=name)
    assert heat.references == {"colour_error": "full", "depth_error": "full"}
    assert heat.maps["sample_count"].sum() == frame.cost.full == 32 * count
    if count == 1:  # by hand: 0.3 at the sample, nothing else within 0.0078
        np.testing.assert_allclose(heat.maps["captured_weight"][0, 0], 0.3 / 0.9, rtol=1e-5)


def test_rays_are_averaged_and_layers_add_up():
    _, heat = known(2, samples=16, seed=3)
    count = heat.maps["sample_count"]
    assert (count[:3] == 2.0).all() and (count[5:] == 0.0).all()
    twice = [Layer(KnownSamples()), Layer(KnownSamples(), matrix=np.diag([1.0, 1.0, 1.0, 1.0]))]
    frame, both = render_heat(twice, View(LEVEL, sampler=SamplerChoice("surface", 2)), HEAT_NAMES, WHITE)
    total = both.maps["sample_count"]
    assert total.sum() == frame.cost.full and (total[:3, 2:6] >= 4.0).all() and (total[5:] == 0.0).all()
    full = [replace(layer, sampler=None) for layer in twice]
    reference = render_picture(full, View(LEVEL))
    over = [each.rgba[..., :3] + 1.0 - each.rgba[..., 3:] for each in (frame, reference)]
    expected = np.abs(np.clip(over[0], 0, 1) - np.clip(over[1], 0, 1)).mean(axis=-1)
    np.testing.assert_allclose(both.maps["colour_error"], expected, atol=1e-6)


def test_the_nearest_sample_is_found_on_each_ray():
    rng = np.random.default_rng(fresh_seed())
    for others in (0, 1, 40):
        ray, other_ray = rng.integers(0, 9, 300), rng.integers(0, 9, others)
        t, other_t = rng.uniform(0, 7, 300).astype(np.float32), rng.uniform(0, 7, others).astype(np.float32)
        away = np.abs(t[:, None].astype(np.float64) - other_t)
        away[ray[:, None] != other_ray] = np.inf
        np.testing.assert_allclose(nearest(ray, t, other_ray, other_t), away.min(axis=1, initial=np.inf))


# The data set's own view.


@pytest.fixture(scope="module")
def run(trained_run):
    return load_run(trained_run, "cpu")


def test_a_camera_of_the_data_set_is_known_and_others_are_not():
    whole = replace(tiny_scene.camera(3, 9, 40), cx=19.25)
    rows = replace(whole, height=7, cy=whole.cy - 21)
    half = whole.resized(20, 20)
    assert window_of(whole, whole, 1e-4) == (1, 0, 0) and window_of(rows, whole, 1e-4) == (1, 0, 21)
    assert window_of(half, whole, 1e-4) == (2, 0, 0)
    assert window_of(replace(half, width=5, cx=half.cx - 12), whole, 1e-4) == (2, 12, 0)
    as_blender = whole.c2w.astype(np.float32).astype(np.float64)
    assert window_of(replace(whole, c2w=as_blender, fl_x=float(np.float32(whole.fl_x))), whole, 1e-4) == (1, 0, 0)
    moved, turned = whole.c2w.copy(), whole.c2w.copy()
    moved[0, 3] += 0.01
    turned[:3, :3] = turned[:3, [1, 0, 2]] * (1, -1, 1)
    others = [
        replace(whole, c2w=moved),
        replace(whole, c2w=turned),
        replace(whole, fl_x=whole.fl_x * 1.01),
        replace(whole, cx=whole.cx + 0.5),
        replace(whole, width=41),
        replace(whole, cy=whole.cy + 3),
        replace(whole, kind="orthographic"),
        whole.resized(80, 80),
    ]
    assert [window_of(other, whole, 1e-4) for other in others] == [None] * len(others)


def test_the_data_set_s_own_picture_is_the_reference_of_its_camera(run):
    truths = run.truths()
    view = View(tiny_scene.camera(1, 4, 40))
    layers = [Layer(run.method)]
    truth = truth_of(truths, layers, view)
    assert (truth.name, truth.split) == ("./train/0004", "train") and truth.depth is None
    np.testing.assert_array_equal(truth.rgba, tiny_scene.picture(view.camera))
    frame, heat = render_heat(layers, view, HEAT_NAMES, WHITE, truth)
    assert heat.references == {"colour_error": "data", "depth_error": "full"}
    straight = tiny_scene.picture(view.camera) / 255.0
    wanted = straight[..., :3] * straight[..., 3:] + 1.0 - straight[..., 3:]
    seen = np.clip(frame.rgba[..., :3] + 1.0 - frame.rgba[..., 3:], 0.0, 1.0)
    np.testing.assert_allclose(heat.maps["colour_error"], np.abs(seen - wanted).mean(axis=-1), atol=1e-6)
    assert 0.0 < heat.maps["colour_error"].mean() < 0.05
    # The same in scene-linear colour, by its rows, and of a NeRF that was moved and scaled with the camera.
    linear = render_heat(layers, replace(view, color="linear"), ["colour_error"], WHITE, truth)[1]
    np.testing.assert_allclose(linear.maps["colour_error"], heat.maps["colour_error"], atol=1e-4)
    rows = replace(view, camera=replace(view.camera, height=9, cy=view.camera.cy - 12))
    part = render_heat(layers, rows, ["colour_error"], WHITE, truth_of(truths, layers, rows))[1]
    np.testing.assert_allclose(part.maps["colour_error"], heat.maps["colour_error"][12:21], atol=1e-4)
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = 1.0, 2.0, 3.0
    c2w = matrix @ view.camera.c2w
    c2w[:3, :3] /= 2.0
    layers, view = [Layer(run.method, matrix=matrix)], replace(view, camera=replace(view.camera, c2w=c2w))
    assert truth_of(truths, layers, view).name == "./train/0004"
    c2w = c2w.copy()
    c2w[2, 3] += 0.05
    assert truth_of(truths, layers, replace(view, camera=replace(view.camera, c2w=c2w))) is None


def test_full_sampling_agrees_with_itself_and_counts_its_samples(run):
    view = View(tiny_scene.camera(2, 7, 24))
    frame, heat = render_heat([Layer(run.method)], view, HEAT_NAMES, WHITE)
    assert not heat.maps["depth_error"].any() and not heat.maps["colour_error"].any()
    origins, directions = (rays.reshape(-1, 3).astype(np.float32) for rays in view.camera.rays())
    trace = run.method.trace_rays(origins, directions)
    np.testing.assert_array_equal(heat.maps["sample_count"].ravel(), trace.full)
    assert heat.maps["sample_count"].max() > 1
    assert heat.maps["sample_count"].sum() == frame.cost.full
    np.testing.assert_allclose(heat.maps["captured_weight"], 1.0, atol=0.5)
    assert heat.maps["captured_weight"].mean() > 0.99
    # Fewer samples, of another sampler: counted one by one, and caught less.
    few = replace(view, sampler=SamplerChoice("hierarchical", 2, {"coarse": 32}))
    frame, heat = render_heat([Layer(run.method)], few, HEAT_NAMES, WHITE)
    trace = run.method.trace_rays(origins, directions, few.sampler)
    assert abs(heat.maps["sample_count"].sum() - trace.full.sum()) <= 0.01 * trace.full.sum()
    assert heat.maps["sample_count"].sum() == frame.cost.full and 0 < heat.maps["sample_count"].max() <= 2
    assert heat.maps["captured_weight"].min() < 0.5 and heat.maps["colour_error"].max() > 0.01


def test_what_is_cropped_away_hides_nothing(run):
    """Only the half behind the ball's middle, seen from the front: all weight that there is lies in it."""
    camera = tiny_scene.camera(1, 4, 24)
    crop = np.eye(4)
    crop[:3, :3] = camera.c2w[:3, :3] * 2.0
    crop[:3, 3] = tiny_scene.CENTER - camera.c2w[:3, 2] * 2.0
    layer = Layer(run.method, crops=(crop,))
    frame, heat = render_heat([layer], View(camera), ["captured_weight"], WHITE)
    alpha = frame.rgba[..., 3]
    assert (alpha > 0.5).sum() > 30
    np.testing.assert_allclose(heat.subject["captured_weight"], alpha, atol=0.15)
    assert np.abs(heat.subject["captured_weight"] - alpha).mean() < 0.01
    assert heat.maps["captured_weight"].mean() > 0.99


def test_known_depth_is_the_reference_of_depth(run):
    view = View(tiny_scene.camera(1, 4, 40), depth="z")
    truth = truth_of(run.truths(), [Layer(run.method)], view)
    origins, directions = view.camera.rays()
    frame = render_picture([Layer(run.method)], replace(view, depth="distance"))
    depth = np.where(np.arange(40) % 2 == 0, 3.0, 0.0)[:, None] * np.ones((40, 40), np.float32)
    truth = replace(truth, depth=depth.astype(np.float32))
    heat = render_heat([Layer(run.method)], view, ["depth_error"], WHITE, truth)[1]
    assert heat.references == {"depth_error": "data"}
    np.testing.assert_allclose(heat.maps["depth_error"][::2], np.abs(frame.depth[::2] - 3.0), atol=1e-4)
    assert not heat.maps["depth_error"][1::2].any()


# Colours and pictures.


def test_colours_are_matplotlib_s():
    matplotlib = pytest.importorskip("matplotlib")
    values = np.linspace(-0.2, 1.2, 999)
    for name in ("viridis", "magma"):
        theirs = np.array(matplotlib.colormaps[name].colors)
        np.testing.assert_array_equal(colour_table(name), np.round(theirs * 255.0))
        shown = coloured(3.0 * values, 3.0, name)
        np.testing.assert_allclose(shown, 255.0 * matplotlib.colormaps[name](values)[:, :3], atol=0.51)
    assert (coloured(np.array([np.nan]), 1.0, "magma") == colour_table("magma")[0]).all()


def test_scales_end_at_round_numbers():
    assert [round_up(value) for value in (1, 3.2, 4, 0.013, 64, 97, 9.9e-5)] == [1, 4, 4, 0.015, 80, 100, 1e-4]
    assert top_value(np.full((9, 9), 4.0), heat_kind("sample_count")) == 4.0
    assert top_value(np.zeros((9, 9)), heat_kind("depth_error")) == 1.0
    assert top_value(np.zeros((9, 9)), heat_kind("captured_weight")) == 1.0


def test_a_picture_shows_every_pixel_s_colour_and_its_legend():
    kind = heat_kind("sample_count")
    values = np.arange(800, dtype=np.float32).reshape(20, 40) % 17
    numbers = heat_numbers(values, (values > 8).astype(np.float32), kind)
    assert (numbers["least"], numbers["most"]) == (0.0, 16.0) and numbers["mean_hit"] == values[values > 8].mean()
    assert numbers["mean"] == pytest.approx(values.mean()) and numbers["top"] == 20.0
    shown = heat_picture(values, kind, numbers)
    np.testing.assert_array_equal(shown[:160:8, :320:8], coloured(values, 20.0, "viridis"))
    assert shown.shape[1] == 320 and shown.shape[0] > 200
    legend = shown[160:]
    whole_bar = (legend[..., None, :] == colour_table("viridis")[[0, 128, 255]]).all(axis=-1).any(axis=(0, 1))
    assert whole_bar.all() and (legend.min(axis=-1) > 200).sum() > 100  # and words
    empty = heat_picture(np.zeros((5, 5)), heat_kind("depth_error"), {**numbers, "most": 0.0, "top": 1.0}, "full")
    assert (empty[:300, :300] == colour_table("magma")[0]).all()
