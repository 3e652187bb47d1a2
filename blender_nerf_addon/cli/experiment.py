"""`nerf experiment`: train and compare a grid of settings."""

import argparse
from typing import Any

import bpy

from ..experiments import state
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.xray_words import PHANTOM
from .common import path, run


def add(commands: Any) -> None:
    """Describe the command."""
    text = "train and compare a grid of settings"
    parser = commands.add_parser("experiment", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument(
        "plan",
        metavar="PLAN",
        nargs="?",
        default="sampling-small",
        help="a TOML file, or one that comes along: sampling-small (default), sampling, xray-small, xray",
    )
    parser.add_argument("--out", type=path, metavar="DIR", required=True, help="folder, new or to go on in")
    parser.add_argument(
        "--data",
        type=_data,
        metavar="DATA",
        help="a data set (default: that of the scene's run); of radiographs a CT or phantom:KIND:SEED",
    )
    parser.add_argument("--only", metavar="NAME,...", default="", help="only these cells")
    parser.set_defaults(execute=_experiment)


NUMBERS = (
    ("PSNR", "psnr", 2),
    ("SSIM", "ssim", 4),
    ("S_hit", "s_hit", 1),
    ("volume PSNR", "volume_psnr", 2),
    ("radiograph PSNR", "radiograph_psnr", 2),
)


def _data(text: str) -> Any:
    return text if text.startswith(PHANTOM) else path(text)


def _experiment(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    settings = scene.nerf.experiment
    settings.folder = str(options.out)
    settings.data = str(options.data) if options.data else ""
    if (state.SHIPPED / f"{options.plan}.toml").is_file():
        settings.plan = options.plan
    else:
        settings.plan, settings.file = "FILE", str(path(options.plan))
    printer = _Printer(state.read_rows(options.out))
    state.on_change.append(printer)
    try:
        run(bpy.ops.nerf.experiment_run, only=options.only)
    finally:
        if printer in state.on_change:
            state.on_change.remove(printer)
    ended = state.current()
    if ended is None:
        raise NerfError("The experiment was given up.")
    print(ended.text, flush=True)
    report = ended.out / "report.html"
    if report.is_file():
        print(report, flush=True)


class _Printer:
    """A line for each cell, and now and then one on where it is."""

    def __init__(self, known: list[dict[str, Any]]) -> None:
        self._known = {row["cell"]: row.get("key") for row in known if "error" not in row}
        self._said = -1

    def __call__(self, experiment: state.Experiment) -> None:
        for row in experiment.rows:
            if row.get("key") and self._known.get(row["cell"]) == row["key"]:
                continue
            self._known[row["cell"]] = row.get("key")
            numbers = row.get("metrics") or {}
            told = row.get("error") or ", ".join(
                f"{name} {numbers[key]:.{digits}f}" for name, key, digits in NUMBERS if numbers.get(key) is not None
            )
            print(f"{row['cell']}: {told}", flush=True)
        percent = int(100 * experiment.fraction)
        if experiment.phase == "running" and percent >= self._said + 5:
            self._said = percent
            left = "" if experiment.seconds_left is None else f", {experiment.seconds_left:.0f} s left"
            print(f"experiment: {percent:3d}%  {experiment.text}{left}", flush=True)
