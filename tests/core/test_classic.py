"""The classic method: its networks, its frame of reference, and that it learns a scene."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import CheckpointError, NerfError
from nerf_core.contract.lens import Distortion
from nerf_core.data.color import over
from nerf_core.data.views import View, Views
from nerf_core.fields.mlp2020 import RadianceMLP
from nerf_core.fields.positional import PositionalEncoding
from nerf_core.methods.base import MethodState, Normalisation
from nerf_core.methods.classic import ClassicMethod
from nerf_core.methods.registry import create, resolve_device
from nerf_core.rendering.frame import render_frame
from nerf_core.rendering.rays import PixelSource, intersect_box
from nerf_core.training.held_out import psnr

from . import tiny_scene

TINY = {"depth": 2, "width": 32, "coarse_samples": 16, "fine_samples": 16, "rays_per_step": 256}


def tiny_method(**settings) -> ClassicMethod:
    return ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 0, {**TINY, **settings})


@pytest.fixture(scope="module")
def trained():
    method = tiny_method(learning_rate=5e-3)
    method.load_views(tiny_scene.views())
    for step in range(300):
        method.train_step(step / 300)
    return method


def ball_rays(count: int = 9):
    camera = tiny_scene.camera(1, 7, count)
    origins, directions = camera.rays()
    return origins.reshape(-1, 3).astype(np.float32), directions.reshape(-1, 3).astype(np.float32)


def test_positional_encoding_is_equation_4():
    encoding = PositionalEncoding(10, include_input=False)
    x = torch.tensor([[0.3, -0.7, 0.11]])
    expected = [f(2.0**k * math.pi * c) for f in (math.sin, math.cos) for k in range(10) for c in x[0].tolist()]
    assert encoding.width() == 60
    torch.testing.assert_close(encoding(x)[0], torch.tensor(expected), atol=3e-4, rtol=0)
    assert PositionalEncoding(4).width() == 27
    torch.testing.assert_close(PositionalEncoding(0)(x), x)


def test_the_published_network_has_the_published_layers():
    shapes = {name: tuple(p.shape) for name, p in RadianceMLP(include_input=False).named_parameters() if p.ndim == 2}
    trunk = [shapes[f"trunk.{i}.weight"] for i in range(8)]
    assert trunk == [(256, 60)] + [(256, 256)] * 4 + [(256, 316)] + [(256, 256)] * 2
    assert shapes["density.weight"] == (1, 256) and shapes["feature.weight"] == (256, 256)
    assert shapes["branch.weight"] == (128, 280) and shapes["color.weight"] == (3, 128)


def test_presets_and_devices():
    paper = tiny_method(preset="paper", **{"depth": 8, "width": 256}).settings
    assert (paper.depth, paper.skip, paper.learning_rate, paper.density_activation) == (8, 5, 5e-4, "relu")
    small = ClassicMethod(Normalisation(tiny_scene.BOUNDS)).settings
    assert (small.depth, small.width, small.coarse_samples, small.fine_samples, small.rays_per_step) == (
        4,
        64,
        32,
        32,
        512,
    )


@pytest.mark.parametrize("setting", ["positional_encoding", "view_directions"])
def test_switches_change_the_networks(setting):
    with_it, without = tiny_method(), tiny_method(**{setting: False})
    assert sum(p.numel() for p in without.networks["fine"].parameters()) < sum(
        p.numel() for p in with_it.networks["fine"].parameters()
    )
    origins, directions = ball_rays(3)
    assert np.isfinite(without.render_rays(origins, directions).rgba).all()
    if setting == "view_directions":
        points = np.repeat(tiny_scene.CENTER[None], 2, axis=0)
        color = without.query_color(points, np.array([[1.0, 0, 0], [0, 0, 1.0]]))
        np.testing.assert_array_equal(color[0], color[1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widht": 64}, "no setting 'widht'"),
        ({"width": 0}, "'width' is 0; it must be from 4"),
        ({"width": 64.5}, "'width' is 64.5; it must be a whole number"),
        ({"width": True}, "'width' is True"),
        ({"learning_rate": float("nan")}, "'learning_rate' is nan; it must be a number"),
        ({"view_directions": 1}, "must be true or false"),
        ({"skip": 9}, "'skip' is 9, beyond the 2 layers"),
        ({"preset": "huge"}, "'preset' is 'huge'"),
        ({"density_activation": "exp"}, "'density_activation' is 'exp'"),
        ({"coarse_samples": float("inf")}, "'coarse_samples'"),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(NerfError, match=words):
        tiny_method(**settings)


def test_unknown_methods_and_absent_devices_are_named():
    with pytest.raises(NerfError, match="'slow' is not known; use one of fast, classic"):
        create("slow", Normalisation(tiny_scene.BOUNDS))
    with pytest.raises(NerfError, match="'tpu' is not known"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(NerfError, match="no 'cuda' device"):
            create("classic", Normalisation(tiny_scene.BOUNDS), "cuda")
    assert resolve_device("auto") in ("cpu", "cuda", "mps")


def test_gradients_reach_every_parameter():
    method = tiny_method()
    method.load_views(tiny_scene.views(4, 16))
    before = {name: p.detach().clone() for name, p in method._parameters.items()}
    stats = method.train_step(0.0)
    assert stats.rays == 256 and stats.samples > 0 and stats.loss > stats.mse > 0
    for name, parameter in method._parameters.items():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
        assert not torch.equal(parameter, before[name]), name


def test_the_learning_rate_decays_exponentially_with_progress():
    method = tiny_method(learning_rate=1e-3, final_learning_rate=1e-5)
    method.load_views(tiny_scene.views(2, 8))
    for progress, rate in ((0.0, 1e-3), (0.5, 1e-4), (1.0, 1e-5), (1.7, 1e-5)):
        method.train_step(progress)
        assert method._optimiser.param_groups[0]["lr"] == pytest.approx(rate)


def test_it_learns_the_ball(trained):
    errors = []
    for index in range(3):
        camera = tiny_scene.camera(2 * index + 1, 31, 32)  # none of the training cameras
        truth = tiny_scene.picture(camera) / 255.0
        truth = over(np.concatenate([truth[..., :3] * truth[..., 3:], truth[..., 3:]], axis=-1), (1, 1, 1))
        frame = render_frame(trained, camera)
        errors.append(np.mean((over(frame.rgba, (1, 1, 1)) - truth) ** 2))
        assert frame.rgba[0, 0, 3] < 0.1 and frame.rgba[16, 16, 3] > 0.95  # background and ball
    assert psnr(float(np.mean(errors))) > 22.0


def test_depth_and_density_are_in_world_units(trained):
    camera = Camera(1, 1, 1, 1, 0.5, 0.5, look_at(tiny_scene.CENTER + (0, -3, 0), tiny_scene.CENTER))
    depth = render_frame(trained, camera).depth[0, 0]
    assert depth == pytest.approx(3.0 - tiny_scene.RADIUS, abs=0.4)  # still a little foggy, but not the centre
    outside = tiny_scene.CENTER + (0, 0, 1.2)
    density = trained.query_density(np.stack([tiny_scene.CENTER - (0, 0.6, 0), outside]))
    assert density[0] > 2.0 and density[1] == 0.0


def test_density_is_per_world_unit_whatever_the_scene_s_size():
    small = tiny_method()
    large = ClassicMethod(Normalisation(tiny_scene.BOUNDS * 10.0), "cpu", 0, TINY)
    points = tiny_scene.CENTER + np.random.default_rng(0).uniform(-0.9, 0.9, (50, 3))
    np.testing.assert_allclose(
        large.query_density(points * 10.0) * 10.0, small.query_density(points), rtol=2e-3, atol=1e-5
    )
    origins, directions = ball_rays(4)
    ours, theirs = small.render_rays(origins, directions), large.render_rays(origins * 10.0, directions)
    np.testing.assert_allclose(ours.rgba, theirs.rgba, atol=2e-3)
    np.testing.assert_allclose(ours.depth * 10.0, theirs.depth, rtol=2e-3, atol=1e-3)


def test_rays_that_miss_the_box_are_empty():
    method = tiny_method()
    colors = method.render_rays(np.full((2, 3), 50.0), np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    assert not colors.rgba.any() and not colors.depth.any() and colors.samples == 0
    trace = method.trace_rays(np.full((2, 3), 50.0), np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    assert len(trace.t) == 0 and trace.position.shape == (0, 3) and trace.rgba.shape == (2, 4)


def test_a_trace_adds_up_to_what_is_rendered(trained):
    origins, directions = ball_rays(9)
    trace, colors = trained.trace_rays(origins, directions), trained.render_rays(origins, directions)
    np.testing.assert_allclose(trace.rgba, colors.rgba, atol=1e-5)
    fine = trace.stage == 1
    summed = np.zeros((len(origins), 4))
    np.add.at(
        summed, trace.ray[fine], np.column_stack([trace.color, np.ones(len(trace.t))])[fine] * trace.weight[fine, None]
    )
    np.testing.assert_allclose(summed, colors.rgba, atol=1e-4)
    np.testing.assert_allclose(trace.weight, trace.transmittance * (1 - np.exp(-trace.density * trace.dt)), atol=1e-4)
    order = np.lexsort((trace.t, trace.stage, trace.ray))
    assert (np.diff(trace.ray[order]) >= 0).all()
    np.testing.assert_array_equal(trace.ray, trace.ray[order])
    np.testing.assert_array_equal(trace.stage, trace.stage[order])
    np.testing.assert_allclose(trace.position, origins[trace.ray] + trace.t[:, None] * directions[trace.ray], atol=1e-4)
    np.testing.assert_allclose(trained.query_density(trace.position)[fine], trace.density[fine], rtol=0.05, atol=0.2)
    counts = np.bincount(trace.ray[~fine], minlength=len(origins))
    assert set(counts) <= {0, 16}


def test_state_makes_the_same_method_again_and_training_goes_on_alike(trained):
    state = trained.state()
    twin = ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 7, state.settings["settings"])
    twin.load_state(state)
    origins, directions = ball_rays(9)
    np.testing.assert_array_equal(
        twin.render_rays(origins, directions).rgba, trained.render_rays(origins, directions).rgba
    )
    other = ClassicMethod(Normalisation(tiny_scene.BOUNDS), "cpu", 7, state.settings["settings"])
    other.load_state(state)
    for method in (twin, other):
        method.load_views(tiny_scene.views(2, 8))
        method.train_step(0.9)
    for key, array in twin.state().arrays.items():
        np.testing.assert_array_equal(array, other.state().arrays[key], err_msg=key)
    assert twin.state().settings["step"] == 301
    # Copies: what was trained since has not changed them.
    assert not np.array_equal(twin.state().arrays["params/fine.color.bias"], state.arrays["params/fine.color.bias"])


def test_states_that_do_not_fit_are_refused():
    method = tiny_method()
    state = method.state()
    with pytest.raises(CheckpointError, match="no array 'params/coarse.color.bias'"):
        arrays = {k: v for k, v in state.arrays.items() if k != "params/coarse.color.bias"}
        method.load_state(MethodState(arrays, state.settings))
    with pytest.raises(CheckpointError, match=r"shape \(5,\) instead of \(3,\)"):
        method.load_state(MethodState({**state.arrays, "params/coarse.color.bias": np.zeros(5, "f4")}, state.settings))
    with pytest.raises(CheckpointError, match="'stranger' that this method does not know"):
        method.load_state(MethodState({**state.arrays, "stranger": np.zeros(5, "f4")}, state.settings))
    with pytest.raises(CheckpointError, match="dtype int32"):
        method.load_state(MethodState({**state.arrays, "params/coarse.color.bias": np.zeros(3, "i4")}, state.settings))
    with pytest.raises(CheckpointError, match="how many steps"):
        method.load_state(MethodState(state.arrays, {"step": "many"}))


def test_rays_meet_the_box_where_they_should():
    bounds = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    origins = torch.tensor([[0.0, 0.0, -3.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 3.0]])
    directions = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    near, far = intersect_box(origins, directions, bounds)
    torch.testing.assert_close(near[:2], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(far[:2], torch.tensor([4.0, 1.0]))
    assert (far[2:] <= near[2:]).all()


def test_training_pixels_have_their_cameras_rays():
    place = look_at(np.array([3.0, 1.0, 2.0]), np.zeros(3))
    plain = Camera(7, 5, 9.0, 8.0, 3.1, 2.2, place)
    cameras = [
        plain,
        replace(plain, distortion=Distortion(0.1, -0.02, 0.001, 0.003, -0.002)),
        replace(plain, kind="orthographic", width=4),
        replace(plain, kind="panoramic", fl_x=2.0, fl_y=2.0, height=9),
    ]
    rng = np.random.default_rng(0)
    views = [
        View(str(i), camera, rng.integers(0, 256, (camera.height, camera.width, 4), dtype=np.uint8))
        for i, camera in enumerate(cameras)
    ]
    source = PixelSource(Views(views, "srgb", True))
    total = sum(camera.width * camera.height for camera in cameras)
    order = rng.permutation(total)
    batch = source.at(order)
    rays = [camera.rays() for camera in cameras]
    origins = np.concatenate([ray[0].reshape(-1, 3) for ray in rays])
    directions = np.concatenate([ray[1].reshape(-1, 3) for ray in rays])
    pixels = np.concatenate([view.rgba.reshape(-1, 4) for view in views])
    np.testing.assert_allclose(batch.origins, origins[order], atol=1e-6)
    np.testing.assert_allclose(batch.directions, directions[order], atol=1e-6)
    np.testing.assert_allclose(batch.rgba, pixels[order] / 255.0, atol=1e-7)
    drawn = source.draw(20000, rng)
    assert len(np.unique(drawn.rgba, axis=0)) == len(np.unique(pixels, axis=0))


def test_frames_are_the_same_in_any_chunks_and_can_be_stopped(trained):
    from nerf_core.contract.errors import Cancelled

    camera = tiny_scene.camera(3, 7, 20)
    whole, parts = render_frame(trained, camera, chunk=400), render_frame(trained, camera, chunk=7)
    np.testing.assert_allclose(whole.rgba, parts.rgba, atol=1e-5)
    assert whole.samples == parts.samples > 0
    done: list[float] = []
    with pytest.raises(Cancelled):
        render_frame(trained, camera, chunk=40, should_stop=lambda: len(done) == 3, on_progress=done.append)
    assert done == pytest.approx([0.1, 0.2, 0.3])


def test_linear_runs_are_decoded_on_the_way_out(trained):
    camera = tiny_scene.camera(3, 7, 12)
    encoded, linear = render_frame(trained, camera), render_frame(trained, camera, color_space="linear")
    alpha = encoded.rgba[6, 6, 3]
    straight = encoded.rgba[6, 6, :3] / alpha
    expected = np.where(straight <= 0.04045, straight / 12.92, ((straight + 0.055) / 1.055) ** 2.4) * alpha
    np.testing.assert_allclose(linear.rgba[6, 6, :3], expected, atol=1e-4)
    np.testing.assert_array_equal(linear.rgba[..., 3], encoded.rgba[..., 3])
