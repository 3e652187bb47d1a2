"""The viewport's view as a contract camera: whatever Blender draws its lines with, the NeRF is drawn with."""

from collections.abc import Sequence

import numpy as np

from ..capture.cameras import rigid
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError

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
