"""What the viewport shows of a rig, as arrays of vertices: source, detector, central ray, arc, what is cut off. No bpy.

The vertices are those of `inspect.shapes`, drawn by `inspect.drawing`.
"""

from dataclasses import dataclass

import numpy as np

from ..inspect.shapes import Discs, Vertices
from ..vendor.nerf_core.contract.camera import Camera
from .rig import Rig

SOURCE = (1.0, 0.78, 0.2)
DETECTOR = (0.35, 0.78, 1.0)
ARC = (0.62, 0.66, 0.72)
HELD_OUT = (0.45, 0.95, 0.55)
CUT_OFF = (1.0, 0.3, 0.24)
ARC_PARTS = 96  # of a full turn
MOST_MARKS = 3_000
WIDTH = 1.6  # pixels


@dataclass(frozen=True)
class RigShapes:
    """Lines as bands of four vertices each, and discs."""

    lines: Vertices
    discs: Discs


def build(rig: Rig, shown_view: int, cut: np.ndarray) -> RigShapes:
    """The shapes of a rig.

    Parameters
    ----------
    rig : Rig
    shown_view : int
        Whose source and detector are shown; taken modulo the number of views.
    cut : (N, 3) array
        World places of the subject that some view does not show.
    """
    views = rig.angles
    camera = rig.camera(views[shown_view % len(views)][1])
    corners = detector_corners(camera, rig)
    middle = camera.position + rig.beam.source_detector * camera.forward
    frame = [(corners[i], corners[(i + 1) % 4]) for i in range(4)]
    lines = [
        _lines(frame, (*DETECTOR, 0.95), WIDTH),
        _lines([(camera.position, corner) for corner in corners], (*SOURCE, 0.35), WIDTH / 2),
        _lines([(camera.position, middle)], (*SOURCE, 0.9), WIDTH),
        _lines(_arc(rig), (*ARC, 0.8), WIDTH),
        _lines([_axis(rig)], (*ARC, 0.5), WIDTH / 2),
    ]
    split = np.array([split != "train" for split, _ in views])
    places = np.stack([rig.camera(angle).position for _, angle in views])
    marks = cut[:: -(-len(cut) // MOST_MARKS)] if len(cut) else cut
    discs = [
        _discs(places[~split], (*ARC, 0.9), 5.0),
        _discs(places[split], (*HELD_OUT, 1.0), 8.0),
        _discs(camera.position[None], (*SOURCE, 1.0), 14.0),
        _discs(np.asarray(rig.center)[None], (*ARC, 1.0), 6.0),
        _discs(np.asarray(marks), (*CUT_OFF, 0.9), 4.0),
    ]
    joined = Discs(
        Vertices.joined([disc.vertices for disc in discs]),
        np.concatenate([disc.size for disc in discs]),
        np.concatenate([disc.filled for disc in discs]),
    )
    return RigShapes(Vertices.joined(lines), joined)


def detector_corners(camera: Camera, rig: Rig) -> np.ndarray:
    """(4, 3) corners of the detector, world space, one after another around it: top left, top right, and on."""
    width, height = rig.beam.detector
    right, up = camera.c2w[:3, 0], camera.c2w[:3, 1]
    middle = camera.position + rig.beam.source_detector * camera.forward
    signs = ((-1, 1), (1, 1), (1, -1), (-1, -1))
    return np.stack([middle + x * width / 2 * right + y * height / 2 * up for x, y in signs])


def _arc(rig: Rig) -> list[tuple[np.ndarray, np.ndarray]]:
    """The way that the source goes, from the first view to the last."""
    angles = [angle for _, angle in rig.angles]
    train = [angle for split, angle in rig.angles if split == "train"]
    low, high = min(angles), max(angles)
    if len(train) > 1 and high - low + (train[1] - train[0]) >= 359.9:
        high = low + 360.0
    count = max(1, round(ARC_PARTS * (high - low) / 360.0))
    places = [rig.camera(low + (high - low) * i / count).position for i in range(count + 1)]
    return list(zip(places[:-1], places[1:], strict=True))


def _axis(rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """The stretch of the axis that the detector sees."""
    half = rig.beam.detector[1] / 2 * rig.beam.source_axis / rig.beam.source_detector
    up = np.array([0.0, 0.0, half])
    return rig.center - up, rig.center + up


def _lines(pairs: list[tuple[np.ndarray, np.ndarray]], color: tuple[float, ...], width: float) -> Vertices:
    ends = np.array(pairs, dtype=np.float64)
    ways = ends[:, 1] - ends[:, 0]
    ways /= np.maximum(np.linalg.norm(ways, axis=1, keepdims=True), 1e-30)
    count = len(ends)
    offset = np.zeros((count, 4, 2), dtype=np.float32)
    offset[:, :, 1] = np.float32([-width / 2, width / 2, -width / 2, width / 2])
    return Vertices(
        np.repeat(ends, 2, axis=1).reshape(-1, 3).astype(np.float32),
        np.repeat(ways, 4, axis=0).astype(np.float32),
        offset.reshape(-1, 2),
        np.tile(np.float32(color), (4 * count, 1)),
    )


def _discs(places: np.ndarray, color: tuple[float, ...], size: float) -> Discs:
    count = len(places)
    vertices = Vertices(
        np.asarray(places, dtype=np.float32).reshape(-1, 3),
        np.tile(np.float32([0, 0, 1]), (count, 1)),
        np.zeros((count, 2), dtype=np.float32),
        np.tile(np.float32(color), (count, 1)),
    )
    return Discs(vertices, np.full(count, size, dtype=np.float32), np.ones(count, dtype=np.float32))
