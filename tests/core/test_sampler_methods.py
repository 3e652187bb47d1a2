"""Both methods under every sampler: trained with it, seen with it, stored and taken up again with it."""

import numpy as np
import pytest
import torch

from nerf_core.contract.errors import Cancelled, CheckpointError, NerfError
from nerf_core.contract.samplers import SamplerChoice
from nerf_core.data.color import over
from nerf_core.methods import classic as classic_module
from nerf_core.methods import sampled
from nerf_core.methods.base import MethodState, Normalisation
from nerf_core.methods.classic import ClassicMethod
from nerf_core.methods.fast import FastMethod
from nerf_core.rendering.frame import render_frame
from nerf_core.rendering.layers import Layer
from nerf_core.rendering.picture import render_picture
from nerf_core.rendering.trace_pixels import trace_pixels
from nerf_core.rendering.view import View
from nerf_core.samplers.grid import DensityGrid
from nerf_core.training.held_out import HeldOut, psnr

from . import depth_scene, tiny_scene

TINY = {"depth": 1, "width": 24, "coarse_samples": 8, "fine_samples": 8, "rays_per_step": 64}
FAST = {"log2_table_size": 12, "occupancy_resolution": 32, "ray_steps": 64, "levels": 4, "max_resolution": 64}
FAST |= {"samples_per_step": 2048}
ONE_STAGE = ("uniform", "occupancy", "surface", "proposal")


def classic(sampler, **settings) -> ClassicMethod:
    return ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, {**TINY, "sampler": sampler, **settings})


def fast(sampler="occupancy", **settings) -> FastMethod:
    return FastMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, {**FAST, "sampler": sampler, **settings})


def trained(method, steps: int):
    method.load_views(tiny_scene.views(8, 24))
    for step in range(steps):
        stats = method.train_step(step / steps)
        assert np.isfinite(stats.loss)
    return method


def ball_rays(count: int = 8):
    origins, directions = tiny_scene.camera(1, 7, count).rays()
    return origins.reshape(-1, 3).astype(np.float32), directions.reshape(-1, 3).astype(np.float32)


def measured(method, sampler=None) -> float:
    camera = tiny_scene.camera(3, 31, 24)
    truth = tiny_scene.picture(camera) / 255.0
    truth = over(np.concatenate([truth[..., :3] * truth[..., 3:], truth[..., 3:]], axis=-1), (1, 1, 1))
    frame = render_frame(method, camera, sampler=sampler)
    return psnr(float(np.mean((over(frame.rgba, (1, 1, 1)) - truth) ** 2)))


@pytest.fixture(scope="module")
def fast_ball():
    return trained(fast(backend="reference"), 80)


def known_depth(origins, directions):
    offset = origins - tiny_scene.CENTER
    middle = -np.sum(offset * directions, axis=-1)
    inside = tiny_scene.RADIUS**2 - (np.sum(offset * offset, axis=-1) - middle**2)
    return np.where(inside > 0, middle - np.sqrt(np.maximum(inside, 0)), 0.0).astype(np.float32)


@pytest.mark.parametrize("sampler", [*ONE_STAGE, "hierarchical"])
def test_classic_goes_on_as_if_never_interrupted(sampler):
    method = trained(classic(sampler, opacity="linear" if sampler == "hierarchical" else "constant"), 20)
    state = method.state()
    ClassicMethod.check_state(state.settings["settings"], "cpu", state)
    twins = [ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, state.settings["settings"]) for _ in range(2)]
    for twin in twins:
        twin.load_state(state)
        twin.load_views(tiny_scene.views(8, 24))
    rays = ball_rays()
    np.testing.assert_array_equal(twins[0].render_rays(*rays).rgba, method.render_rays(*rays).rgba)
    for twin in twins:
        for step in range(14):  # over an update of the grids
            twin.train_step(0.5 + step / 100)
    for key, array in twins[0].state().arrays.items():
        np.testing.assert_array_equal(array, twins[1].state().arrays[key], err_msg=key)
    stages = {key.split("/")[1].split(".")[0] for key in state.arrays if key.startswith("params/")}
    assert ("fine" in stages) == (sampler == "hierarchical") and ("proposal" in stages) == (sampler == "proposal")
    assert ("sampler/grid" in state.arrays) == (sampler in ("occupancy", "surface"))


def test_classic_s_one_stage_takes_as_many_samples_as_were_asked_for():
    for given, samples in (
        ({"sampler": "surface"}, 16),
        ({"sampler": {"name": "surface", "samples": 5}}, 5),
        ({"sampler": "surface", "coarse_samples": 0, "fine_samples": 32}, 32),
        ({"sampler": "uniform", "coarse_samples": 12, "fine_samples": 0}, 12),
    ):
        method = ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, {**TINY, **given})
        colors = method.render_rays(*ball_rays())
        assert colors.cost.s_max == samples and list(method.networks) == ["coarse"]
    settings = ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, {"sampler": "surface"}).settings
    assert settings.last_samples == 64  # what the preset's two stages have together


