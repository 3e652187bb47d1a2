"""What is there from the beginning: the NeRF as a cloud, its box, the cameras, the one picture and its pixel."""

from collections.abc import Generator
from dataclasses import dataclass

import bpy
import numpy as np

from ...vendor.nerf_core.contract.camera import Camera
from ...vendor.nerf_core.contract.errors import NerfError
from .. import keys, look
from ..facts import Story
from ..shots import LENS, SENSOR, WIDE, Shot, axes, filled, perpendicular, side_view
from ..shots import overview as overview_axes
from ..stage import BAND_TOP, Stage, place

CUT_DIM = 0.42  # of the cloud's colours behind the ray
LINE = (-6.9, 6.9, -1.7, -1.3)  # where the ray lies in the close-ups


@dataclass
class Scenery:
    """Objects and poses that several chapters use.

    Attributes
    ----------
    sheet : Object
        The picture in the scene, before its camera.
    rim, pyramid : Object
        The picture's frame; lines from the camera to its corners.
    center : (3,) array
        Of the sheet.
    spot : (3,) array
        Where the pixel lies on it.
    whole, opened : Object
        The cloud, and what of it lies behind the ray.
    everything, pixel, overview, beside, middle, wide, close : Shot
        All cameras; the picture; it and the box; the ray from the side; its way through the box; what mattered on it at
        any moment; what matters on it now.
    span, wide_span : (float, float)
        Distances that `close` and `wide` show.
    unit : float
        World length of one sign's unit in the close-up.
    """

    sheet: bpy.types.Object
    rim: bpy.types.Object
    pyramid: bpy.types.Object
    center: np.ndarray
    spot: np.ndarray
    whole: bpy.types.Object
    opened: bpy.types.Object
    cameras: bpy.types.Object
    box: bpy.types.Object
    everything: Shot
    pixel: Shot
    overview: Shot
    beside: Shot
    middle: Shot
    wide: Shot
    close: Shot
    span: tuple[float, float]
    wide_span: tuple[float, float]
    unit: float


def build(stage: Stage, story: Story) -> Generator[float, None, Scenery]:
    """Make the scenery.

    Raises
    ------
    NerfError
        When the views are panoramas: they have no flat picture to put up.
    """
    camera, ray = story.camera, story.ray
    if camera.kind == "panoramic":
        raise NerfError("The explainer needs flat pictures, and this run was trained on panoramas.")
    turn = side_view(ray.direction)
    part, size = stage.part("Backdrop"), story.size
    distance = _sheet_distance(camera, ray.near, size)
    corners = _on_sheet(camera, distance, _outline(camera))
    spot = _on_sheet(camera, distance, [story.pixel])[0]
    center = corners.mean(axis=0)
    width, height = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])

    sheet = look.add(part, "Picture", look.cells("Picture", story.picture, width, height))
    place(sheet, center, camera.c2w[:3, :3])
    rim = look.add(part, "Picture Frame", look.frame("Picture Frame", width, height, 0.03 * height), look.TEXT)
    place(rim, center, camera.c2w[:3, :3])
    lines = [np.stack([camera.position, corner]) for corner in corners]
    pyramid = look.add(part, "Picture Camera", look.tubes("Picture Camera", lines, 0.0012 * size), look.QUIET)

    eight = _corners(story.bounds)
    edges = [eight[[i, i | 1 << axis]] for i in range(8) for axis in range(3) if not i >> axis & 1]
    box = look.add(part, "Box", look.tubes("Box", edges, 0.0012 * size), look.DARK)

    others = [other for other in story.cameras if np.abs(other.c2w - camera.c2w).max() > 1e-6]
    lines = [line for other in others for line in _little_camera(other, 0.035 * size)]
    middle = story.bounds.mean(axis=0)
    cameras = look.add(
        part, "Cameras", look.tubes("Cameras", [line - middle for line in lines], 0.0011 * size), look.BLUE
    )
    cameras.location = middle.tolist()

    yield 0.3
    whole, opened = yield from _clouds(stage, story, turn, part)
    outside = overview_axes(camera.c2w, ray.direction)
    near_by = np.concatenate([eight, corners, camera.position[None]])
    shown = np.concatenate([near_by, *[[other.position] for other in others]])
    span, wide_span = ray.close_up(), _wide_span(story)
    # Turned so that the ray lies level: what happens along it is read like a line.
    backward = perpendicular(turn[:, 2], ray.direction)
    level = np.stack([ray.direction, np.cross(backward, ray.direction), backward], axis=-1)
    close = filled(level, ray.at(np.linspace(*span, 8)), LINE)
    frontal = axes(outside[:, 2] * -0.35 - 0.65 * camera.c2w[:3, 2], np.array([0.0, 0.0, 1.0]))
    depth = float((close.position - ray.at(np.mean(span))) @ close.rotation[:, 2])
    return Scenery(
        sheet, rim, pyramid, center, spot, whole, opened, cameras, box,
        pixel=filled(frontal, corners, (-6.5, 6.5, BAND_TOP + 0.3, 4.2)),
        wide=filled(level, ray.at(np.linspace(*wide_span, 8)), LINE),
        wide_span=wide_span,
        everything=filled(outside, shown, (-7.4, 7.4, BAND_TOP + 0.2, 4.3)),
        overview=overview_shot(story),
        middle=filled(turn, np.concatenate([ray.at(np.linspace(ray.near, ray.far, 8)), eight]), (-6.6, 6.6, -2.5, 4.3)),
        beside=filled(turn, np.concatenate([ray.at(np.array([0.0, ray.far])), corners, eight]), (-7.2, 7.2, -2.4, 4.2)),
        close=close,
        span=span,
        unit=depth * SENSOR / LENS / WIDE,
    )  # fmt: skip


