"""What the commands share: reading arguments, running operators, saving the scene beside."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..objects import chosen
from ..vendor.nerf_core.contract.errors import NerfError


def run(operator: Callable[..., set[str]], **options: Any) -> None:
    """Call an operator; a `NerfError` where it did not finish."""
    # An operator that reports an error raises a RuntimeError with its sentence.
    if operator(**options) != {"FINISHED"}:
        raise NerfError("It was cancelled.")


def command(commands: Any, name: str, execute: Callable[..., None], text: str) -> argparse.ArgumentParser:
    """A command that works on a run: its parser, with `--run`."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--run", type=path, required=True, metavar="DIR", help="the run folder")
    parser.set_defaults(execute=lambda options, scene: _with_run(execute, options, scene))
    return parser


def _with_run(execute: Callable[..., None], options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    """Point the scene at the run, then execute."""
    scene.nerf.run_folder = str(options.run)
    with chosen.scene_run_only():
        execute(options, scene)


def add_save(parser: argparse.ArgumentParser) -> None:
    """Give a command the option to save what it made."""
    parser.add_argument("--save", type=path, metavar="FILE.blend", help="save the scene with the result as a new file")


def add_sampler(parser: argparse.ArgumentParser, names: Sequence[str], default: str) -> None:
    """Give a command `--sampler` and `--samples`."""
    parser.add_argument("--sampler", choices=names, help=f"what places samples along rays (default: {default})")
    parser.add_argument("--samples", type=count, metavar="N", help="of the sampler, a ray (default: its own choice)")


def use_sampler(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    """Have pictures rendered with the sampler that was given."""
    check_sampler(options)
    if options.sampler:
        scene.nerf_engine.sampler, scene.nerf_engine.sampler_samples = options.sampler.upper(), options.samples or 0


def check_sampler(options: argparse.Namespace) -> None:
    """Refuse a number of samples that belongs to no sampler."""
    if options.samples and not options.sampler:
        raise NerfError("--samples is a sampler's: name the sampler with --sampler.")


def path(text: str) -> Path:
    """An absolute path."""
    return Path(os.path.abspath(os.path.expanduser(text)))


def count(text: str) -> int:
    """A whole number, 1 or more."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    try:
        value = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from error
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def check_save(path: Path) -> None:
    """Refuse a path that the scene cannot be saved to."""
    if path.suffix.lower() != ".blend":
        raise NerfError(f"--save writes a Blender file: '{path}' must end in .blend.")
    if path.exists():
        raise NerfError(f"'{path}' exists already and is not overwritten; choose another name.")


def save(path: Path) -> None:
    """Save the scene as a new file."""
    check_save(path)
    run(bpy.ops.wm.save_as_mainfile, filepath=str(path), copy=True)
    print(path, flush=True)
