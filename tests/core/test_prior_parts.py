"""What priors are made of: rays as a matrix, warps, total variation, principal components, registration."""

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at
from nerf_core.xray.population_modes import principal_components
from nerf_core.xray.ray_matrix import RayMatrix
from nerf_core.xray.registration import register
from nerf_core.xray.residual import ResidualSettings, _Level, add_residual, optimise_voxels
from nerf_core.xray.total_variation import total_variation
from nerf_core.xray.warp import upsampled, warp_channels

from ..seeds import fresh_seed


def camera(angle: float, pixels: int = 24, distance: float = 0.6, fov: float = 1.5) -> Camera:
    place = distance * np.array([np.sin(angle), -np.cos(angle), 0.1])
    return Camera(pixels, pixels, fov * pixels, fov * pixels, pixels / 2, pixels / 2, look_at(place, np.zeros(3)))


def turned_grid(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.uniform(0.01, 0.02, 3)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return matrix


def test_a_box_of_one_attenuation_is_its_chord():
    rng = np.random.default_rng(fresh_seed())
    shape = (9, 7, 11)
    matrix = turned_grid(rng, shape)
    view = camera(rng.uniform(0, 6.3))
    rays = RayMatrix([view], shape, matrix)
    found = rays.project(np.full(shape, 3.0))
    origins, directions = (a.reshape(-1, 3) for a in view.rays())
    inverse = np.linalg.inv(matrix)
    start = origins @ inverse[:3, :3].T + inverse[:3, 3] + 0.5
    step = directions @ inverse[:3, :3].T
    ends = np.sort(np.stack([-start / step, (np.array(shape) - start) / step]), axis=0)
    chord = np.maximum(0, ends[1].min(axis=1) - ends[0].max(axis=1))
    assert np.allclose(found, 3.0 * chord, atol=2e-5)
    assert (found > 0).sum() > 20


def test_rays_from_inside_begin_at_their_source():
    rays = RayMatrix(
        [Camera(1, 1, 1.0, 1.0, 0.5, 0.5, look_at(np.zeros(3), np.array([1.0, 0, 0])))], (8, 8, 8), np.diag([1.0] * 4)
    )
    assert rays.project(np.ones((8, 8, 8)))[0] == pytest.approx(7.5)


def test_backprojection_is_the_adjoint_and_shrinking_averages():
    rng = np.random.default_rng(fresh_seed())
    shape = (10, 8, 12)
    matrix = turned_grid(rng, shape)
    cameras = [camera(0.3), camera(1.4)]
    whole, half = RayMatrix(cameras, shape, matrix), RayMatrix(cameras, shape, matrix, shrink=2)
    volume, values = rng.normal(size=shape).astype(np.float32), rng.normal(size=whole.rays).astype(np.float32)
    assert np.vdot(whole.project(volume), values) == pytest.approx(np.vdot(volume, whole.backproject(values)), rel=1e-3)
    pictures = [part.reshape(size) for part, size in zip(np.split(whole.project(volume), 2), whole.sizes, strict=True)]
    assert np.allclose(half.project(volume), half.shrunk(pictures, 2), atol=1e-5)


def test_total_variation_of_a_step_and_its_gradient():
    rng = np.random.default_rng(fresh_seed())
    step = np.zeros((6, 5, 4), np.float32)
    step[3:] = 2.0
    assert total_variation(step, np.float32(1e-4))[0] == pytest.approx(2.0 * 5 * 4, rel=1e-3)
    volume = rng.normal(size=(5, 6, 4))
    _, gradient = total_variation(volume, 0.1)
    way = rng.normal(size=volume.shape)
    rise = (total_variation(volume + 1e-5 * way, 0.1)[0] - total_variation(volume - 1e-5 * way, 0.1)[0]) / 2e-5
    assert np.vdot(gradient, way) == pytest.approx(rise, rel=1e-5)


def test_a_warp_moves_what_it_samples_and_knows_its_derivative():
    rng = np.random.default_rng(fresh_seed())
    ramp = np.stack(np.meshgrid(*(np.arange(n) for n in (7, 6, 8)), indexing="ij"), axis=-1).astype(np.float32)
    channels = np.ascontiguousarray((ramp @ np.array([[1.0, 0], [2.0, 1.0], [-0.5, 0]])).astype(np.float32))
    control = rng.uniform(-0.9, 0.9, size=(3, 2, 2, 2))
    displacement = upsampled(control, (7, 6, 8))
    assert np.allclose(displacement[:, ::6, ::5, ::7], control, atol=1e-6)
    values, gradient = warp_channels(channels, displacement)
    place = np.clip(ramp + np.moveaxis(displacement, 0, -1), 0, [6, 5, 7])
    assert np.allclose(values[..., 0], place @ [1.0, 2.0, -0.5], atol=1e-4)
    assert np.allclose(values[..., 1], place[..., 1], atol=1e-4)
    inner = np.s_[:, 1:-1, 1:-1, 1:-1]
    assert np.allclose(gradient[inner], np.array([1.0, 2.0, -0.5])[:, None, None, None], atol=1e-4)


def test_modes_of_a_known_population_are_found():
    rng = np.random.default_rng(fresh_seed())
    axes, _ = np.linalg.qr(rng.normal(size=(60, 2)))
    codes = rng.normal(size=(50, 2)) * [5.0, 2.0]
    modes = principal_components((codes @ axes.T).astype(np.float32).reshape(50, 3, 4, 5), 8)
    assert modes.shape == (2, 3, 4, 5)
    covariance = np.tensordot(modes.reshape(2, -1), modes.reshape(2, -1), axes=(0, 0))
    assert np.allclose(covariance, axes @ (codes.T @ codes / 50) @ axes.T, atol=1e-3)


def test_a_levels_adjoint_and_its_unit_variance():
    rng = np.random.default_rng(fresh_seed())
    level = _Level((12, 9, 10), 4, 0.5)
    z, volume = rng.normal(size=level.size).astype(np.float32), rng.normal(size=(12, 9, 10)).astype(np.float32)
    assert np.vdot(level.up(z), volume) == pytest.approx(np.vdot(z, level.down(volume)), rel=1e-3, abs=1e-3)
    samples = np.stack([level.up(rng.normal(size=level.size).astype(np.float32)) for _ in range(300)])
    assert samples.std() == pytest.approx(0.5, rel=0.1)


def test_registration_finds_a_shift():
    """Balls at different places: registered, they are one sharp ball, and displacements say where each lies."""
    rng = np.random.default_rng(fresh_seed())
    places = rng.uniform(-2.5, 2.5, size=(6, 3))
    places -= places.mean(axis=0)
    axes = np.stack(np.meshgrid(*(np.arange(20) - 9.5,) * 3, indexing="ij"), axis=-1)
    balls = np.stack([1 / (1 + np.exp(2 * (np.linalg.norm(axes - place, axis=-1) - 5))) for place in places])
    told = []
    found = register(balls.astype(np.float32), levels=((2, 3, 60), (1, 5, 40)), progress=told.append)
    assert told[-1] == pytest.approx(1.0) and told == sorted(told)
    before = np.square(balls - balls.mean(axis=0)).mean()
    after = np.mean(
        [
            np.square(warp_channels(found.template[..., None], upsampled(u, (20, 20, 20)))[0][..., 0] - ball).mean()
            for u, ball in zip(found.displacement, balls, strict=True)
        ]
    )
    assert after < 0.05 * before


def test_the_residual_moves_where_the_prior_is_unsure_and_explains_the_radiographs():
    shape, matrix = (12, 12, 12), np.diag([0.02, 0.02, 0.02, 1.0])
    matrix[:3, 3] = -0.11
    truth = np.zeros(shape, np.float32)
    truth[3:9, 3:9, 3:9] = 20.0
    known = truth.copy()
    truth[5:7, 5:7, 5:7] = 40.0
    rays = RayMatrix([camera(0.0), camera(1.57)], shape, matrix)
    p = rays.project(truth)
    unsure = np.full(shape, 0.01, np.float32)
    unsure[4:8, 4:8, 4:8] = 10.0
    found = add_residual(known, unsure, rays, p, ResidualSettings(noise=0.02, steps=80))
    assert np.square(rays.project(found) - p).mean() < 0.02 * np.square(rays.project(known) - p).mean()
    assert np.abs(found - known)[unsure < 1].max() < 0.3
    assert np.square(found - truth).mean() < 0.5 * np.square(known - truth).mean()
    peer = optimise_voxels(known, rays, p, ResidualSettings(noise=0.02, tv=0.02, steps=80))
    assert np.square(rays.project(peer) - p).mean() < 0.05 * np.square(rays.project(known) - p).mean()
    assert peer.min() >= 0
