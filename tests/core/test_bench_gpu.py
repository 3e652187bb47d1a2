"""The benchmark on GPUs, as far as it goes without one: its model of the kernels, their timing, the peer nerfacc."""

import sys

import pytest

from . import tiny_scene

pytestmark = pytest.mark.usefixtures("tools_path")


def large_settings(**others):
    from nerf_core.fields.hash_grid import FastSettings

    return FastSettings(scene="bounded", log2_table_size=19, occupancy_resolution=128, **others).sized_for(800)


def test_floors_are_bytes_and_operations():
    from benchmark.floors import DEVICES, Cost, Model, Sizes, device_named

    h200 = DEVICES["H200"]
    # By hand: 1e9 bytes of table beside do not fit in the cache, 4.8 GB at 4.8 TB/s; the other numbers are smaller.
    assert Cost(streams=4.8e9, tensor=989e9 / 2).floor(h200) == (pytest.approx(1e-3), "memory")
    assert Cost(streams=1e6, gathers=5.5e9 - 1e6).floor(h200) == (pytest.approx(1e-3), "cache")
    assert Cost(tensor=989e9, atomics=1e6).floor(h200) == (pytest.approx(1e-3), "tensor")
    assert Cost(atomics=166e6).floor(h200) == (pytest.approx(1e-3), "atomics")
    assert device_named("NVIDIA H200") is h200
    assert device_named("NVIDIA GeForce RTX 4090") is DEVICES["RTX 4090"]
    assert device_named("NVIDIA GeForce RTX 4090 Laptop GPU") is None and device_named("NVIDIA T4") is None

    model = Model(large_settings(levels=8, features=4))
    samples = 1 << 18
    costs = model.training(Sizes(rays=1, samples=samples, trained=samples))
    assert costs["K2"].gathers == samples * 8 * 4 * 32
    assert costs["K3"].tensor == samples * 2 * (32 * 64 + 64 * 16 + 32 * 64 + 64 * 16)
    assert costs["K7"].atomics == samples * 8 * 8 * 4
    half_trained = model.training(Sizes(rays=1, samples=samples, trained=samples // 2))
    assert half_trained["K7"].atomics == costs["K7"].atomics / 2 and half_trained["K3"] == costs["K3"]
    assert half_trained["K8"].streams < costs["K8"].streams
    nothing = model.training(Sizes(rays=0, samples=0, trained=0))
    assert nothing["K8"].streams == pytest.approx(4 * model.parameters, rel=0.01)  # gradients are read all the same
    # All lines touched: value and moments read and written, copy and gradient written, gradient read.
    everything = model.training(Sizes(rays=0, samples=0, trained=1 << 40))
    assert everything["K8"].streams == pytest.approx((24 + 2 + 4 + 4) * model.parameters)


def test_kernels_are_timed_one_by_one(tmp_path):
    pytest.importorskip("triton")
    import torch
    from benchmark.floors import Sizes, device_named
    from benchmark.kernels import HostClock, beside_floors, lines, time_kernels, time_rendering, time_steps

    from nerf_core.kernels.cuda.backend import CudaBackend
    from nerf_core.kernels.views import view_arrays
    from nerf_core.methods.base import Normalisation

    if torch.cuda.is_available():
        pytest.skip("Triton's interpreter is not chosen where there is a GPU")
    import numpy as np

    from nerf_core.fields.hash_grid import FastSettings

    settings = FastSettings(
        scene="bounded",
        levels=4,
        log2_table_size=10,
        base_resolution=4,
        max_resolution=16,
        occupancy_resolution=16,
        ray_steps=32,
        samples_per_step=512,
        max_rays_per_step=64,
        density_width=16,
        color_width=16,
    ).sized_for(32)
    normalisation = Normalisation(tiny_scene.BOUNDS)
    backend = CudaBackend(settings, np.array([[0.0] * 3, [1.0] * 3]), 0, device="cpu", half=False)
    backend.load_views(view_arrays(tiny_scene.views(4, 16), normalisation), True)
    clock = HostClock()
    stepped = time_steps(backend, clock, 1)
    assert stepped["step_ms"] > 0 and stepped["rays"] > 0 and stepped["samples"] > 0
    from nerf_core.kernels.cuda import step

    backend.load_counters({"step": 16 * 16 + 14, "rays": 64})  # the step after the next refreshes the occupancy grid
    before = step.launch_count, backend._training.graphs
    measured = time_kernels(backend, clock, 1)
    assert backend.step == 16 * 17 and (step.launch_count, backend._training.graphs) == before
    assert set(measured) == {*(f"K{number}" for number in range(10)), "other"}
    assert all(seconds > 0 for seconds in measured.values())
    rows = beside_floors(measured, settings, False, Sizes(64, 512, 256), device_named("NVIDIA H200"))
    assert [row["kernel"] for row in rows] == [*(f"K{number}" for number in range(10)), "other"]
    assert all(0 < row["floor_ms"] < row["ms"] for row in rows[:-1])
    origins = np.tile(np.array([[0.5, 0.5, 2.0]], np.float32), (16, 1))
    rays = (origins, np.tile(np.array([[0.0, 0.0, -1.0]], np.float32), (16, 1)))
    rows.append(time_rendering(lambda: backend.render(*rays), clock, 16, 100.0, settings, False, None))
    assert rows[-1]["kernel"] == "K10" and rows[-1]["ms"] > 0 and "floor_ms" not in rows[-1]
    result = {"backend": "cuda", **stepped, "kernels": rows}
    result["frames"] = {"side": 800, "per_second": 100.0, "samples_a_pixel": 5.0}
    text = lines(result)
    assert any(line.startswith("| K7 encode backward | ") and "atomics" in line for line in text)


def test_frames_are_timed_on_square_cameras(trained_run):
    from benchmark.kernels import square, time_frames

    from nerf_core.training.load import load_run

    run = load_run(trained_run, "cpu")
    wide = square(run.cameras[0], 80)
    assert (wide.width, wide.height, wide.fl_x) == (80, 80, 2 * run.cameras[0].fl_x)
    found = time_frames(run.method, run.cameras, 24, 3)
    assert found["side"] == 24 and found["frames"] == 3 and found["samples_a_pixel"] > 0.1
    assert found["per_second"] == pytest.approx(1 / found["seconds"])


class StandIn:
    """nerfacc's two entrances with its names and shapes, in plain torch: nerfacc itself runs on NVIDIA GPUs only."""

    def __init__(self):
        import torch

        class OccGridEstimator(torch.nn.Module):
            updates = 0

            def __init__(self, roi_aabb, resolution, levels):
                super().__init__()
                assert tuple(roi_aabb.shape) == (6,) and levels == 1

            def update_every_n_steps(self, step, occ_eval_fn, occ_thre=1e-2):
                if step % 16 == 0:
                    assert occ_eval_fn(torch.rand(5, 3)).shape == (5, 1)
                    OccGridEstimator.updates += 1

            def sampling(self, rays_o, rays_d, sigma_fn, render_step_size, stratified):
                from nerf_core.kernels.reference.volume import march

                box, cells = torch.tensor([[0.0] * 3, [1.0] * 3]), torch.ones(4, 4, 4, dtype=torch.bool)
                coarse = 16 * render_step_size
                found = march(rays_o, rays_d, box, cells, coarse, torch.full_like(rays_o[:, 0], 0.5))
                starts, ends = found.distance - coarse / 2, found.distance + coarse / 2
                assert sigma_fn(starts, ends, found.ray).shape == starts.shape
                return found.ray, starts, ends

        self.OccGridEstimator = OccGridEstimator

    @staticmethod
    def rendering(t_starts, t_ends, ray_indices, n_rays, rgb_sigma_fn):
        import torch

        color, sigma = rgb_sigma_fn(t_starts, t_ends, ray_indices)
        depth = sigma * (t_ends - t_starts)
        first = torch.searchsorted(ray_indices, ray_indices)  # of each sample's ray
        before = torch.cumsum(depth, 0) - depth
        weight = torch.exp(-(before - before[first])) * (1 - torch.exp(-depth))
        sums = [
            torch.zeros(n_rays, part.shape[1]).index_add(0, ray_indices, weight[:, None] * part)
            for part in (color, torch.ones_like(color[:, :1]), (t_starts + t_ends)[:, None] / 2)
        ]
        return *sums, {}


def test_nerfacc_peer_learns_with_a_stand_in(small_ball, monkeypatch):
    import argparse
    import itertools
    from types import SimpleNamespace

    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "nerfacc", stand_in)
    from benchmark import nerfacc_peer

    monkeypatch.setattr(nerfacc_peer, "SAMPLES", 4096)
    monkeypatch.setattr(nerfacc_peer, "FIRST_RAYS", 128)
    # By a clock of its own, so that a busy machine trains as many steps as another: 1/20 s each time it is asked.
    ticks = itertools.count()
    monkeypatch.setattr(nerfacc_peer, "time", SimpleNamespace(perf_counter=lambda: next(ticks) / 20))
    options = argparse.Namespace(
        data=small_ball, seconds=4.0, seed=0, device="cpu", downscale=1, split="val", views=None
    )
    result = nerfacc_peer.run(options, log2_table=12)
    assert result["backend"] == "nerfacc, plain torch" and result["step"] > 3 and result["seconds"] >= 4.0
    assert len(result["judged"]["views"]) == 2 and result["judging_seconds"] > 0
    assert stand_in.OccGridEstimator.updates >= 2
    assert result["judged"]["psnr"] > 12.0, result["judged"]["psnr"]  # what it begins with is 8 dB


def test_nerfacc_peer_asks_for_what_nerfacc_has():
    import inspect

    nerfacc = pytest.importorskip("nerfacc", reason="nerfacc is not installed")
    wanted = {
        nerfacc.OccGridEstimator.__init__: ("roi_aabb", "resolution", "levels"),
        nerfacc.OccGridEstimator.update_every_n_steps: ("step", "occ_eval_fn", "occ_thre"),
        nerfacc.OccGridEstimator.sampling: ("sigma_fn", "render_step_size", "stratified"),
        nerfacc.rendering: ("n_rays", "rgb_sigma_fn"),
    }
    for function, names in wanted.items():
        assert set(names) <= set(inspect.signature(function).parameters)


def test_missing_peer_is_said_in_one_sentence(monkeypatch):
    import importlib.util

    from benchmark import methods

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    names = {method.name: method.missing() for method in methods.for_device("cuda")}
    assert [name for name, problem in names.items() if problem] == ["nerfacc"]
    assert "pip install nerfacc" in names["nerfacc"] and names["nerfacc"].count(". ") == 0
    assert [method.name for method in methods.for_device("cpu")] == ["fast", "reference", "classic"]
    with pytest.raises(SystemExit, match="no method 'nerfacc' on cpu"):
        methods.named("nerfacc", "cpu")
