"""The numba kernels' fine operations against the torch oracle, on fresh random inputs."""

import numpy as np
import pytest
import torch

from nerf_core.contract.camera import Camera
from nerf_core.fields.hash_grid import FastLayout
from nerf_core.kernels.cpu import forward, march, occupancy, optimiser, products, rays
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.cpu.encoding import encode, scatter_level
from nerf_core.kernels.cpu.harmonics import spherical_harmonics
from nerf_core.kernels.cpu.structures import GROUP, level_array
from nerf_core.kernels.reference import field, volume
from nerf_core.kernels.reference import optimiser as reference_optimiser
from nerf_core.kernels.views import view_arrays

from .fast_field import NORMALISATION, SMALL, ball_views, fresh_seed, random_parameters, random_rays, state_arrays

LAYOUT = FastLayout.from_settings(SMALL)


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def points(generator, count):
    """Random positions, with corners and faces of the cube among them."""
    positions = generator.uniform(0, 1, (count, 3)).astype(np.float32)
    positions[:3] = [[0, 0, 0], [1, 1, 1], [1, 0.5, 0]]
    return positions


def test_levels_are_of_both_kinds():
    assert LAYOUT.dense.tolist() == [True, True, False, False]
    assert (LAYOUT.offsets * 4 % 16 == 0).all()


@pytest.mark.parametrize("rows, inner, columns", [(16, 32, 64), (48, 64, 16), (32, 3, 48), (16, 17, 80), (32, 0, 16)])
def test_product(generator, rows, inner, columns):
    a = generator.normal(size=(rows, inner)).astype(np.float32)
    b = generator.normal(size=(inner, columns)).astype(np.float32)
    c = generator.normal(size=(rows, columns + 16)).astype(np.float32)
    expected = c.copy()
    expected[:, :columns] += a @ b
    where = [array.ctypes.data for array in (a, b, c)]
    products.product(where[0], inner, 1, where[1], where[2], columns + 16, rows, columns, inner, 1, products.LOWEST)
    np.testing.assert_allclose(c, expected, atol=2e-5)
    products.product(where[0], inner, 1, where[1], where[2], columns + 16, rows, columns, inner, 0, np.float32(0))
    expected[:, :columns] = np.maximum(a @ b, 0)
    np.testing.assert_allclose(c, expected, atol=2e-5)


def test_product_of_the_transpose(generator):
    x = generator.normal(size=(37, 48)).astype(np.float32)
    dy = generator.normal(size=(37, 64)).astype(np.float32)
    gradient = np.zeros((48, 64), np.float32)
    products.weight_gradient(x.ctypes.data, 48, dy.ctypes.data, gradient.ctypes.data, 37, 48, 64)
    np.testing.assert_allclose(gradient, x.T @ dy, atol=3e-5)


def test_encode_and_its_gradient(generator):
    parameters = random_parameters(LAYOUT, generator)
    positions = points(generator, 500)
    encoded = np.zeros((512, 16), np.float32)
    encode(parameters["table"], level_array(LAYOUT), positions, 500, encoded)
    table = torch.from_numpy(parameters["table"]).requires_grad_()
    expected = field.encode(LAYOUT, table, torch.from_numpy(positions))
    np.testing.assert_allclose(encoded[:500], expected.detach().numpy(), atol=1e-6)
    assert not encoded[500:].any()

    mix = generator.normal(size=(500, 16)).astype(np.float32)
    (torch.from_numpy(mix) * expected).sum().backward()
    gradient = np.zeros_like(parameters["table"])
    rows = np.diff(LAYOUT.offsets)
    for level in range(4):
        part = np.ascontiguousarray(mix[:, 4 * level : 4 * level + 4])
        middle = int(rows[level]) // 2
        for low, high in ((0, middle), (middle, int(rows[level]))):
            scatter_level(level_array(LAYOUT), level, positions, part, 500, gradient, low, high)
    np.testing.assert_allclose(gradient, table.grad.numpy(), atol=1e-5)


def test_harmonics(generator):
    directions = generator.normal(size=(50, 3))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    expected = field.spherical_harmonics(torch.from_numpy(directions)).numpy()
    out = np.zeros(16, np.float32)
    for direction, row in zip(directions, expected, strict=True):
        spherical_harmonics(direction, out)
        np.testing.assert_allclose(out, row, atol=1e-6)