def test_classic_is_seen_with_other_samplers():
    method = trained(classic("hierarchical", depth=2, width=32, rays_per_step=256, learning_rate=5e-3), 150)
    own, rays = measured(method), ball_rays()
    assert own > 18.0
    for name, samples, less in (
        ("uniform", 64, 1.0),
        ("hierarchical", 4, 2.0),
        ("occupancy", 8, 3.0),
        ("surface", 4, 2.0),
    ):
        choice = SamplerChoice(name, samples, {"resolution": 48} if name == "surface" else {})
        assert measured(method, choice) > own - less, name
        colors = method.render_rays(*rays, sampler=choice)
        assert colors.evaluations.max() == colors.cost.s_max <= samples
        trace = method.trace_rays(*rays, choice)
        np.testing.assert_allclose(trace.rgba, colors.rgba, atol=1e-4)
        np.testing.assert_array_equal(trace.full, colors.evaluations)
        assert trace.density_only.sum() == colors.cost.density_only and trace.proposal.sum() == colors.cost.proposal
    depth = known_depth(*rays)
    seen = method.render_rays(*rays, sampler=SamplerChoice("oracle", 4), true_depth=depth)
    assert np.abs(seen.depth - depth)[depth > 0].mean() < 0.15
    with pytest.raises(NerfError, match="no proposal networks; train one"):
        method.render_rays(*rays, sampler=SamplerChoice("proposal"))
    with pytest.raises(NerfError, match="upper bound that needs to be told the true depth"):
        method.render_rays(*rays, sampler=SamplerChoice("oracle"))


BOTH = pytest.mark.parametrize("make", [lambda: classic("uniform"), lambda: fast(backend="reference")])


@BOTH
def test_what_was_built_of_another_checkpoint_is_not_looked_at(make):
    few, rays = SamplerChoice("surface", 2, {"resolution": 16}), ball_rays()
    state = trained(make(), 20).state()
    state.settings["step"] = 0  # of the same step, as another run's may be
    method, other = make(), make()
    before = method.render_rays(*rays, sampler=few)
    for each in (method, other):
        each.load_state(state)
    after = method.render_rays(*rays, sampler=few)
    np.testing.assert_array_equal(after.rgba, other.render_rays(*rays, sampler=few).rgba)
    assert np.abs(after.rgba - before.rgba).max() > 0.01


def test_what_no_ray_was_trained_on_is_no_matter():
    method = trained(classic("occupancy"), 32)  # two updates of its grid
    points = np.random.default_rng(0).uniform(*tiny_scene.BOUNDS, (500, 3))
    inside = method.samplers.trained.occupied(torch.tensor(2.0 * method.normalisation.to_unit(points) - 1.0).float())
    density = method.query_density(points)
    assert 0 < inside.sum() < 500 and (density[inside] > 0).all() and (density[~inside] == 0).all()


@BOTH
def test_a_trace_in_small_pieces_is_the_same(make, monkeypatch):
    method, rays = make(), ball_rays()
    rays[1][:3] *= -1.0  # which miss the box
    whole = method.trace_rays(*rays, SamplerChoice("hierarchical", 6, {"coarse": 10}))
    monkeypatch.setitem(classic_module.POINTS_AT_ONCE, "cpu", 100)
    monkeypatch.setattr(sampled, "POINTS_AT_ONCE", 100)
    pieces = method.trace_rays(*rays, SamplerChoice("hierarchical", 6, {"coarse": 10}))
    assert (whole.end_reason == 0).sum() >= 3 and whole.full.max() == 6
    for name, values in vars(whole).items():
        np.testing.assert_allclose(getattr(pieces, name), values, rtol=2e-3, atol=2e-4, err_msg=name)


@BOTH
def test_filling_a_grid_can_be_stopped_and_begun_again(make):
    method, few = make(), SamplerChoice("surface", 2, {"resolution": 48})
    asked = []

    def at_the_third() -> bool:
        asked.append(None)
        return len(asked) == 3

    camera = tiny_scene.camera(1, 7, 8)
    with pytest.raises(Cancelled):
        render_frame(method, camera, sampler=few, should_stop=at_the_third)
    assert len(asked) == 3
    with pytest.raises(Cancelled):
        trace_pixels(method, camera, np.array([[4.5, 4.5]]), few, should_stop=lambda: True)
    told = []
    assert render_frame(method, camera, sampler=few, on_progress=told.append).cost.s_max <= 2
    assert told == sorted(told) and told[0] == 0.0 and 0.0 < told[1] < 0.5 and told[-1] == 1.0


