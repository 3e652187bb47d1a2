"""`nerf xray-import`: a CT or a phantom in the scene, at true size."""

import argparse
import os
from typing import Any

import bpy

from ..jobs import tasks
from ..operators.xray_ct import WINDOW_ITEMS
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray import NOT_FOR_DIAGNOSIS
from ..vendor.nerf_core.contract.xray_words import PHANTOM
from .common import add_save, count, run

PARTS = ("volume", "bone", "skin", "slices")


def add(commands: Any) -> None:
    """Describe the command."""
    text = "import a CT (NIfTI, DICOM, or a phantom) at true size; not for diagnosis"
    parser = commands.add_parser("xray-import", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("source", metavar="FILE", help="a NIfTI file, a DICOM folder or file, or phantom:KIND:SEED")
    parser.add_argument(
        "--show", default="volume,bone", metavar="PARTS", help=f"of {', '.join(PARTS)} (default: volume,bone)"
    )
    parser.add_argument("--series", default="", metavar="UID", help="which series of a DICOM folder, or its UID's end")
    parser.add_argument("--level", type=float, default=250.0, metavar="HU", help="of the bones' surface (default: 250)")
    parser.add_argument("--faces", type=count, default=150_000, metavar="N", help="of the bones' mesh, about")
    parser.add_argument(
        "--resolution", type=count, default=192, metavar="N", help="voxels along the longest side (default: 192)"
    )
    windows = [item[0].lower().replace("_", " ") for item in WINDOW_ITEMS]
    parser.add_argument("--window", choices=windows, default=windows[0], help="what slices show")
    parser.add_argument("--center", action="store_true", help="to the world's origin, not where the scanner had it")
    add_save(parser)
    parser.set_defaults(execute=_import)


def _import(options: argparse.Namespace, _scene: bpy.types.Scene) -> None:
    wanted = [part.strip() for part in options.show.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        raise NerfError(f"--show takes {', '.join(PARTS)}, not '{unknown[0]}'.")
    source = options.source
    if not source.startswith(PHANTOM):
        source = os.path.abspath(os.path.expanduser(source))
    run(
        bpy.ops.nerf.xray_import_ct,
        filepath=source,
        series=options.series,
        use_volume="volume" in wanted,
        use_surface="bone" in wanted,
        use_skin="skin" in wanted,
        use_slices="slices" in wanted,
        level=options.level,
        faces=options.faces,
        resolution=options.resolution,
        window=options.window.upper().replace(" ", "_"),
        centered=options.center,
    )
    made = tasks.current().results[-1]
    print(made.words, flush=True)
    for warning in made.warnings:
        print(f"note: {warning}", flush=True)
    print(NOT_FOR_DIAGNOSIS, flush=True)
