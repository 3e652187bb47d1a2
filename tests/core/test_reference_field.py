"""The torch oracle itself: its gradients against finite differences in float64, and what it must hold by definition."""

import numpy as np
import pytest
import torch

from nerf_core.fields.hash_grid import FastLayout, FastSettings
from nerf_core.kernels.reference import field, volume
from nerf_core.kernels.reference.optimiser import adam

from .fast_field import fresh_seed, random_parameters

TINY = FastSettings(
    levels=4,
    base_resolution=2,
    max_resolution=16,
    log2_table_size=10,
    occupancy_resolution=8,
    ray_steps=16,
    density_width=16,
    color_width=16,
)


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def double(parameters):
    return {name: torch.from_numpy(array).double().requires_grad_() for name, array in parameters.items()}


def test_encoding_is_trilinear(generator):
    """With a table that is linear in the position, a dense level gives back the position."""
    layout = FastLayout.from_settings(TINY)
    assert layout.dense.tolist() == [True, True, True, False]
    side = int(layout.resolutions[1]) + 1
    table = np.zeros(layout.shapes["table"])
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1)[..., ::-1].reshape(-1, 3) / (side - 1)
    table[layout.offsets[1] : layout.offsets[1] + side**3, :3] = grid
    positions = torch.from_numpy(generator.uniform(0, 1, (200, 3)))
    encoded = field.encode(layout, torch.from_numpy(table), positions)
    torch.testing.assert_close(encoded[:, 4:7], positions)
    corners = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0.5]]).double()
    torch.testing.assert_close(field.encode(layout, torch.from_numpy(table), corners)[:, 4:7], corners)


def test_hash_is_instant_ngps():
    layout = FastLayout.from_settings(TINY)
    corner = torch.tensor([[3, 5, 7]])
    expected = (3 ^ (5 * 2654435761 % 2**32) ^ (7 * 805459861 % 2**32)) % 1024 + int(layout.offsets[3])
    assert field.corner_rows(layout, 3, corner).tolist() == [expected]


