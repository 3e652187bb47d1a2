"""`trace`: the rays of pixels of the scene's camera as objects with attributes."""

import argparse
from pathlib import Path
from typing import Any

import bpy

from ..inspect.settings import SAMPLERS
from ..jobs import runs
from .common import add_save, command, count, run

NAMES = tuple(name.lower() for name, _, _ in SAMPLERS if name != "TRAINED")


def add(commands: Any) -> None:
    """Describe the command."""
    trace = command(commands, "trace", _trace, "bake the rays of pixels of the active camera, with every sample")
    trace.add_argument(
        "--pixel",
        action="append",
        required=True,
        metavar="X,Y",
        help="column and row from the top left, from 0; may be given several times",
    )
    trace.add_argument("--sampler", choices=NAMES, help="what places the samples (as trained)")
    trace.add_argument("--samples", type=count, metavar="N", help="evaluations of the field a ray, at most")
    trace.add_argument("--compare", choices=NAMES, help="bake the same rays under a second sampler, too")
    trace.add_argument("--compare-samples", type=count, metavar="N", help="evaluations of the second one, at most")
    trace.add_argument("--plot", metavar="FILE", help="draw the first pixel's ray as .png or .svg (docs/ray-plots.md)")
    trace.add_argument("--plot-mean", action="store_true", help="draw the mean of all pixels' rays instead")
    trace.add_argument("--plot-whole", action="store_true", help="draw all of the ray, not only where something is")
    add_save(trace)


def _trace(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    settings = scene.nerf.inspector
    settings.sampler, settings.samples = (options.sampler or "TRAINED").upper(), options.samples or 0
    settings.compare = options.compare is not None
    if settings.compare:
        settings.sampler_b, settings.samples_b = options.compare.upper(), options.compare_samples or 0
    run(bpy.ops.nerf.trace_pixels, pixels=" ".join(options.pixel))
    run(bpy.ops.nerf.bake_trace)
    if options.plot is not None:
        plot = scene.nerf.ray_plot
        plot.mean, plot.focus = options.plot_mean, not options.plot_whole
        run(bpy.ops.nerf.save_ray_plot, filepath=str(Path(options.plot).absolute()))
        print(f"Wrote {options.plot}", flush=True)
    rays = "1 ray" if len(options.pixel) == 1 else f"{len(options.pixel)} rays"
    for baked in (entry.object for entry in scene.nerf.baked if entry.part == "samples"):
        print(f"{baked.name}: {len(baked.data.vertices)} samples of {rays}", flush=True)
