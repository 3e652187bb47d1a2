"""The versions that a run notes down, read without importing anything heavy."""

import platform
from importlib import metadata

from .. import __version__

PACKAGES = ("torch", "numba", "numpy", "safetensors")


def versions() -> dict[str, str]:
    """Version of the core, of Python and of the packages that numbers depend on; absent ones are left out."""
    found = {"nerf_core": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
