"""Which Python the core runs in: the preferences' one, `NERF_CORE_PYTHON`, or the managed environment."""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import bpy

from .calls import CoreError
from .runs import ROOT_PACKAGE, preferences
from .setup import requirements

VENDOR = Path(__file__).resolve().parents[1] / "vendor"
VARIABLE = "NERF_CORE_PYTHON"


@dataclass(frozen=True)
class Interpreter:
    """A Python for the core, and who named it."""

    path: Path
    source: str  # "preferences", "environment" or "managed"


def user_folder(name: str, create: bool = False) -> Path:
    """A folder of ours in the extension's own place in the person's Blender files."""
    return Path(bpy.utils.extension_path_user(ROOT_PACKAGE, path=name, create=create))


def managed_folder() -> Path:
    """The managed environment's folder; it need not exist."""
    return user_folder("core") / "environment"


def managed_python() -> Path:
    """The managed environment's Python; it need not exist."""
    return managed_folder() / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def setup_state_file() -> Path:
    """Says how far the set-up came: `{"state": "running" | "ready", "fingerprint": ...}`."""
    return user_folder("core") / "setup.json"


def fingerprint() -> str:
    """Of the packages, and their versions, that the managed environment is made with."""
    wanted = "\n".join(requirements(VENDOR)).encode()
    return hashlib.sha256((VENDOR / "constraints.txt").read_bytes() + wanted).hexdigest()


def managed_state() -> str:
    """'absent', 'interrupted', 'outdated' or 'ready'."""
    if not managed_python().exists():
        return "interrupted" if setup_state_file().exists() else "absent"
    try:
        state = json.loads(setup_state_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "interrupted"
    if not isinstance(state, dict) or state.get("state") != "ready":
        return "interrupted"
    return "ready" if state.get("fingerprint") == fingerprint() else "outdated"


def find_interpreter() -> Interpreter:
    """The Python to run the core with.

    Raises
    ------
    CoreError
        When none is set up, or the named one does not exist; the sentence says what to do.
    """
    own = preferences().interpreter.strip()
    if own:
        path = Path(os.path.normpath(os.path.expanduser(bpy.path.abspath(own))))
        if not path.is_file():
            raise CoreError(
                f"The Python '{path}' named in the preferences does not exist; correct it or clear the field."
            )
        return Interpreter(path, "preferences")
    named = os.path.expanduser(os.environ.get(VARIABLE, "").strip())
    if named:
        if not Path(named).is_file():
            raise CoreError(f"The Python '{named}' named by {VARIABLE} does not exist; correct that variable.")
        return Interpreter(Path(named), "environment")
    state = managed_state()
    if state == "ready":
        return Interpreter(managed_python(), "managed")
    sentences = {
        "absent": "The NeRF core is not set up yet; press Set Up Core.",
        "interrupted": "Setting up the NeRF core was interrupted; press Set Up Core again.",
        "outdated": "The NeRF core belongs to another version of this add-on; press Set Up Core again.",
    }
    raise CoreError(sentences[state])
