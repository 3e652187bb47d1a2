"""`nerf turntable`: one turn around the NeRF as a video or pictures."""

import argparse
import math
from collections.abc import Callable
from typing import Any

import bpy

from ..jobs import runs, tasks
from ..jobs.training_sampler import NAMES
from ..vendor.nerf_core.contract.errors import NerfError
from ..videos import subject
from .common import add_sampler, count, path, run, use_sampler


def add(commands: Any) -> None:
    """Describe the command."""
    turntable = video_command(
        commands, "turntable", _turntable, "render a turn around the NeRF into its folder 'renders'"
    )
    turntable.add_argument("--frames", type=count, metavar="N", help="of one turn")
    turntable.add_argument("--size", type=count, nargs=2, metavar=("W", "H"), help="of the pictures, in pixels")
    turntable.add_argument("--fps", type=float, metavar="F", help="frames a second of the video")
    turntable.add_argument("--elevation", type=float, metavar="DEGREES", help="of the cameras above the horizon")
    turntable.add_argument("--lens", type=float, metavar="MM", help="focal length")
    distance = turntable.add_mutually_exclusive_group()
    distance.add_argument("--radius", type=float, metavar="R", help="distance from the box's centre")
    distance.add_argument("--fit", action="store_true", help="as near as the whole box stays in the picture")
    distance.add_argument(
        "--from-camera", action="store_true", help="distance, height, start and lens of the scene's camera"
    )
    turntable.add_argument("--clockwise", action="store_true", help="seen from above")


def video_command(commands: Any, name: str, execute: Callable[..., None], text: str) -> argparse.ArgumentParser:
    """A command that renders the scene's NeRF objects, or one run."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.epilog = "What is not given stays as it is set in the .blend file."
    parser.add_argument(
        "--run",
        type=path,
        metavar="DIR",
        help="render this run as it was trained (default: the scene's NeRF objects, else the scene's run)",
    )
    parser.set_defaults(execute=execute)
    add_files(parser)
    return parser


def use_run(options: argparse.Namespace, scene: bpy.types.Scene) -> bool:
    """Point the scene at the run, when one is given; returns whether the scene's NeRF objects are to be rendered."""
    if options.run is None:
        if not subject.is_there(scene):
            raise NerfError("There is nothing to render: the scene has no NeRF object; name a run with --run.")
        return True
    scene.nerf.run_folder = str(options.run)
    runs.trained_run(scene)
    return False


def add_files(parser: argparse.ArgumentParser) -> None:
    """Give a command the options about its files."""
    files = parser.add_mutually_exclusive_group()
    for name, text in (("mp4", "a video"), ("png", "a folder of transparent pictures"), ("both", "both")):
        files.add_argument(f"--{name}", dest="format", action="store_const", const=name.upper(), help=text)
    parser.add_argument("--background", type=color, metavar="#RRGGBB", help="behind the NeRF in a video")
    parser.add_argument("--rays", type=count, metavar="N", help="rays a pixel")
    add_sampler(parser, NAMES, "the one that the run was trained with")


def color(text: str) -> tuple[float, ...]:
    """A colour such as #ff8800, as it is on the screen."""
    digits = text.removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        return tuple(byte / 255.0 for byte in bytes.fromhex(digits))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a colour such as #ff8800") from error


def apply_files(options: argparse.Namespace, settings: Any) -> None:
    """Set what :func:`add_files` asked for."""
    for name, value in (("format", options.format), ("background", options.background), ("samples", options.rays)):
        if value is not None:
            setattr(settings, name, value)


def say_files() -> None:
    """Print where the result is."""
    for result in tasks.current().results:
        print(result, flush=True)


def _turntable(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    use_objects = use_run(options, scene)
    use_sampler(options, scene)
    settings = scene.nerf.video
    apply_files(options, settings)
    if options.fps is not None and not 1 <= options.fps <= 240:
        raise NerfError(f"--fps must lie between 1 and 240, not {options.fps:g}.")
    if options.radius is not None:
        if not options.radius > 0:
            raise NerfError(f"--radius must be more than 0, not {options.radius:g}.")
        settings.placed, settings.radius = "FIXED", options.radius
    elif options.fit or options.from_camera:
        settings.placed = "FIT" if options.fit else "CAMERA"
    for name, value in (
        ("frames", options.frames),
        ("fps", options.fps),
        ("elevation", None if options.elevation is None else math.radians(options.elevation)),
        ("focal_length", options.lens),
    ):
        if value is not None:
            setattr(settings, name, value)
    if options.size is not None:
        settings.width, settings.height = options.size
    settings.clockwise = settings.clockwise or options.clockwise
    run(bpy.ops.nerf.render_turntable, use_objects=use_objects)
    say_files()
