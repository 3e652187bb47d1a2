"""The CUDA kernels of compositing, occupancy and rendering on the GPU: the cases of `tests/core`."""

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

from ..core.test_cuda_compositing import *  # noqa: F403
