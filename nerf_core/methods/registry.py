"""Which methods there are, which devices, and how a method is made."""

import ctypes
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ..contract.errors import NerfError

if TYPE_CHECKING:
    from .base import Method, Normalisation

METHODS = ("fast", "classic", "xray")
DEVICES = ("auto", "cpu", "cuda", "mps")


def available_devices() -> list[dict[str, str]]:
    """The devices of this machine, best first: ``{"kind": "cuda", "name": "NVIDIA ..."}``; the CPU is always there."""
    import platform

    import torch

    found = []
    if torch.cuda.is_available():
        found += [
            {"kind": "cuda", "name": torch.cuda.get_device_name(index)} for index in range(torch.cuda.device_count())
        ]
    if torch.backends.mps.is_available():
        found.append({"kind": "mps", "name": "Apple GPU"})
    found.append({"kind": "cpu", "name": platform.processor() or platform.machine() or "CPU"})
    return found


def resolve_device(device: str = "auto") -> str:
    """The device to use: 'auto' takes CUDA, then MPS, then the CPU.

    Raises
    ------
    NerfError
        When the device is unknown or this machine has none.
    """
    if device not in DEVICES:
        raise NerfError(f"The device '{device}' is not known; use one of {', '.join(DEVICES)}.")
    if device == "cpu" or (device == "auto" and not _may_have_gpu()):  # without importing torch, which takes seconds
        return "cpu"
    kinds = [found["kind"] for found in available_devices()]
    if device == "auto":
        return kinds[0]
    if device not in kinds:
        raise NerfError(
            f"This machine, or the torch installed for the core, has no '{device}' device; "
            f"use auto or {' or '.join(dict.fromkeys(kinds))}."
        )
    return device


def _may_have_gpu() -> bool:
    """Whether torch is worth asking: False only where neither its build nor the system can have a GPU."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return True  # importing it says what is missing
    if sys.platform == "darwin" or "+rocm" in version:
        return True
    if "+cpu" in version:
        return False
    try:  # NVIDIA's driver, by the name that torch loads it by
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def check_method(name: str) -> str:
    """The name itself; a NerfError when there is no such method."""
    if name not in METHODS:
        raise NerfError(f"The method '{name}' is not known; use one of {', '.join(METHODS)}.")
    return name


def create(
    name: str,
    normalisation: "Normalisation",
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> "Method":
    """Make a method.

    Parameters
    ----------
    name : {'fast', 'classic', 'xray'}
    normalisation : Normalisation
        Where the scene is.
    device : {'auto', 'cpu', 'cuda', 'mps'}
    seed : int
        Of the initial parameters and all random choices.
    settings : mapping, optional
        The method's own; what is not named keeps its default.

    Raises
    ------
    NerfError
        When the method, the device or a setting is not usable.
    """
    kind = method_class(name)
    return kind(normalisation, device=resolve_device(device), seed=seed, settings=settings)  # type: ignore[call-arg]


def method_class(name: str) -> type["Method"]:
    """The class of a method; a NerfError when there is none of that name."""
    check_method(name)
    if name == "fast":
        from .fast import FastMethod

        return FastMethod
    if name == "xray":
        from .xray import XrayMethod

        return XrayMethod
    from .classic import ClassicMethod

    return ClassicMethod
