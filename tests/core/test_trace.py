"""Traces: their numbers add up to the rendered pixel, and say where a ray went, what it skipped and why it ended."""

import numpy as np
import pytest

from nerf_core.contract.errors import DataError
from nerf_core.contract.samplers import SamplerChoice
from nerf_core.contract.traces import END_REASONS, LEFT, MISSED, OPAQUE, TRACE_ARRAYS
from nerf_core.data.dataset import load_dataset
from nerf_core.data.one_view import load_view
from nerf_core.methods.base import Normalisation
from nerf_core.methods.classic import ClassicMethod
from nerf_core.methods.fast import FastMethod
from nerf_core.methods.trace import Trace, join
from nerf_core.rendering.placed_trace import into_training, out_of_training
from nerf_core.rendering.trace_pixels import trace_pixels

from .. import trace_arrays
from ..trace_arrays import DENSITY, RADIUS, ball_trace
from . import depth_scene, room_scene, tiny_scene
from .fast_field import NORMALISATION, ball_views, fresh_seed

QUICK = {
    "levels": 8,
    "log2_table_size": 12,
    "occupancy_resolution": 32,
    "max_resolution": 64,
    "ray_steps": 128,
    "samples_per_step": 4096,
}
CLASSIC = {"depth": 2, "width": 32, "coarse_samples": 16, "rays_per_step": 256, "learning_rate": 5e-3}


def trained(method, views, steps):
    method.load_views(views)
    for step in range(steps):
        method.train_step(step / steps)
    return method


@pytest.fixture(scope="module")
def methods():
    """A trained method of each kind: their rays end, leave, miss, and meet haze."""
    fast = trained(FastMethod(NORMALISATION, settings=QUICK), ball_views(12, 32), 150)
    reference = FastMethod(NORMALISATION, settings={"backend": "reference"})
    reference.load_state(fast.state())
    box = Normalisation(tiny_scene.BOUNDS)
    classic = [ClassicMethod(box, "cpu", 0, {**CLASSIC, "fine_samples": fine}) for fine in (16, 0)]
    for each in classic:
        trained(each, tiny_scene.views(), 150)
    return {"fast": fast, "reference": reference, "hierarchical": classic[0], "uniform": classic[1]}


