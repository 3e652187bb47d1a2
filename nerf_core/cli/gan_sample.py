"""Pictures of what a generative system has learned: a grid (PNG), a turntable (MP4), or single pictures in a folder.

A grid has a row for each code and a column for each angle; a turntable shows all codes beside each other; a folder gets
one for each code, with a PNG for each angle, which 'nerf gan train' can read. Not for diagnosis.
"""

import argparse
from pathlib import Path
from typing import Any

from .common import add_device, add_json, add_overwrite, progress_bar, say

HELP = "pictures of what a generative system has learned"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf gan sample` takes."""
    parser.add_argument("run_dir", metavar="RUN", help="run folder of 'nerf gan train'")
    parser.add_argument("--out", metavar="FOLDER|FILE", required=True, help="a .png, an .mp4, or a folder")
    parser.add_argument("--count", type=int, default=6, metavar="N", help="codes (default 6)")
    parser.add_argument("--views", type=int, metavar="N", help="angles around the axis (default: 8 in a grid, else 72)")
    parser.add_argument("--size", type=int, metavar="N", help="pixels a side (default: as it was trained)")
    parser.add_argument("--fps", type=float, default=24.0, help="of a turntable (default 24)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the codes (default 0)")
    add_device(parser)
    add_overwrite(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Render and write."""
    from ..gan.run import load_gan_run
    from ..gan.sample import SampleRequest, write_samples

    request = SampleRequest(
        out=Path(arguments.out),
        count=arguments.count,
        views=arguments.views,
        size=arguments.size,
        fps=arguments.fps,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
    )
    request.check()
    loaded = load_gan_run(arguments.run_dir, arguments.device)
    with progress_bar("rendering") as update:
        written = write_samples(loaded, request, update)
    say(arguments, f"Wrote {written['pictures']} pictures: {arguments.out}")
    return written
