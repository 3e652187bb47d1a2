"""The curves of a ray: exact on the ball of `trace_arrays`, and sums that stay whatever the trace."""

import numpy as np
import pytest

from nerf_core.contract.ray_axes import Axis, focus_range, whole_range
from nerf_core.contract.ray_curves import RayCurves, mean_curves

from ..seeds import fresh_seed
from ..trace_arrays import DENSITY, RADIUS, ball_trace, trace_arrays


def test_a_ray_through_the_middle_of_the_ball():
    curves = RayCurves.of_ray(trace_arrays(), 0)
    assert (curves.near, curves.far, curves.missed) == (2.0, 4.0, False)
    assert len(curves.t) == 16 and len(curves.first_t0) == 16
    assert curves.t0[0] == pytest.approx(3.0 - RADIUS) and curves.t1[-1] == pytest.approx(3.0 + RADIUS)
    t, value = curves.cdf_line()
    assert value[0] == 0.0 and value[-1] == pytest.approx(1.0, abs=1e-6)
    assert np.all(np.diff(t) >= 0) and np.all(np.diff(value) >= 0)
    np.testing.assert_allclose(curves.pdf * (curves.bin_t1 - curves.bin_t0), curves.bin_mass, rtol=1e-6)
    t, value = curves.transmittance_line()
    assert (t[0], value[0]) == (2.0, 1.0)
    at = np.array([2.0, 2.5, 2.75, 3.0, 3.5])
    inside = np.exp(-DENSITY * np.clip(at - 2.5, 0.0, 1.0))
    np.testing.assert_allclose(np.interp(at, t, value), inside, atol=1e-3)
    _, weight = curves.accumulated_line()
    assert weight[-1] == pytest.approx(-np.expm1(-DENSITY), rel=1e-5)
    assert curves.end_reason in ("left", "opaque") and curves.true_depth == pytest.approx(2.5)
    assert curves.full == 16 and curves.density_only == 16
    assert curves.skips.shape == (2, 2) and curves.skips[0, 0] == pytest.approx(2.0)


@pytest.mark.filterwarnings("error")
def test_a_wall_of_any_density_stops_the_light():
    arrays = trace_arrays()
    for depth in (0.0, 1e-12, 50.0, 1e4, 1e20):
        thick = {**arrays, "optical_depth": np.full_like(arrays["optical_depth"], depth)}
        t, value = RayCurves.of_ray(thick, 0).transmittance_line()
        assert np.isfinite(t).all() and np.isfinite(value).all() and np.all(np.diff(t) >= -1e-6)


def test_rays_that_see_nothing():
    arrays = trace_arrays()
    through, past = RayCurves.of_ray(arrays, 2), RayCurves.of_ray(arrays, 3)
    assert not through.missed and len(through.t) == 0 and through.end_reason == "left"
    np.testing.assert_allclose(through.transmittance_line()[1], 1.0)
    assert past.missed and past.end_reason == "missed" and len(past.bin_mass) == 0
    with pytest.raises(IndexError):
        RayCurves.of_ray(arrays, 4)


def test_what_was_too_faint_for_a_colour_belongs_to_its_stage():
    arrays = trace_arrays()
    last = np.flatnonzero((arrays["ray"] == 0) & (arrays["selected"] > 0))
    selected = arrays["selected"].copy()
    selected[last[-3:]] = 0
    curves = RayCurves.of_ray({**arrays, "selected": selected}, 0)
    assert len(curves.t) == 16 and len(curves.first_t0) == 16
    selected[last] = 0
    assert len(RayCurves.of_ray({**arrays, "selected": selected}, 0).t) == 0


def test_a_trace_without_the_newer_arrays():
    old = ("ray", "t", "dt", "density", "color", "weight", "transmittance", "stage", "rgba")
    full = trace_arrays()
    curves = RayCurves.of_ray({name: full[name] for name in old}, 0)
    assert len(curves.t) == 16 and not curves.missed and curves.end_reason == ""
    np.testing.assert_allclose(curves.t0, RayCurves.of_ray(full, 0).t0, atol=1e-6)
    assert curves.truth is None and curves.skips.shape == (0, 2)


def test_the_mean_keeps_what_is_shared_out():
    arrays = trace_arrays(24)
    mean = mean_curves(arrays, pieces=50)
    assert mean.weight.sum() == pytest.approx(float(arrays["rgba"][:, 3].mean()), rel=1e-5)
    np.testing.assert_allclose((mean.weight[:, None] * mean.color).sum(0), arrays["rgba"][:, :3].mean(0), atol=1e-5)
    assert mean.bin_mass.sum() == pytest.approx(1.0, abs=1e-6)
    # What passes at the end is what the rays did not stop.
    assert np.interp(4.0, *mean.transmittance_line()) == pytest.approx(1.0 - arrays["rgba"][:, 3].mean(), abs=1e-6)
    assert mean.full == pytest.approx(arrays["full"].mean())
    known = arrays["true_depth"][arrays["true_depth"] > 0]
    assert mean.true_depth == pytest.approx(known.mean(), rel=1e-6)
    assert (mean.near, mean.far) == (2.0, 4.0) and len(mean.skips) == 0


def test_sums_stay_for_any_rays():
    generator = np.random.default_rng(fresh_seed())
    origins = np.stack([np.full(12, -3.0), *generator.uniform(-0.7, 0.7, (2, 12))], axis=-1)
    aims = generator.uniform(-0.4, 0.4, (12, 3)) - origins
    trace = ball_trace(
        origins, aims / np.linalg.norm(aims, axis=-1, keepdims=True), coarse=int(generator.integers(3, 40))
    )
    arrays = vars(trace)
    for ray in range(12):
        curves = RayCurves.of_ray(arrays, ray)
        assert curves.weight.sum() == pytest.approx(float(arrays["rgba"][ray, 3]), abs=1e-5)
        if len(curves.bin_mass):
            assert curves.cdf_line()[1][-1] == pytest.approx(1.0, abs=1e-5)
            assert (curves.pdf * (curves.bin_t1 - curves.bin_t0)).sum() == pytest.approx(1.0, abs=1e-5)
        t, value = curves.transmittance_line()
        assert np.all(np.diff(t) >= -1e-6) and np.all(np.diff(value) <= 1e-6)
        assert 1.0 - value[-1] == pytest.approx(curves.weight.sum(), abs=1e-5)
    assert mean_curves(arrays).weight.sum() == pytest.approx(float(arrays["rgba"][:, 3].mean()), abs=1e-5)


def test_the_close_view_holds_what_matters_and_little_else():
    arrays = trace_arrays()
    curves = RayCurves.of_ray(arrays, 0)
    axis = focus_range([curves])
    # 95 % of the weight lie within a quarter behind the ball's front, where the true depth is.
    assert 2.35 < axis.low < 2.5 < 2.75 < axis.high < 2.9
    assert whole_range([curves]) == Axis(2.0, 4.0)
    for true, lowest in ((2.3, 2.3), (2.02, 2.5)):  # one that is far away is left out
        moved = {**arrays, "true_depth": np.float32([true, 0, 0, 0])}
        found = focus_range([RayCurves.of_ray(moved, 0)])
        assert lowest - 0.15 < found.low < lowest and found.high < 2.9
    assert focus_range([RayCurves.of_ray(arrays, 2)]) == Axis(2.0, 4.0)  # it sees nothing
    assert focus_range([RayCurves.of_ray(arrays, 3)]) == Axis(0.0, 1.0)  # it meets no box