def rays_at(method, count=200):
    """Random rays around a method's box, most of which go through it."""
    generator = np.random.default_rng(fresh_seed())
    center = method.normalisation.center
    reach = 1.0 / method.normalisation.scale
    origins = generator.normal(size=(count, 3))
    origins = center + 1.5 * reach * origins / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = center + generator.uniform(-0.6, 0.6, (count, 3)) * reach - origins
    directions[::10] *= -1
    return origins.astype("f4"), (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype("f4")


def composited(trace: Trace) -> np.ndarray:
    """(R, 4) from the samples alone, with nothing but their own optical depths."""
    rgba = np.zeros((len(trace.rgba), 4))
    for ray in range(len(rgba)):
        for stage in (1, 0):
            rows = np.flatnonzero((trace.ray == ray) & (trace.stage == stage))
            if len(rows):
                break
        passing = 1.0
        for row in rows:
            weight = passing * -np.expm1(-float(trace.optical_depth[row]))
            passing *= np.exp(-float(trace.optical_depth[row]))
            if trace.selected[row]:
                rgba[ray] += weight * np.append(trace.color[row], 1.0)
    return rgba


def check_consistency(trace: Trace, origins, directions) -> None:
    """What holds for every trace, whatever placed its samples."""
    rays = len(origins)
    assert tuple(vars(trace)) == TRACE_ARRAYS
    assert all(len(getattr(trace, name)) == rays for name in ("rgba", "near", "far", "end", "full", "median_depth"))
    order = np.lexsort((trace.t, trace.stage, trace.ray))
    np.testing.assert_array_equal(order, np.arange(len(trace.t)))
    assert (trace.t >= trace.t0 - 1e-4).all() and (trace.t <= trace.t1 + 1e-4).all()
    np.testing.assert_allclose(trace.dt, trace.t1 - trace.t0, atol=1e-5)
    np.testing.assert_allclose(trace.position, origins[trace.ray] + trace.t[:, None] * directions[trace.ray], atol=2e-4)
    absorbed = -np.expm1(-trace.optical_depth.astype(float))
    np.testing.assert_allclose(trace.weight, trace.transmittance * absorbed, atol=1e-5)
    missed = trace.end_reason == MISSED
    assert not trace.far[missed].any() and not trace.rgba[missed].any() and not trace.full[missed].any()
    assert (trace.near < trace.far)[~missed].all() and (trace.end <= trace.far).all()
    assert (trace.end == trace.far)[trace.end_reason == LEFT].all()
    mass = np.bincount(trace.bin_ray, trace.bin_weight, rays)
    assert ((np.abs(mass - 1.0) < 1e-4) | (mass == 0)).all()
    seen = trace.rgba[:, 3] > 0.5
    for depth in (trace.expected_depth, trace.median_depth):
        assert not depth[trace.rgba[:, 3] == 0].any()
        assert ((depth >= trace.near) & (depth <= trace.end + 1e-4))[seen].all()


@pytest.mark.parametrize("name", ["fast", "reference", "hierarchical", "uniform"])
def test_samples_add_up_to_the_rendered_pixel(methods, name):
    method = methods[name]
    origins, directions = rays_at(method)
    trace, colors = method.trace_rays(origins, directions), method.render_rays(origins, directions)
    check_consistency(trace, origins, directions)
    np.testing.assert_allclose(composited(trace), trace.rgba, atol=1e-5)
    # The fused kernels carry the transmittance along in float32, which a steep density shows on a few rays.
    difference = np.abs(trace.rgba - colors.rgba).max(axis=1)
    assert np.quantile(difference, 0.95) < 1e-5 and difference.max() < 3e-4
    seen = colors.rgba[:, 3] > 0.05
    assert seen.sum() > 20
    np.testing.assert_allclose(trace.expected_depth[seen], colors.depth[seen], rtol=1e-3)
    assert trace.end_reason.min() == MISSED and len(np.unique(trace.end_reason)) >= 2


@pytest.mark.parametrize("name", ["fast", "reference"])
def test_the_occupancy_samplers_bins_and_gaps_cover_the_ray(methods, name):
    method = methods[name]
    origins, directions = rays_at(method)
    trace = method.trace_rays(origins, directions)
    check_cover(trace)
    assert set(np.unique(trace.end_reason)) == {MISSED, LEFT, OPAQUE}
    # Counted as rendering counts them: a colour for each selected sample, density alone for the others.
    np.testing.assert_array_equal(trace.full, np.bincount(trace.ray, trace.selected, len(origins)))
    np.testing.assert_array_equal(trace.full + trace.density_only, np.bincount(trace.ray, minlength=len(origins)))
    assert not trace.stage.any() and 0 < trace.selected.sum() < len(trace.ray)
    # Empty cells hold nothing: what was skipped lies where the grid says that it is empty.
    middle = 0.5 * (trace.skip_t0 + trace.skip_t1)
    places = origins[trace.skip_ray] + middle[:, None] * directions[trace.skip_ray]
    long = trace.skip_t1 - trace.skip_t0 > 0.2
    assert np.median(method.query_density(places[long])) < 0.1


def check_cover(trace: Trace) -> None:
    """Bins and skipped stretches tile each ray from `near` to `end`."""
    ray = np.concatenate([trace.bin_ray, trace.skip_ray])
    t0, t1 = np.concatenate([trace.bin_t0, trace.skip_t0]), np.concatenate([trace.bin_t1, trace.skip_t1])
    order = np.lexsort((t0, ray))
    ray, t0, t1 = ray[order], t0[order], t1[order]
    assert len(trace.skip_ray) > 0 and (t1 > t0).all()
    same = ray[1:] == ray[:-1]
    np.testing.assert_array_equal(t0[1:][same], t1[:-1][same])
    first, last = np.r_[True, ~same], np.r_[~same, True]
    np.testing.assert_allclose(t0[first], trace.near[ray[first]], atol=1e-5)
    np.testing.assert_allclose(t1[last], trace.end[ray[last]], atol=1e-5)
    np.testing.assert_array_equal(np.unique(ray), np.flatnonzero(trace.end_reason != MISSED))


def test_an_unbounded_scenes_rays_are_covered_too():
    small = {**QUICK, "ray_steps": 64, "step_growth": 1 / 16, "scene": "unbounded"}
    box = Normalisation(np.stack([room_scene.MIDDLE - 1.5, room_scene.MIDDLE + 1.5]))
    method = trained(FastMethod(box, settings=small), room_scene.views(12, 16), 40)
    origins, directions = (
        part.reshape(-1, 3)[::5].astype("f4") for part in room_scene.views(1, 20).views[0].camera.rays()
    )
    trace = method.trace_rays(origins, directions)
    check_consistency(trace, origins, directions)
    check_cover(trace)
    np.testing.assert_allclose(composited(trace), trace.rgba, atol=1e-5)
    assert trace.dt.max() > 2 * trace.dt.min()


@pytest.mark.parametrize(("name", "bins"), [("hierarchical", 14), ("uniform", 16)])
def test_what_places_the_classic_methods_samples(methods, name, bins):
    method = methods[name]
    origins, directions = rays_at(method)
    trace = method.trace_rays(origins, directions)
    met = trace.end_reason != MISSED
    np.testing.assert_array_equal(np.bincount(trace.bin_ray, minlength=len(origins)), np.where(met, bins, 0))
    one = np.flatnonzero(met)[0]
    rows = trace.bin_ray == one
    np.testing.assert_allclose(trace.bin_t1[rows][:-1], trace.bin_t0[rows][1:], atol=1e-5)
    if name == "uniform":
        np.testing.assert_allclose(trace.bin_weight, 1 / 16, atol=1e-6)
        assert trace.selected.all() and not trace.stage.any() and (trace.full[met] == 16).all()
        return
    # The bins are the coarse weights between the first and the last sample, as they were drawn from.
    coarse = (trace.ray == one) & (trace.stage == 0)
    weights = trace.weight[coarse][1:-1] + 1e-5
    np.testing.assert_allclose(trace.bin_weight[rows], weights / weights.sum(), atol=1e-5)
    # Of the coarse network rendering asks densities alone.
    assert (trace.full[met] == 32).all() and (trace.density_only[met] == 16).all() and not trace.selected[coarse].any()
    assert trace.selected[(trace.ray == one) & (trace.stage == 1)].all()


@pytest.mark.parametrize("name", ["fast", "hierarchical"])
@pytest.mark.parametrize(
    "choice",
    [("uniform", 24), ("hierarchical", 12), ("occupancy", None), ("occupancy", 3), ("oracle", 1), ("oracle", 4)],
    ids=str,
)
def test_every_sampler_traces_what_it_renders(methods, name, choice):
    method, choice = methods[name], SamplerChoice(*choice)
    origins, directions = rays_at(method, 60)
    full = method.render_rays(origins, directions)
    known = np.where(full.rgba[:, 3] > 0.5, full.depth, 0.0)
    trace = method.trace_rays(origins, directions, choice, known)
    check_consistency(trace, origins, directions)
    np.testing.assert_allclose(composited(trace), trace.rgba, atol=1e-5)
    colors = method.render_rays(origins, directions, sampler=choice, true_depth=known)
    difference = np.abs(trace.rgba - colors.rgba).max(axis=1)
    assert np.quantile(difference, 0.95) < 1e-5 and difference.max() < 3e-4
    np.testing.assert_array_equal(trace.full, colors.evaluations)
    bound = trace.full[known > 0] if choice.name == "oracle" else trace.full  # it takes all where no depth is known
    assert choice.samples is None or bound.max() <= choice.samples + 16  # the coarse look of the hierarchical one
    if name == "fast" and choice.name == "occupancy":
        check_cover(trace)
        stages = np.bincount(trace.stage[trace.selected == 1], minlength=2)
        assert stages[0 if choice.samples is None else 1] == trace.selected.sum() > 0


def test_depths_of_a_ball_that_is_known():
    generator = np.random.default_rng(fresh_seed())
    y = generator.uniform(0.0, 0.45, 20)
    origins = np.stack([np.full(20, -3.0), y, np.zeros(20)], axis=-1)
    trace = ball_trace(origins, np.tile([1.0, 0.0, 0.0], (20, 1)), fine=400)
    half = np.sqrt(RADIUS**2 - y**2)
    alpha = -np.expm1(-DENSITY * 2 * half)
    np.testing.assert_allclose(trace.rgba[:, 3], alpha, atol=1e-6)
    np.testing.assert_allclose(trace.median_depth, 3.0 - half - np.log1p(-0.5 * alpha) / DENSITY, atol=1e-4)
    mean = 1 / DENSITY - 2 * half * (1 - alpha) / alpha
    np.testing.assert_allclose(trace.expected_depth, 3.0 - half + mean, atol=1e-3)
    # Half as few samples move neither much.
    coarser = ball_trace(origins, np.tile([1.0, 0.0, 0.0], (20, 1)), fine=8)
    np.testing.assert_allclose(coarser.median_depth, trace.median_depth, atol=1e-4)


def test_why_rays_end():
    arrays = trace_arrays.trace_arrays(4)
    assert [END_REASONS[reason] for reason in arrays["end_reason"]] == ["opaque", "left", "left", "missed"]
    assert arrays["end"][0] < arrays["far"][0] == pytest.approx(4.0)
    assert list(arrays["near"]) == pytest.approx([2, 2, 2, 0]) and arrays["end"][3] == 0


def test_parts_of_a_trace_join_to_the_whole(methods):
    for method in methods.values():
        origins, directions = rays_at(method, 50)
        whole = method.trace_rays(origins, directions)
        cut = 23
        parts = join([(0, method.trace_rays(origins[:cut], directions[:cut])),
                      (cut, method.trace_rays(origins[cut:], directions[cut:]))])  # fmt: skip
        for name in TRACE_ARRAYS:
            np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-3, err_msg=name)
            assert getattr(parts, name).dtype == getattr(whole, name).dtype


