"""Every sampler on a ball that is known exactly: what rays see of it, where their samples lie, and what it costs."""

import pytest
import torch

from nerf_core.contract.errors import NerfError
from nerf_core.contract.samplers import SamplerChoice
from nerf_core.fields.proposal import ProposalField
from nerf_core.samplers.evaluation import evaluate
from nerf_core.samplers.grid import DensityGrid
from nerf_core.samplers.hierarchical import Hierarchical
from nerf_core.samplers.lattice import Lattice
from nerf_core.samplers.look import look
from nerf_core.samplers.occupancy import Occupancy
from nerf_core.samplers.options import checked_options
from nerf_core.samplers.oracle import Oracle
from nerf_core.samplers.proposal import Proposal, length_within
from nerf_core.samplers.spacing import Growing
from nerf_core.samplers.stratified import Stratified
from nerf_core.samplers.surface import Surface

RADIUS = 0.6
BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
VOXEL = 2.0 / 64
COLOR = torch.tensor([0.2, 0.5, 0.9])


class Ball:
    """Dense within its radius; counts what it is asked."""

    def __init__(self, density: float = 200.0) -> None:
        self.density, self.full, self.density_only = density, 0, 0

    def _at(self, positions):
        inside = (RADIUS - positions.norm(dim=-1)) / 0.01  # edges as soft as a trained field's
        return self.density * torch.sigmoid(inside)

    def query_density(self, positions):
        self.density_only += positions[..., 0].numel()
        return self._at(positions)

    def __call__(self, positions, directions):
        self.full += positions[..., 0].numel()
        return self._at(positions), COLOR.expand(positions.shape)


def rays(count: int = 400):
    """Parallel rays along z over the whole box, and where they meet the ball."""
    side = int(count**0.5)
    x, y = torch.meshgrid(*(torch.linspace(-0.95, 0.95, side),) * 2, indexing="ij")
    origins = torch.stack([x, y, torch.full_like(x, -3.0)], dim=-1).reshape(-1, 3)
    directions = torch.tensor([0.0, 0.0, 1.0]).expand(len(origins), 3)
    distance = origins[:, :2].norm(dim=-1)
    depth = torch.where(distance < RADIUS, 3.0 - (RADIUS**2 - distance**2).clamp_min(0.0).sqrt(), torch.zeros(1))
    near, far = torch.full_like(depth, 2.0), torch.full_like(depth, 4.0)
    return (origins, directions, near, far), depth, distance


def built(name: str, field: Ball):
    grid = DensityGrid(BOX, 64, keep="mean" if name == "surface" else "largest")
    if name in ("occupancy", "surface"):
        grid.build(field)
    return {
        "uniform": lambda: (Stratified(), 128),
        "hierarchical": lambda: (Hierarchical(field, 64, shared=True), 64),
        "hierarchical linear": lambda: (Hierarchical(field, 64, opacity="linear", shared=True), 64),
        "hierarchical exponential": lambda: (Hierarchical(field, 64, cdf="exponential", shared=True), 64),
        "hierarchical few": lambda: (Hierarchical(field, 128, joined=False, shared=True), 4),
        "occupancy": lambda: (Occupancy(grid, 0.015, field), 64),
        "occupancy few": lambda: (Occupancy(grid, 0.015, field), 2),
        "surface": lambda: (Surface(grid, hint=True), 4),
        "surface one": lambda: (Surface(grid, hint=True), 1),
        "oracle": lambda: (Oracle(0.05), 4),
    }[name]()


def near_the_ball(distance, width: float = 0.1):
    """Rays that clearly hit and clearly miss."""
    return distance < RADIUS - width, distance > RADIUS + width


NAMES = [
    "uniform",
    "hierarchical",
    "hierarchical linear",
    "hierarchical exponential",
    "hierarchical few",
    "occupancy",
    "occupancy few",
    "surface",
    "surface one",
    "oracle",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_sees_the_ball(name):
    field = Ball()
    sampler, budget = built(name.replace("surface one", "surface"), field)
    budget = 1 if name == "surface one" else budget
    along, depth, distance = rays()
    hits, misses = near_the_ball(distance)
    field.full = field.density_only = 0
    seen = look(sampler, field, along, budget, 100, depth)
    assert (seen.rgba[hits, 3] > 0.97).all() and (seen.rgba[misses, 3] < 0.02).all()
    torch.testing.assert_close(seen.rgba[hits, :3], COLOR * seen.rgba[hits, 3:], atol=1e-4, rtol=0)
    off = (seen.depth - depth)[hits].abs()
    assert off.median() < VOXEL and off.max() < 3 * VOXEL
    # What is reported is what the field was asked for.
    assert int(seen.full.sum()) == field.full and seen.density_only == field.density_only
    joined = sampler.coarse_samples if isinstance(sampler, Hierarchical) and sampler.joined else 0
    assert seen.full.max() <= budget + joined
    again = look(sampler, field, along, budget, 37, depth)
    torch.testing.assert_close(again.rgba, seen.rgba, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "budget", "share"), [("surface", 1, 0.6), ("occupancy", 2, 0.85), ("oracle", 4, 0.4)])
