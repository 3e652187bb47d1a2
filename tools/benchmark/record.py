"""What a benchmark keeps: every single measurement and the medians, written as they come, as JSON and as a plot."""

import json
import math
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FORMAT = "nerf_toolkit.benchmark"
COLUMNS = ("wall_seconds", "training_seconds", "steps", "psnr", "ssim", "frame_seconds", "peak_memory_mb")
"""What medians are taken of."""


class Record:
    """The content of one result file.

    Parameters
    ----------
    path : Path
        Of the JSON file; the plot lies beside it as `.svg`.
    facts : dict
        Machine, command, date and the like.
    order : sequence of str
        The methods' names, as tables list them.
    """

    def __init__(self, path: Path, facts: dict[str, Any], order: Sequence[str]) -> None:
        self.path = path
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "complete": False,
            **facts,
            "starts": [],
            "medians": [],
            "measurements": [],
            "failures": [],
            "notes": [],
        }
        self._order = list(order)

    @property
    def plot_path(self) -> Path:
        """Of the plot."""
        return self.path.with_suffix(".svg")

    def add(self, measurement: dict[str, Any]) -> None:
        """Keep a measurement; writes."""
        self.content["measurements"].append(measurement)
        self.content["medians"] = medians(self.content["measurements"], self._order)
        self.write()

    def start(self, method: str, kind: str, seconds: float) -> None:
        """Keep a start's time ("cold" or "warm"); writes."""
        self.content["starts"].append({"method": method, "kind": kind, "seconds": seconds})
        self.write()

    def fail(self, method: str, what: str, problem: str) -> None:
        """Keep that something could not be measured; writes."""
        self.content["failures"].append({"method": method, "what": what, "problem": problem})
        self.write()

    def note(self, text: str) -> None:
        """Keep a sentence about the whole; writes."""
        self.content["notes"].append(text)
        self.write()

    def write(self) -> None:
        """Write the JSON file beside and rename it, so that a killed benchmark leaves a whole one."""
        write_json(self.path, self.content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain JSON whole or not at all; NaN becomes null.

    Raises
    ------
    SystemExit
        When the folder or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        raise SystemExit(f"The results cannot be written to '{path}': {error.strerror or error}.") from None


def read(path: Path) -> dict[str, Any]:
    """Read a result file.

    Raises
    ------
    SystemExit
        When it is not one that this benchmark wrote.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SystemExit(f"'{path}' cannot be read: {error.strerror or error}.") from None
    except ValueError:
        raise SystemExit(f"'{path}' is not JSON.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SystemExit(f"'{path}' is not a result file of this benchmark (no format '{FORMAT}').")
    return content


def medians(measurements: Sequence[dict[str, Any]], order: Sequence[str]) -> list[dict[str, Any]]:
    """Medians over seeds, a row for each method and budget; `psnr_low` and `psnr_high` are the seeds' extremes."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for one in measurements:
        groups.setdefault((one["method"], one["seconds"]), []).append(one)
    rows = []
    for (method, seconds), group in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        row: dict[str, Any] = {"method": method, "seconds": seconds, "seeds": len(group)}
        for column in COLUMNS:
            values = [one[column] for one in group if one.get(column) is not None and math.isfinite(one[column])]
            row[column] = statistics.median(values) if values else None
        row["psnr_low"], row["psnr_high"] = min(one["psnr"] for one in group), max(one["psnr"] for one in group)
        rows.append(row)
    return rows


HEAD = ("method", "budget s", "seeds", "wall s", "steps", "PSNR dB", "SSIM", "frame ms", "memory MB")


def table(rows: Sequence[dict[str, Any]], titles: dict[str, str]) -> str:
    """The medians as a Markdown table that is readable as it is."""
    cells = [list(HEAD)] + [[titles[row["method"]], *map(_shown, *zip(*_numbers(row), strict=True))] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = [
        "| "
        + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _numbers(row: dict[str, Any]) -> list[tuple[float | None, str]]:
    frame = row["frame_seconds"]
    return [
        (row["seconds"], "g"),
        (row["seeds"], "d"),
        (row["wall_seconds"], ".1f"),
        (row["steps"], ".0f"),
        (row["psnr"], ".2f"),
        (row["ssim"], ".4f"),
        (None if frame is None else 1000 * frame, ".1f"),
        (row["peak_memory_mb"], ".0f"),
    ]


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
