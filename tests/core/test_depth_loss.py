"""The depth loss: by its definition, by finite differences, the same in every backend, and what it is good for."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from nerf_core.evaluation.evaluate import depth_errors, evaluate_run
from nerf_core.fields.hash_grid import FastLayout, FastSettings
from nerf_core.kernels.backend import DEPTH_FADES_TO, DEPTH_REACH
from nerf_core.kernels.cpu import rays as pixel_rays
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.cpu.structures import GROUP
from nerf_core.kernels.reference import contraction, field, volume
from nerf_core.kernels.reference.backend import ReferenceBackend
from nerf_core.kernels.views import view_arrays
from nerf_core.methods.base import MethodState, Normalisation
from nerf_core.methods.classic import ClassicMethod
from nerf_core.methods.fast import FastMethod
from nerf_core.rendering import volume as dense

from . import depth_scene
from .fast_field import NORMALISATION, SMALL, ball_views, fresh_seed, random_parameters, state_arrays
from .test_gradients import random_samples, tensor
from .test_kernels_fused import fused_gradients

ROOM = Normalisation(depth_scene.FIELD_BOUNDS)
BOX = NORMALISATION.unit_bounds
COUNTS = [5, 0, 9, 1, 6]


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def away_from_corners(generator, samples):
    """Known distances of rays, one unknown, so that no sample lies where the loss has a corner; and reaches."""
    while True:
        # Near to one of the ray's samples.
        ray, distance = samples.ray.numpy(), samples.distance.numpy()
        depth = np.array([generator.choice([*distance[ray == of], 1.0]) for of in range(len(COUNTS))])
        depth = (depth + generator.uniform(-0.2, 0.2, len(COUNTS))) * (np.arange(len(COUNTS)) != 2)
        reach = generator.uniform(0.4, 1.0, len(COUNTS))
        off = np.abs(distance - depth[ray])
        if (off > 1e-3).all() and (np.abs(off / reach[ray] - 1) > 1e-3).all():
            return tensor(depth, False), tensor(reach, False)


def test_the_loss_by_its_definition(generator):
    samples, density, color = random_samples(generator, COUNTS)
    depth, reach = away_from_corners(generator, samples)
    thresholds = 0.05, 0.02
    seen = volume.composite(samples, density.detach(), color, samples.interval, len(COUNTS), *thresholds)
    expected = 0.0
    for ray, known in enumerate(depth.tolist()):
        passing, found = 1.0, 0.0
        for s in np.flatnonzero(samples.ray.numpy() == ray):
            through = np.exp(-density[s].item() * samples.interval[s].item())
            weight, before = passing * (1 - through), passing
            passing *= through
            if weight > thresholds[0] and before >= thresholds[1]:
                found += weight * max(0.0, 1 - abs(samples.distance[s].item() - known) / reach[ray].item())
        expected += (1.0 - found) / len(COUNTS) if known > 0 else 0.0
    assert volume.depth_loss(samples, seen, depth, reach).item() == pytest.approx(expected)
    assert 0.1 < expected < 0.8  # four of five rays know one


def test_gradients_of_the_loss(generator):
    samples, density, color = random_samples(generator, COUNTS)
    depth, reach = away_from_corners(generator, samples)

    def loss(some_density):
        seen = volume.composite(samples, some_density, color.detach(), samples.interval, len(COUNTS))
        return volume.depth_loss(samples, seen, depth, reach)

    assert gradcheck(loss, (density,))
    unknown = samples.ray == 2
    (gradient,) = torch.autograd.grad(loss(density), density)
    assert not gradient[unknown].any() and gradient[~unknown].any()


def test_dense_samples_lose_the_same(generator):
    """The classic method's form, on rows, is the packed one; and its gradient is right."""
    rays, count = 6, 7
    t = np.sort(generator.uniform(0.2, 3.0, (rays, count)), axis=1)
    density, dt = generator.uniform(0.1, 4.0, (2, rays, count))
    depth = generator.uniform(0.3, 3.0, rays) * (np.arange(rays) != 1)
    rows = tensor(density)
    weights = dense.render_weights(rows, tensor(dt, False))[0]
    mine = dense.depth_loss(weights, tensor(t, False), tensor(depth, False), 0.4)
    packed = volume.Samples(
        torch.arange(rays).repeat_interleave(count), tensor(t.ravel(), False), torch.zeros(1, 3), tensor(dt.ravel())
    )
    seen = volume.composite(packed, tensor(density.ravel()), torch.zeros(rays * count, 3), packed.interval, rays)
    theirs = volume.depth_loss(packed, seen, tensor(depth, False), torch.full((rays,), 0.4))
    assert mine[1] == 0 and mine.mean().item() == pytest.approx(theirs.item())
    clear = np.abs(np.abs(t - depth[:, None]) / 0.4 - 1).min() > 1e-4
    if clear:
        assert gradcheck(
            lambda some: dense.depth_loss(
                dense.render_weights(some, tensor(dt, False))[0], tensor(t, False), tensor(depth, False), 0.4
            ),
            (rows,),
        )


