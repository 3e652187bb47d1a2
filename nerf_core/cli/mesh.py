"""Make a mesh of a run's density, with colours, and write it as PLY, OBJ or GLB."""

import argparse
from pathlib import Path
from typing import Any

from .common import add_device, add_json, add_overwrite, progress_bar, say

HELP = "a mesh as a PLY, OBJ or GLB file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf mesh` takes."""
    parser.add_argument("run_dir", metavar="DIR", help="run folder")
    parser.add_argument("--out", metavar="FILE", required=True, help="ends in .ply, .obj or .glb")
    parser.add_argument(
        "--resolution",
        type=int,
        default=192,
        metavar="N",
        help="voxels along the box's longest side, 8 to 1024 (default 192)",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="D", help="the surface's density per scene unit (default: chosen)"
    )
    parser.add_argument("--faces", type=int, metavar="N", help="decimate to about so many triangles")
    parser.add_argument("--drop-islands", action="store_true", help="leave out small pieces that float about")
    add_overwrite(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Extract and write."""
    from ..contract.files import make_folder
    from ..export.mesh import extract_mesh
    from ..export.mesh_files import mesh_format, write_mesh
    from ..export.ownership import check_writable
    from ..training.load import load_run

    out = Path(arguments.out)
    mesh_format(out)
    check_writable(out, arguments.overwrite)
    loaded = load_run(arguments.run_dir, arguments.device)
    with progress_bar("extracting the mesh") as progress:
        mesh = extract_mesh(
            loaded.method,
            loaded.cameras,
            loaded.bounds,
            arguments.resolution,
            arguments.threshold,
            arguments.faces,
            arguments.drop_islands,
            int(loaded.settings.get("seed") or 0),
            progress,
        )
    make_folder(out.parent)
    write_mesh(out, mesh)
    say(arguments, f"{len(mesh.faces)} triangles at density {mesh.threshold:.3g} per scene unit: {out}")
    return {
        "run": arguments.run_dir,
        "out": str(out),
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "threshold": mesh.threshold,
    }
