"""The report of an experiment: one HTML file with everything in it, that opens from disk without a network."""

import base64
import io
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from ..contract.files import MARK, write_bytes
from . import plot, xray_plot
from .columns import COLUMNS, Column, used
from .folder import ExperimentFolder
from .plan import Plan, Training
from .work import current_rows
from .xray_plan import XrayPlan
from .xray_report import xray_content

SPRITE_SIDE = 320  # of a turntable's picture in the report, at most
WEBP_QUALITY = 88
KINDS = {"WEBP": "image/webp", "PNG": "image/png"}


def write_report(plan: Plan | XrayPlan, folder: ExperimentFolder) -> Path:
    """Draw the plot and write the report from the results that are there; returns its path.

    Raises
    ------
    NerfError
        When there are no results yet, a package is missing, or the disk is full.
    """
    rows = current_rows(plan, folder)
    good = [row for row in rows if "error" not in row]
    if not good:
        raise NerfError(f"There are no results in '{folder.root}' yet; run the experiment first.")
    draw = xray_plot.draw if isinstance(plan, XrayPlan) else plot.draw
    drawn = draw(good, plan.title, folder.plot("svg"))
    if drawn:
        draw(good, plan.title, folder.plot("png"))
    content = _content(plan, folder, rows, good)
    content |= xray_content(plan, folder, good) if isinstance(plan, XrayPlan) else _training_content(plan, folder, good)
    drawing = folder.plot("svg").read_text(encoding="utf-8") if drawn else ""
    content["plot"] = drawing[drawing.index("<svg") :] if drawn else None
    write_bytes(folder.report, _render(content).encode("utf-8"))
    return folder.report


def _render(content: dict[str, Any]) -> str:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise NerfError(
            "The report needs the package 'Jinja2', which this Python does not have; run 'nerf doctor' to see how to "
            "get it."
        ) from error
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("report.html.jinja").render(**content)


def _training_content(plan: Plan, folder: ExperimentFolder, good: list[dict[str, Any]]) -> dict[str, Any]:
    """What only a report of trainings has; what it has not, empty."""
    return {
        "kind": "training",
        "notice": "",
        "split": plan.split,
        "patients": [],
        "pictures": [],
        "features": [],
        "commands": _commands(plan, folder, folder.read(), good),
    }


def _content(
    plan: Plan | XrayPlan, folder: ExperimentFolder, rows: list[dict[str, Any]], good: list[dict[str, Any]]
) -> dict[str, Any]:
    columns = used(good)
    facts = folder.read()
    turns = [_turn(folder, row) for row in good if row.get("turntable")]
    turns = [turn for turn in turns if turn is not None]
    return {
        "mark": MARK,
        "title": plan.title,
        "about": plan.about,
        "written": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        "columns": columns,
        "axes": {name: labels for name, labels in plan.axes.items() if len(labels) > 1},
        "rows": [_row(row, columns, good) for row in rows],
        "missing": [cell.name for cell in plan.cells if cell.name not in {row["cell"] for row in rows}],
        "turns": turns,
        "fps": plan.turntable.fps if plan.turntable else 12.0,
        "plan": plan.text,
        "data": facts["data"],
        "measured_views": good[0]["views"],
        "machine": facts.get("machine") or {},
        "device": ", ".join(sorted({row["device"] for row in good})),
        "about_columns": [column for column in COLUMNS if column in columns],
    }


def _row(row: dict[str, Any], columns: list[Column], good: list[dict[str, Any]]) -> dict[str, Any]:
    if "error" in row:
        return {"cell": row["cell"], "labels": row.get("labels") or {}, "error": row["error"], "numbers": []}
    numbers = []
    # Of radiographs only who was given as many of the same patient is a peer.
    peers = [other for other in good if all(other.get(key) == row.get(key) for key in ("given", "patient"))]
    for column in columns:
        value = column.value(row)
        all_values = [number for other in peers if (number := column.value(other)) is not None]
        best = column.better and len(all_values) > 1 and value is not None
        numbers.append(
            {
                "text": column.text(row),
                "value": value,
                "best": bool(best and value == (max if column.better == "high" else min)(all_values)),
            }
        )
    return {"cell": row["cell"], "labels": row.get("labels") or {}, "error": None, "numbers": numbers}


def _turn(folder: ExperimentFolder, row: dict[str, Any]) -> dict[str, Any] | None:
    """A cell's turn as one picture: frame under frame in a square of rows, as small as a report needs it."""
    from PIL import Image

    name = Path(row["turntable"]).name
    paths = folder.pictures(name, row["frames"])
    side = min(row["size"], SPRITE_SIDE)
    across = int(len(paths) ** 0.5 + 0.999)
    sheet = Image.new("RGB", (across * side, -(-len(paths) // across) * side), "white")
    for index, path in enumerate(paths):
        try:
            with Image.open(path) as opened:
                picture = opened.convert("RGB")
        except OSError:
            return None
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(picture, (index % across * side, index // across * side))
    kind = "WEBP" if max(sheet.size) < 16384 else "PNG"
    stream = io.BytesIO()
    sheet.save(stream, kind, quality=WEBP_QUALITY)
    source = f"data:{KINDS[kind]};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
    return {"cell": row["cell"], "frames": len(paths), "side": side, "across": across, "source": source}


def _commands(
    plan: Plan, folder: ExperimentFolder, facts: dict[str, Any], good: list[dict[str, Any]]
) -> list[dict[str, str]]:
    """What makes each cell alone."""
    commands = []
    for row in good:
        training = Training(**row["training"])
        run = str(folder.root / row["run"])
        words = ["nerf", "evaluate", run, "--split", row["split"]]
        words += ["--views", str(plan.views)] if plan.views else []
        if row["render"]:
            words += ["--sampler", row["render"]["name"]]
            words += ["--samples", str(row["render"]["samples"])] if row["render"].get("samples") else []
        commands.append(
            {
                "cell": row["cell"],
                "train": train_command(training, facts["data"], run, plan.device),
                "evaluate": shlex.join(words),
            }
        )
    return commands


def train_command(training: Training, data: str, run: str, device: str = "auto") -> str:
    """The command line that makes a training's run by itself."""
    import json

    words = ["nerf", "train", data, "--run", run, "--method", training.method]
    words += [
        f"--{name}={value:g}" if name == "seconds" else f"--{name}={value}" for name, value in training.budget.items()
    ]
    words += [f"--seed={training.seed}"] if training.seed else []
    words += [f"--downscale={training.downscale}"] if training.downscale != 1 else []
    words += [f"--device={device}"] if device != "auto" else []
    for key, value in training.settings.items():
        words += ["--setting", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)
