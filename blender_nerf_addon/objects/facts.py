"""What a run's files say about it, as a panel shows it; read again only when they have changed."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder

LABELS = {"xray": "X-Ray"}
TAIL = 64 * 1024  # of a log, which is looked through from its end


def run_facts(folder: RunFolder) -> dict[str, Any]:
    """What is known of a run, cheap enough for drawing.

    Returns
    -------
    dict
        `method` as a person calls it, `seconds` and `steps` trained, `psnr` held out, dB; what is unknown is absent.
    """
    facts: dict[str, Any] = {}
    try:
        known = _settings(folder.settings, folder.settings.stat().st_mtime_ns)
    except (NerfError, OSError):
        return facts
    if known.get("method"):
        facts["method"] = LABELS.get(known["method"], str(known["method"]).capitalize())
    spent = known.get("spent")
    for key in ("seconds", "steps"):
        if isinstance(spent, dict) and isinstance(spent.get(key), int | float):
            facts[key] = spent[key]
    try:
        psnr = _last_psnr(folder.metrics, folder.metrics.stat().st_mtime_ns)
    except OSError:
        psnr = None
    if psnr is not None:
        facts["psnr"] = psnr
    return facts


@lru_cache(maxsize=32)
def _settings(path: Path, _changed: int) -> dict[str, Any]:
    return RunFolder(path.parent).read()


@lru_cache(maxsize=32)
def _last_psnr(path: Path, _changed: int) -> float | None:
    with open(path, "rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - TAIL))
        lines = stream.read().splitlines()
    for line in reversed(lines):
        try:
            value = json.loads(line).get("val_psnr")
        except (ValueError, AttributeError):  # cut off at the front, or half written
            continue
        if isinstance(value, int | float):
            return float(value)
    return None
