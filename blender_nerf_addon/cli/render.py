"""`nerf render`: novel views."""

import argparse
from typing import Any

import bpy

from ..jobs import runs, tasks
from ..jobs.training_sampler import NAMES
from ..vendor.nerf_core.contract.errors import NerfError
from .common import add_sampler, command, count, run, use_sampler


def add(commands: Any) -> None:
    """Describe the command."""
    render = command(commands, "render", _render, "render novel views into the run's folder 'renders'")
    render.add_argument("--views", choices=("active", "all", "frames"), default="active", help="(default: active)")
    render.add_argument("--camera", metavar="NAME", help="the camera to use as the active one")
    add_sampler(render, NAMES, "the one that the run was trained with")
    render.add_argument("--scale", type=count, default=100, metavar="PERCENT", help="of the scene's resolution")


def _render(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    use_sampler(options, scene)
    settings = scene.nerf.render
    settings.views, settings.percentage = options.views.upper(), options.scale
    if options.camera:
        camera = scene.objects.get(options.camera)
        if camera is None or camera.type != "CAMERA":
            raise NerfError(f"The scene has no camera '{options.camera}'.")
        scene.camera = camera
    run(bpy.ops.nerf.render_view)
    for image in tasks.current().results:
        print(bpy.path.abspath(image.filepath), flush=True)
