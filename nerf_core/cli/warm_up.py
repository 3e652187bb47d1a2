"""Compile the kernels now, so that the first training does not wait for it."""

import argparse
import sys
import time
from typing import Any

from .common import add_device, add_json, say

HELP = "compile the kernels now instead of at first use"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf warm-up` takes."""
    parser.add_argument("--method", choices=("fast", "classic", "xray"), default="fast", help="default: fast")
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make a method on a unit box and have it compile."""
    print("Preparing the kernels; the first time takes about a minute ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    import numpy as np

    from ..methods.base import Normalisation
    from ..methods.registry import create

    method = create(arguments.method, Normalisation(np.array([[-1.0] * 3, [1.0] * 3])), arguments.device)
    method.warm_up(everything=True)
    if arguments.method == "xray":
        from ..xray.warm_up import compile_projectors

        compile_projectors()
    seconds = time.perf_counter() - started
    say(arguments, f"The {arguments.method} method is ready ({method.backend} kernels, {seconds:.1f} s).")
    return {"method": arguments.method, "backend": method.backend, "seconds": seconds}