def deep_batch(arrays, backend, count):
    """The rays that a step of the CPU backend trains on, from the same generator, as tensors; depth last."""
    group, parts = backend._scratch[0].rays, []
    for first in range(0, count, GROUP):
        some = min(GROUP, count - first)
        pixel_rays.random_pixels(arrays, backend.seed, backend.step, first, some, True, group)
        names = (group.origin, group.direction, group.target, group.background, group.jitter, group.depth)
        parts.append([torch.from_numpy(array[:some].copy()) for array in names])
    return [torch.cat(rows) for rows in zip(*parts, strict=True)]


@pytest.mark.parametrize("scene", ["bounded", "unbounded"])
@pytest.mark.parametrize("thresholds", [(0.0, 0.0), (1e-3, 3e-3)], ids=["all samples", "usual thresholds"])
def test_cpu_kernels_and_reference_find_the_same_gradients(generator, scene, thresholds):
    settings = replace(
        SMALL, scene=scene, step_growth=1 / 16, depth_loss=20.0, weight_threshold=thresholds[0],
        transmittance_threshold=thresholds[1],
    )  # fmt: skip
    layout, rays, progress = FastLayout.from_settings(settings), 200, 0.1
    cpu, reference = (make(settings, BOX, 5) for make in (CpuBackend, ReferenceBackend))
    cpu.step = 1000  # past the coarse first steps
    parameters = random_parameters(layout, generator, density_shift=0.3)
    for backend in (cpu, reference):
        backend.load_arrays(state_arrays(cpu, parameters))
    arrays = view_arrays(ball_views(5, 20), NORMALISATION)
    depths = generator.uniform(-0.3, 2.0, len(arrays.pixels)).clip(0.0).astype(np.float32)
    arrays = arrays._replace(depths=depths)
    cpu.load_views(arrays, True)
    stats = cpu.gradients(rays, progress)
    mine = fused_gradients_of(cpu)
    origins, directions, target, background, jitter, depth = deep_batch(arrays, cpu, rays)
    assert 0 < (depth == 0).sum() < rays
    samples = reference._march(origins, directions, jitter)
    grid = contraction.contract(samples.position) if scene == "unbounded" else samples.position
    density, color = field.query(layout, reference.parameters, grid, directions[samples.ray])
    result = volume.composite(samples, density, color, samples.interval, rays, *thresholds)
    reach = (cpu.depth_growth * depth).clamp(min=DEPTH_REACH)
    assert (reach > DEPTH_REACH).any() == (scene == "unbounded")
    missed, mse = volume.depth_loss(samples, result, depth, reach), volume.loss(result, target, background)
    weight = 20.0 * DEPTH_FADES_TO**progress
    loss = mse + weight * missed
    assert stats.depth_loss == pytest.approx(missed.item(), rel=2e-3)
    assert stats.mse == pytest.approx(mse.item(), rel=2e-3) and stats.loss == pytest.approx(loss.item(), rel=2e-3)
    gradients = torch.autograd.grad(loss, list(reference.parameters.values()), retain_graph=True)
    without = torch.autograd.grad(mse, list(reference.parameters.values()))
    for name, gradient, colors_only in zip(reference.parameters, gradients, without, strict=True):
        error = np.linalg.norm(mine[name] - gradient.numpy()) / np.linalg.norm(gradient.numpy())
        # A sample at a cell's wall may fall on either side, which one of 200 rays shows.
        assert error < 3e-2, (name, error)
        if name in ("table", "density_0", "density_1"):
            assert (gradient - colors_only).norm() > 0.1 * gradient.norm()


