"""Snapshots: what the field was at a few moments of its training, without the optimiser, to look back at.

They lie beside the checkpoint as `snapshots/STEP.safetensors`, in its format and with its checks. Their numbers are
halves (float16), as in "Instant Neural Graphics Primitives" (Müller et al. 2022): a quarter of a checkpoint in size.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import CheckpointError, NerfError
from ..contract.files import make_folder
from ..contract.run_folder import RunFolder
from ..methods.base import MethodState
from .budget import Spent
from .checkpoint import Checkpoint, load_checkpoint, read_spent, save_checkpoint

DEFAULT = 8
MOST = 100
FIRST = 0.01  # of the budget: what is seen first changes fastest
OPTIMISER, SHELL, OCCUPANCY = "adam/", "surface/", "occupancy/"  # what the arrays' names begin with


def check_count(value: Any) -> int:
    """How many snapshots a training keeps; `NerfError` where that is no usable number."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise NerfError(f"The number of snapshots must be a whole number from 0 to {MOST}, not {value!r}.")
    return value


def moments(count: int) -> list[float]:
    """At which fractions of the budget: geometric from 1 % to the end; one alone is the end."""
    return [FIRST ** (1.0 - i / (count - 1)) for i in range(count)] if count > 1 else [1.0] * count


class Snapshots:
    """Keeps a training's snapshots as its progress passes their moments.

    Parameters
    ----------
    folder : RunFolder
    count : int
    progress : float
        Where the training begins, 0 to 1: what lies before is past.
    """

    def __init__(self, folder: RunFolder, count: int, progress: float = 0.0) -> None:
        self.folder = folder
        self._moments = [moment for moment in moments(count) if moment > progress]

    def due(self, progress: float) -> bool:
        """Whether a moment has passed since the last one that was kept."""
        return bool(self._moments) and progress >= self._moments[0]

    def keep(self, checkpoint: Checkpoint, progress: float) -> Path:
        """Write the field of `checkpoint`; returns the file.

        Raises
        ------
        NerfError
            When the disk is full or the training has diverged, as `save_checkpoint` does.
        """
        self._moments = [moment for moment in self._moments if moment > progress]
        make_folder(self.folder.snapshots)
        path = self.folder.snapshot(checkpoint.spent.steps)
        save_checkpoint(path, field_only(checkpoint))
        return path


def field_only(checkpoint: Checkpoint) -> Checkpoint:
    """The same without the arrays that only training goes on with, and in halves where a half can hold the numbers."""
    arrays = {
        name: _halved(array, name.startswith(OCCUPANCY))
        for name, array in checkpoint.state.arrays.items()
        if not name.startswith((OPTIMISER, SHELL))
    }
    return replace(checkpoint, state=MethodState(arrays, checkpoint.state.settings))


def _halved(array: np.ndarray, cut: bool) -> np.ndarray:
    if array.dtype != np.float32 or not array.size:
        return array
    most = float(np.finfo(np.float16).max)
    # Of a cell's density only matters whether it is above a small limit.
    array = np.minimum(array, np.float32(most)) if cut else array
    # NaN is left for `save_checkpoint` to tell.
    if not max(-float(array.min()), float(array.max())) <= most:
        return array
    # What would be a subnormal half takes processors forty times as long, and is less than others are rounded by.
    return np.where(np.abs(array) < np.finfo(np.float16).smallest_normal, np.float32(0.0), array).astype(np.float16)


def list_snapshots(run: str | Path) -> list[Spent]:
    """What each snapshot of a run had trained, oldest first; a broken file is left out.

    Raises
    ------
    CheckpointError
        When the folder is no run.
    """
    folder = RunFolder(Path(run))
    folder.read()
    found = []
    for path in folder.snapshots.glob("*.safetensors") if folder.snapshots.is_dir() else ():
        try:
            spent = read_spent(path)
        except CheckpointError:
            continue
        if path == folder.snapshot(spent.steps):
            found.append(spent)
    return sorted(found, key=lambda spent: spent.steps)


def load_snapshot(run: str | Path, step: int) -> Checkpoint:
    """A snapshot as a checkpoint whose arrays are float32 again.

    Raises
    ------
    CheckpointError
        When there is none of that step, or it cannot be used.
    """
    path = RunFolder(Path(run)).snapshot(step)
    if not path.exists():
        known = [spent.steps for spent in list_snapshots(run)]
        raise CheckpointError(
            f"The run '{run}' has no snapshot of step {step}"
            + (f"; it has {', '.join(map(str, known))}." if known else ": it was trained without snapshots.")
        )
    kept = load_checkpoint(path)
    arrays = {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in kept.state.arrays.items()
    }
    return replace(kept, state=MethodState(arrays, kept.state.settings))