def test_classic_trains_with_the_oracle_where_there_is_depth_alone():
    method = classic("oracle")
    method.load_views(depth_scene.views(4, 16))
    assert ClassicMethod.takes_depth({"sampler": "oracle", "depth_loss": 0.0}, "cpu")
    assert np.isfinite(method.train_step(0.0).loss)
    # Previews and held-out pixels while training know no depth.
    seen = method.render_rays(*ball_rays())
    assert seen.cost.s_max == 128 and HeldOut(tiny_scene.views(2, 16), (1.0, 1.0, 1.0)).measure(method, 1.0) > 0.0
    method = classic("oracle")
    method.load_views(tiny_scene.views(4, 16))
    with pytest.raises(NerfError, match="this data set has none: capture with the depth pass"):
        method.train_step(0.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "magic"}, "'sampler' is 'magic'; use one of uniform"),
        ({"sampler": {"name": "magic"}}, "'magic' is not known"),
        (
            {"sampler": {"name": "surface", "resolution": 64}},
            "cannot be trained with the sampler's option 'resolution'",
        ),
        ({"sampler": "hierarchical", "coarse_samples": 0}, "needs 3 at least"),
        ({"sampler": "uniform", "coarse_samples": 0, "fine_samples": 0}, "are both 0"),
        ({"opacity": "cubic"}, "'opacity' is 'cubic'"),
        ({"cdf": 3}, "'cdf' is 3; it must be a word"),
        ({"proposal_rounds": 3}, "'proposal_rounds' is 3"),
    ],
)
def test_classic_settings_that_cannot_be_are_told(settings, words):
    with pytest.raises(NerfError, match=words):
        ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, {**TINY, **settings})


def test_a_checkpoint_without_its_sampler_s_arrays_is_refused():
    for sampler, missing in (("surface", "sampler/grid"), ("proposal", "params/proposal.0.table")):
        state = classic(sampler).state()
        arrays = {key: array for key, array in state.arrays.items() if key != missing}
        with pytest.raises(CheckpointError, match=missing):
            ClassicMethod.check_state(state.settings["settings"], "cpu", MethodState(arrays, state.settings))
        broken = {**state.arrays, missing: np.full_like(state.arrays[missing], np.nan)}
        with pytest.raises(CheckpointError, match=f"{missing}' holds NaN"):
            classic(sampler).load_state(MethodState(broken, state.settings))


@pytest.mark.parametrize("sampler", ["uniform", "hierarchical"])
def test_fast_learns_from_samples_anywhere(sampler):
    method = fast({"name": sampler, "samples": 16, **({"coarse": 24} if sampler == "hierarchical" else {})})
    assert method.backend == "reference"
    trained(method, 60)
    assert measured(method) > 16.0 and measured(method, SamplerChoice("occupancy")) > 14.0
    seen = method.render_rays(*ball_rays())  # as it was trained: coarse samples are a part of the picture
    coarse = 24 if sampler == "hierarchical" else 0
    assert seen.cost.s_max == 16 + coarse and seen.cost.density_only * 16 == seen.cost.full * coarse * 16 / (
        16 + coarse
    )
    with pytest.raises(NerfError, match="'reference' alone; set 'backend' to 'reference' or 'auto', not 'cpu'"):
        fast(sampler, backend="cpu")


def test_fast_s_proposals_learn_beside_the_field_and_go_on_after_a_break():
    method = trained(fast("proposal", samples=16, backend="reference"), 120)
    own, native = measured(method), measured(method, SamplerChoice("occupancy"))
    assert own > native - 4.0 and method.full_sampling == SamplerChoice("occupancy")
    colors = method.render_rays(*ball_rays())
    assert colors.cost.s_max == 16 and colors.cost.proposal > 0 and colors.cost.density_only == 64 * 32
    state = method.state()
    twins = [fast(backend="reference") for _ in range(2)]
    for twin in twins:
        twin.load_state(state)
        np.testing.assert_array_equal(twin.render_rays(*ball_rays()).rgba, colors.rgba)
        twin.load_views(tiny_scene.views(8, 24))
        for _ in range(4):
            twin.train_step(0.9)
    for key, array in twins[0].state().arrays.items():
        np.testing.assert_array_equal(array, twins[1].state().arrays[key], err_msg=key)
    broken = {key: array for key, array in state.arrays.items() if key != "params/proposal/0.table"}
    with pytest.raises(CheckpointError, match=r"proposal/0\.table"):
        fast(backend="reference").load_state(MethodState(broken, state.settings))


