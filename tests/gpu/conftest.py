"""Where the cases that `tests/core` runs in Triton's interpreter put their tensors here: on the GPU."""

import importlib.util
from pathlib import Path

import pytest
import torch

from ..core import tiny_scene
from ..core.conftest import Nerf

HERE = Path(__file__).parent


def reason_to_skip() -> str | None:
    """Why no test of this folder can run here, or None."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not torch.cuda.is_available():
        return "there is no NVIDIA GPU here (or this torch cannot use it)"
    capability = torch.cuda.get_device_capability()
    if capability < (8, 0):
        return f"the kernels need compute capability 8.0, and this GPU has {capability[0]}.{capability[1]}"
    return None


def pytest_collection_modifyitems(items):
    reason = reason_to_skip()
    if reason:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def kernel_device() -> str:
    """The GPU, instead of the interpreter's CPU."""
    return "cuda"


@pytest.fixture(scope="session")
def nerf() -> Nerf:
    return Nerf()


@pytest.fixture(scope="session")
def ball_dataset(tmp_path_factory) -> Path:
    """A ball in 24 + 3 views of 100 pixels."""
    return tiny_scene.write_dataset(tmp_path_factory.mktemp("data") / "ball", train=24, val=3, size=100)
