"""The attenuation field of hashed levels: kernels against torch and finite differences, threads, and its layout."""

import numpy as np
import pytest
import torch

from nerf_core.fields.attenuation import AttenuationSettings
from nerf_core.fields.attenuation_levels import SECTIONS, Levels
from nerf_core.kernels.attenuation_levels import BRICK
from nerf_core.kernels.cpu.attenuation_hash import CpuHashAttenuation
from nerf_core.kernels.reference.attenuation import total_variation
from nerf_core.kernels.reference.attenuation_hash import TorchHashAttenuation

from ..seeds import fresh_seed
from .test_attenuation_kernels import GRID, SHAPE, radiographs, random_rays

SMALL = {"grid": "hash", "levels": 2, "log2_table_size": 10}
FINE = (17, 18, 20)
"""Nodes of which tables of 1024 rows hold the middle level's each, and hash the finest's."""


def both(
    rng: np.random.Generator, per_view: bool = False, shape: tuple[int, int, int] = SHAPE, **settings: float
) -> tuple[CpuHashAttenuation, TorchHashAttenuation]:
    """The same field on the kernels and in torch; about a third of it is below zero."""
    made = AttenuationSettings(**{**SMALL, **settings, "shape": shape})  # type: ignore[arg-type]
    weights = np.array([1.0, 0.9, 1.2])
    backends = CpuHashAttenuation(made, weights, 7, threads=2), TorchHashAttenuation(made, weights, 7)
    numbers = rng.normal(0.0, 0.3, backends[0].layout.size).astype(np.float32)
    numbers[: backends[0].layout.dense] += 0.3
    data = radiographs(rng, per_view)
    data.scale[:] = data.scale * np.array(shape) / SHAPE
    data.offset[:] = (data.offset + 0.5) * np.array(shape) / SHAPE - 0.5
    for backend in backends:
        backend.set_numbers(numbers)
        backend.load(data)
    return backends


