"""What every kind of run keeps in its run.json in the same way: its seed, and where its data set lies."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from ..contract.run_folder import RunFolder
from .checkpoint import MAX_SEED


def checked_seed(value: Any) -> int:
    """The seed itself; a NerfError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_SEED:
        raise NerfError(f"The seed must be a whole number from 0 to {MAX_SEED - 1}, not {value!r}.")
    return value


def data_path(asked: str | Path | None, known: Mapping[str, Any], folder: RunFolder) -> Path:
    """The data set that is asked for, else the one that the run knows; a NerfError where there is neither."""
    if asked is not None:
        return Path(asked)
    stored = known.get("data")
    if not isinstance(stored, str):
        raise NerfError(f"Say which data set to train on: the run '{folder.root}' does not know one yet.")
    return folder.root / stored


def portable(data: Path, root: Path) -> str:
    """Relative with forward slashes when the data set lies inside the run folder, so that both can move; else whole."""
    whole, base = Path(os.path.abspath(data)), Path(os.path.abspath(root))
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else str(whole)
