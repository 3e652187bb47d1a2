"""Attenuation fields without the core: what one is trained with, whether a run is one, and its own window."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy

from ..jobs import runs, training
from ..objects import attach, chosen, find
from ..vendor.nerf_core.contract.errors import DataError, NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder
from ..vendor.nerf_core.contract.transforms import TOOLKIT_KEY
from ..vendor.nerf_core.contract.xray import XrayFacts

METHOD = "xray"


def is_attenuation(folder: RunFolder) -> bool:
    """Whether a run was trained on radiographs; cheap enough for drawing."""
    try:
        return _method(folder.settings, folder.settings.stat().st_mtime_ns) == METHOD
    except (NerfError, OSError):
        return False


def chosen_is_attenuation(scene: bpy.types.Scene) -> bool:
    """Whether the run that results are taken of was; cheap enough for drawing."""
    item = chosen.chosen_nerf(scene)
    if item is None:
        try:
            return runs.has_result(scene) and is_attenuation(runs.run_folder(scene))
        except NerfError:
            return False
    folder = find.known_run(item)
    return folder is not None and is_attenuation(folder)


def shown_object(scene: bpy.types.Scene) -> bpy.types.Object | None:
    """The NeRF object whose window counts: the chosen one, else one that shows the scene's run."""
    item = chosen.chosen_nerf(scene)
    if item is not None:
        return item
    try:
        return attach.shown_nerf(scene, runs.run_folder(scene))
    except NerfError:
        return None


def facts_of(folder: RunFolder) -> XrayFacts:
    """What the radiographs that a run was trained on say of themselves.

    Raises
    ------
    NerfError
        When its data set is not there any more, or holds no radiographs.
    """
    data = training.trained_data(folder, folder.read())
    path = None if data is None else Path(data) / "transforms.json" if Path(data).is_dir() else Path(data)
    if path is None or not path.is_file():
        raise NerfError(f"The data set of '{folder.root}' is not there any more: its window is not known.")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))[TOOLKIT_KEY]["xray"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"'{path}' holds no radiographs.") from error
    return XrayFacts.from_dict(told)


def field_settings(scene: bpy.types.Scene) -> dict[str, Any]:
    """The settings of the method `xray` that `scene.nerf_xray` says."""
    settings = scene.nerf_xray
    return {
        "resolution": settings.resolution,
        "grid": settings.grid.lower(),
        "tv": settings.smoothness,
        "init": settings.init.lower(),
    }


@lru_cache(maxsize=32)
def _method(path: Path, _changed: int) -> str:
    return str(RunFolder(path.parent).read().get("method") or "")
