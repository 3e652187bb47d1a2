"""Train a generative system on radiographs, or go on with a run that was stopped.

DATA is one instance or a folder of them: radiograph data sets as 'nerf drr' makes, or folders of PNGs at even angles
about one axis. Not for diagnosis.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..gan.registry import SYSTEMS
from ..gan.settings import PRESETS
from .common import add_device, add_json, say
from .train import parse_settings

HELP = "train a generative system on radiographs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf gan train` takes."""
    parser.add_argument("data", metavar="DATA", nargs="?", help="radiographs; not needed to continue a run")
    parser.add_argument(
        "--run", dest="run_dir", metavar="DIR", required=True, help="run folder, new or to be continued"
    )
    parser.add_argument("--system", choices=SYSTEMS, help="default: mednerf")
    parser.add_argument("--preset", choices=PRESETS, help="default: paper on a CUDA GPU, else tiny")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="KEY=VALUE", help="a setting of the system; repeatable"
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, metavar="S", help="training time")
    budget.add_argument("--steps", type=int, metavar="N", help="training steps (default: the setting 'steps')")
    parser.add_argument("--more", action="store_true", help="train that much on top, even if the run was interrupted")
    add_device(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random (default 0)")
    parser.add_argument("--grids", type=int, default=10, metavar="N", help="sample grids over the budget (default 10)")
    parser.add_argument(
        "--measures",
        type=int,
        default=5,
        metavar="N",
        help="FID and KID so often over the budget (default 5; 0: never)",
    )
    parser.add_argument("--fakes", type=int, default=200, metavar="N", help="samples for each of these (default 200)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train; Ctrl-C saves and leaves with 130."""
    from ..contract.xray import NOT_FOR_DIAGNOSIS
    from ..gan.prepare import GanRequest
    from ..gan.train import GanTrainer
    from ..training.interrupt import stop_on_interrupt

    settings = parse_settings(arguments.setting)
    if arguments.preset is not None:
        settings["preset"] = arguments.preset
    request = GanRequest(
        run=arguments.run_dir,
        data=arguments.data,
        system=arguments.system,
        seconds=arguments.seconds,
        steps=arguments.steps,
        more=arguments.more,
        device=arguments.device,
        seed=arguments.seed,
        settings=settings,
        grids=arguments.grids,
        measures=arguments.measures,
        fakes=arguments.fakes,
    )
    with stop_on_interrupt() as interrupted:
        events = _make_events(interrupted)
        try:
            result = GanTrainer(request, events).run()
        finally:
            events.close()
    words = [f"{result.step} steps in {result.seconds:.1f} s"]
    words += [f"FID {result.fid:.1f} in {result.features}"] if result.fid is not None else []
    state = "Stopped; saved" if result.stopped else "Trained"
    say(arguments, f"{state} {', '.join(words)}: {arguments.run_dir}")
    say(arguments, NOT_FOR_DIAGNOSIS)
    return {"run": arguments.run_dir, **vars(result), "exit_code": 130 if result.stopped else 0}


def _make_events(interrupted: Any) -> Any:
    """The training's events as bars on stderr."""
    from tqdm import tqdm

    from ..gan.events import GanEvents, GanProgress
    from .training_bars import TrainingBars

    class Events(TrainingBars, GanEvents):
        def measuring(self, done: int, total: int) -> None:
            bar = self.show("measuring FID", total=total)
            bar.update(done - bar.n)

        def progress(self, progress: GanProgress) -> None:
            numbers = [f"step {progress.step}"]
            numbers += [f"{progress.seconds_left:.0f} s left"] if progress.seconds_left is not None else []
            numbers += [f"{name} {value:.3f}" for name, value in progress.losses.items()]
            numbers += [f"FID {progress.fid:.1f}"] if progress.fid is not None else []
            self.show_training(progress.done, numbers)

        def grid(self, step: int, path: Path) -> None:
            tqdm.write(f"Step {step}: {path}", file=sys.stderr)

    return Events(interrupted)
