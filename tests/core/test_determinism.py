"""One seed, one result: byte for byte over processes, over numbers of threads, and on both backends."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.reference.backend import ReferenceBackend
from nerf_core.kernels.views import view_arrays
from nerf_core.training.checkpoint import load_checkpoint

from .conftest import ROOT
from .fast_field import NORMALISATION, SMALL, ball_views

BOX = NORMALISATION.unit_bounds
STEPS = 36  # past the first occupancy updates, and past where samples begin to feed the grid


def digest(arrays) -> str:
    """Of names, types, shapes and bytes."""
    whole = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        whole.update(f"{name} {array.dtype} {array.shape}".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def trained(backend, steps=STEPS) -> str:
    """The digest of everything that training changes, and of every step's statistics."""
    backend.load_views(view_arrays(ball_views(4, 16), NORMALISATION), True)
    stats = [backend.train_step(step / steps) for step in range(steps)]
    assert stats[-1].loss < stats[0].loss
    return digest(backend.arrays()) + repr([backend.counters(), stats])


@pytest.fixture(scope="module")
def single() -> str:
    return trained(CpuBackend(SMALL, BOX, 9, threads=1))


@pytest.mark.parametrize("threads", [2, 3, 8, 16])
def test_the_number_of_threads_changes_nothing(single, threads):
    """8 and 16 are as many as the grid has levels and more, on however few cores."""
    assert trained(CpuBackend(SMALL, BOX, 9, threads=threads)) == single


def test_another_seed_changes_everything(single):
    assert trained(CpuBackend(SMALL, BOX, 10, threads=2)) != single


def test_rendering_does_not_depend_on_the_threads(single):
    views = ball_views(1, 40)
    origins, directions = views.views[0].camera.rays()
    origins = NORMALISATION.to_unit(origins.reshape(-1, 3)).astype(np.float32)
    directions = directions.reshape(-1, 3).astype(np.float32)
    found = []
    for threads in (1, 3, 16):
        backend = CpuBackend(SMALL, BOX, 9, threads=threads)
        trained(backend)
        rgba, depth, samples = backend.render(origins, directions)
        density, color = backend.query(origins[:999] * 0.1 + 0.45, directions[:999])
        found.append(digest({"rgba": rgba, "depth": depth, "density": density, "color": color}) + str(samples))
    assert rgba[:, 3].max() > 0.1
    assert found[1:] == found[:1] * 2


IN_A_PROCESS = """
import json, sys
from tests.core.fast_field import NORMALISATION, SMALL
from tests.core.test_determinism import BOX, trained
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.reference.backend import ReferenceBackend
print(json.dumps([trained(CpuBackend(SMALL, BOX, 9, threads=2)), trained(ReferenceBackend(SMALL, BOX, 9), 20)]))
"""


def test_processes_with_the_same_seed_end_with_the_same_bytes(single):
    """In a process of its own, with another hash seed and after other work, nothing comes out differently."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1234", "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS], env=environment, cwd=ROOT, capture_output=True, timeout=300, text=True
    )
    assert answer.returncode == 0, answer.stderr
    cpu, reference = json.loads(answer.stdout)
    assert cpu == single
    assert reference == trained(ReferenceBackend(SMALL, BOX, 9), 20)


def test_two_trainings_on_the_command_line_are_the_same(nerf, ball_dataset, tmp_path):
    """Whole runs: images read in whatever order threads finish, held-out pictures, checkpoints."""
    found = []
    for name in ("a", "b"):
        nerf("train", ball_dataset, "--run", tmp_path / name, "--steps", 40, "--device", "cpu", "--seed", 4)
        found.append(load_checkpoint(tmp_path / name / "checkpoint.safetensors"))
    assert digest(found[0].state.arrays) == digest(found[1].state.arrays)
    assert found[0].state.settings == found[1].state.settings and found[0].spent.steps == 40