def test_few_samples_lie_within_a_voxel_of_where_the_light_comes_from(name, budget, share):
    field = Ball()
    sampler, _ = built(name, field)
    along, depth, distance = rays()
    hits, _ = near_the_ball(distance, 0.1)
    samples = sampler.sample(*along, budget, False, depth)
    weights = evaluate(field, samples, *along[:2]).weights
    # The light of this ball comes from about a mean free path behind its face.
    near = (samples.t - (depth[:, None] + 1.0 / field.density)).abs() < VOXEL
    assert (weights * near).sum(-1)[hits].mean() > share


def test_the_surface_sampler_starts_evenly_and_gathers_as_the_grid_fills():
    grid = DensityGrid(BOX, 64, keep="mean")
    sampler = Surface(grid, torch.Generator().manual_seed(0))
    along, depth, distance = rays()
    hits, _ = near_the_ball(distance)

    def gathered():
        samples = sampler.sample(*along, 16, True)
        assert (samples.t0 <= samples.t).all() and (samples.t <= samples.t1).all()
        return ((samples.t - depth[:, None]).abs() < 0.1)[hits].float().mean()

    assert gathered() == pytest.approx(0.1, abs=0.03)  # a tenth of the ray is a tenth of its samples
    for step in range(1, 65):
        sampler.update(step, Ball())
    assert gathered() > 0.6


def test_a_grid_asks_again_when_it_is_time_and_draws_the_same_after_a_break():
    field, (first, second) = Ball(), (DensityGrid(BOX, 16, seed=3) for _ in range(2))
    asked = [step for step in range(1, 40) if first.update(step, field)]
    assert asked == [16, 32]
    second.update(16, field)
    second.update(32, field)
    torch.testing.assert_close(first.values, second.values, atol=0, rtol=0)
    third = DensityGrid(BOX, 16, seed=3)
    third.values.copy_(second.values), third.known.copy_(second.known)
    second.update(48, field), third.update(48, field)
    torch.testing.assert_close(second.values, third.values, atol=0, rtol=0)


def test_a_flat_box_s_grid_holds_the_box_alone():
    box = torch.tensor([[0.0, 0.0, 0.2], [1.0, 0.5, 0.45]])
    field, grid = Ball(), DensityGrid(box, 16)
    grid.update(16, field)
    assert field.density_only == 16 * 8 * 4 == len(grid.inside)


def test_occupancy_skips_what_is_empty_and_ends_behind_the_face():
    field = Ball()
    sampler, _ = built("occupancy", field)
    (o, d, near, far), depth, distance = rays()
    hits, misses = near_the_ball(distance)
    samples = sampler.sample(o, d, near, far, 64, False)
    assert samples.skipped is not None and samples.bins is not None
    length = (samples.skipped.t1 - samples.skipped.t0).sum(-1)
    assert (length[misses] > 1.9).all() and (length[hits] < 1.9).all()
    assert (samples.t[samples.valid] > 0).all()
    weights, edges = samples.bins.weights, samples.bins.edges
    torch.testing.assert_close(weights[hits].sum(-1), torch.ones(int(hits.sum())), atol=0.03, rtol=0)
    middle = ((edges[:, 1:] + edges[:, :-1]) / 2 * weights).sum(-1)
    assert ((middle - depth)[hits].abs() < 0.05).all()
    training = sampler.sample(o, d, near, far, 8, True)
    assert training.t.shape[1] == 8 and training.valid[hits].any(-1).all()
    # Thinned out, the samples stand for all that they replace.
    everything = sampler.sample(o, d, near, far, 4096, True)
    torch.testing.assert_close(training.dt.sum(-1)[hits], everything.dt.sum(-1)[hits], atol=0.2, rtol=0)


