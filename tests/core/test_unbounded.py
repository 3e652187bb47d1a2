"""Unbounded scenes: the contraction, the samples' lattice, the subject's cube, and both backends in a captured room."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf_core.contract.errors import NerfError
from nerf_core.data.bounds import box_from_cameras, subject_from_cameras
from nerf_core.data.dataset import load_dataset
from nerf_core.export.points import extract_points
from nerf_core.fields import contraction
from nerf_core.fields.hash_grid import FastSettings
from nerf_core.kernels.backend import OccupancyUpdate
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.reference import contraction as torch_contraction
from nerf_core.kernels.reference import field, volume
from nerf_core.kernels.reference.backend import ReferenceBackend
from nerf_core.kernels.views import view_arrays
from nerf_core.methods.base import MethodState, Normalisation
from nerf_core.methods.fast import FastMethod
from nerf_core.samplers.lattice import Lattice

from ..trace_arrays import trace_of
from . import room_scene
from .fast_field import SMALL, ball_views, fresh_seed, random_parameters, state_arrays, view_psnr
from .test_kernels_fused import batch_of, fused_gradients

SETTINGS = replace(SMALL, scene="unbounded", step_growth=1 / 32, samples_per_step=2048, max_rays_per_step=512)
CUBE = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
ROOM = Normalisation(np.stack([room_scene.MIDDLE - 1.5, room_scene.MIDDLE + 1.5]))
QUICK = {
    "levels": 8,
    "max_resolution": 256,
    "log2_table_size": 12,
    "density_width": 32,
    "color_width": 32,
    "occupancy_resolution": 32,
    "ray_steps": 64,
    "step_growth": 1 / 16,
    "samples_per_step": 6000,
}


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def places(generator, count: int) -> np.ndarray:
    """Unit positions inside the cube, around it, and far away."""
    return generator.normal(size=(count, 3)) * np.exp(generator.normal(size=(count, 1)) * 1.5) + 0.5


@pytest.fixture
def cpu_goes_on():
    """Skip where the CPU's kernels hold bounded scenes alone."""
    intervals = CpuBackend(SETTINGS, CUBE, 0).march(*(np.array([a], np.float32) for a in ([0.5] * 3, [1.0, 0, 0])))[3]
    if not intervals.max(initial=0.0) > 2 * intervals.min(initial=1.0):
        pytest.skip("the CPU's kernels hold no unbounded scene yet")


