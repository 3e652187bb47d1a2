"""The CUDA backend's compositing, occupancy and rendering (K4, K9, K10) against the torch reference."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")

from nerf_core.fields.contraction import contract, stretch, unreachable  # noqa: E402
from nerf_core.kernels.cuda import compositing, occupancy, render  # noqa: E402
from nerf_core.kernels.reference import volume  # noqa: E402
from nerf_core.kernels.reference.backend import ReferenceBackend  # noqa: E402
from nerf_core.samplers.lattice import Lattice  # noqa: E402

from .cuda_march import BOX, GROWTH, SIDE, STEP, make_state, pack_cells, run_march, some_rays  # noqa: E402
from .fast_field import SMALL, fresh_seed  # noqa: E402

SCENES = pytest.mark.parametrize("unbounded", [False, True], ids=["bounded", "unbounded"])


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


# K4 ----------------------------------------------------------------------------------------------------------------


def packed_rays(generator, counts):
    """Random packed samples of rays with these counts, in shuffled order of rays."""
    counts = np.array(counts)
    order = generator.permutation(len(counts))
    start = np.zeros(len(counts), np.int64)
    start[order] = np.cumsum(counts[order]) - counts[order]
    total = counts.sum()
    ray = np.zeros(total, np.int64)
    t = np.zeros(total)
    for r, (first, number) in enumerate(zip(start, counts, strict=True)):
        ray[first : first + number] = r
        t[first : first + number] = 0.1 + STEP * np.arange(number)
    density = np.exp(generator.normal(1.0, 2.0, total))
    return SimpleNamespace(
        start=start.astype(np.int32),
        count=counts.astype(np.int32),
        ray=ray,
        t=t.astype(np.float32),
        density=density.astype(np.float32),
        rgb=generator.uniform(0.02, 0.98, (total, 3)).astype(np.float32),
        target=generator.uniform(0, 1, (len(counts), 3)).astype(np.float32),
        background=generator.uniform(0, 1, (len(counts), 3)).astype(np.float32),
    )


def run_composite(
    device, p, dt, thresholds, loss_scale, step=0, values=None, rays_given=None, growth_per_step=1.0, unbounded=False,
    depth=None, depth_weight=0.0,
):  # fmt: skip
    total, count = len(p.t), len(p.count)
    state_i, state_f = make_state(device, count, step)
    state_i[2] = total
    origin, direction = rays_given or (np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32))
    put = lambda array: torch.from_numpy(array).to(device)  # noqa: E731
    out = [torch.full(shape, -9.0, device=device) for shape in ((total + 8,), (total + 8, 3))]
    selected = torch.full((total + 8,), -9, dtype=torch.int32, device=device)
    values = put(np.zeros((SIDE,) * 3, np.float32) if values is None else values.copy())
    state_f[4] = depth_weight
    compositing.launch_composite(
        state_i, state_f, put(origin), put(direction), put(p.target), put(p.background),
        None if depth is None else put(depth), put(p.start), put(p.count),
        put(p.t), put(dt), put(p.density), put(p.rgb), out[0], out[1], selected, values, *thresholds, loss_scale,
        growth_per_step, REACH, DEPTH_GROWTH, unbounded,
    )  # fmt: skip
    assert all((part[total:] == -9).all() for part in (*out, selected))
    return SimpleNamespace(
        state_i=state_i.cpu(), state_f=state_f.cpu(), d_log=out[0][:total].cpu(), d_logit=out[1][:total].cpu(),
        selected=selected.cpu(), values=values.cpu().numpy(),
    )  # fmt: skip


REACH, DEPTH_GROWTH = 0.3, 0.25
COUNTS = [0, 1, 7, 8, 9, 40, 0, 3, 16, 17, 130, 2, 5]


@pytest.mark.parametrize("depth_weight", [None, 0.7], ids=["colour", "depth"])
@pytest.mark.parametrize("thresholds", [(0.0, 0.0), (1e-3, 1e-3), (0.03, 0.1)])
def test_composite_and_its_gradients(kernel_device, generator, thresholds, depth_weight):
    p = packed_rays(generator, COUNTS)
    loss_scale = 128.0
    dt = (STEP * generator.uniform(0.5, 2, len(p.t))).astype(np.float32)
    depth = None
    if depth_weight is not None:
        # Some rays know nothing; some know a place in front of, among and behind their samples.
        depth = generator.uniform(0.05, 2.0, len(COUNTS)).astype(np.float32) * (np.arange(len(COUNTS)) % 4 != 1)
    made = run_composite(kernel_device, p, dt, thresholds, loss_scale, depth=depth, depth_weight=depth_weight or 0.0)
    # The reference wants samples sorted by ray, and differentiates from logits in float64.
    order = np.argsort(p.ray, kind="stable")
    log_density = torch.from_numpy(np.log(p.density[order].astype(float))).requires_grad_()
    logit = torch.from_numpy(np.log(p.rgb[order] / (1.0 - p.rgb[order].astype(float)))).requires_grad_()
    real = {name: torch.from_numpy(array[order].astype(float)) for name, array in (("t", p.t), ("dt", dt))}
    samples = volume.Samples(torch.from_numpy(p.ray[order]), real["t"], torch.zeros(1, 3), real["dt"])
    result = volume.composite(samples, log_density.exp(), logit.sigmoid(), real["dt"], len(COUNTS), *thresholds)
    loss = volume.loss(result, torch.from_numpy(p.target.astype(float)), torch.from_numpy(p.background.astype(float)))
    assert float(made.state_f[1]) == pytest.approx(3 * len(COUNTS) * float(loss.detach()), rel=1e-5)
    if depth is not None:
        known = torch.from_numpy(depth.astype(float))
        missed = volume.depth_loss(samples, result, known, (DEPTH_GROWTH * known).clamp(min=REACH))
        assert float(made.state_f[5]) == pytest.approx(len(COUNTS) * float(missed.detach()), rel=1e-4)
        loss = loss + depth_weight * missed
    loss.backward()
    # A sample within rounding of a threshold may fall on either side; then its ray is not compared.
    weight, passing = result.weights.detach(), result.transmittance.detach()
    near = ((weight / max(thresholds[0], 1e-30) - 1).abs() < 1e-4) | (
        (passing / max(thresholds[1], 1e-30) - 1).abs() < 1e-4
    )
    clear = ~np.isin(p.ray, p.ray[order][near.numpy()])
    for actual, gradient in ((made.d_log, log_density.grad), (made.d_logit, logit.grad)):
        expected = np.zeros(gradient.shape)
        expected[order] = loss_scale * gradient.numpy()
        # What float32 leaves of terms as large as the loss scale, where they cancel.
        np.testing.assert_allclose(actual.numpy()[clear], expected[clear], rtol=2e-4, atol=1e-6 * loss_scale)
        assert np.abs(expected).max() > 0.1
    chosen = np.zeros(len(p.t), bool)
    chosen[order] = result.selected.numpy()
    number = int(made.state_i[4])
    listed = made.selected[:number].numpy()
    assert len(set(listed.tolist())) == number and (made.selected[number:] == -9).all()
    seen = np.zeros(len(p.t), bool)
    seen[listed] = True
    # In float32 a weight can vanish, or fail to, that float64 tells from 0.
    sure = clear.copy()
    sure[order] &= weight.numpy() > 1e-6
    assert (seen == chosen)[sure].all()
    assert len(np.unique(p.ray[clear])) > 0.5 * len(np.unique(p.ray))  # by rays: one may hold most of the samples
    assert thresholds == (0.0, 0.0) or 0 < number < 0.9 * len(p.t)
    assert int(made.state_i[5]) == 0


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("what, value", [("density", math.nan), ("density", math.inf), ("rgb", math.nan)])
def test_composite_flags_what_is_not_finite(kernel_device, generator, what, value):
    p = packed_rays(generator, [20, 9, 0])
    p.density[:] = 0.5
    assert int(run_composite(kernel_device, p, np.full(29, STEP, np.float32), (0, 0), 1.0).state_i[5]) == 0
    getattr(p, what)[p.start[1] + 8] = value
    made = run_composite(kernel_device, p, np.full(29, STEP, np.float32), (0, 0), 1.0)
    assert int(made.state_i[5]) > 0
    assert math.isfinite(float(made.state_f[1]))


@SCENES
def test_selected_samples_feed_the_occupancy_grid(kernel_device, generator, unbounded):
    count = 13
    origins, directions, jitter = some_rays(generator, count, unbounded)
    cells = generator.uniform(size=(SIDE,) * 3) < 0.4
    marched = run_march(kernel_device, origins, directions, jitter, cells, unbounded)
    total = int(marched.state_i[2])
    p = packed_rays(generator, marched.ray_count[:count])
    p.start, p.ray, p.t = marched.ray_start[:count], marched.s_ray[:total], marched.s_t[:total]
    values = generator.uniform(0, 3, (SIDE,) * 3).astype(np.float32)
    values[generator.uniform(size=values.shape) < 0.2] = -1.0
    options = dict(values=values, rays_given=(origins, directions), growth_per_step=GROWTH / STEP, unbounded=unbounded)
    for step in (15, 16, 30):  # before every cell has been asked, and between updates
        made = run_composite(kernel_device, p, marched.s_dt[:total], (1e-3, 1e-3), 1.0, step=step, **options)
        assert (made.values == values).all(), f"fed in step {step}"
    made = run_composite(kernel_device, p, marched.s_dt[:total], (1e-3, 1e-3), 1.0, step=31, **options)
    listed = made.selected[: int(made.state_i[4])].numpy()
    unit = origins[p.ray] + p.t[:, None] * directions[p.ray]
    grid = np.clip(contract(unit) if unbounded else unit, 0, 1)
    x, y, z = np.minimum((grid * SIDE).astype(int), SIDE - 1)[listed].T
    density = p.density * (stretch(grid, GROWTH, STEP) if unbounded else 1.0)
    expected = values.copy()
    np.maximum.at(expected, (z, y, x), density[listed].astype(np.float32))
    expected[values < 0] = values[values < 0]
    same = np.isclose(made.values, expected, rtol=1e-4)
    assert same.mean() > 0.998, "more differs than the rounding of points on borders"
    assert (expected != values).sum() > 5


# K9 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every, step, decay", [(1, 15, 0.5), (2, 31, 0.5), (8, 16 * 21 + 15, 0.8)])
@SCENES
def test_refresh(kernel_device, generator, every, step, decay, unbounded):
    values = generator.uniform(0, 5, (SIDE,) * 3).astype(np.float32)
    outside = unreachable(SIDE) if unbounded else generator.uniform(size=values.shape) < 0.2
    values[outside] = -1.0
    device_values = torch.from_numpy(values).to(kernel_device)
    state_i, _ = make_state(kernel_device, 0, step)
    turn = occupancy.cells_of_turn(SIDE, every)
    expected, phase = values.reshape(-1).copy(), step // 16 % every
    # In two parts, the second of which is not a multiple of anything.
    for first, items in ((0, turn // 2 - 5), (turn // 2 - 5, turn - turn // 2 + 5)):
        points = torch.full((items + 7, 3), -9.0, device=kernel_device)
        occupancy.launch_refresh_positions(state_i, points, every, first, items, 12, SIDE)
        assert (points[items:] == -9).all()
        at = points[:items].cpu().numpy()
        cell = phase + every * (first + np.arange(items))
        where = np.stack([cell % SIDE, cell // SIDE % SIDE, cell // SIDE**2], axis=1)
        inside = at * SIDE - where
        assert (inside > -1e-4).all() and (inside < 1 + 1e-4).all()
        assert np.abs(inside.mean(0) - 0.5).max() < 6 * math.sqrt(1 / 12 / items)
        density = generator.uniform(0, 9, items).astype(np.float32)
        density[0] = math.nan
        occupancy.launch_merge_density(
            state_i, points, torch.from_numpy(density).to(kernel_device), device_values, every, first, items, decay,
            GROWTH / STEP, unbounded,
        )  # fmt: skip
        seen = np.nan_to_num(density) * (stretch(at, GROWTH, STEP) if unbounded else 1.0)
        expected[cell] = np.where(expected[cell] < 0, expected[cell], np.maximum(expected[cell] * decay, seen))
    np.testing.assert_allclose(device_values.cpu().numpy().reshape(-1), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "limit", "nothing"])
def test_threshold_is_the_references(kernel_device, generator, kind):
    reference = ReferenceBackend(SMALL, BOX, 0)
    side = SMALL.occupancy_resolution
    values = generator.exponential(1.0, (side,) * 3).astype(np.float32)
    values *= {"mean": 0.1 * reference.occupancy_limit, "limit": 10 * reference.occupancy_limit, "nothing": 0.0}[kind]
    values[reference.outside_cells()] = -1.0
    reference._values = torch.from_numpy(values)
    reference._set_cells()
    parts = occupancy.sum_programs(side)
    bits = torch.full((side**3 // 32,), -9, dtype=torch.int32, device=kernel_device)
    occupancy.launch_threshold(
        torch.from_numpy(values).to(kernel_device),
        torch.full((parts,), math.nan, device=kernel_device),
        torch.full((parts,), -9, dtype=torch.int32, device=kernel_device),
        bits,
        reference.occupancy_limit,
    )
    cells = reference._cells.numpy()
    assert 0 < cells.mean() < 1
    assert (bits.cpu().numpy() == pack_cells(cells)).all()


# K10 ---------------------------------------------------------------------------------------------------------------


def ball_field(unit: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Density and colour of a soft ball with fog around it, at unit positions seen along directions."""
    distance = np.linalg.norm(unit - 0.5, axis=-1)
    density = 150.0 / (1.0 + np.exp(np.clip(80.0 * (distance - 0.3), -50, 50))) + 0.4
    return density, 0.5 + 0.4 * np.sin(7.0 * unit + directions)


