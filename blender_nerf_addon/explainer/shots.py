"""Where a camera stands so that given points fill a given part of its picture. No bpy here."""

from dataclasses import dataclass

import numpy as np

WIDE, HIGH = 16.0, 9.0  # the picture in units of the stage's signs: their x from -8 to 8, y from -4.5 to 4.5
LENS, SENSOR = 45.0, 36.0


@dataclass(frozen=True)
class Shot:
    """A camera's pose.

    Attributes
    ----------
    position : (3,) array
    rotation : (3, 3) array
        Columns right, up, backward.
    """

    position: np.ndarray
    rotation: np.ndarray

    @property
    def quaternion(self) -> np.ndarray:
        """(4,) w, x, y, z."""
        from mathutils import Matrix

        return np.array(Matrix(self.rotation.tolist()).to_quaternion())


def axes(forward: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(3, 3) right, up, backward of a camera that looks along `forward` with `up` as upright as it goes."""
    backward = -forward / np.linalg.norm(forward)
    right = np.cross(up, backward)
    if np.linalg.norm(right) < 1e-6:
        right = np.cross((0.0, 1.0, 0.0) if abs(backward[1]) < 0.9 else (1.0, 0.0, 0.0), backward)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward], axis=-1)


def filled(rotation: np.ndarray, points: np.ndarray, rect: tuple[float, float, float, float]) -> Shot:
    """The pose, turned so, that has all points within a part of the picture, as large as they go.

    Parameters
    ----------
    rotation : (3, 3) array
        Of :func:`axes`.
    points : (N, 3) array
    rect : (left, right, bottom, top)
        In units of the signs.
    """
    left, right, bottom, top = rect
    scale = WIDE * LENS / SENSOR  # signs' units per tangent
    local = np.asarray(points, dtype=float) @ rotation
    center = 0.5 * (local.min(axis=0) + local.max(axis=0))
    extent = max(float(np.ptp(local, axis=0).max()), 1e-6)
    distance = extent
    offset = center[:2].copy()
    nearest = local[:, 2].max()
    for _ in range(60):
        depth = nearest + distance - local[:, 2]
        x, y = ((local[:, i] - offset[i]) / depth * scale for i in (0, 1))
        grow = max((x.max() - x.min()) / (right - left), (y.max() - y.min()) / (top - bottom))
        middle = np.array([0.5 * (x.max() + x.min()), 0.5 * (y.max() + y.min())])
        wanted = np.array([0.5 * (left + right), 0.5 * (bottom + top)])
        mean = float(np.mean(depth))
        offset = offset + (middle - wanted) / scale * mean
        distance = max(distance * (1.0 + 0.7 * (grow - 1.0)), 0.02 * extent)
    position = rotation @ np.array([offset[0], offset[1], nearest + distance])
    return Shot(position, rotation)


def perpendicular(vector: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The unit vector of what of `vector` is at right angles to a unit `direction`."""
    left = vector - (vector @ direction) * direction
    return left / np.linalg.norm(left)


def overview(story_camera: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Axes of an overview: between behind a camera, whose (4, 4) pose is given, and beside its ray."""
    look_along = -1.25 * story_camera[:3, 2] - side_view(direction)[:, 2]
    look_along = look_along / np.linalg.norm(look_along)
    look_along[2] = min(look_along[2], -0.38)
    return axes(look_along, np.array([0.0, 0.0, 1.0]))


def side_view(direction: np.ndarray, lift: float = 18.0) -> np.ndarray:
    """Axes of a camera that sees a ray go from left to right, from a little above (degrees)."""
    up = np.array([0.0, 0.0, 1.0]) if abs(direction[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    right = direction - np.dot(direction, up) * up
    right /= np.linalg.norm(right)
    level = np.cross(up, right)  # looks along it: the ray goes to the right
    angle = np.radians(lift)
    return axes(np.cos(angle) * level - np.sin(angle) * up, up)
