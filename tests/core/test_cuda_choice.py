"""Who computes where: GPUs that the CUDA kernels serve, what the doctor says of them, what the method takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from nerf_core import doctor
from nerf_core.contract.errors import NerfError
from nerf_core.fields.hash_grid import CUDA_BATCH_SIZES, FastSettings
from nerf_core.kernels.cuda import availability, images
from nerf_core.methods.fast import FastMethod

from .fast_field import NORMALISATION

ROOT = Path(__file__).resolve().parents[2]


def test_sizes_for_a_gpu():
    sized = FastSettings(scene="bounded").sized_for(800, cuda=True)
    assert {name: getattr(sized, name) for name in CUDA_BATCH_SIZES} == CUDA_BATCH_SIZES
    assert (sized.log2_table_size, sized.occupancy_resolution, sized.ray_steps) == (19, 128, 1024)
    assert FastSettings(samples_per_step=4096).sized_for(800, cuda=True).samples_per_step == 4096
    assert FastSettings(scene="unbounded").sized_for(200, cuda=True).step_growth > 0


def test_gpus_that_it_does_not_serve(monkeypatch):
    assert "7.5; no software changes that" in availability.problem_of("NVIDIA RTX 2080", (7, 5))
    monkeypatch.setattr(images, "available", lambda capability: False)
    monkeypatch.setattr(availability.importlib.util, "find_spec", lambda name: None)
    assert availability.problem_of("NVIDIA A100", (8, 0)).endswith("-m pip install triton")
    monkeypatch.setattr(availability.sys, "platform", "win32")
    assert availability.problem_of("NVIDIA A100", (8, 0)).endswith("-m pip install triton-windows")
    monkeypatch.undo()
    monkeypatch.setattr(images, "available", lambda capability: False)
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "Triton needs a C compiler to launch" in availability.problem_of("NVIDIA A100", (8, 0))
    monkeypatch.setattr(images, "available", lambda capability: True)
    assert availability.problem_of("NVIDIA A100", (8, 0)) is None


def test_doctor_says_who_computes_and_how_to_get_the_fast_kernels(monkeypatch):
    devices = [{"kind": kind, "name": name} for kind, name in (("cuda", "Old"), ("cuda", "New"), ("mps", "M1"))]
    problems = {0: availability.problem_of("Old", (7, 5)), 1: None}
    monkeypatch.setattr(availability, "problem", problems.get)
    hints = doctor._add_backends([*devices, cpu := {"kind": "cpu", "name": "x86"}])
    assert [device["backend"] for device in (*devices, cpu)] == ["reference", "cuda", "reference", "cpu"]
    assert len(hints) == 2 and hints[0].startswith("Old: The fast kernels need a GPU of compute capability 8.0")
    assert "several times slower" in hints[0] and "no fast kernels for Apple's GPUs" in hints[1]
    report = {**doctor.examine(), "devices": devices}
    assert "  device cuda  New: fused kernels (Triton)" in doctor.report_lines(report)


def test_the_method_takes_it(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here: tests/gpu tries the real thing")
    assert FastMethod(NORMALISATION, "cuda").backend == "reference"
    assert FastMethod(NORMALISATION, "mps").backend == "reference" and FastMethod(NORMALISATION).backend == "cpu"
    monkeypatch.setattr(availability, "problem", lambda index=0: None)
    assert FastMethod(NORMALISATION, "cuda").backend == "cuda"
    monkeypatch.undo()
    tiny = {"occupancy_resolution": 16, "scene": "bounded"}
    method = FastMethod(NORMALISATION, "cpu", settings={"backend": "cuda", "log2_table_size": 10, **tiny})
    assert method.field.name == "cuda" and method.settings.samples_per_step == 1 << 18
    state = method.state()
    on_cpu = FastMethod(NORMALISATION, "cpu")
    on_cpu.load_state(state)
    assert on_cpu.field.name == "cpu" and on_cpu.settings.samples_per_step == 1 << 15
    assert on_cpu.settings.log2_table_size == 10
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(NerfError, match="cannot run here. They run on the device 'cuda' only"):
        FastMethod(NORMALISATION, "cpu", settings={"backend": "cuda"}).field  # noqa: B018
    with pytest.raises(NerfError, match="cannot run here. torch sees no NVIDIA GPU"):
        FastMethod(NORMALISATION, "cuda", settings={"backend": "cuda"}).field  # noqa: B018


def test_without_triton_the_same_kernels_are_asked_for():
    """So that what was compiled ahead is found where neither Triton nor a compiler is."""
    code = "from nerf_core.kernels.cuda import catalogue; print(*sorted(v.key for v in catalogue.record()), sep='\\n')"
    block = "import sys; sys.modules['triton'] = None; "
    variables = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    answers = [
        subprocess.run([sys.executable, "-c", first + code], env=variables, capture_output=True, text=True, cwd=ROOT)
        for first in ("", block)
    ]
    assert answers[0].returncode == answers[1].returncode == 0, answers[1].stderr
    assert answers[0].stdout == answers[1].stdout and answers[0].stdout.count("\n") > 25