def test_a_trace_of_a_nerf_that_was_moved_turned_and_stretched():
    arrays = trace_arrays.trace_arrays(8)
    place = np.array([[2.0, 0.5, 0, 3], [0, 1, 0.2, -4], [0.3, 0, 0.7, 5], [0, 0, 0, 1]])
    inner = Trace(**{name: arrays[name] for name in TRACE_ARRAYS})
    turned = arrays["direction"] @ place[:3, :3].T
    length = np.linalg.norm(turned, axis=1)
    outer_origin = arrays["origin"] @ place[:3, :3].T + place[:3, 3]
    origins, directions, stretch = into_training(place, outer_origin, turned / length[:, None])
    np.testing.assert_allclose(origins, arrays["origin"], atol=1e-5)
    np.testing.assert_allclose(stretch, length, rtol=1e-6)
    outer = out_of_training(place, stretch, inner)
    check_consistency(outer, outer_origin, turned / length[:, None])
    # A point of the ray at each distance is the moved one of the distance before.
    for ray, distance in (("ray", "t0"), ("ray", "t1"), ("bin_ray", "bin_t0"), ("bin_ray", "bin_t1"),
                          ("skip_ray", "skip_t0"), ("skip_ray", "skip_t1"), (None, "near"), (None, "far"),
                          (None, "end"), (None, "expected_depth"), (None, "median_depth")):  # fmt: skip
        rows = np.arange(8) if ray is None else getattr(inner, ray)
        before, after = getattr(inner, distance), getattr(outer, distance)
        old = arrays["origin"][rows] + before[:, None] * arrays["direction"][rows]
        new = outer_origin[rows] + after[:, None] * (turned / length[:, None])[rows]
        np.testing.assert_allclose(old @ place[:3, :3].T + place[:3, 3], new, atol=1e-4, err_msg=distance)
    np.testing.assert_allclose(outer.density * outer.dt, inner.density * inner.dt, rtol=1e-4)
    np.testing.assert_array_equal(outer.optical_depth, inner.optical_depth)


