"""`--heat`: heat maps beside pictures, each as an EXR of its numbers and a PNG with colours and a legend."""

import argparse
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
        help=f"also write heat maps, {files}: a list of {', '.join(NAMES)}, or all",
    )


def read_heat(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The maps that were asked for, in the order of `NAMES`; `NerfError` names what is none."""
    if arguments.heat is None:
        return ()
    asked = [name.strip().replace("-", "_").replace("color", "colour") for name in arguments.heat.split(",")]
    if asked == ["all"]:
        return NAMES
    for name in asked:
        if name not in NAMES:
            raise NerfError(f"There is no heat map '{name}'; choose from {', '.join(NAMES)}, or all.")
    return tuple(name for name in NAMES if name in asked)


def heat_files(folder: Path, stem: str, names: tuple[str, ...]) -> dict[str, Path]:
    """The files of one picture's maps: `NAME` and `NAME picture`."""
    files = {}
    for name in names:
        files[name], files[f"{name} picture"] = folder / f"{stem}_{name}.exr", folder / f"{stem}_{name}.png"
    return files


def write_heat(files: dict[str, Path], heat: "Heat") -> dict[str, dict[str, Any]]:
    """Write them; their numbers by name, see `export.heat_pictures.heat_numbers`."""
    from ..contract.heat import heat_kind
    from ..export.exr import write_exr
    from ..export.heat_pictures import heat_numbers, heat_picture
    from ..export.pictures import write_png

    told = {}
    for name, values in heat.maps.items():
        kind, reference = heat_kind(name), heat.references.get(name)
        told[name] = heat_numbers(values, heat.subject[name], kind)
        write_exr(files[name], {CHANNEL: values})
        write_png(files[f"{name} picture"], heat_picture(values, kind, told[name], reference))
        if reference is not None:
            told[name]["reference"] = reference
    return told
