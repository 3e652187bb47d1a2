"""The fast method behind its interface: it learns, it is the same on every backend, it says what is wrong."""

import numpy as np
import pytest

from nerf_core.contract.camera import Camera
from nerf_core.contract.errors import CheckpointError, DataError, NerfError
from nerf_core.data.views import Views
from nerf_core.fields.hash_grid import FastLayout, FastSettings
from nerf_core.kernels import views as kernel_views
from nerf_core.methods.base import MethodState
from nerf_core.methods.fast import FastMethod
from nerf_core.rendering.frame import render_frame

from .fast_field import BALL_CENTRE, BALL_RADIUS, NORMALISATION, ball_views, fresh_seed, view_psnr

QUICK = {
    "log2_table_size": 13,
    "occupancy_resolution": 32,
    "max_resolution": 128,
    "ray_steps": 128,
    "samples_per_step": 8192,
}


def trained(steps, settings=None, **options) -> FastMethod:
    method = FastMethod(NORMALISATION, settings={**QUICK, **(settings or {})}, **options)
    method.load_views(ball_views(20, 48))
    for step in range(steps):
        method.train_step(step / steps)
    return method


@pytest.fixture(scope="module")
def ball() -> FastMethod:
    return trained(400)


def test_it_learns_the_ball(ball):
    """Held-out views through pinhole, distorted and orthographic cameras, colour and alpha."""
    psnr = view_psnr(ball, ball_views(5, 48, phase=1.0))
    assert psnr > 27, psnr


def test_the_reference_learns_the_ball_too():
    method = trained(120, {"backend": "reference", "samples_per_step": 4096})
    assert method.backend == "reference"
    psnr = view_psnr(method, ball_views(5, 48, phase=1.0))
    assert psnr > 23, psnr


def test_depth_and_density_are_in_world_units(ball):
    """A ray at the ball's middle ends at its surface; density is high in its skin, none outside."""
    origin = np.array([[3.2, -0.1, 0.3]])
    colors = ball.render_rays(origin, np.array([[-1.0, 0.0, 0.0]]))
    assert colors.rgba[0, 3] > 0.95
    assert colors.depth[0] == pytest.approx(3.0 - BALL_RADIUS, abs=0.08)
    assert colors.rgba[0, :3] == pytest.approx([0.9, 0.5, 0.5], abs=0.1)
    skin = BALL_CENTRE + 0.95 * BALL_RADIUS * np.eye(3)
    assert ball.query_density(skin).min() > 5
    outside = np.array([[-0.9, 0.9, 0.9], [5.0, 0, 0], [0, 0, -0.6]])
    assert ball.query_density(outside).max() < 1 and not ball.query_density(outside[1:]).any()
    color = ball.query_color(skin, -np.eye(3))
    assert color == pytest.approx(0.5 + 0.4 * np.eye(3), abs=0.12)


def test_random_backgrounds_make_alpha(ball):
    """Beside the ball nothing is left that hides behind a background's colour."""
    for view in ball_views(3, 48, phase=2.0).views:
        origins, directions = view.camera.rays()
        alpha = ball.render_rays(origins.reshape(-1, 3), directions.reshape(-1, 3)).rgba[:, 3]
        solid = view.rgba[..., 3].reshape(-1) > 0
        assert alpha[~solid].mean() < 0.01 and alpha[solid].mean() > 0.97


def test_views_without_alpha():
    """An opaque background is learnt as it is, black included, without random colours."""
    views = ball_views(16, 40)
    for view in views.views:
        view.rgba[view.rgba[..., 3] == 0] = 0, 0, 0, 255
    method = FastMethod(NORMALISATION, settings=QUICK)
    method.load_views(Views(views.views, "srgb", False))
    for step in range(300):
        stats = method.train_step(step / 300)
    assert -10 * np.log10(stats.mse) > 24
    assert not method.field._random_background