def test_true_depth_reaches_the_method_in_its_own_world(methods):
    """And comes back as it was given."""
    method = methods["fast"]
    asked = {}

    class Spy(FastMethod):
        def trace_rays(self, origins, directions, sampler=None, true_depth=None):
            asked["depth"] = true_depth
            return super().trace_rays(origins, directions, sampler, true_depth)

    spy = Spy(NORMALISATION, settings=QUICK)
    spy.load_state(method.state())
    camera = ball_views(1, 32).views[0].camera
    place = np.diag([2.0, 2.0, 2.0, 1.0])
    traced = trace_pixels(spy, camera, np.array([[16.0, 16.0], [3.0, 4.0]]), None, place, np.array([3.0, 0.0]))
    np.testing.assert_allclose(asked["depth"], [1.5, 0.0])
    np.testing.assert_allclose(traced.arrays["true_depth"], [3.0, 0.0])
    assert traced.truth is None and "truth" not in traced.arrays and traced.sampler.name == "occupancy"


def test_a_view_alone_is_what_the_whole_data_set_has_of_it(tmp_path):
    folder = depth_scene.write_dataset(tmp_path / "room", 2, 2, 24)
    whole = load_dataset(folder, 2, depth=("val",)).splits["val"].views[1]
    view = load_view(folder, "val", 1, 2)
    assert view.name == whole.name and view.camera.to_dict() == whole.camera.to_dict()
    np.testing.assert_array_equal(view.rgba, whole.rgba)
    np.testing.assert_array_equal(view.depth, whole.depth)
    (folder / "depth" / "val_0001.exr").write_bytes(b"no picture")
    assert load_view(folder, "val", 1).depth is None  # the picture alone will do
    for path, split, index, words in (
        (folder, "val", 2, "no view 2"),
        (folder, "test", 0, "no test split"),
        (folder, "fly", 0, "'fly' is not a split"),
        (tmp_path / "gone", "val", 0, "is gone"),
    ):
        with pytest.raises(DataError, match=words):
            load_view(path, split, index)
