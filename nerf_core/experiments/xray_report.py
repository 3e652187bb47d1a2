"""What the report of an X-ray experiment has besides: pictures, whose numbers they are, and what they are not for."""

import base64
import io
import shlex
from pathlib import Path
from typing import Any

from ..contract.xray import NOT_FOR_DIAGNOSIS
from ..contract.xray_words import PHANTOM
from .folder import ExperimentFolder
from .xray_data import scan_folder, short_name, source_of
from .xray_plan import XrayCell, XrayPlan

WEBP_QUALITY = 90


def xray_content(plan: XrayPlan, folder: ExperimentFolder, good: list[dict[str, Any]]) -> dict[str, Any]:
    """The template's words that are of this kind of experiment."""
    data = str(folder.read()["data"])
    return {
        "kind": "xray",
        "notice": NOT_FOR_DIAGNOSIS,
        "split": "test",
        "patients": [_patient(name) for name in dict.fromkeys(row["patient"] for row in good)],
        "pictures": [picture for row in good for picture in _pictures(folder, row)],
        "features": [
            f"{what}: {label}."
            for what, key in (("LPIPS-like", "features"), ("FID and KID", "fid_features"))
            for label in sorted({row[key] for row in good if row.get(key)})
        ],
        "commands": [
            {"cell": cell.name, "train": _command(plan, cell, folder, data), "evaluate": ""}
            for cell in plan.cells
            if cell.name in {row["cell"] for row in good}
        ],
    }


def _patient(name: str) -> str:
    if not name.startswith(PHANTOM):
        return f"{name} (a CT; one patient is no population)"
    kind, _, seed = name.removeprefix(PHANTOM).partition(":")
    return f"{name} (a synthetic {kind} of ellipsoids, seed {seed or 0}; no patient)"


def _pictures(folder: ExperimentFolder, row: dict[str, Any]) -> list[dict[str, str]]:
    from PIL import Image

    found = []
    for kind, path in (row.get("pictures") or {}).items():
        stream = io.BytesIO()
        try:
            with Image.open(Path(folder.root, path)) as opened:
                opened.convert("RGB").save(stream, "WEBP", quality=WEBP_QUALITY)
        except OSError:
            continue
        source = f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
        found.append({"cell": row["cell"], "kind": kind, "source": source})
    return found


def _command(plan: XrayPlan, cell: XrayCell, folder: ExperimentFolder, data: str) -> str:
    """What makes a cell by itself."""
    path = str(scan_folder(folder.root, cell.scan, data, plan.held_out))
    patient = short_name(source_of(cell.scan, data))
    run = str(folder.run(cell.folder))
    if cell.system == "field":
        words = ["nerf", "train", path, "--run", run, "--method", "xray"]
        words += [f"--seconds={cell.seconds:g}"] if cell.seconds is not None else [f"--steps={cell.steps}"]
        words += [f"--seed={cell.seed}"] if cell.seed else []
        for key, value in cell.settings.items():
            words += ["--setting", f"{key}={value}"]
        return shlex.join(words) + "\n" + shlex.join(["nerf", "evaluate", run, "--split", "test"])
    again = shlex.join(["nerf", "experiment", str(folder.root), "--only", cell.folder])
    return f"# {cell.words()}, of {patient}\n{again}"