@pytest.mark.parametrize(
    "unbounded, capacity, count",
    [(False, 4096, 37), (True, 4096, 29), (False, 150, 37)],
    ids=["bounded", "unbounded", "overflowing"],
)
def test_render_in_waves(kernel_device, generator, unbounded, capacity, count):
    origins, directions, _ = some_rays(generator, count, unbounded)
    hits = slice(2, count // 2)
    directions[hits] = 0.5 + generator.uniform(-0.1, 0.1, (count // 2 - 2, 3)) - origins[hits]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cells = generator.uniform(size=(SIDE,) * 3) < 0.8
    thresholds = (1e-3, 1e-2)
    waves = render.Waves.allocate(count + 3, capacity, 8, torch.float32, torch.device(kernel_device))
    waves.origin[:count] = torch.from_numpy(origins)
    waves.direction[:count] = torch.from_numpy(directions)
    waves.limits[:] = torch.tensor([0.0, 1e30])
    for part in (waves.rgba, waves.depth, waves.optical_depth, waves.density, waves.rgb):
        part.fill_(math.nan)
    state_i, state_f = make_state(kernel_device, 0)
    most = []

    def forward() -> None:
        number = int(state_i[2])
        most.append(number)
        assert number <= capacity
        ray, t = waves.s_ray[:number].cpu().numpy(), waves.s_t[:number].cpu().numpy()
        assert (np.diff(np.sort(ray)) >= 0).all() and (ray < count).all()
        density, color = ball_field(origins[ray] + t[:, None] * directions[ray], directions[ray])
        waves.density[:number] = torch.from_numpy(density).float()
        waves.rgb[:number] = torch.from_numpy(color).float()

    box, bits = torch.from_numpy(BOX).to(kernel_device), torch.from_numpy(pack_cells(cells)).to(kernel_device)
    made = render.render_rays(
        state_i, state_f, waves, box, bits, count, SIDE, unbounded, *thresholds, forward
    )  # fmt: skip
    assert made == sum(most)
    rays_in = [torch.from_numpy(a) for a in (origins, directions)]
    jitter = torch.full((count,), 0.5)
    if unbounded:
        samples = volume.march_unbounded(*rays_in, torch.from_numpy(cells), Lattice(STEP, GROWTH), jitter)
    else:
        samples = volume.march(*rays_in, torch.from_numpy(BOX), torch.from_numpy(cells), STEP, jitter)
    unit = origins[samples.ray] + samples.distance.numpy()[:, None] * directions[samples.ray]
    density, color = (torch.from_numpy(a) for a in ball_field(unit, directions[samples.ray]))
    result = volume.composite(samples, density, color, samples.interval, count, *thresholds)
    expected = torch.cat([result.color, result.alpha[:, None]], dim=1).float()
    depth = torch.where(result.alpha > 0, result.depth / result.alpha.clamp(min=1e-20), 0.0).float()
    assert (expected[:, 3] > 0.9).sum() > 5 and (unbounded or (expected[:, 3] == 0).sum() > 2)
    # A point on a cell's border that rounding takes away changes a ray visibly; few can.
    close = (waves.rgba[:count].cpu() - expected).abs().amax(dim=1) < 2e-4
    close &= (waves.depth[:count].cpu() - depth).abs() < 1e-3 * depth + 1e-5
    assert close.sum() >= count - 4
    assert waves.rgba[count:].isnan().all() and waves.depth[count:].isnan().all()
    used = int((result.transmittance >= thresholds[1]).sum())
    assert used <= made * 1.01 and made < 0.9 * len(samples.ray), "evaluates what is hidden"
    assert capacity > 150 or most[0] <= 150 < used
