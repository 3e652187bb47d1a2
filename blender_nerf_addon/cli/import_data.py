"""`nerf import`: a data set as cameras with their pictures."""

import argparse
from typing import Any

import bpy

from ..jobs import runs, tasks
from ..operators.photographs import summary
from .common import add_save, path, run


def add(commands: Any) -> None:
    """Describe the command."""
    text = "import a data set: a camera for each picture, its box and points"
    parser = commands.add_parser("import", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument(
        "--data", type=path, required=True, metavar="DATA", help="a folder, transforms.json or COLMAP model"
    )
    parser.add_argument("--run", type=path, metavar="DIR", help="the run folder to train into (default: a new one)")
    parser.add_argument("--orientation", choices=("auto", "up", "none"), default="auto", help="(default: auto)")
    parser.add_argument("--scale", choices=("keep", "normalise"), default="keep", help="(default: keep)")
    parser.add_argument("--no-points", action="store_true", help="leave COLMAP's points out")
    parser.add_argument("--keep-resolution", action="store_true", help="leave the scene's resolution as it is")
    add_save(parser)
    parser.set_defaults(execute=_import)


def _import(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    run(
        bpy.ops.nerf.import_dataset,
        filepath=str(options.data),
        orientation=options.orientation.upper(),
        scale=options.scale.upper(),
        use_points=not options.no_points,
        set_resolution=not options.keep_resolution,
    )
    if options.run is not None:
        runs.set_run_folder(scene, options.run)
    print(summary(tasks.current().results[-1]), flush=True)
