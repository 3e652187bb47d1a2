"""Which way is up in a data set, and how large it is: what COLMAP leaves open, and what any data set may be given.

A similarity (rotation, place and size) is found from ALL cameras of the data set, whatever split is asked for, so that
training and evaluation see one world. The same data and the same choice give the same world.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.frames import FrameSpec
from ..contract.xray import XrayFacts
from .transforms import TransformsFile

ORIENTATIONS = ("auto", "up", "none")
SCALES = ("keep", "normalise")


@dataclass(frozen=True)
class Placement:
    """How a data set stands in the world.

    Attributes
    ----------
    orientation : {'auto', 'up', 'none'}
        'up' turns the world about its origin so that the cameras' mean up direction becomes +Z, as nerfstudio's
        "up" does: right for photographs held level, wrong for a camera that looks straight down. 'none' leaves the
        axes as they are. 'auto' is 'up' for COLMAP, whose world has no up, and 'none' for a `transforms.json`.
    scale : {'keep', 'normalise'}
        'keep' leaves place and units. 'normalise' moves the cameras' mean to the origin and scales so that the
        largest of their coordinates is 1, as nerfstudio does.
    """

    orientation: str = "auto"
    scale: str = "keep"

    def __post_init__(self) -> None:
        if self.orientation not in ORIENTATIONS:
            raise NerfError(f"The orientation '{self.orientation}' is not one of {', '.join(ORIENTATIONS)}.")
        if self.scale not in SCALES:
            raise NerfError(f"The scale '{self.scale}' is not one of {', '.join(SCALES)}.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "Placement":
        """Read what :meth:`to_dict` gave; None and missing values mean the defaults."""
        values = values if isinstance(values, Mapping) else {}
        return cls(str(values.get("orientation") or "auto"), str(values.get("scale") or "keep"))

    def to_dict(self) -> dict[str, str]:
        """As plain JSON, for `run.json`."""
        return {"orientation": self.orientation, "scale": self.scale}

    def leaves(self, kind: str) -> bool:
        """Whether a data set of this kind stays as it is."""
        return self.scale == "keep" and not self._turns(kind)

    def _turns(self, kind: str) -> bool:
        return self.orientation == "up" or (self.orientation == "auto" and kind == "colmap")

    def similarity(self, kind: str, c2ws: np.ndarray) -> tuple[np.ndarray, float]:
        """(4, 4) matrix from the data set's own world to the placed one, and its scale; of (N, 4, 4) cameras."""
        matrix = np.eye(4)
        if self._turns(kind):
            matrix[:3, :3] = rotation_to_z(c2ws[:, :3, 1].mean(axis=0))
        scale = 1.0
        if self.scale == "normalise":
            places = c2ws[:, :3, 3] @ matrix[:3, :3].T
            center = places.mean(axis=0)
            reach = float(np.abs(places - center).max(initial=0.0))
            scale = 1.0 / reach if reach > 1e-9 * max(1.0, float(np.abs(places).max())) else 1.0
            matrix[:3, :3] *= scale
            matrix[:3, 3] = -scale * center
        return matrix, scale


def rotation_to_z(up: np.ndarray) -> np.ndarray:
    """The (3, 3) smallest rotation that turns `up` to +Z; where cameras have no common up, COLMAP's -Y is taken."""
    length = float(np.linalg.norm(up))
    up = up / length if length > 1e-3 else np.array([0.0, -1.0, 0.0])
    cosine = float(up[2])
    if cosine < -1.0 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])  # upside down: half a turn about x
    axis = np.cross(up, (0.0, 0.0, 1.0))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1.0 + cosine)  # Rodrigues' formula


def place(documents: TransformsFile, placement: Placement) -> TransformsFile:
    """The documents with every camera, box and point where `placement` puts it."""
    if placement.leaves(documents.kind):
        return documents
    everything = [frame.c2w for frames in documents.frames.values() for frame in frames]
    matrix, scale = placement.similarity(documents.kind, np.array(everything))
    return replace(
        documents,
        frames={
            split: [_moved(frame, matrix, scale) for frame in frames] for split, frames in documents.frames.items()
        },
        bounds=_moved_box(documents.bounds, matrix),
        aabb=_moved_box(documents.aabb, matrix),
        unit_cube=_moved_box(documents.unit_cube, matrix),
        points=None if documents.points is None else documents.points @ matrix[:3, :3].T + matrix[:3, 3],
        xray=None if documents.xray is None else _scaled(documents.xray, scale),
    )


def _moved(frame: FrameSpec, matrix: np.ndarray, scale: float) -> FrameSpec:
    c2w = matrix @ frame.c2w
    c2w[:3, :3] /= scale  # sizes change, a camera's axes stay unit vectors
    return replace(frame, c2w=c2w, scale=scale * frame.scale)


def _scaled(facts: XrayFacts, scale: float) -> XrayFacts:
    """The same radiographs where a unit of the old world is `scale` of the new: line integrals stay as they are."""
    axis, distance, detector = facts.source_axis, facts.source_detector, facts.detector
    return replace(
        facts,
        source_axis=None if axis is None else scale * axis,
        source_detector=None if distance is None else scale * distance,
        detector=None if detector is None else (scale * detector[0], scale * detector[1]),
        meters_per_unit=facts.meters_per_unit / scale,
    )


def _moved_box(box: np.ndarray | None, matrix: np.ndarray) -> np.ndarray | None:
    """The box along the axes around a box that was moved."""
    if box is None:
        return None
    corners = np.stack(np.meshgrid(*box.T, indexing="ij"), axis=-1).reshape(-1, 3)
    moved = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return np.stack([moved.min(axis=0), moved.max(axis=0)])
