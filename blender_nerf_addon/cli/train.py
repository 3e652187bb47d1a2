"""`nerf train`: train on captured views or a data set."""

import argparse
from typing import Any

import bpy

from ..jobs import runs, training
from ..jobs.training_sampler import NAMES
from ..vendor.nerf_core.contract.errors import NerfError
from .common import add_sampler, check_sampler, command, count, natural, path, run


def add(commands: Any) -> None:
    """Describe the command."""
    train = command(commands, "train", _train, "train on captured views, or go on with a run")
    train.add_argument("--data", type=path, metavar="DATA", help="a data set elsewhere, with transforms.json")
    train.add_argument("--method", choices=("fast", "classic", "xray"), help="(default: fast, or the run's own)")
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, default=60.0, metavar="S", help="training time (default: 60)")
    budget.add_argument("--steps", type=count, metavar="N", help="training steps")
    train.add_argument("--more", action="store_true", help="on top of what is trained")
    train.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    add_sampler(train, NAMES, "the method's or the run's own")
    train.add_argument("--seed", type=natural, metavar="N", help="(default: 0, or the run's own)")


def _train(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    settings = scene.nerf.training
    settings.data = str(options.data) if options.data else ""
    # A run that is gone on with keeps what it was made with, unless another choice is given (and then refused).
    folder = runs.run_folder(scene)
    known = folder.read() if folder.settings.is_file() else {}
    settings.method = (options.method or known.get("method") or "fast").upper()
    check_sampler(options)
    settings.sampler, settings.samples = (options.sampler or "own").upper(), options.samples or 0
    settings.device = options.device.upper()
    settings.seed = known.get("seed", 0) if options.seed is None else options.seed
    if options.steps is not None:
        settings.budget, settings.steps = "STEPS", options.steps
    else:
        settings.budget, settings.seconds = "SECONDS", options.seconds
    if not runs.has_views(scene):
        raise NerfError(
            f"There is nothing to train on in '{options.run}': capture views first, or name a data set with --data."
        )
    run(bpy.ops.nerf.train, more=options.more)
    ended = training.current()
    print(f"{ended.text}, {ended.step} steps. The run is {runs.run_folder(scene).root}", flush=True)