def test_networks(generator):
    backend = CpuBackend(SMALL, NORMALISATION.unit_bounds, 0, threads=1)
    parameters = random_parameters(LAYOUT, generator)
    backend.load_arrays(state_arrays(backend, parameters))
    tensors = {name: torch.from_numpy(array) for name, array in parameters.items()}
    encoded = generator.normal(size=(112, 16)).astype(np.float32)
    hidden, out = np.zeros((112, 32), np.float32), np.zeros((112, 16), np.float32)
    forward.density_network(backend._field, encoded, hidden, out, 100)
    expected = field.density_network(tensors, torch.from_numpy(encoded))
    np.testing.assert_allclose(out[:100], expected[:100].numpy(), atol=1e-5)
    inputs = generator.normal(size=(112, 32)).astype(np.float32)
    hidden, color = np.zeros((112, 48), np.float32), np.zeros((112, 16), np.float32)
    forward.color_network(backend._field, inputs, hidden, color, 100)
    split = torch.from_numpy(inputs)
    expected = field.color_network(tensors, split[:, :16], split[:, 16:])
    np.testing.assert_allclose(color[:100, :3], expected[:100].numpy(), atol=1e-5)


def test_query_with_more_points_than_a_block(generator):
    backend = CpuBackend(SMALL, NORMALISATION.unit_bounds, 0)
    parameters = random_parameters(LAYOUT, generator)
    backend.load_arrays(state_arrays(backend, parameters))
    positions = points(generator, 1501)
    directions = generator.normal(size=(1501, 3))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    density, color = backend.query(positions, directions)
    tensors = {name: torch.from_numpy(array) for name, array in parameters.items()}
    expected = field.query(LAYOUT, tensors, torch.from_numpy(positions), torch.from_numpy(directions))
    np.testing.assert_allclose(density, expected[0].numpy(), rtol=1e-4)
    np.testing.assert_allclose(color, expected[1].numpy(), atol=1e-5)


def test_march_finds_the_occupied_lattice_points(generator):
    """Skipping blocks and cells may lose nothing and add nothing."""
    backend = CpuBackend(SMALL, NORMALISATION.unit_bounds, 0)
    values = generator.uniform(0, 1, (16, 16, 16)) < 0.1
    values[4:12, 4:8, 0:8] = False  # some blocks are wholly empty
    arrays = backend.arrays()
    arrays["occupancy/values"] = np.where(arrays["occupancy/values"] < 0, -1, 1e3 * values).astype(np.float32)
    backend.load_arrays(arrays)
    origins, directions = random_rays(generator, 400)
    counts, positions, distances, intervals = backend.march(origins, directions)
    assert intervals.shape == distances.shape and (intervals == np.float32(backend.fine_step)).all()
    cells = torch.from_numpy(backend.occupied)
    expected = volume.march(
        *(torch.from_numpy(a) for a in (origins, directions, backend.box)),
        cells,
        backend.fine_step,
        torch.full((400,), 0.5),
    )
    wanted = torch.bincount(expected.ray, minlength=400).numpy()
    assert (counts[::8] == 0).all() and counts.sum() > 400
    # A lattice point that lies on a cell's wall to within rounding may fall on either side.
    assert np.abs(counts - wanted).sum() <= 0.002 * counts.sum()
    same = np.flatnonzero(counts == wanted)
    mine = np.concatenate([distances[s : s + c] for s, c in zip(np.cumsum(counts) - counts, counts, strict=True)])
    assert len(mine) == len(distances)
    ray = np.repeat(np.arange(400), counts)
    np.testing.assert_allclose(
        distances[np.isin(ray, same)], expected.distance[np.isin(expected.ray.numpy(), same)].numpy(), atol=2e-5
    )
    low, high = backend.box
    assert (positions >= low - 1e-5).all() and (positions <= high + 1e-5).all()


def test_clip_to_box(generator):
    box = np.array([[0, 0, 0], [1, 0.5, 1]], np.float32)
    clip = lambda o, d: march.clip_to_box(np.array(o, np.float32), np.array(d, np.float32), box)  # noqa: E731
    assert clip([-1, 0.25, 0.5], [1, 0, 0]) == pytest.approx((1, 2))
    assert clip([0.5, 0.25, 0.5], [0, 0, -1]) == pytest.approx((0, 0.5))
    for o, d in (([-1, 0.75, 0.5], [1, 0, 0]), ([2, 0.25, 0.5], [1, 0, 0]), ([-1, 0.25, 0.5], [0, 0, 1])):
        near, far = clip(o, d)
        assert not near < far


