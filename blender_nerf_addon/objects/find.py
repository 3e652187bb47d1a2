"""Where a NeRF object's run lies: where the object says, or wherever a run of the same id is found."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import bpy

from ..capture import folders
from ..jobs import runs
from ..vendor.nerf_core.contract.errors import CheckpointError, NerfError
from ..vendor.nerf_core.contract.run_folder import RunFolder

MOST_ENTRIES = 1000  # of a folder that holds runs: more are not looked at
SEARCH_SECONDS = 3.0  # for a folder on a slow disk
DRAWING_SECONDS = 0.05  # while a viewport waits
VAIN_SECONDS = 3.0  # after a search that found nothing there is none for so long

# What a run.json said when it was looked at last, by its path and the time of its last change.
_identities: dict[Path, tuple[int, str]] = {}
_found: dict[str, Path] = {}
_vain: dict[tuple[str, str], float] = {}


def run_of(item: bpy.types.Object, drawing: bool = False) -> RunFolder:
    """The run that a NeRF object shows.

    Parameters
    ----------
    item : Object
        Or its evaluated copy.
    drawing : bool
        Whether somebody waits for a picture: then a search is cut short, to be tried again later.

    Returns
    -------
    RunFolder
        With an absolute path and a checkpoint.

    Raises
    ------
    NerfError
        One sentence that names the object, and the folder where the run should be.
    """
    nerf = item.nerf
    stored = stored_place(item)
    if stored is not None and is_run(stored, nerf.run_id):
        return _trained(item, stored)
    known = _found.get(nerf.run_id)
    if known is not None and is_run(known, nerf.run_id):
        return _trained(item, known)
    found = _search(item, DRAWING_SECONDS if drawing else SEARCH_SECONDS, patient=not drawing)
    if found is None:
        raise CheckpointError(_missing(item, stored))
    _found[nerf.run_id] = found
    return _trained(item, found)


def known_run(item: bpy.types.Object) -> RunFolder | None:
    """The run where it is known to lie, without a search: cheap enough for drawing a panel."""
    nerf = item.nerf
    for place in (stored_place(item), _found.get(nerf.run_id)):
        if place is not None and is_run(place, nerf.run_id):
            return RunFolder(place)
    return None


def stored_place(item: bpy.types.Object) -> Path | None:
    """The absolute path that an object holds; relative ones are relative to the file that the object comes from."""
    text = item.nerf.run_folder.strip()
    if not text:
        return None
    library = _library(item.original)
    if text.startswith("//") and library is None and not bpy.data.filepath:
        return None
    return Path(os.path.abspath(os.path.expanduser(bpy.path.abspath(text, library=library))))


def identity(folder: Path) -> str | None:
    """The id of the run in a folder ("" for one that was made before runs had ids); None when there is no run.

    A file that has not changed since is not read again.
    """
    settings = RunFolder(folder).settings
    try:
        changed = settings.stat().st_mtime_ns
        known = _identities.get(settings)
        if known is None or known[0] != changed:
            known = (changed, str(RunFolder(folder).read().get("id") or ""))
            _identities[settings] = known
        return known[1]
    except (NerfError, OSError, ValueError):
        return None


def is_run(folder: Path, run_id: str) -> bool:
    """Whether a folder holds the run of that id; any run will do for an object without one."""
    found = identity(folder)
    return found is not None and (not run_id or found == run_id)


def run_below(parent: Path, run_id: str) -> Path | None:
    """The folder of the run of that id among those in a folder."""
    return next((folder for folder in _subfolders(parent) if run_id and is_run(folder, run_id)), None)


def forget() -> None:
    """Look everywhere again: another file was loaded, or the person says that something changed."""
    _found.clear()
    _vain.clear()


def _library(item: bpy.types.Object) -> bpy.types.Library | None:
    if item.library is not None:
        return item.library
    override = item.override_library
    reference = override.reference if override is not None else None
    # An overridden object shows the library's path until the person chooses another one.
    if reference is not None and reference.nerf.run_folder == item.nerf.run_folder:
        return reference.library
    return None


def _trained(item: bpy.types.Object, place: Path) -> RunFolder:
    folder = RunFolder(place)
    if not folder.checkpoint.is_file():
        raise CheckpointError(f"The run '{place}' of the NeRF '{item.name}' holds nothing trained; train it first.")
    return folder


def _missing(item: bpy.types.Object, stored: Path | None) -> str:
    advice = "choose its folder with Find Run, or remove the object"
    if stored is None:
        return f"The NeRF '{item.name}' does not know where its run is; {advice}."
    if identity(stored) is not None:
        return f"The folder '{stored}' of the NeRF '{item.name}' holds another run, not the one it shows; {advice}."
    return f"The run '{stored}' of the NeRF '{item.name}' is gone; {advice}."


def _search(item: bpy.types.Object, seconds: float, patient: bool) -> Path | None:
    nerf = item.nerf
    if not nerf.run_id:
        return None
    key = (nerf.run_id, nerf.run_folder)
    now = time.monotonic()
    if not patient and now - _vain.get(key, -VAIN_SECONDS) < VAIN_SECONDS:
        return None
    for folder in _candidates(item):
        if is_run(folder, nerf.run_id):
            return folder
        if time.monotonic() - now > seconds:
            break
    _vain[key] = time.monotonic()
    return None


def _candidates(item: bpy.types.Object) -> Iterator[Path]:
    """Folders that may be the run, the likeliest first, none twice."""
    seen = set()
    for place in _likely(item):
        if place not in seen:
            seen.add(place)
            yield place
    for parent in _parents(item):
        for place in _subfolders(parent):
            if place not in seen:
                seen.add(place)
                yield place


def _likely(item: bpy.types.Object) -> Iterator[Path]:
    nerf = item.nerf
    if nerf.last_place:
        yield Path(nerf.last_place)
    if nerf.run_folder.startswith("//"):  # an appended object brought along a path that was right elsewhere
        for library in bpy.data.libraries:
            yield Path(os.path.abspath(bpy.path.abspath(nerf.run_folder, library=library)))
    for scene in bpy.data.scenes:
        with contextlib.suppress(NerfError):
            yield runs.run_folder(scene).root


def _parents(item: bpy.types.Object) -> Iterator[Path]:
    """Folders that may hold the run."""
    if bpy.data.filepath:
        yield Path(bpy.data.filepath).absolute().parent / "nerf"
    for library in bpy.data.libraries:
        yield Path(bpy.path.abspath(library.filepath)).absolute().parent / "nerf"
    stored = stored_place(item)
    if stored is not None:
        yield stored.parent
    for scene in bpy.data.scenes:
        for folder in (scene.nerf.capture.folder, ""):
            with contextlib.suppress(NerfError):
                yield folders.runs_folder(folder)
        with contextlib.suppress(NerfError):
            yield runs.run_folder(scene).root.parent
    if bpy.data.filepath:
        yield Path(bpy.data.filepath).absolute().parent


def _subfolders(parent: Path) -> list[Path]:
    names = []
    try:
        with os.scandir(parent) as entries:
            for count, entry in enumerate(entries):
                if count >= MOST_ENTRIES:
                    break
                if not entry.name.startswith(".") and entry.is_dir():
                    names.append(entry.name)
    except OSError:
        return []
    return [parent / name for name in sorted(names)]


def unregister() -> None:
    """Forget everything."""
    for memory in (_identities, _found, _vain):
        memory.clear()
