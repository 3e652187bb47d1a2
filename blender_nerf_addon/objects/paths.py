"""Keep the paths of NeRF objects right when the .blend is saved: for the first time, elsewhere, as a copy."""

import os
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from . import find

# What objects held before a save, to be put back when the open file stays where it was: of a copy, or when it failed.
_before: list[tuple[bpy.types.Object, str, str]] = []


def path_beside(place: Path, blend: Path) -> str:
    """A path as a .blend at `blend` should hold it: relative where that is possible."""
    try:
        return bpy.path.relpath(str(place), start=str(blend.parent))
    except ValueError:  # another drive on Windows
        return str(place)


@persistent
def _save_pre(filepath: str, *_: object) -> None:
    _before.clear()
    if not filepath:  # the startup file
        return
    blend = Path(os.path.abspath(filepath))
    for item in bpy.data.objects:
        if not item.nerf.is_nerf or item.library is not None or item.override_library is not None:
            continue
        known = find.known_run(item)
        place = known.root if known is not None else find.stored_place(item)
        if place is None:
            continue
        nerf = item.nerf
        _before.append((item, nerf.run_folder, nerf.last_place))
        _set(item, path_beside(place, blend), str(place) if known is not None else nerf.last_place)


@persistent
def _save_post(filepath: str, *_: object) -> None:
    if bpy.data.filepath and os.path.abspath(filepath) == os.path.abspath(bpy.data.filepath):
        _before.clear()
    else:
        _put_back()


@persistent
def _save_failed(*_: object) -> None:
    _put_back()


def _put_back() -> None:
    for item, folder, place in _before:
        _set(item, folder, place)
    _before.clear()


def _set(item: bpy.types.Object, folder: str, place: str) -> None:
    # Not when it is the same: setting a property has Blender evaluate the object again.
    if item.nerf.run_folder != folder:
        item.nerf.run_folder = folder
    if item.nerf.last_place != place:
        item.nerf.last_place = place


@persistent
def _load_post(*_: object) -> None:
    find.forget()


_HANDLERS = (
    ("save_pre", _save_pre),
    ("save_post", _save_post),
    ("save_post_fail", _save_failed),
    ("load_post", _load_post),
)


def register() -> None:
    """Listen for files being saved and loaded."""
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Listen no longer."""
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(handler)
    _before.clear()