def test_adam(generator):
    size = 160
    value = generator.normal(size=size).astype(np.float32)
    expected = torch.from_numpy(value.copy())
    first, second = np.zeros(size, np.float32), np.zeros(size, np.float32)
    others = torch.zeros(size), torch.zeros(size)
    for step in range(1, 8):
        gradient = generator.normal(size=size).astype(np.float32) * 10.0 ** generator.integers(-8, 2)
        gradient[generator.integers(0, 10) * 16 :][:16] = 0
        gradient[3] = -0.0
        reference_optimiser.adam(expected, *others, torch.from_numpy(gradient.copy()), 0.01, 0.9, 0.99, 1e-15, step)
        assert optimiser.adam(value, first, second, gradient, 0, size, 0.01, 0.9, 0.99, 1e-15, step) == 9
        assert not gradient.any()
    np.testing.assert_allclose(value, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(second, others[1].numpy(), rtol=1e-5)


def test_pixel_rays_are_the_cameras(generator):
    """Pinhole, distorted and orthographic views of different sizes, against `Camera.rays`."""
    views = ball_views(6, 20)
    panorama = Camera(32, 16, 32 / (2 * np.pi), 16 / np.pi, 16, 8, kind="panoramic")
    views.views.append(type(views.views[0])("panorama", panorama, np.zeros((16, 32, 4), np.uint8)))
    arrays = view_arrays(views, NORMALISATION)
    assert len(set(arrays.kinds.tolist())) == 3
    from nerf_core.kernels.reference.pixels import Pixels

    reference = Pixels(arrays, True, torch.device("cpu"))
    origin, direction = np.zeros(3, np.float32), np.zeros(3, np.float32)
    for index, view in enumerate(views.views):
        o, d = view.camera.rays()
        o, d = NORMALISATION.to_unit(o.reshape(-1, 3)), d.reshape(-1, 3)
        for pixel in generator.choice(len(o), 40, replace=False):
            rays.pixel_ray(arrays, index, pixel, origin, direction)
            np.testing.assert_allclose(origin, o[pixel], atol=1e-5)
            np.testing.assert_allclose(direction, d[pixel], atol=1e-5)
            other = reference.rays(torch.tensor([arrays.starts[index] + pixel]))
            np.testing.assert_allclose(other[0][0].numpy(), o[pixel], atol=1e-5)
            np.testing.assert_allclose(other[1][0].numpy(), d[pixel], atol=1e-5)


def test_random_pixels_are_uniform_and_composited():
    views = ball_views(3, 16)
    arrays = view_arrays(views, NORMALISATION)
    total = int(arrays.starts[-1])
    seen = np.zeros(total)
    means, jitters = [], []
    group = CpuBackend(SMALL, NORMALISATION.unit_bounds, 0, threads=1)._scratch[0].rays
    straight = arrays.pixels / 255.0
    for first in range(0, 20 * total, GROUP):
        rays.random_pixels(arrays, 7, 3, first, GROUP, True, group)
        chosen = arrays.starts[group.chosen_view] + group.chosen_pixel
        np.add.at(seen, chosen, 1)
        if first < 1000:
            alpha = straight[chosen, 3:]
            expected = straight[chosen, :3] * alpha + group.background * (1 - alpha)
            np.testing.assert_allclose(group.target, expected, atol=1e-6)
            means.append(group.background.copy())
            jitters.append(group.jitter.copy())
            rays.random_pixels(arrays, 7, 3, first, GROUP, False, group)
            assert not group.background.any()
            np.testing.assert_allclose(group.target, straight[chosen, :3] * alpha, atol=1e-6)
    assert seen.min() > 0 and seen.max() < 60
    background, jitter = np.concatenate(means), np.concatenate(jitters)
    for values in (background, jitter):
        assert values.min() >= 0 and values.max() < 1
    assert background.mean(axis=0) == pytest.approx([0.5] * 3, abs=0.08) and jitter.mean() == pytest.approx(
        0.5, abs=0.05
    )
    together = np.column_stack([background, jitter])
    assert np.abs(np.corrcoef(together.T) - np.eye(4)).max() < 0.2


def test_distances_to_occupied_cells(generator):
    """No more than the true Chebyshev distance, which skipping relies on, and as much except near the grid's faces."""
    side = 24
    occupied = generator.uniform(size=(side, side, side)) < 0.002
    occupied[5, 6, 7] = True
    words = np.zeros((2, side**3 // 8), np.uint64)
    words[0].view(np.uint8)[:] = occupied.reshape(-1)
    away = np.zeros(side**3 // 8, np.uint64)
    occupancy.spread_distance(away, words[0], words[1], side)
    away = away.view(np.uint8).reshape(occupied.shape)
    where = np.argwhere(occupied)
    all_cells = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    true = np.concatenate([np.abs(part - where).max(axis=-1).min(axis=-1) for part in np.array_split(all_cells, 8)])
    true = np.minimum(true.reshape(occupied.shape), march.FARTHEST)
    assert (away <= true).all() and ((away == 0) == occupied).all()
    inner = (true > 0) & (all_cells.reshape(*occupied.shape, 3) - true[..., None] >= 0).all(axis=-1)
    inner &= (all_cells.reshape(*occupied.shape, 3) + true[..., None] < side).all(axis=-1)
    assert inner.any() and (away == true)[inner].all()


def test_box_is_what_the_normalisation_says():
    assert NORMALISATION.unit_bounds[1] == pytest.approx([1, 1, 0.875])
    backend = CpuBackend(SMALL, NORMALISATION.unit_bounds, 0, threads=1)
    outside = backend.arrays()["occupancy/values"] < 0
    assert outside[:2].all() and outside[14:].all() and not outside[2:14].any()
