"""A scene's camera through its frame range as a camera path."""

from collections.abc import Iterator
from pathlib import Path

import bpy

from ..capture.cameras import Frame, camera_from_blender
from ..capture.scene_guard import SceneGuard
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.camera_path import MOST_CAMERAS, CameraPath, Format, write_camera_path
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder
from ..vendor.nerf_core.contract.json_data import parse_json
from ..vendor.nerf_core.contract.transforms import TOOLKIT_KEY


def collect(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, step: int = 1) -> Iterator[float]:
    """Go through the frames, one a step of the generator; the scene is as before when it ends or is closed.

    Yields
    ------
    float
        The part that is done.

    Returns
    -------
    CameraPath
        As the generator's value: the scene's camera at every `step`-th frame; markers may switch it.

    Raises
    ------
    NerfError
        When a frame has no camera or one that has no model, or there are too many frames.
    """
    frames = range(scene.frame_start, scene.frame_end + 1, step)
    if len(frames) > MOST_CAMERAS:
        raise NerfError(f"The frame range has {len(frames)} frames; a path holds at most {MOST_CAMERAS}.")
    rate = scene.render.fps / scene.render.fps_base
    cameras: list[Camera] = []
    with SceneGuard(scene):
        for number in frames:
            scene.frame_set(number)
            if scene.camera is None:
                raise NerfError(f"The scene has no camera at frame {number}: make one the scene's camera.")
            depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
            cameras.append(camera_from_blender(scene.camera, depsgraph, Frame.of_render(scene.render)))
            yield len(cameras) / len(frames)
    return CameraPath.even(cameras, rate / step)


def check_target(path: Path) -> None:
    """Refuse a path where a file lies that is none of ours.

    Raises
    ------
    NerfError
        It names the file.
    """
    if path.suffix.lower() != ".json":
        raise NerfError(f"A camera path is written as JSON: '{path.name}' must end in .json.")
    if path.is_dir():
        raise NerfError(f"'{path}' is a folder; name a file.")
    if path.exists() and not _is_ours(path):
        raise NerfError(f"'{path}' exists and was not made by NeRF Toolkit; choose another name.")


def write(target: Path, made: CameraPath, kind: Format) -> None:
    """Write beside and rename over; an earlier path of ours is replaced."""
    check_target(target)
    make_folder(target.parent)
    write_camera_path(target, made, kind)


def _is_ours(path: Path) -> bool:
    try:
        document = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    ours = document.get(TOOLKIT_KEY) if isinstance(document, dict) else None
    return isinstance(ours, dict) and "camera_path" in ours
