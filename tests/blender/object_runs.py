"""Run folders as small as can be, for the tests of NeRF objects that need no picture."""

from pathlib import Path

import bpy
import numpy as np

from nerf_core.contract.run_folder import RunFolder

BOUNDS = np.array([[1.0, -3.0, 0.0], [3.0, 1.0, 1.0]])
CENTER, HALF = BOUNDS.mean(axis=0), (BOUNDS[1] - BOUNDS[0]) / 2


def write_run(root: Path, run_id: str = "a" * 32, **more) -> RunFolder:
    """A run whose checkpoint nobody reads."""
    root.mkdir(parents=True)
    folder = RunFolder(root)
    folder.write({"id": run_id, "method": "fast", "bounds": BOUNDS.tolist(), **more})
    folder.checkpoint.write_bytes(b"parameters")
    return folder


def layers(addon_module, viewport=False):
    """The scene's layers, its depsgraph evaluated."""
    bpy.context.view_layer.update()
    return addon_module("objects.layers").scene_layers(bpy.context.evaluated_depsgraph_get(), viewport=viewport)


def shown_at(layer, point) -> np.ndarray:
    """Where a point of the training world is shown."""
    return (np.array(layer["matrix"]) @ np.array([*point, 1.0]))[:3]


def box_of(crop) -> np.ndarray:
    """(2, 3) corners of the world box around a crop."""
    corners = np.array([[x, y, z, 1.0] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) @ np.array(crop).T
    return np.stack([corners[:, :3].min(axis=0), corners[:, :3].max(axis=0)])
