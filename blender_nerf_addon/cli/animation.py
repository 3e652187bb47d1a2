"""`nerf animation`: the scene's frame range through its camera as a video or pictures."""

import argparse
from typing import Any

import bpy

from ..vendor.nerf_core.contract.errors import NerfError
from .common import count, run, use_sampler
from .turntable import apply_files, say_files, use_run, video_command


def add(commands: Any) -> None:
    """Describe the command."""
    animation = video_command(
        commands, "animation", _animation, "render the scene's frame range through its camera into 'renders'"
    )
    animation.add_argument("--frames", type=int, nargs=2, metavar=("FIRST", "LAST"), help="of the scene's frame range")
    animation.add_argument("--step", type=count, metavar="N", help="only every Nth frame")
    animation.add_argument("--scale", type=count, metavar="PERCENT", help="of the scene's resolution")


def _animation(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    use_objects = use_run(options, scene)
    use_sampler(options, scene)
    apply_files(options, scene.nerf.video)
    if options.frames is not None:
        first, last = options.frames
        if not 0 <= first <= last:
            raise NerfError(
                f"--frames {first} {last} is no range: the first must be 0 or more, and not after the last."
            )
        scene.frame_start, scene.frame_end = first, last
    if options.step is not None:
        scene.frame_step = options.step
    if options.scale is not None:
        scene.nerf.video.percentage = options.scale
    run(bpy.ops.nerf.render_animation, use_objects=use_objects)
    say_files()
