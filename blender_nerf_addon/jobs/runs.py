"""Which run folder a scene works with: the chosen one, else one beside the .blend or in the default folder."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy

from ..vendor.nerf_core.contract.errors import CheckpointError, NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder

ROOT_PACKAGE = __package__.rpartition(".")[0]


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
    return RunFolder(Path(os.path.abspath(os.path.expanduser(bpy.path.abspath(chosen)))))


def default_run_root(scene: bpy.types.Scene) -> Path:
    """Where a run goes when none is chosen: where a capture would go."""
    from ..capture import folders  # which itself needs this module

    settings = scene.nerf.capture
    return folders.runs_folder(settings.folder) / folders.run_name(settings.name, scene)


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


def scene_again(uid: int) -> bpy.types.Scene:
    """The scene of a `session_uid`: an undo meanwhile makes references to it invalid.

    Raises
    ------
    NerfError
        When it was deleted.
    """
    for scene in bpy.data.scenes:
        if scene.session_uid == uid:
            return scene
    raise NerfError("The scene that this was made for is gone.")


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


def is_unfinished(scene: bpy.types.Scene) -> bool:
    """Whether the run's training was stopped before its budget was spent; cheap enough for drawing."""
    try:
        folder = run_folder(scene)
        return _is_unfinished(str(folder.root), folder.settings.stat().st_mtime_ns)
    except (NerfError, OSError):
        return False


@lru_cache(maxsize=8)
def _is_unfinished(root: str, _changed: int) -> bool:
    return unfinished(RunFolder(Path(root)).read())


def unfinished(known: dict[str, Any]) -> bool:
    """Whether a `run.json` with this content has budget left."""
    budget, spent = known.get("budget") or {}, known.get("spent") or {}
    # The core takes what is within a hundredth of a second of its end as ended.
    return any(spent.get(kind, 0) < amount - 0.01 for kind, amount in budget.items())


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
