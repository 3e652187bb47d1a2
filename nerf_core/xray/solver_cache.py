"""A solver's volume, kept where it was asked for: SART takes a minute, and the same question has the same answer."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.files import make_folder, write_bytes
from .grid import Grid
from .rtk_geometry import Radiograph
from .solvers import SOLVERS, cg, fdk, sart

PACKAGE = "itk-rtk"


@dataclass(frozen=True)
class Solved:
    """A reconstruction.

    Attributes
    ----------
    name : str
        The solver's.
    mu : (X, Y, Z) float32 array
        Attenuation per world unit.
    seconds : float
        What it took when it was computed.
    settings : dict
    kept : bool
        Whether it was there already.
    """

    name: str
    mu: np.ndarray
    seconds: float
    settings: Mapping[str, Any] = field(hash=False)
    kept: bool = False


def best_settings(name: str, views: int) -> dict[str, Any]:
    """The settings that a solver is compared with for a number of views.

    Chosen by volume PSNR on phantoms that nothing is compared on; `docs/xray-evaluation.md` says how.

    Raises
    ------
    NerfError
        When there is no such solver.
    """
    if name not in SOLVERS:
        raise NerfError(f"The solver '{name}' is not known; use some of {', '.join(SOLVERS)}.")
    if name == "fdk":  # few views are mostly streaks, which a window takes off
        return {"hann": 0.0 if views >= 25 else 1.0 if views >= 5 else 0.5}
    if name == "cg":
        return {"iterations": 10}
    if name == "sirt":
        return {"iterations": 50, "relaxation": 1.0, "subset": max(1, views)}
    # Any relaxation has nearly the same best; how many corrections it takes to get there counts.
    return {"iterations": min(30, max(4, round(200 / max(1, views)))), "relaxation": 0.3, "subset": 1}


def solve(
    name: str,
    views: Sequence[Radiograph],
    grid: Grid,
    settings: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Solved:
    """A solver's volume of views, from `folder` where it lies there already.

    Parameters
    ----------
    name : str
        One of `solvers.SOLVERS`.
    views, grid, progress, should_stop
        As `solvers.fdk` takes them.
    settings : mapping, optional
        The solver's own; by default :func:`best_settings`.
    folder : Path, optional
        Where volumes are kept: a safetensors file each, named by its data and settings.

    Raises
    ------
    NerfError, DataError, Cancelled
        See `solvers.fdk`.
    """
    chosen = best_settings(name, len(views)) if settings is None else dict(settings)
    path = None if folder is None else folder / f"{name}-{_key(name, views, grid, chosen)}.safetensors"
    kept = None if path is None else _read(path, grid.shape)
    if kept is not None:
        if progress is not None:
            progress(1.0)
        return Solved(name, kept[0], kept[1], chosen, True)
    began = time.perf_counter()
    functions: dict[str, Callable[..., np.ndarray]] = {"fdk": fdk, "cg": cg, "sart": sart, "sirt": sart}
    mu = functions[name](views, grid, **chosen, progress=progress, should_stop=should_stop)
    seconds = time.perf_counter() - began
    if path is not None:
        make_folder(path.parent)
        _write(path, mu, name, seconds, chosen)
    return Solved(name, mu, seconds, chosen)


def _key(name: str, views: Sequence[Radiograph], grid: Grid, settings: Mapping[str, Any]) -> str:
    """Everything that the volume depends on, in a few letters."""
    with suppress(metadata.PackageNotFoundError):
        settings = {**settings, "version": metadata.version(PACKAGE)}
    told = hashlib.sha256(json.dumps([name, settings, grid.shape], sort_keys=True).encode())
    told.update(np.ascontiguousarray(grid.world_from_index).tobytes())
    for view in views:
        camera = view.camera
        numbers = [camera.fl_x, camera.fl_y, camera.cx, camera.cy, camera.width, camera.height]
        told.update(np.array(numbers, np.float64).tobytes() + np.ascontiguousarray(camera.c2w).tobytes())
        if view.line_integral is not None:
            told.update(np.ascontiguousarray(view.line_integral, dtype=np.float32).tobytes())
    return told.hexdigest()[:16]


def _write(path: Path, mu: np.ndarray, name: str, seconds: float, settings: Mapping[str, Any]) -> None:
    from safetensors.numpy import save

    facts = {"solver": name, "seconds": repr(seconds), "settings": json.dumps(dict(settings))}
    write_bytes(path, save({"mu": np.ascontiguousarray(mu)}, metadata=facts))


def _read(path: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, float] | None:
    """The volume and its seconds; None where there is none, or it is broken and made anew."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            mu = stored.get_tensor("mu")
            seconds = float((stored.metadata() or {}).get("seconds", "nan"))
    except (OSError, ValueError, SafetensorError):
        return None
    return (mu, seconds) if mu.shape == shape and mu.dtype == np.float32 and np.isfinite(mu).all() else None
