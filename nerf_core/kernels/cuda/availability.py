"""Whether the CUDA backend can serve the GPU at hand, and what to do where it cannot; imports no kernel."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from . import images

LEAST_CAPABILITY = (8, 0)
"""Ampere: older GPUs' matrix units are not what Triton compiles for."""
COST = (
    "Plain torch (the backend 'reference') computes the fast method instead: the same field, several times slower "
    "(eight times on a CPU, where both were measured)."
)
"""What it costs where the CUDA backend cannot serve."""


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on tensors of the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def problem(index: int = 0) -> str | None:
    """Why the CUDA backend cannot serve torch's GPU `index`, and how to change that: sentences, or None."""
    import torch

    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU."
    if torch.version.hip is not None:
        return "This torch is for AMD GPUs, and the kernels are for NVIDIA's."
    name, capability = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
    return problem_of(name, capability)


def problem_of(name: str, capability: tuple[int, int]) -> str | None:
    """What :func:`problem` says of a GPU of that name and compute capability."""
    if capability < LEAST_CAPABILITY:
        return (
            f"The fast kernels need a GPU of compute capability 8.0 (Ampere, 2020) or later, and '{name}' has "
            f"{capability[0]}.{capability[1]}; no software changes that."
        )
    if images.available(capability):
        return None
    if importlib.util.find_spec("triton") is None:
        package = "triton-windows" if sys.platform == "win32" else "triton"
        return (
            "The fast kernels were not compiled ahead in this copy, and Triton, which compiles them, is not "
            f'installed: "{sys.executable}" -m pip install {package}'
        )
    if missing := missing_to_compile():
        return (
            "The fast kernels were not compiled ahead in this copy, and Triton needs "
            f"{missing} to launch what it compiles. On Debian or Ubuntu: apt install gcc python3-dev"
        )
    return None


def missing_to_compile() -> str | None:
    """What Triton lacks for the small library that it builds at its first launch; None if nothing."""
    if sys.platform == "win32":  # its wheels for Windows bring a compiler
        return None
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("gcc", "clang", "cc")), None)
    if compiler is None or shutil.which(compiler) is None:
        return "a C compiler"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's header files"
    return None
