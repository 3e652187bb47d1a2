"""The CPU kernels compiled for lesser processors: without AVX512, without AVX2 and fused multiply-add at all."""

import json
import os
import platform
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest

TRAIN = """
import json
from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.cpu import vector
from nerf_core.kernels.views import view_arrays
from tests.core.fast_field import NORMALISATION, SMALL, ball_views
backend = CpuBackend(SMALL, NORMALISATION.unit_bounds, 3, threads=1)
backend.load_views(view_arrays(ball_views(4, 16), NORMALISATION), True)
losses = [backend.train_step(0.0).loss for _ in range(20)]
print(json.dumps({"losses": losses, "blocks": [vector.WIDE_COLUMNS, vector.NARROW_ROWS]}))
"""

SETS = {"avx2": ["avx2", "avx", "fma", "f16c", "bmi", "bmi2"], "sse": []}
ALL_VECTORS = ("avx", "fma", "f16c", "amx", "gfni", "vaes", "vpclmulqdq", "xsave")


def train_as(**environment: str) -> dict:
    """Twenty steps in a process of its own."""
    environment = {**os.environ, **environment}
    command = [sys.executable, "-c", TRAIN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86's instruction sets")
@pytest.mark.parametrize("kind", SETS)
def test_kernels_compiled_for_lesser_processors_compute_the_same(tmp_path, kind):
    host = llvm.get_host_cpu_features()
    missing = [name for name in SETS[kind] if not host.get(name)]
    if missing:
        pytest.skip(f"this processor cannot run {kind}: it has no {', '.join(missing)}")
    kept = {name: on and not name.startswith(ALL_VECTORS) for name, on in host.items()}
    kept |= dict.fromkeys(SETS[kind], True)
    features = ",".join(("+" if on else "-") + name for name, on in kept.items())
    lesser = train_as(NUMBA_CACHE_DIR=str(tmp_path), NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES=features)
    assert lesser["blocks"] == [16, 4]
    own = train_as()
    # Sums in another order: the losses stay together for some steps, and the fields alike.
    np.testing.assert_allclose(lesser["losses"][:8], own["losses"][:8], rtol=1e-3)
    assert lesser["losses"][-1] == pytest.approx(own["losses"][-1], rel=0.05)
    assert lesser["losses"][-1] < 0.7 * lesser["losses"][0]
