"""A data set as Blender's objects: a collection with a camera for each image, the box, and the sparse points.

Cameras are made a few at a time, between which Blender lives on: what is held over from one to the next are names and
numbers alone, because an undo meanwhile makes references invalid.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import compat
from ..capture import bounds
from ..capture.cameras import new_camera
from ..importers import points as point_import
from ..importers.point_display import KIND_KEY, RESULT_KEY
from ..jobs import runs
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError

KIND = "dataset"
DATA_KEY = "nerf_data"  # on the collection: which data set, and where its world stands
IMAGE_KEY = "nerf_image"  # on a camera: its image's name in the data set
SPLIT_KEY = "nerf_split"  # on a camera and on the collection of a split
NOTE_KEY = "nerf_note"  # on a camera: what Blender cannot show of it
PART_KEY = "nerf_part"  # on the box and the points
SPLITS = {"train": "Train", "val": "Validation", "test": "Test"}


@dataclass(frozen=True)
class Options:
    """What a person chose for an import.

    Attributes
    ----------
    data : Path
        The data set, absolute.
    name : str
        What the collection is called.
    alpha : float
        Opacity of the pictures behind the scene.
    run_root : Path or None
        The run folder that the scene shall train into; None leaves the scene's own.
    """

    data: Path
    name: str
    alpha: float
    run_root: Path | None


@dataclass(frozen=True)
class Imported:
    """What came of it: cameras made, those that were there already, and how many lenses Blender cannot show."""

    collection: str
    made: int
    there: int
    distorted: int
    first: str


def data_name(data: Path) -> str:
    """What a person calls a data set: its folder's name, but not that of a COLMAP model inside it."""
    folder = data if data.is_dir() else data.parent
    while (folder.name in ("sparse", "colmap") or folder.name.isdigit()) and folder.parent != folder:
        folder = folder.parent
    return folder.name or "Data Set"


def find_collection(scene: bpy.types.Scene, data: Path | None = None) -> bpy.types.Collection | None:
    """The collection of an imported data set in a scene; of any for None."""
    key = None if data is None else os.path.normcase(os.path.realpath(data))
    for collection in scene.collection.children_recursive:
        if collection.get(KIND_KEY) == KIND:
            stored = json.loads(collection[DATA_KEY])
            if key is None or stored["data"] == key:
                return collection
    return None


def build(
    uid: int, found: Mapping[str, Any], prepared: dict[str, np.ndarray] | None, options: Options
) -> Iterator[float]:
    """Make everything, a camera a step; yields the part that is done.

    Parameters
    ----------
    uid : int
        The scene's `session_uid`.
    found : mapping
        The result of the core's `dataset` request.
    prepared : dict or None
        Of `importers.points.prepare`, for the sparse points.
    options : Options

    Returns
    -------
    Imported
        As the generator's value.

    Raises
    ------
    NerfError
        When the scene or the collection was removed meanwhile, or the data set is there in another place.
    """
    scene = runs.scene_again(uid)
    name = _collection(scene, found, options).name
    frames = found["frames"]
    cameras = []
    for frame in frames:
        cameras.append(Camera.from_dict(frame["camera"]))
        yield 0.0
    there = {item[IMAGE_KEY] for item in bpy.data.collections[name].all_objects if IMAGE_KEY in item}
    box = np.array(found["bounds"], dtype=np.float64)
    reach = _reach(cameras, box)
    made = distorted = 0
    for index, (frame, camera) in enumerate(zip(frames, cameras, strict=True)):
        if frame["name"] in there:
            continue
        top = _again(uid, name)
        item = _camera(frame, camera, reach, options.alpha, found["color_space"])
        _split(top, frame["split"]).objects.link(item)
        made += 1
        distorted += not camera.distortion.is_identity
        yield (index + 1) / (len(frames) + 1)
    top, scene = _again(uid, name), runs.scene_again(uid)
    _add_box(scene, top, box)
    if prepared is not None:
        _add_points(scene, top, prepared)
    _point_scene(scene, options, found["placement"])
    return Imported(name, made, len(frames) - made, distorted, frames[0]["name"])


