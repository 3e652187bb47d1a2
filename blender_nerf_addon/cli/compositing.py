"""`nerf compositing`: have the scene's renders show its NeRF too."""

import argparse
from typing import Any

import bpy

from .common import add_save, run


def add(commands: Any) -> None:
    """Describe the command."""
    text = "merge renders of the scene with its NeRF by depth"
    parser = commands.add_parser("compositing", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--remove", action="store_true", help="let renders be as they were")
    add_save(parser)
    parser.set_defaults(execute=_compositing)


def _compositing(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    if options.remove:
        run(bpy.ops.nerf.remove_compositing)
        print("Renders show the scene alone", flush=True)
    else:
        run(bpy.ops.nerf.set_up_compositing)
        print(f"Renders show the NeRF too; it is rendered in '{scene.nerf.compositing.scene.name}'", flush=True)
