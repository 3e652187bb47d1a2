"""The surface sampler's kernels against plain readings of what they compute, in numpy and torch."""

from dataclasses import replace

import numba
import numpy as np
import pytest
import torch

from nerf_core.fields.shell import BRICK, CELLS, MAX_SAMPLES, MERGED_BELOW, OPAQUE_BELOW, encode, make_levels
from nerf_core.kernels.backend import SurfaceProfile
from nerf_core.kernels.cpu import rays as pixel_rays
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.cpu.encoding import scatter_level
from nerf_core.kernels.cpu.shell import ShellGrid
from nerf_core.kernels.cpu.structures import CHUNKS, GROUP, level_array
from nerf_core.kernels.cpu.vector import fast_exp
from nerf_core.kernels.reference import field
from nerf_core.kernels.views import view_arrays

from .fast_field import NORMALISATION, SMALL, ball_views, fresh_seed, random_parameters, random_rays, state_arrays

SETTINGS = replace(SMALL, scene="bounded")
SIDE = SETTINGS.occupancy_resolution
FINE = SIDE * BRICK
BOX = NORMALISATION.unit_bounds
LEVELS = make_levels(0.5, SIDE)


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def shelled(generator, bricks=0.3, solid=0.6, threads=None):
    """A backend with random parameters, whose shell is random: some bricks, some of their cells solid."""
    backend = CpuBackend(SETTINGS, BOX, int(generator.integers(1000)), threads)
    values = backend.arrays()["occupancy/values"]
    lit = (generator.uniform(size=values.shape) < bricks) & (values >= 0)
    state = state_arrays(backend, random_parameters(backend.layout, generator))
    state["occupancy/values"] = np.where(values < 0, values, 1e3 * lit).astype(np.float32)
    backend.load_arrays(state)
    sampling = backend.surface
    baked = sampling.grid()
    index = np.full(SIDE**3, -1, np.int32)
    numbers = np.flatnonzero(backend.occupied.reshape(-1))
    index[numbers] = np.arange(len(numbers))
    density = np.exp(generator.uniform(0, 5, (len(numbers), CELLS)))
    density *= generator.uniform(size=density.shape) < solid
    away = np.where(backend.occupied, 0, backend._away).astype(np.uint8)
    grid = ShellGrid(away, index.reshape(SIDE, SIDE, SIDE), encode(density, LEVELS), LEVELS.copy(), baked.box)
    sampling._grid, sampling._step = grid, backend.step
    return backend, grid


def dense(grid):
    """(FINE, FINE, FINE) densities, indexed x, y, z; and each cell's flat number, -1 where there is no brick."""
    numbers = np.repeat(np.repeat(np.repeat(grid.bricks, BRICK, 0), BRICK, 1), BRICK, 2).transpose(2, 1, 0).astype(int)
    x, y, z = np.indices(numbers.shape) % BRICK
    cells = np.where(numbers >= 0, numbers * CELLS + x + BRICK * (y + BRICK * z), -1)
    return np.where(numbers >= 0, grid.levels[grid.codes.reshape(-1)[cells]], 0.0), cells


