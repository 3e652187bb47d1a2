"""The demo's report: one HTML file with everything in it, pictures and video too."""

import base64
import platform
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}


def render(content: dict[str, Any]) -> str:
    """The report as HTML text; `content` holds what `report.html.jinja` names."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    environment.filters["embedded"] = embedded
    return environment.get_template("report.html.jinja").render(**content)


def embedded(path: str | Path) -> str:
    """A file as a data URL."""
    path = Path(path)
    return f"data:{KINDS[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    import bpy
    import numba
    import numpy
    import torch

    return {
        "Date": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Processor": _processor(),
        "Python": platform.python_version(),
        "Blender": bpy.app.version_string,
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": numpy.__version__,
    }


def _processor() -> str:
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name or 'unknown'}, {cores} cores"
