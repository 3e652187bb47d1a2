"""What the overlay draws of a trace: where every vertex lies, and which colour it has."""

import numpy as np
import pytest

from nerf_core.contract.camera import Camera

from ..seeds import fresh_seed


@pytest.fixture
def shapes(addon_module):
    return addon_module("inspect.shapes")


@pytest.fixture
def state(addon_module):
    return addon_module("inspect.state")


def made_trace(rays, samples, seed):
    """A trace of so many rays with so many samples each: numbers of no field, but in a trace's order and ranges."""
    rng = np.random.default_rng(seed)
    near = rng.uniform(1.0, 2.0, rays)
    far = near + rng.uniform(1.0, 3.0, rays)
    edges = near[:, None] + (far - near)[:, None] * np.linspace(0.0, 0.9, samples + 1)
    t0, t1 = edges[:, :-1].ravel(), edges[:, 1:].ravel()
    optical = rng.uniform(0.0, 0.3, (rays, samples))
    passed = np.exp(-np.cumsum(np.pad(optical, ((0, 0), (1, 0))), axis=1))
    weight = passed[:, :-1] - passed[:, 1:]
    color = rng.uniform(0.0, 1.0, (rays, samples, 3))
    direction = rng.normal(size=(rays, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    origin = rng.normal(size=(rays, 3))
    ray = np.repeat(np.arange(rays), samples)
    t = 0.5 * (t0 + t1)
    total = (weight[..., None] * color).sum(axis=1)
    alpha = 1.0 - passed[:, -1]
    floats = {
        "t": t, "t0": t0, "t1": t1, "dt": t1 - t0, "position": origin[ray] + direction[ray] * t[:, None],
        "density": (optical.ravel() / (t1 - t0)), "color": color.reshape(-1, 3), "weight": weight.ravel(),
        "transmittance": passed[:, :-1].ravel(), "optical_depth": optical.ravel(),
        "rgba": np.concatenate([total, alpha[:, None]], axis=1), "near": near, "far": far, "end": edges[:, -1],
        "expected_depth": t.reshape(rays, -1).mean(axis=1), "median_depth": t.reshape(rays, -1)[:, 0],
        "true_depth": np.zeros(rays), "bin_t0": t0, "bin_t1": t1, "bin_weight": weight.ravel() / alpha.repeat(samples),
        "skip_t0": near, "skip_t1": near + 0.5 * (t0.reshape(rays, -1)[:, 1] - near), "origin": origin,
        "direction": direction,
    }  # fmt: skip
    ints = {
        "ray": ray, "stage": np.ones(len(ray)), "selected": np.ones(len(ray)), "end_reason": np.full(rays, 1),
        "full": np.full(rays, samples), "density_only": np.zeros(rays), "proposal": np.zeros(rays), "bin_ray": ray,
        "skip_ray": np.arange(rays),
    }  # fmt: skip
    arrays = {name: values.astype(np.float32) for name, values in floats.items()}
    return {**arrays, **{name: values.astype(np.int32) for name, values in ints.items()}}


def shown_state(state, arrays, count=1, chosen=0):
    rays = len(arrays["rgba"])
    slots = [state.Slot({"name": "uniform"}, arrays, {"rays": rays}) for _ in range(count)]
    box = np.array([[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]])
    pixels = np.stack([np.arange(rays) + 0.5, np.full(rays, 0.5)], axis=-1)
    camera = Camera(rays, 1, 10.0, 10.0, rays / 2, 0.5)
    return state.State(slots, chosen, camera, pixels, "run", bounds=box)


def test_every_sample_is_a_disc_at_its_place_in_its_colour(shapes, state):
    arrays = made_trace(3, 5, fresh_seed())
    discs = shapes.build(shown_state(state, arrays, chosen=1), shapes.Shown()).discs
    assert len(discs.size) == 15
    # The other rays' come first; of each kind the lightest, so that what counts lies on top.
    for rows, rays in ((slice(0, 10), (0, 2)), (slice(10, 15), (1,))):
        mine = np.isin(arrays["ray"], rays)
        order = np.argsort(arrays["weight"][mine], kind="stable")
        np.testing.assert_array_equal(discs.vertices.position[rows], arrays["position"][mine][order])
        np.testing.assert_array_equal(discs.vertices.color[rows, :3], arrays["color"][mine][order])
        assert (np.diff(discs.size[rows]) >= 0.0).all()
    assert discs.size[-1] == pytest.approx(5.0 + 20.0 * np.sqrt(arrays["weight"][arrays["ray"] == 1].max()), rel=1e-5)
    assert not discs.vertices.offset.any()


def test_what_does_not_count_is_a_ring(shapes, state):
    arrays = made_trace(1, 6, fresh_seed())
    arrays["selected"][:4], arrays["stage"][:4] = 0, 0
    discs = shapes.build(shown_state(state, arrays), shapes.Shown()).discs
    assert discs.filled.sum() == 2 and (discs.size[~discs.filled] < discs.size[discs.filled].min()).all()


def test_the_strip_runs_from_all_light_to_the_ray_s_colour(shapes, state):
    arrays = made_trace(2, 8, fresh_seed())
    t0, _t1, passed, gained = shapes.running_values(state.one_ray(arrays, 1))
    assert len(t0) == 8 and passed[0, 0] == 1.0 and not gained[0, 0].any()
    np.testing.assert_allclose(passed[-1, 1], 1.0 - arrays["rgba"][1, 3], atol=1e-5)
    np.testing.assert_allclose(gained[-1, 1], arrays["rgba"][1, :3], atol=1e-5)
    np.testing.assert_allclose(passed[1:, 0], passed[:-1, 1], atol=1e-6)
    bands = shapes.build(
        shown_state(state, arrays, chosen=1), shapes.Shown(False, False, True, False, False, False)
    ).bands
    last = bands.color[-8:-4]  # the accumulated colour's end; the last band is the mark where the ray ended
    np.testing.assert_allclose(last[2:, :3], np.tile(arrays["rgba"][1, :3], (2, 1)), atol=1e-5)
    end = arrays["origin"][1] + arrays["direction"][1] * arrays["end"][1]
    np.testing.assert_allclose(bands.position[-5], end, atol=1e-5)


def test_bins_are_as_high_as_they_weigh(shapes, state, addon_module):
    arrays = made_trace(1, 7, fresh_seed())
    only = shapes.Shown(True, False, False, False, False, False)
    bands = shapes.build(shown_state(state, arrays), only).bands
    bins = slice(len(bands) - 32, len(bands) - 4)  # the last band is the mark where the ray ended
    high = bands.offset[bins].reshape(7, 4, 2)[:, 1, 1]
    part = arrays["bin_weight"] / arrays["bin_weight"].max()
    low, top = shapes.BINS[1:]
    np.testing.assert_allclose(high, low + (top - low) * part, rtol=1e-5)
    scale = addon_module("inspect.colors").scale
    np.testing.assert_allclose(bands.color[bins].reshape(7, 4, 4)[:, 0, :3], scale(part), atol=1e-6)
    ends = scale(np.array([0.0, 1.0]))
    assert ends[0, 2] > ends[0, 1] and ends[1, 1] > 0.9 > ends[1, 2]  # from dark violet to yellow


def test_the_second_sampler_stands_beside_the_first(shapes, state):
    arrays = made_trace(2, 4, fresh_seed())
    one, two = (shapes.build(shown_state(state, arrays, count), shapes.Shown()) for count in (1, 2))
    count = len(one.discs.size)
    np.testing.assert_array_equal(two.discs.vertices.position[count:], one.discs.vertices.position)
    np.testing.assert_allclose(two.discs.vertices.offset[count:, 1], shapes.LANE)
    texts = [label.text for label in two.labels]
    assert sum(text.startswith("near") for text in texts) == 1 and sum("expected" in text for text in texts) == 2
    assert not any(text.startswith("true") for text in texts)  # it is not known


def test_skipped_stretches_are_dashed_and_the_rest_is_whole(shapes, state):
    arrays = made_trace(4, 3, fresh_seed())
    spans = [
        shapes._spans(shapes._Rays.of(state.Slot({}, arrays, {}), 0), shapes.Shown(skipped=shown))
        for shown in (True, False)
    ]
    (looked, skipped, _), (plain, none, _) = spans
    lengths = [np.bincount(ray, (t1 - t0), minlength=4) for ray, t0, t1 in (looked, skipped, plain)]
    whole = arrays["end"] - arrays["near"]
    np.testing.assert_allclose(lengths[2], whole, rtol=1e-4)
    gone = arrays["skip_t1"] - arrays["skip_t0"]
    np.testing.assert_allclose(lengths[0], whole - gone, rtol=1e-3)
    dash = (arrays["far"] - arrays["near"]) / shapes.DASHES
    assert (np.abs(lengths[1] - 0.5 * gone) < dash).all() and len(none[0]) == 0
    for ray, t0, t1 in zip(*skipped, strict=True):
        assert arrays["skip_t0"][ray] - 1e-6 <= t0 < t1 <= arrays["skip_t1"][ray] + 1e-6


def test_a_ray_that_misses_has_a_line_and_no_marks(shapes, state):
    arrays = made_trace(1, 2, fresh_seed())
    for name, values in arrays.items():
        if name in ("near", "far", "end", "expected_depth", "median_depth", "rgba", "end_reason"):
            values[:] = 0
        elif name not in ("origin", "direction", "full", "density_only", "proposal", "true_depth"):
            arrays[name] = values[:0]
    found = shapes.build(shown_state(state, arrays), shapes.Shown())
    assert found.labels == [] and len(found.discs.size) == 0 and len(found.bands) % 4 == 0 and len(found.bands) > 0
    for part in (found.bands, found.lines):
        for name in ("position", "direction", "offset", "color"):
            assert np.isfinite(getattr(part, name)).all()


def test_the_box_has_its_twelve_edges_where_the_nerf_stands(shapes):
    box = np.array([[-1.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    matrix = np.array([[0.0, -2.0, 0.0, 5.0], [2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    lines = shapes.box_lines(box, matrix)
    lengths = np.linalg.norm(lines.position[::2] - lines.position[1::2], axis=1)
    np.testing.assert_allclose(np.sort(lengths), [4.0] * 8 + [6.0] * 4)
    np.testing.assert_allclose(lines.position.min(axis=0), [1.0, -2.0, 0.0])
    np.testing.assert_allclose(lines.position.max(axis=0), [5.0, 2.0, 6.0])


def test_the_legend_says_what_the_ray_cost_and_zooms_on_where_it_ends(addon_module, state):
    side = addon_module("inspect.side_view")
    arrays = made_trace(2, 40, fresh_seed())
    arrays["weight"][:] = 0.0
    arrays["weight"][40 + 20 : 40 + 22] = 0.5  # of the second ray, in its middle
    arrays["expected_depth"][1] = arrays["median_depth"][1] = arrays["t"][60]
    shown = shown_state(state, arrays, chosen=1)
    low, high = side.window(state.one_ray(arrays, 1))
    near, far = arrays["near"][1], arrays["far"][1]
    assert near < low < arrays["t0"][60] < arrays["t1"][61] < high < far and high - low < 0.25 * (far - near)
    panel = side.panel_of(shown, "", {"uniform": "Uniform"})
    texts = [text.text for text in panel.texts]
    assert "Uniform" in texts and "40 full, 0 density only, 0 proposal" in texts
    assert any(text.startswith("left the box at") for text in texts)
    discs = panel.all_discs()
    heavy = discs.vertices.color[np.argsort(discs.size)[-2:], :3]
    expected = arrays["color"][60:62]
    assert min(np.abs(heavy - each).max() for each in (expected, expected[::-1])) < 1e-5
    assert (discs.vertices.position[:, 0] >= side.MARGIN).all()
    assert (discs.vertices.position[:, 0] <= side.WIDTH - side.MARGIN).all()
