"""`nerf capture`: take pictures of the scene."""

import argparse
import math
from typing import Any

import bpy

from ..capture import passes
from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from .common import command, count, natural, run


def add(commands: Any) -> None:
    """Describe the command."""
    capture = command(commands, "capture", _capture, "take pictures of the scene from many cameras")
    capture.epilog = "What is not given stays as it is set in the .blend file."
    capture.add_argument("--train", type=count, metavar="N", help="pictures to train on")
    capture.add_argument("--val", type=natural, metavar="N", help="held-out pictures for validation")
    capture.add_argument("--test", type=natural, metavar="N", help="held-out pictures for testing")
    capture.add_argument("--resolution", type=count, nargs="+", metavar="PIXELS", help="side, or width and height")
    capture.add_argument(
        "--rig",
        choices=("sphere", "hemisphere", "orbit", "cameras", "animation"),
        help="where the cameras stand",
    )
    capture.add_argument("--subject", choices=("scene", "selected"), help="everything, or the selected objects")
    capture.add_argument("--elevation", type=float, metavar="DEGREES", help="of the orbit's cameras above the horizon")
    capture.add_argument("--lens", type=float, metavar="MM", help="focal length of the rig's cameras")
    capture.add_argument("--radius", type=float, metavar="R", help="their distance; fitted to the subject by default")
    capture.add_argument("--frame-step", type=count, metavar="N", help="of the camera animation, every Nth frame")
    capture.add_argument("--samples", type=natural, metavar="N", help="render samples a pixel; 0: the scene's own")
    capture.add_argument("--format", choices=("png", "exr"), help="8-bit sRGB, or scene-linear floats")
    capture.add_argument(
        "--passes", type=_kinds, metavar="KIND,...", help=f"beside the pictures: of {', '.join(passes.KINDS)}; or none"
    )
    capture.add_argument("--opaque", action="store_true", help="keep the background instead of transparency")


def _kinds(text: str) -> tuple[str, ...]:
    """Passes, by their names with commas between."""
    names = () if text == "none" else tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in passes.KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(passes.KINDS)}")
    return names


def _capture(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    settings = scene.nerf.capture
    settings.folder, settings.name = str(options.run.parent), options.run.name
    for name, value in (
        ("rig", options.rig and options.rig.upper()),
        ("subject", options.subject and options.subject.upper()),
        ("elevation", None if options.elevation is None else math.radians(options.elevation)),
        ("train_count", options.train),
        ("val_count", options.val),
        ("test_count", options.test),
        ("focal_length", options.lens),
        ("samples", options.samples),
        ("frame_step", options.frame_step),
        ("picture_format", options.format and options.format.upper()),
    ):
        if value is not None:
            setattr(settings, name, value)
    if options.radius is not None:
        settings.use_auto_radius, settings.radius = False, options.radius
    if options.resolution is not None:
        if len(options.resolution) > 2:
            raise NerfError("--resolution takes one number, or width and height.")
        settings.use_scene_size = False
        settings.resolution_x, settings.resolution_y = options.resolution[0], options.resolution[-1]
    if options.passes is not None:
        for kind in passes.KINDS:
            setattr(settings, f"use_{kind}", kind in options.passes)
    if options.opaque:
        settings.use_transparent = False
    run(bpy.ops.nerf.capture)
    print(f"Captured into {runs.run_folder(scene).root}", flush=True)
