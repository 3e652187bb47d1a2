"""`nerf prior build` as a child process: a prior of phantoms or CTs. The session's one at a time."""

import re
from collections.abc import Callable
from pathlib import Path

import bpy

from ..capture import folders
from ..experiments.places import whole
from ..vendor.nerf_core.contract.errors import NerfError
from .prior_work import Line, Work

PICTURE = "prior.png"
_PHANTOMS = {"CHEST": "chest", "KNEE": "knee"}


def _words(made: Work) -> str:
    told = made.result
    of = [f"{told[kind]} {kind}" for kind in ("synthetic", "real", "augmented") if told.get(kind)]
    held = told.get("held_out")
    apart = f", {len(held)} held out" if held else ""
    return f"A prior of {' and '.join(of) or 'these'} volumes{apart}, in '{made.out}'."


LINE = Line("prior", "The building of a prior", "Building a prior", {"building": (0.0, 1.0)}, _words)
current, running = LINE.current, LINE.running


def planned(scene: bpy.types.Scene) -> Path:
    """The folder that the prior would go to: one that holds nothing yet.

    Raises
    ------
    NerfError
        When it is relative to a .blend that was never saved, or cannot be read.
    """
    settings = scene.nerf_xray.new_prior
    holder = whole(settings.folder) or folders.runs_folder(scene.nerf.capture.folder) / "priors"
    return folders.free_run(holder / folders.run_name(settings.name.strip() or _name(settings), scene))


def start(scene: bpy.types.Scene, on_end: Callable[[Work], None] | None = None) -> Work:
    """Start the process with the scene's settings; returns at once.

    Raises
    ------
    NerfError
        When one is under way, a setting is missing, there is no core, or it cannot be started.
    """
    settings = scene.nerf_xray.new_prior
    arguments = ["build", _source(settings), "--kind", settings.kind.lower(), "--grid", str(settings.voxels)]
    arguments += ["--held-out", str(settings.held_out)]
    if settings.source == "CTS":
        arguments += ["--augment", str(settings.copies)]
    out = planned(scene)
    return LINE.start([*arguments, "--out", str(out)], out, on_end)


def cancel() -> None:
    """End it; nothing half made is left."""
    LINE.cancel()


def unregister() -> None:
    """Forget everything."""
    LINE.leave()


def _source(settings: bpy.types.PropertyGroup) -> str:
    if settings.source != "CTS":
        return f"phantom:{_PHANTOMS[settings.source]}:{settings.first}-{settings.first + settings.count - 1}"
    cts = whole(settings.cts)
    if cts is None:
        raise NerfError("Choose the folder of the CTs that the prior is built of.")
    if not cts.is_dir():
        raise NerfError(f"There is no folder '{cts}'; choose the one that holds the CTs.")
    return str(cts)


def _name(settings: bpy.types.PropertyGroup) -> str:
    if settings.source != "CTS":
        return f"synthetic {_PHANTOMS[settings.source]}"
    parts = [part for part in re.split(r"[/\\]+", settings.cts.strip()) if part.strip(". ")]
    return parts[-1] if parts else "CTs"
