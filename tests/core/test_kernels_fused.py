"""The fused training step against the torch oracle: loss, every gradient, the update, the occupancy grid."""

import numpy as np
import pytest
import torch

from nerf_core.fields.hash_grid import FastLayout, FastSettings
from nerf_core.kernels.backend import OccupancyUpdate
from nerf_core.kernels.cpu import rays as pixel_rays
from nerf_core.kernels.cpu.backend import WEIGHTS, CpuBackend
from nerf_core.kernels.cpu.encoding import scatter_level
from nerf_core.kernels.cpu.structures import CHUNK_ROWS, CHUNKS, GROUP, level_array
from nerf_core.kernels.reference import field, volume
from nerf_core.kernels.reference.backend import ReferenceBackend
from nerf_core.kernels.views import view_arrays

from .fast_field import NORMALISATION, SMALL, ball_views, fresh_seed, random_parameters, random_rays, state_arrays

LAYOUT = FastLayout.from_settings(SMALL)
RAYS = 333
BOX = NORMALISATION.unit_bounds


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def batch_of(arrays, backend, count):
    """The rays that a step of the CPU backend trains on, from the same generator, as tensors."""
    group = backend._scratch[0].rays
    parts = []
    for first in range(0, count, GROUP):
        some = min(GROUP, count - first)
        pixel_rays.random_pixels(arrays, backend.seed, backend.step, first, some, True, group)
        names = (group.origin, group.direction, group.target, group.background, group.jitter)
        parts.append([torch.from_numpy(array[:some].copy()) for array in names])
    return [torch.cat(rows) for rows in zip(*parts, strict=True)]


def oracle(backend, parameters, batch, count):
    """Loss and gradients by autograd, and how many samples were trained."""
    settings = backend.settings
    tensors = {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in parameters.items()}
    origins, directions, target, background, jitter = batch
    step = backend.training_step_length()
    cells = torch.from_numpy(backend.occupied)
    samples = volume.march(origins, directions, torch.from_numpy(backend.box), cells, step, jitter)
    density, color = field.query(LAYOUT, tensors, samples.position, directions[samples.ray])
    thresholds = settings.weight_threshold, settings.transmittance_threshold
    result = volume.composite(samples, density, color, step, count, *thresholds)
    loss = volume.loss(result, target, background)
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    named = {name: gradient.numpy() for name, gradient in zip(tensors, gradients, strict=True)}
    return loss.item(), named, int(result.selected.sum())


def fused_gradients(backend, count):
    """What the kernels leave in the batch, as arrays of the layout's shapes."""
    stats = backend.gradients(count)
    batch = backend._batch
    flat = batch.weights.sum(axis=0)
    named = backend._read(flat, "")
    table = np.zeros(LAYOUT.shapes["table"], np.float32)
    for level in range(LAYOUT.levels):
        for chunk in range(CHUNKS):
            scatter_level(
                level_array(LAYOUT),
                level,
                batch.position[chunk],
                batch.gradient[chunk, level],
                batch.trained[chunk],
                table,
                0,
                1 << 30,
            )
    return stats, {"table": table, **named}


@pytest.mark.parametrize(
    "weight_threshold, transmittance_threshold, shift, share",
    [(0.0, 0.0, 0.0, 1.0), (1e-3, 1e-3, 0.3, 1.0), (2e-2, 1e-1, 0.5, 0.4)],
    ids=["all samples", "usual thresholds", "high thresholds, holes"],
)
def test_loss_and_gradients(generator, weight_threshold, transmittance_threshold, shift, share):
    settings = SMALL.__class__(
        **{
            **SMALL.to_dict(),
            "weight_threshold": weight_threshold,
            "transmittance_threshold": transmittance_threshold,
        }
    )
    backend = CpuBackend(settings, BOX, int(generator.integers(1000)))
    backend.step = 1000  # past the coarse first steps
    parameters = random_parameters(LAYOUT, generator, density_shift=shift)
    arrays = state_arrays(backend, parameters)
    values = arrays["occupancy/values"]
    arrays["occupancy/values"] = np.where(values < 0, values, 1e3 * (generator.uniform(size=values.shape) < share))
    backend.load_arrays(arrays)
    views = view_arrays(ball_views(6, 24), NORMALISATION)
    backend.load_views(views, True)
    stats, mine = fused_gradients(backend, RAYS)
    loss, expected, trained = oracle(backend, parameters, batch_of(views, backend, RAYS), RAYS)
    assert stats.rays == RAYS and stats.overflow == 0
    assert stats.loss == pytest.approx(loss, rel=2e-4)
    assert stats.mse == pytest.approx(loss, rel=2e-4)
    # A sample within rounding of a threshold or a cell's wall may fall on either side of it.
    assert abs(stats.trained - trained) <= 3 and trained > RAYS
    for name, gradient in expected.items():
        error = np.linalg.norm(mine[name] - gradient) / np.linalg.norm(gradient)
        assert np.abs(gradient).max() > 0 and error < 5e-3, (name, error)


