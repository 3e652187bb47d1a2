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

    from nerf_core.processor import processor

    return {
        "Date": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Processor": processor(),
        "Python": platform.python_version(),
        "Blender": bpy.app.version_string,
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": numpy.__version__,
    }
