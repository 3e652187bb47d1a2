"""`nerf explain`: how a run's NeRF makes one pixel, as a scene and as a video."""

import argparse
from typing import Any

import bpy

from ..explainer import stage
from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from .common import add_save, command, count, path, run


def add(commands: Any) -> None:
    """Describe the command."""
    explain = command(
        commands, "explain", _explain, "build the story of one pixel as a scene, and render it as a video"
    )
    explain.add_argument("--out", type=path, metavar="FILE.mp4", help="render the story into this video")
    explain.add_argument("--scale", type=count, metavar="PERCENT", help="of 1280 x 720 (100)")
    explain.add_argument("--frames", type=count, nargs=2, metavar=("FIRST", "LAST"), help="only these of the story's")
    explain.add_argument("--engine", choices=("workbench", "eevee", "cycles"), help="that renders it (workbench)")
    add_save(explain)


def _explain(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    if options.out is not None and options.out.exists():
        raise NerfError(f"'{options.out}' exists already and is not overwritten; choose another name.")
    runs.trained_run(scene)
    if options.scale is not None:
        scene.nerf.explainer.scale = options.scale
    run(bpy.ops.nerf.explain)
    made = stage.find()
    if options.engine:
        stage.choose_engine(made, options.engine)
    print(f"{made.name}: frames {made.frame_start} to {made.frame_end}", flush=True)
    for marker in made.timeline_markers:
        print(f"{marker.frame:5d}  {marker.name}", flush=True)
    if options.out is not None:
        first, last = options.frames or (0, 0)
        run(bpy.ops.nerf.export_story, filepath=str(options.out), first=first, last=last)
        print(options.out, flush=True)
