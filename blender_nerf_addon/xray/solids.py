"""Whether triangles enclose a solid: an X-ray must leave wherever it enters. No bpy here."""

from dataclasses import dataclass

import numpy as np

from ..vendor.nerf_core.contract.mesh_edges import mesh_edges


@dataclass(frozen=True)
class Faults:
    """What keeps a mesh from being the surface of a solid.

    Attributes
    ----------
    open_edges : int
        Edges with one face: a hole's rim.
    crowded_edges : int
        Edges with more than two faces.
    flipped_edges : int
        Edges whose two faces look to opposite sides: one of them is flipped.
    inside_out : bool
        Whether all faces look inward.
    empty : bool
        Whether there is no triangle at all.
    """

    open_edges: int = 0
    crowded_edges: int = 0
    flipped_edges: int = 0
    inside_out: bool = False
    empty: bool = False

    @property
    def is_solid(self) -> bool:
        """Whether it encloses something and is whole."""
        return not self.words

    @property
    def words(self) -> str:
        """What is wrong, for a person; empty where nothing is."""
        if self.empty:
            return "no faces"
        told = []
        for count, what in (
            (self.open_edges, "open"),
            (self.crowded_edges, "with more than two faces"),
            (self.flipped_edges, "between flipped faces"),
        ):
            if count:
                told.append(f"{count:,} edge{'s' if count > 1 else ''} {what}")
        if self.inside_out:
            told.append("normals point inward")
        return ", ".join(told)


def find_faults(vertices: np.ndarray, faces: np.ndarray) -> Faults:
    """Look for what keeps triangles from being the surface of a solid.

    Parameters
    ----------
    vertices : (V, 3) float array
    faces : (F, 3) int array
        Counter-clockwise as seen from outside. Corners at the very same place count as one, and triangles that have
        two of their corners there not at all.

    Returns
    -------
    Faults
    """
    edges = mesh_edges(vertices, faces)
    if not len(edges.counts):
        return Faults(empty=True)
    open_edges, crowded = int((edges.counts == 1).sum()), int((edges.counts > 2).sum())
    flipped = int(((edges.counts == 2) & (edges.ways != 0)).sum())
    whole = not (open_edges or crowded or flipped)
    return Faults(open_edges, crowded, flipped, whole and enclosed_volume(vertices, faces) < 0.0)


def enclosed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """The volume inside a closed mesh, negative where its faces look inward; by the divergence theorem."""
    corners = np.asarray(vertices, dtype=np.float64)
    corners = (corners - corners.mean(axis=0))[faces]  # far from the origin the products would round
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0)