def test_fast_is_seen_with_other_samplers(fast_ball):
    own, rays = measured(fast_ball), ball_rays()
    assert own > 18.0
    native = fast_ball.render_rays(*rays)
    assert native.cost.s_all == native.evaluations.mean() > 0
    for name, samples, less in (
        ("uniform", 96, 2.0),
        ("hierarchical", 4, 2.0),
        ("occupancy", 4, 1.0),
        ("surface", 4, 4.0),
    ):
        choice = SamplerChoice(name, samples, {"resolution": 64} if name == "surface" else {})
        assert measured(fast_ball, choice) > own - less, name
        colors = fast_ball.render_rays(*rays, sampler=choice)
        assert colors.evaluations.max() == colors.cost.s_max <= samples
        trace = fast_ball.trace_rays(*rays, choice)
        np.testing.assert_allclose(trace.rgba, colors.rgba, atol=1e-4)
        np.testing.assert_array_equal(trace.full, colors.evaluations)
        # Two halves of a ray are the whole: limits cut samples of a lattice, which cannot say the same of quantiles.
        if name == "occupancy":
            middle = np.full((len(rays[0]), 1), 3.0)
            halves = [np.hstack([middle * 0, middle]), np.hstack([middle, middle * 9])]
            front, back = (fast_ball.render_rays(*rays, part, choice).rgba for part in halves)
            np.testing.assert_allclose(front + (1 - front[:, 3:]) * back, colors.rgba, atol=0.08)
    exact = fast_ball.render_rays(*rays, sampler=SamplerChoice("occupancy", 64))
    np.testing.assert_allclose(exact.rgba[:, 3], native.rgba[:, 3], atol=0.02)
    depth = known_depth(*rays)
    seen = fast_ball.render_rays(*rays, sampler=SamplerChoice("oracle", 4), true_depth=depth)
    solid = (depth > 0) & (native.rgba[:, 3] > 0.9)
    assert np.abs(seen.depth - depth)[solid].mean() < 0.1
    # Where no depth is known, an upper bound is all that the field holds.
    hidden = np.arange(len(depth)) % 2 == 0
    seen = fast_ball.render_rays(*rays, sampler=SamplerChoice("oracle", 1), true_depth=np.where(hidden, 0.0, depth))
    assert np.abs(seen.rgba - native.rgba)[hidden].max() < 0.02 and (seen.evaluations[solid & ~hidden] == 1).all()
    with pytest.raises(NerfError, match="no proposal networks"):
        fast_ball.render_rays(*rays, sampler=SamplerChoice("proposal"))
    with pytest.raises(NerfError, match="'occupancy' has no option 'cells'"):
        fast_ball.render_rays(*rays, sampler=SamplerChoice("occupancy", None, {"cells": 3}))
    layers = [Layer(fast_ball, name="one"), Layer(fast_ball, crops=(np.eye(4),), name="two")]
    with pytest.raises(NerfError, match="'one': This run has no proposal networks"):
        render_picture(layers, View(tiny_scene.camera(1, 7, 8), sampler=SamplerChoice("proposal")))


def test_no_grid_is_filled_for_what_a_shell_places(fast_ball, monkeypatch):
    method = FastMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, {**FAST, "backend": "cpu"})
    method.load_state(fast_ball.state())
    monkeypatch.setattr(DensityGrid, "build", lambda *_, **__: pytest.fail("a grid was filled"))
    frame = render_frame(method, tiny_scene.camera(1, 7, 8), sampler=SamplerChoice("surface", 2))
    assert 0 < frame.cost.s_max <= 2


def test_backends_count_a_ray_s_evaluations_alike(fast_ball):
    state, rays = fast_ball.state(), ball_rays(16)
    found = []
    for backend in ("reference", "cpu"):
        method = FastMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, {**FAST, "backend": backend})
        method.load_state(state)
        found.append(method.render_rays(*rays))
    reference, numba = found
    assert (reference.evaluations != numba.evaluations).mean() < 0.02  # a weight on the threshold
    assert numba.evaluations.sum() > 0 and reference.evaluations.max() < 64
    # Whatever is worth a colour was asked for its density first.
    assert numba.samples >= numba.evaluations.sum() and numba.cost.density_only == numba.samples - numba.cost.full
    given = found[1].cost.to_dict()
    assert given["s_hit"] >= given["s_all"] > 0


def test_fast_settings_that_cannot_be_are_told():
    for settings, words in (
        ({"sampler": "magic"}, "'sampler' is 'magic'; use one of occupancy"),
        ({"sampler": "oracle"}, "'sampler' is 'oracle'; use one of"),
        ({"samples": 5000}, "'samples' must be 0 to 4096"),
        ({"coarse_samples": 2}, "'coarse_samples' must be 0"),
        ({"opacity": "cubic"}, "'opacity' is 'cubic'"),
    ):
        with pytest.raises(NerfError, match=words):
            fast(**settings)
