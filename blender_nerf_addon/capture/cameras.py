"""Blender cameras and `contract.Camera`, exact both ways: sensor fit, shift, pixel aspect, percentage, border.

The formulas are those of Blender's `BKE_camera_params_compute_viewplane`; `Object.calc_matrix_camera` is the oracle in
the tests.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from .. import compat
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError

SENSOR_WIDTH = 36.0  # of the cameras that are made here, millimetres
MIN_LENS = 1.0  # Blender clamps shorter focal lengths; a larger sensor says the same
PROPERTY = "nerf_camera"  # a made camera carries its exact intrinsics here, as JSON


@dataclass(frozen=True)
class Frame:
    """The picture a camera is seen through: what Blender keeps on the scene and not on the camera.

    Attributes
    ----------
    width, height : int
        The full picture, in pixels, after the resolution percentage.
    aspect : float
        Pixel height over pixel width, Blender's `pixel_aspect_y / pixel_aspect_x`.
    crop : (left, top, width, height) or None
        The part that is rendered, in pixels of the full picture, when a border is cropped to.
    """

    width: int
    height: int
    aspect: float = 1.0
    crop: tuple[int, int, int, int] | None = None

    @classmethod
    def of_render(cls, render: bpy.types.RenderSettings, with_border: bool | None = None) -> "Frame":
        """The frame that a scene's output settings describe.

        With `with_border` the border's part alone counts, though it may not be cropped to: what an engine renders.
        """
        width = max(1, render.resolution_x * render.resolution_percentage // 100)
        height = max(1, render.resolution_y * render.resolution_percentage // 100)
        crop = None
        if render.use_border and render.use_crop_to_border if with_border is None else with_border:
            # Blender counts the border from the bottom and truncates to whole pixels.
            left, right = int(_f32(render.border_min_x) * width), int(_f32(render.border_max_x) * width)
            low, high = int(_f32(render.border_min_y) * height), int(_f32(render.border_max_y) * height)
            if right > left and high > low:
                crop = (left, height - high, right - left, high - low)
        return cls(width, height, render.pixel_aspect_y / render.pixel_aspect_x, crop)


def camera_from_blender(item: bpy.types.Object, depsgraph: bpy.types.Depsgraph, frame: Frame) -> Camera:
    """The contract's camera for a Blender camera object.

    Parameters
    ----------
    item : Object
        Of type CAMERA; its evaluated state counts (constraints, drivers, animation).
    depsgraph : Depsgraph
        Evaluated at the wanted frame.
    frame : Frame

    Returns
    -------
    Camera
        Scale is taken out of its pose. A mirrored camera (negative scale) keeps its place, viewing direction and
        up direction, and shows what it sees unmirrored.

    Raises
    ------
    NerfError
        When the lens is of a kind that has no such model (fisheye, mirror ball, custom).
    """
    if item is None or item.type != "CAMERA":
        raise NerfError("There is no camera: add one, or choose one that exists.")
    evaluated = item.evaluated_get(depsgraph)
    data = evaluated.data
    kind, fl_x, fl_y, cx, cy = _intrinsics(data, item.name, frame)
    width, height = frame.width, frame.height
    if frame.crop:
        left, top, width, height = frame.crop
        cx, cy = cx - left, cy - top
    return Camera(
        width=width,
        height=height,
        fl_x=fl_x,
        fl_y=fl_y,
        cx=cx,
        cy=cy,
        c2w=rigid(np.array(evaluated.matrix_world, dtype=np.float64), item.name),
        kind=kind,
        clip_start=data.clip_start,
        clip_end=data.clip_end,
    )


def rigid(matrix: np.ndarray, name: str = "camera") -> np.ndarray:
    """(4, 4) pose without scale, shear or mirroring: the -Z and +Y directions are kept, +X follows from them."""
    backward, up = matrix[:3, 2], matrix[:3, 1]
    if not np.isfinite(matrix).all() or np.linalg.norm(backward) < 1e-12:
        raise NerfError(f"The camera '{name}' has a scale of zero or a broken matrix; reset its scale.")
    backward = backward / np.linalg.norm(backward)
    right = np.cross(up, backward)
    if np.linalg.norm(right) < 1e-12:
        raise NerfError(f"The camera '{name}' has a scale of zero or a broken matrix; reset its scale.")
    right /= np.linalg.norm(right)
    c2w = np.eye(4)
    c2w[:3, 0], c2w[:3, 1], c2w[:3, 2], c2w[:3, 3] = right, np.cross(backward, right), backward, matrix[:3, 3]
    return c2w


def camera_to_blender(camera: Camera, item: bpy.types.Object) -> Frame:
    """Give a Blender camera object the lens and pose of `camera`.

    Parameters
    ----------
    camera : Camera
        A lens distortion is left out: Blender's cameras have none.
    item : Object
        Of type CAMERA.

    Returns
    -------
    Frame
        What the scene's output settings must be for an exact match; see :func:`apply_frame`.
    """
    data = item.data
    data.sensor_fit = "HORIZONTAL"
    data.dof.use_dof = False
    data.clip_start = max(camera.clip_start, 1e-6)
    data.clip_end = min(camera.clip_end, 1e9)
    aspect = camera.fl_x / camera.fl_y
    if camera.kind == "panoramic":
        _panorama_to_blender(camera, data)
        aspect = 1.0
    else:
        data.shift_x = 0.5 - camera.cx / camera.width
        data.shift_y = (camera.cy - camera.height / 2) * aspect / camera.width
        if camera.kind == "orthographic":
            data.type = "ORTHO"
            data.ortho_scale = camera.width / camera.fl_x
        else:
            data.type = "PERSP"
            lens = camera.fl_x * SENSOR_WIDTH / camera.width
            data.sensor_width = SENSOR_WIDTH * max(1.0, MIN_LENS / lens)
            data.lens = camera.fl_x * data.sensor_width / camera.width
    item.matrix_world = Matrix(camera.c2w.tolist())
    data[PROPERTY] = json.dumps(camera.to_dict())
    return Frame(camera.width, camera.height, aspect)


def new_camera(camera: Camera, name: str) -> bpy.types.Object:
    """A new Blender camera object like `camera`, in no collection yet."""
    item = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    camera_to_blender(camera, item)
    return item


def apply_frame(render: bpy.types.RenderSettings, frame: Frame) -> None:
    """Set a scene's output size and pixel aspect to `frame`; no border, 100 %."""
    render.resolution_x, render.resolution_y, render.resolution_percentage = frame.width, frame.height, 100
    render.use_border = render.use_crop_to_border = False
    render.pixel_aspect_x = max(1.0, 1.0 / frame.aspect)
    render.pixel_aspect_y = max(1.0, frame.aspect)


