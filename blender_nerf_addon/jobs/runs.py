"""Which run folder a scene works with: the chosen one, else one beside the .blend or in the default folder."""

import os
import re
from pathlib import Path

import bpy

from ..vendor.nerf_core.contract.errors import CheckpointError, NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder

ROOT_PACKAGE = __package__.rpartition(".")[0]
# Names that Windows keeps for devices.
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}


def run_folder(scene: bpy.types.Scene) -> RunFolder:
    """The scene's run folder, with an absolute path; it need not exist.

    Raises
    ------
    NerfError
        When the path is relative to a .blend that was never saved.
    """
    chosen = scene.nerf.run_folder.strip()
    if not chosen:
        return RunFolder(default_run_root(scene))
    if chosen.startswith("//") and not bpy.data.filepath:
        raise NerfError(
            f"The run folder '{chosen}' is relative to the .blend file, which is not saved yet; save it, or choose "
            "another folder."
        )
    return RunFolder(Path(os.path.abspath(bpy.path.abspath(chosen))))


def default_run_root(scene: bpy.types.Scene) -> Path:
    """Where a run goes when none is chosen: the preferences' folder, else beside the .blend, else the home folder."""
    blend = Path(bpy.data.filepath) if bpy.data.filepath else None
    name = blend.stem if blend is not None else scene.name
    if blend is not None and len(bpy.data.scenes) > 1:
        name = f"{name}-{scene.name}"
    preferred = preferences().default_folder.strip()
    if preferred and not (preferred.startswith("//") and blend is None):
        return Path(os.path.abspath(bpy.path.abspath(preferred))) / _file_name(name)
    if blend is not None:
        return blend.parent / "nerf" / _file_name(name)
    return Path.home() / "NeRF Toolkit" / _file_name(name)


def trained_run(scene: bpy.types.Scene) -> RunFolder:
    """The scene's run folder, which has a checkpoint.

    Raises
    ------
    NerfError
        When there is no run, or nothing was trained in it yet.
    """
    folder = run_folder(scene)
    folder.read()
    if not folder.checkpoint.is_file():
        raise CheckpointError(f"Nothing is trained in '{folder.root}' yet; press Train first.")
    return folder


def set_run_folder(scene: bpy.types.Scene, root: str | Path) -> None:
    """Remember the folder on the scene, relative to the .blend where that is possible."""
    scene.nerf.run_folder = stored_path(root)


def stored_path(path: str | Path) -> str:
    """A path as a .blend should hold it: relative to it when it is saved and on the same drive."""
    path = os.path.abspath(path)
    if not bpy.data.filepath:
        return path
    try:
        return bpy.path.relpath(path)
    except ValueError:  # another drive on Windows
        return path


def color_space(folder: RunFolder) -> str:
    """'srgb' or 'linear': what the run's pictures hold."""
    try:
        return str(folder.read().get("color_space") or "srgb")
    except NerfError:
        return "srgb"


def has_result(scene: bpy.types.Scene) -> bool:
    """Whether the scene's run has a checkpoint; cheap enough for drawing."""
    try:
        return run_folder(scene).checkpoint.is_file()
    except (NerfError, OSError):
        return False


def has_views(scene: bpy.types.Scene) -> bool:
    """Whether there is something to train on: captured views, a data set elsewhere, or a run to continue."""
    if scene.nerf.training.data.strip():
        return True
    try:
        folder = run_folder(scene)
        return (folder.dataset / "transforms.json").is_file() or folder.checkpoint.is_file()
    except (NerfError, OSError):
        return False


def preferences() -> bpy.types.AddonPreferences:
    """The add-on's preferences."""
    return bpy.context.preferences.addons[ROOT_PACKAGE].preferences


def _file_name(text: str) -> str:
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", text).strip().strip(".")[:100].rstrip(" .")
    if not name or name.split(".")[0].upper() in _RESERVED:
        name = f"run_{name}".rstrip("_")
    return name
