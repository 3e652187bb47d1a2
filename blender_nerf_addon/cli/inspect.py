"""`nerf inspect`: the samples along rays into the scene."""

import argparse
from typing import Any

import bpy

from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from .common import add_save, command, count, natural, run


def add(commands: Any) -> None:
    """Describe the command."""
    inspect = command(commands, "inspect", _inspect, "import the samples along rays of the active camera")
    pixels = inspect.add_mutually_exclusive_group()
    pixels.add_argument("--grid", type=count, nargs=2, default=(8, 8), metavar=("COLUMNS", "ROWS"), help="(8 8)")
    pixels.add_argument("--pixel", type=natural, nargs=2, metavar=("X", "Y"), help="one pixel, from the top left")
    add_save(inspect)


def _inspect(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    if scene.camera is None:
        raise NerfError("The scene has no camera to look through; add one.")
    settings = scene.nerf.inspect
    if options.pixel is not None:
        settings.pixels, settings.use_center, settings.pixel = "PIXEL", False, options.pixel
    else:
        settings.pixels, settings.grid = "GRID", options.grid
    run(bpy.ops.nerf.inspect_samples)
    print(f"{len(settings.object.data.vertices)} samples", flush=True)
