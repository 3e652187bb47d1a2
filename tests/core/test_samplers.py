"""Samplers: where samples fall, and that fine ones follow the coarse field's weights."""

import pytest
import torch

from nerf_core.rendering.volume import composite, render_weights
from nerf_core.samplers.base import COARSE, FINE
from nerf_core.samplers.hierarchical import Hierarchical, evaluate, sample_pdf
from nerf_core.samplers.stratified import Stratified


def rays(count: int, near: float = 1.0, far: float = 5.0):
    origins = torch.zeros(count, 3)
    directions = torch.tensor([[0.0, 0.0, 1.0]]).expand(count, 3)
    return origins, directions, torch.full((count,), near), torch.full((count,), far)


class Wall:
    """A field with matter between z = 3 and z = 3.5 alone."""

    def query_density(self, positions):
        z = positions[..., 2]
        return torch.where((z > 3.0) & (z < 3.5), 20.0, 0.0)

    def __call__(self, positions, directions):
        return self.query_density(positions), torch.ones(positions.shape)


wall = Wall()


def test_stratified_puts_one_sample_in_each_piece_uniformly():
    generator = torch.Generator().manual_seed(1)
    samples = Stratified(generator).sample(*rays(4000), budget=8, training=True)
    within = (samples.t - 1.0) / 0.5 - torch.arange(8)
    assert ((within >= 0) & (within <= 1)).all()
    assert within.mean().item() == pytest.approx(0.5, abs=0.01)
    assert within.var().item() == pytest.approx(1 / 12, abs=0.005)
    assert samples.stage == COARSE and samples.stages == ()


def test_stratified_is_deterministic_when_not_training():
    samples = Stratified().sample(*rays(2), budget=4, training=False)
    torch.testing.assert_close(samples.t[0], torch.tensor([1.5, 2.5, 3.5, 4.5]))
    torch.testing.assert_close(samples.t1[0], torch.tensor([2.5, 3.5, 4.5, 5.0]))
    torch.testing.assert_close(samples.dt[1], torch.tensor([1.0, 1.0, 1.0, 0.5]))


def test_sample_pdf_follows_the_pdf():
    edges = torch.tensor([[0.0, 1.0, 2.0, 4.0, 5.0]])
    weights = torch.tensor([[1.0, 0.0, 6.0, 3.0]])
    drawn = sample_pdf(edges, weights, 40000, deterministic=False, generator=torch.Generator().manual_seed(0))[0]
    share = torch.histogram(drawn, bins=edges[0]).hist / len(drawn)
    torch.testing.assert_close(share, torch.tensor([0.1, 0.0, 0.6, 0.3]), atol=0.01, rtol=0)
    inside = drawn[(drawn > 2) & (drawn < 4)]  # constant within a bin
    assert inside.mean().item() == pytest.approx(3.0, abs=0.02)
    assert inside.var().item() == pytest.approx(4 / 12, abs=0.01)


def test_sample_pdf_takes_even_quantiles_when_deterministic():
    edges = torch.tensor([[0.0, 1.0, 3.0]])
    drawn = sample_pdf(edges, torch.tensor([[1.0, 1.0]]), 4, deterministic=True)[0]
    torch.testing.assert_close(drawn, torch.tensor([0.25, 0.75, 1.5, 2.5]), atol=1e-4, rtol=0)


def test_sample_pdf_of_an_empty_ray_is_uniform():
    edges = torch.linspace(2.0, 6.0, 9)[None]
    drawn = sample_pdf(edges, torch.zeros(1, 8), 16, deterministic=True)[0]
    torch.testing.assert_close(drawn, 2.0 + 4.0 * (torch.arange(16) + 0.5) / 16, atol=1e-4, rtol=0)


def test_fine_samples_gather_where_the_coarse_field_has_weight():
    sampler = Hierarchical(wall, coarse_samples=32, generator=torch.Generator().manual_seed(0))
    samples = sampler.sample(*rays(50), budget=64, training=True)
    assert samples.t.shape == (50, 96) and samples.stage == FINE
    assert (samples.t.diff(dim=-1) >= 0).all() and (samples.dt >= 0).all()
    near_the_wall = (samples.t > 2.8) & (samples.t < 3.7)
    # 64 fine ones, but for a few in the neighbouring bins, and a quarter of the 32 coarse ones.
    assert near_the_wall.sum(dim=-1).float().mean() > 60
    ((coarse, evaluation),) = samples.stages
    assert coarse.t.shape == (50, 32) and evaluation.weights.shape == (50, 32)


def test_more_fine_samples_bring_the_depth_closer():
    origins, directions, near, far = rays(1)
    errors = []
    for budget in (4, 64):
        samples = Hierarchical(wall, 16).sample(origins, directions, near, far, budget, training=False)
        evaluation = evaluate(wall, samples, origins, directions)
        depth = composite(evaluation.weights, evaluation.color, samples.t).depth
        errors.append(abs(depth.item() - 3.05))  # mean free path 1/20 behind the wall's face
    assert errors[1] < 0.02 and errors[1] < errors[0]


def test_trace_gives_every_stage_and_losses_only_the_earlier_ones():
    sampler = Hierarchical(wall, coarse_samples=8)
    stages = sampler.trace(*rays(2), budget=8)
    assert [(samples.stage, known is None) for samples, known in stages] == [(COARSE, False), (FINE, True)]
    assert sampler.losses(stages[-1][0], None, lambda samples, evaluation: samples.t.shape[1]) == [8]
    assert sampler.cost().density_only == 8 and Stratified().cost().density_only == 0


def test_weights_of_constant_density_match_beer_lambert():
    t = torch.linspace(0, 2, 101, dtype=torch.float64)
    weights, transmittance = render_weights(torch.full((1, 100), 1.7, dtype=torch.float64), t.diff()[None])
    torch.testing.assert_close(transmittance[0], torch.exp(-1.7 * t[:-1]))
    torch.testing.assert_close(weights.sum(), 1 - torch.exp(torch.tensor(-3.4, dtype=torch.float64)))


def test_composite_of_an_opaque_sample_hides_what_is_behind():
    density = torch.tensor([[0.0, 1e6, 5.0]])
    weights, _ = render_weights(density, torch.ones(1, 3))
    color = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]])
    seen = composite(weights, color, torch.tensor([[1.0, 2.0, 3.0]]))
    torch.testing.assert_close(seen.rgb, torch.tensor([[0.0, 1.0, 0.0]]))
    assert seen.alpha.item() == 1.0 and seen.depth.item() == 2.0
    empty = composite(torch.zeros(1, 3), color, torch.ones(1, 3))
    assert empty.alpha.item() == 0.0 and empty.depth.item() == 0.0
