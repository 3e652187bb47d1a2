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


@dataclass(frozen=True)
class Shown:
    """What the image shows.

    Attributes
    ----------
    map : str
        By its name.
    view : str
        The camera's name.
    sampler : str
        As a person reads it.
    numbers : dict of str to dict
        Of each map: `least`, `most`, `mean`, `mean_hit`, `top` and, of errors, `reference`.
    """

    map: str
    view: str
    sampler: str
    numbers: dict[str, dict[str, Any]]


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


def show(
    paths: Mapping[str, Mapping[str, Path]],
    chosen: str,
    view: str,
    sampler: str,
    numbers: Mapping[str, Any],
    camera: Camera,
) -> bpy.types.Image:
    """Put a view's maps into the image, of which it shows the chosen one.

    Parameters
    ----------
    paths : mapping
        Of :func:`files`.
    chosen : str
    view, sampler : str
        For a person.
    numbers : mapping
        Of the core's answer.
    camera : Camera
        That the maps were made with: a click on the picture leads along its rays.
    """
    image = find()
    if image is None:
        image = bpy.data.images.load(str(paths[chosen]["picture"]), check_existing=False)
        image.name = NAME
    told = {"view": view, "sampler": sampler, "numbers": numbers, "camera": camera.to_dict()}
    told["files"] = {name: str(group["picture"]) for name, group in paths.items()}
    image[KEY] = json.dumps(told)
    choose(chosen)
    return image


def choose(name: str) -> None:
    """Show another map of the same view."""
    image = find()
    told = _told(image)
    if image is None or name not in told.get("files", {}):
        return
    image.filepath = told["files"][name]
    image.reload()
    told["map"] = name
    image[KEY] = json.dumps(told)
    if image.size[0]:
        images.remember_camera(image, _with_legend(Camera.from_dict(told["camera"]), *image.size))


def shown(image: bpy.types.Image | None = None) -> Shown | None:
    """What the image shows; None without one."""
    told = _told(image or find())
    if not told:
        return None
    return Shown(told.get("map", HEAT_NAMES[0]), told["view"], told["sampler"], told["numbers"])


def find() -> bpy.types.Image | None:
    """The image, whatever its name is by now."""
    return next((image for image in bpy.data.images if KEY in image), None)


def _told(image: bpy.types.Image | None) -> dict[str, Any]:
    return {} if image is None else json.loads(image[KEY])


def _with_legend(camera: Camera, width: int, height: int) -> Camera:
    """The camera of a picture that is enlarged by a whole number and has a legend below."""
    zoom = width // camera.width
    large = camera.resized(camera.width * zoom, camera.height * zoom)
    return replace(large, height=height)
