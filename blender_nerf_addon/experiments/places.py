"""Which plan, data set and folder an experiment of a scene has."""

import os
import tomllib
from pathlib import Path
from typing import Any

import bpy

from ..capture.folders import run_name
from ..jobs import runs, training
from ..jobs.environment import user_folder
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder, write_bytes
from ..vendor.nerf_core.contract.xray_words import PHANTOM
from . import state

# What the list shows, and with how many digits: it must have room for all beside its scroll bar.
COLUMNS = (("psnr", "psnr", 1), ("ssim", "ssim", 2), ("s_hit", "s_hit", 1), ("frame", "frame_ms", 0))
# Of radiographs, in the same places.
XRAY_COLUMNS = (
    ("psnr", "volume_psnr", 1),
    ("ssim", "volume_ssim", 2),
    ("s_hit", "radiograph_psnr", 1),
    ("frame", "radiograph_ssim", 2),
)
XRAY_PLANS = ("xray-small", "xray")


def whole(text: str) -> Path | None:
    """A path of a .blend, absolute; None where it is empty."""
    text = text.strip()
    if text.startswith("//") and not bpy.data.filepath:
        raise NerfError(
            f"'{text}' is relative to the .blend file, which is not saved yet; save it, or choose a whole path."
        )
    return Path(os.path.abspath(os.path.expanduser(bpy.path.abspath(text)))) if text else None


def plan_name(scene: bpy.types.Scene) -> str:
    """The chosen plan's name, for folders."""
    settings = scene.nerf.experiment
    if settings.plan == "FILE":
        return Path(settings.file.replace("\\", "/")).stem or "experiment"
    if settings.plan == "TEXT":
        return Path(settings.text.name).stem if settings.text else "experiment"
    return settings.plan


def plan_file(scene: bpy.types.Scene) -> Path:
    """The chosen plan as a file: a text of the .blend is written out for it.

    Raises
    ------
    NerfError
        When none is chosen, or it is not there.
    """
    settings = scene.nerf.experiment
    if settings.plan == "FILE":
        path = whole(settings.file)
        if path is None:
            raise NerfError("Choose a TOML file for the grid, or another grid.")
        if not path.is_file():
            raise NerfError(f"The grid's file '{path}' does not exist; choose another one.")
        return path
    if settings.plan == "TEXT":
        if settings.text is None:
            raise NerfError("Choose a text that holds the grid, or press Edit Grid to get one.")
        folder = make_folder(user_folder("experiments", create=True))
        path = folder / f"{bpy.path.clean_name(plan_name(scene))}.toml"
        write_bytes(path, settings.text.as_string().encode("utf-8"))
        return path
    return state.SHIPPED / f"{settings.plan}.toml"


def is_xray(scene: bpy.types.Scene) -> bool:
    """Whether the chosen plan is of radiographs: its data set is a patient, and it may name its own.

    Raises
    ------
    NerfError
        As :func:`plan_file`.
    """
    if scene.nerf.experiment.plan in XRAY_PLANS:
        return True
    try:
        content = tomllib.loads(plan_file(scene).read_text(encoding="utf-8"))
        head = content.get("experiment")
    except (OSError, ValueError, RecursionError):
        return False  # the core says what is wrong with it
    return isinstance(head, dict) and head.get("kind") == "xray"


def out_folder(scene: bpy.types.Scene) -> Path:
    """Where the experiment goes: the chosen folder, else one beside the run's.

    Raises
    ------
    NerfError
        When it is relative to a .blend file that was never saved.
    """
    chosen = whole(scene.nerf.experiment.folder)
    if chosen is not None:
        return chosen
    root = runs.run_folder(scene).root
    return root.with_name(f"{root.name or run_name('', scene)}-{bpy.path.clean_name(plan_name(scene))}")


