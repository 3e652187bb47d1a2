"""The request `ct`: a CT as Blender shows it: a volume file, surfaces, slices; everything in RAS metres."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import Cancelled, NerfError
from .geometry import Reply, Watch, check_size
from .params import Params

MAX_RESOLUTION = 1024
MOST_SHOWN = 192
"""Voxels along a volume's longest side: Blender reads its file at one go on the thread that draws everything."""


def answer(params: Params, watch: Watch) -> Reply:
    """Result and arrays of a `ct` request.

    Parameters
    ----------
    params : Params
        `source` (path, or phantom:KIND:SEED), `series` (null, or a UID or its end), `resolution` (voxels along the
        longest side, for volume and surfaces; phantoms are made with it), `volume` (a .vdb to write, or null),
        `surfaces` (a list of `{"name", "level" (HU), "faces" (null: all)}`), `slices` (null, or
        `{"window": [low, high], "places": {"axial": part, ...}}`).
    watch : (should_stop, on_progress)

    Returns
    -------
    result, arrays
        `source` (where a series was chosen: one of its files, which stands for it), `name`, `shape`, `spacing` (mm),
        `affine` (indices to RAS mm, axes as near to R, A, S as they run), `corners` (8x3, RAS metres), `hu` (lowest,
        highest), `warnings`; `surfaces` (each `name`, `faces`), `slices` (each `plane`, `corners`, `place`); arrays
        `vertices_NAME` f4 (V, 3), `faces_NAME` i4 (F, 3), `pixels_PLANE` u1 (H, W).
    """
    from ..ct.phantoms import parse_phantom
    from ..ct.source import read_ct

    should_stop, on_progress = watch
    source, resolution = params.text("source"), params.count("resolution", MAX_RESOLUTION)
    part = _parts(on_progress, should_stop)
    phantom = parse_phantom(source)
    if phantom is None:
        volume = read_ct(source, params.optional_text("series"), part(0.0, 0.5), should_stop)
    else:
        volume = phantom.volume(resolution)
    volume = volume.canonical()
    part(0.5, 0.6)(0.0)
    result: dict[str, Any] = {
        "source": volume.file if params.optional_text("series") else source,
        "name": volume.name,
        "shape": list(volume.shape),
        "spacing": volume.spacing.tolist(),
        "affine": volume.affine.tolist(),
        "corners": (1e-3 * volume.corners).tolist(),
        "hu": [float(volume.values.min()), float(volume.values.max())],
        "warnings": list(volume.warnings),
        "surfaces": [],
        "slices": [],
    }
    arrays: dict[str, np.ndarray] = {}
    _slices(params, volume, result, arrays)
    shown = volume if max(volume.shape) <= resolution else volume.resampled(shape=resolution)
    part(0.5, 0.6)(1.0)
    wanted = params.values.get("surfaces") or []
    _volume(params, shown, result, part(0.6, 0.8))
    _surfaces(wanted, shown, result, arrays, part(0.8, 1.0), should_stop)
    check_size(sum(array.nbytes for array in arrays.values()), "surface")
    return result, arrays


def _volume(params: Params, shown: Any, result: dict[str, Any], tell: Callable[[float], None]) -> None:
    from ..contract.files import make_folder
    from ..ct.display import relative_density
    from ..export.ownership import check_writable
    from ..export.vdb import write_vdb

    out = params.optional_text("volume")
    if out is None:
        return
    if max(shown.shape) > MOST_SHOWN:
        shown = shown.resampled(shape=MOST_SHOWN)
        result["warnings"].append(
            f"The volume is shown with {MOST_SHOWN} voxels along its longest side, as Blender would stand still while "
            "it reads more; meshes have the resolution that was asked for, slices and radiographs all of the CT."
        )
    path = Path(out)
    if path.suffix.lower() != ".vdb":
        raise NerfError(f"A volume is written as OpenVDB: '{out}' must end in .vdb.")
    check_writable(path)
    density = relative_density(shown)
    if not density.any():
        raise NerfError(f"'{shown.name}' holds nothing but air; there is no volume to show.")
    tell(0.3)
    make_folder(path.parent)
    write_vdb(path, density, 1e-3 * shown.affine[:3, 3], 1e-3 * shown.affine[:3, :3])
    result["volume"] = out
    tell(1.0)


def _surfaces(
    wanted: Any,
    shown: Any,
    result: dict[str, Any],
    arrays: dict[str, np.ndarray],
    tell: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> None:
    from ..ct.display import surface

    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise NerfError("'ct' wants 'surfaces' as a list of objects.")
    for index, one in enumerate(wanted):
        asked = Params("ct", one)
        name, level = asked.text("name"), asked.optional_number("level")
        if level is None:
            raise NerfError(f"'ct' wants the 'level' of the surface '{name}', in HU.")

        def progress(done: float, index: int = index) -> None:
            tell((index + done) / len(wanted))

        found = surface(shown, level, asked.optional_integer("faces"), progress, should_stop)
        arrays[f"vertices_{name}"], arrays[f"faces_{name}"] = found.vertices, found.faces
        result["surfaces"].append({"name": name, "faces": len(found.faces)})


def _slices(params: Params, volume: Any, result: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    from ..ct.display import PLANES, ct_slice

    if params.values.get("slices") is None:
        return
    asked = Params("ct", params.mapping("slices"))
    window, places = asked.values.get("window"), asked.mapping("places")
    if not isinstance(window, list) or len(window) != 2 or not all(isinstance(end, int | float) for end in window):
        raise NerfError("'ct' wants 'window' as two numbers of HU.")
    for plane, part in places.items():
        if plane not in PLANES or not isinstance(part, int | float):
            raise NerfError(f"'ct' wants 'places' as parts of {', '.join(PLANES)}.")
        cut = ct_slice(volume, plane, float(part), (float(window[0]), float(window[1])))
        arrays[f"pixels_{plane}"] = cut.pixels
        result["slices"].append({"plane": plane, "corners": cut.corners.tolist(), "place": cut.place})


def _parts(
    on_progress: Callable[[float], None], should_stop: Callable[[], bool]
) -> Callable[[float, float], Callable[[float], None]]:
    """Progress of a part of the work, as progress of the whole; stops where it is told to."""

    def part(first: float, last: float) -> Callable[[float], None]:
        def tell(done: float) -> None:
            if should_stop():
                raise Cancelled("the CT was stopped")
            on_progress(first + (last - first) * done)

        return tell

    return part
