"""The benchmark: a small one from end to end, what it keeps, its medians, its plot, its model of the kernels."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from . import tiny_scene

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


@pytest.fixture(scope="module")
def small_ball(tmp_path_factory) -> Path:
    return tiny_scene.write_dataset(tmp_path_factory.mktemp("bench") / "ball", train=8, val=2, size=24)


def start(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tools" / "bench.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        **options,
    )


def bench(*arguments, code: int = 0) -> subprocess.CompletedProcess:
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit code {process.returncode}: {out}\n{err}"
    return subprocess.CompletedProcess(process.args, code, out, err)


def running_commands() -> list[str]:
    """Command lines of all processes, where the system shows them as files (Linux)."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return commands


def measurement(method="fast", seconds=10.0, seed=0, psnr=20.0, frame=0.1, **others) -> dict:
    return {
        **{"method": method, "seconds": seconds, "seed": seed, "psnr": psnr, "ssim": 0.5, "frame_seconds": frame},
        **{"training_seconds": seconds, "wall_seconds": seconds + 2, "steps": 100, "peak_memory_mb": 500.0},
        **others,
    }


def result(path: Path, measurements: list[dict]):
    """A record as a benchmark would have left it."""
    from benchmark.record import Record

    facts = {
        **{"date": "2026-01-02T03:04:05+00:00", "data": "ball", "split": "val", "frame": [400, 400]},
        "machine": {"cores": 2, "processor": "Some Processor"},
        "titles": {"fast": "NeRF Toolkit, fast", "reference": "plain torch", "classic": "NeRF 2020"},
    }
    kept = Record(path, facts, list(facts["titles"]))
    for one in measurements:
        kept.add(one)
    return kept


def test_benchmark_from_end_to_end(small_ball, tmp_path):
    asked = ("--seconds", "1", "--methods", "fast,classic", "--no-starts", "--downscale", "2", "--views", "1")
    done = bench("cpu", "--data", small_ball, *asked, "--out", tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.json")
    content = json.loads(path.read_text())
    assert content["complete"] and content["failures"] == []
    assert content["frame"] == [12, 12] and content["views"] == 1 and content["downscale"] == 2
    assert content["command"].startswith("python tools/bench.py cpu --data")
    assert content["machine"]["cores"] >= 1 and "torch" in content["versions"]
    assert [(one["method"], one["seed"]) for one in content["measurements"]] == [("fast", 0), ("classic", 0)]
    for one in content["measurements"]:
        assert one["steps"] > 0 and 5 < one["psnr"] < 60 and len(one["view_psnr"]) == 1
        assert one["training_seconds"] >= 0.9 and one["wall_seconds"] > one["training_seconds"]
        assert one["frame_seconds"] > 0 and one["peak_memory_mb"] > 50
    assert content["measurements"][0]["backend"] == "cpu"
    row = content["medians"][0]
    assert (row["method"], row["psnr"], row["seeds"]) == ("fast", content["measurements"][0]["psnr"], 1)
    assert "| NeRF Toolkit, fast " in done.stdout and f"{row['psnr']:.2f}" in done.stdout
    assert "[3/3] classic: 1 s, seed 0; about" in done.stdout
    assert ET.parse(path.with_suffix(".svg")).getroot().tag == f"{SVG}svg"
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to one process alone on Windows")
def test_benchmark_that_is_told_to_end_keeps_what_it_has(small_ball, tmp_path):
    process = start(
        "cpu", "--data", small_ball, "--seconds", "1,500", "--methods", "classic", "--no-starts", "--out", tmp_path
    )
    read = []
    for line in process.stdout:
        read.append(line)
        if line.startswith("[2/2]"):
            break
    time.sleep(2.0)
    if Path("/proc").exists():
        assert [command for command in running_commands() if "--seconds 500" in command and str(small_ball) in command]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "Stopped; what was measured is kept." in out
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    assert not content["complete"] and [one["seconds"] for one in content["measurements"]] == [1.0]
    assert path.with_suffix(".svg").exists()
    # The training that it had begun has ended too.
    assert not [command for command in running_commands() if "--seconds 500" in command and str(small_ball) in command]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("cpu", "--data", "nowhere"), 2, "there is no data set 'nowhere'"),
        (("cpu", "--data", ".", "--seconds", "ten"), 2, "'ten' is not a list of seconds"),
        (("cpu", "--data", ".", "--seconds", "0.1"), 2, "at least 1 second"),
        (("cpu", "--data", ".", "--seeds", "0"), 2, "--seeds must lie between"),
        (("cpu", "--data", ".", "--views", "0"), 2, "--views must be at least 1"),
        (("cpu", "--data", ".", "--methods", "fast,slow"), 1, "There is no method 'slow' on cpu"),
        (("cpu", "--data", "."), 1, "transforms"),
        (("plot", "nothing.json"), 1, "'nothing.json' cannot be read"),
    ],
    ids=["data", "words", "budget", "seeds", "views", "method", "empty", "result"],
)
def test_benchmark_says_what_is_wrong_with_its_options(tmp_path, arguments, code, sentence):
    process = start(*arguments, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert sentence in out + err and "Traceback" not in err


def test_failed_peer_is_kept_and_named(tmp_path):
    from benchmark.measure import MeasurementError, child

    said, memory = child("a child", [sys.executable, "-c", "print('words'); print('{\"steps\": 7}')"])
    assert said == {"steps": 7} and (memory > 1 or memory != memory)
    with pytest.raises(MeasurementError, match=r"'a child' ended with code 3: no such thing"):
        child("a child", [sys.executable, "-c", "import sys; sys.stderr.write('no such thing'); sys.exit(3)"])
    with pytest.raises(MeasurementError, match="printed no JSON line last"):
        child("a child", [sys.executable, "-c", "print('words')"])
    kept = result(tmp_path / "r.json", [measurement()])
    kept.fail("classic", "10 s, seed 0", "it broke")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["failures"] == [{"method": "classic", "what": "10 s, seed 0", "problem": "it broke"}]
    assert len(content["measurements"]) == 1


def test_medians_over_seeds():
    from benchmark.record import medians

    rows = medians(
        [
            measurement("classic", 10.0, 0, 15.0),
            *(measurement("fast", 60.0, seed, psnr) for seed, psnr in enumerate((31.0, 30.0, 33.0))),
            measurement("fast", 10.0, 0, 26.0, peak_memory_mb=float("nan")),
        ],
        ["fast", "classic"],
    )
    assert [(row["method"], row["seconds"], row["seeds"]) for row in rows] == [
        ("fast", 10.0, 1),
        ("fast", 60.0, 3),
        ("classic", 10.0, 1),
    ]
    assert (rows[1]["psnr"], rows[1]["psnr_low"], rows[1]["psnr_high"]) == (31.0, 30.0, 33.0)
    assert rows[0]["peak_memory_mb"] is None


def test_table_is_markdown():
    from benchmark.record import medians, table

    rows = medians([measurement(ssim=None), measurement("classic", psnr=9.876)], ["fast", "classic"])
    lines = table(rows, {"fast": "Fast", "classic": "The old one"}).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "Fast", "10", "1", "12.0", "100", "20.00", "-", "100.0", "500",
    ]  # fmt: skip
    assert "| The old one |" in lines[3] and " 9.88 |" in lines[3]


