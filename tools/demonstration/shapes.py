"""Geometry of the demo scene as plain numpy arrays: lathes, tubes, leaves and cloth; no bpy."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """A mesh.

    Attributes
    ----------
    vertices : (V, 3) float64 array
        Positions in the object's own space, scene units.
    faces : (F, 4) int64 array
        Vertex indices of quads, counter-clockwise seen from outside.
    uv : (V, 2) float64 array
        Texture coordinates of each vertex.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray


def grid_faces(rows: int, columns: int, wrap: bool = False) -> np.ndarray:
    """Quads of a `rows` x `columns` grid of vertices; `wrap` also joins the last column with the first."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if wrap else columns - 1), indexing="ij")
    following = (column + 1) % columns
    corners = (row * columns + column, row * columns + following, (row + 1) * columns + following)
    return np.stack([*corners, (row + 1) * columns + column], axis=-1).reshape(-1, 4)


def smooth_curve(points: np.ndarray, count: int) -> np.ndarray:
    """`count` points of the centripetal-free Catmull-Rom spline through `points` (N, D), ends included."""
    points = np.asarray(points, dtype=float)
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    place = np.linspace(0.0, len(points) - 1, count)
    index = np.minimum(place.astype(int), len(points) - 2)
    t = (place - index)[:, None]
    p0, p1, p2, p3 = (padded[index + offset] for offset in range(4))
    return 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)


def lathe(profile: np.ndarray, segments: int = 64, rows: int | None = None) -> Shape:
    """Turn a profile of (radius, height) pairs, listed from the bottom's axis outwards and up, about Z.

    Parameters
    ----------
    profile : (N, 2) array
        Radius and height; a radius of 0 closes the shape.
    segments : int
        Steps around the axis.
    rows : int, optional
        Resample the profile to so many points along a smooth curve; None keeps its corners.
    """
    profile = np.asarray(profile, dtype=float) if rows is None else smooth_curve(profile, rows)
    radius, height = np.maximum(profile[:, 0], 0.0), profile[:, 1]
    angle = np.linspace(0.0, 2 * np.pi, segments, endpoint=False)
    x, y = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
    z = np.broadcast_to(height[:, None], x.shape)
    u = np.broadcast_to(angle / (2 * np.pi), x.shape)
    v = np.broadcast_to(np.linspace(0.0, 1.0, len(radius))[:, None], x.shape)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    uv = np.stack([u, v], axis=-1).reshape(-1, 2)
    return Shape(vertices, grid_faces(len(radius), segments, wrap=True), uv)


def tube(path: np.ndarray, radius: np.ndarray | float, segments: int = 16) -> Shape:
    """Sweep a circle along `path` (N, 3), open at both ends, its frame carried without twist (double reflection).

    `radius` is one number or one per point of the path. See Wang et al., "Computation of Rotation Minimizing
    Frames", ACM TOG 27 (2008).
    """
    path = np.asarray(path, dtype=float)
    radius = np.broadcast_to(np.asarray(radius, dtype=float), (len(path),))
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    start = np.eye(3)[np.argmin(np.abs(tangent[0]))]
    normal = np.cross(tangent[0], start)
    normals = [normal / np.linalg.norm(normal)]
    for index in range(len(path) - 1):
        step = path[index + 1] - path[index]
        scale = 2.0 / (step @ step)
        reflected = normals[-1] - scale * (step @ normals[-1]) * step
        mirrored = tangent[index] - scale * (step @ tangent[index]) * step
        second = tangent[index + 1] - mirrored
        length = second @ second
        normals.append(reflected if length < 1e-18 else reflected - 2.0 / length * (second @ reflected) * second)
    frame = np.array(normals)
    side = np.cross(tangent, frame)
    angle = np.linspace(0.0, 2 * np.pi, segments, endpoint=False)
    circle = np.cos(angle)[None, :, None] * frame[:, None] + np.sin(angle)[None, :, None] * side[:, None]
    vertices = (path[:, None] + radius[:, None, None] * circle).reshape(-1, 3)
    u, v = np.meshgrid(angle / (2 * np.pi), np.linspace(0.0, 1.0, len(path)))
    return Shape(vertices, grid_faces(len(path), segments, wrap=True), np.stack([u, v], axis=-1).reshape(-1, 2))


def ring(radius: float, thickness: float, segments: int = 96) -> Shape:
    """A torus about Z."""
    angle = np.linspace(0.0, 2 * np.pi, segments, endpoint=False)
    around = np.linspace(0.0, 2 * np.pi, 12, endpoint=False)
    distance = radius + thickness * np.cos(around)[:, None]
    x, y = distance * np.cos(angle), distance * np.sin(angle)
    z = np.broadcast_to(thickness * np.sin(around)[:, None], x.shape)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    faces = grid_faces(len(around), segments, wrap=True)
    last = (len(around) - 1) * segments + np.arange(segments)
    following = np.roll(np.arange(segments), -1)
    seam = np.stack([last, (len(around) - 1) * segments + following, following, np.arange(segments)], axis=-1)
    u, v = np.meshgrid(angle / (2 * np.pi), around / (2 * np.pi))
    return Shape(vertices, np.vstack([faces, seam]), np.stack([u, v], axis=-1).reshape(-1, 2))


def leaf(length: float, width: float, droop: float, rows: int = 14, columns: int = 7) -> Shape:
    """A pointed leaf that starts at the origin and grows along +X, folded along its rib and bent down by `droop`."""
    along, across = np.meshgrid(np.linspace(0.0, 1.0, rows), np.linspace(-1.0, 1.0, columns), indexing="ij")
    half = 0.5 * width * np.sin(np.pi * along**0.75) ** 0.9
    angle = droop * along
    x = length * np.where(droop == 0, along, np.sin(angle) / max(droop, 1e-6))
    z = -length * (1 - np.cos(angle)) / max(droop, 1e-6)
    vertices = np.stack([x, across * half, z + 0.35 * np.abs(across) * half], axis=-1).reshape(-1, 3)
    uv = np.stack([along, 0.5 + 0.5 * across], axis=-1).reshape(-1, 2)
    return Shape(vertices, grid_faces(rows, columns)[:, ::-1], uv)


def draped_cloth(
    size: float, center: tuple[float, float], turn: float, edge: float, drop_gap: float, count: int = 90
) -> Shape:
    """A square cloth on a round table at height 0, hanging down where it passes the table's edge.

    Parameters
    ----------
    size : float
        Side of the cloth.
    center : (x, y)
        Where its middle lies, from the table's axis.
    turn : float
        Rotation about Z, radians.
    edge : float
        The table's radius.
    drop_gap : float
        How far the hanging part stands off the edge.
    count : int
        Vertices a side.
    """
    line = np.linspace(-0.5, 0.5, count)
    u, v = np.meshgrid(line, line)
    x = size * (u * np.cos(turn) - v * np.sin(turn)) + center[0]
    y = size * (u * np.sin(turn) + v * np.cos(turn)) + center[1]
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    over = np.maximum(distance - edge, 0.0)
    # The bend at the edge is a quarter circle of radius `drop_gap`; what is left hangs straight, in folds.
    bend = np.minimum(over / (0.5 * np.pi * drop_gap), 1.0) * 0.5 * np.pi
    hanging = np.maximum(over - 0.5 * np.pi * drop_gap, 0.0)
    folds = 0.05 * np.sin(26 * angle) * np.minimum(hanging / 0.2, 1.0)
    reach = np.minimum(distance, edge) + drop_gap * np.sin(bend) + folds * (hanging > 0)
    ripple = 0.012 * (np.sin(9 * u + 4 * v) + np.sin(13 * v - 6 * u + 1.0)) * (over == 0)
    ripple *= np.clip((edge - distance) / 0.15, 0.0, 1.0)
    height = 0.02 + np.maximum(ripple, -0.012) - drop_gap * (1 - np.cos(bend)) - hanging
    vertices = np.stack([reach * np.cos(angle), reach * np.sin(angle), height], axis=-1).reshape(-1, 3)
    return Shape(vertices, grid_faces(count, count), np.stack([u + 0.5, v + 0.5], axis=-1).reshape(-1, 2))
