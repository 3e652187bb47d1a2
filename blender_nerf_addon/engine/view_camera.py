"""The viewport's view as a contract camera: whatever Blender draws its lines with, the NeRF is drawn with."""

import math
from collections.abc import Sequence
from dataclasses import replace

import bpy
import numpy as np

from ..capture.cameras import rigid
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError

# Left, low, width and height in pixels of a region, counted from its lower left corner.
Part = tuple[int, int, int, int]

FARTHEST = 1e6  # scene units: an orthographic view begins no farther off than this


def view_camera(width: int, height: int, window: Sequence, view: Sequence) -> Camera:
    """The camera of a region.

    Parameters
    ----------
    width, height : int
        Of the region, in pixels.
    window : (4, 4) matrix
        `RegionView3D.window_matrix`: the projection, OpenGL's, with all of lens, shift, zoom and offset in it.
    view : (4, 4) matrix
        `RegionView3D.view_matrix`: world to view.

    Returns
    -------
    Camera
        Perspective or orthographic. An orthographic one stands where Blender's view begins, so that everything that
        Blender would draw is in front of it.

    Raises
    ------
    NerfError
        When the region is too small or the matrices are none of a view.
    """
    projection = np.array(window, dtype=np.float64)
    pose = np.array(view, dtype=np.float64)
    if width < 1 or height < 1 or not (np.isfinite(projection).all() and np.isfinite(pose).all()):
        raise NerfError("This view cannot be rendered: it has no size.")
    c2w = rigid(np.linalg.inv(pose), "viewport")
    fl_x, fl_y = projection[0, 0] * width / 2, projection[1, 1] * height / 2
    depth, depth_offset = projection[2, 2], projection[2, 3]
    if projection[3, 2] != 0.0:  # -1: perspective divides by the distance
        cx, cy = width / 2 * (1.0 - projection[0, 2]), height / 2 * (1.0 + projection[1, 2])
        near, far = depth_offset / (depth - 1.0), depth_offset / (depth + 1.0)
        return Camera(width, height, fl_x, fl_y, cx, cy, c2w, "perspective", max(near, 0.0), max(far, near))
    cx, cy = width / 2 * (1.0 + projection[0, 3]), height / 2 * (1.0 - projection[1, 3])
    near, far = (depth_offset + 1.0) / depth, (depth_offset - 1.0) / depth
    near, far = max(min(near, far), -FARTHEST), min(max(near, far), FARTHEST)
    c2w[:3, 3] -= near * c2w[:3, 2]  # forwards is -Z
    return Camera(width, height, fl_x, fl_y, cx, cy, c2w, "orthographic", 0.0, far - near)


def border_part(context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> Part | None:
    """The part of a viewport that its render border (Ctrl-B) leaves; None without one.

    A free view has a border of its own, which counts in parts of the region. Through the camera it is the scene's,
    which counts in parts of the camera's frame, wherever in the region that is.
    """
    region, view, space, scene = context.region, context.region_data, context.space_data, depsgraph.scene
    if space is None:
        return None
    if view.view_perspective != "CAMERA":
        if not space.use_render_border:
            return None
        border, name, low, high = space, "render_border", np.zeros(2), np.ones(2)
    else:
        item = space.camera if space.use_local_camera else scene.camera
        if not scene.render.use_border or item is None or item.type != "CAMERA":
            return None
        border, name = scene.render, "border"
        item = item.evaluated_get(depsgraph)
        corners = np.array([[*corner, 1.0] for corner in item.data.view_frame(scene=scene)])
        to_view = np.array(view.window_matrix) @ np.array(view.view_matrix) @ np.array(item.matrix_world.normalized())
        seen = corners @ to_view.T
        frame = 0.5 + 0.5 * seen[:, :2] / seen[:, 3:]
        low, high = frame.min(axis=0), frame.max(axis=0)
    size = np.array([region.width, region.height])
    first, last = (
        (low + (high - low) * [getattr(border, f"{name}_{end}_{axis}") for axis in "xy"]) * size
        for end in ("min", "max")
    )
    return _clamped(first, last, size)


def part_of(camera: Camera, part: Part) -> Camera:
    """The camera that sees only a part of a region's camera."""
    left, low, width, height = part
    top = camera.height - low - height
    return replace(camera, width=width, height=height, cx=camera.cx - left, cy=camera.cy - top)


def _clamped(first: np.ndarray, last: np.ndarray, size: np.ndarray) -> Part:
    """Whole pixels of the region, at least one."""
    left, low = (min(max(math.floor(value), 0), side - 1) for value, side in zip(first, size, strict=True))
    right, high = (min(max(math.ceil(value), 0), side) for value, side in zip(last, size, strict=True))
    return int(left), int(low), int(max(right - left, 1)), int(max(high - low, 1))
