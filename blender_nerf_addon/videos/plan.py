"""A turntable or an animation as the core's `video` request: its frames, and files that nothing stands at yet."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ..capture.cameras import SENSOR_WIDTH, Frame, camera_from_blender
from ..capture.scene_guard import SceneGuard
from ..engine.lens import lens_of
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from . import subject, turntable

LENS_SAMPLES = 16  # rays a pixel, at least, where a lens is to blur


@dataclass
class Plan:
    """What is asked of the core.

    Attributes
    ----------
    title : str
        Such as "Turntable".
    fps : float
    numbers : list of int
        Of the frames, for the pictures' names.
    frames : list of dict
        What the core's `render` request takes, one a frame.
    folder : Path
        That files go to.
    """

    title: str
    fps: float
    numbers: list[int] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    folder: Path | None = None

    def request(self, settings: Any) -> dict[str, Any]:
        """The parameters of the `video` request with a scene's settings, into files that do not exist yet.

        Raises
        ------
        NerfError
            When there is no frame.
        """
        if not self.frames or self.folder is None:
            raise NerfError("There is no frame to render: the scene's frame range is empty.")
        path = free_place(self.folder, self.title.lower())
        is_video, is_pictures = settings.format in {"MP4", "BOTH"}, settings.format in {"PNG", "BOTH"}
        return {
            "frames": self.frames,
            "shared": {"samples": settings.samples},
            "out": str(path.with_name(f"{path.name}.mp4")) if is_video else None,
            "pictures": [str(path / f"{number:04d}.png") for number in self.numbers] if is_pictures else None,
            "fps": self.fps,
            "background": [float(channel) for channel in settings.background],
            "transparent": True,
        }


def free_place(folder: Path, name: str) -> Path:
    """A path in `folder` at which neither a folder nor, with .mp4, a file stands: earlier takes are kept."""
    path, number = folder / name, 2
    while path.exists() or path.with_name(f"{path.name}.mp4").exists():
        path, number = folder / f"{name}-{number}", number + 1
    return path


def plan_turntable(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, use_objects: bool = True) -> Plan:
    """The turntable that `scene.nerf.video` describes.

    Raises
    ------
    NerfError
        When nothing is trained, or there is no camera to start from where one is asked for.
    """
    settings = scene.nerf.video
    layer.update()
    depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
    shown = subject.of_scene(scene, depsgraph, use_objects)
    bounds = subject.box(scene, depsgraph, use_objects)
    center = bounds.mean(axis=0)
    picture = Frame(settings.width, settings.height)
    lens = _lens(settings.focal_length, picture)
    radius = settings.radius if settings.placed == "FIXED" else None
    elevation, start = settings.elevation, None
    if settings.placed == "CAMERA":
        if scene.camera is None:
            raise NerfError("The scene has no camera to take the distance from: add one, or fit the box.")
        lens = camera_from_blender(scene.camera, depsgraph, picture)
        if lens.kind == "panoramic":
            raise NerfError(f"The camera '{scene.camera.name}' is a panorama, which has no distance; fit the box.")
        radius, elevation, start = turntable.seen_from(lens.position, center)
    elif scene.camera is not None:
        offset = scene.camera.evaluated_get(depsgraph).matrix_world.translation
        if abs(offset[0] - center[0]) + abs(offset[1] - center[1]) > 1e-6:
            start = turntable.seen_from(offset, center)[2]
    if start is None:
        start = -0.5 * math.pi  # from the front, as Blender's own front view
    turn = turntable.directions(settings.frames, elevation, start, settings.clockwise)
    cameras = turntable.around(bounds, turn, lens, radius)
    plan = Plan("Turntable", settings.fps, folder=shown.folder.renders)
    for number, camera in enumerate(cameras, 1):
        plan.numbers.append(number)
        plan.frames.append({**shown.params, "camera": camera.to_dict()})
    return plan


def read_animation(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, plan: Plan, use_objects: bool = True
) -> Iterator[int]:
    """Go through the scene's frame range and add each frame to `plan`; yields the frame that was read.

    The scene is as it was when the iterator ends or is closed; until then it stands at some frame of its range.

    Raises
    ------
    NerfError
        When a frame has no camera or nothing that is trained.
    """
    settings = scene.nerf.video
    with SceneGuard(scene):
        for number in range(scene.frame_start, scene.frame_end + 1, scene.frame_step):
            scene.frame_set(number)  # a marker may switch the camera
            if scene.camera is None:
                raise NerfError(f"The scene has no camera at frame {number}: make one the scene's camera.")
            layer.update()
            depsgraph = layer.depsgraph or bpy.context.evaluated_depsgraph_get()
            shown = subject.of_scene(scene, depsgraph, use_objects)
            camera = camera_from_blender(scene.camera, depsgraph, Frame.of_render(scene.render))
            if settings.percentage != 100:
                factor = settings.percentage / 100.0
                camera = camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))
            frame = {**shown.params, "camera": camera.to_dict()}
            lens = lens_of(scene.camera, depsgraph)
            if lens is not None:
                frame.update(lens=lens, samples=max(settings.samples, LENS_SAMPLES))
            plan.folder = plan.folder or shown.folder.renders
            plan.numbers.append(number)
            plan.frames.append(frame)
            yield number


def animation(scene: bpy.types.Scene) -> Plan:
    """An animation's plan that :func:`read_animation` fills."""
    return Plan("Animation", scene.render.fps / scene.render.fps_base)


def _lens(focal_length: float, picture: Frame) -> Camera:
    """A camera like a new one of Blender's: the focal length is of the picture's longer side."""
    focal = focal_length / SENSOR_WIDTH * max(picture.width, picture.height)
    return Camera(picture.width, picture.height, focal, focal, picture.width / 2, picture.height / 2)
