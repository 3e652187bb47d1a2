"""From one radiograph to all views: fit a trained generative system to it.

The folder gets `views/` (72 PNGs), `turntable.mp4`, `latent.safetensors` (the code and the fitted generator) and
`inversion.json`. Not for diagnosis.
"""

import argparse
from pathlib import Path
from typing import Any

from .common import add_device, add_json, add_overwrite, progress_bar, say
from .gan_inversion import add_inversion, read_inversion, read_network

HELP = "all views from one radiograph"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf gan invert` takes."""
    parser.add_argument("run_dir", metavar="RUN", help="run folder of 'nerf gan train'")
    parser.add_argument(
        "--image",
        metavar="FILE|DATA:VIEW",
        required=True,
        help="a picture, or a view of radiographs by its number (0 is the first of the first instance)",
    )
    parser.add_argument(
        "--angle", type=float, metavar="DEG", help="where the picture was seen from (default: what DATA says)"
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="where everything is written")
    parser.add_argument("--views", type=int, default=72, metavar="N", help="novel views, evenly around (default 72)")
    parser.add_argument("--fps", type=float, default=24.0, help="of the turntable (default 24)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the starts (default 0)")
    add_inversion(parser)
    add_overwrite(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Invert and write."""
    from ..contract.xray import NOT_FOR_DIAGNOSIS
    from ..gan.invert_files import InversionFiles, open_view, write_inversion
    from ..gan.run import load_gan_run

    read_inversion(arguments)  # a mistake is told before anything is loaded
    files = InversionFiles(Path(arguments.out), arguments.views, arguments.overwrite)
    files.check()
    loaded = load_gan_run(arguments.run_dir, arguments.device)
    view = open_view(arguments.image, arguments.angle, loaded.system.settings.image_size)
    settings = read_inversion(arguments, loaded.system.settings)
    network = read_network(arguments)
    with progress_bar("inverting") as update:
        facts = write_inversion(
            loaded, view, files, network, settings, arguments.seed, arguments.fps, lambda a, b: update(a / b)
        )
    scores = facts.get("views_not_given")
    say(arguments, f"Wrote {arguments.views} views, the turntable and the code: {arguments.out}")
    given = facts["given_view"]
    say(arguments, f"On the given view: PSNR {given['psnr']:.2f} dB, {facts['perceptual']} {given['perceptual']:.4f}")
    if scores:
        say(arguments, f"On the {scores['views']} views that were not given: PSNR {scores['psnr']:.2f} dB")
    say(arguments, NOT_FOR_DIAGNOSIS)
    return {"run": arguments.run_dir, "out": arguments.out, **facts}
