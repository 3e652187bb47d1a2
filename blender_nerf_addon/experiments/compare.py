"""Two turntables: image sequences in step with the scene's frame, and one image to flip and wipe between them in.

The comparison is an image of its own, put together from the two pictures of the frame: what is on the screen are the
very bytes of both, whatever the display's colour management does. And it stays the same image when it is flipped: from
5.2 on an Image Editor forgets zoom and place with every other one that it is given.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..vendor.nerf_core.contract.errors import NerfError
from . import places

KEY = "nerf_turntable"
NAMES = {"A": "NeRF A", "B": "NeRF B", "BOTH": "NeRF Compare"}


def find(which: str) -> bpy.types.Image | None:
    """The image of 'A', 'B' or 'BOTH', whatever its name is by now."""
    return next((image for image in bpy.data.images if image.get(KEY) == which), None)


def which(image: bpy.types.Image | None) -> str:
    """'A', 'B' or 'BOTH'; empty for other images."""
    return str(image.get(KEY, "")) if image is not None else ""


def row_of(scene: bpy.types.Scene, name: str) -> Any:
    """The result of a cell that has a turntable; None without."""
    item = scene.nerf.experiment.rows.get(name) if name else None
    return item if item is not None and item.folder and item.frames else None


def pictures(scene: bpy.types.Scene, name: str) -> list[Path]:
    """The files of a cell's turntable.

    Raises
    ------
    NerfError
        When it has none, or they are gone.
    """
    item = row_of(scene, name)
    if item is None:
        raise NerfError(f"The cell '{name}' has no turntable; choose another one in the list of results.")
    folder = places.results_folder(scene) / item.folder
    paths = [folder / f"{index + 1:04d}.png" for index in range(item.frames)]
    if not paths[0].is_file():
        raise NerfError(f"The turntable '{folder}' is gone; run the experiment again.")
    return paths


def load(scene: bpy.types.Scene) -> None:
    """Have "NeRF A" and "NeRF B" be the sequences of the two chosen cells, and "NeRF Compare" their comparison.

    Raises
    ------
    NerfError
        When a cell is not chosen, or has no turntable.
    """
    settings = scene.nerf.experiment
    for side, name in (("A", settings.a), ("B", settings.b)):
        if not name:
            raise NerfError(f"Choose the cell {side} in the list of results first.")
        _sequence(side, pictures(scene, name)[0])
    settings.loaded = True
    _read.cache_clear()
    _compose(scene)


def _sequence(side: str, first: Path) -> bpy.types.Image:
    image = find(side)
    if image is None:
        image = bpy.data.images.load(str(first))
        image[KEY] = side
        image.name = NAMES[side]
    elif image.filepath != str(first):
        image.filepath = str(first)
    image.source = "SEQUENCE"
    image.reload()
    return image


def refresh(scene: bpy.types.Scene) -> None:
    """Have the images follow the settings, once they are loaded."""
    settings = scene.nerf.experiment
    if not settings.loaded or row_of(scene, settings.a) is None or row_of(scene, settings.b) is None:
        return
    for side, name in (("A", settings.a), ("B", settings.b)):
        image = find(side)
        first = pictures(scene, name)[0]
        if image is None or image.filepath != str(first):
            _sequence(side, first)
    for area in editors():
        follow(scene, area.spaces.active)
    _compose(scene)


def frame_of(scene: bpy.types.Scene, frames: int) -> int:
    """The number from 0 of a turn's picture that the scene's frame shows; turns repeat."""
    return (scene.frame_current - 1) % max(frames, 1)


def _compose(scene: bpy.types.Scene) -> None:
    """Put the comparison together for the scene's frame."""
    settings = scene.nerf.experiment
    sides = []
    for name in (settings.a, settings.b):
        paths = pictures(scene, name)
        path = paths[frame_of(scene, len(paths))]
        sides.append(_read(str(path), path.stat().st_mtime_ns))
    left, right = sides
    if left.shape != right.shape:
        raise NerfError(f"The turntables of '{settings.a}' and '{settings.b}' are of different sizes.")
    height, width = left.shape[:2]
    line = round({"A": 1.0, "B": 0.0}.get(settings.shown, settings.split) * width)
    whole = np.concatenate([left[:, :line], right[:, line:]], axis=1).astype(np.float32) / np.float32(255.0)
    image = find("BOTH")
    if image is None:
        image = bpy.data.images.new(NAMES["BOTH"], width, height, alpha=True)
        image[KEY] = "BOTH"
    elif tuple(image.size) != (width, height):
        image.scale(width, height)
    image.pixels.foreach_set(whole.ravel())
    image.update()
    image.pack()  # an image that was painted and not kept makes Blender ask when it quits


@lru_cache(maxsize=128)
def _read(path: str, _changed: int) -> np.ndarray:
    """(H, W, 4) uint8, rows going up: a picture as Blender reads it."""
    image = bpy.data.images.load(path)
    try:
        values = np.empty(len(image.pixels), dtype=np.float32)
        image.pixels.foreach_get(values)
        return (values * 255.0 + 0.5).astype(np.uint8).reshape(image.size[1], image.size[0], 4)
    finally:
        bpy.data.images.remove(image)


def editors() -> Iterator[bpy.types.Area]:
    """The open Image Editors (not UV Editors, which are of the same type)."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.ui_type == "IMAGE_EDITOR":
                yield area


def show(scene: bpy.types.Scene, kind: str, area: bpy.types.Area) -> None:
    """Have an Image Editor show 'A', 'B' (the sequences, in step with the frame) or 'BOTH'."""
    image = find(kind)
    if image is None:
        raise NerfError("Load the turntables first.")
    space = area.spaces.active
    space.image = image
    follow(scene, space)
    area.tag_redraw()


def follow(scene: bpy.types.Scene, space: bpy.types.SpaceImageEditor) -> None:
    """Have an Image Editor that shows a sequence of ours show the picture of the scene's frame."""
    settings = scene.nerf.experiment
    item = row_of(scene, {"A": settings.a, "B": settings.b}.get(which(space.image), ""))
    if item is not None:
        user = space.image_user
        user.frame_start, user.frame_offset, user.frame_duration = 1, 0, item.frames
        user.use_cyclic = user.use_auto_refresh = True


@persistent
def _frame_changed(scene: bpy.types.Scene, *_others: object) -> None:
    settings = scene.nerf.experiment
    if not settings.loaded or bpy.app.is_job_running("RENDER"):
        return
    if not any(which(area.spaces.active.image) == "BOTH" for area in editors()):
        return
    try:
        refresh(scene)
    except (NerfError, OSError) as error:
        settings.loaded = False  # once is enough to say it
        print(f"NeRF Toolkit: {error}")


def register() -> None:
    """Follow the scene's frame."""
    bpy.app.handlers.frame_change_post.append(_frame_changed)


def unregister() -> None:
    """Leave it alone."""
    bpy.app.handlers.frame_change_post.remove(_frame_changed)
    _read.cache_clear()