def test_rows() -> None:
    """No row is of two levels or of two layers in different sections; where a table is large enough, of one node."""
    layout = Levels.of((40, 32, 50), 2, 13)
    arrays = layout.arrays
    assert layout.coarse == (10, 8, 12) and arrays.masks.tolist() == [-1, -1, 2**13 // SECTIONS - 1]
    seen: dict[int, tuple[int, int]] = {}
    for level, first, last in arrays.tasks:
        x, y, z = np.meshgrid(
            *map(np.arange, arrays.counts[level, :2]), np.arange(first, last), indexing="ij", sparse=True
        )
        mask = arrays.masks[level]
        inside = x * arrays.strides[level, 0] + y * arrays.strides[level, 1]
        if mask >= 0:
            inside = (x ^ y * 2654435761 ^ z * 805459861) & mask
        rows = (arrays.bases[level][z] + inside).reshape(-1)
        assert mask >= 0 or len(np.unique(rows)) == len(rows)
        for row in np.unique(rows).tolist():
            assert seen.setdefault(row, (level, first)) == (level, first)
    assert min(seen) == 0 and max(seen) < layout.size
    # Most rows of the hashed table are somebody's.
    assert len(seen) > 0.9 * layout.size


@pytest.mark.parametrize("shape", [SHAPE, FINE])
def test_line_integrals_and_queries_are_torch_s(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(fresh_seed())
    kernels, plain = both(rng, shape=shape)
    origins, directions = (array.copy() for array in GRID.rays(*random_rays(rng, 200)))
    origins, directions = (
        ((origins + 0.5) * np.array(shape) / SHAPE - 0.5).astype(np.float32),
        (directions * np.array(shape) / SHAPE).astype(np.float32),
    )
    limits = np.sort(rng.uniform(0.0, 30.0, (200, 2)), axis=1).astype(np.float32)
    for within in (None, limits):
        found, wanted = kernels.integrate(origins, directions, within), plain.integrate(origins, directions, within)
        assert (wanted[:, 0] > 0).sum() > 20
        np.testing.assert_allclose(found[:, :2], wanted[:, :2], rtol=2e-4, atol=2e-3)
    positions = rng.uniform(-0.5, np.array(shape) - 0.5, (500, 3)).astype(np.float32)
    found, wanted = kernels.query(positions), plain.query(positions)
    assert found.min() == 0.0
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert kernels.values.shape == shape
    np.testing.assert_allclose(kernels.values, plain.values, atol=2e-5)


@pytest.mark.parametrize("tv", [0.0, 5.0])
@pytest.mark.parametrize("per_view", [False, True])
@pytest.mark.parametrize("shape", [SHAPE, FINE])
def test_gradients_are_torch_s(tv: float, per_view: bool, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(fresh_seed())
    kernels, plain = both(rng, per_view, shape, tv=tv)
    if per_view:
        kernels.affine[:] = plain.affine[:] = rng.uniform(0.5, 1.5, (4, 2))
    chosen = np.sort(rng.integers(0, 4 * 144, 300))
    (found, stats), (wanted, plain_stats) = kernels.gradients(chosen), plain.gradients(chosen)
    # A sum next to zero may be below it on one side alone.
    close = np.abs(found - wanted) < 3e-4 * np.abs(wanted).max()
    assert close.mean() > 0.9
    np.testing.assert_allclose(stats[:2], plain_stats[:2], rtol=1e-3)


def test_torch_s_gradients_are_finite_differences() -> None:
    rng = np.random.default_rng(fresh_seed())
    _, plain = both(rng, shape=FINE, tv=5.0)
    chosen = np.sort(rng.integers(0, 4 * 144, 64))
    gradient, _ = plain.gradients(chosen)
    values = plain._values.double()
    for _ in range(4):
        direction = torch.from_numpy(rng.normal(size=len(gradient)))
        step = 1e-5
        with torch.no_grad():
            ahead = sum(float(loss) for loss, _ in plain.losses(values + step * direction, chosen))
            behind = sum(float(loss) for loss, _ in plain.losses(values - step * direction, chosen))
        slope = float((torch.from_numpy(gradient).double() * direction).sum())
        size = float(np.linalg.norm(gradient))
        assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=1e-2 * size)


def test_bricks_are_all_of_total_variation_on_average() -> None:
    rng = np.random.default_rng(fresh_seed())
    kernels, plain = both(rng, shape=FINE, tv=5.0)
    weight, soft = kernels.smoothing
    whole = weight * float(total_variation(torch.from_numpy(plain.values), plain._weights, soft))
    found = []
    for step in range(60):
        plain.step = step
        found += [float(loss) for loss, part in plain.losses(plain._values, np.arange(4)) if part is None]
    assert np.mean(found) == pytest.approx(whole, abs=5 * np.std(found) / np.sqrt(60))
    assert np.mean(found) == pytest.approx(whole, rel=0.25) and BRICK == 8


def test_steps_are_torch_s() -> None:
    rng = np.random.default_rng(fresh_seed())
    kernels, plain = both(rng, per_view=True, rays_per_step=200)
    for progress in (0.0, 0.3, 0.6):
        kernels.train_step(progress)
        plain.train_step(progress)
    # A sum next to zero may be below it on one side alone, and Adam makes whole steps of what little that is.
    assert np.quantile(np.abs(kernels.numbers - plain.numbers), 0.9) < 2e-3
    np.testing.assert_allclose(kernels.affine, plain.affine, rtol=3e-2, atol=3e-2)


def test_threads_change_nothing() -> None:
    seed = fresh_seed()
    fields = []
    for threads in (1, 3):
        backend = CpuHashAttenuation(
            AttenuationSettings(**SMALL, shape=(12, 14, 40), rays_per_step=300), np.ones(3), 3, threads
        )
        backend.set_values(np.full(backend.first_shape, 0.1, np.float32))
        data = radiographs(np.random.default_rng(seed))
        data.scale[:] = data.scale * np.array([12, 14, 40]) / SHAPE
        data.offset[:] = (data.offset + 0.5) * np.array([12, 14, 40]) / SHAPE - 0.5
        backend.load(data)
        for _ in range(4):
            backend.train_step(0.2)
        fields.append(backend.numbers)
    assert np.ptp(fields[0][-1000:]) > 0
    np.testing.assert_array_equal(*fields)


def test_a_coarse_level_alone_is_a_dense_grid() -> None:
    """What is set is met at the coarse level's nodes, and between them nothing else is added."""
    rng = np.random.default_rng(fresh_seed())
    kernels, _ = both(rng, shape=FINE)
    values = rng.uniform(0.1, 0.5, kernels.first_shape).astype(np.float32)
    kernels.set_values(values)
    ratios = kernels.layout.arrays.ratios[0]
    nodes = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    found = kernels.query(((nodes + 0.5) / ratios - 0.5).astype(np.float32))
    np.testing.assert_allclose(found.reshape(values.shape), values, atol=1e-5)
    assert kernels.peak() == pytest.approx(values.max(), rel=1e-5)


def test_what_is_kept_goes_on() -> None:
    rng = np.random.default_rng(fresh_seed())
    first, _ = both(rng, per_view=True, rays_per_step=128)
    for _ in range(3):
        first.train_step(0.1)
    other = CpuHashAttenuation(first.settings, first.weights, first.seed)
    other.load_arrays(first.arrays(), first.step)
    assert first.radiographs is not None
    other.load(first.radiographs)
    for _ in range(2):
        first.train_step(0.5)
        other.train_step(0.5)
    np.testing.assert_allclose(other.numbers, first.numbers, atol=1e-6)
