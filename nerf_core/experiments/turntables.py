"""Turntables: the same cameras for every cell, as numbered pictures and a video."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..contract.camera import Camera, look_at
from ..contract.errors import NerfError
from ..contract.files import make_folder, write_json
from ..contract.json_data import parse_json
from ..export.pictures import to_picture, write_png
from ..export.video import VideoWriter
from ..rendering.frame import render_frame
from ..training.checkpoint import Scene
from ..training.load import LoadedRun
from .folder import ExperimentFolder
from .plan import Cell
from .plan_file import Turntable

STEEPEST = math.radians(60.0)
FILL = 0.8  # of the sphere around the box is seen


def turn(scene: Scene, turntable: Turntable) -> list[Camera]:
    """Cameras on a circle about the box's centre, as high above it as the training cameras are, on their mean.

    Parameters
    ----------
    scene : Scene
        World space.
    turntable : Turntable
    """
    bounds = np.asarray(scene.bounds, dtype=np.float64)
    center = bounds.mean(axis=0)
    offsets = np.array([camera.position for camera in scene.cameras]) - center
    heights = np.arcsin(np.clip(offsets[:, 2] / np.maximum(np.linalg.norm(offsets, axis=1), 1e-9), -1.0, 1.0))
    height = float(np.clip(heights.mean(), -STEEPEST, STEEPEST))
    first = scene.cameras[0]
    # A perspective lens as long as the training's, in a square picture.
    fov = 2.0 * math.atan(0.5 * max(first.width / first.fl_x, first.height / first.fl_y))
    fov = float(np.clip(fov if first.kind == "perspective" else math.radians(40.0), math.radians(15), math.radians(75)))
    size = turntable.size
    focal = 0.5 * size / math.tan(0.5 * fov)
    # The box's whole half diagonal would leave much of the picture empty: few subjects fill its corners.
    radius = FILL * 0.5 * float(np.linalg.norm(bounds[1] - bounds[0])) / math.sin(0.5 * fov)
    cameras = []
    for index in range(turntable.frames):
        angle = 2.0 * math.pi * index / turntable.frames
        flat = math.cos(height)
        place = center + radius * np.array([flat * math.cos(angle), flat * math.sin(angle), math.sin(height)])
        cameras.append(Camera(size, size, focal, focal, size / 2, size / 2, look_at(place, center)))
    return cameras


def kept_cameras(folder: ExperimentFolder, scene: Scene, turntable: Turntable) -> list[Camera]:
    """The experiment's cameras: those that it began with, while their number and size are what is asked for.

    Raises
    ------
    NerfError
        When `cameras.json` is broken.
    """
    if folder.cameras.exists():
        try:
            cameras = [Camera.from_dict(each) for each in parse_json(folder.cameras.read_bytes())]
        except (OSError, ValueError, TypeError, KeyError, NerfError) as error:
            raise NerfError(f"'{folder.cameras}' is broken ({error}); delete it, and it is made anew.") from error
        if len(cameras) == turntable.frames and all(camera.width == turntable.size for camera in cameras):
            return cameras
    cameras = turn(scene, turntable)
    write_json(folder.cameras, [camera.to_dict() for camera in cameras])
    return cameras


def render_turntable(
    folder: ExperimentFolder,
    run: LoadedRun,
    cell: Cell,
    turntable: Turntable,
    progress: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Render a cell's turn; returns what a result says of it.

    Raises
    ------
    NerfError
        When the disk is full, or the method cannot be looked at with the cell's sampler.
    Cancelled
        Whole pictures stay.
    """
    cameras = kept_cameras(folder, run.scene, turntable)
    make_folder(folder.turntable(cell.folder))
    paths = folder.pictures(cell.folder, len(cameras))
    with VideoWriter(folder.turntable(cell.folder).with_suffix(".mp4"), turntable.fps) as video:
        for index, (camera, path) in enumerate(zip(cameras, paths, strict=True)):
            frame = render_frame(
                run.method,
                camera,
                should_stop=should_stop,
                on_progress=lambda part, before=index: progress((before + part) / len(cameras)),  # type: ignore[misc]
                sampler=cell.render,
            )
            picture = to_picture(frame.rgba, run.background)
            write_png(path, picture)
            video.add(picture)
        video.finish()
    return {"frames": len(cameras), "size": turntable.size}


def is_whole(folder: ExperimentFolder, cell: Any, turntable: Turntable | None) -> bool:
    """Whether all pictures of a cell's turn are there, where it is to have one."""
    return (
        turntable is None
        or not cell.turns
        or all(path.is_file() for path in folder.pictures(cell.folder, turntable.frames))
    )
