"""The demo's stages: announced, timed, and remembered in the output folder, which they mark as ours."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FORMAT = "nerf_toolkit.demo"
MARKER = "demo.json"


class OutputFolder:
    """The demo's output folder: a new or empty one, or one that an earlier run of the demo made.

    Parameters
    ----------
    path : Path
        Made where it is missing.

    Raises
    ------
    SystemExit
        When it holds somebody's files and no `demo.json` of ours: nothing in it is touched.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        marker = self.path / MARKER
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            strangers = sorted(os.listdir(self.path))
            content = json.loads(marker.read_text(encoding="utf-8")) if MARKER in strangers else {}
        except (OSError, ValueError) as error:
            raise SystemExit(
                f"The output folder '{path}' cannot be used: {error}; choose another with --out."
            ) from None
        if strangers and (not isinstance(content, dict) or content.get("format") != FORMAT):
            raise SystemExit(
                f"The folder '{path}' already holds other files (such as '{strangers[0]}') and was not made by this "
                "demo; choose an empty or new folder with --out."
            )
        self.seconds: dict[str, float] = content.get("seconds", {})
        self._written: dict[str, str] = content.get("written", {})
        self._write()

    def remember(self, stage: str, seconds: float) -> None:
        """Keep how long a stage took, for reports of later runs that skip it."""
        self.seconds[stage] = seconds
        self._write()

    def place_for(self, name: str) -> Path:
        """Where to write a file that people change: `name`, or a numbered one when what is there was changed."""
        stem, suffix = Path(name).stem, Path(name).suffix
        number = 1
        while True:
            path = self.path / (name if number == 1 else f"{stem}-{number:03d}{suffix}")
            if not path.exists() or self._written.get(path.name) == _digest(path):
                return path
            number += 1

    def wrote(self, path: Path) -> None:
        """Keep a file's content in mind, so that a later run knows whether somebody has changed it."""
        self._written[path.name] = _digest(path)
        self._write()

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of ours, beside and renamed."""
        target = self.path / name
        beside = self.path / f".{name}.part"
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)
        return target

    def _write(self) -> None:
        content = {"format": FORMAT, "seconds": self.seconds, "written": self._written}
        self.write_text(MARKER, json.dumps(content, indent=1) + "\n")


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Stages:
    """Counts and times the stages.

    Parameters
    ----------
    folder : OutputFolder
    total : int
        How many stages there are.
    """

    def __init__(self, folder: OutputFolder, total: int) -> None:
        self._folder = folder
        self._total = total
        self._began = time.perf_counter()
        self._times: list[tuple[str, float, bool]] = []

    @contextmanager
    def stage(self, title: str) -> Iterator["Stage"]:
        """Announce a stage and time it."""
        print(f"[{len(self._times) + 1}/{self._total}] {title}", flush=True)
        began = time.perf_counter()
        stage = Stage()
        yield stage
        seconds = time.perf_counter() - began
        self._times.append((title, seconds, stage.skipped))
        if not stage.skipped:
            self._folder.remember(title, seconds)
        if stage.outcome:
            print(f"      {stage.outcome}", flush=True)

    @property
    def seconds(self) -> float:
        """Since the first stage was due."""
        return time.perf_counter() - self._began

    def rows(self) -> list[dict[str, Any]]:
        """Title, seconds (of the run that did the work) and whether it was done before, per stage so far."""
        return [
            {"title": title, "seconds": self._folder.seconds.get(title, seconds), "before": skipped}
            for title, seconds, skipped in self._times
        ]


class Stage:
    """One stage: may say what came out, and that nothing was left to do."""

    def __init__(self) -> None:
        self.outcome = ""
        self.skipped = False
