"""Keep paths of NeRF objects and scenes right when the .blend is saved: for the first time, elsewhere, as a copy."""

import os
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from . import find

# What was held before a save, to be put back when the open file stays where it was: of a copy, or when it failed.
_before: list[tuple[bpy.types.PropertyGroup, str, str]] = []
# Of a scene. A folder that captures are to go to means one beside the .blend, wherever that is.
_OURS = (
    ("nerf", "run_folder"),
    ("nerf.capture", "last_run"),
    ("nerf.video", "last"),
    ("nerf.experiment", "results"),
    ("nerf_xray", "prior"),
)
_CHOSEN = (
    ("nerf.training", "data"),
    ("nerf.experiment", "data"),
    ("nerf.experiment", "file"),
    ("nerf_xray.new_prior", "cts"),
)


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
        if item.library is not None or item.override_library is not None:
            continue
        if item.nerf_xray.kind == "CT":
            _keep(item.nerf_xray, "source", blend, ours=True)
        if not item.nerf.is_nerf:
            continue
        known = find.known_run(item)
        place = known.root if known is not None else find.stored_place(item)
        if place is None:
            continue
        _change(item.nerf, "run_folder", path_beside(place, blend))
        if known is not None:
            _change(item.nerf, "last_place", str(place))
    for scene in bpy.data.scenes:
        if scene.library is None:
            _keep_scene(scene, blend)


def _keep_scene(scene: bpy.types.Scene, blend: Path) -> None:
    for owner, name in (*_OURS, *_CHOSEN):
        _keep(scene.path_resolve(owner), name, blend, (owner, name) in _OURS)


def _keep(group: bpy.types.PropertyGroup, name: str, blend: Path, ours: bool) -> None:
    text = getattr(group, name).strip()
    # What we made while the file had no place becomes relative; what a person typed in full stays so.
    follows = bool(bpy.data.filepath) if text.startswith("//") else ours and not bpy.data.filepath
    place = Path(os.path.abspath(bpy.path.abspath(text))) if text and follows else None
    if place is not None and place.exists():
        _change(group, name, path_beside(place, blend))


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
    for group, name, value in _before:
        setattr(group, name, value)
    _before.clear()


def _change(group: bpy.types.PropertyGroup, name: str, value: str) -> None:
    # Not when it is the same: setting a property has Blender evaluate the object again.
    before = getattr(group, name)
    if before != value:
        _before.append((group, name, before))
        setattr(group, name, value)


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
