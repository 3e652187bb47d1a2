"""Train a grid of settings one after another, measure all alike, and compare them in a report.

PLAN is a TOML file, the name of a plan that comes along (--list), or the folder of an experiment to go on with.
"""

import argparse
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from .common import DEVICES, add_json, bar_options, say

HELP = "train and compare a grid of settings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf experiment` takes."""
    parser.add_argument("plan", metavar="PLAN", nargs="?", help="a TOML file, a name, or an experiment's folder")
    parser.add_argument("--data", metavar="DATA", help="data set (default: the plan's, or the experiment's own)")
    parser.add_argument("--out", metavar="DIR", help="folder, new or to go on in (default: PLAN-experiment)")
    parser.add_argument("--only", metavar="NAME,...", help="only these cells")
    parser.add_argument("--device", choices=DEVICES, help="where to compute (default: as the plan says, else auto)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--report", action="store_true", help="write the report anew from the results that are there")
    mode.add_argument("--cells", action="store_true", help="say what the plan would train, and train nothing")
    mode.add_argument("--list", action="store_true", help="say which plans come along")
    parser.add_argument(
        "--events",
        action="store_true",
        help="for other programs: a JSON line on stdout for everything that happens; a line 'stop' on stdin, or its "
        "end, saves and stops",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any] | int:
    """Run, go on, or report."""
    from ..experiments.folder import ExperimentFolder
    from ..experiments.plan import read_plan, shipped

    if arguments.list:
        for name in shipped():
            say(arguments, name)
        return {"plans": shipped()}
    if arguments.plan is None:
        raise NerfError("Name a plan: a TOML file, the folder of an experiment, or one that --list shows.")
    given = Path(arguments.plan)
    known = ExperimentFolder(given) if given.is_dir() else None
    if known is not None and arguments.out:
        raise NerfError(f"'{given}' is a folder already; --out is for a plan's file or name.")
    facts = known.read() if known else {}
    plan = read_plan(known.plan if known else arguments.plan)
    folder = known or ExperimentFolder(Path(arguments.out or f"{plan.file.stem}-experiment"))
    plan = replace(plan, device=arguments.device or plan.device)
    only = plan.chosen(arguments.only)
    if arguments.cells:
        return _cells(arguments, plan, only)
    if arguments.report:
        return _report(arguments, plan, folder)
    if not facts and folder.facts.exists():
        facts = folder.read()
    data = arguments.data or facts.get("data") or plan.data
    if data is None:
        raise NerfError(f"'{plan.file}' names no data set; give one with --data.")
    return _run(arguments, plan, folder, str(data), only)


def _cells(arguments: argparse.Namespace, plan: Any, only: set[str] | None) -> dict[str, Any]:
    cells = [cell for cell in plan.cells if only is None or cell.name in only]
    width = max(len(cell.name) for cell in cells)
    for cell in cells:
        say(arguments, f"{cell.name:{width}}  {cell.words()}")
    say(arguments, plan.counted(only))
    told = [{"name": cell.name, "labels": dict(cell.labels), **cell.to_dict()} for cell in cells]
    return {"plan": str(plan.file), "title": plan.title, "cells": told}


def _report(arguments: argparse.Namespace, plan: Any, folder: Any) -> dict[str, Any]:
    from ..experiments.report import write_report

    folder.read()
    path = write_report(plan, folder)
    say(arguments, f"Report: {path}")
    return {"report": str(path)}


