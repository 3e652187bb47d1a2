"""One measurement: a process that trains, another that judges, and what they say and took."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environment

from .machine import busy_cores
from .methods import Method

CACHES = ("NUMBA_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "TORCHINDUCTOR_CACHE_DIR")
"""Where compilers keep what they compiled; a cold start gets empty ones."""


class MeasurementError(Exception):
    """A process ended badly; the message holds the end of what it said."""


@dataclass(frozen=True)
class Setup:
    """What all measurements of a benchmark share."""

    data: Path
    device: str
    downscale: int | None
    split: str
    views: int | None = None

    @property
    def shrink(self) -> list[str]:
        """The option that shrinks the images, where one is asked for."""
        return ["--downscale", str(self.downscale)] if self.downscale else []

    @property
    def judged(self) -> list[str]:
        """The options that say which views to judge on."""
        return ["--split", self.split, *(["--views", str(self.views)] if self.views else [])]


def measure(method: Method, setup: Setup, seconds: float, seed: int, keep: Path | None = None) -> dict[str, Any]:
    """Train a new run for `seconds` and judge it on held-out views.

    Parameters
    ----------
    method : Method
    setup : Setup
    seconds : float
        Training time; reading images and saving come on top.
    seed : int
    keep : Path, optional
        A new folder for the run, to be used afterwards; by default it is temporary.

    Raises
    ------
    MeasurementError
        With what the process said last.
    """
    busy = busy_cores()
    with tempfile.TemporaryDirectory(prefix="nerf-toolkit-bench-") as folder:
        run = keep or Path(folder) / "run"
        numbers = (_nerf_numbers if method.is_ours else _peer_numbers)(method, setup, seconds, seed, run)
    return {"method": method.name, "seconds": seconds, "seed": seed, "busy_cores_before": busy, **numbers}


def _nerf_numbers(method: Method, setup: Setup, seconds: float, seed: int, run: Path) -> dict[str, Any]:
    on = ("--device", setup.device)
    began = time.perf_counter()
    trained, memory = nerf(
        "train", setup.data, "--run", run, *method.arguments, "--seconds", seconds, "--seed", seed, *on, *setup.shrink
    )
    wall = time.perf_counter() - began
    judged, _ = nerf("evaluate", run, *setup.judged, *on)
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return {
        "backend": facts["backend"],
        "steps": trained["step"],
        "training_seconds": trained["seconds"],
        "wall_seconds": wall,
        "peak_memory_mb": memory,
        **_judgement(judged),
        "versions": facts["versions"],
    }


def _peer_numbers(method: Method, setup: Setup, seconds: float, seed: int, run: Path) -> dict[str, Any]:
    began = time.perf_counter()
    said, memory = child(
        method.name,
        [
            *(sys.executable, "-m", "benchmark.nerfacc_peer", setup.data, "--seconds", seconds, "--seed", seed),
            *("--device", setup.device, *setup.judged, *setup.shrink),
        ],
    )
    # The same span as a `nerf train` process: without the judging, which follows in the same process.
    wall = time.perf_counter() - began - said["judging_seconds"]
    return {
        "backend": said["backend"],
        "steps": said["step"],
        "training_seconds": said["seconds"],
        "wall_seconds": wall,
        "peak_memory_mb": memory,
        **_judgement(said["judged"]),
        "versions": said["versions"],
    }


def _judgement(judged: dict[str, Any]) -> dict[str, Any]:
    return {
        "psnr": judged["psnr"],
        "ssim": judged["ssim"],
        "frame_seconds": judged["seconds"],
        "view_psnr": [view["psnr"] for view in judged["views"]],
        "view_seconds": [view["seconds"] for view in judged["views"]],
    }


def kernels(setup: Setup) -> dict[str, Any]:
    """Times of a step, of frames of 800x800 and of the CUDA kernels beside their floors; see `kernels.main`."""
    command = [sys.executable, "-m", "benchmark.kernels", setup.data, "--device", setup.device, *setup.shrink]
    return child("the timing of the kernels", command)[0]


def start_seconds(method: Method, setup: Setup, cold: bool) -> float:
    """Wall time of a training of one step: from the command to the end of its process.

    Its run being saved and judged is included, so the first step came earlier. Warm: the kernels were compiled before.
    Cold: the compilers' caches are empty folders.
    """
    with tempfile.TemporaryDirectory(prefix="nerf-toolkit-bench-") as folder:
        caches = {name: str(Path(folder) / name.lower()) for name in CACHES} if cold else {}
        on = ("--device", setup.device, *setup.shrink)
        began = time.perf_counter()
        nerf("train", setup.data, "--run", Path(folder) / "run", *method.arguments, "--steps", 1, *on, variables=caches)
        return time.perf_counter() - began


def nerf(*arguments: object, variables: dict[str, str] | None = None) -> tuple[dict[str, Any], float]:
    """Run `nerf ARGUMENTS --json`; returns its JSON and the process's peak resident memory in MB."""
    return child(f"nerf {arguments[0]}", [sys.executable, "-m", "nerf_core", *arguments, "--json"], variables)


def child(name: str, command: list[object], variables: dict[str, str] | None = None) -> tuple[dict[str, Any], float]:
    """Run a command that prints one JSON line last; returns that and its peak resident memory in MB.

    Raises
    ------
    MeasurementError
        When it ends badly or says something else.
    """
    inherited = environment.child_environment()
    paths = [str(environment.ROOT), str(environment.ROOT / "tools"), *filter(None, [inherited.get("PYTHONPATH")])]
    inherited |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8", **(variables or {})}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, encoding="utf-8", env=inherited
        )
        try:
            assert process.stdout is not None
            output = process.stdout.read()
            memory = _wait(process)
        except BaseException:
            _end(process)
            raise
        errors.seek(0)
        said = errors.read()[-2000:].strip()
    if process.returncode != 0:
        raise MeasurementError(f"'{name}' ended with code {process.returncode}: {said or 'it said nothing'}")
    try:
        return json.loads(output.strip().splitlines()[-1]), memory
    except (ValueError, IndexError):
        raise MeasurementError(f"'{name}' printed no JSON line last: {(output or said)[-500:]!r}") from None


def _wait(process: subprocess.Popen[str]) -> float:
    """Wait for a process; its peak resident memory in MB, NaN where the system does not tell."""
    if not hasattr(os, "wait4"):
        process.wait()
        return float("nan")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / (1024.0 if sys.platform != "darwin" else 1024.0 * 1024.0)


def _end(process: subprocess.Popen[str]) -> None:
    """End a child whose parent was stopped; its run folder is temporary, so that nothing is worth saving."""
    if process.returncode is None and process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
