"""Drawing from densities known piece by piece: each closed form against numerical quadrature."""

import numpy as np
import torch

from nerf_core.samplers.evaluation import optical_depth
from nerf_core.samplers.hierarchical import intervals, shares
from nerf_core.samplers.pdf import (
    EMPTY_DEPTH,
    exponential_mass,
    invert_cdf,
    linear_opacity_mass,
    sample_exponential,
    sample_linear_opacity,
)
from nerf_core.samplers.proposal import annealing, interlevel_loss

from .fast_field import fresh_seed

FINE = 200_001


def knots(rows: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Uneven places from 1 to 4, and densities from 0 to some 30 with stretches of nothing."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.rand(rows, size, generator=generator, dtype=torch.float64) + 0.2
    t = 1.0 + 3.0 * torch.cumsum(steps, -1) / steps.sum(-1, keepdim=True)
    density = 30.0 * torch.rand(rows, size, generator=generator, dtype=torch.float64) ** 3
    return t, density * (torch.rand(rows, size, generator=generator) > 0.4)


def test_linear_opacity_draws_what_quadrature_says():
    t, density = knots(4, 9, fresh_seed())
    far = torch.full((4,), 4.5, dtype=torch.float64)
    u = torch.linspace(0.0, 0.999, 37, dtype=torch.float64).expand(4, -1)
    drawn = sample_linear_opacity(t, density, far, u)
    for row in range(4):
        edges = np.append(t[row].numpy(), 4.5)
        values = np.append(density[row].numpy(), density[row, -1]) + EMPTY_DEPTH / (edges[-1] - edges[0])
        at = np.linspace(edges[0], edges[-1], FINE)
        sigma = np.interp(at, edges, values)
        depth = np.concatenate([[0.0], np.cumsum(0.5 * (sigma[1:] + sigma[:-1]) * np.diff(at))])
        stopped = -np.expm1(-depth) / -np.expm1(-depth[-1])
        np.testing.assert_allclose(np.interp(drawn[row].numpy(), at, stopped), u[row].numpy(), atol=2e-6)
        mass = np.diff(np.interp(edges, at, stopped))
        np.testing.assert_allclose(linear_opacity_mass(t, density, far)[row].numpy(), mass, atol=2e-6)


def test_linear_opacity_s_optical_depth_is_the_integral():
    t, density = knots(3, 8, fresh_seed())
    dt = torch.cat([t.diff(dim=-1), torch.full((3, 1), 0.5, dtype=torch.float64)], dim=-1)
    found = optical_depth(density, dt, "linear")
    for row in range(3):
        for i in range(7):
            at = np.linspace(t[row, i], t[row, i + 1], 1001)
            values = np.interp(at, t[row], density[row])
            integral = np.sum(0.5 * (values[1:] + values[:-1]) * np.diff(at))
            np.testing.assert_allclose(found[row, i], integral, atol=1e-9)
        np.testing.assert_allclose(found[row, -1], density[row, -1] * 0.5)
    torch.testing.assert_close(optical_depth(density, dt), density * dt)


def test_an_empty_ray_is_drawn_from_evenly():
    t = torch.linspace(1.0, 3.0, 5, dtype=torch.float64)[None]
    u = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)[None]
    drawn = sample_linear_opacity(t, torch.zeros_like(t), torch.tensor([5.0], dtype=torch.float64), u)
    torch.testing.assert_close(drawn, 1.0 + 4.0 * u, atol=1e-3, rtol=0)


def test_exponential_weights_draw_what_quadrature_says():
    t, weights = knots(4, 9, fresh_seed())
    weights = weights + 1e-3
    weights[0, 3:5] = weights[0, 3:4]  # nearly flat pieces go through a series
    weights[1, 4] = weights[1, 3] * (1.0 + 1e-5)
    u = torch.linspace(0.0, 1.0, 41, dtype=torch.float64).expand(4, -1)
    drawn, mass = sample_exponential(t, weights, u), exponential_mass(t, weights)
    for row in range(4):
        at = np.linspace(t[row, 0], t[row, -1], FINE)
        w = np.exp(np.interp(at, t[row].numpy(), np.log(weights[row].numpy())))
        cdf = np.concatenate([[0.0], np.cumsum(0.5 * (w[1:] + w[:-1]) * np.diff(at))])
        np.testing.assert_allclose(np.diff(np.interp(t[row].numpy(), at, cdf)), mass[row].numpy(), rtol=1e-5)
        np.testing.assert_allclose(np.interp(drawn[row].numpy(), at, cdf / cdf[-1]), u[row].numpy(), atol=2e-6)


