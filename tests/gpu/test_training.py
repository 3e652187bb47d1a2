"""What only a GPU can show: graphs, no waiting inside a step, kernels compiled ahead, and a field that is learnt."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from nerf_core.fields.hash_grid import FastSettings
from nerf_core.kernels.cuda import images
from nerf_core.kernels.cuda.backend import CudaBackend
from nerf_core.kernels.views import view_arrays
from nerf_core.methods.fast import FastMethod

from ..core.fast_field import NORMALISATION, ball_views, view_psnr

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = replace(
    FastSettings(scene="bounded", log2_table_size=15, samples_per_step=1 << 16).sized_for(100, cuda=True),
    max_rays_per_step=1 << 14,
)


def trained(steps, settings=SETTINGS):
    backend = CudaBackend(settings, NORMALISATION.unit_bounds, 7)
    backend.load_views(view_arrays(ball_views(20, 64), NORMALISATION), True)
    stats = [backend.train_step(count / steps) for count in range(steps)]
    torch.cuda.synchronize()
    return backend, stats


def test_a_ball_is_learnt():
    method = FastMethod(NORMALISATION, "cuda", 3, SETTINGS.to_dict())
    method.load_views(ball_views(20, 64))
    stats = [method.train_step(count / 600) for count in range(600)]
    assert method.field.name == "cuda" and sum(each.overflow for each in stats[200:]) == 0
    # Most of what is met is what was asked for.
    assert np.mean([each.samples for each in stats[300:] if each.rays]) > 0.5 * SETTINGS.samples_per_step
    assert view_psnr(method, ball_views(4, 64, phase=1.0)) > 29
    # The CPU renders the same from its checkpoint.
    on_cpu = FastMethod(NORMALISATION, "cpu")
    on_cpu.load_state(method.state())
    held_out = ball_views(4, 64, phase=1.0)
    assert abs(view_psnr(on_cpu, held_out) - view_psnr(method, held_out)) < 0.1


def test_steps_run_as_graphs_and_wait_for_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backend, _ = trained(300)
        graphs = backend._training.graphs
        # Without an update of the occupancy grid, and with one of every second and every eighth cell.
        assert len(graphs._graphs) == 3
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(40):
                backend.train_step(0.5)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert backend.counters()["step"] == backend.step == 340 and int(backend._state.i[0]) == 340


def test_every_step_is_reported_once():
    backend, stats = trained(200)
    # Those of the last few steps are still on their way.
    heard = sum(each.rays > 0 for each in stats)
    assert 0 < heard <= 200 and all(np.isfinite(each.loss) for each in stats)
    assert stats[-1].loss < 0.5 * stats[0].loss


def test_kernels_compiled_ahead_do_the_same(tmp_path, monkeypatch):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); from pathlib import Path; import build_kernels;"
        "from nerf_core.kernels.cuda import ahead, catalogue, images;"
        "built = ahead.build(catalogue.record(), images.TARGETS);"
        "[build_kernels.write(built, target, Path(sys.argv[1])) for target in images.TARGETS]"
    )
    folder = tmp_path / "ahead"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, cwd=ROOT, env={**os.environ})
    by_triton, stats = trained(40)
    monkeypatch.setattr(images, "FOLDER", folder)
    images._read.cache_clear()
    try:
        assert images.available(torch.cuda.get_device_capability())
        ahead, ahead_stats = trained(40)
        assert len(images._functions) >= 15
        origins = np.tile(np.float32([[0.5, 0.5, 3.0]]), (50, 1))
        directions = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32) * 0.1 + np.float32([0, 0, -1])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        # Atomic additions come in any order, so the two fields drift apart a little.
        rgba = [backend.render(origins, directions)[0] for backend in (by_triton, ahead)]
        np.testing.assert_allclose(*rgba, atol=0.1)
        ahead.load_arrays(by_triton.arrays())
        rgba = [backend.render(origins, directions)[0] for backend in (by_triton, ahead)]
        np.testing.assert_allclose(*rgba, atol=1e-3)
    finally:
        images._read.cache_clear()
    assert ahead_stats[-1].loss == pytest.approx(stats[-1].loss, rel=0.2)


def test_train_and_render_on_the_command_line(nerf, ball_dataset, tmp_path):
    run = tmp_path / "run"
    nerf("train", ball_dataset, "--run", run, "--steps", 1000, "--device", "cuda")
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["backend"] == "cuda"
    found = {}
    for device in ("cuda", "cpu"):
        answer = nerf("evaluate", run, "--device", device, "--split", "val", "--json")
        found[device] = json.loads(answer.stdout.splitlines()[-1])["psnr"]
    assert found["cuda"] > 28 and abs(found["cuda"] - found["cpu"]) < 0.1
    assert "fused kernels (Triton)" in nerf("doctor").stdout
