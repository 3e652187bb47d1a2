"""The edges of triangle meshes and how faces run along them: what is looked at to know whether a mesh is closed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MeshEdges:
    """Every edge of a mesh, in no order.

    Attributes
    ----------
    counts : (E,) int array
        Faces that meet there: 2 in a closed surface, 1 at a hole's rim.
    ways : (E,) int array
        How many more of them run along it one way than the other: 0 where neighbours face the same side.
    """

    counts: np.ndarray
    ways: np.ndarray


def mesh_edges(vertices: np.ndarray, faces: np.ndarray) -> MeshEdges:
    """The edges of (V, 3) vertices and (F, 3) faces.

    Corners at the very same place count as one, and triangles that have two of their corners there not at all.
    """
    faces = _welded(np.asarray(vertices), np.asarray(faces))
    if not len(faces):
        return MeshEdges(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    begins, ends = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    low, high = np.minimum(begins, ends), np.maximum(begins, ends)
    keys = low * (int(high.max()) + 1) + high
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    ways = np.add.reduceat(np.where(begins < ends, 1, -1)[order], first)
    return MeshEdges(np.diff(np.r_[first, len(order)]), ways)


def _welded(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces whose corners at the same place have the same number, without those that have lost their area by that."""
    if not len(faces):
        return np.zeros((0, 3), dtype=np.int64)
    rows = np.ascontiguousarray(vertices + 0.0)  # -0 is 0
    order = np.lexsort(rows.T)
    new = np.r_[True, (np.diff(rows[order], axis=0) != 0).any(axis=1)]
    same = np.empty(len(rows), dtype=np.int64)
    same[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    welded = same[faces]
    return welded[(welded != np.roll(welded, -1, axis=1)).all(axis=1)]
