"""Logs of child processes: a file of its own for each, of which the newest are kept. No bpy here."""

import os
import time
from pathlib import Path

from .environment import user_folder

KEPT = 10


def new_log(kind: str) -> Path:
    """A log's path that no other process of this session or another writes to; the file is there, and empty.

    Parameters
    ----------
    kind : str
        Its name's beginning; of each kind the newest are kept.
    """
    folder = user_folder("logs", create=True)
    for old in logs(kind)[: -KEPT + 1]:
        for path in (old, old.with_suffix(".json")):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # another Blender has it open
    base = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    number = 1
    while True:
        path = folder / f"{base}{'' if number == 1 else f'-{number}'}.log"
        try:
            path.open("xb").close()
        except FileExistsError:
            number += 1
        else:
            return path


def logs(kind: str) -> list[Path]:
    """Those of a kind, the oldest first."""
    return sorted(user_folder("logs").glob(f"{kind}-*.log"))
