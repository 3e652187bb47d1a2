"""The surface sampler as a person meets it: training with it, pictures, costs, traces, and who cannot."""

import numpy as np
import pytest

from nerf_core.contract.errors import CheckpointError, NerfError
from nerf_core.contract.samplers import SamplerChoice
from nerf_core.contract.traces import LEFT, MISSED, OPAQUE
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.views import view_arrays
from nerf_core.methods.fast import FastMethod

from .fast_field import BALL_CENTRE, BALL_RADIUS, NORMALISATION, SMALL, ball_views
from .test_determinism import digest

QUICK = {
    "sampler": "surface",
    "log2_table_size": 13,
    "occupancy_resolution": 32,
    "max_resolution": 128,
    "ray_steps": 128,
    "samples_per_step": 8192,
}
FULL, ONE, FOUR = SamplerChoice("occupancy"), SamplerChoice("surface", 1), SamplerChoice("surface", 4)


def trained(steps, **settings) -> FastMethod:
    method = FastMethod(NORMALISATION, settings={**QUICK, **settings})
    method.load_views(ball_views(20, 48))
    for step in range(steps):
        method.train_step(step / steps)
    return method


@pytest.fixture(scope="module")
def ball() -> FastMethod:
    method = trained(300)
    method.drop_views()
    return method


def test_few_samples_are_as_good_as_all(ball):
    """On views that were not trained on: 4 samples within half a dB of full sampling, 1 within one and a half."""
    views = ball_views(6, 48, phase=0.5)
    mse, hit = dict.fromkeys((FULL, ONE, FOUR), 0.0), {}
    for view in views.views:
        truth = view.rgba.reshape(-1, 4) / 255.0
        truth[:, :3] *= truth[:, 3:]
        for choice in mse:
            seen = ball.render_pixels(view.camera, 0, truth.shape[0], choice)
            mse[choice] += float(np.mean((seen.rgba - truth) ** 2)) / len(views)
            hit.setdefault(choice, []).append(seen.cost)
    full, one, four = (-10 * np.log10(mse[choice]) for choice in (FULL, ONE, FOUR))
    assert full > 24 and four > full - 0.5 and one > full - 1.5
    cost = sum(hit[FOUR][1:], hit[FOUR][0])
    assert 1.0 <= cost.s_hit < 3.0 and cost.s_max <= 4 and cost.proposal > 0 and cost.density_only == 0
    ones = sum(hit[ONE][1:], hit[ONE][0])
    assert ones.s_hit == 1.0 and ones.s_max == 1


def test_its_shell_is_baked_before_a_picture_s_time_begins(ball):
    ball.field.surface.forget()
    ball.prepare(FULL)
    assert not ball.field.surface.is_baked
    ball.prepare(FOUR)
    assert ball.field.surface.is_baked


def test_what_it_was_trained_with_is_what_it_shows(ball):
    camera = ball_views(1, 32).views[0].camera
    by_itself = ball.render_pixels(camera, 0, 1024)
    asked = ball.render_pixels(camera, 0, 1024, SamplerChoice("surface"))
    assert np.array_equal(by_itself.rgba, asked.rgba) and by_itself.evaluations.max() <= 4
    assert not np.array_equal(by_itself.rgba, ball.render_pixels(camera, 0, 1024, FULL).rgba)


def test_depth_is_the_balls(ball):
    direction = np.array([[0.0, 0.0, -1.0]], np.float32)
    above = np.array([[*BALL_CENTRE[:2], 3.0]], np.float32)
    seen = ball.render_rays(above, direction, sampler=FOUR)
    assert seen.rgba[0, 3] > 0.95
    assert seen.depth[0] == pytest.approx(3.0 - BALL_CENTRE[2] - BALL_RADIUS, abs=0.05)


def test_a_trace_is_what_the_picture_is_made_of(ball):
    origins, directions = ball_views(1, 32).views[0].camera.rays()
    origins, directions = origins.reshape(-1, 3).astype(np.float32), directions.reshape(-1, 3).astype(np.float32)
    seen = ball.render_rays(origins, directions, sampler=FOUR)
    trace = ball.trace_rays(origins, directions, FOUR)
    np.testing.assert_allclose(trace.rgba, seen.rgba, atol=3e-3)  # pictures read a table of half precision
    np.testing.assert_allclose(trace.rgba[:, 3], seen.rgba[:, 3], atol=1e-4)
    np.testing.assert_array_equal(trace.full, seen.evaluations)
    assert trace.proposal.sum() == seen.cost.proposal and not trace.density_only.any()
    assert (trace.t0 <= trace.t).all() and (trace.t <= trace.t1).all()
    made = trace.transmittance * -np.expm1(-trace.optical_depth)
    np.testing.assert_allclose(made, trace.weight, atol=1e-4)
    for r in np.flatnonzero(trace.full)[::7]:
        mine = trace.ray == r
        assert np.allclose(trace.transmittance[mine], 1 - np.r_[0, np.cumsum(trace.weight[mine])[:-1]], atol=1e-4)
        bins = trace.bin_ray == r
        assert trace.bin_weight[bins].sum() == pytest.approx(1.0, abs=1e-3)
        assert (trace.bin_t1[bins][:-1] <= trace.bin_t0[bins][1:] + 1e-5).all()
        assert trace.bin_t0[bins][0] == pytest.approx(trace.t0[mine][0], abs=1e-5)
        assert trace.bin_t1[bins][-1] == pytest.approx(trace.t1[mine][-1], abs=1e-5)
        # One sample or four, half of the alpha is reached where half of the cells' weight is.
        before = trace.bin_weight[bins & (trace.bin_t1 <= trace.median_depth[r])].sum()
        within = bins & (trace.bin_t0 <= trace.median_depth[r] + 1e-5)
        assert before <= 0.5 + 1e-3 and trace.bin_weight[within].sum() >= 0.5 - 1e-3
    one = ball.trace_rays(origins, directions, ONE)
    single = one.full == 1  # its sample is the median
    np.testing.assert_allclose(one.median_depth[single], one.t, atol=1e-4)
    np.testing.assert_array_equal(one.median_depth, trace.median_depth)
    assert not one.median_depth[~single].any()
    reasons = set(trace.end_reason.tolist())
    assert OPAQUE in reasons and reasons <= {MISSED, LEFT, OPAQUE}
    opaque = trace.end_reason == OPAQUE
    assert (trace.rgba[opaque, 3] > 0.99).all() and (trace.end[opaque] < trace.far[opaque]).all()