def fused_gradients_of(cpu):
    """What :meth:`gradients` has left in the batch, by name."""
    kept = cpu.gradients
    cpu.gradients = lambda count: None  # not once more
    try:
        return fused_gradients(cpu, 0)[1]
    finally:
        cpu.gradients = kept


def test_without_depth_nothing_changes():
    """The same steps to the bit, whether there is a depth loss that has no depths, or depths that nobody asks for."""
    results = []
    for weight, with_depths in ((0.0, False), (0.5, False), (0.0, True)):
        backend = CpuBackend(replace(SMALL, scene="bounded", depth_loss=weight), BOX, 3)
        arrays = view_arrays(ball_views(3, 16), NORMALISATION)
        if with_depths:
            arrays = arrays._replace(depths=np.ones(len(arrays.pixels), np.float32))
        backend.load_views(arrays, True)
        stats = [backend.train_step(step / 20) for step in range(20)]
        assert all(each.depth_loss is None and each.loss == pytest.approx(each.mse) for each in stats)
        results.append(backend.arrays())
    for other in results[1:]:
        for name, array in other.items():
            assert np.array_equal(array, results[0][name]), name


def test_depths_are_flattened_in_unit_cube_lengths():
    views = depth_scene.views(3, 12)
    views.views[1] = replace(views.views[1], depth=None)
    arrays = view_arrays(views, ROOM)
    assert arrays.depths.dtype == np.float32 and not arrays.depths[144:288].any()
    np.testing.assert_allclose(arrays.depths[288:], views.views[2].depth.ravel() * ROOM.scale, rtol=1e-6)
    assert len(view_arrays(views, ROOM, with_depth=False).depths) == 0
    assert len(view_arrays(ball_views(2, 12), NORMALISATION).depths) == 0


# What it is good for ---------------------------------------------------------------------------------------------


def shown(method, views) -> tuple[float, float, float]:
    """Median and 95th percentile of the error of depth, and PSNR."""
    errors, psnr = [], []
    for view in views.views:
        origins, directions = view.camera.rays()
        colors = method.render_rays(origins.reshape(-1, 3), directions.reshape(-1, 3))
        errors.append(depth_errors(view, colors.depth.reshape(view.depth.shape)))
        truth = view.rgba[..., :3].reshape(-1, 3) / 255.0
        psnr.append(-10 * np.log10(np.mean((colors.rgba[:, :3] - truth) ** 2)))
    return (*np.mean(errors, axis=0), float(np.mean(psnr)))


@pytest.fixture(scope="module")
def room():
    return depth_scene.views(12, 40), depth_scene.views(4, 40, 0.37)


@pytest.mark.parametrize("scene", ["bounded", "unbounded"])
def test_a_room_of_plain_walls_is_where_it_is(room, scene):
    train, held_out = room
    sizes = {"samples_per_step": 8192, "log2_table_size": 14, "ray_steps": 128, "occupancy_resolution": 64}
    found = []
    for weight in (0.0, FastSettings().depth_loss):
        method = FastMethod(ROOM, "cpu", 0, {"scene": scene, "depth_loss": weight, **sizes})
        method.load_views(train)
        for step in range(300):
            stats = method.train_step(step / 300)
        assert (stats.depth_loss is None) == (weight == 0.0)
        found.append(shown(method, held_out))
    print(scene, found)
    (far, farthest, before), (near, less_near, after) = found
    assert near < 0.05 and near < 0.2 * far and less_near < 0.3 * farthest and after > before + 3.0


def test_the_classic_method_takes_it_too(room):
    train, held_out = room
    sizes = {"depth": 2, "width": 32, "coarse_samples": 32, "fine_samples": 0, "rays_per_step": 192}
    found = []
    for weight in (0.0, 5.0):
        method = ClassicMethod(ROOM, "cpu", 0, {"depth_loss": weight, **sizes})
        method.load_views(train)
        for step in range(250):
            stats = method.train_step(step / 250)
        assert (stats.depth_loss is None) == (weight == 0.0)
        found.append(shown(method, held_out))
    print(found)
    (far, _, before), (near, _, after) = found
    assert near < 0.8 * far and after > before - 1.5  # both still in fog


# From the data set to the numbers --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deep_run(nerf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    data = depth_scene.write_dataset(folder / "data")
    nerf("train", data, "--run", folder / "run", "--steps", 200, "--device", "cpu", "--setting", "scene=bounded")
    return folder / "run"