@pytest.mark.parametrize("rounds", [1, 2])
def test_proposal_networks_learn_where_the_light_is_stopped(rounds):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    sizes, counts = ([64], [64]) if rounds == 1 else ([32, 64], [32, 32])
    sampler = Proposal([ProposalField(BOX, size) for size in sizes], counts, generator)
    optimiser = torch.optim.Adam(sampler.parameters().values(), lr=2e-2)
    field = Ball()
    along, depth, distance = rays(144)
    hits, misses = near_the_ball(distance)

    def near_it(training):
        samples = sampler.sample(*along, 16, training)
        return ((samples.t - depth[:, None]).abs() < 0.1)[hits].float().mean()

    before = near_it(False)
    for step in range(60):
        sampler.update_to(20 * step)
        samples = sampler.sample(*along, 32, True)
        evaluation = evaluate(field, samples, *along[:2])
        loss = torch.stack(sampler.losses(samples, evaluation, lambda *_: None)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert near_it(False) > 0.6 > 0.3 > before
    seen = look(sampler, field, along, 16, 1000)
    assert (seen.rgba[hits, 3] > 0.9).all() and seen.proposal == sum(counts) * len(depth)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("uniform", {"coarse": 8}, "'uniform' has no option 'coarse'; it has opacity"),
        ("occupancy", {"speed": 8}, "it has none"),
        ("hierarchical", {"opacity": "cubic"}, "'opacity' is 'cubic'; use one of constant, linear"),
        ("hierarchical", {"coarse": 2}, "a whole number from 3 to 4096"),
        ("hierarchical", {"joined": 1}, "must be true or false"),
        ("oracle", {"band": float("nan")}, "must be a number"),
        ("surface", {"resolution": 8.5}, "must be a whole number"),
    ],
)
def test_options_that_cannot_be_are_told(name, options, words):
    with pytest.raises(NerfError, match=words):
        checked_options(SamplerChoice(name, None, options))
    assert checked_options(SamplerChoice("oracle", 4, {"band": 0.25})) == {"band": 0.25}


@pytest.mark.parametrize("cdf", ["constant", "exponential"])
def test_fine_samples_of_an_empty_unbounded_ray_lie_as_evenly_as_the_coarse_ones(cdf):
    lattice = Lattice(0.01, 1 / 64)
    spacing = Growing(lattice)
    sampler = Hierarchical(Ball(0.0), 64, cdf=cdf, shared=True, joined=False, spacing=spacing)
    near, far = torch.full((3,), lattice.near), torch.full((3,), lattice.far)
    samples = sampler.sample(torch.zeros(3, 3), torch.eye(3), near, far, 16, training=False)
    places, fine = spacing.to_s(samples.stages[0][0].t), spacing.to_s(samples.t)
    begin, end = (places[:, :1], places[:, -1:]) if cdf == "exponential" else (0.0, float(spacing.to_s(far)[0]))
    even = begin + (end - begin) * (torch.arange(16) + 0.5) / 16
    assert (fine - even).abs().max() < 0.02 * float(spacing.to_s(far)[0])


def test_numbers_stay_usable_without_rays():
    none = tuple(each[:0] for each in rays()[0])
    for name in ("uniform", "hierarchical few", "surface", "oracle"):
        sampler, budget = built(name, Ball())
        assert look(sampler, Ball(), none, budget, 10).rgba.shape == (0, 4)


def test_a_proposal_network_is_encoded_alike_with_and_without_gradients():
    network = ProposalField(BOX, 64)
    with torch.no_grad():
        network.table.uniform_(-1.0, 1.0)
    points = torch.rand(3000, 3) * (BOX[1] - BOX[0]) + BOX[0]
    learning = network.query_density(points).detach()
    with torch.no_grad():
        looking = network.query_density(points)
    torch.testing.assert_close(looking, learning, rtol=1e-4, atol=1e-5)


def test_a_proposal_network_says_nothing_where_nothing_is_known():
    network = ProposalField(BOX, 64, known=lambda points: points[:, 0] > 0.0)
    points = torch.tensor([[-0.25, 0.1, 0.1], [0.25, 0.1, 0.1]])
    density = network.query_density(points)
    assert density[0] == 0.0 and density[1] > 0.0
    density.sum().backward()
    assert network.table.grad is not None and network.table.grad.abs().sum() > 0


def test_a_stretch_over_a_gap_counts_what_is_within_the_bins_alone():
    edges = torch.tensor([[0.0, 1.0, 3.0, 4.0]])
    there = torch.tensor([[True, False, True]])
    lengths = length_within(edges, there, torch.tensor([[0.5, 1.5, 3.5]]), torch.tensor([[3.5, 2.5, 4.0]]))
    torch.testing.assert_close(lengths, torch.tensor([[1.0, 0.0, 0.5]]))
