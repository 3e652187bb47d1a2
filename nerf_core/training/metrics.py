"""The metrics log of a run: `metrics.jsonl`, one JSON object a line, only ever appended to."""

import json
import math
import os
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError


class MetricsLog:
    """Appends lines to `metrics.jsonl`.

    Parameters
    ----------
    path : Path
        Made when it does not exist; a line that a killed process left half written is ended first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mend = self._is_cut_off()

    def _is_cut_off(self) -> bool:
        try:
            with open(self.path, "rb") as stream:
                stream.seek(-1, os.SEEK_END)
                return stream.read(1) != b"\n"
        except OSError:  # missing or empty
            return False

    def append(self, **values: Any) -> None:
        """Write one line; None, NaN and infinity become null."""
        plain = {key: _plain(value) for key, value in values.items()}
        line = json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write("\n" + line if self._mend else line)
        except OSError as error:
            raise NerfError(
                f"Cannot write '{self.path}': {error.strerror or error}. Free some disk space or choose another folder."
            ) from error
        self._mend = False


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
