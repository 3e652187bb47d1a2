"""The requests `mesh` and `volume`: a run's density as triangles, and as a regular grid."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.files import make_folder
from ..contract.messages import MAX_ARRAY_BYTES
from .params import Params

if TYPE_CHECKING:
    from ..training.load import LoadedRun

Watch = tuple[Callable[[], bool], Callable[[float], None]]
Reply = tuple[dict[str, Any], dict[str, np.ndarray]]


def mesh(loaded: "LoadedRun", params: Params, watch: Watch) -> Reply:
    """Answer `mesh`; `watch` is what asks whether to stop, and what tells progress."""
    from ..export.mesh import extract_mesh

    should_stop, on_progress = watch
    found = extract_mesh(
        loaded.method,
        loaded.cameras,
        loaded.bounds,
        params.count("resolution", 1 << 20),
        params.optional_number("threshold"),
        params.optional_integer("faces"),
        params.flag("drop_islands"),
        int(loaded.settings.get("seed") or 0),
        on_progress,
        should_stop,
    )
    arrays = {"vertices": found.vertices, "faces": found.faces, "color": found.color, "normal": found.normal}
    check_size(sum(array.nbytes for array in arrays.values()), "mesh")
    return {"vertices": len(found.vertices), "faces": len(found.faces), "threshold": found.threshold}, arrays


def volume(loaded: "LoadedRun", params: Params, watch: Watch) -> Reply:
    """Answer `volume`: with the array, or with the file that it was written to where `out` names one."""
    from ..export.density_grid import Grid, density_volume
    from ..export.ownership import check_writable
    from ..export.vdb import without_haze, write_vdb

    should_stop, on_progress = watch
    out = params.optional_text("out")
    if out is not None and out.lower().endswith((".nii", ".nii.gz")):
        return _nifti(loaded, params, Path(out))
    resolution = params.count("resolution", 1 << 20)
    if out is not None and Path(out).suffix.lower() != ".vdb":
        raise NerfError(f"A volume is written as OpenVDB or NIfTI: '{out}' must end in .vdb or .nii.gz.")
    if out is not None:
        check_writable(out)
    else:
        check_size(4 * int(np.prod(Grid.over(loaded.bounds, resolution).shape)), "volume")
    grid, density = density_volume(loaded.method, loaded.bounds, resolution, on_progress, should_stop)
    result = {"origin": grid.origin.tolist(), "spacing": grid.spacing, "shape": list(grid.shape)}
    if out is None:
        return result, {"density": density}
    density = without_haze(density, loaded.bounds, loaded.method.faintest_density())
    if not density.any():
        raise NerfError("The run's box is empty: it has no density to write; train longer.")
    make_folder(Path(out).parent)
    write_vdb(out, density, grid.origin, grid.spacing)
    return {**result, "out": out, "highest": float(density.max())}, {}


def _nifti(loaded: "LoadedRun", params: Params, out: Path) -> Reply:
    """The attenuation in Hounsfield units; without a resolution on the voxels of the truth, or the field's own."""
    from ..ct.nifti import write_nifti
    from ..export.attenuation_volume import ct_volume, export_grid

    if out.exists() and not params.flag("overwrite"):
        raise NerfError(f"'{out}' exists already and is not overwritten; choose another name.")
    asked = params.values.get("resolution")
    grid = export_grid(loaded, None if asked is None else params.count("resolution", 1 << 20))
    volume = ct_volume(loaded.method, grid, out.name)
    make_folder(out.parent)
    write_nifti(out, volume)
    told = {"shape": list(grid.shape), "affine": volume.affine.tolist(), "out": str(out)}
    return {**told, "hu": [float(volume.values.min()), float(volume.values.max())]}, {}


def check_size(size: int, what: str) -> None:
    """Refuse what no message holds."""
    if size > MAX_ARRAY_BYTES:
        raise NerfError(f"The {what} is too large to be sent ({size / 1e9:.1f} GB); choose a lower resolution.")
