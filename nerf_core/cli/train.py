"""Train a radiance field on a data set, or go on with a run that was stopped."""

import argparse
import json
from typing import Any

from ..contract.errors import NerfError
from .common import add_device, add_json, add_placement, add_sampler, read_sampler, say

HELP = "train a radiance field on a data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf train` takes."""
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help="folder, transforms.json or COLMAP model; not needed to continue a run"
    )
    parser.add_argument(
        "--run", dest="run_dir", metavar="DIR", required=True, help="run folder, new or to be continued"
    )
    parser.add_argument("--method", choices=("fast", "classic", "xray"), help="default: fast")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, metavar="S", help="training time (default for a new run: 60)")
    budget.add_argument("--steps", type=int, metavar="N", help="optimisation steps, instead of a time")
    parser.add_argument("--more", action="store_true", help="train that much on top, even if the run was interrupted")
    add_device(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random (default 0)")
    parser.add_argument("--downscale", type=int, metavar="N", help="shrink the images by a factor")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method; repeatable"
    )
    add_sampler(parser, "occupancy for fast, hierarchical for classic")
    parser.add_argument(
        "--snapshots", type=int, metavar="N", help="moments of the training to keep and look back at (default 8)"
    )
    add_placement(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train; Ctrl-C saves and leaves with 130."""
    from ..training.interrupt import stop_on_interrupt
    from ..training.setup import TrainRequest
    from ..training.trainer import Trainer

    request = TrainRequest(
        run=arguments.run_dir,
        data=arguments.data,
        method=arguments.method,
        seconds=_default_seconds(arguments),
        steps=arguments.steps,
        more=arguments.more,
        device=arguments.device,
        seed=arguments.seed,
        downscale=arguments.downscale,
        settings=_settings(arguments),
        placement=_placement(arguments),
        snapshots=arguments.snapshots,
    )
    with stop_on_interrupt() as interrupted:
        events = _make_events(interrupted)
        try:
            result = Trainer(request, events).run()
        finally:
            events.close()
    words = [f"{result.step} steps in {result.seconds:.1f} s"]
    words += [f"held-out PSNR {result.val_psnr:.2f} dB"] if result.val_psnr is not None else []
    state = "Stopped; saved" if result.stopped else "Trained"
    say(arguments, f"{state} {', '.join(words)}: {arguments.run_dir}")
    return {"run": arguments.run_dir, **vars(result), "exit_code": 130 if result.stopped else 0}


def _placement(arguments: argparse.Namespace) -> Any:
    """What was asked for; None, which leaves it to the run, where that is nothing."""
    from ..data.placement import Placement

    asked = Placement(arguments.orientation, arguments.scale)
    return None if asked == Placement() else asked


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The method's settings, the sampler among them."""
    settings = parse_settings(arguments.setting)
    choice = read_sampler(arguments)
    if choice is not None:
        if "sampler" in settings:
            raise NerfError("The sampler is named twice; leave out --sampler or --setting sampler=...")
        settings["sampler"] = choice.name if choice.samples is None else choice.to_dict()
    return settings


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`["depth=4", "skip=0"]` as a dict; values are JSON where they can be, else words."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise NerfError(f"The setting '{pair}' is not of the form KEY=VALUE.")
        try:
            settings[key.strip()] = json.loads(text)
        except ValueError:
            settings[key.strip()] = text
    return settings


def _default_seconds(arguments: argparse.Namespace) -> float | None:
    """A new run that names no budget gets a minute; one that exists knows its own, or asks."""
    from pathlib import Path

    from ..contract.run_folder import RunFolder

    if (
        arguments.seconds is None
        and arguments.steps is None
        and not RunFolder(Path(arguments.run_dir)).settings.exists()
    ):
        return 60.0
    return arguments.seconds


def _make_events(interrupted: Any) -> Any:
    """The trainer's events as bars on stderr (made here, since their base class is heavy to import)."""
    from ..training.events import Progress, TrainEvents
    from .training_bars import TrainingBars

    class Events(TrainingBars, TrainEvents):
        def warming_up(self) -> None:
            self.close()
            self.show("preparing the kernels (the first time compiles them)", bar_format="{desc} ...")

        def progress(self, progress: Progress) -> None:
            numbers = [f"step {progress.step}"]
            numbers += [f"{progress.seconds_left:.0f} s left"] if progress.seconds_left is not None else []
            numbers += [f"loss {progress.loss:.5f}"] if progress.loss is not None else []
            numbers += [f"held-out {progress.val_psnr:.2f} dB"] if progress.val_psnr is not None else []
            self.show_training(progress.done, numbers)

    return Events(interrupted)
