"""`nerf capture`: take pictures of the scene."""

import argparse
import math
from typing import Any

import bpy

from ..capture import passes
from ..capture.rig_settings import RIGS
from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from . import layout
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
        choices=tuple(item[0].lower() for item in RIGS),
        help="where the cameras stand",
    )
    capture.add_argument("--subject", choices=("scene", "selected"), help="everything, or the selected objects")
    capture.add_argument("--elevation", type=float, metavar="DEGREES", help="of orbit or grid above the horizon")
    capture.add_argument(
        "--elevations", type=float, nargs=2, metavar="DEGREES", help="of the spiral's first and last camera"
    )
    capture.add_argument("--turns", type=float, metavar="N", help="of the spiral")
    capture.add_argument("--azimuth", type=float, metavar="DEGREES", help="of the grid; 0 is +X, -90 the front")
    capture.add_argument("--grid-size", type=float, metavar="PART", help="side of the grid, as a part of its distance")
    capture.add_argument("--seed", type=natural, metavar="N", help="of the random rig")
    capture.add_argument("--upper-half", action="store_true", help="random cameras above the horizon only")
    capture.add_argument("--spread", type=float, metavar="PART", help="how much farther random cameras may stand")
    capture.add_argument("--curve", metavar="OBJECT", help="name of the curve object to follow")
    capture.add_argument("--aim", choices=("subject", "forward"), help="where cameras of a curve or grid look")
    capture.add_argument("--fill", type=float, metavar="PART", help="of the bounds, for cameras inside")
    capture.add_argument("--shape", choices=("box", "sphere"), help="over which cameras inside are spread")
    capture.add_argument("--lens", type=float, metavar="MM", help="focal length of the rig's cameras")
    capture.add_argument("--radius", type=float, metavar="R", help="their distance; fitted to the subject by default")
    capture.add_argument("--frame-step", type=count, metavar="N", help="of the camera animation, every Nth frame")
    capture.add_argument(
        "--frames", type=int, nargs=2, metavar="FRAME", help="first and last of the animation; by default the scene's"
    )
    capture.add_argument("--samples", type=natural, metavar="N", help="render samples a pixel; 0: the scene's own")
    capture.add_argument("--format", choices=("png", "exr"), help="8-bit sRGB, or scene-linear floats")
    capture.add_argument(
        "--passes", type=_kinds, metavar="KIND,...", help=f"beside the pictures: of {', '.join(passes.KINDS)}; or none"
    )
    layout.add_options(capture)
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
        ("turns", options.turns),
        ("azimuth", None if options.azimuth is None else math.radians(options.azimuth)),
        ("grid_size", options.grid_size),
        ("seed", options.seed),
        ("use_upper_half", options.upper_half or None),
        ("distance_spread", options.spread),
        ("aim", options.aim and options.aim.upper()),
        ("interior_fill", options.fill),
        ("interior_shape", options.shape and options.shape.upper()),
        ("picture_format", options.format and options.format.upper()),
    ):
        if value is not None:
            setattr(settings, name, value)
    if options.elevations is not None:
        settings.elevation_start, settings.elevation_end = map(math.radians, options.elevations)
    if options.frames is not None:
        settings.use_frame_range = True
        settings.range_start, settings.range_end = options.frames
    if options.curve is not None:
        settings.curve_object = scene.objects.get(options.curve)
        if settings.curve_object is None:
            raise NerfError(f"The scene has no object '{options.curve}'; --curve takes the name of a curve object.")
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
    layout.apply_options(options, settings)
    run(bpy.ops.nerf.capture)
    print(f"Captured into {runs.run_folder(scene).root}", flush=True)
    if settings.layouts or settings.use_zip:
        layout.tell()
