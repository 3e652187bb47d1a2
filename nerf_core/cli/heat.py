"""`--heat`: heat maps beside pictures, each as an EXR of its numbers and a PNG with colours and a legend."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract.errors import NerfError

if TYPE_CHECKING:
    from ..rendering.heat import Heat

NAMES = ("sample_count", "captured_weight", "depth_error", "colour_error")  # contract.heat's, which needs numpy
CHANNEL = "Y"


def add_heat(parser: argparse.ArgumentParser, files: str) -> None:
    """The option."""
    parser.add_argument(
        "--heat",
        metavar="MAPS",
        help=f"also write heat maps, {files}: a list of {', '.join(NAMES)}, or all; NAME=NUMBER ends a scale there",
    )


def add_against(parser: argparse.ArgumentParser) -> None:
    """`--against`."""
    parser.add_argument(
        "--against",
        choices=("auto", "full"),
        default="auto",
        help="what heat maps of errors are measured against: auto: the data set's view where the camera is one of its, "
        "else the run's full sampling; full: full sampling always (default auto)",
    )


def read_heat(arguments: argparse.Namespace) -> dict[str, float | None]:
    """The maps that were asked for, in the order of `NAMES`, with the ends of their scales where these were given.

    Raises
    ------
    NerfError
        When one is no map, or an end is no number above 0.
    """
    if arguments.heat is None:
        return {}
    asked: dict[str, float | None] = {}
    for entry in arguments.heat.split(","):
        name, equals, end = entry.strip().partition("=")
        name = name.strip().replace("-", "_").replace("color", "colour")
        if name not in (*NAMES, "all"):
            raise NerfError(f"There is no heat map '{name}'; choose from {', '.join(NAMES)}, or all.")
        top = _number(name, end) if equals else None
        if name == "all" and equals:
            raise NerfError("Each heat map has a scale of its own: write, for example, sample_count=32.")
        asked.update({each: asked.get(each) for each in NAMES} if name == "all" else {name: top})
    return {name: asked[name] for name in NAMES if name in asked}


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1e30:
        raise NerfError(f"The scale of '{name}' must end at a number above 0, not at '{text}'.")
    return value


def heat_files(folder: Path, stem: str, names: Iterable[str]) -> dict[str, Path]:
    """The files of one picture's maps: `NAME` and `NAME picture`."""
    files = {}
    for name in names:
        files[name], files[f"{name} picture"] = folder / f"{stem}_{name}.exr", folder / f"{stem}_{name}.png"
    return files


def write_heat(files: dict[str, Path], heat: "Heat", tops: Mapping[str, float | None]) -> dict[str, dict[str, Any]]:
    """Write them; their numbers by name, see `export.heat_pictures.heat_numbers`."""
    from ..contract.heat import heat_kind
    from ..export.exr import write_exr
    from ..export.heat_pictures import heat_numbers, heat_picture
    from ..export.pictures import write_png

    told = {}
    for name, values in heat.maps.items():
        kind, reference = heat_kind(name), heat.references.get(name)
        told[name] = heat_numbers(values, heat.subject[name], kind, tops.get(name))
        write_exr(files[name], {CHANNEL: values})
        write_png(files[f"{name} picture"], heat_picture(values, kind, told[name], reference))
        if reference is not None:
            told[name]["reference"] = reference
    return told
