"""`nerf object`: the trained NeRF into the scene as an object."""

import argparse
from typing import Any

import bpy

from ..jobs import runs
from .common import add_save, command, run


def add(commands: Any) -> None:
    """Describe the command."""
    nerf = command(commands, "object", _object, "add the trained NeRF to the scene as an object")
    add_save(nerf)


def _object(_options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    run(bpy.ops.nerf.add_object)
    print(f"Added the NeRF '{bpy.context.object.name}'", flush=True)
