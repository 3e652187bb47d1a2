"""Look into a CT, and convert it: DICOM folders, NIfTI files and phantoms. Not for diagnosis."""

import argparse
from pathlib import Path
from typing import Any

from .common import add_json, add_overwrite, say

HELP = "what is in a CT (DICOM, NIfTI or phantom), and its conversion to NIfTI"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf ct` takes."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a DICOM folder or file, a NIfTI file, or phantom:KIND:SEED (chest, knee, ...)"
    )
    parser.add_argument("--out", metavar="FILE", help="write it as .nii or .nii.gz")
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder: its UID, or the UID's end")
    parser.add_argument(
        "--grid", type=int, metavar="N", help="resample to N voxels along the longest side (phantoms: default 128)"
    )
    add_overwrite(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read, tell, write."""
    from ..contract.errors import NerfError
    from ..contract.files import make_folder
    from ..contract.xray import NOT_FOR_DIAGNOSIS
    from ..contract.xray_words import PHANTOM
    from ..ct import open_source, write_nifti
    from ..ct.phantoms import DEFAULT_VOXELS
    from ..export.ownership import check_writable

    if arguments.grid is not None and not 2 <= arguments.grid <= 2048:
        raise NerfError(f"--grid must be 2 to 2048 voxels, not {arguments.grid}.")
    out = None if arguments.out is None else check_writable(Path(arguments.out), arguments.overwrite)
    if out is not None and not out.name.lower().endswith((".nii", ".nii.gz")):
        raise NerfError(f"A CT is written as NIfTI: '{out.name}' must end in .nii or .nii.gz.")
    volume = open_source(arguments.source, arguments.grid or DEFAULT_VOXELS, arguments.series)
    if arguments.grid is not None and not str(arguments.source).startswith(PHANTOM):
        volume = volume.resampled(shape=arguments.grid)
    low, high = float(volume.values.min()), float(volume.values.max())
    sides = volume.spacing * volume.shape
    say(arguments, f"{volume.name}: {'x'.join(map(str, volume.shape))} voxels of {_lengths(volume.spacing)} mm")
    say(arguments, f"  size         {_lengths(sides)} mm, axes {volume.orientation}")
    say(arguments, f"  lies at      {_places(volume.bounds[0])} to {_places(volume.bounds[1])} mm (right, front, up)")
    say(arguments, f"  values       {low:.0f} to {high:.0f} HU, mean {volume.values.mean():.0f}")
    for warning in volume.warnings:
        say(arguments, f"  note         {warning}")
    if out is not None:
        make_folder(out.parent)
        write_nifti(out, volume)
        say(arguments, f"  written      {out}")
    say(arguments, NOT_FOR_DIAGNOSIS)
    return {
        "source": str(arguments.source),
        "name": volume.name,
        "shape": list(volume.shape),
        "spacing": volume.spacing.tolist(),
        "orientation": volume.orientation,
        "bounds": volume.bounds.tolist(),
        "affine": volume.affine.tolist(),
        "hu": [low, high],
        "warnings": list(volume.warnings),
        "out": None if out is None else str(out),
    }


def _lengths(values: Any) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _places(values: Any) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in values) + ")"