def surface_run(threads, steps=40):
    settings = SMALL.__class__(**{**SMALL.to_dict(), "sampler": "surface", "scene": "bounded"})
    backend = CpuBackend(settings, NORMALISATION.unit_bounds, 9, threads=threads)
    backend.load_views(view_arrays(ball_views(4, 16), NORMALISATION), True)
    stats = [backend.train_step(step / steps) for step in range(steps)]
    return digest(backend.arrays()) + repr(stats)


def test_the_number_of_threads_changes_nothing():
    assert surface_run(1) == surface_run(3)


def test_continuing_from_a_state_is_as_if_never_stopped(ball):
    method = going_on(ball, 3)
    assert len(method.state().arrays["surface/cells"]) > 100
    resumed = FastMethod(NORMALISATION, settings=QUICK)
    resumed.load_state(method.state())
    resumed.load_views(ball_views(20, 48))
    for _ in range(12):
        assert method.train_step(0.9) == resumed.train_step(0.9)
    again = resumed.state().arrays
    for name, array in method.state().arrays.items():
        assert np.array_equal(array, again[name]), name


def going_on(ball, steps) -> FastMethod:
    """The ball's field in training again, with a shell that is so many steps old."""
    method = FastMethod(NORMALISATION, settings=QUICK)
    method.load_state(ball.state())
    method.load_views(ball_views(20, 48))
    for _ in range(steps):
        method.train_step(0.8)
    return method


def test_a_shell_that_does_not_fit_is_refused(ball):
    state = going_on(ball, 1).state()
    resumed = FastMethod(NORMALISATION, settings=QUICK)
    assert len(state.arrays["surface/cells"]) > 1
    for name, array in (
        ("cells", state.arrays["surface/cells"][::-1].copy()),
        ("cells", state.arrays["surface/cells"] + np.int32(32**3)),
        ("codes", state.arrays["surface/codes"][1:]),
        ("levels", np.full(256, np.nan, np.float32)),
        ("baked", np.zeros(2, np.int64)),
    ):
        bad = type(state)({**state.arrays, f"surface/{name}": array}, state.settings)
        with pytest.raises(CheckpointError, match="no shell of 32 cells"):
            resumed.load_state(bad)


def test_looking_changes_nothing_that_is_learnt():
    """Pictures and checkpoints in the midst of training, before and after there is a shell, leave it alone."""
    camera = ball_views(1, 8).views[0].camera
    alone, watched = (FastMethod(NORMALISATION, settings=QUICK) for _ in range(2))
    for method in (alone, watched):
        method.load_views(ball_views(6, 24))
    for step in range(60):
        assert alone.train_step(step / 60) == watched.train_step(step / 60), step
        if step % 7 == 0:
            for choice in (None, ONE, FULL):
                watched.render_pixels(camera, 0, 64, choice)
            watched.state()
            watched.faintest_density()
    again = watched.field.arrays()
    for name, array in alone.field.arrays().items():
        assert np.array_equal(array, again[name]), name


def test_too_many_samples_are_refused(ball):
    with pytest.raises(NerfError, match="at most 16 samples a ray, not 64"):
        ball.render_rays(np.zeros((1, 3)), np.eye(3)[:1], sampler=SamplerChoice("surface", 64))


def test_a_young_field_is_previewed_without_a_shell():
    method = FastMethod(NORMALISATION, settings=QUICK)
    method.load_views(ball_views(6, 24))
    method.train_step(0.0)
    camera = ball_views(1, 16).views[0].camera
    plain = method.render_pixels(camera, 0, 256)
    assert np.array_equal(plain.rgba, method.render_pixels(camera, 0, 256, FULL).rgba)


def test_other_backends_show_it_and_say_that_they_do_not_train_it(ball):
    other = FastMethod(NORMALISATION, settings={**QUICK, "backend": "reference"})
    other.load_state(ball.state())
    camera = ball_views(1, 24).views[0].camera
    mine = ball.render_pixels(camera, 0, 576, FOUR).rgba
    theirs = other.render_pixels(camera, 0, 576, SamplerChoice("surface", 4, {"resolution": 64})).rgba
    assert np.abs(mine - theirs).mean() < 0.02
    with pytest.raises(NerfError, match="backend 'cpu' alone"):
        other.load_views(ball_views(2, 16))
    unbounded = FastMethod(NORMALISATION, settings={**QUICK, "scene": "unbounded"})
    with pytest.raises(NerfError, match="only in bounded scenes"):
        unbounded.load_views(ball_views(2, 16))
