"""The CUDA backend's pixels and marching (K0, K1) against the torch reference and the contract's own words."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")

from nerf_core.kernels.cpu.backend import CpuBackend  # noqa: E402
from nerf_core.kernels.cuda import march, rays  # noqa: E402
from nerf_core.kernels.cuda.language import tl, triton  # noqa: E402
from nerf_core.kernels.cuda.launch import launched  # noqa: E402
from nerf_core.kernels.reference.backend import ReferenceBackend  # noqa: E402
from nerf_core.kernels.reference.pixels import Pixels  # noqa: E402
from nerf_core.kernels.views import ORTHOGRAPHIC, PINHOLE, TABLE, view_arrays  # noqa: E402

from .cuda_march import BOX, GROWTH, SIDE, STEP, assert_points, make_state, run_march, some_rays  # noqa: E402
from .fast_field import NORMALISATION, SMALL, ball_views, fresh_seed  # noqa: E402

SCENES = pytest.mark.parametrize("unbounded", [False, True], ids=["bounded", "unbounded"])


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


# K0 ----------------------------------------------------------------------------------------------------------------


@launched
@triton.jit
def _choose(seed, step, chosen, total, B: tl.constexpr):  # noqa: N803
    ray = tl.arange(0, B)
    tl.store(chosen + ray, rays.choose(seed, tl.load(step), ray, tl.load(total)))


def run_pixels(device, arrays, count, seed, step, random_background, room=300):
    with_depth = len(arrays.depths) > 0
    views = [torch.from_numpy(array).to(device) for array in arrays[:-1]]
    views.append(torch.from_numpy(arrays.depths).to(device) if with_depth else None)
    out = [torch.full(shape, -9.0, device=device) for shape in [(room, 3)] * 4 + [(room,)] * (1 + with_depth)]
    state_i, _ = make_state(device, count, step)
    depth = () if with_depth else (None,)
    rays.launch_choose_pixels(state_i, *views, *out, *depth, seed, random_background)
    assert all((part[count:] == -9).all() for part in out), "wrote behind the last ray"
    return [part[:count].cpu() for part in out]


@pytest.mark.parametrize("random_background", [True, False])
def test_pixels_of_all_cameras(kernel_device, generator, random_background):
    arrays = view_arrays(ball_views(6, 20), NORMALISATION)
    assert set(arrays.kinds.tolist()) == {PINHOLE, TABLE, ORTHOGRAPHIC}
    # Transparency of every degree, so that the background shows.
    arrays = arrays._replace(
        pixels=generator.integers(0, 256, arrays.pixels.shape).astype(np.uint8),
        depths=generator.uniform(0, 3, len(arrays.pixels)).astype(np.float32),
    )
    seed, count = int(generator.integers(2**31)), 203
    origin, direction, target, background, jitter, depth = run_pixels(
        kernel_device, arrays, count, seed, 41, random_background
    )
    chosen = torch.zeros(256, dtype=torch.int64, device=kernel_device)
    total = torch.tensor([len(arrays.pixels)], device=kernel_device)
    _choose[(1,)](
        rays.small_seed(seed), torch.tensor([41], dtype=torch.int32, device=kernel_device), chosen, total, B=256
    )
    chosen = chosen[:count].cpu()
    assert 0 <= int(chosen.min()) and int(chosen.max()) < len(arrays.pixels)
    views_met = np.searchsorted(arrays.starts, chosen.numpy(), side="right") - 1
    assert set(arrays.kinds[views_met].tolist()) == {PINHOLE, TABLE, ORTHOGRAPHIC}
    expected = Pixels(arrays, random_background, torch.device("cpu")).rays(chosen)
    torch.testing.assert_close(origin, expected[0], atol=2e-6, rtol=0)
    torch.testing.assert_close(direction, expected[1], atol=2e-6, rtol=0)
    straight = torch.from_numpy(arrays.pixels)[chosen].float() / 255
    over = straight[:, :3] * straight[:, 3:] + background * (1 - straight[:, 3:])
    torch.testing.assert_close(target, over, atol=1e-6, rtol=0)
    assert torch.equal(depth, torch.from_numpy(arrays.depths)[chosen])
    assert ((jitter >= 0) & (jitter < 1)).all() and len(jitter.unique()) > 0.9 * count
    if random_background:
        assert ((background >= 0) & (background < 1)).all() and len(background.unique()) > 2.9 * count
    else:
        assert (background == 0).all()


def test_pixels_follow_seed_and_step_alone(kernel_device, generator):
    arrays = view_arrays(ball_views(3, 12), NORMALISATION)
    seed = int(generator.integers(2**62))
    first = run_pixels(kernel_device, arrays, 100, seed, 7, True)
    again = run_pixels(kernel_device, arrays, 130, seed, 7, True)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b[:100]), "depends on the number of rays"
    for other in (
        run_pixels(kernel_device, arrays, 100, seed, 8, True),
        run_pixels(kernel_device, arrays, 100, seed + 1, 7, True),
    ):
        assert (first[4] != other[4]).float().mean() > 0.9
        assert (first[1] != other[1]).any(dim=1).float().mean() > 0.7


def test_pixels_are_all_chosen_alike(kernel_device, generator):
    total, count = 13, 4096
    chosen = torch.zeros(count, dtype=torch.int64, device=kernel_device)
    state = torch.tensor([3], dtype=torch.int32, device=kernel_device)
    _choose[(1,)](int(generator.integers(2**31)), state, chosen, torch.tensor([total], device=kernel_device), B=count)
    share = torch.bincount(chosen.cpu(), minlength=total) / count
    assert len(share) == total and (share - 1 / total).abs().max() < 6 * math.sqrt(1 / total / count)


# K1 ----------------------------------------------------------------------------------------------------------------


@SCENES
def test_march_finds_the_contracts_points(kernel_device, generator, monkeypatch, unbounded):
    monkeypatch.setattr(march, "COUNT_PROGRAMS", 12)  # fewer than rays, so that each takes several
    count = 29
    origins, directions, jitter = some_rays(generator, count, unbounded)
    cells = generator.uniform(size=(SIDE,) * 3) < 0.35
    made = run_march(kernel_device, origins, directions, jitter, cells, unbounded)
    total = int(made.state_i[2])
    assert made.state_i[7] == total and made.state_i[3] == 0 and made.ray_count[:count].sum() == total
    parts = []
    for ray in range(count):
        where = slice(made.ray_start[ray], made.ray_start[ray] + made.ray_count[ray])
        assert (made.s_ray[where] == ray).all()
        parts.append(made.s_t[where])
    assert assert_points(parts, origins, directions, jitter, cells, unbounded) > 0.9 * total > 100
    dt = np.maximum(STEP, GROWTH * made.s_t[:total]) if unbounded else np.full(total, STEP)
    np.testing.assert_allclose(made.s_dt[:total], dt, rtol=1e-6)
    if not unbounded:
        assert (made.ray_count[:count] == 0).sum() >= count // 10, "no ray missed the box"


@pytest.mark.parametrize(
    "backend, unbounded", [(CpuBackend, False), (CpuBackend, True), (ReferenceBackend, False), (ReferenceBackend, True)]
)
def test_march_finds_what_the_other_backends_find(kernel_device, generator, backend, unbounded):
    scene = {"scene": "unbounded", "step_growth": GROWTH} if unbounded else {"scene": "bounded"}
    other = backend(replace(SMALL, **scene), BOX, 0)
    values = generator.exponential(1.0, (SIDE,) * 3).astype(np.float32)
    values[other.outside_cells()] = -1.0
    other.load_arrays({**other.arrays(), "occupancy/values": values})
    cells = values > min(other.occupancy_limit, values[values >= 0].mean())
    count = 21
    origins, directions, _ = some_rays(generator, count, unbounded)
    jitter = np.full(count, 0.5, np.float32)
    made = run_march(kernel_device, origins, directions, jitter, cells, unbounded)
    counts, _, distances, lengths = other.march(origins, directions)
    ends = np.cumsum(counts)
    assert assert_points(np.split(distances, ends[:-1]), origins, directions, jitter, cells, unbounded) > 100
    alike = 0
    for ray in range(count):
        mine = slice(made.ray_start[ray], made.ray_start[ray] + made.ray_count[ray])
        theirs = slice(ends[ray] - counts[ray], ends[ray])
        if made.ray_count[ray] == counts[ray]:
            alike += np.allclose(made.s_t[mine], distances[theirs], rtol=1e-5, atol=3e-6)
            alike += np.allclose(made.s_dt[mine], lengths[theirs], rtol=1e-5)
    assert alike >= 2 * (count - 5), "more differs than the rounding of points on borders"


@SCENES
def test_march_where_nothing_is(kernel_device, generator, unbounded):
    origins, directions, jitter = some_rays(generator, 10, unbounded)
    made = run_march(kernel_device, origins, directions, jitter, np.zeros((SIDE,) * 3, bool), unbounded)
    assert (made.ray_count[:10] == 0).all() and (made.state_i[[2, 3, 7]] == 0).all()


def test_march_that_overflows(kernel_device, generator):
    count, capacity = 29, 300
    origins, directions, jitter = some_rays(generator, count, False)
    cells = np.ones((SIDE,) * 3, bool)
    whole = run_march(kernel_device, origins, directions, jitter, cells, False)
    made = run_march(kernel_device, origins, directions, jitter, cells, False, capacity=capacity)
    wanted, got = whole.ray_count[:count], made.ray_count[:count]
    assert whole.state_i[2] > capacity and made.state_i[7] == whole.state_i[2]
    assert ((got == wanted) | (got == 0)).all() and got.any()
    assert made.state_i[3] == ((got == 0) & (wanted > 0)).sum() > 0
    assert made.state_i[2] == got.sum() <= capacity, "the packed samples have holes"
    for ray in np.nonzero(got)[0]:
        where = slice(made.ray_start[ray], made.ray_start[ray] + got[ray])
        assert (made.s_ray[where] == ray).all()
