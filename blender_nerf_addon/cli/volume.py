"""`nerf volume`: the NeRF's density as a volume in the scene."""

import argparse
from typing import Any

import bpy

from ..jobs import runs
from .common import add_save, command, count, run


def add(commands: Any) -> None:
    """Describe the command."""
    volume = command(commands, "volume", _volume, "import the density as an OpenVDB volume")
    volume.add_argument(
        "--resolution", type=count, default=128, metavar="N", help="voxels along the box (default: 128)"
    )
    add_save(volume)


def _volume(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    settings = scene.nerf.volume
    settings.resolution = options.resolution
    run(bpy.ops.nerf.import_volume)
    print(bpy.path.abspath(settings.object.data.filepath), flush=True)
