"""The attenuation kernels against plain torch, its gradients against finite differences, and both against geometry."""

import math

import numpy as np
import pytest
import torch

from nerf_core.contract.camera import Camera, look_at
from nerf_core.fields.attenuation import AttenuationSettings, NodeGrid
from nerf_core.kernels.attenuation import BETAS, AttenuationBackend, Noise, Radiographs
from nerf_core.kernels.cpu.attenuation import CpuAttenuation
from nerf_core.kernels.reference.attenuation import TorchAttenuation, line_integrals
from nerf_core.kernels.views import camera_arrays
from nerf_core.methods.base import Normalisation

from ..seeds import fresh_seed

BOUNDS = np.array([[-1.0, -0.5, 0.0], [0.5, 1.0, 1.2]])
SHAPE = (10, 9, 7)
GRID = NodeGrid(BOUNDS, SHAPE)
NOISE = Noise(1e4, 10.0, 0.02, 1.7)


def random_rays(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """World rays that mostly meet the box, some along an axis, some from inside it, some not meeting it at all."""
    origins = rng.normal(0.0, 3.0, (count, 3))
    origins[: count // 4] = rng.uniform(BOUNDS[0], BOUNDS[1], (count // 4, 3))
    aims = rng.uniform(BOUNDS[0] - 0.3, BOUNDS[1] + 0.3, (count, 3))
    directions = aims - origins
    along = np.eye(3)[rng.integers(0, 3, count // 8)] * rng.choice([-1.0, 1.0], (count // 8, 1))
    directions[-len(along) :] = along
    return origins, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def radiographs(rng: np.random.Generator, per_view: bool = False, pixels: int = 12) -> Radiographs:
    """Four views of the box, with any numbers as line integrals."""
    center = BOUNDS.mean(axis=0)
    cameras = [
        Camera(
            width=pixels,
            height=pixels,
            fl_x=1.4 * pixels,
            fl_y=1.4 * pixels,
            cx=pixels / 2,
            cy=pixels / 2,
            c2w=look_at(center + 3.0 * np.array([math.sin(a), -math.cos(a), 0.3]), center),
        )
        for a in (0.1, 1.3, 2.9, 4.4)
    ]
    normalisation = Normalisation(BOUNDS)
    spacing = GRID.spacing * normalisation.scale
    arrays = camera_arrays(cameras, normalisation)
    return Radiographs(
        views=arrays,
        chosen=np.arange(arrays.starts[-1]),
        targets=rng.uniform(0.0, 4.0, arrays.starts[-1]).astype(np.float32),
        scale=(1.0 / spacing).astype(np.float32),
        offset=(-normalisation.unit_bounds[0] / spacing - 0.5).astype(np.float32),
        cell=GRID.cell * normalisation.scale,
        noise=NOISE,
        reference=0.2,
        window=4.0,
        per_view=per_view,
    )


def both(
    rng: np.random.Generator, per_view: bool = False, **settings: float
) -> tuple[CpuAttenuation, TorchAttenuation]:
    """The same field on the kernels and in torch."""
    made = AttenuationSettings(shape=SHAPE, **settings)  # type: ignore[arg-type]
    weights = GRID.cell / GRID.spacing
    backends = CpuAttenuation(made, weights, 7, threads=2), TorchAttenuation(made, weights, 7)
    values = rng.uniform(0.0, 0.5, SHAPE).astype(np.float32)
    values[rng.random(SHAPE) < 0.2] = 0.0
    data = radiographs(rng, per_view)
    for backend in backends:
        backend.set_values(values)
        backend.load(data)
    return backends


def test_line_integrals_are_torch_s() -> None:
    rng = np.random.default_rng(fresh_seed())
    kernels, plain = both(rng)
    origins, directions = GRID.rays(*random_rays(rng, 400))
    limits = np.sort(rng.uniform(0.0, 30.0, (400, 2)), axis=1).astype(np.float32)
    for within in (None, limits):
        found, wanted = kernels.integrate(origins, directions, within), plain.integrate(origins, directions, within)
        assert (wanted[:, 0] > 0).sum() > 40
        # A sample whose share of a ray is next to nothing may be counted on one side alone.
        np.testing.assert_allclose(found[:, :2], wanted[:, :2], rtol=2e-4, atol=2e-4)
        assert np.abs(found[:, 2] - wanted[:, 2]).max() <= 2


def test_limits_that_meet_find_the_whole() -> None:
    rng = np.random.default_rng(fresh_seed())
    kernels, _ = both(rng)
    origins, directions = GRID.rays(*random_rays(rng, 200))
    cut = rng.uniform(0.0, 25.0, 200)
    zero, far = np.zeros(200), np.full(200, 1e30)
    whole = kernels.integrate(origins, directions)
    front = kernels.integrate(origins, directions, np.stack([zero, cut], axis=1).astype(np.float32))
    back = kernels.integrate(origins, directions, np.stack([cut, far], axis=1).astype(np.float32))
    np.testing.assert_allclose(front[:, 0] + back[:, 0], whole[:, 0], atol=2e-4)


def test_an_even_field_is_its_rays_length() -> None:
    """Whatever the direction, the samples' lengths sum to what of a ray lies in the box."""
    rng = np.random.default_rng(fresh_seed())
    kernels, _ = both(rng)
    kernels.set_values(np.full(SHAPE, 0.3, np.float32))
    origins, directions = random_rays(rng, 300)
    d = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    a, b = (BOUNDS[0] - origins) / d, (BOUNDS[1] - origins) / d
    length = np.maximum(np.maximum(a, b).min(axis=1) - np.maximum(np.minimum(a, b).max(axis=1), 0.0), 0.0)
    found = kernels.integrate(*GRID.rays(origins, directions))
    np.testing.assert_allclose(found[:, 0], 0.3 * length / GRID.cell, atol=2e-4)


def test_a_linear_field_is_integrated_exactly() -> None:
    """Between the outer nodes a linear field is what it says, and its integral the middle's value times the length."""
    rng = np.random.default_rng(fresh_seed())
    kernels, _ = both(rng)
    slope = rng.uniform(0.0, 0.1, 3)
    nodes = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    kernels.set_values((0.2 + nodes @ slope).astype(np.float32))
    # From one place between the outer nodes to another, without the box's outermost half cells.
    start, stop = rng.uniform(0.0, np.array(SHAPE) - 1.0, (2, 100, 3))
    length = np.linalg.norm(stop - start, axis=1)
    directions = (stop - start) / length[:, None]
    limits = np.stack([np.zeros(100), length], axis=1).astype(np.float32)
    found = kernels.integrate(start.astype(np.float32), directions.astype(np.float32), limits)
    middle = 0.2 + 0.5 * (start + stop) @ slope
    # Joseph's shares of the first and the last sample are taken at their planes: off by a quarter of a cell at most.
    np.testing.assert_allclose(found[:, 0], middle * length, atol=2 * 0.25 * np.linalg.norm(slope) + 1e-3)


def test_queries_are_torch_s() -> None:
    rng = np.random.default_rng(fresh_seed())
    kernels, plain = both(rng)
    positions = rng.uniform(-0.5, np.array(SHAPE) - 0.5, (500, 3)).astype(np.float32)
    np.testing.assert_allclose(kernels.query(positions), plain.query(positions), atol=1e-6)
    nodes = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1).reshape(-1, 3)
    at_nodes = kernels.query(nodes.astype(np.float32)).reshape(SHAPE)
    np.testing.assert_allclose(at_nodes, kernels.values, atol=1e-6)


@pytest.mark.parametrize("tv", [0.0, 5.0])
@pytest.mark.parametrize("per_view", [False, True])
def test_gradients_are_torch_s(tv: float, per_view: bool) -> None:
    rng = np.random.default_rng(fresh_seed())
    kernels, plain = both(rng, per_view, tv=tv)
    if per_view:
        kernels.affine[:] = plain.affine[:] = rng.uniform(0.5, 1.5, (4, 2))
    chosen = rng.integers(0, 4 * 144, 300)
    (found, stats), (wanted, plain_stats) = kernels.gradients(np.sort(chosen)), plain.gradients(np.sort(chosen))
    np.testing.assert_allclose(found, wanted, atol=2e-4 * np.abs(wanted).max())
    np.testing.assert_allclose(stats[:2], plain_stats[:2], rtol=1e-3)


def test_torch_s_gradients_are_finite_differences() -> None:
    rng = np.random.default_rng(fresh_seed())
    _, plain = both(rng, tv=5.0)
    chosen = np.sort(rng.integers(0, 4 * 144, 64))
    gradient, _ = plain.gradients(chosen)
    values = plain._values.double()
    plain._weights = plain._weights.double()
    for _ in range(6):
        direction = torch.from_numpy(rng.normal(size=SHAPE))
        step = 1e-4
        with torch.no_grad():
            ahead = sum(float(loss) for loss, _ in plain.losses(values + step * direction, chosen))
            behind = sum(float(loss) for loss, _ in plain.losses(values - step * direction, chosen))
        slope = float((torch.from_numpy(gradient).double() * direction).sum())
        assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=2e-3 * np.abs(gradient).max())


def test_steps_are_torch_s() -> None:
    """Three whole steps: drawing, gradients, Adam, nothing below zero, gains and offsets."""
    rng = np.random.default_rng(fresh_seed())
    kernels, plain = both(rng, per_view=True, rays_per_step=200)
    for progress in (0.0, 0.3, 0.6):
        np.testing.assert_array_equal(kernels.draw(), plain.draw())
        kernels.train_step(progress)
        plain.train_step(progress)
    assert kernels.values.min() == 0.0
    # Adam divides each gradient by its own size, so what rounding leaves of a gradient near zero is a step of its own.
    assert np.quantile(np.abs(kernels.values - plain.values), 0.98) < 1e-3
    np.testing.assert_allclose(kernels.affine, plain.affine, rtol=2e-2, atol=2e-2)


def test_threads_change_nothing() -> None:
    seed = fresh_seed()
    fields = []
    for threads in (1, 3):
        rng = np.random.default_rng(seed)
        made = AttenuationSettings(shape=(6, 7, 40), rays_per_step=300)
        backend = CpuAttenuation(made, np.ones(3), 3, threads)
        backend.set_values(np.full((6, 7, 40), 0.1, np.float32))
        backend.load(radiographs(rng))
        for _ in range(4):
            backend.train_step(0.2)
        fields.append(backend.values)
    np.testing.assert_array_equal(*fields)


def test_what_is_zero_learns() -> None:
    """A field of zeros has a gradient towards what its rays should find."""
    rng = np.random.default_rng(fresh_seed())
    for backend in both(rng, tv=0.0):
        backend.set_values(np.zeros(SHAPE, np.float32))
        gradient, _ = backend.gradients(np.arange(4 * 144))
        assert (gradient < 0).mean() > 0.9
        backend.train_step(0.0)
        assert (backend.values > 0).mean() > 0.9


def test_gains_and_offsets_are_found() -> None:
    """Radiographs that were scaled one by one, of a known field: its gains and offsets, up to a common one."""
    rng = np.random.default_rng(fresh_seed())
    kernels, _ = both(rng, per_view=True, rays_per_step=400)
    data = kernels.radiographs
    assert data is not None
    truth = kernels.values
    view = np.repeat(np.arange(4), 144)
    gain, offset = np.array([0.8, 1.0, 1.1, 1.4]), np.array([0.3, -0.1, 0.0, 0.2])
    measured = rng.uniform(0.0, 3.0, len(view))
    for _ in range(3):
        kernels.fit_views(view, measured, (gain[view] * measured + offset[view]).astype(np.float32))
    np.testing.assert_allclose(kernels.affine[:, 0], gain / np.exp(np.log(gain).mean()), rtol=1e-4)
    np.testing.assert_allclose(kernels.affine[:, 1], offset - offset.mean(), atol=1e-4)
    np.testing.assert_array_equal(kernels.values, truth)


def test_moments_are_kept(tmp_path: object) -> None:
    rng = np.random.default_rng(fresh_seed())
    first, _ = both(rng, per_view=True, rays_per_step=128)
    for _ in range(3):
        first.train_step(0.1)
    other: AttenuationBackend = CpuAttenuation(first.settings, first.weights, first.seed)
    other.load_arrays(first.arrays(), first.step)
    assert first.radiographs is not None
    other.load(first.radiographs)
    for _ in range(2):
        first.train_step(0.5)
        other.train_step(0.5)
    np.testing.assert_allclose(other.values, first.values, atol=1e-6)
    assert BETAS[0] < 1.0


def test_autograd_sees_straight_through_line_integrals() -> None:
    """d p / d values are each node's share of the ray: they sum to the ray's length in the box."""
    rng = np.random.default_rng(fresh_seed())
    origins, directions = (torch.from_numpy(each) for each in GRID.rays(*random_rays(rng, 50)))
    values = torch.rand(SHAPE, requires_grad=True)
    total, _, _ = line_integrals(values, origins, directions)
    total.sum().backward()
    even, _, _ = line_integrals(torch.ones(SHAPE), origins, directions)
    assert values.grad is not None
    assert float(values.grad.sum()) == pytest.approx(float(even.sum()), rel=1e-4)
