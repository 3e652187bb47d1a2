"""The folder of an experiment: its plan, what it trained, and its results as they came.

::

    OUT/experiment.json      marks the folder as ours: the data set, versions, the machine, when it was begun
    OUT/experiment.toml      the plan as it was last run
    OUT/results.jsonl        one JSON object a line and measured cell
    OUT/cameras.json         of the turntable, the same for every cell
    OUT/runs/CELL/           run folders, as `nerf train` makes them
    OUT/turntables/CELL/     0001.png ... and CELL.mp4 beside it
    OUT/plot.svg, plot.png   PSNR against samples a hit ray
    OUT/report.html          everything, in one file
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from ..contract.files import make_folder, write_bytes, write_json
from ..contract.json_data import parse_json
from ..contract.xray_words import PHANTOM

FORMAT, VERSION = "nerf_toolkit.experiment", 1
NOT_STRANGERS = (".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class ExperimentFolder:
    """The paths inside an experiment's folder, and what is written there."""

    root: Path

    @property
    def facts(self) -> Path:
        """`experiment.json`."""
        return self.root / "experiment.json"

    @property
    def plan(self) -> Path:
        """`experiment.toml`."""
        return self.root / "experiment.toml"

    @property
    def results(self) -> Path:
        """`results.jsonl`."""
        return self.root / "results.jsonl"

    @property
    def cameras(self) -> Path:
        """`cameras.json`."""
        return self.root / "cameras.json"

    @property
    def report(self) -> Path:
        """`report.html`."""
        return self.root / "report.html"

    def plot(self, kind: str) -> Path:
        """`plot.svg` or `plot.png`."""
        return self.root / f"plot.{kind}"

    def run(self, name: str) -> Path:
        """A run folder."""
        return self.root / "runs" / name

    def turntable(self, name: str) -> Path:
        """The folder of a cell's turntable."""
        return self.root / "turntables" / name

    def pictures(self, name: str, count: int) -> list[Path]:
        """The files of a cell's turntable."""
        return [self.turntable(name) / f"{index + 1:04d}.png" for index in range(count)]

    def read(self) -> dict[str, Any]:
        """What `experiment.json` says.

        Raises
        ------
        NerfError
            When it is missing, broken or of another version.
        """
        try:
            facts = parse_json(self.facts.read_bytes())
        except FileNotFoundError as error:
            raise NerfError(f"'{self.root}' is no experiment: it has no experiment.json.") from error
        except (OSError, ValueError) as error:
            raise NerfError(f"'{self.facts}' cannot be read ({error}); choose another folder.") from error
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise NerfError(f"'{self.facts}' was not written by NeRF Toolkit; choose another folder.")
        if facts.get("version") != VERSION:
            raise NerfError(f"'{self.facts}' has another version than this NeRF Toolkit reads; choose another folder.")
        return facts

    def claim(self, plan: Any, data: Path | str) -> dict[str, Any]:
        """Take the folder: a new or empty one, or that of an experiment; returns what `experiment.json` says now.

        Raises
        ------
        NerfError
            When it holds somebody's files, which are not touched, or results on another data set.
        """
        told = str(data) if str(data).startswith(PHANTOM) else os.path.abspath(data)
        known: dict[str, Any] = {}
        if self.facts.exists():
            known = self.read()
            if known.get("data") != told and self.rows():
                raise NerfError(
                    f"The results in '{self.root}' are of the data set '{known.get('data')}', not of '{told}'; choose "
                    "another folder with --out."
                )
        elif self.root.exists():
            if not self.root.is_dir():
                raise NerfError(f"'{self.root}' is a file; choose another folder with --out.")
            strangers = sorted(name for name in os.listdir(self.root) if name not in NOT_STRANGERS)
            if strangers:
                raise NerfError(
                    f"The folder '{self.root}' already holds other files (such as '{strangers[0]}') and is no "
                    "experiment; choose an empty or new folder with --out."
                )
        make_folder(self.root)
        facts = {
            **{key: value for key, value in known.items() if key not in ("format", "version")},
            "title": plan.title,
            "data": told,
            "created": known.get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(self.facts, {"format": FORMAT, "version": VERSION, **facts})
        if plan.file.resolve() != self.plan.resolve():
            write_bytes(self.plan, plan.text.encode("utf-8"))
        return facts

    def note(self, **facts: Any) -> None:
        """Have `experiment.json` say something more."""
        write_json(self.facts, {**self.read(), **facts})

    def rows(self) -> list[dict[str, Any]]:
        """The results, the newest of each cell; a line that a killed process left half written is passed over."""
        try:
            lines = self.results.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise NerfError(f"Cannot read '{self.results}': {error}.") from error
        newest: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                row = parse_json(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("cell"), str):
                newest.pop(row["cell"], None)
                newest[row["cell"]] = row
        return list(newest.values())

    def keep(self, row: dict[str, Any]) -> None:
        """Take a result down, in place of an older one of that cell; the file is written beside and renamed."""
        rows = [other for other in self.rows() if other["cell"] != row["cell"]] + [row]
        lines = "".join(json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in rows)
        write_bytes(self.results, lines.encode("utf-8"))