def test_the_log_and_the_evaluation_tell(nerf, deep_run):
    lines = [json.loads(line) for line in (deep_run / "metrics.jsonl").read_text().splitlines()]
    last = lines[-1]
    assert last["event"] == "ended" and 0.0 < last["depth_loss"] < 0.5 and last["loss"] > 0
    assert "12 images, 12 with depth, of" in (deep_run / "core.log").read_text()
    evaluation = evaluate_run(deep_run, device="cpu", split="val")
    assert 0 < evaluation.depth_error < 0.1 and evaluation.depth_error_95 < 0.5
    assert evaluation.depth_error == pytest.approx(np.mean([view.depth_error for view in evaluation.views]))
    told = nerf("evaluate", deep_run, "--device", "cpu").stdout
    assert "depth error" in told.splitlines()[0] and f"{evaluation.depth_error:.4f}" in told


def test_evaluation_without_depth_says_nothing_of_it(nerf, trained_run):
    told = json.loads(nerf("evaluate", trained_run, "--device", "cpu", "--views", 1, "--json").stdout)
    assert told["depth_error"] is None and told["views"][0]["depth_error_95"] is None
    assert "depth" not in nerf("evaluate", trained_run, "--device", "cpu", "--views", 1).stdout
    lines = (trained_run / "metrics.jsonl").read_text()
    assert "depth_loss" not in lines


def test_depth_that_is_not_wanted_is_not_read(nerf, tmp_path):
    data = depth_scene.write_dataset(tmp_path / "data", train=3, val=1, size=16)
    for path in (data / "depth").iterdir():
        path.write_bytes(b"not a depth map")
    tiny = ("--steps", 3, "--device", "cpu", "--setting", "scene=bounded")
    nerf("train", data, "--run", tmp_path / "off", *tiny, "--setting", "depth_loss=0")
    refused = nerf("train", data, "--run", tmp_path / "on", *tiny, code=2).stderr
    assert "train_000" in refused and ".exr'" in refused and "Traceback" not in refused
    # Nor does what is not usable stand in the way of measuring the colours.
    found = evaluate_run(tmp_path / "off", device="cpu")
    assert len(found.views) == 1 and found.psnr > 0 and found.depth_error is None


def test_depth_errors_of_what_is_known():
    view = replace(depth_scene.view(depth_scene.camera(0, 4, 8)), depth=np.zeros((8, 8), np.float32))
    assert depth_errors(view, np.ones((8, 8))) == (None, None)
    view.depth[:2, :5] = 2.0
    rendered = np.full((8, 8), 9.0)
    rendered[:2, :5] = 2.0 + 0.1 * np.arange(10).reshape(2, 5)
    median, most = depth_errors(view, rendered)
    assert median == pytest.approx(0.45) and most == pytest.approx(np.quantile(0.1 * np.arange(10), 0.95))


def test_checkpoints_from_before_there_was_depth_still_load():
    method = FastMethod(NORMALISATION, "cpu", 0, {**SMALL.to_dict(), "scene": "bounded"})
    state = method.state()
    stored = {name: value for name, value in state.settings["settings"].items() if name != "depth_loss"}
    again = FastMethod(NORMALISATION, "cpu", 0, {})
    again.load_state(MethodState(state.arrays, {**state.settings, "settings": stored}))
    assert again.settings.depth_loss == FastSettings().depth_loss
    assert np.array_equal(again.field.arrays()["params/table"], state.arrays["params/table"])


def test_both_of_classics_networks_lose_it(room):
    """The coarse network is trained on depth like the fine one."""
    train, _ = room
    sizes = {"depth": 1, "width": 16, "coarse_samples": 16, "fine_samples": 16, "rays_per_step": 64}
    losses = {}
    for weight in (0.0, 3.0):
        method = ClassicMethod(ROOM, "cpu", 0, {"depth_loss": weight, **sizes})
        method.load_views(train)
        losses[weight] = method.train_step(0.0)
    with_depth, without = losses[3.0], losses[0.0]
    assert with_depth.mse == pytest.approx(without.mse)
    added = with_depth.loss - without.loss
    assert 0.0 < with_depth.depth_loss < 1.0 and 1.2 * 3.0 * with_depth.depth_loss < added < 2.0 * 3.0
