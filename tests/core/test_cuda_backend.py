"""The CUDA backend as a whole: its fused step against the reference's, its counters, its state, what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from nerf_core.contract.errors import NerfError
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.cuda import reports, step
from nerf_core.kernels.cuda.advance import launch_begin_step, launch_end_step
from nerf_core.kernels.cuda.backend import CudaBackend
from nerf_core.kernels.cuda.buffers import State
from nerf_core.kernels.reference.backend import ReferenceBackend
from nerf_core.kernels.reference.pixels import PixelBatch
from nerf_core.kernels.views import view_arrays

from .fast_field import NORMALISATION, SMALL, ball_views, fresh_seed, random_parameters, random_rays, state_arrays

ROOT = Path(__file__).resolve().parents[2]
BOX = NORMALISATION.unit_bounds
# Small, because the interpreter takes 20 ms a ray; hashed and dense levels, more than one block of everything.
STEP = 1007
"""A late training step after which the occupancy grid is updated."""
BOUNDED = replace(SMALL, scene="bounded", ray_steps=48, samples_per_step=1024, max_rays_per_step=40, depth_loss=0.0)
UNBOUNDED = replace(BOUNDED, scene="unbounded", step_growth=1 / 16)
DEEP, DEEP_UNBOUNDED = replace(BOUNDED, depth_loss=0.5), replace(UNBOUNDED, depth_loss=0.5)


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def make(settings, kernel_device, generator, half=False, views=True, share=0.5, density_shift=0.5, value=0.5):
    """A backend past the coarse first steps, with parameters far from zero and holes in its occupancy grid."""
    backend = CudaBackend(settings, BOX, int(generator.integers(2**40)), kernel_device, half)
    arrays = state_arrays(backend, random_parameters(backend.layout, generator, density_shift=density_shift))
    values = arrays["occupancy/values"]
    arrays["occupancy/values"] = np.where(values < 0, values, value * (generator.uniform(size=values.shape) < share))
    backend.load_arrays({name: array.astype(np.float32) for name, array in arrays.items()})
    backend.load_counters({"step": STEP, "rays": 37})
    if views:
        backend.load_views(some_views(settings), True)
    return backend


def some_views(settings):
    """Views of the ball, with depths (of anything) where they are trained on; a third is not known."""
    arrays = view_arrays(ball_views(3, 16), NORMALISATION)
    if not settings.depth_loss:
        return arrays
    depths = np.random.default_rng(7).uniform(-0.5, 1.5, len(arrays.pixels)).clip(0.0)
    return arrays._replace(depths=depths.astype(np.float32))


def step_of_the_reference(backend, before, progress, settings):
    """The composition of the reference's operations, over the rays that `backend`'s step has just trained on."""
    training = backend._training
    rays = before["rays"]
    batch = PixelBatch(
        training.packed.origin,
        training.packed.direction,
        training.batch.target,
        training.batch.background,
        training.packed.jitter,
        torch.zeros_like(training.packed.jitter) if training.batch.depth is None else training.batch.depth,
    )
    reference = ReferenceBackend(settings, BOX, 0)
    reference.load_arrays(before["arrays"])
    reference.load_counters({"step": STEP, "rays": rays})
    reference.load_views(some_views(settings), True)
    reference._pixels.sample = lambda *_: PixelBatch(*(part[:rays].cpu() for part in batch))
    return reference.train_step(progress), reference.arrays()


@pytest.mark.parametrize(
    "settings, half",
    [(BOUNDED, False), (UNBOUNDED, False), (BOUNDED, True), (DEEP, False), (DEEP_UNBOUNDED, False)],
    ids=["fp32", "fp32 unbounded", "fp16", "depth", "depth unbounded"],
)
def test_the_fused_step_is_the_references(kernel_device, generator, settings, half):
    backend = make(settings, kernel_device, generator, half)
    before = {"arrays": backend.arrays(), "rays": 37}
    stats = backend.train_step(0.3)
    mine = backend.arrays()
    expected_stats, expected = step_of_the_reference(backend, before, 0.3, settings)
    tolerance = 2e-2 if half else 2e-3
    assert stats.rays == 37 and stats.overflow == 0 and stats.trained > 37
    assert stats.loss == pytest.approx(expected_stats.loss, rel=tolerance)
    assert stats.mse == pytest.approx(expected_stats.mse, rel=tolerance)
    if settings.depth_loss:
        assert stats.depth_loss == pytest.approx(expected_stats.depth_loss, rel=tolerance) and stats.depth_loss > 0.01
    else:
        assert stats.depth_loss is None and expected_stats.depth_loss is None
    # A sample within rounding of a threshold or a cell's wall may fall on either side of it.
    assert abs(stats.trained - expected_stats.trained) <= (4 if half else 2)
    # In half precision a hidden unit may fall on the other side of its ReLU: of 37 rays, one sample's part shows.
    loose = 2.5 if half else 1.0
    for name in backend.layout.shapes:
        first, wanted = mine[f"adam/first/{name}"], expected[f"adam/first/{name}"]
        assert np.abs(wanted).max() > 0
        assert np.linalg.norm(first - wanted) < 2 * loose * tolerance * np.linalg.norm(wanted), name
        second, wanted = mine[f"adam/second/{name}"], expected[f"adam/second/{name}"]
        assert np.linalg.norm(second - wanted) < 4 * loose * tolerance * np.linalg.norm(wanted), name
        # Adam's step is the rate wherever the gradient is clear of rounding.
        moved = mine[f"params/{name}"] - before["arrays"][f"params/{name}"]
        wanted = expected[f"params/{name}"] - before["arrays"][f"params/{name}"]
        gradient = np.abs(expected[f"adam/first/{name}"])
        clear = gradient > 0.05 * gradient.max()
        if half:
            clear &= np.abs(first - expected[f"adam/first/{name}"]) < 0.5 * gradient
        np.testing.assert_allclose(moved[clear], wanted[clear], rtol=0.1, atol=1e-6)
        if not half and stats.trained == expected_stats.trained:
            assert not moved[gradient == 0].any(), name
    # What samples have raised; the cells that the update asks, each backend asks at points of its own.
    backend.load_counters({"step": STEP, "rays": 37})
    update = backend.occupancy_update()
    fed = (np.arange(expected["occupancy/values"].size) - update.phase) % update.every != 0
    was, now = before["arrays"]["occupancy/values"].reshape(-1)[fed], expected["occupancy/values"].reshape(-1)[fed]
    assert (now > was).sum() > 20
    np.testing.assert_allclose(mine["occupancy/values"].reshape(-1)[fed], now, rtol=tolerance)
    assert (mine["occupancy/values"] < 0).sum() == backend.outside_cells().sum()
    # All gradients are zero again.
    assert not backend.field.parameters.table_gradient.any() and not backend.field.parameters.weights_gradient.any()
    assert torch.equal(backend.field.parameters.table_copy, backend.field.parameters.table.to(backend.dtype))


@pytest.mark.parametrize("room", [1 << 14, 256], ids=["room", "too little room for a piece"])
def test_what_cannot_be_seen_takes_no_place(kernel_device, room):
    """Rays through fog for several pieces of the lattice: packed is what the reference keeps, no more and no less."""
    generator = np.random.default_rng(1191502244)  # whose fog is neither too thin nor too thick
    settings = replace(UNBOUNDED, ray_steps=512, step_growth=1 / 64, samples_per_step=room, max_rays_per_step=32)
    backend = make(settings, kernel_device, generator, share=0.9, density_shift=0.0, value=1e3)
    training, state = backend._training, backend._state
    count = 9 if room > 256 else 20
    origins, directions = random_rays(generator, count)
    packed = training.packed
    packed.origin[:count] = torch.from_numpy(origins)
    packed.direction[:count] = torch.from_numpy(directions)
    packed.jitter.fill_(0.5)
    state.i[1] = count
    state.f[2], state.f[3] = backend.fine_step, backend.fine_growth
    launch_begin_step(state.i)
    step.count(backend.field, backend._numbers, state, packed)
    marched = packed.ray_count[:count].cpu().numpy().copy()
    step.keep_visible(backend.field, backend._numbers, state, packed, training.batch, training.pieces)
    counts = packed.ray_count[:count].cpu().numpy().copy()
    reference = ReferenceBackend(settings, BOX, 0)
    reference.load_arrays(backend.arrays())
    half = torch.full((count,), 0.5)
    kept = reference._visible(torch.from_numpy(origins), torch.from_numpy(directions), half)[0]
    wanted = torch.bincount(kept.ray, minlength=count).numpy()
    assert wanted.sum() < 0.95 * marched.sum() and wanted.max() > 128, (marched, wanted)
    if room == 256:
        # Rays that find no room in a piece are not known to end in it.
        assert (counts >= wanted - 2).all() and (counts <= marched).all() and counts.sum() > wanted.sum()
        return
    # A sample within rounding of the threshold may fall on either side of it.
    assert np.abs(counts - wanted).max() <= 2, (counts, wanted)
    step.pack(backend._numbers, state, packed)
    assert state.i[2].item() == state.i[7].item() == counts.sum() and state.i[3].item() == 0
    for ray in range(count):
        start, number = int(packed.ray_start[ray]), int(packed.ray_count[ray])
        t = packed.s_t[start : start + number].cpu().numpy()
        expected = kept.distance[kept.ray == ray].numpy()
        shared = min(number, len(expected))
        np.testing.assert_allclose(t[:shared], expected[:shared], rtol=1e-4)


def test_the_schedules_on_the_device_are_everybodys(kernel_device, generator):
    twin = ReferenceBackend(BOUNDED, BOX, 1)
    state = State(torch.device(kernel_device))
    state.i[2:6] = 9
    launch_begin_step(state.i)
    assert not state.i[2:6].any()
    for count in (0, 5, 31, 5000):
        samples, rays = int(generator.integers(10, 4000)), 38
        state.i[0], state.i[1], state.i[7], state.f[1] = count, rays, samples, 57.0
        launch_end_step(state.i, state.f, 1024, 40)
        twin.step, twin.rays = count, rays
        twin.adapt_rays(step_stats(rays, samples))
        assert abs(state.i[1].item() - twin.rays) <= 1 and state.i[0].item() == count + 1
        assert state.f[8].item() == pytest.approx(0.5) and state.i[8:11].tolist() == [count, rays, samples]


@pytest.mark.parametrize("settings", [BOUNDED, UNBOUNDED], ids=["bounded", "unbounded"])
def test_the_first_steps_are_coarse_as_everywhere(kernel_device, generator, settings):
    backend = make(settings, kernel_device, generator)
    backend.load_counters({"step": 20, "rays": 1})
    rate, spacing, growth = backend.learning_rate(0.7), backend.training_step_length(), backend.training_growth()
    backend.train_step(0.7)
    assert backend._state.f[[0, 2, 3]].tolist() == pytest.approx([rate, spacing, growth], rel=1e-6)
    assert spacing >= 2 * backend.fine_step and rate < settings.learning_rate


def step_stats(rays, samples):
    from nerf_core.kernels.backend import BatchStats

    return BatchStats(0.1, 0.1, rays, samples, samples, 0)


def test_rays_that_find_no_room_are_counted(kernel_device, generator):
    """Thin fog at hundreds of steps a ray: far more than the packed buffer holds."""
    settings = replace(BOUNDED, ray_steps=512, samples_per_step=256, max_rays_per_step=32)
    backend = make(settings, kernel_device, generator, share=1.1, density_shift=-3.0, value=1e3)
    backend.load_counters({"step": 1000, "rays": 32})
    stats = backend.train_step(0.5)
    samples = backend._training.packed.s_t.numel()
    assert stats.samples > samples >= 256 and 0 < stats.overflow < 32
    assert np.isfinite(stats.loss) and stats.trained <= samples
    counts = backend._training.packed.ray_count.cpu().numpy()
    assert counts.sum() <= samples and (counts == 0).sum() >= stats.overflow
    # The next step is given fewer rays, as far down as they may go.
    assert backend.rays == 32 and backend.counters()["rays"] == 32


@pytest.mark.parametrize("network", ["density", "colour"])
def test_a_step_that_is_not_finite_is_skipped(kernel_device, generator, network):
    backend = make(BOUNDED, kernel_device, generator, half=True)
    before = backend.arrays()
    good = backend.field.parameters.weights_copy.clone()
    broken = slice(0, 100) if network == "density" else slice(-100, None)
    backend.field.parameters.weights_copy[broken] = float("nan")
    stats = backend.train_step(0.1)
    after = backend.arrays()
    for name, array in before.items():
        if name != "occupancy/values":
            np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert np.isfinite(stats.loss) and backend.counters()["skipped"] == 1 and backend.step == STEP + 1
    assert not backend.field.parameters.weights_gradient.any() and not backend.field.parameters.table_gradient.any()
    backend.field.parameters.weights_copy.copy_(good)
    backend.train_step(0.1)
    assert (backend.counters()["step"], backend.counters()["skipped"]) == (STEP + 2, 1)
    assert (backend.arrays()["params/table"] != before["params/table"]).any()


def test_no_end_of_steps_that_are_not_finite_is_reported():
    state = torch.zeros(32, dtype=torch.int32)
    floats = state[16:].view(torch.float32)
    ring = reports.Reports(state)
    losses = []
    for count in range(reports.PATIENCE + 2):
        ring.begin(0.25, 0.5, 0.75, 0.125)
        assert floats[:6].tolist() == [0.25, 0, 0.5, 0.75, 0.125, 0]
        state[1], state[9], state[10], state[11], state[12] = 90, 80, 700, 3, 500
        state[14] = 0 if count == 0 else count  # the first step was good, the others skipped
        floats[8] = 0.5 if count == 0 else float("nan")
        stats = ring.end()
        losses.append(stats.loss)
        assert (stats.rays, stats.samples, stats.overflow, stats.trained) == (80, 700, 3, 500) and ring.rays == 90
    assert losses[: reports.PATIENCE] == [0.5] * reports.PATIENCE and np.isnan(losses[-1])


def test_what_it_trained_every_backend_renders(kernel_device, generator):
    backend = make(BOUNDED, kernel_device, generator, half=True)
    origins, directions = random_rays(generator, 90)
    evaluations = np.zeros(90, np.int32)
    rgba, depth, samples = backend.render(origins, directions, None, evaluations)
    assert evaluations.sum() == samples and not evaluations[rgba[:, 3] == 0].any()
    assert samples > 90 and rgba[:, 3].max() > 0.5
    for other in (CpuBackend(BOUNDED, BOX, 0, threads=1), ReferenceBackend(BOUNDED, BOX, 0)):
        other.check_arrays(backend.arrays())
        other.load_arrays(backend.arrays())
        wanted, wanted_depth, _ = other.render(origins, directions)
        np.testing.assert_array_equal(backend.occupied, other.occupied)
        # In decibels, as for pictures: the fields differ by what fp16 rounds.
        assert -10 * np.log10(np.mean((rgba - wanted) ** 2)) > 50, other.name
        seen = wanted[:, 3] > 0.1
        np.testing.assert_allclose(depth[seen], wanted_depth[seen], atol=5e-3)
        twin = CudaBackend(BOUNDED, BOX, 5, kernel_device, half=False)
        twin.load_arrays(other.arrays())
        twin.load_counters({**other.counters(), "step": 70})
        assert twin.step == 70 and twin.counters()["step"] == 70
        for name, array in backend.arrays().items():
            np.testing.assert_array_equal(twin.arrays()[name], array, err_msg=name)
        np.testing.assert_allclose(twin.render(origins, directions)[0], wanted, atol=2e-4)


@pytest.mark.parametrize("settings", [BOUNDED, UNBOUNDED], ids=["bounded", "unbounded"])
def test_rays_within_limits(kernel_device, generator, settings):
    backend = make(settings, kernel_device, generator, views=False)
    reference = ReferenceBackend(settings, BOX, 0)
    reference.load_arrays(backend.arrays())
    origins, directions = random_rays(generator, 40)
    limits = np.sort(generator.uniform(0.5, 2.5, (40, 2)), axis=-1).astype(np.float32)
    limits[::9] = limits[::9, ::-1]  # nothing is looked at
    (rgba, depth, _), (wanted, far, _) = (each.render(origins, directions, limits) for each in (backend, reference))
    assert wanted[:, 3].max() > 0.3 and not rgba[::9].any()
    close = np.abs(rgba - wanted).max(axis=1) < 2e-3  # but for rays that a cell's wall gave or took a sample
    assert close.sum() >= 37
    seen = close & (wanted[:, 3] > 0.1)
    np.testing.assert_allclose(depth[seen], far[seen], rtol=1e-2)
    whole = backend.render(origins, directions)[0]
    np.testing.assert_array_equal(whole, backend.render(origins, directions, np.tile([0.0, 1e30], (40, 1)))[0])


def test_marching_and_asking(kernel_device, generator, monkeypatch):
    backend = make(UNBOUNDED, kernel_device, generator, views=False)
    reference = ReferenceBackend(UNBOUNDED, BOX, 0)
    reference.load_arrays(backend.arrays())
    origins, directions = random_rays(generator, 33)
    # Less room than is needed, and more than one part.
    monkeypatch.setattr("nerf_core.kernels.cuda.backend.MARCH_SAMPLES", 100)
    monkeypatch.setattr("nerf_core.kernels.cuda.backend.MARCH_RAYS", 20)
    mine, wanted = backend.march(origins, directions), reference.march(origins, directions)
    assert np.abs(mine[0] - wanted[0]).max() <= 1 and mine[0].sum() > 100
    if (mine[0] == wanted[0]).all():
        for part, expected in zip(mine[1:], wanted[1:], strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr("nerf_core.kernels.cuda.backend.QUERY_POINTS", 50)
    points = generator.uniform(-3, 4, (120, 3)).astype(np.float32)
    along = generator.normal(size=(120, 3)).astype(np.float32)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    density, color = backend.query(points, along)
    wanted_density, wanted_color = reference.query(points, along)
    np.testing.assert_allclose(density, wanted_density, rtol=1e-3)
    np.testing.assert_allclose(color, wanted_color, atol=1e-4)
    np.testing.assert_array_equal(backend.query(points, None)[0], density)
    assert backend.query(points, None)[1].shape == (0, 3)
    empty = np.zeros((0, 3), np.float32)
    assert backend.query(empty, empty)[1].shape == (0, 3) and backend.render(empty, empty)[0].shape == (0, 4)


def test_the_occupancy_grid_is_refreshed(kernel_device, generator):
    backend = make(replace(BOUNDED, occupancy_resolution=16), kernel_device, generator, value=1e3)
    backend.load_counters({"step": 15, "rays": 8})
    before = backend.arrays()
    backend.train_step(0.0)
    values = backend.arrays()["occupancy/values"]
    inside = values >= 0
    assert (inside == (before["occupancy/values"] >= 0)).all()
    # Every cell was asked: what stood there has decayed, unless the field is denser.
    old = 0.5 * before["occupancy/values"][inside]
    assert (values[inside] >= old).all() and (values[inside][old == 0] > 0).all()
    # In parts, where the buffer is small, as in one.
    room, batch = torch.zeros(700, 3, device=kernel_device), backend._training.batch
    backend._state.i[0] = 15
    asked = step.OccupancyUpdate(1, 0, 0.5)
    twice = []
    for part in (room, room[:300]):
        backend.load_arrays(before)
        step.refresh(backend.field, backend._numbers, backend._state, asked, batch, part)
        twice.append(backend.arrays()["occupancy/values"])
    # But for the rounding of products, which the interpreter's matrix library adds up in an order of its own.
    np.testing.assert_allclose(*twice, rtol=1e-5)


def test_it_learns(kernel_device):
    """As fast as the reference does from the same start: both see the same images, but other pixels of them."""
    sizes = {"levels": 2, "features": 8, "log2_table_size": 10, "density_width": 16, "color_width": 16}
    settings = replace(BOUNDED, **sizes, ray_steps=16, max_rays_per_step=32, learning_rate=0.1, occupancy_resolution=8)
    ball = ball_views(4, 12)
    camera, truth = ball.views[0].camera, ball.views[0].rgba / 255.0
    origins, directions = (part.reshape(-1, 3).astype(np.float32) for part in camera.rays())
    origins = NORMALISATION.to_unit(origins).astype(np.float32)

    def error(backend):
        rgba = backend.render(origins, directions)[0].reshape(truth.shape)
        return np.mean((rgba[..., :3] - truth[..., :3] * truth[..., 3:]) ** 2)

    errors = []
    for backend in (CudaBackend(settings, BOX, 3, kernel_device), ReferenceBackend(settings, BOX, 3)):
        backend.load_views(view_arrays(ball, NORMALISATION), False)
        before = error(backend)
        for _ in range(7):
            backend.train_step(0.0)
        errors.append((before, error(backend)))
    (before, mine), (_, reference) = errors
    assert mine < 0.92 * before and mine < 1.25 * reference, errors


def test_settings_that_the_kernels_cannot_run_with(kernel_device):
    with pytest.raises(NerfError, match="CUDA kernels cannot run with these settings: 'features' must be"):
        CudaBackend(replace(BOUNDED, levels=16, features=3), BOX, 0, kernel_device)
    with pytest.raises(RuntimeError, match="load_views comes before"):
        CudaBackend(BOUNDED, BOX, 0, kernel_device).train_step(0.0)