def _intrinsics(data: Any, name: str, frame: Frame) -> tuple[Any, float, float, float, float]:
    if data.type == "PANO":
        return ("panoramic", *_panorama_intrinsics(data, name, frame))
    if data.type not in {"PERSP", "ORTHO"}:
        raise NerfError(f"The camera '{name}' has a custom lens, which has no NeRF camera model; use Perspective.")
    fit = data.sensor_fit
    if fit == "AUTO":
        fit = "HORIZONTAL" if frame.width >= frame.aspect * frame.height else "VERTICAL"
        sensor = data.sensor_width  # Blender measures AUTO by the width, even when the height is the longer side
    else:
        sensor = data.sensor_width if fit == "HORIZONTAL" else data.sensor_height
    view_factor = frame.width if fit == "HORIZONTAL" else frame.aspect * frame.height
    if data.type == "ORTHO":
        fl_x = view_factor / data.ortho_scale
    else:
        fl_x = data.lens * view_factor / sensor
    cx = frame.width / 2 - data.shift_x * view_factor
    cy = frame.height / 2 + data.shift_y * view_factor / frame.aspect
    return ("orthographic" if data.type == "ORTHO" else "perspective", fl_x, fl_x / frame.aspect, cx, cy)


def _panorama_intrinsics(data: Any, name: str, frame: Frame) -> tuple[float, float, float, float]:
    settings = compat.panorama(data)
    if settings.panorama_type != "EQUIRECTANGULAR":
        kind = settings.panorama_type.replace("_", " ").lower()
        raise NerfError(f"The camera '{name}' is a {kind} panorama; only equirectangular ones can be captured.")
    width = settings.longitude_max - settings.longitude_min
    height = settings.latitude_max - settings.latitude_min
    if not (0 < width <= 2 * math.pi + 1e-5 and 0 < height <= math.pi + 1e-5):
        raise NerfError(
            f"The camera '{name}' has an empty or overlapping panorama range; check latitude and longitude."
        )
    fl_x, fl_y = frame.width / width, frame.height / height
    return fl_x, fl_y, -settings.longitude_min * fl_x, settings.latitude_max * fl_y


def _panorama_to_blender(camera: Camera, data: Any) -> None:
    data.type = "PANO"
    settings = compat.panorama(data)
    settings.panorama_type = "EQUIRECTANGULAR"
    settings.longitude_min = -camera.cx / camera.fl_x
    settings.longitude_max = (camera.width - camera.cx) / camera.fl_x
    settings.latitude_max = camera.cy / camera.fl_y
    settings.latitude_min = (camera.cy - camera.height) / camera.fl_y


def _f32(value: float) -> float:
    return float(np.float32(value))