def _collection(scene: bpy.types.Scene, found: Mapping[str, Any], options: Options) -> bpy.types.Collection:
    """The data set's collection: that of an earlier import, or a new one."""
    collection = find_collection(scene, options.data)
    placement = dict(found["placement"])
    if collection is not None:
        if json.loads(collection[DATA_KEY])["placement"] != placement:
            raise NerfError(
                f"'{options.data}' is in this scene already, turned or scaled otherwise: delete the collection "
                f"'{collection.name}' to import it anew."
            )
        return collection
    collection = bpy.data.collections.new(options.name)
    collection[KIND_KEY] = KIND
    collection[DATA_KEY] = json.dumps(
        {"data": os.path.normcase(os.path.realpath(options.data)), "placement": placement}
    )
    scene.collection.children.link(collection)
    return collection


def _again(uid: int, name: str) -> bpy.types.Collection:
    collection = bpy.data.collections.get(name)
    if collection is None or collection.get(KIND_KEY) != KIND:
        raise NerfError("The import was undone or its collection removed while it was going on.")
    runs.scene_again(uid)
    return collection


def _split(top: bpy.types.Collection, split: str) -> bpy.types.Collection:
    """The collection of a split's cameras."""
    for child in top.children:
        if child.get(SPLIT_KEY) == split:
            return child
    child = bpy.data.collections.new(f"{top.name} {SPLITS[split]}")
    child[SPLIT_KEY] = split
    top.children.link(child)
    return child


def _camera(frame: Mapping[str, Any], camera: Camera, reach: float, alpha: float, color_space: str) -> bpy.types.Object:
    """A camera object with its image behind it."""
    item = new_camera(camera, Path(frame["name"]).with_suffix("").as_posix())
    item[RESULT_KEY], item[IMAGE_KEY], item[SPLIT_KEY] = "dataset camera", frame["name"], frame["split"]
    data = item.data
    data.clip_start, data.clip_end = 1e-3 * reach, 100.0 * reach
    data.display_size = 0.05 * reach
    if not camera.distortion.is_identity:
        item[NOTE_KEY] = (
            "The lens is distorted, which Blender's cameras are not: the picture fits towards its middle only"
        )
    data.show_background_images = True
    background = data.background_images.new()
    background.image = _image(Path(frame["image"]), color_space)
    # With oblong pixels the picture's own aspect is not the frame's.
    square = abs(camera.fl_x / camera.fl_y - 1.0) < 1e-6
    background.frame_method = "FIT" if square else "STRETCH"
    background.display_depth = "BACK"
    background.alpha = alpha
    return item


def _image(path: Path, color_space: str) -> bpy.types.Image:
    """The image of a file; one that is in the file already stays as it is."""
    before = len(bpy.data.images)
    image = bpy.data.images.load(str(path), check_existing=True)
    if len(bpy.data.images) > before:
        image.filepath = runs.stored_path(path)
        if color_space == "linear":
            compat.set_linear(image)
    return image


def _reach(cameras: list[Camera], box: np.ndarray) -> float:
    """How large the scene is, for clipping and for the size at which cameras are drawn."""
    places = np.array([camera.position for camera in cameras] + list(box))
    return max(1e-6, float(np.linalg.norm(np.ptp(places, axis=0))))


def _part(top: bpy.types.Collection, part: str) -> bpy.types.Object | None:
    return next((item for item in top.objects if item.get(PART_KEY) == part), None)


def _adopt(top: bpy.types.Collection, item: bpy.types.Object, part: str) -> None:
    """Move a new object from the scene's collection into the data set's."""
    for collection in item.users_collection:
        collection.objects.unlink(item)
    top.objects.link(item)
    item[PART_KEY] = part
    item[RESULT_KEY] = f"dataset {part}"


def _add_box(scene: bpy.types.Scene, top: bpy.types.Collection, box: np.ndarray) -> None:
    if _part(top, "box") is None:
        item = bounds.make_box(scene, box)
        item.name = f"{top.name} Bounds"
        _adopt(top, item, "box")


def _add_points(scene: bpy.types.Scene, top: bpy.types.Collection, prepared: dict[str, np.ndarray]) -> None:
    if _part(top, "points") is None:
        attributes = {key: values for key, values in prepared.items() if key != "density"}
        _adopt(top, point_import.import_points(scene, attributes, f"{top.name} Points"), "points")


def _point_scene(scene: bpy.types.Scene, options: Options, placement: Mapping[str, str]) -> None:
    """Have Train train from this data set, as it stands here."""
    training = scene.nerf.training
    training.data = runs.stored_path(options.data)
    training.orientation, training.scale = placement["orientation"].upper(), placement["scale"].upper()
    if options.run_root is not None:
        runs.set_run_folder(scene, options.run_root)