def test_trace_is_what_rendering_uses(ball):
    generator = np.random.default_rng(fresh_seed())
    view = ball_views(3, 20, phase=0.5).views[0]
    origins, directions = view.camera.rays(generator.uniform(0, 20, (60, 2)))
    colors = ball.render_rays(origins, directions)
    trace = ball.trace_rays(origins, directions)
    np.testing.assert_allclose(trace.rgba, colors.rgba, atol=2e-4)
    assert len(trace.t) <= colors.samples
    order = np.lexsort((trace.t, trace.ray))
    assert np.array_equal(order, np.arange(len(trace.t)))
    np.testing.assert_allclose(
        trace.position, (origins + 0)[trace.ray] + trace.t[:, None] * directions[trace.ray], atol=1e-4
    )
    absorbed = 1 - np.exp(-trace.density.astype(float) * trace.dt)
    np.testing.assert_allclose(trace.weight, trace.transmittance * absorbed, atol=1e-5)
    np.testing.assert_allclose(trace.density, ball.query_density(trace.position), rtol=2e-2, atol=1e-3)
    assert (trace.stage == 0).all()
    ray = trace.ray == trace.ray[np.argmax(trace.weight)]
    passing = np.cumprod(np.concatenate([[1.0], 1 - absorbed[ray]]))[:-1]
    np.testing.assert_allclose(trace.transmittance[ray], passing, atol=1e-4)


def test_rays_that_miss_everything(ball):
    origins, directions = np.full((3, 3), 9.0), np.tile([0.0, 0.0, 1.0], (3, 1))
    colors = ball.render_rays(origins, directions)
    assert not colors.rgba.any() and not colors.depth.any() and colors.samples == 0
    trace = ball.trace_rays(origins, directions)
    assert len(trace.t) == 0 and trace.rgba.shape == (3, 4) and not trace.rgba.any()
    assert ball.query_density(np.zeros((0, 3))).shape == (0,)


def test_a_checkpoint_renders_alike_on_the_other_backend(ball):
    state = ball.state()
    other = FastMethod(NORMALISATION, settings={"backend": "reference"})
    other.load_state(state)
    view = ball_views(4, 40, phase=0.3).views[1]
    origins, directions = (part.reshape(-1, 3) for part in view.camera.rays())
    mine, theirs = ball.render_rays(origins, directions), other.render_rays(origins, directions)
    assert np.quantile(np.abs(mine.rgba - theirs.rgba), 0.995) < 1e-3
    assert np.abs(mine.rgba - theirs.rgba).mean() < 1e-4
    # ... trains on there, and comes back.
    other.load_views(ball_views(8, 32))
    stats = other.train_step(0.9)
    assert stats.mse < 5e-3
    back = FastMethod(NORMALISATION)
    back.load_state(other.state())
    again = back.render_rays(origins, directions)
    assert np.quantile(np.abs(again.rgba - other.render_rays(origins, directions).rgba), 0.995) < 1e-3


def test_a_state_from_before_the_first_occupancy_update_sees_everything():
    """Its occupancy values are all zero, which must not mean empty."""
    method = trained(3)
    for backend in ("cpu", "reference"):
        other = FastMethod(NORMALISATION, settings={"backend": backend})
        other.load_state(method.state())
        origins, directions = np.array([[3.0, 0.0, 0.3]]), np.array([[-1.0, 0.0, 0.0]])
        expected = method.render_rays(origins, directions).rgba
        assert expected[0, 3] > 0.1
        assert other.render_rays(origins, directions).rgba == pytest.approx(expected, abs=1e-4)


def test_continuing_from_a_state_is_as_if_never_stopped():
    method = trained(30)
    state = method.state()
    kept = {name: array.copy() for name, array in state.arrays.items()}
    resumed = FastMethod(NORMALISATION)
    resumed.load_state(state)
    resumed.load_views(ball_views(20, 48))
    for _ in range(20):
        assert method.train_step(0.5) == resumed.train_step(0.5)
    for name, array in method.state().arrays.items():
        assert np.array_equal(array, resumed.state().arrays[name]), name
        assert np.array_equal(state.arrays[name], kept[name]), "a state must not change with later steps"


