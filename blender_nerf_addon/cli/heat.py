"""`nerf heat`: heat maps of the active camera's view."""

import argparse
from typing import Any

import bpy

from ..heat import picture
from ..inspect.settings import SAMPLERS
from ..jobs import runs, tasks
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.heat import HEAT_NAMES, heat_kind
from .common import command, count, run


def add(commands: Any) -> None:
    """Describe the command."""
    heat = command(commands, "heat", _heat, "heat maps of the active camera into the run's folder 'renders/heat'")
    heat.add_argument("--camera", metavar="NAME", help="the camera to use as the active one")
    heat.add_argument("--scale", type=count, default=100, metavar="PERCENT", help="of the scene's resolution")
    names = [name.lower() for name, *_ in SAMPLERS if name != "TRAINED"]
    heat.add_argument("--against", choices=("auto", "full"), default="auto", help="what errors are measured against")
    heat.add_argument("--sampler", choices=names, help="(default: the one that the run was trained with)")
    heat.add_argument("--samples", type=count, metavar="N", help="of the sampler, a ray (default: its own choice)")


def _heat(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    if options.samples and not options.sampler:
        raise NerfError("--samples is a sampler's: name the sampler with --sampler.")
    scene.nerf.render.percentage, scene.nerf.heat.against = options.scale, options.against.upper()
    if options.camera:
        camera = scene.objects.get(options.camera)
        if camera is None or camera.type != "CAMERA":
            raise NerfError(f"The scene has no camera '{options.camera}'.")
        scene.camera = camera
    if options.sampler:
        scene.nerf_engine.sampler, scene.nerf_engine.sampler_samples = options.sampler.upper(), options.samples or 0
    run(bpy.ops.nerf.heat_map)
    (image,) = tasks.current().results
    shown = picture.shown(image)
    for name in HEAT_NAMES:
        numbers = shown.shot.numbers[name]
        against = {"data": ", against the data set's view", "full": ", against full sampling"}
        print(
            f"{heat_kind(name).label}: mean {numbers['mean']:.4g}, {numbers['least']:.4g} to {numbers['most']:.4g}"
            f"{against.get(numbers.get('reference'), '')}",
            flush=True,
        )
        print(shown.shot.files[name], flush=True)