def _run(
    arguments: argparse.Namespace, plan: Any, folder: Any, data: str, only: set[str] | None
) -> dict[str, Any] | int:
    from ..experiments.columns import table_lines
    from ..experiments.report import write_report
    from ..experiments.run import run_experiment
    from ..training.interrupt import stop_on_interrupt

    with stop_on_interrupt() as interrupted:
        events = _line_events(interrupted) if arguments.events else _bar_events(arguments, interrupted)
        try:
            outcome = run_experiment(plan, folder, data, events, only)
            good = [row for row in outcome.rows if "error" not in row]
            failed = [row for row in outcome.rows if "error" in row]
            report = write_report(plan, folder) if good else None
        except NerfError as error:
            if arguments.events:
                events.tell(event="error", text=str(error))
            raise
        finally:
            events.close()
    again = f"nerf experiment {folder.root}"
    result = {
        "out": str(folder.root),
        "report": report and str(report),
        "cells": len(plan.cells),
        "done": len(good),
        "failed": len(failed),
        "stopped": outcome.stopped,
        "rows": outcome.rows,
    }
    if arguments.events:
        events.tell(event="done", **{key: value for key, value in result.items() if key != "rows"})
        return 130 if outcome.stopped else 0
    for line in table_lines(outcome.rows) if outcome.rows else []:
        say(arguments, line)
    if report:
        say(arguments, f"Report: {report}")
    if outcome.stopped:
        say(arguments, f"Stopped; everything so far is kept. Go on with: {again}")
    elif failed:
        say(arguments, f"{len(failed)} cells failed; they are tried again with: {again}")
    return {**result, "exit_code": 130 if outcome.stopped else 2 if failed else 0}


def _bar_events(arguments: argparse.Namespace, interrupted: Callable[[], bool]) -> Any:
    """A bar over the whole grid on stderr (made here: its base class is heavy to import)."""
    from tqdm import tqdm

    from ..experiments.columns import COLUMNS, MAIN
    from ..experiments.events import ExperimentEvents, Status

    class Events(ExperimentEvents):
        bar: tqdm | None = None

        def progress(self, status: Status) -> None:
            if self.bar is None:
                layout = "{l_bar}{bar}| {elapsed}{postfix}"
                self.bar = tqdm(total=1.0, desc="experiment", bar_format=layout, **bar_options())
            self.bar.set_postfix_str(
                f"{status.number}/{status.count} {status.text}, {clock(status.seconds_left)} left", refresh=False
            )
            self.bar.update(max(0.0, status.fraction - self.bar.n))

        def row(self, row: dict[str, Any]) -> None:
            if "error" in row:
                text = f"failed: {row['error']}"
            else:
                own = [column for column in COLUMNS if column.key in MAIN and column.value(row) is not None]
                text = ", ".join(f"{column.title} {column.text(row)} {column.unit}".rstrip() for column in own)
            with tqdm.external_write_mode(file=sys.stderr):
                say(arguments, f"{row['cell']}: {text}")

        def should_stop(self) -> bool:
            return interrupted()

        def close(self) -> None:
            if self.bar is not None:
                self.bar.close()

        def tell(self, **values: Any) -> None:
            pass

    return Events()


def _line_events(interrupted: Callable[[], bool]) -> Any:
    """A JSON line for everything, and a stop that comes over stdin: what Blender, which has no console, can do."""
    import time

    from ..experiments.events import ExperimentEvents, Status

    pressed = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                break
        pressed.set()

    class Events(ExperimentEvents):
        last = 0.0

        def tell(self, **values: Any) -> None:
            print(json.dumps(values, ensure_ascii=False, allow_nan=False), flush=True)

        def progress(self, status: Status) -> None:
            if time.monotonic() - self.last >= 0.25:
                self.last = time.monotonic()
                self.tell(event="progress", **vars(status))

        def row(self, row: dict[str, Any]) -> None:
            self.tell(event="row", row=row)

        def log(self, text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        def should_stop(self) -> bool:
            return pressed.is_set() or interrupted()

        def close(self) -> None:
            pass

    threading.Thread(target=listen, daemon=True, name="nerf-experiment-stdin").start()
    return Events()


def clock(seconds: float | None) -> str:
    """Seconds as a person reads them."""
    if seconds is None:
        return "?"
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    return (
        f"{seconds // 60}:{seconds % 60:02d} min"
        if seconds < 3600
        else f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
    )
