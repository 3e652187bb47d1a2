"""`nerf path-import` and `nerf path-export`: camera paths as nerfstudio's JSON and `transforms.json`."""

import argparse
from typing import Any

import bpy

from ..vendor.nerf_core.contract.errors import NerfError
from .common import add_save, count, path, run


def add(commands: Any) -> None:
    """Describe both commands."""
    text = "import a camera path as an animated camera"
    parser = commands.add_parser("path-import", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("file", type=path, metavar="FILE.json", help="nerfstudio's camera path or a transforms.json")
    parser.add_argument("--keep-scene", action="store_true", help="leave size, rate, range and camera of the scene")
    add_save(parser)
    parser.set_defaults(execute=_import)
    text = "write the scene's camera through its frame range as a camera path"
    parser = commands.add_parser("path-export", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("file", type=path, metavar="FILE.json", help="where to")
    parser.add_argument(
        "--format", choices=("nerfstudio", "transforms"), default="nerfstudio", help="(default: nerfstudio)"
    )
    parser.add_argument("--camera", metavar="NAME", help="the camera to use as the scene's")
    parser.add_argument("--step", type=count, default=1, metavar="N", help="write every Nth frame (default: 1)")
    parser.set_defaults(execute=_export)


def _import(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    before = set(scene.objects)
    run(bpy.ops.nerf.import_path, filepath=str(options.file), set_scene=not options.keep_scene)
    made = next(item for item in scene.objects if item not in before)
    print(f"The camera is '{made.name}', frames {scene.frame_start} to {scene.frame_end}", flush=True)


def _export(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    if options.camera:
        camera = scene.objects.get(options.camera)
        if camera is None or camera.type != "CAMERA":
            raise NerfError(f"The scene has no camera '{options.camera}'.")
        scene.camera = camera
    if scene.camera is None and not any(marker.camera for marker in scene.timeline_markers):
        raise NerfError("The scene has no camera; add one.")
    run(bpy.ops.nerf.export_path, filepath=str(options.file), format=options.format.upper(), step=options.step)
    print(options.file, flush=True)
