"""The CUDA kernels of the encoding on the GPU: the cases that `tests/core` runs in the interpreter."""

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

from ..core.test_cuda_encoding import *  # noqa: F403
