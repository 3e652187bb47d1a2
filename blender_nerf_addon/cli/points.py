"""`nerf points`: density points into the scene."""

import argparse
from typing import Any

import bpy

from ..jobs import runs
from .common import add_save, command, count, run


def add(commands: Any) -> None:
    """Describe the command."""
    points = command(commands, "points", _points, "import density points into the scene")
    points.add_argument("--count", type=count, default=100_000, metavar="N", help="(default: 100000)")
    points.add_argument("--threshold", type=float, metavar="D", help="smallest density per scene unit")
    add_save(points)


def _points(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    settings = scene.nerf.points
    settings.count, settings.automatic = options.count, options.threshold is None
    if options.threshold is not None:
        settings.threshold = options.threshold
    run(bpy.ops.nerf.import_points)
    print(f"{len(settings.object.data.vertices)} points, density {settings.threshold:g} and more", flush=True)
