"""`nerf xray-capture`: radiographs of the scene's closed meshes and CTs."""

import argparse
import math
from typing import Any

import bpy

from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray import MATERIALS, NOT_FOR_DIAGNOSIS
from ..xray import radiographs
from ..xray.materials import identifier, metres_per_unit
from ..xray.properties import RIGS
from .common import command, count, natural, run

MM_PER_M = 1000.0


def add(commands: Any) -> None:
    """Describe the command."""
    parser = command(commands, "xray-capture", _capture, "compute radiographs of closed meshes and imported CTs")
    parser.epilog = f"What is not given stays as it is set in the .blend file. {NOT_FOR_DIAGNOSIS}"
    parser.add_argument("--views", type=count, metavar="N", help="to train on, evenly over the arc")
    parser.add_argument("--val", type=natural, metavar="N", help="held-out views between them")
    parser.add_argument("--pixels", type=count, nargs="+", metavar="N", help="side of the picture, or width and height")
    parser.add_argument("--rig", choices=tuple(item[0].lower() for item in RIGS), help="source and detector")
    parser.add_argument("--source-axis", type=float, metavar="MM", help="from the source to the axis")
    parser.add_argument("--source-detector", type=float, metavar="MM", help="from the source to the detector")
    parser.add_argument("--detector", type=float, nargs="+", metavar="MM", help="its side, or width and height")
    parser.add_argument("--start", type=float, metavar="DEGREES", help="of the first view; at 0 the source is on -Y")
    parser.add_argument("--arc", type=float, metavar="DEGREES", help="that the views are spread over")
    parser.add_argument(
        "--material",
        type=_material,
        action="append",
        default=[],
        metavar="OBJECT=WHAT",
        help=f"what an object is made of, again and again: a number per cm, or of {', '.join(MATERIALS)}",
    )
    parser.add_argument("--noise", type=_noise, metavar="PHOTONS,READOUT", help="counting noise, or 'none'")
    parser.add_argument("--seed", type=natural, metavar="N", help="of the noise")


def _capture(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    settings, place = scene.nerf_xray, scene.nerf.capture
    place.folder, place.name = str(options.run.parent), options.run.name
    for name, value in (
        ("views", options.views),
        ("val_views", options.val),
        ("rig", options.rig and options.rig.upper()),
        ("start", None if options.start is None else math.radians(options.start)),
        ("arc", None if options.arc is None else math.radians(options.arc)),
        ("seed", options.seed),
    ):
        if value is not None:
            setattr(settings, name, value)
    if options.pixels is not None:
        settings.pixels = _two("--pixels", options.pixels)
    if options.noise is not None:
        settings.noise = "POISSON" if options.noise else "NONE"
        if options.noise:
            settings.photons, settings.readout = options.noise
    _set_lengths(options, scene)
    for name, what in options.material:
        item = scene.objects.get(name)
        if item is None:
            raise NerfError(f"The scene has no object '{name}'; --material takes the name of an object.")
        if isinstance(what, float):
            item.nerf_xray.material, item.nerf_xray.attenuation = "CUSTOM", what
        else:
            item.nerf_xray.material = what
    run(bpy.ops.nerf.xray_capture)
    for warning in radiographs.current().warnings:
        print(f"Warning: {warning}", flush=True)
    print(f"Radiographs in {runs.run_folder(scene).root}", flush=True)
    print(NOT_FOR_DIAGNOSIS, flush=True)


def _set_lengths(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    """Lengths of one's own make the rig a custom one; those that are not given are the chosen rig's."""
    given = (options.source_axis, options.source_detector, options.detector)
    if all(length is None for length in given):
        return
    settings = scene.nerf_xray
    if settings.rig != "CUSTOM":
        run(bpy.ops.nerf.xray_own_rig)
    unit = MM_PER_M * metres_per_unit(scene)
    if options.source_axis is not None:
        settings.source_axis = options.source_axis / unit
    if options.source_detector is not None:
        settings.source_detector = options.source_detector / unit
    if options.detector is not None:
        settings.detector = [side / unit for side in _two("--detector", options.detector)]


def _two(name: str, values: list[Any]) -> tuple[Any, Any]:
    if len(values) > 2:
        raise NerfError(f"{name} takes one number, or width and height.")
    return values[0], values[-1]


def _material(text: str) -> tuple[str, str | float]:
    name, equals, what = text.rpartition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not OBJECT=WHAT")
    if what.lower() in MATERIALS:
        return name, identifier(what.lower())
    try:
        mu = float(what)
    except ValueError:
        mu = -1.0
    if not 0.0 <= mu < 1e6:
        raise argparse.ArgumentTypeError(f"'{what}' is neither a number per cm nor one of {', '.join(MATERIALS)}")
    return name, mu


def _noise(text: str) -> tuple[float, float] | tuple[()]:
    if text == "none":
        return ()
    try:
        photons, readout = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not PHOTONS,READOUT, such as 10000,10") from None
    if not (photons >= 1.0 and readout >= 0.0):
        raise argparse.ArgumentTypeError("a pixel needs 1 photon or more, and no readout noise below 0")
    return photons, readout