def data_set(scene: bpy.types.Scene) -> Path | str | None:
    """What to train on: the chosen data set, the training's, the captured views, or that of the scene's run.

    Of radiographs: the chosen CT or phantom; None leaves it to the plan.

    Raises
    ------
    NerfError
        When there is none.
    """
    if is_xray(scene):
        told = scene.nerf.experiment.data.strip()
        path = None if told.startswith(PHANTOM) else whole(told)
        if path is not None and not path.exists():
            raise NerfError(f"There is no CT '{path}'; choose another one, or write phantom:chest:3.")
        return path or told or None
    for chosen in (scene.nerf.experiment.data, scene.nerf.training.data):
        path = whole(chosen)
        if path is not None:
            if not path.exists():
                raise NerfError(f"The data set '{path}' does not exist; choose another one.")
            return path
    folder = runs.run_folder(scene)
    if (folder.dataset / "transforms.json").is_file():
        return folder.dataset
    known = folder.read() if folder.settings.exists() else {}
    found = training.trained_data(folder, known)
    if found is None:
        raise NerfError("There is nothing to train on: capture views first, or choose a data set.")
    return found


def results_folder(scene: bpy.types.Scene) -> Path:
    """The experiment that the scene's list of results is of.

    Raises
    ------
    NerfError
        When it is of none.
    """
    folder = whole(scene.nerf.experiment.results)
    if folder is None:
        raise NerfError("There are no results yet: run an experiment first.")
    return folder


def short(value: float, digits: int) -> str:
    """A number as a narrow column can hold it: 21.25, 192, 10k."""
    if value >= 9999.5:
        return f"{value / 1000:.0f}k"
    return f"{value:.{digits if value < 99.95 else 0}f}"


def texts(row: dict[str, Any], xray: bool) -> dict[str, str]:
    """What the list's columns show of a result; empty where it has no number."""
    metrics = row.get("metrics") if isinstance(row.get("metrics"), dict) else {}
    values = [(name, metrics.get(key), digits) for name, key, digits in (XRAY_COLUMNS if xray else COLUMNS)]
    return {name: short(value, digits) if isinstance(value, int | float) else "" for name, value, digits in values}


def row_words(row: Any, xray: bool) -> str:
    """A row of the list of results in words: its whole name, and what its numbers are."""
    if xray:
        groups = {"volume: ": _quality(row.psnr, row.ssim), "radiographs: ": _quality(row.s_hit, row.frame)}
    else:
        cost = [f"{row.s_hit} samples a hit ray"] * bool(row.s_hit) + [f"{row.frame} ms a frame"] * bool(row.frame)
        groups = {"": _quality(row.psnr, row.ssim) + cost}
    told = "; ".join(f"{of}{', '.join(numbers)}" for of, numbers in groups.items() if numbers)
    return f"{row.name}. {told or 'No numbers'}"


def _quality(psnr: str, ssim: str) -> list[str]:
    return [f"PSNR {psnr} dB"] * bool(psnr) + [f"SSIM {ssim}"] * bool(ssim)


def is_of_radiographs(rows: list[dict[str, Any]]) -> bool:
    """Whether results are of an X-ray experiment."""
    return any("patient" in row for row in rows)


def fill_rows(scene: bpy.types.Scene, out: Path, rows: list[dict[str, Any]]) -> None:
    """Have the scene's list show the results of a folder, the chosen one still chosen; two are chosen to compare."""
    settings = scene.nerf.experiment
    settings.results = runs.stored_path(out)
    chosen = settings.rows[settings.active].name if 0 <= settings.active < len(settings.rows) else ""
    settings.rows.clear()
    settings.xray = is_of_radiographs(rows)
    for row in rows:
        item = settings.rows.add()
        item.name = row["cell"]
        item.error = str(row.get("error") or "")
        for name, text in texts(row, settings.xray).items():
            setattr(item, name, text)
        item.folder = str(row.get("turntable") or "")
        item.frames = int(row.get("frames") or 0)
    names = [item.name for item in settings.rows]
    if chosen in names:
        settings.active = names.index(chosen)
    turned = [item.name for item in settings.rows if item.folder]
    if turned and settings.a not in names:
        settings.a = turned[0]
    if turned and settings.b not in names or (settings.b == settings.a and turned[-1:] != [settings.a]):
        settings.b = turned[-1] if turned else ""
