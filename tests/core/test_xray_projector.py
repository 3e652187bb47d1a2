"""Line integrals through voxels: against closed forms, against plain torch, and against their own transpose."""

import numpy as np
import pytest
import torch

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import Cancelled, NerfError
from nerf_core.xray.projector import MODELS, backproject_volume, project_camera, project_volume
from nerf_core.xray.torch_projector import Rays, backproject, project, project_reference

from ..seeds import fresh_seed

SHAPE = (11, 9, 14)


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def random_matrix(generator, skew=True):
    """World from index: some turn, some voxel sizes, some place; with `skew` no box any more."""
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(generator.uniform(0.05, 0.3, 3))
    if skew:
        matrix[:3, :3] += generator.normal(0.0, 0.01, (3, 3))
    matrix[:3, 3] = generator.normal(size=3)
    return matrix


def random_rays(generator, matrix, count=400):
    """World rays that pass the volume: from outside, from inside, and along its axes through centres and faces."""
    sizes = np.array(SHAPE)
    start = generator.uniform(-1.5, 2.5, (count, 3)) * sizes
    start[::5] = generator.uniform(0, 1, start[::5].shape) * sizes
    goal = generator.uniform(-0.2, 1.2, (count, 3)) * sizes
    along = np.arange(count) % 7 == 0
    start[along] = np.round(2 * start[along]) / 2  # centres and faces
    goal[along] = start[along] + 50 * np.eye(3)[generator.integers(0, 3, along.sum())]
    world = [points @ matrix[:3, :3].T + matrix[:3, 3] for points in (start, goal)]
    directions = world[1] - world[0]
    return world[0], directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_siddon_is_exact_for_constant_voxels(generator):
    """Each ray's sum over dense samples of the voxel that each lies in."""
    matrix = random_matrix(generator)
    mu = generator.uniform(0, 1, SHAPE).astype(np.float32)
    origins, directions = random_rays(generator, matrix, 60)
    found = project_volume(mu, matrix, origins, directions, "siddon")
    inverse = np.linalg.inv(matrix)
    reach = 2.0 * np.linalg.norm(matrix[:3, :3] @ SHAPE) + np.linalg.norm(origins - matrix[:3, 3], axis=1).max()
    t = (np.arange(200_000) + 0.5) * (reach / 200_000)
    for ray in range(0, 60, 2):
        places = (origins[ray] + t[:, None] * directions[ray]) @ inverse[:3, :3].T + inverse[:3, 3]
        cells = np.floor(places + 0.5).astype(int)
        inside = np.all((cells >= 0) & (cells < SHAPE), axis=1)
        faces = np.abs(places + 0.5 - np.round(places + 0.5)).min(axis=1)[inside]
        if inside.any() and np.median(faces) < 1e-9:
            continue  # it runs within a face: either voxel is right
        expected = mu[tuple(cells[inside].T)].sum() * (reach / 200_000)
        assert found[ray] == pytest.approx(expected, abs=60 * reach / 200_000)


@pytest.mark.parametrize("model", MODELS)
def test_a_constant_box_gives_chord_lengths(generator, model):
    """Through two opposite faces, where Joseph's planes fill the box too."""
    matrix = random_matrix(generator, skew=False)
    mu = np.full(SHAPE, 2.5, np.float32)
    inner = generator.uniform(1.0, np.array(SHAPE) - 2.0, (200, 3))
    outer = inner.copy()
    inner[:, 2], outer[:, 2] = -3.0, SHAPE[2] + 2.0
    world = [points @ matrix[:3, :3].T + matrix[:3, 3] for points in (inner, outer)]
    directions = world[1] - world[0]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = project_volume(mu, matrix, world[0], directions, model)
    along = directions @ (matrix[:3, 2] / np.linalg.norm(matrix[:3, 2]))
    np.testing.assert_allclose(found, 2.5 * SHAPE[2] * np.linalg.norm(matrix[:3, 2]) / along, rtol=1e-5)


