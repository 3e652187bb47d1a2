"""What a turntable or an animation shows: the scene's run where it was trained, and the box to turn about."""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder


@dataclass(frozen=True)
class Subject:
    """What is rendered.

    Attributes
    ----------
    folder : RunFolder
        Whose `renders` the files go to.
    params : dict
        Of the core's `render` request: `run` or `layers`.
    """

    folder: RunFolder
    params: dict[str, Any]


def of_scene(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> Subject:
    """What the scene shows now.

    Raises
    ------
    NerfError
        When nothing is trained.
    """
    folder = runs.trained_run(scene)
    return Subject(folder, {"run": str(folder.root)})


def box(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> np.ndarray:
    """(2, 3) world bounds of what a turntable goes around: the run's own.

    Raises
    ------
    NerfError
        When nothing is trained, or its `run.json` names no box.
    """
    folder = runs.trained_run(scene)
    try:
        bounds = np.array(folder.read().get("bounds"), dtype=np.float64)
    except (TypeError, ValueError):
        bounds = np.empty(0)
    if bounds.shape != (2, 3) or not np.isfinite(bounds).all():
        raise NerfError(f"'{folder.settings}' names no box to turn about; train the run again.")
    return bounds
