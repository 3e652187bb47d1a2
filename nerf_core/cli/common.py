"""What subcommands share: options, progress bars, and where plain words go."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..contract.errors import NerfError
from ..contract.samplers import SAMPLERS, SamplerChoice

DEVICES = ("auto", "cpu", "cuda", "mps")  # as in methods.registry, which is heavy to import


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON line last, and nothing else, on stdout")


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`."""
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="where to compute (default: a GPU if there is one)"
    )


def add_sampler(parser: argparse.ArgumentParser, default: str = "the one that the run was trained with") -> None:
    """`--sampler` and `--samples`."""
    parser.add_argument("--sampler", choices=SAMPLERS, help=f"what places the samples along rays (default: {default})")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="evaluations of the field a ray, at most (default: the sampler's own)"
    )


def read_sampler(arguments: argparse.Namespace) -> SamplerChoice | None:
    """What was asked for; None leaves it to the run."""
    if arguments.sampler is None:
        if arguments.samples is not None:
            raise NerfError("--samples is a sampler's: name the sampler with --sampler.")
        return None
    return SamplerChoice(arguments.sampler, arguments.samples)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """`--overwrite`."""
    parser.add_argument(
        "--overwrite", action="store_true", help="write over existing files that NeRF Toolkit did not make"
    )


def add_placement(parser: argparse.ArgumentParser) -> None:
    """`--orientation` and `--scale`, as `data.placement` takes them."""
    parser.add_argument(
        "--orientation",
        choices=("auto", "up", "none"),
        default="auto",
        help="up: turn the cameras' mean up direction to +Z; none: leave the axes (default: up for COLMAP, else none)",
    )
    parser.add_argument(
        "--scale",
        choices=("keep", "normalise"),
        default="keep",
        help="normalise: the cameras' mean at the origin and their largest coordinate 1 (default: keep)",
    )


def say(arguments: argparse.Namespace, text: str) -> None:
    """Print for a person: on stdout, but on stderr where stdout belongs to `--json`."""
    print(text, file=sys.stderr if getattr(arguments, "json", False) else sys.stdout, flush=True)


def bar_options() -> dict[str, Any]:
    """How bars behave on stderr: in a log file they speak up rarely."""
    return {"file": sys.stderr, "leave": False, "mininterval": 0.1 if sys.stderr.isatty() else 5.0}


@contextmanager
def status_line(text: str) -> Iterator[None]:
    """A line on stderr for as long as work takes that tells no progress; gone afterwards."""
    from tqdm import tqdm

    with tqdm(desc=text, bar_format="{desc} ...", **bar_options()):
        yield


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float], None]]:
    """A bar on stderr for work that tells its fraction from 0 to 1."""
    from tqdm import tqdm

    layout = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, desc=label, bar_format=layout, **bar_options()) as bar:

        def update(done: float) -> None:
            bar.update(max(0.0, min(done, 1.0) - bar.n))

        yield update


def parse_background(text: str) -> tuple[float, float, float] | None:
    """A colour by name or as #rrggbb, 0 to 1; None for 'transparent'."""
    named = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "transparent": None}
    if text in named:
        return named[text]
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        red, green, blue = (int(text[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
        return red, green, blue
    raise NerfError(f"The background '{text}' is not known; use white, black, transparent or #rrggbb.")