def rays_from_within(generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    origins = generator.uniform(-0.3, 1.3, (count, 3))
    directions = generator.normal(size=(count, 3))
    directions[::10] = np.eye(3)[generator.integers(0, 3, len(directions[::10]))]  # along axes
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return origins.astype(np.float32), directions.astype(np.float32)


def test_contraction_keeps_the_cube_and_holds_everything(generator):
    unit = places(generator, 2000)
    grid = contraction.contract(unit)
    assert grid.min() >= 0 and grid.max() <= 1
    inside = np.abs(2 * unit - 1).max(axis=1) <= 1
    assert inside.any() and not inside.all()
    np.testing.assert_allclose(grid[inside], 0.25 + 0.5 * unit[inside], atol=1e-12)
    shell = np.abs(4 * grid[~inside] - 2)
    assert (shell.max(axis=1) > 1).all() and (np.sort(shell, axis=1)[:, 1] <= 1).all()
    near = contraction.distance_from_cube(grid) < 0.9 * contraction.FARTHEST
    np.testing.assert_allclose(contraction.uncontract(grid[near]), unit[near], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(contraction.contract([[0.5, 2.5, 1.5]]), [[0.5, 0.9375, 0.625]])  # by hand: m = 4
    twin = torch_contraction.contract(torch.from_numpy(unit)).numpy()
    np.testing.assert_allclose(twin, grid, atol=1e-12)


def test_nothing_is_mapped_into_unreachable_cells(generator):
    for side in (16, 48):
        empty = contraction.unreachable(side)
        x, y, z = np.minimum((contraction.contract(places(generator, 20000)) * side).astype(int), side - 1).T
        assert empty.mean() == 0.5 and not empty[z, y, x].any()


@pytest.mark.parametrize("coarseness", [1.0, 4.0])
def test_lattice_grows_smoothly_and_fills_the_ray(coarseness):
    fine = Lattice(0.01, 1 / 64)
    lattice = Lattice(coarseness * 0.01, coarseness / 64)
    assert lattice.turn == pytest.approx(fine.turn) == pytest.approx(0.64)
    u = np.arange(lattice.points + 1) + 0.5
    t = lattice.distance(u)
    assert (np.diff(t) > 0).all() and t[-2] < lattice.far * np.exp(lattice.growth) and t[-1] >= lattice.far
    around = lattice.distance(np.array([lattice.turn_index - 1e-6, lattice.turn_index + 1e-6]))
    np.testing.assert_allclose(around, lattice.turn, atol=1e-6)
    np.testing.assert_allclose(lattice.index(t), u, atol=1e-9)
    inside = t < lattice.far
    covered = lattice.interval(t[inside]).sum()
    assert covered == pytest.approx(lattice.far - lattice.near, rel=2 * lattice.growth)
    np.testing.assert_allclose(lattice.distance(torch.from_numpy(u)).numpy(), t)
    np.testing.assert_allclose(lattice.interval(torch.from_numpy(t)).numpy(), lattice.interval(t))


def test_stretch_is_the_interval_seen_from_the_middle():
    lattice = Lattice(0.01, 1 / 64)
    t = np.geomspace(0.1, 60.0, 50)
    unit = 0.5 + t[:, None] * np.array([1.0, 0.0, 0.0])
    grid = contraction.contract(unit)
    stretch = contraction.stretch(grid, lattice.growth, lattice.step)
    np.testing.assert_allclose(stretch, lattice.interval(t) / lattice.step, rtol=1e-6)
    twin = torch_contraction.stretch(torch.from_numpy(grid), lattice.growth, lattice.step).numpy()
    np.testing.assert_allclose(twin, stretch)


def test_settings_say_what_they_cannot_be():
    with pytest.raises(NerfError, match="'scene' must be one of auto, bounded, unbounded"):
        FastSettings(scene="endless")
    with pytest.raises(NerfError, match="multiple of 16 in an unbounded"):
        FastSettings(scene="unbounded", occupancy_resolution=24)
    with pytest.raises(NerfError, match="'step_growth' must be 0"):
        FastSettings(step_growth=1e-5)


def test_the_images_say_whether_a_scene_goes_on():
    for views, expected in ((room_scene.views(2, 8), "unbounded"), (ball_views(2, 12), "bounded")):
        method = FastMethod(ROOM, settings={"backend": "reference"})
        method.load_views(views)
        stored = method.state()
        assert method.settings.scene == stored.settings["settings"]["scene"] == expected
        assert FastMethod.is_unbounded({}, views.has_alpha) == (expected == "unbounded")
        # A checkpoint from before there were unbounded scenes does not say it.
        del stored.settings["settings"]["scene"]
        if expected == "bounded":
            again = FastMethod(ROOM, settings={"backend": "reference"})
            again.load_state(MethodState(stored.arrays, stored.settings))
            assert again.settings.scene == "bounded"
    assert FastMethod.is_unbounded({"scene": "unbounded"}, True) and not FastMethod.is_unbounded(
        {"scene": "bounded"}, False
    )


def test_the_subjects_cube(tmp_path):
    within = [room_scene.camera(i, 12, 16) for i in range(12)]
    low, high = subject_from_cameras(within)
    origins = np.array([camera.position for camera in within])
    assert (origins > low).all() and (origins < high).all() and np.ptp(high - low) < 1e-9
    assert (high - low)[0] == pytest.approx(1.5 * np.ptp(origins, axis=0).max())
    around = [room_scene.camera(i, 12, 16, "round") for i in range(12)]
    assert np.ptp(subject_from_cameras(around), axis=0)[0] < 0.55 * np.ptp(box_from_cameras(around), axis=0)[0]
    folder = room_scene.write_dataset(tmp_path / "room", train=4, val=1, size=8)
    dataset = load_dataset(folder)
    assert not dataset.has_alpha and dataset.aabb_scale == 16
    half = 0.5 / 0.33
    np.testing.assert_allclose(dataset.subject, [room_scene.MIDDLE - half, room_scene.MIDDLE + half])
    np.testing.assert_allclose(dataset.bounds, [room_scene.MIDDLE - 16 * half, room_scene.MIDDLE + 16 * half])


def test_reference_looks_at_every_occupied_lattice_point(generator):
    """Against the lattice and the contraction in numpy, a point at a time; then a piece of the rays at a time."""
    backend = random_backend(ReferenceBackend, generator, occupied=0.3)
    origins, directions = rays_from_within(generator, 60)
    counts, positions, distances, intervals = backend.march(origins, directions)
    lattice, side = backend.lattice(), SETTINGS.occupancy_resolution
    t = lattice.distance(np.arange(lattice.points) + 0.5)
    cells = backend._cells.numpy()
    wanted = 0
    for ray in range(60):
        unit = origins[ray] + t[:, None] * directions[ray]
        x, y, z = np.minimum((contraction.contract(unit) * side).astype(int), side - 1).T
        wanted += int((cells[z, y, x] & (t < lattice.far)).sum())
    assert counts.sum() == len(distances) > 500
    assert abs(int(counts.sum()) - wanted) <= 0.005 * wanted  # a point on a cell's wall may fall on either side
    np.testing.assert_allclose(intervals, lattice.interval(distances), rtol=1e-5)
    ray = np.repeat(np.arange(60), counts)
    np.testing.assert_allclose(positions, origins[ray] + distances[:, None] * directions[ray], atol=1e-4)
    whole = backend._march(*(torch.from_numpy(a) for a in (origins, directions)), torch.full((60,), 0.5))
    depth = backend._density(whole.position) * whole.interval
    expected, _ = backend._without_hidden(whole, depth, 60)
    kept, _ = backend._visible(*(torch.from_numpy(a) for a in (origins, directions)), torch.full((60,), 0.5))
    assert torch.equal(kept.ray, expected.ray) and torch.equal(kept.distance, expected.distance)


def random_backend(kind, generator, occupied=1.0, **parameters):
    backend = kind(SETTINGS, CUBE, 3)
    state = state_arrays(backend, random_parameters(backend.layout, generator, **parameters))
    values = state["occupancy/values"]
    assert (values < 0).mean() == 0.5
    lit = 1e3 * (generator.uniform(size=values.shape) < occupied)
    state["occupancy/values"] = np.where(values < 0, values, lit).astype(np.float32)
    backend.load_arrays(state)
    return backend


@pytest.fixture
def both(generator, cpu_goes_on):
    """The CPU's kernels and the reference with the same random parameters and occupancy."""
    reference = random_backend(ReferenceBackend, generator, occupied=0.4)
    cpu = CpuBackend(SETTINGS, CUBE, 3)
    cpu.load_arrays(reference.arrays())
    return cpu, reference


def test_cpu_and_reference_march_alike(both, generator):
    origins, directions = rays_from_within(generator, 300)
    (counts, positions, distances, intervals), (wanted, where, expected, lengths) = (
        backend.march(origins, directions) for backend in both
    )
    assert counts.sum() > 3000
    assert np.abs(counts - wanted).sum() <= 0.005 * counts.sum()
    same = np.flatnonzero((counts == wanted) & (counts > 0))
    starts, others = np.cumsum(counts) - counts, np.cumsum(wanted) - wanted
    mine = np.concatenate([np.arange(starts[r], starts[r] + counts[r]) for r in same])
    theirs = np.concatenate([np.arange(others[r], others[r] + counts[r]) for r in same])
    # A ray may win one point at a cell's wall and lose another.
    agree = np.isclose(distances[mine], expected[theirs], rtol=1e-4)
    assert agree.mean() > 0.99
    mine, theirs = mine[agree], theirs[agree]
    np.testing.assert_allclose(positions[mine], where[theirs], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(intervals[mine], lengths[theirs], rtol=1e-4)


def test_cpu_and_reference_render_alike(both, generator):
    origins, directions = rays_from_within(generator, 200)
    (rgba, depth, _), (expected, far, _) = (backend.render(origins, directions) for backend in both)
    assert expected[:, 3].max() > 0.5
    close = np.abs(rgba - expected).max(axis=1) < 2e-3  # but for rays that a cell's wall gave or took a sample
    assert close.mean() > 0.95 and np.abs(rgba - expected).max() < 0.3
    seen = close & (expected[:, 3] > 0.1)
    assert np.median(np.abs(depth[seen] / far[seen] - 1)) < 1e-3
    unit = places(generator, 500).astype(np.float32)
    (density, color), (wanted, straight) = (backend.query(unit, np.tile(directions, (3, 1))[:500]) for backend in both)
    np.testing.assert_allclose(density, wanted, rtol=5e-3)
    np.testing.assert_allclose(color, straight, atol=2e-3)


def test_cpu_and_reference_refresh_the_same_cells(both):
    """Not to the same numbers, which are random places' in each cell; but stretched alike, and nothing unreachable."""
    for backend in both:
        backend.update_occupancy(OccupancyUpdate(1, 0, 0.0))
    mine, expected = (backend.arrays()["occupancy/values"] for backend in both)
    assert np.array_equal(mine < 0, expected < 0)
    grid = (np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), -1)[..., ::-1] + 0.5) / 16
    far = (contraction.distance_from_cube(grid) > 3) & (mine >= 0)
    near = (contraction.distance_from_cube(grid) <= 1) & (mine >= 0)
    for cells in (far, near):
        assert np.median(np.log(mine[cells] / expected[cells])) == pytest.approx(0.0, abs=0.15)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_it_learns_a_room(backend, request):
    if backend == "cpu":
        request.getfixturevalue("cpu_goes_on")
    views, held_out = room_scene.views(24, 20), room_scene.views(4, 20)
    method = FastMethod(ROOM, settings={"backend": backend, **QUICK})
    method.load_views(views)
    for step in range(60):
        method.train_step(step / 60)
    truth = np.stack([view.rgba[..., :3] for view in held_out.views]) / 255.0
    flat = -10 * np.log10(np.mean((truth - truth.mean(axis=(0, 1, 2))) ** 2))
    psnr = view_psnr(method, held_out)
    assert psnr > flat + 2.0, (psnr, flat)
    origins, directions = (rays.reshape(-1, 3)[::7] for rays in views.views[0].camera.rays())
    found = method.render_rays(origins, directions)
    assert np.isfinite(found.depth).all() and found.depth.max() < 64 / ROOM.scale
    assert (found.rgba[:, 3] > 0.9).mean() > 0.8
    trace = method.trace_rays(origins, directions)
    np.testing.assert_allclose(trace.rgba, found.rgba, atol=5e-3)
    weight = trace.transmittance * -np.expm1(-trace.density.astype(np.float64) * trace.dt)
    np.testing.assert_allclose(trace.weight, weight, atol=1e-4)
    assert trace.dt.max() > 2 * trace.dt.min()
    # What lies outside the box has density and colour too.
    assert (method.query_density(room_scene.MIDDLE + np.array([[0.0, 0.0, 9.0], [40.0, 0.0, 0.0]])) > 0).all()


def test_points_come_from_the_subjects_box(generator):
    """From the smallest box that enough is seen in: here the second, because nothing dense lies in the first."""

    class Shells:
        """A field whose rays end at two places, of which some lie in the box and most far outside."""

        full_sampling = None

        def __init__(self, near: float) -> None:
            self.near = near

        def trace_rays(self, origins, directions, sampler):
            count = len(origins)
            t = np.where(generator.uniform(size=count) < 0.3, self.near, 50.0).astype(np.float32)
            one = np.ones(count, np.float32)
            position = origins + t[:, None] * directions
            return trace_of(np.arange(count, dtype=np.int32), t, position=position, density=100 * one)

    cameras = [room_scene.camera(i, 6, 16) for i in range(6)]
    for near, reach in ((0.2, 1.0), (2.5, 4.0)):
        cloud = extract_points(Shells(near), cameras, 500, bounds=ROOM.bounds)
        away = np.abs(cloud.position - room_scene.MIDDLE).max(axis=1)
        assert len(cloud) == 500 and (away < 1.5 * reach * 1.01).all()
    assert len(extract_points(Shells(0.2), cameras, 500)) == 500  # without a box they come from everywhere


def test_cpu_and_reference_find_the_same_gradients(both, generator):
    """The fused step against autograd through the reference's march, on the rays that the CPU draws."""
    cpu, reference = both
    cpu.step = 1000  # past the coarse first steps
    views = view_arrays(room_scene.views(4, 16), ROOM)
    cpu.load_views(views, True)
    stats, mine = fused_gradients(cpu, 64)
    origins, directions, target, background, jitter = batch_of(views, cpu, 64)
    samples = volume.march_unbounded(origins, directions, reference._cells, cpu.lattice(), jitter)
    grid = torch_contraction.contract(samples.position)
    density, color = field.query(cpu.layout, reference.parameters, grid, directions[samples.ray])
    thresholds = SETTINGS.weight_threshold, SETTINGS.transmittance_threshold
    result = volume.composite(samples, density, color, samples.interval, 64, *thresholds)
    loss = volume.loss(result, target, background)
    assert stats.loss == pytest.approx(loss.item(), rel=2e-3)
    gradients = torch.autograd.grad(loss, list(reference.parameters.values()))
    for name, gradient in zip(reference.parameters, gradients, strict=True):
        error = np.linalg.norm(mine[name] - gradient.numpy()) / np.linalg.norm(gradient.numpy())
        # A sample at a cell's wall may fall on either side, which one of 64 rays shows.
        assert gradient.abs().max() > 0 and error < 3e-2, (name, error)


def test_no_ray_jumps_through_what_is_occupied():
    """In these rays rounding puts one past a cell's wall in the shell, from where it once left by the wall behind."""
    generator = np.random.default_rng(0)
    sizes = {"step_growth": 1 / 64, "ray_steps": 192, "occupancy_resolution": 64, "max_resolution": 64}
    settings = replace(SETTINGS, **sizes)
    cpu, reference = CpuBackend(settings, CUBE, 0, threads=1), ReferenceBackend(settings, CUBE, 0)
    state = cpu.arrays()
    values = state["occupancy/values"]
    inside = values >= 0
    values[inside] = 1e3 * (generator.uniform(size=inside.sum()) < 0.1)
    cpu.load_arrays(state)
    reference.load_arrays(state)
    origins = (0.5 + 0.7 * generator.normal(size=(12000, 3))).astype(np.float32)
    directions = generator.normal(size=(12000, 3))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    counts, wanted = (backend.march(origins, directions)[0] for backend in (cpu, reference))
    assert counts.sum() > 100_000
    # A lattice point that lies on a cell's wall to within rounding may fall on either side.
    assert np.abs(counts - wanted).max() <= 2