def crossed(densities, origin, direction, box=BOX):
    """Where a ray crosses cells: edges (n + 1,) in float64 by sorting all planes' distances, and cells (n, 3)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (box[0] - origin) / direction, (box[1] - origin) / direction
        near, far = max(0.0, np.nanmax(np.minimum(a, b))), np.nanmin(np.maximum(a, b))
        planes = (np.arange(FINE + 1)[:, None] / FINE - origin) / direction
    if near >= far:
        return np.zeros(1), np.zeros((0, 3), int)
    inner = planes[(planes > near) & (planes < far)]
    edges = np.unique(np.concatenate([[near], inner, [far]]))
    middles = origin + 0.5 * (edges[1:] + edges[:-1])[:, None] * direction
    return edges, np.clip((middles * FINE).astype(int), 0, FINE - 1)


def weights(depth):
    """Each cell's weight by the shell's rule: the cell after which too little is left takes that too."""
    passing = np.exp(-np.cumsum(depth))
    before = np.concatenate([[1.0], passing[:-1]])
    weight = before - passing
    closed = np.flatnonzero(passing < OPAQUE_BELOW)
    if len(closed):
        weight[closed[0]] += passing[closed[0]]
        weight[closed[0] + 1 :] = 0.0
    return weight


def test_the_walk_meets_the_cells_that_lie_on_the_ray(generator):
    """In order, with their lengths and weights, from outside and from within, along axes too."""
    backend, grid = shelled(generator)
    origins, directions = random_rays(generator, 200)
    origins[::3] = generator.uniform(0.2, 0.8, (67, 3))
    directions[::7] = np.eye(3, dtype=np.float32)[generator.integers(0, 3, 29)]
    found = backend.profile_surface(origins, directions, 4)
    densities, _ = dense(grid)
    seen, off = 0, 0.0
    for ray in range(200):
        edges, cells = crossed(densities, origins[ray].astype(np.float64), directions[ray].astype(np.float64))
        length = np.diff(edges)
        weight = weights(densities[tuple(cells.T)] * length)
        alpha = weight.sum()
        mine = found.cells[ray, : found.counts[ray]]
        assert (np.diff(mine[:, 0]) > 0).all()
        # Where a ray runs along a face, rounding decides which side's cells it meets.
        off += abs(mine[:, 2].sum() - alpha) > 2e-2
        if alpha > 0.1:
            seen += 1
            expected = (weight * 0.5 * (edges[1:] + edges[:-1])).sum() / alpha
            off += abs((mine[:, 2] * mine[:, 0]).sum() / mine[:, 2].sum() - expected) > 5e-3
        assert found.looked[ray] >= found.counts[ray]
    assert seen > 60 and off <= 4


def divided(t, weight, samples, least):
    """Greedy 1-D quantisation, written for reading: bounds of the groups."""
    bounds = [0, len(t)]

    def cost(low, high):
        w, x = weight[low:high], t[low:high]
        return (w * x * x).sum() - (w * x).sum() ** 2 / w.sum()

    while len(bounds) - 1 < samples:
        options = [
            (cost(low, high) - cost(low, cut) - cost(cut, high), cut)
            for low, high in zip(bounds[:-1], bounds[1:], strict=True)
            for cut in range(low + 1, high)
        ]
        if not options or max(options)[0] <= least:
            break
        bounds = sorted([*bounds, max(options)[1]])
    return bounds


@pytest.mark.parametrize("samples", [1, 2, 4, 9])
def test_samples_divide_the_weight_where_that_saves_most(generator, samples):
    backend, _ = shelled(generator)
    origins, directions = random_rays(generator, 150)
    found = backend.profile_surface(origins, directions, samples)
    least = MERGED_BELOW / FINE**2
    agree, several = 0, 0
    hit = np.flatnonzero(found.counts)
    for ray in hit:
        t, length, weight = found.cells[ray, : found.counts[ray]].astype(np.float64).T
        bounds = found.samples[ray, : found.groups[ray], 2].astype(int)
        assert 1 <= len(bounds) <= samples and bounds[-1] == len(t)
        agree += list(bounds) == divided(t, weight, samples, least)[1:]
        several += len(bounds) > 1
        for low, high, (at, mass, _) in zip([0, *bounds[:-1]], bounds, found.samples[ray], strict=False):
            assert mass == pytest.approx(weight[low:high].sum(), rel=1e-4)
            # Half of the group's weight lies nearer, as far as weight is even within a cell.
            nearer = np.clip((at - (t - 0.5 * length)) / length, 0, 1)[low:high] * weight[low:high]
            assert nearer.sum() == pytest.approx(0.5 * mass, rel=2e-3, abs=1e-5)
    assert len(hit) > 50 and agree >= 0.95 * len(hit)
    assert several > 20 if samples > 1 else several == 0


def test_an_opaque_wall_needs_one_sample_and_an_edge_before_it_two(generator):
    backend, grid = shelled(generator)
    density = np.zeros((SIDE**3, CELLS), np.float32)
    index = np.arange(SIDE**3, dtype=np.int32).reshape(SIDE, SIDE, SIDE)
    density[index[SIDE // 2].reshape(-1)] = 2e3  # a slab across z, of optical depth 30 a cell
    grid = ShellGrid(np.zeros_like(grid.away), index, encode(density, LEVELS), LEVELS, grid.box)
    backend.surface._grid = grid
    origins = np.array([[0.4, 0.4, 1.5], [0.6, 0.3, 1.5]], np.float32)
    down = np.array([[0.0, 0.0, -1.0]] * 2, np.float32)
    found = backend.profile_surface(origins, down, 8)
    assert found.groups.tolist() == [1, 1]
    top = (SIDE // 2 + 1) / SIDE
    assert found.samples[:, 0, 0] == pytest.approx(1.5 - top + 0.5 / FINE, abs=0.6 / FINE)
    # A thin veil of optical depth 0.7 in front, over one of the rays.
    veil = index[3 * SIDE // 4 - 1, int(0.4 * SIDE), int(0.4 * SIDE)]
    grid.codes[veil, :16] = encode(np.float32(0.7 * FINE), LEVELS)
    depth = LEVELS[grid.codes[veil, 0]] / FINE
    found = backend.profile_surface(origins, down, 8)
    assert found.groups.tolist() == [2, 1]
    assert found.samples[0, 0, 1] == pytest.approx(1 - np.exp(-depth), abs=1e-3)
    assert depth == pytest.approx(0.7, rel=0.03)
    assert found.samples[0, :2, 1].sum() == pytest.approx(1.0, abs=1e-4)


def test_colours_are_the_fields_at_the_samples(generator):
    """Pictures: the shell's alpha and depth, the field's colours; one sample gives alpha times colour(median)."""
    backend, _ = shelled(generator)
    origins, directions = random_rays(generator, 300)
    for samples in (1, 3, MAX_SAMPLES):
        seen = backend.render_surface(origins, directions, None, samples)
        found = backend.profile_surface(origins, directions, samples)
        ray = np.repeat(np.arange(300), found.groups)
        kept = np.arange(MAX_SAMPLES) < found.groups[:, None]
        t, weight, _ = found.samples[kept].T
        position = (origins[ray] + t[:, None] * directions[ray]).clip(0, 1)
        color = backend.query(position, directions[ray])[1]
        expected = np.zeros((300, 4))
        np.add.at(expected, ray, weight[:, None] * np.concatenate([color, np.ones((len(ray), 1))], 1))
        np.testing.assert_allclose(seen.rgba, expected, atol=3e-3)  # pictures read a table of half precision
        assert (seen.evaluations == found.groups).all() and seen.evaluations.max() == min(samples, found.groups.max())
        assert seen.looked == found.looked.sum()
        hit = found.counts > 0
        mass, middle = (
            found.cells[..., 2] * (np.arange(found.cells.shape[1]) < found.counts[:, None]),
            found.cells[..., 0],
        )
        np.testing.assert_allclose(seen.depth[hit], ((mass * middle).sum(1) / mass.sum(1).clip(1e-9))[hit], atol=1e-4)
        assert (seen.depth[~hit] == 0).all()


@numba.njit
def exponentials(x, out):
    for i in range(len(x)):
        out[i] = fast_exp(x[i])


def test_exponentials_in_line_are_exponentials(generator):
    x = np.concatenate([generator.uniform(-87, 88, 10000), generator.normal(0, 1e-3, 100), [0.0]]).astype(np.float32)
    out = np.zeros_like(x)
    exponentials(x, out)
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=5e-6)
    assert out[-1] == 1.0
    beyond = np.zeros(3, np.float32)
    exponentials(np.array([-100.0, -1e30, -np.inf], np.float32), beyond)
    assert (beyond >= 0.0).all() and (beyond < 2e-38).all()


def test_codes_stand_for_the_nearest_densities(generator):
    density = np.exp(generator.uniform(np.log(0.5), np.log(LEVELS[-1]), 1000)).astype(np.float32)
    levels = make_levels(0.5, SIDE)
    assert levels[0] == 0 and levels[1] == 0.5 and (np.diff(levels) > 0).all()
    ratio = levels[encode(density, levels)] / density
    half = np.sqrt(levels[2] / levels[1])
    assert (ratio < half * 1.0001).all() and (ratio > 0.9999 / half).all()
    assert encode(np.array([0.0, 1e9, 0.5]), levels).tolist() == [0, 255, 1]


def test_adjacent_limits_make_the_whole_ray(generator):
    """Alpha in front of and behind any place together is that of the whole ray, where it is not cut off as opaque."""
    backend, grid = shelled(generator, bricks=0.1, solid=0.3)
    grid.levels[:] = np.minimum(grid.levels, 10.0)
    origins, directions = random_rays(generator, 200)
    middle = generator.uniform(0.5, 2.5, (200, 1)).astype(np.float32)
    nothing, far = np.zeros_like(middle), np.full_like(middle, 1e9)
    whole = backend.render_surface(origins, directions, None, 4).rgba[:, 3]
    front, back = (
        backend.render_surface(origins, directions, np.concatenate(limits, axis=1), 4).rgba[:, 3]
        for limits in ((nothing, middle), (middle, far))
    )
    clear = whole < 0.9
    assert (front[clear] > 0.01).sum() > 10 and (back[clear] > 0.01).sum() > 10
    np.testing.assert_allclose((front + (1 - front) * back)[clear], whole[clear], atol=1e-3)


RAYS = 333


def batch_of(arrays, backend, count):
    """The rays that a step trains on."""
    group, parts = backend._scratch[0].rays, []
    for first in range(0, count, GROUP):
        some = min(GROUP, count - first)
        pixel_rays.random_pixels(arrays, backend.seed, backend.step, first, some, True, group)
        parts.append([each[:some].copy() for each in (group.origin, group.direction, group.target, group.background)])
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_gradients_are_those_of_autograd(generator, monkeypatch, share):
    """Of every parameter; and what the shell's cells say, by autograd through compositing, where it is passed on."""
    monkeypatch.setattr("nerf_core.kernels.cpu.surface_sampling.SHARE", share)
    # Kernels differ in rounding: a cut must not hang on whether it saves just enough.
    monkeypatch.setattr("nerf_core.kernels.cpu.surface_sampling.MERGED_BELOW", 0.0)
    backend, grid = shelled(generator)
    views = view_arrays(ball_views(6, 24), NORMALISATION)
    backend.load_views(views, True)
    origins, directions, target, background = batch_of(views, backend, RAYS)
    samples = int(generator.choice([1, 2, 4]))
    # A chunk at a time, as in training: rays that go through empty space together round together.
    bounds = np.arange(CHUNKS + 1) * RAYS // CHUNKS
    parts = [
        backend.profile_surface(origins[first:last], directions[first:last], samples)
        for first, last in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    found = SurfaceProfile(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    stats = backend.surface.gradients(RAYS, samples)
    assert stats.rays == RAYS and abs(stats.samples - found.groups.sum()) <= 4 and stats.samples > RAYS // 4

    ray = np.repeat(np.arange(RAYS), found.groups)
    kept = np.arange(MAX_SAMPLES) < found.groups[:, None]
    places = found.samples[kept]
    position = torch.from_numpy((origins[ray] + places[:, :1] * directions[ray]).clip(0, 1))
    parameters = {
        name.removeprefix("params/"): torch.from_numpy(array).requires_grad_()
        for name, array in backend.arrays().items()
        if name.startswith("params/")
    }
    density, color = field.query(backend.layout, parameters, position, torch.from_numpy(directions[ray]))

    # The cells of all rays, each with the sample that stands for it and the logarithm of its density.
    crossing = np.arange(found.cells.shape[1]) < found.counts[:, None]
    owner = np.repeat(np.arange(RAYS), found.counts)
    order = np.concatenate([np.arange(count) for count in found.counts])
    starts = np.cumsum(found.groups) - found.groups
    sample = np.array(
        [
            starts[r] + np.searchsorted(found.samples[r, : found.groups[r], 2], i, side="right")
            for r, i in zip(owner, order, strict=True)
        ]
    )
    length = found.cells[crossing][:, 1].astype(np.float64)
    middle = found.cells[crossing][:, :1] * directions[owner] + origins[owner]
    _, numbers = dense(grid)
    cell = numbers[tuple(np.clip((middle * FINE).astype(int), 0, FINE - 1).T)]
    logs = torch.from_numpy(
        np.log(np.maximum(grid.levels[grid.codes.reshape(-1)[cell]], 1e-3).astype(np.float64))
    ).requires_grad_()

    def loss_of(logs, color):
        rgb = torch.from_numpy(background.astype(np.float64))
        weights_of = []
        for r in range(RAYS):
            here = np.flatnonzero(owner == r)
            depth = logs[torch.from_numpy(here)].exp() * torch.from_numpy(length[here])
            passing = torch.exp(-torch.cumsum(depth, 0))
            before = torch.cat([torch.ones(min(1, len(here)), dtype=torch.float64), passing[:-1]])
            weight = before - passing
            if len(here) and passing[-1] < OPAQUE_BELOW:
                weight = torch.cat([weight[:-1], before[-1:]])
            weights_of.append(weight)
        weight = torch.cat(weights_of)
        mass = torch.zeros(len(ray), dtype=torch.float64).index_add(0, torch.from_numpy(sample), weight)
        of_ray = torch.from_numpy(ray)
        total = torch.zeros(RAYS, 4, dtype=torch.float64).index_add(
            0, of_ray, mass[:, None] * torch.cat([color, torch.ones(len(ray), 1)], 1).double()
        )
        made = total[:, :3] + (1 - total[:, 3:]) * rgb
        return (made - torch.from_numpy(target.astype(np.float64))).square().mean()

    loss = loss_of(logs, color)
    assert stats.loss == pytest.approx(loss.item(), rel=1e-3)
    (slopes,) = torch.autograd.grad(loss, logs, retain_graph=True)
    for i in np.argsort(-slopes.abs().numpy())[:5]:  # the oracle's own gradient, by finite differences
        step = torch.zeros_like(logs)
        step[i] = 1e-4
        with torch.no_grad():
            change = (loss_of(logs + step, color) - loss_of(logs - step, color)) / 2e-4
        assert change.item() == pytest.approx(slopes[i].item(), rel=2e-3)
    passed = torch.zeros(len(ray), dtype=torch.float64).index_add(0, torch.from_numpy(sample), slopes)
    surrogate = loss + share * (passed.detach() * density.double().log()).sum()
    expected = dict(zip(parameters, torch.autograd.grad(surrogate, list(parameters.values())), strict=True))

    batch = backend._batch
    mine = backend._read(batch.weights.sum(axis=0), "")
    table = np.zeros(backend.layout.shapes["table"], np.float32)
    for level in range(backend.layout.levels):
        for chunk in range(CHUNKS):
            gradient, count = batch.gradient[chunk, level], batch.trained[chunk]
            scatter_level(level_array(backend.layout), level, batch.position[chunk], gradient, count, table, 0, 1 << 30)
    for name, gradient in expected.items():
        error = np.linalg.norm({**mine, "table": table}[name] - gradient.numpy()) / np.linalg.norm(gradient)
        assert gradient.abs().max() > 0 and error < 2e-2, (name, error)
