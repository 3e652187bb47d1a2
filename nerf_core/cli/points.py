"""Draw points on what a run shows, and write them with colour and density as a PLY file."""

import argparse
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from .common import add_device, add_json, add_overwrite, progress_bar, say

HELP = "density points as a PLY file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf points` takes."""
    parser.add_argument("run_dir", metavar="DIR", help="run folder")
    parser.add_argument("--out", metavar="FILE.ply", required=True)
    parser.add_argument("--count", type=int, default=100_000, metavar="N", help="points (default 100000)")
    parser.add_argument(
        "--threshold", type=float, metavar="D", help="smallest density per scene unit (default: chosen from the run)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (default 0)")
    add_overwrite(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw and write."""
    from ..contract.files import make_folder
    from ..export.ownership import check_writable
    from ..export.points import extract_points, write_ply
    from ..training.load import load_run

    out = Path(arguments.out)
    if out.suffix.lower() != ".ply":
        raise NerfError(f"Points are written as PLY: '{out.name}' must end in .ply.")
    check_writable(out, arguments.overwrite)
    loaded = load_run(arguments.run_dir, arguments.device)
    with progress_bar("drawing points") as progress:
        cloud = extract_points(
            loaded.method,
            loaded.cameras,
            arguments.count,
            arguments.threshold,
            arguments.seed,
            progress,
            None,
            loaded.bounds,
        )
    make_folder(out.parent)
    write_ply(out, cloud)
    say(arguments, f"{len(cloud)} points of density {cloud.threshold:.3g} or more per scene unit: {out}")
    return {"run": arguments.run_dir, "out": str(out), "count": len(cloud), "threshold": cloud.threshold}