def test_shares_of_the_light_composite_to_its_whole():
    alpha = torch.tensor([0.0, 0.3, 0.999999], dtype=torch.float64)
    for count in (1, 4, 7):
        depth = shares(alpha, count)
        passing = torch.exp(-torch.cumsum(depth, -1))
        stopped = torch.cat([torch.ones(3, 1, dtype=torch.float64), passing], -1).diff(dim=-1).neg()
        torch.testing.assert_close(stopped, (alpha / count)[:, None].expand(3, count), atol=1e-9, rtol=0)


def test_intervals_hold_their_samples_and_join():
    edges, mass = torch.linspace(0.0, 1.0, 11)[None].repeat(3, 1), torch.rand(3, 10) + 0.01
    for training in (False, True):
        t, t0, t1 = intervals(lambda u: invert_cdf(edges, mass, u), 3, 6, edges, training)
        assert ((t0 <= t) & (t <= t1)).all()
        torch.testing.assert_close(t0[:, 1:], t1[:, :-1])
        assert t0[:, 0].abs().max() < 1e-6 and (t1[:, -1] - 1.0).abs().max() < 1e-6


def test_the_interlevel_loss_is_what_the_definition_says():
    generator = torch.Generator().manual_seed(fresh_seed())

    def histogram(size):
        edges = torch.cumsum(torch.rand(2, size + 1, generator=generator, dtype=torch.float64) + 0.05, -1)
        edges = (edges - edges[:, :1]) / (edges[:, -1:] - edges[:, :1])
        weights = torch.rand(2, size, generator=generator, dtype=torch.float64)
        return edges, weights / weights.sum(-1, keepdim=True)

    (edges, proposed), (last, weights) = histogram(7), histogram(11)
    loss = interlevel_loss(edges, proposed, last, weights)
    for row in range(2):
        expected = 0.0
        for i in range(11):
            low, high = last[row, i], last[row, i + 1]
            bound = sum(float(proposed[row, j]) for j in range(7) if edges[row, j] < high and edges[row, j + 1] > low)
            expected += max(0.0, float(weights[row, i]) - bound) ** 2 / (float(weights[row, i]) + 1e-7)
        np.testing.assert_allclose(float(loss[row]), expected, rtol=1e-9)
    # A histogram that covers the other loses nothing.
    assert interlevel_loss(last, weights, last, weights).abs().max() < 1e-12


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(fresh_seed())
    proposed = torch.rand(2, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    edges = torch.linspace(0.0, 1.0, 7, dtype=torch.float64).expand(2, -1)
    last = torch.linspace(0.0, 1.0, 12, dtype=torch.float64).expand(2, -1)
    weights = 2.0 * torch.rand(2, 11, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: interlevel_loss(edges, w * 0.3, last, weights), (proposed,))
    t, density = knots(2, 6, fresh_seed())
    density = (density + 0.5).requires_grad_()
    dt = torch.cat([t.diff(dim=-1), torch.full((2, 1), 0.4, dtype=torch.float64)], dim=-1)
    assert torch.autograd.gradcheck(lambda sigma: optical_depth(sigma, dt, "linear"), (density,))
    far, u = torch.full((2,), 4.5, dtype=torch.float64), torch.full((2, 3), 0.37, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda sigma: sample_linear_opacity(t, sigma, far, u), (density,))


def test_proposals_are_believed_more_and_more():
    values = [annealing(step) for step in (0, 100, 500, 1000, 5000)]
    assert values[0] == 0.0 and values[-1] == values[-2] == 1.0 and sorted(values) == values
    np.testing.assert_allclose(values[2], 10 * 0.5 / (9 * 0.5 + 1))
