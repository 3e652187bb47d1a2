"""A solver's volume, kept where it was asked for: SART takes a minute, and the same question has the same answer."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..contract.errors import Cancelled, NerfError
from ..contract.files import make_folder, write_bytes
from ..contract.json_data import parse_json
from .grid import Grid
from .rtk_geometry import Radiograph
from .solvers import SOLVERS, cg, fdk, sart

PACKAGE = "itk-rtk"
MOST = 40  # passes of SART
GENTLE, EARLY = 0.3, 3  # the relaxation that is tried as well, where the best pass is so early a one
PATIENCE = 3
JUDGES = 6


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
    return {"iterations": MOST, "relaxation": 1.0, "subset": 1}


def solve(
    name: str,
    views: Sequence[Radiograph],
    grid: Grid,
    settings: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    judge: "Judge | None" = None,
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
    judge : Judge, optional
        SART and SIRT keep the pass that it finds best, and end when `PATIENCE` passes have not been better. Which pass
        is best depends on how much of the radiographs no voxels can explain, which nobody knows beforehand.

    Raises
    ------
    NerfError, DataError, Cancelled
        See `solvers.fdk`.
    """
    chosen = best_settings(name, len(views)) if settings is None else dict(settings)
    judge = judge if name in ("sart", "sirt") else None
    key = "" if folder is None else _key(name, views, grid, chosen, judge)
    path = None if folder is None else folder / f"{name}-{key}.safetensors"
    kept = None if path is None else _read(path, grid.shape)
    if kept is not None:
        if progress is not None:
            progress(1.0)
        return Solved(name, kept[0], kept[1], kept[2], True)
    began = time.perf_counter()
    functions: dict[str, Callable[..., np.ndarray]] = {"fdk": fdk, "cg": cg, "sart": sart, "sirt": sart}
    if judge is not None:
        passes = _Passes(judge, should_stop)
        mu = passes.best_of(views, grid, chosen, progress)
        if passes.best <= EARLY and chosen["relaxation"] > GENTLE:
            gentle = _Passes(judge, should_stop)
            other = gentle.best_of(views, grid, {**chosen, "relaxation": GENTLE}, progress)
            if gentle.error < passes.error:
                mu, passes, chosen = other, gentle, {**chosen, "relaxation": GENTLE}
        chosen = {**chosen, "iterations": passes.best}
    else:
        mu = functions[name](views, grid, **chosen, progress=progress, should_stop=should_stop)
    seconds = time.perf_counter() - began
    if path is not None:
        make_folder(path.parent)
        _write(path, mu, name, seconds, chosen)
    return Solved(name, mu, seconds, chosen)


class Judge(Protocol):
    """Says which of two volumes is the better one."""

    @property
    def key(self) -> bytes:
        """What it depends on."""

    def error(self, volume: np.ndarray) -> float:
        """How bad a volume is."""


@dataclass(frozen=True)
class TruthJudge:
    """Knows the true volume: more than anybody who reconstructs, and so no peer is sold short."""

    mu: np.ndarray

    @property
    def key(self) -> bytes:
        """See `Judge`."""
        return np.ascontiguousarray(self.mu).tobytes()

    def error(self, volume: np.ndarray) -> float:
        """The mean squared error."""
        return float(np.mean(np.square(volume - self.mu, dtype=np.float64)))


@dataclass(frozen=True)
class RadiographJudge:
    """Knows some radiographs that were not given, where no true volume is known."""

    views: Sequence[Radiograph]
    grid: Grid

    @property
    def key(self) -> bytes:
        """See `Judge`."""
        return b"".join(_digest(view) for view in self.views)

    def error(self, volume: np.ndarray) -> float:
        """The mean squared error of their line integrals."""
        from .projector import project_camera

        total = 0.0
        for view in self.views:
            image = project_camera(volume, self.grid.world_from_index, view.camera)
            total += float(np.mean(np.square(image - view.line_integral, dtype=np.float64)))
        return total / len(self.views)


def judge_of(truth: np.ndarray | None, views: Sequence[Radiograph], grid: Grid) -> Judge:
    """The true volume where it is known, else at most `JUDGES` of the views."""
    if truth is not None:
        return TruthJudge(truth)
    count = min(JUDGES, len(views))
    return RadiographJudge([views[index * len(views) // count] for index in range(count)], grid)


class _Passes:
    """SART until no pass is better any more."""

    def __init__(self, judge: Judge, should_stop: Callable[[], bool] | None) -> None:
        self._judge, self._should_stop = judge, should_stop
        self.error, self._done = float("inf"), 0
        self._volume: np.ndarray | None = None
        self.best = 0

    def best_of(
        self,
        views: Sequence[Radiograph],
        grid: Grid,
        settings: Mapping[str, Any],
        progress: Callable[[float], None] | None,
    ) -> np.ndarray:
        """The best pass's volume; its number is left in `best`."""
        try:
            sart(views, grid, **settings, progress=progress, should_stop=self._ends, on_iteration=self._look)
        except Cancelled:
            if self._is_stopped():
                raise
        if progress is not None:
            progress(1.0)
        assert self._volume is not None
        return self._volume

    def _look(self, done: int, volume: np.ndarray) -> None:
        error, self._done = self._judge.error(volume), done
        if self._volume is None or error < self.error:
            self.error, self._volume, self.best = error, volume, done

    def _is_stopped(self) -> bool:
        return self._should_stop is not None and self._should_stop()

    def _ends(self) -> bool:
        return self._done >= self.best + PATIENCE or self._is_stopped()


def _key(name: str, views: Sequence[Radiograph], grid: Grid, settings: Mapping[str, Any], judge: Judge | None) -> str:
    """Everything that the volume depends on, in a few letters."""
    with suppress(metadata.PackageNotFoundError):
        settings = {**settings, "version": metadata.version(PACKAGE)}
    told = hashlib.sha256(json.dumps([name, settings, grid.shape], sort_keys=True).encode())
    told.update(np.ascontiguousarray(grid.world_from_index).tobytes())
    for view in views:
        told.update(_digest(view))
    if judge is not None:
        told.update(b"judge" + judge.key)
    return told.hexdigest()[:16]


def _digest(view: Radiograph) -> bytes:
    """Of a radiograph: where it was taken, and what it shows."""
    camera = view.camera
    numbers = [camera.fl_x, camera.fl_y, camera.cx, camera.cy, camera.width, camera.height]
    told = hashlib.sha256(np.array(numbers, np.float64).tobytes() + np.ascontiguousarray(camera.c2w).tobytes())
    if view.line_integral is not None:
        told.update(np.ascontiguousarray(view.line_integral, dtype=np.float32).tobytes())
    return told.digest()


def _write(path: Path, mu: np.ndarray, name: str, seconds: float, settings: Mapping[str, Any]) -> None:
    from safetensors.numpy import save

    facts = {"solver": name, "seconds": repr(seconds), "settings": json.dumps(dict(settings))}
    write_bytes(path, save({"mu": np.ascontiguousarray(mu)}, metadata=facts))


def _read(path: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, float, dict[str, Any]] | None:
    """The volume, its seconds and settings; None where there is none, or it is broken and made anew."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            mu = stored.get_tensor("mu")
            facts = stored.metadata() or {}
        seconds, settings = float(facts["seconds"]), parse_json(facts["settings"])
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    if not isinstance(settings, dict):
        return None
    return (mu, seconds, settings) if mu.shape == shape and mu.dtype == np.float32 and np.isfinite(mu).all() else None
