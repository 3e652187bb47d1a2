"""Write a run's density as a volume: OpenVDB, a NumPy archive, or, of radiographs, NIfTI in Hounsfield units."""

import argparse
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from .common import add_device, add_json, add_overwrite, progress_bar, say

HELP = "the density as an OpenVDB or NumPy volume, or attenuation as NIfTI"
DEFAULT_RESOLUTION = 128
RELATIVE = "The radiographs were scaled one by one: these Hounsfield units are of an attenuation known up to a factor."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf volume` takes."""
    parser.add_argument("run_dir", metavar="DIR", help="run folder")
    parser.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="ends in .vdb, in .npz (density, origin, spacing), or, of runs of the method xray, in .nii or .nii.gz "
        "(Hounsfield units)",
    )
    parser.add_argument(
        "--resolution",
        type=int,
        metavar="N",
        help="voxels along the box's longest side, 8 to 1024 (default 128; for NIfTI those of the true volume, where "
        "the data set has one, else the field's own)",
    )
    add_overwrite(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Sample and write."""
    from ..contract.files import make_folder
    from ..export.density_grid import density_volume
    from ..export.ownership import check_writable
    from ..export.vdb import without_haze, write_npz, write_vdb
    from ..training.load import load_run

    out = Path(arguments.out)
    if out.name.lower().endswith((".nii", ".nii.gz")):
        return _run_nifti(arguments, out)
    if out.suffix.lower() not in (".vdb", ".npz"):
        raise NerfError(f"A volume is written as OpenVDB or NumPy: '{out.name}' must end in .vdb or .npz (or .nii.gz).")
    check_writable(out, arguments.overwrite)
    loaded = load_run(arguments.run_dir, arguments.device)
    with progress_bar("sampling the density") as progress:
        grid, density = density_volume(
            loaded.method,
            loaded.bounds,
            DEFAULT_RESOLUTION if arguments.resolution is None else arguments.resolution,
            progress,
        )
    make_folder(out.parent)
    if out.suffix.lower() == ".vdb":
        shown = without_haze(density, loaded.bounds, loaded.method.faintest_density())
        write_vdb(out, shown, grid.origin, grid.spacing)
    else:
        write_npz(out, density, grid.origin, grid.spacing)
    shape = "x".join(str(n) for n in grid.shape)
    say(arguments, f"{shape} voxels of {grid.spacing:.4g} scene units: {out}")
    return {
        "run": arguments.run_dir,
        "out": str(out),
        "shape": list(grid.shape),
        "origin": grid.origin.tolist(),
        "spacing": grid.spacing,
    }


def _run_nifti(arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Sample attenuation and write it in Hounsfield units."""
    from ..contract.files import make_folder
    from ..contract.xray import NOT_FOR_DIAGNOSIS
    from ..ct.nifti import write_nifti
    from ..export.attenuation_volume import ct_volume, export_grid
    from ..export.ownership import check_writable
    from ..training.load import load_run

    check_writable(out, arguments.overwrite)
    loaded = load_run(arguments.run_dir, arguments.device)
    grid = export_grid(loaded, arguments.resolution)
    volume = ct_volume(loaded.method, grid, out.name)
    make_folder(out.parent)
    write_nifti(out, volume)
    shape = "x".join(str(n) for n in grid.shape)
    spacing = " x ".join(f"{millimetres:.4g}" for millimetres in volume.spacing)
    say(arguments, f"{shape} voxels of {spacing} mm, in Hounsfield units: {out}")
    if loaded.method.facts.scaling == "per_view":  # type: ignore[attr-defined]  # export_grid knows the method
        say(arguments, RELATIVE)
    say(arguments, NOT_FOR_DIAGNOSIS)
    return {
        "run": arguments.run_dir,
        "out": str(out),
        "shape": list(grid.shape),
        "affine": volume.affine.tolist(),
        "hu": [float(volume.values.min()), float(volume.values.max())],
    }