def test_states_that_do_not_fit(ball):
    state = ball.state()
    for change, message in (
        ({"params/table": state.arrays["params/table"][:-1]}, "params/table"),
        ({"params/color_1": state.arrays["params/color_1"] * np.nan}, "NaN"),
        ({"occupancy/values": np.zeros((4, 4, 4), np.float32)}, "occupancy/values"),
        ({"adam/first/density_0": None}, "adam/first/density_0"),
    ):
        arrays = {**state.arrays, **change}
        arrays = {name: array for name, array in arrays.items() if array is not None}
        with pytest.raises(CheckpointError, match=message):
            FastMethod(NORMALISATION).load_state(MethodState(arrays, state.settings))
    with pytest.raises(CheckpointError):
        FastMethod(NORMALISATION).load_state(MethodState(state.arrays, {}))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"levles": 8}, "no setting 'levles'"),
        ({"levels": 2.5}, "whole number"),
        ({"levels": "8"}, "'levels'"),
        ({"levels": 0}, "1 to 32"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"density_width": 40}, "multiple of 16"),
        ({"log2_table_size": 5}, "log2_table_size"),
        ({"occupancy_resolution": 36}, "multiple of 8"),
        ({"ray_steps": 3}, "ray_steps"),
        ({"base_resolution": 64, "max_resolution": 32}, "max_resolution"),
        ({"backend": "gpu"}, "backend"),
        ({"levels": 3}, "multiple of 16"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(NerfError, match=message):
        FastMethod(NORMALISATION, settings=settings)


def test_features_that_only_the_reference_knows():
    settings = {**QUICK, "levels": 8, "features": 2}
    with pytest.raises(NerfError, match="features"):
        FastMethod(NORMALISATION, settings=settings).load_views(ball_views(2, 12))
    method = FastMethod(NORMALISATION, settings={**settings, "backend": "reference"})
    method.load_views(ball_views(2, 12))
    assert np.isfinite(method.train_step(0.0).loss)


def test_a_device_that_is_not_there():
    with pytest.raises(NerfError, match="device"):
        FastMethod(NORMALISATION, device="nonsense", settings=QUICK).render_rays(np.zeros((1, 3)), np.eye(3)[:1])


def test_no_views():
    with pytest.raises(DataError, match="no training view"):
        FastMethod(NORMALISATION).load_views(Views([], "srgb", True))


def test_sizes_follow_the_images():
    small, big = FastSettings().sized_for(200), FastSettings().sized_for(400)
    assert (small.log2_table_size, small.occupancy_resolution, small.ray_steps) == (16, 96, 256)
    assert (big.log2_table_size, big.occupancy_resolution, big.ray_steps) == (17, 128, 320)
    assert FastSettings(log2_table_size=12).sized_for(400).log2_table_size == 12
    layout = FastLayout.from_settings(big)
    assert layout.resolutions.tolist() == [16, 28, 52, 95, 172, 312, 565, 1024]
    method = FastMethod(NORMALISATION)
    method.load_views(ball_views(2, 12))
    assert method.settings.log2_table_size == 16
    assert method.state().settings["settings"]["log2_table_size"] == 16


def test_pixels_of_every_kind_of_camera_are_the_rays_through_their_centres():
    """Backends that make rays themselves see what `Camera.rays` says."""
    method = FastMethod(NORMALISATION, "cpu", 0, QUICK)
    views = ball_views(6, 24)
    method.load_views(views)
    for step in range(30):
        method.train_step(step / 30)
    panorama = Camera(32, 16, 32 / (2 * np.pi), 16 / np.pi, 16, 8, kind="panoramic", c2w=views.views[0].camera.c2w)
    cameras = [view.camera for view in views.views] + [panorama]
    assert {camera.kind for camera in cameras} == {"perspective", "orthographic", "panoramic"}
    for camera in cameras:
        first, count = 7, camera.width * camera.height - 20
        made = method.render_pixels(camera, first, count)
        rays = (part.reshape(-1, 3)[first : first + count] for part in camera.rays())
        expected = method.render_rays(*rays)
        assert expected.rgba.max() > 0.3
        np.testing.assert_allclose(made.rgba, expected.rgba, atol=2e-5)
        np.testing.assert_allclose(made.depth, expected.depth, atol=2e-4)
        assert made.samples == pytest.approx(expected.samples, rel=0.01)


def test_a_lens_is_worked_out_once_a_picture(monkeypatch):
    method = trained(3)
    camera = next(view.camera for view in ball_views(4, 40).views if not view.camera.distortion.is_identity)
    made = []
    original = kernel_views._lens_directions
    monkeypatch.setattr(kernel_views, "_lens_directions", lambda lens: made.append(lens) or original(lens))
    frame = render_frame(method, camera, chunk=200)
    assert len(made) == 1
    assert frame.rgba.reshape(-1, 4) == pytest.approx(method.render_rays(*camera.rays()).rgba, abs=1e-4)
