"""The log of a run, `core.log`: what each training began with, saved, warned of and ended in; a few lines a minute."""

import traceback
from datetime import UTC, datetime
from pathlib import Path

from ..contract.errors import NerfError


class RunLog:
    """Appends lines with the time in front to `core.log`.

    Nothing is written before :meth:`open`: until a folder is known to be ours, it is not touched. A log that cannot be
    written stops no training.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_open = False

    def open(self) -> None:
        """From now on lines are written."""
        self._is_open = True

    def write(self, text: str, level: str = "info") -> None:
        """Append one line (or several, as a traceback has)."""
        if not self._is_open:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with open(self.path, "a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(f"{now} {level}: {text}\n")
        except OSError:
            pass

    def failure(self, error: BaseException) -> None:
        """What ended a training: a sentence where it is meant for a person, else with the traceback."""
        if isinstance(error, NerfError):
            self.write(str(error), "error")
        else:
            self.write("".join(traceback.format_exception(error)).rstrip(), "error")