def test_time_left_is_learned(monkeypatch):
    from benchmark.progress import Job, Progress, duration

    told = Progress([Job("fast", "warm start", 0.0), *(Job("fast", "10 s", 10.0),) * 2, Job("classic", "20 s", 20.0)])
    told._extra = {("fast", True): 3.0}
    told._done = 1
    assert told.seconds_left() == 10 + 3 + 10 + 3 + 20 + 3  # a method that is not known yet is taken like the others
    assert [duration(s) for s in (0, 45, 600, 9000)] == ["about 1 s", "about 45 s", "about 10 min", "about 2.5 h"]


def test_plot_is_the_same_each_time_and_from_json_alone(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [
        measurement(method, seconds, seed, psnr + seed)
        for method, psnr in (("fast", 25.0), ("reference", 15.0), ("classic", 12.0))
        for seconds in (10.0, 60.0)
        for seed in range(3)
    ]
    kept = result(tmp_path / "one.json", rows)
    kept.content["complete"] = True
    kept.write()
    bench("plot", kept.path)
    first = kept.plot_path.read_bytes()
    kept.plot_path.unlink()
    bench("plot", kept.path)
    assert kept.plot_path.read_bytes() == first
    root = ET.fromstring(first)
    assert b"<dc:date>" not in first and not root.findall(f".//{SVG}text")  # no date; letters are outlines
    drawn = {colour for colour in ("#0072b2", "#d55e00", "#009e73") if colour.encode() in first.lower()}
    assert len(drawn) == 3
    other = result(tmp_path / "two.json", [measurement(psnr=20.5)])
    other.content["complete"] = True
    other.write()
    bench("plot", other.path)
    assert other.plot_path.read_bytes() != first


def test_result_of_something_else_is_refused(tmp_path):
    from benchmark.record import read

    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(SystemExit, match="not a result file"):
        read(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(SystemExit, match="not JSON"):
        read(tmp_path / "a.json")


# The GPU's side, as far as it goes without one ------------------------------------------------------------------


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

    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "nerfacc", stand_in)
    from benchmark import nerfacc_peer

    monkeypatch.setattr(nerfacc_peer, "SAMPLES", 4096)
    monkeypatch.setattr(nerfacc_peer, "FIRST_RAYS", 128)
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
