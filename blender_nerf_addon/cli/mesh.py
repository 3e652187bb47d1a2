"""`nerf mesh`: the NeRF's surface as a mesh in the scene."""

import argparse
from typing import Any

import bpy

from ..jobs import runs
from .common import add_save, command, count, run


def add(commands: Any) -> None:
    """Describe the command."""
    mesh = command(commands, "mesh", _mesh, "import the surface as a mesh with its colours")
    mesh.add_argument("--resolution", type=count, default=192, metavar="N", help="voxels along the box (default: 192)")
    mesh.add_argument("--threshold", type=float, metavar="D", help="density of the surface per scene unit")
    mesh.add_argument("--faces", type=count, metavar="N", help="decimate to about so many triangles")
    mesh.add_argument("--keep-islands", action="store_true", help="keep small pieces that float about")
    mesh.add_argument("--lit", action="store_true", help="a surface that the scene lights, not the colours as seen")
    mesh.add_argument("--shadow", action="store_true", help="add the mesh that casts the NeRF's shadows, too")
    add_save(mesh)


def _mesh(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    settings = scene.nerf.mesh
    settings.resolution, settings.automatic = options.resolution, options.threshold is None
    if options.threshold is not None:
        settings.threshold = options.threshold
    settings.decimate = options.faces is not None
    if options.faces is not None:
        settings.faces = options.faces
    settings.drop_islands = not options.keep_islands
    settings.shading = "LIT" if options.lit else "SEEN"
    run(bpy.ops.nerf.import_mesh)
    print(f"{len(settings.object.data.polygons)} triangles at density {settings.threshold:g}", flush=True)
    if options.shadow:
        run(bpy.ops.nerf.add_shadow)
        print(f"{len(settings.shadow.data.polygons)} triangles cast shadows", flush=True)
