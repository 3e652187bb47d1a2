"""The image "NeRF Heat Map": the maps of one view as files, of which it shows one.

The core draws the pictures, colours and legend and all. They are kept beside the run's renders, a .png and an .exr of
each map, so that another map is shown by reading another file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..importers import encode, images
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.files import make_folder, write_bytes
from ..vendor.nerf_core.contract.heat import HEAT_NAMES

NAME = "NeRF Heat Map"
KEY = "nerf_heat_map"  # what the image says of its maps, as JSON
FOLDER = "heat"  # below the run's renders
MOST = 8  # shots that are kept to flip between


@dataclass(frozen=True)
class Shot:
    """The maps of one view under one sampler.

    Attributes
    ----------
    view : str
        The camera's name.
    sampler : str
        As a person reads it.
    numbers : dict of str to dict
        Of each map, as the core tells them: `least`, `most`, `mean`, `mean_hit`, `median_hit`, `most_hit`, `top` and,
        of errors, `reference`.
    files : dict of str to str
        The pictures.
    camera : dict
        That the maps were made with.
    """

    view: str
    sampler: str
    numbers: dict[str, dict[str, Any]]
    files: dict[str, str]
    camera: dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """What the image shows: a map of one of the shots that it knows."""

    map: str
    index: int
    shots: list[Shot]

    @property
    def shot(self) -> Shot:
        """The one that is shown."""
        return self.shots[self.index]

    @property
    def numbers(self) -> dict[str, Any]:
        """Of the map that is shown."""
        return self.shot.numbers[self.map]


def files(folder: Path, view: str) -> dict[str, dict[str, Path]]:
    """The files of a view's maps, by name: `picture` and `values`; over none that is not ours.

    Parameters
    ----------
    folder : Path
        The run's renders.
    view : str
        Fit for a file's name.
    """
    number, stem = 1, view
    while True:
        found = {
            name: {
                kind: folder / FOLDER / f"{stem}_{name}{end}" for kind, end in (("picture", ".png"), ("values", ".exr"))
            }
            for name in HEAT_NAMES
        }
        if all(not path.exists() or encode.is_ours(path) for group in found.values() for path in group.values()):
            return found
        number += 1
        stem = f"{view}-{number}"


def write(arrays: Mapping[str, np.ndarray], paths: Mapping[str, Mapping[str, Path]]) -> tuple[int, int]:
    """Write all maps; touches nothing of Blender, to be called in a thread.

    Returns
    -------
    (width, height)
        Of the maps, without enlargement and legend.
    """
    size = (0, 0)
    for name, group in paths.items():
        make_folder(group["picture"].parent)
        picture, values = arrays[f"{name}_picture"], arrays[name]
        rgba = np.ones((*picture.shape[:2], 4), np.float32)
        rgba[..., :3] = picture / np.float32(255.0)
        write_bytes(group["picture"], encode.png(rgba))
        write_bytes(group["values"], encode.exr_channels({"Y": values}))
        size = (values.shape[1], values.shape[0])
    return size


def show(shot: Shot, chosen: str) -> bpy.types.Image:
    """Put a view's maps into the image, beside those that it knows; it shows the chosen one of these.

    Parameters
    ----------
    shot : Shot
        Takes the place of an earlier one of the same view and sampler.
    chosen : str
        A map's name.
    """
    before = shown()
    image = find()
    if image is None:
        image = bpy.data.images.load(shot.files[chosen], check_existing=False)
        image.name = NAME
    shots = [] if before is None else list(before.shots)
    same = [i for i, each in enumerate(shots) if (each.view, each.sampler) == (shot.view, shot.sampler)]
    if same:
        shots[same[0]] = shot
    else:
        shots = [*shots, shot][-MOST:]
    _put(image, Shown(chosen, shots.index(shot), shots))
    return image


def choose(name: str | None = None, index: int | None = None) -> None:
    """Show another map, or the maps of another shot."""
    image, old = find(), shown()
    if image is None or old is None:
        return
    new = replace(old, map=name or old.map, index=old.index if index is None else index)
    if new != old and 0 <= new.index < len(new.shots) and new.map in new.shot.files:
        _put(image, new)


def shown(image: bpy.types.Image | None = None) -> Shown | None:
    """What the image shows; None without one."""
    image = image or find()
    if image is None:
        return None
    told = json.loads(image[KEY])
    return Shown(told["map"], told["index"], [Shot(**each) for each in told["shots"]])


def find() -> bpy.types.Image | None:
    """The image, whatever its name is by now."""
    return next((image for image in bpy.data.images if KEY in image), None)


def _put(image: bpy.types.Image, new: Shown) -> None:
    image.filepath = new.shot.files[new.map]
    image.reload()
    image[KEY] = json.dumps({"map": new.map, "index": new.index, "shots": [vars(shot) for shot in new.shots]})
    if image.size[0]:
        images.remember_camera(image, _with_legend(Camera.from_dict(new.shot.camera), *image.size))


def _with_legend(camera: Camera, width: int, height: int) -> Camera:
    """The camera of a picture that is enlarged by a whole number and has a legend below."""
    zoom = width // camera.width
    large = camera.resized(camera.width * zoom, camera.height * zoom)
    return replace(large, height=height)
