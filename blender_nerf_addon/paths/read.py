"""A camera path as an animated camera: one key a picture on place, rotation and lens, straight between them."""

import math
from collections.abc import Sequence

import bpy
import numpy as np

from .. import compat
from ..capture.cameras import PROPERTY, SENSOR_WIDTH, apply_frame, camera_to_blender, new_camera
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.camera_path import CameraPath
from ..vendor.nerf_core.contract.errors import NerfError

LINEAR = 1  # of a key's interpolation, by its number
SAME = 1e-7  # relative: values that differ by less are one value, which needs no keys
MAX_FRAME = 1_048_574  # Blender's last


def import_path(scene: bpy.types.Scene, path: CameraPath, name: str, set_scene: bool) -> bpy.types.Object:
    """Make the animated camera.

    Parameters
    ----------
    scene : Scene
        The first picture is at its first frame.
    path : CameraPath
    name : str
    set_scene : bool
        Give the scene the path's picture size, frame rate and length, and the camera as its own.

    Returns
    -------
    Object
        A new camera in the scene's collection.

    Raises
    ------
    NerfError
        When the path cannot be one camera of Blender's: pictures of several kinds or shapes, or too long.
    """
    _check(path)
    fps = path.fps if set_scene and path.fps else scene.render.fps / scene.render.fps_base
    frames = scene.frame_start + np.array(path.times) * fps
    if frames[-1] > MAX_FRAME:
        raise NerfError(f"The path '{name}' would end at frame {frames[-1]:.0f}; Blender's last is {MAX_FRAME}.")
    first = path.cameras[0]
    item = new_camera(first, name)
    frame = camera_to_blender(first, item)
    if len(path.cameras) > 1:
        del item.data[PROPERTY]  # it told the first camera alone
    scene.collection.objects.link(item)
    _animate(item, path.cameras, frames)
    if set_scene:
        apply_frame(scene.render, frame)
        if path.fps:
            _set_rate(scene.render, path.fps)
        scene.frame_end = max(scene.frame_start, math.ceil(frames[-1] - 1e-3))
        scene.camera = item
    return item


def _check(path: CameraPath) -> None:
    first = path.cameras[0]
    for index, camera in enumerate(path.cameras):
        if (camera.width, camera.height, camera.kind) != (first.width, first.height, first.kind):
            raise NerfError(
                f"Camera {index} of the path has another kind or picture size than the first: such cameras are a "
                "data set, not a path; import them with their pictures (Import Data Set)."
            )
        if abs(camera.fl_x / camera.fl_y - first.fl_x / first.fl_y) > 1e-6:
            raise NerfError(f"Camera {index} of the path has pixels of another shape than the first.")
        if camera.kind == "panoramic" and not np.allclose(_lens(camera), _lens(first), rtol=1e-6):
            raise NerfError(f"Camera {index} of the path shows another part of the sphere than the first.")


def _lens(camera: Camera) -> tuple[float, float, float, float]:
    return camera.fl_x, camera.fl_y, camera.cx, camera.cy


def _animate(item: bpy.types.Object, cameras: Sequence[Camera], frames: np.ndarray) -> None:
    """Set the first camera's values and give the rest keys, where anything changes."""
    places = np.array([camera.position for camera in cameras])
    turns = quaternions(np.array([camera.c2w[:3, :3] for camera in cameras]))
    item.rotation_mode = "QUATERNION"
    item.location, item.rotation_quaternion = places[0], turns[0]
    if len(cameras) == 1:
        return
    _key(item, {"location": places, "rotation_quaternion": turns}, frames)
    if cameras[0].kind == "panoramic":
        return
    data, first = item.data, cameras[0]
    width, aspect = first.width, first.fl_x / first.fl_y
    values = {
        "shift_x": np.array([0.5 - camera.cx / width for camera in cameras]),
        "shift_y": np.array([(camera.cy - camera.height / 2) * aspect / width for camera in cameras]),
    }
    focal = np.array([camera.fl_x for camera in cameras])
    if first.kind == "orthographic":
        values["ortho_scale"] = width / focal
    else:
        # Blender's focal length has a lower limit: one sensor, large enough for the shortest of them.
        data.sensor_width = SENSOR_WIDTH * max(1.0, float((width / (focal * SENSOR_WIDTH)).max()))
        values["lens"] = focal * data.sensor_width / width
        data.lens = values["lens"][0]
    changing = {key: column for key, column in values.items() if np.ptp(column) > SAME * max(1.0, np.abs(column).max())}
    _key(data, changing, frames)


def _key(owner: bpy.types.ID, columns: dict[str, np.ndarray], frames: np.ndarray) -> None:
    """Keys at every frame: the first as Blender makes it, which also makes the curves, then all at once."""
    for key, values in columns.items():
        setattr(owner, key, values[0])
        owner.keyframe_insert(key, frame=float(frames[0]))
    if not columns:
        return
    for curve in compat.action_curves(owner.animation_data):
        values = columns.get(curve.data_path)
        if values is None:
            continue
        column = values[:, curve.array_index] if values.ndim == 2 else values
        points = curve.keyframe_points
        points.add(len(frames) - len(points))
        points.foreach_set("co", np.stack([frames, column], axis=-1).astype(np.float32).ravel())
        points.foreach_set("interpolation", np.full(len(frames), LINEAR, dtype=np.int32))
        curve.update()


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """(N, 4) unit quaternions (w, x, y, z) of (N, 3, 3) rotations, each on the side of the one before.

    The largest of the four components is found from the trace, the others from it (Shepperd 1978).
    """
    m = rotations
    trace = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    squares = np.stack([trace, m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], axis=-1)
    found = np.empty((len(m), 4))
    for index, (matrix, largest) in enumerate(zip(m, squares.argmax(axis=1), strict=True)):
        w = [1.0 + trace[index], matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
        if largest:
            i, j, k = largest - 1, largest % 3, (largest + 1) % 3
            row = np.empty(4)
            row[0] = matrix[k, j] - matrix[j, k]
            row[1 + i] = 1.0 + matrix[i, i] - matrix[j, j] - matrix[k, k]
            row[1 + j], row[1 + k] = matrix[j, i] + matrix[i, j], matrix[k, i] + matrix[i, k]
        else:
            row = np.array(w)
        row /= np.linalg.norm(row)
        found[index] = -row if index and row @ found[index - 1] < 0 else row
    return found


def _set_rate(render: bpy.types.RenderSettings, fps: float) -> None:
    """Blender's rate is a whole number over a base near 1."""
    whole = max(1, math.ceil(fps - 1e-9))
    render.fps, render.fps_base = whole, whole / fps
