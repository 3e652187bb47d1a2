"""Which camera made a picture: the one kept on it, the render's, or that of a data set's camera object or file."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..capture.cameras import PROPERTY, Frame, camera_from_blender, rigid
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import DataError, NerfError
from ..vendor.nerf_core.contract.frames import FrameSpec, check_model, find_image, load_json, pose

DOCUMENTS = ("transforms.json", "transforms_train.json", "transforms_val.json", "transforms_test.json")
FOLDERS_UP = 3  # from an image to its data set's document


def camera_of_picture(image: bpy.types.Image, scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> Camera:
    """The camera that a picture was made with, in the picture's size.

    Raises
    ------
    NerfError
        When nobody knows it.
    """
    if image.type == "RENDER_RESULT":
        if scene.camera is None:
            raise NerfError("The scene has no camera: that of the render is gone.")
        camera = camera_from_blender(scene.camera, depsgraph, Frame.of_render(scene.render))
    else:
        camera = (
            _stored(image.get(PROPERTY), image.name)
            or _of_camera_object(image, scene, depsgraph)
            or _of_file(image)
        )  # fmt: skip
    if camera is None:
        raise NerfError(
            f"Nobody knows which camera made the picture '{image.name}': click in 'NeRF Preview', in a novel view, a "
            "render or a picture of a data set."
        )
    width, height = image.size
    if width < 1 or height < 1 or (camera.width, camera.height) == (width, height):
        return camera
    return camera.resized(width, height)


def _stored(text: Any, name: str) -> Camera | None:
    if not isinstance(text, str):
        return None
    try:
        return Camera.from_dict(json.loads(text))
    except (DataError, ValueError, AttributeError) as error:
        raise NerfError(f"The camera that '{name}' was made with is not readable: {error}.") from error


def _of_camera_object(image: bpy.types.Image, scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> Camera | None:
    """That of an imported data set's camera, behind which the picture stands; where the camera stands now."""
    for item in scene.objects:
        if item.type != "CAMERA" or PROPERTY not in item.data:
            continue
        if any(background.image == image for background in item.data.background_images):
            camera = _stored(item.data[PROPERTY], item.name)
            c2w = rigid(np.array(item.evaluated_get(depsgraph).matrix_world, dtype=np.float64), item.name)
            return Camera.from_dict({**camera.to_dict(), "transform_matrix": c2w.tolist()})
    return None


def _of_file(image: bpy.types.Image) -> Camera | None:
    """That which the data set's document gives to a picture's file."""
    if image.source != "FILE" or not image.filepath or image.size[0] < 1:
        return None
    path = Path(bpy.path.abspath(image.filepath, library=image.library))
    folder = path.parent
    for _ in range(FOLDERS_UP):
        for name in DOCUMENTS:
            document = folder / name
            try:
                changed = document.stat().st_mtime_ns
            except OSError:
                continue
            camera = _in_document(document, changed, path, tuple(image.size))
            if camera is not None:
                return camera
        folder = folder.parent
    return None


@lru_cache(maxsize=32)
def _in_document(document: Path, _changed: int, path: Path, size: tuple[int, int]) -> Camera | None:
    values = load_json(document)
    frames = values.get("frames")
    for own in frames if isinstance(frames, list) else ():
        name = own.get("file_path") if isinstance(own, dict) else None
        if not isinstance(name, str) or Path(name.replace("\\", "/")).stem != path.stem:
            continue
        found = find_image(document.parent, name)
        if found is None or not found.samefile(path):
            continue
        c2w = pose(own.get("transform_matrix"), f"frame '{name}' of '{document}'")
        spec = FrameSpec(document, name, found, {**values, **own}, own, c2w)
        check_model(spec.values, spec.where)
        width, height = spec.size()
        # A picture that was made smaller keeps its lens in the document's units.
        return spec.camera(int(width or size[0]), int(height or size[1])).resized(*size)
    return None