def overview_shot(story: Story) -> Shot:
    """The picture and the box: also the place that the new picture of the end is seen from."""
    camera, eight = story.camera, _corners(story.bounds)
    direction = camera.rays(story.pixel[None])[1][0]
    if is_inside(story):  # it stands in the middle of things: from outside, walls would be in the way
        right, up, backward = camera.c2w[:3, :3].T
        beside = camera.position + story.size * (0.06 * right + 0.02 * up)
        return Shot(beside, axes(-backward, np.array([0.0, 0.0, 1.0])))
    distance = _sheet_distance(camera, story.ray.near, story.size)
    sheet = _on_sheet(camera, distance, _outline(camera))
    points = np.concatenate([eight, sheet, camera.position[None]])
    return filled(overview_axes(camera.c2w, direction), points, (-7.0, 7.0, BAND_TOP + 0.3, 4.2))


def is_inside(story: Story) -> bool:
    """Whether the picture was taken within the box, as in a room."""
    return story.ray.near < 0.02 * story.size


def _corners(bounds: np.ndarray) -> np.ndarray:
    return np.array([[bounds[i >> axis & 1][axis] for axis in range(3)] for i in range(8)])


def _outline(camera: Camera) -> list[tuple[int, int]]:
    return [(0, 0), (camera.width, 0), (camera.width, camera.height), (0, camera.height)]


def _wide_span(story: Story) -> tuple[float, float]:
    """What mattered on the ray at any moment, at most four times what does now."""
    low, high = story.ray.close_up()
    spans = [moment.ray.weighty() for moment in story.moments if len(moment.ray.t)]
    length = 3.0 * (high - low)
    return max(min([low, *[a for a, _ in spans]]), low - length), min(
        max([high, *[b for _, b in spans]]), high + length
    )


def _sheet_distance(camera: Camera, near: float, size: float) -> float:
    """How far before its camera a picture stands: large enough to be seen, and outside the box where that can be."""
    per_unit = camera.height / camera.fl_y  # height of the picture at distance 1
    wanted = 0.3 * size / per_unit if camera.kind == "perspective" else 0.3 * size
    return min(wanted, 0.6 * near) if near > 0 else 0.5 * wanted


def _on_sheet(camera: Camera, distance: float, pixels: list) -> np.ndarray:
    """(N, 3) world positions of pixels on a plane before the camera."""
    origins, directions = camera.rays(np.asarray(pixels, dtype=float))
    forward = -camera.c2w[:3, 2]
    return origins + directions * (distance / (directions @ forward))[:, None]


def _little_camera(camera: Camera, size: float) -> list[np.ndarray]:
    half = 0.5 * size * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (1.0, min(camera.height / camera.width, 1.5))
    corners = np.pad(half, ((0, 0), (0, 1)), constant_values=-size) @ camera.c2w[:3, :3].T + camera.position
    return [np.stack([camera.position, corner]) for corner in corners] + [corners[[0, 1, 2, 3, 0]]]


def _clouds(
    stage: Stage, story: Story, turn: np.ndarray, part: bpy.types.Collection
) -> Generator[float, None, tuple[bpy.types.Object, bpy.types.Object]]:
    """The NeRF as points: all of it, and what lies behind the ray as seen from the side, dim."""
    points, colors = np.asarray(story.cloud, dtype=float), np.asarray(story.cloud_color, dtype=float)
    radius = 0.0058 * story.size
    whole = look.add(part, "NeRF", look.bodies("NeRF", points, colors, radius))
    yield 0.6
    normal = perpendicular(turn[:, 2], story.ray.direction)
    behind = (points - story.ray.origin) @ normal < -0.006 * story.size
    dim = CUT_DIM * colors + (1.0 - CUT_DIM) * np.asarray(look.GROUND)
    opened = look.add(part, "NeRF Cut Open", look.bodies("NeRF Cut Open", points[behind], dim[behind], radius))
    yield 0.9
    return whole, opened


def switch(scenery: Scenery, opened: float, closed: float, again: float) -> None:
    """Show the whole cloud up to a frame, then the opened one, none in the close-up, and the whole one again."""
    keys.show(scenery.opened, [(opened, closed)])
    keys.show(scenery.box, [(0.0, closed), (again, None)])
    keys.show(scenery.whole, [(0.0, opened), (again, None)])
