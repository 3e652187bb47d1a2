"""The CPU backend against the reference backend on fresh random inputs, through what every backend offers.

Beside the fine operations and the fused step, which have files of their own: what lies between them.
"""

from dataclasses import replace

import numpy as np
import pytest

from nerf_core.kernels.backend import OccupancyUpdate
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.reference.backend import ReferenceBackend
from nerf_core.kernels.views import view_arrays

from .fast_field import NORMALISATION, SMALL, ball_views, fresh_seed, random_parameters, random_rays, state_arrays

SETTINGS = replace(SMALL, scene="bounded")


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def both(generator, box=NORMALISATION.unit_bounds, settings=SETTINGS, occupied=1.0, **parameters):
    """Both backends with the same random parameters and the same random occupancy grid."""
    backends = [kind(settings, box, int(generator.integers(1000))) for kind in (CpuBackend, ReferenceBackend)]
    state = state_arrays(backends[0], random_parameters(backends[0].layout, generator, **parameters))
    values = state["occupancy/values"]
    lit = generator.uniform(size=values.shape) < occupied
    state["occupancy/values"] = np.where(values < 0, values, 1e3 * lit).astype(np.float32)
    for backend in backends:
        backend.load_arrays(state)
    return backends


def random_box(generator):
    """Some box in the unit cube, as `Normalisation` makes them: the longest side is 1."""
    size = generator.uniform(0.2, 1.0, 3)
    size[generator.integers(3)] = 1.0
    return np.stack([0.5 - 0.5 * size, 0.5 + 0.5 * size])


def test_rays_enter_and_leave_any_box_alike(generator):
    """From outside, from within, along axes and along faces' planes: as many samples, at the same distances."""
    box = random_box(generator)
    # Cells that lie outside the box are empty, so the box cuts cells: the rays' own clipping decides.
    backends = both(generator, box)
    origins, directions = random_rays(generator, 300)
    origins[::3] = generator.uniform(box[0], box[1], (100, 3))
    along = np.arange(300) % 5 == 0
    directions[along] = np.eye(3, dtype=np.float32)[generator.integers(0, 3, along.sum())]
    directions[along] *= generator.choice([-1, 1], (along.sum(), 1)).astype(np.float32)
    (counts, positions, distances, *_), (wanted, _, expected, *_) = (b.march(origins, directions) for b in backends)
    assert counts.sum() > 200 and (counts == 0).any()
    # The last sample may lie within rounding of where a ray leaves, or of a cell's wall.
    assert np.abs(counts - wanted).sum() <= 0.005 * counts.sum()
    starts, others = np.cumsum(counts) - counts, np.cumsum(wanted) - wanted
    for ray in np.flatnonzero((counts == wanted) & (counts > 0)):
        mine = distances[starts[ray] : starts[ray] + counts[ray]]
        np.testing.assert_allclose(mine, expected[others[ray] : others[ray] + counts[ray]], atol=1e-4)
        at = positions[starts[ray] : starts[ray] + counts[ray]]
        np.testing.assert_allclose(at, origins[ray] + mine[:, None] * directions[ray], atol=1e-4)


@pytest.mark.parametrize("shift", [-60.0, 0.0, 60.0], ids=["nothing", "ordinary", "beyond the clamp"])
def test_density_and_colour_over_the_whole_range(generator, shift):
    backends = both(generator, density_shift=shift)
    positions = generator.uniform(0, 1, (700, 3)).astype(np.float32)
    _, directions = random_rays(generator, 700)
    (density, color), (wanted, expected) = (backend.query(positions, directions) for backend in backends)
    assert np.isfinite(density).all() and (density >= 0).all()
    if shift > 0:
        assert (density > 0.99 * density.max()).mean() > 0.1  # what is clamped is clamped to one value
    np.testing.assert_allclose(density, wanted, rtol=1e-3 if shift else 2e-4, atol=1e-30)
    np.testing.assert_allclose(color, expected, atol=1e-5)


@pytest.mark.parametrize("thresholds", [(0.0, 0.0), (1e-3, 1e-3), (0.05, 0.1)], ids=str)
def test_pictures_with_any_thresholds(generator, thresholds):
    settings = replace(SETTINGS, weight_threshold=thresholds[0], transmittance_threshold=thresholds[1])
    backends = both(generator, random_box(generator), settings, occupied=0.6, density_shift=0.4)
    origins, directions = random_rays(generator, 500)
    (rgba, depth, _), (wanted, expected, _) = (backend.render(origins, directions) for backend in backends)
    error = np.abs(rgba - wanted).max(axis=1)
    # A sample within rounding of a threshold or of a wall may fall on either side of it.
    assert np.quantile(error, 0.94) < 2e-4 and error.mean() < 5e-3
    assert np.quantile(np.abs(depth - expected), 0.94) < 1e-3
    assert rgba[:, 3].max() > 0.5


def test_the_occupancy_grid_refreshes_alike(generator):
    """With a table that is constant in every level the density is one number: what remains is decay and maximum."""
    backends = both(generator)
    state = backends[0].arrays()
    offsets, table = backends[0].layout.offsets, state["params/table"]
    for first, end in zip(offsets[:-1], offsets[1:], strict=True):
        table[first:end] = generator.uniform(-0.5, 0.5, 4)
    inside = state["occupancy/values"] >= 0
    state["occupancy/values"][inside] = generator.uniform(0, 3, inside.sum())
    for update in (OccupancyUpdate(1, 0, 0.5), OccupancyUpdate(2, 1, 0.8), OccupancyUpdate(8, 5, 0.95)):
        found = []
        for backend in backends:
            backend.load_arrays(state)
            share = backend.update_occupancy(update)
            found.append((backend.arrays()["occupancy/values"], backend.occupied, share))
        density = backends[1].query(np.full((1, 3), 0.5, np.float32), None)[0][0]
        chosen = np.arange(inside.size).reshape(inside.shape) % update.every == update.phase
        before = state["occupancy/values"]
        expected = np.where(inside & chosen, np.maximum(before * np.float32(update.decay), density), before)
        for values, _, _ in found:
            np.testing.assert_allclose(values, expected, rtol=1e-5)
        near = np.abs(found[0][0] - min(backends[0].occupancy_limit, float(expected[inside].mean()))) < 1e-4
        assert (found[0][1] == found[1][1])[~near].all() and found[0][1].any() and not found[0][1][~inside].any()
        assert found[0][2] == pytest.approx(found[1][2], abs=(near.sum() + 1) / inside.sum())


def test_training_samples_raise_their_cells(generator):
    """After a step a cell that trained samples lie in holds at least the density that was met there before the step."""
    backend, reference = both(generator, density_shift=0.3)
    backend.step = 1007  # the grid is updated after it
    state = backend.arrays()
    values = state["occupancy/values"]
    values[values >= 0] = generator.uniform(0, 2, (values >= 0).sum())
    backend.load_arrays(state)
    backend.load_views(view_arrays(ball_views(4, 16), NORMALISATION), True)
    backend.rays = 300
    stats = backend.gradients(300)
    backend._update(0.0)
    batch = backend._batch
    met = np.concatenate([batch.position[chunk, :count] for chunk, count in enumerate(batch.trained)])
    assert len(met) == stats.trained > 300
    density, _ = reference.query(met, None)
    side = values.shape[0]
    x, y, z = np.minimum((met * side).astype(np.int64), side - 1).T
    expected = values.copy()
    np.maximum.at(expected, (z, y, x), density)
    np.testing.assert_allclose(backend.arrays()["occupancy/values"], expected, rtol=1e-3)
    assert (expected > values).any()