def test_gradient_of_the_first_steps_is_of_longer_steps(generator):
    backend = CpuBackend(SMALL, BOX, 3)
    assert backend.training_step_length() == pytest.approx(4 * backend.fine_step)
    views = view_arrays(ball_views(3, 16), NORMALISATION)
    backend.load_views(views, True)
    stats = backend.gradients(100)
    loss, _, trained = oracle(backend, LAYOUT.initial(3), batch_of(views, backend, 100), 100)
    assert stats.loss == pytest.approx(loss, rel=1e-4) and stats.trained == trained


def test_a_step_changes_what_the_gradients_say(generator):
    """One whole step, scatter and Adam included, against the oracle's gradients through the oracle's Adam."""
    backend = CpuBackend(SMALL, BOX, 5)
    parameters = random_parameters(LAYOUT, generator)
    backend.load_arrays(state_arrays(backend, parameters))
    views = view_arrays(ball_views(3, 16), NORMALISATION)
    backend.load_views(views, True)
    backend.rays = 200
    batch = batch_of(views, backend, 200)
    _, gradients, _ = oracle(backend, parameters, batch, 200)
    backend.train_step(0.0)
    after = backend.arrays()
    for name, gradient in gradients.items():
        first = after[f"adam/first/{name}"]
        assert np.linalg.norm(first - 0.1 * gradient) < 5e-3 * np.linalg.norm(first), name
        second = after[f"adam/second/{name}"]
        assert np.linalg.norm(second - 0.01 * gradient**2) < 1e-2 * np.linalg.norm(second), name
        moved = after[f"params/{name}"] - parameters[name]
        clear = np.abs(gradient) > 1e-3 * np.abs(gradient).max()
        # Adam's first step is the rate, whatever the gradient's size, against its sign.
        rate = SMALL.learning_rate / 32
        np.testing.assert_allclose(moved[clear], -rate * np.sign(gradient[clear]), rtol=1e-3, atol=1e-6)
        assert not moved[first == 0].any()
    assert not backend._table_state[2].any() and backend.step == 1


def test_rays_cut_short_are_counted():
    """Thin fog at thousands of steps a ray: far more to train than a chunk holds."""
    settings = FastSettings(
        levels=4, base_resolution=4, max_resolution=8, log2_table_size=10, occupancy_resolution=8, ray_steps=4096,
        weight_threshold=0.0,
    )  # fmt: skip
    backend = CpuBackend(settings, BOX, 0)
    backend.step = 1000
    backend.load_views(view_arrays(ball_views(4, 16), NORMALISATION), True)
    stats = backend.gradients(512)
    assert stats.overflow > 100
    assert backend._batch.trained.max() <= CHUNK_ROWS and np.isfinite(stats.loss)
    assert stats.rays == 512
    # The number of rays then comes down until they all fit.
    for _ in range(12):
        stats = backend.train_step(0.0)
    assert stats.rays < 100 and backend.gradients(backend.rays).overflow == 0


def test_threads_change_nothing():
    """Bit-identical after 40 steps, occupancy updates included, on 1, 2 and 11 threads (more than levels)."""
    views = view_arrays(ball_views(4, 16), NORMALISATION)
    results = []
    for threads in (1, 2, 11):
        backend = CpuBackend(SMALL, BOX, 9, threads=threads)
        backend.load_views(views, True)
        stats = [backend.train_step(step / 40) for step in range(40)]
        results.append((stats, backend.arrays()))
    for stats, arrays in results[1:]:
        assert stats == results[0][0]
        for name, array in arrays.items():
            assert np.array_equal(array, results[0][1][name]), name
    other = CpuBackend(SMALL, BOX, 10, threads=2)
    other.load_views(views, True)
    assert other.train_step(0.0).loss != results[0][0][0].loss