def test_joseph_equals_plain_torch(generator):
    matrix = random_matrix(generator)
    mu = torch.as_tensor(generator.uniform(0, 1, SHAPE))
    rays = Rays.of(*random_rays(generator, matrix))
    expected = project_reference(mu, matrix, rays)
    found = project(mu.float(), matrix, rays)
    assert expected.max() > 0.2 and (expected == 0).any()
    # A ray that begins in a plane of centres has its first sample or has it not.
    inverse = np.linalg.inv(matrix)
    starts = rays.origins @ inverse[:3, :3].T + inverse[:3, 3]
    plain = np.abs(starts - np.round(starts)).min(axis=1) > 1e-6
    np.testing.assert_allclose(found[plain], expected[plain], atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_ray_ends_at_its_origin(generator, model):
    """Two halves of a line make the whole; voxels of one value each, seen from within."""
    matrix = random_matrix(generator)
    mu = generator.uniform(0, 1, SHAPE).astype(np.float32)
    middle = generator.uniform(1, np.array(SHAPE) - 2, (100, 3)) @ matrix[:3, :3].T + matrix[:3, 3]
    directions = generator.normal(size=(100, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ahead, behind = (project_volume(mu, matrix, middle, sign * directions, model) for sign in (1, -1))
    whole = project_volume(mu, matrix, middle - 100 * directions, directions, model)
    np.testing.assert_allclose(ahead + behind, whole, rtol=1e-4, atol=1e-5)
    assert project_volume(mu, matrix, middle + 100 * directions, directions, model).max() == 0


@pytest.mark.parametrize("model", MODELS)
def test_the_backprojector_is_the_transpose(generator, model):
    matrix = random_matrix(generator)
    mu = generator.normal(size=SHAPE).astype(np.float32)
    origins, directions = random_rays(generator, matrix, 1000)
    values = generator.normal(size=1000)
    forward = project_volume(mu, matrix, origins, directions, model).astype(np.float64)
    back = backproject_volume(values, SHAPE, matrix, origins, directions, model)
    assert np.abs(back).max() > 0
    scale = np.linalg.norm(forward) * np.linalg.norm(values)
    assert abs(forward @ values - np.sum(back.astype(np.float64) * mu)) < 1e-5 * scale
    again = backproject_volume(values, SHAPE, matrix, origins, directions, model)
    np.testing.assert_array_equal(back, again)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_reach_volume_and_values(generator, model):
    matrix = random_matrix(generator)
    rays = Rays.of(*random_rays(generator, matrix, 50))
    volume = torch.as_tensor(generator.uniform(0, 1, SHAPE).astype(np.float32)).requires_grad_()
    truth = torch.as_tensor(generator.uniform(0, 1, 50).astype(np.float32))
    loss = ((project(volume, matrix, rays, model) - truth) ** 2).sum()
    (gradient,) = torch.autograd.grad(loss, volume)
    change = torch.as_tensor(generator.normal(size=SHAPE).astype(np.float32))
    moved = [((project(volume + h * change, matrix, rays, model) - truth) ** 2).sum().item() for h in (0.05, -0.05)]
    assert (moved[0] - moved[1]) / 0.1 == pytest.approx((gradient * change).sum().item(), rel=1e-3, abs=1e-3)
    values = truth.clone().requires_grad_()
    (back,) = torch.autograd.grad((backproject(values, SHAPE, matrix, rays, model) * change).sum(), values)
    np.testing.assert_allclose(back, project(change, matrix, rays, model).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("up", [(0, 0, 1.0), (1.0, 0, 0)])
def test_a_camera_sees_its_pixels_rays(generator, up):
    matrix = random_matrix(generator)
    mu = generator.uniform(0, 1, SHAPE).astype(np.float32)
    center = matrix[:3, :3] @ (0.5 * np.array(SHAPE)) + matrix[:3, 3]
    camera = Camera(12, 7, 20.0, 21.0, 6.0, 3.0, look_at(center + generator.normal(size=3) * 3, center, up))
    told = []
    picture = project_camera(mu, matrix, camera, "siddon", on_progress=told.append)
    origins, directions = camera.rays()
    assert picture.shape == (7, 12) and picture.dtype == np.float32 and told[-1] == 1.0 and picture.max() > 0
    rays = origins.reshape(-1, 3), directions.reshape(-1, 3)
    np.testing.assert_array_equal(picture.ravel(), project_volume(mu, matrix, *rays, "siddon"))
    with pytest.raises(Cancelled):
        project_camera(mu, matrix, camera, should_stop=lambda: True)


def test_what_cannot_be_projected_is_told():
    ray = np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]])
    with pytest.raises(NerfError, match="invertible"):
        project_volume(np.ones((2, 2, 2)), np.zeros((4, 4)), *ray)
    with pytest.raises(NerfError, match="shape"):
        project_volume(np.ones((2, 2)), np.eye(4), *ray)
    with pytest.raises(NerfError, match="not known"):
        project_volume(np.ones((2, 2, 2)), np.eye(4), *ray, "cubic")
    with pytest.raises(NerfError, match="one value a ray"):
        backproject_volume(np.ones(2), (2, 2, 2), np.eye(4), *ray)
    # A ray without a direction sees nothing, and a volume of one voxel is one.
    assert project_volume(np.ones((1, 1, 1)), np.eye(4), np.zeros((1, 3)), np.zeros((1, 3)))[0] == 0
    through = project_volume(np.ones((1, 1, 1)), np.eye(4), np.array([[0, 0, -3.0]]), ray[1], "siddon")
    assert through[0] == pytest.approx(1.0)