def test_harmonics_are_orthonormal():
    """Integrated over the sphere (Gauss-Legendre in z, even in azimuth: exact for these degrees)."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    azimuth = np.arange(16) * 2 * np.pi / 16
    z, a = np.meshgrid(nodes, azimuth, indexing="ij")
    r = np.sqrt(1 - z * z)
    directions = torch.from_numpy(np.stack([r * np.cos(a), r * np.sin(a), z], -1).reshape(-1, 3))
    area = torch.from_numpy(np.repeat(weights, 16) * 2 * np.pi / 16)
    values = field.spherical_harmonics(directions)
    torch.testing.assert_close(values.T @ (area[:, None] * values), torch.eye(16).double(), atol=1e-7, rtol=0)


def test_field_gradients_match_finite_differences(generator):
    layout = FastLayout.from_settings(TINY)
    parameters = double(random_parameters(layout, generator))
    positions = torch.from_numpy(generator.uniform(0.01, 0.99, (5, 3)))
    directions = torch.nn.functional.normalize(torch.from_numpy(generator.normal(size=(5, 3))), dim=-1)
    mix = torch.from_numpy(generator.normal(size=(5, 4)))

    def total():
        density, color = field.query(layout, parameters, positions, directions)
        return (mix * torch.cat([density[:, None], color], 1)).sum()

    _compare_with_differences(total, parameters, generator)


def test_composite_gradients_match_finite_differences(generator):
    ray = torch.tensor([0, 0, 0, 2, 2, 2, 2, 4])
    samples = volume.Samples(ray, torch.arange(8).double(), torch.zeros(8, 3).double(), torch.full((8,), 0.3))
    leaves = {
        "density": torch.from_numpy(generator.uniform(0.1, 3, 8)).requires_grad_(),
        "color": torch.from_numpy(generator.uniform(0, 1, (8, 3))).requires_grad_(),
    }
    target = torch.from_numpy(generator.uniform(0, 1, (5, 3)))
    background = torch.from_numpy(generator.uniform(0, 1, (5, 3)))

    def total():
        result = volume.composite(samples, leaves["density"], leaves["color"], 0.3, 5)
        return volume.loss(result, target, background)

    _compare_with_differences(total, leaves, generator)


def _compare_with_differences(total, leaves, generator, count=12, width=1e-6):
    gradients = torch.autograd.grad(total(), list(leaves.values()))
    for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        flat = leaf.detach().reshape(-1)
        touched = torch.nonzero(gradient.reshape(-1)).reshape(-1).numpy()
        assert len(touched), name
        for index in generator.choice(touched, min(count, len(touched)), replace=False):
            before = flat[index].item()
            flat[index] = before + width
            above = total().item()
            flat[index] = before - width
            below = total().item()
            flat[index] = before
            expected = (above - below) / (2 * width)
            assert gradient.reshape(-1)[index].item() == pytest.approx(expected, rel=1e-5, abs=1e-8), name


def test_composite_against_a_loop_over_rays(generator):
    """Weights, thresholds and colours as the definition says, ray by ray."""
    counts = [5, 0, 12, 1, 30]
    ray = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))
    total = len(ray)
    density = torch.from_numpy(generator.uniform(0, 4, total))
    density[-20] = 1e6  # opaque: nothing behind it counts
    color = torch.from_numpy(generator.uniform(0, 1, (total, 3)))
    samples = volume.Samples(
        ray, torch.arange(total).double(), torch.zeros(total, 3).double(), torch.full((total,), 0.2)
    )
    result = volume.composite(samples, density, color, 0.2, 5, weight_threshold=0.05, transmittance_threshold=0.02)
    index = 0
    for r, count in enumerate(counts):
        passing, alpha, rgb, depth = 1.0, 0.0, np.zeros(3), 0.0
        for _ in range(count):
            absorbed = 1 - np.exp(-density[index].item() * 0.2)
            weight = passing * absorbed
            chosen = passing >= 0.02 and weight > 0.05
            assert result.selected[index].item() == chosen
            # Optical depth is a running sum over all rays of the batch: rounding is that of its size, not of a ray's.
            assert result.weights[index].item() == pytest.approx(weight, rel=1e-9, abs=1e-9)
            if chosen:
                alpha, rgb, depth = alpha + weight, rgb + weight * color[index].numpy(), depth + weight * index
            passing *= 1 - absorbed
            index += 1
        assert result.alpha[r].item() == pytest.approx(alpha, rel=1e-9, abs=1e-9)
        assert result.color[r].numpy() == pytest.approx(rgb, rel=1e-9, abs=1e-9)
        assert result.depth[r].item() == pytest.approx(depth, rel=1e-9, abs=1e-9)


def test_transmittance_keeps_its_digits_behind_opaque_rays():
    """Thousands of opaque rays in front must not blur a thin one's transmittance in float32."""
    ray = torch.repeat_interleave(torch.arange(2001), 10)
    depth = torch.full((20010,), 1e4)
    depth[-10:] = 1e-3
    last = volume.transmittance_before(ray, depth, 2001)[-10:]
    torch.testing.assert_close(last, torch.exp(-1e-3 * torch.arange(10)))


def test_adam_is_torchs_and_lazy(generator):
    start = torch.from_numpy(generator.normal(size=48)).float()
    expected = start.clone().requires_grad_()
    other = torch.optim.Adam([expected], lr=0.01, betas=(0.9, 0.99), eps=1e-15)
    value, first, second = start.clone(), torch.zeros(48), torch.zeros(48)
    for step in range(1, 6):
        gradient = torch.from_numpy(generator.normal(size=48)).float()
        expected.grad = gradient.clone()
        other.step()
        adam(value, first, second, gradient, 0.01, 0.9, 0.99, 1e-15, step)
    torch.testing.assert_close(value, expected.detach(), atol=1e-6, rtol=1e-5)
    gradient[16:32] = 0
    before = value.clone(), first.clone()
    adam(value, first, second, gradient, 0.01, 0.9, 0.99, 1e-15, 6)
    assert torch.equal(value[16:32], before[0][16:32]) and torch.equal(first[16:32], before[1][16:32])
    assert (value[:16] != before[0][:16]).all() and (value[32:] != before[0][32:]).all()
