"""What the core's tests share: a tiny data set on disk, the `nerf` command as a process, one trained run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import tiny_scene

ROOT = Path(__file__).resolve().parents[2]

# Before anything imports torch: one thread that does not spin is fastest for small things on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch  # noqa: E402

# Without a GPU the CUDA kernels run in Triton's interpreter, which has to be chosen before anything imports Triton.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


class Nerf:
    """Runs `python -m nerf_core ...` as a process of its own."""

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}

    def start(self, *arguments, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "nerf_core", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=self.environment(),
            **options,
        )

    def __call__(self, *arguments, code: int = 0) -> subprocess.CompletedProcess:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"exit code {process.returncode}, stderr: {err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="session")
def kernel_device() -> str:
    """Where the CUDA kernels' cases put their tensors; `tests/gpu` runs the same cases on "cuda"."""
    return "cpu"


@pytest.fixture(scope="session")
def nerf() -> Nerf:
    return Nerf()


@pytest.fixture(scope="session")
def ball_dataset(tmp_path_factory) -> Path:
    """The ball of `tiny_scene` in 16 + 3 views of 40 pixels, in a folder with spaces and non-Latin letters."""
    return tiny_scene.write_dataset(tmp_path_factory.mktemp("data") / "ball données 球", train=16, val=3, size=40)


@pytest.fixture(scope="session")
def trained_run(nerf, ball_dataset, tmp_path_factory) -> Path:
    """A run of the fast method on the ball, trained on the command line."""
    run = tmp_path_factory.mktemp("runs") / "ball"
    nerf("train", ball_dataset, "--run", run, "--steps", 300, "--device", "cpu")
    return run


@pytest.fixture
def start(tmp_path):
    """Starts cores, and ends them after the test."""
    from .worker_client import Client  # not above: what imports torch must find the settings there

    clients: list[Client] = []

    def begin(**options) -> Client:
        clients.append(Client(tmp_path / f"core{len(clients)}.log", **options))
        return clients[-1]

    yield begin
    for client in clients:
        client.kill()


@pytest.fixture
def tools_path(monkeypatch):
    """What `tools/` holds, to be imported as its own programs import it."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


@pytest.fixture(scope="session")
def small_ball(tmp_path_factory) -> Path:
    """A ball in 8 + 2 views of 24 pixels, for benchmarks."""
    return tiny_scene.write_dataset(tmp_path_factory.mktemp("bench") / "ball", train=8, val=2, size=24)
