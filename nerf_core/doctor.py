"""An examination of this Python: packages, devices, kernels, video; works even when the packages are missing."""

import platform
import shutil
import sys
from importlib import metadata
from typing import Any

from . import __version__
from .processor import processor_cores

# Distribution name, module, what it is for.
PACKAGES = (
    ("torch", "torch", "the classic method and the reference kernels"),
    ("numba", "numba", "the fast method's kernels on the CPU"),
    ("numpy", "numpy", "everything"),
    ("safetensors", "safetensors", "checkpoints"),
    ("pillow", "PIL", "PNG and JPEG images"),
    ("OpenEXR", "OpenEXR", "EXR images"),
    ("imageio", "imageio", "videos"),
    ("imageio-ffmpeg", "imageio_ffmpeg", "videos"),
    ("scikit-image", "skimage", "SSIM, meshes"),
    ("scipy", "scipy", "meshes"),
    ("fast-simplification", "fast_simplification", "decimated meshes"),
    ("pycolmap", "pycolmap", "COLMAP models"),
    ("nibabel", "nibabel", "CT volumes as NIfTI"),
    ("pydicom", "pydicom", "CT volumes as DICOM"),
    ("itk-rtk", "itk", "the solvers FDK and SART"),
    ("tqdm", "tqdm", "progress bars"),
    ("matplotlib", "matplotlib", "plots"),
    ("Jinja2", "jinja2", "reports"),
)
OPTIONAL = ("pycolmap", "matplotlib", "Jinja2", "nibabel", "pydicom", "itk-rtk")
"""What everything else works without: its absence is told, and the rest is ready."""

BACKENDS = {
    "cpu": "fused kernels (numba)",
    "cuda": "fused kernels (Triton)",
    "reference": "plain torch, slower",
}
"""Who computes the fast method, for a person."""


def examine() -> dict[str, Any]:
    """Look at everything that the core needs.

    Returns
    -------
    dict
        Plain JSON: `nerf_core`, `python`, `executable`, `platform`, `cpus`, `packages` (list of ``{"name", "version",
        "ok", "optional", "problem"}``), `devices` (list of ``{"kind", "name", "backend"}``, the last being who computes
        the fast method there), `device` (what 'auto' takes), `hints` (what to do, in sentences), `ready`.
    """
    packages = [_package(*package) for package in PACKAGES]
    broken = {package["name"] for package in packages if not package["ok"]}
    devices, device, hints = _devices() if "torch" not in broken else ([], None, [])
    for package in packages:
        if not package["ok"]:
            hints.append(
                f"{package['name']} is {package['problem']} (needed for {package['for']}): "
                f'"{sys.executable}" -m pip install {package["name"]}'
            )
    if "imageio-ffmpeg" not in broken:
        hints += _ffmpeg()
    return {
        "nerf_core": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpus": processor_cores() or 1,
        "packages": packages,
        "devices": devices,
        "device": device,
        "hints": hints,
        "ready": not broken.difference(OPTIONAL) and device is not None,
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """The report for a person, a line each."""
    lines = [
        f"NeRF Toolkit core {report['nerf_core']}",
        f"Python {report['python']}  {report['executable']}",
        f"{report['platform']}, {report['cpus']} CPU cores",
        "",
    ]
    width = max(len(package["name"]) for package in report["packages"])
    for package in report["packages"]:
        state = package["version"] if package["ok"] else package["problem"]
        lines.append(f"  {'ok' if package['ok'] else '--'}  {package['name']:{width}}  {state}")
    lines.append("")
    for device in report["devices"]:
        chosen = "  <- auto takes this one" if device == report["devices"][0] else ""
        lines.append(f"  device {device['kind']:5} {device['name']}: {BACKENDS[device['backend']]}{chosen}")
    lines += ["", *report["hints"]] if report["hints"] else []
    lines.append("Ready." if report["ready"] else "Not ready: see above.")
    return lines


def _package(name: str, module: str, purpose: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "for": purpose, "version": None, "ok": False, "problem": None}
    found["optional"] = name in OPTIONAL
    try:
        found["version"] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found["problem"] = "not installed"
        return found
    try:
        __import__(module)
    except Exception as error:  # a broken binary package raises whatever it likes, and that is what is asked here
        found["problem"] = f"installed ({found['version']}) but broken: {str(error).splitlines()[0][:200]}"
    else:
        found["ok"] = True
    return found


def _devices() -> tuple[list[dict[str, str]], str | None, list[str]]:
    try:
        import torch

        from .methods.registry import available_devices, resolve_device

        hints = []
        if shutil.which("nvidia-smi") and not torch.cuda.is_available():
            build = "has no CUDA support" if torch.version.cuda is None else "cannot use the driver"
            hints.append(
                f"There is an NVIDIA driver, but this torch ({torch.__version__}) {build}: for the GPU, install the "
                "CUDA build of torch as its own documentation says."
            )
        devices = available_devices()
        hints += _add_backends(devices)
        return devices, resolve_device("auto"), hints
    except Exception as error:  # see _package
        return [], None, [f"The devices cannot be listed: {error}"]


def _add_backends(devices: list[dict[str, str]]) -> list[str]:
    """Say of each device who computes the fast method there; what a slower one costs, and how to get the fast one."""
    from .kernels.cuda.availability import COST, problem

    hints = []
    index = 0
    for device in devices:
        device["backend"] = "cpu" if device["kind"] == "cpu" else "reference"
        if device["kind"] == "cuda":
            reason = problem(index)
            index += 1
            if reason is None:
                device["backend"] = "cuda"
            else:
                hints.append(f"{device['name']}: {reason} {COST}")
        elif device["kind"] == "mps":
            hints.append(
                f"{device['name']}: there are no fast kernels for Apple's GPUs. {COST} The device 'cpu' has fast "
                "kernels of its own: try which of the two trains faster."
            )
    return hints


def _ffmpeg() -> list[str]:
    import imageio_ffmpeg

    try:
        imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        return ["No ffmpeg was found for videos: install ffmpeg, or set IMAGEIO_FFMPEG_EXE to it."]
    return []