def test_rendering_is_the_oracles(generator):
    """Colour, alpha, depth of rays that hit, graze and miss; the same state on both backends."""
    backend, reference = CpuBackend(SMALL, BOX, 0), ReferenceBackend(SMALL, BOX, 0)
    arrays = state_arrays(backend, random_parameters(LAYOUT, generator, density_shift=0.4))
    values = arrays["occupancy/values"]
    arrays["occupancy/values"] = np.where(values < 0, values, 1e3 * (generator.uniform(size=values.shape) < 0.5))
    backend.load_arrays(arrays)
    reference.load_arrays(arrays)
    origins, directions = random_rays(generator, 800)
    rgba, depth, samples = backend.render(origins, directions)
    expected = reference.render(origins, directions)
    error = np.abs(rgba - expected[0]).max(axis=1)
    assert np.quantile(error, 0.98) < 1e-4 and error.mean() < 1e-4
    assert np.quantile(np.abs(depth - expected[1]), 0.98) < 1e-4
    assert not rgba[::8].any() and not depth[::8].any()
    assert (rgba[:, 3] > 0.5).sum() > 100 and samples > 800
    assert np.array_equal(backend.render(origins, directions)[0], rgba)
    assert backend.render(origins[:0], directions[:0])[0].shape == (0, 4)


def test_occupancy_follows_the_density(generator):
    """Both backends mark the same cells where the density is plain: high in one half, nothing in the other."""
    for make in (CpuBackend, ReferenceBackend):
        backend = make(SMALL, BOX, 1)
        parameters = LAYOUT.initial(1)
        # Level 0 (4 cells a side) holds a step in x, which the first unit of the network turns into log density.
        table = np.zeros_like(parameters["table"])
        side = 5
        x = np.arange(side**3) % side
        table[: side**3, 0] = np.where(x >= 3, 1.0, np.where(x <= 1, -1.0, 0.0))
        parameters["table"] = table
        for name in ("density_0", "density_1"):
            parameters[name][:] = 0
        parameters["density_0"][0, :2] = 10, -10
        parameters["density_1"][:2, 0] = 1, -1
        backend.load_arrays(state_arrays(backend, parameters))
        share = backend.update_occupancy(OccupancyUpdate(1, 0, 0.5))
        cells = backend.occupied
        inside = backend.arrays()["occupancy/values"] >= 0
        assert cells[inside[:, 0, 0]][:, :, 12:].all() and not cells[:, :, :4].any()
        assert cells[~inside].sum() == 0 and 0.2 < share < 0.6
        # Density that vanishes lets go of its cells after a few updates, and not at once.
        parameters["density_1"][:] = 0
        parameters["density_1"][:2, 0] = -1, -1
        backend.load_arrays(
            {**state_arrays(backend, parameters), "occupancy/values": backend.arrays()["occupancy/values"]}
        )
        backend.update_occupancy(OccupancyUpdate(1, 0, 0.5))
        assert backend.occupied[inside[:, 0, 0]][:, :, 12:].all()
        for _ in range(30):
            backend.update_occupancy(OccupancyUpdate(1, 0, 0.5))
        values = backend.arrays()["occupancy/values"]
        assert values[inside].max() < 2


def test_occupancy_update_touches_its_share_only():
    backend = CpuBackend(SMALL, BOX, 1)
    before = backend.arrays()["occupancy/values"].reshape(-1)
    backend.update_occupancy(OccupancyUpdate(8, 3, 0.5))
    changed = np.flatnonzero(backend.arrays()["occupancy/values"].reshape(-1) != before)
    inside = np.flatnonzero(before >= 0)
    assert np.array_equal(changed, inside[inside % 8 == 3])


def test_weights_are_padded_with_zeros_that_stay():
    backend = CpuBackend(SMALL, BOX, 2)
    backend.load_views(view_arrays(ball_views(2, 12), NORMALISATION), True)
    for step in range(5):
        backend.train_step(step / 5)
    padded = backend._matrices(backend._weights)[WEIGHTS.index("color_1")]
    assert padded.shape == (48, 16) and not padded[:, 3:].any() and padded[:, :3].all()
