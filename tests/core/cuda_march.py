"""What tests of the CUDA ray kernels share: marching into poisoned buffers, and the contract's samples in float64."""

import math
from types import SimpleNamespace

import numpy as np
import torch

from nerf_core.fields.contraction import contract
from nerf_core.kernels.cuda import march
from nerf_core.samplers.lattice import Lattice

from .fast_field import NORMALISATION, SMALL, random_rays

BOX = np.ascontiguousarray(NORMALISATION.unit_bounds, np.float32)
SIDE = 16
STEP = math.sqrt(3.0) / SMALL.ray_steps
GROWTH = 1 / 24


def pack_cells(cells: np.ndarray) -> np.ndarray:
    """The bitfield of (G, G, G) bool cells [z, y, x]: words of 4 x 4 x 2 cells."""
    side = len(cells)
    z, y, x = np.nonzero(cells)
    words = np.zeros(side**3 // 32, np.uint32)
    np.bitwise_or.at(
        words,
        ((z // 2) * (side // 4) + y // 4) * (side // 4) + x // 4,
        np.uint32(1) << ((z % 2) * 16 + (y % 4) * 4 + x % 4).astype(np.uint32),
    )
    return words.view(np.int32)


def make_state(device, rays: int, step: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    whole, real = torch.zeros(16, dtype=torch.int32), torch.zeros(16)
    whole[0], whole[1] = step, rays
    real[2], real[3] = STEP, GROWTH
    return whole.to(device), real.to(device)


def run_march(device, origins, directions, jitter, cells, unbounded, capacity=4096, spare=3):
    """March all rays; the buffers have room for `spare` rays more, and everything is poisoned beforehand."""
    count = len(origins)
    room = count + spare

    def filled(value, *shape, dtype=torch.float32):
        return torch.full(shape, value, dtype=dtype, device=device)

    def rows(array):
        result = filled(math.nan, room, *array.shape[1:])
        result[:count] = torch.from_numpy(array)
        return result

    points = Lattice(STEP, GROWTH).points if unbounded else math.ceil(math.sqrt(3) / STEP)
    words = march.mask_words(points + 1)
    state_i, state_f = make_state(device, count)
    made = SimpleNamespace(
        state_i=state_i,
        state_f=state_f,
        origin=rows(origins),
        direction=rows(directions),
        jitter=rows(jitter),
        box=torch.from_numpy(BOX).to(device),
        bits=torch.from_numpy(pack_cells(cells)).to(device),
        masks=filled(-1, room, words, dtype=torch.int32),
        ray_near=filled(math.nan, room),
        ray_start=filled(-9, room, dtype=torch.int32),
        ray_count=filled(-9, room, dtype=torch.int32),
        s_ray=filled(-9, capacity + 64, dtype=torch.int32),
        s_t=filled(-9.0, capacity + 64),
        s_dt=filled(-9.0, capacity + 64),
    )
    packed = {name: getattr(made, name)[:capacity] for name in ("s_ray", "s_t", "s_dt")}
    march.launch_march(**{**vars(made), **packed}, resolution=len(cells), unbounded=unbounded)
    for name in ("ray_start", "ray_count"):
        assert (getattr(made, name)[count:] == -9).all(), "wrote behind the last ray"
    for name in ("s_ray", "s_t", "s_dt"):
        assert (getattr(made, name)[min(capacity, int(state_i[2])) :] == -9).all(), "wrote behind the packed samples"
    return SimpleNamespace(**{name: value.cpu().numpy() for name, value in vars(made).items()})


def expected_points(origins, directions, jitter, cells, unbounded):
    """Lattice points in occupied cells, from the contract in float64: per ray {i: t}, and the ones rounding decides."""
    side = len(cells)
    lattice = Lattice(STEP, GROWTH)
    found, unsure = [], []
    for o, d, j in zip(origins.astype(float), directions.astype(float), jitter.astype(float), strict=True):
        if unbounded:
            u = np.arange(lattice.points + 1) + j
            t, far = lattice.distance(u), lattice.far
        else:
            with np.errstate(divide="ignore"):
                planes = (BOX.astype(float) - o) / d
            near, far = max(planes.min(0).max(), 0), planes.max(0).min()
            t = near + (np.arange(200) + j) * STEP
        unit = o + t[:, None] * d
        place = np.clip(contract(unit) if unbounded else unit, 0, 1)
        x, y, z = np.minimum((place * side).astype(int), side - 1).T
        full = cells[z, y, x] & (t < far)
        border = (np.abs(place * side - np.round(place * side)) < 2e-3).any(1) | (np.abs(t - far) < 1e-4 * far)
        if unbounded:
            size = np.sort(np.abs(2 * unit - 1), axis=1)
            border |= (size[:, 2] - size[:, 1] < 1e-4 * size[:, 2]) & (size[:, 2] > 0.999)
        found.append(dict(zip(np.nonzero(full)[0].tolist(), t[full], strict=True)))
        unsure.append(set(np.nonzero(border)[0].tolist()))
    return found, unsure


def assert_points(ray_points, origins, directions, jitter, cells, unbounded):
    """Check each ray's distances against the contract's; gives how many points were sure."""
    found, unsure = expected_points(origins, directions, jitter, cells, unbounded)
    sure = 0
    for ray, t in enumerate(ray_points):
        near = 0.0
        if not unbounded:
            with np.errstate(divide="ignore"):
                planes = (BOX.astype(float) - origins[ray]) / directions[ray].astype(float)
            near = max(planes.min(0).max(), 0)
        u = Lattice(STEP, GROWTH).index(t) if unbounded else (t - near) / STEP
        index = np.round(u - jitter[ray]).astype(int).tolist()
        assert index == sorted(set(index)), "not sorted by distance, or a point twice"
        assert set(index) ^ set(found[ray]) <= unsure[ray], f"ray {ray}"
        both = [(found[ray][i], value) for i, value in zip(index, t, strict=True) if i in found[ray]]
        if both:
            np.testing.assert_allclose(*np.array(both).T, rtol=2e-5, atol=2e-6)
        sure += len(both)
    return sure


def some_rays(generator, count, unbounded):
    origins, directions = random_rays(generator, count)
    if unbounded:
        origins = (0.5 + generator.normal(size=(count, 3)) * generator.choice([0.2, 1.0, 6.0], (count, 1))).astype("f4")
    directions[1] = [0, 0, -1]
    origins[1] = [0.51, 0.47, 1.5]
    return origins, directions, generator.uniform(0, 1, count).astype(np.float32)
