"""Which folder a capture goes to: a new one, or the one where it stopped; never somebody else's."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..jobs import runs
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder, claim_run_folder

STATE_NAME = "capture.json"
STATE_FORMAT = "nerf_toolkit.capture"
STATE_VERSION = 1
MAX_TRIES = 998
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}


@dataclass(frozen=True)
class ChosenRun:
    """A run folder, whether it is gone on with, and a sentence for the person."""

    folder: RunFolder
    resumes: bool
    statement: str


def runs_folder(folder: str = "") -> Path:
    """The folder that holds the runs.

    Parameters
    ----------
    folder : str
        What the person set; may start with ``//``. Empty: the preferences' folder, else 'nerf' beside the .blend file,
        else one in the home folder (not in the extension's own, which goes when the extension is removed).

    Raises
    ------
    NerfError
        When it is relative to a .blend file that is not saved.
    """
    folder = folder.strip() or runs.preferences().default_folder.strip()
    if folder.startswith("//") and not bpy.data.filepath:
        raise NerfError(
            f"The folder '{folder}' lies beside the .blend file, which is not saved yet: save it first, or choose "
            "another folder."
        )
    if folder:
        return Path(os.path.abspath(os.path.expanduser(bpy.path.abspath(folder))))
    if bpy.data.filepath:
        return Path(bpy.data.filepath).absolute().parent / "nerf"
    return Path.home() / "NeRF Toolkit"


def run_name(name: str, scene: bpy.types.Scene) -> str:
    """The run's folder name: what was set, else the .blend file's name, else the scene's; safe on every system."""
    blend = Path(bpy.data.filepath).stem if bpy.data.filepath else scene.name
    name = name.strip() or (f"{blend} {scene.name}" if bpy.data.filepath and len(bpy.data.scenes) > 1 else blend)
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(" .")[:100].strip(" .")
    return f"run_{name}" if not name or name.split(".")[0].upper() in _RESERVED else name


def choose_run(wanted: Path, fingerprint: dict[str, Any]) -> ChosenRun:
    """Take the wanted folder, or NAME-002, NAME-003 ... beside it: the first that is free or waits to be gone on with.

    Parameters
    ----------
    wanted : path
        The folder to begin with; it need not exist.
    fingerprint : dict
        :meth:`CapturePlan.fingerprint`; a capture that stopped with the same one is resumed.

    Returns
    -------
    ChosenRun
        Its folder is claimed (it exists and has our `run.json`).

    Raises
    ------
    NerfError
        When the folder cannot be made or written.
    """
    passed = ""
    for root in _candidates(wanted):
        state = read_state(root)
        if state is None:
            if _is_free(root):
                run = claim_run_folder(root)
                return ChosenRun(run, False, f"{passed}Capturing into the new folder '{root}'." if passed else "")
            passed = passed or f"'{root}' holds other files and stays untouched. "
            continue
        difference = _difference(state.get("plan"), fingerprint)
        if not difference and not state.get("complete"):
            return ChosenRun(claim_run_folder(root), True, f"Going on with the capture in '{root}'.")
        if difference:
            passed = f"'{root}' was captured with other settings ({difference}) and is kept. "
        else:
            passed = f"'{root}' holds this capture, finished, and is kept. "
    raise NerfError(f"'{wanted}' and {MAX_TRIES} numbered folders beside it are taken; choose another run folder.")


def free_run(wanted: Path) -> Path:
    """`wanted`, or the first NAME-002, NAME-003 ... beside it that holds nothing yet.

    Raises
    ------
    NerfError
        When a folder cannot be read, or none is free.
    """
    for root in _candidates(wanted):
        if _is_free(root):
            return root
    raise NerfError(f"'{wanted}' and {MAX_TRIES} numbered folders beside it are taken; choose another run folder.")


def _candidates(wanted: Path) -> Iterator[Path]:
    yield wanted
    # A numbered folder is one of a row: NAME-002 is followed by NAME-003, not by NAME-002-002.
    numbered = re.fullmatch(r"(.+)-\d{3,4}", wanted.name)
    first = wanted.with_name(numbered.group(1)) if numbered else wanted
    if first != wanted and first.exists():
        yield first
    for number in range(2, MAX_TRIES + 2):
        root = first.with_name(f"{first.name}-{number:03d}")
        if root != wanted:
            yield root


def read_state(root: Path) -> dict[str, Any] | None:
    """What `dataset/capture.json` of a run of ours says; None when there is none that can be read."""
    try:
        RunFolder(root).read()
        state = json.loads((RunFolder(root).dataset / STATE_NAME).read_text(encoding="utf-8"))
    except (NerfError, OSError, ValueError):
        return None
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT or state.get("version") != STATE_VERSION:
        return None
    return state


def _is_free(root: Path) -> bool:
    """Whether a capture may start in `root`: nothing there, or an unused run folder of ours."""
    try:
        names = set(os.listdir(root))
    except FileNotFoundError:
        return True
    except OSError as error:
        if root.is_file():
            return False
        raise NerfError(
            f"Cannot read the folder '{root}': {error.strerror or error}. Choose another folder."
        ) from error
    if not names - {"core.log"}:
        return True
    if names - {"core.log", "run.json", "dataset"}:
        return False
    try:
        claimed = RunFolder(root).read()
    except NerfError:
        return False
    dataset = root / "dataset"
    return "data" not in claimed and (not dataset.exists() or not os.listdir(dataset))


def _difference(plan: Any, fingerprint: dict[str, Any]) -> str:
    """What differs between a stored plan and this one, in words; empty when nothing does."""
    wanted = json.loads(json.dumps(fingerprint))
    if not isinstance(plan, dict):
        return "unknown ones"
    words = {"views": "cameras", "only": "objects", "object_index": "object indices"}
    keys = [*wanted, *(key for key in plan if key not in wanted)]
    return ", ".join(words.get(key, key) for key in keys if plan.get(key) != wanted.get(key))
