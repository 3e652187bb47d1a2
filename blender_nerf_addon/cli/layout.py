"""`nerf layout`: write a captured data set once more as other programs want it."""

import argparse
from typing import Any

import bpy

from ..capture.layouts import job
from ..capture.layouts.writers import LAYOUTS
from .common import command, run


def add(commands: Any) -> None:
    """Describe the command."""
    parser = command(commands, "layout", _layout, "lay out captured views for other programs")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `nerf capture` has, too."""
    names = ", ".join(layout.name for layout in LAYOUTS.values())
    parser.add_argument("--layout", type=_keys, metavar="NAME,...", help=f"of {names}; or none")
    parser.add_argument("--zip", action="store_true", help="make a zip file of each layout, or of the data set")


def apply_options(options: argparse.Namespace, settings: Any) -> None:
    """Set what is given."""
    if options.layout is not None:
        settings.layouts = options.layout
    if options.zip:
        settings.use_zip = True


def _layout(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    apply_options(options, scene.nerf.capture)
    run(bpy.ops.nerf.lay_out)
    tell()


def tell() -> None:
    """Print what was made."""
    made = job.current()
    for path in made.results if made is not None else ():
        print(path, flush=True)


def _keys(text: str) -> set[str]:
    """Layouts, by their names with commas between."""
    known = {layout.name: key for key, layout in LAYOUTS.items()}
    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(known)}")
    return {known[name] for name in names}
