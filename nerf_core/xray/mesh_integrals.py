"""Exact line integrals through closed triangle meshes whose materials nest, watertight on edges and vertices.

Of the solids that a place lies in, the one with the highest priority gives its attenuation (of equal ones the first):
a bone within flesh needs no boolean operation. A mesh that does not enclose a solid is told of; a line that crosses it
once too often passes one of the crossings over (`kernels.cpu.triangles.pair_crossings`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import NerfError
from ..contract.mesh_edges import mesh_edges
from .projector import _workers
from .sources import RAYS_AT_ONCE, RadiographSource, Stop, _go_on, digest

MARGIN = 1e-9  # of the farthest coordinate: boxes are so much larger than what they hold
MOST_SOLIDS = 100_000
TOO_MANY = "A ray crosses more than {} faces; leave out or simplify the densest meshes."


@dataclass(frozen=True)
class Solid:
    """A closed mesh of one material.

    Attributes
    ----------
    name : str
    vertices : (V, 3) array
        World space.
    faces : (F, 3) int array
        Triangles; which way they face does not matter as long as all of them face the same.
    mu : float
        Attenuation per world unit.
    priority : int
        The highest one counts where solids overlap.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    mu: float
    priority: int = 0


class MeshSource(RadiographSource):
    """Closed meshes.

    Parameters
    ----------
    solids : sequence of Solid

    Attributes
    ----------
    warnings : list of str
        What is wrong with meshes, a sentence each that names the mesh.
    solids : list of Solid
        Those that have faces, the highest priority first.

    Raises
    ------
    NerfError
        When there are no faces, or numbers are not usable.
    """

    def __init__(self, solids: Sequence[Solid]) -> None:
        kept = [_checked(solid) for solid in solids if len(solid.faces)]
        if not kept:
            raise NerfError("There are no faces that X-rays could pass through.")
        if len(kept) > MOST_SOLIDS:
            raise NerfError(f"{len(kept)} meshes are too many; join those of one material, to {MOST_SOLIDS} at most.")
        kept = sorted(kept, key=lambda solid: -solid.priority)  # a stable order: of equal ones the first stays first
        self.solids = kept
        self.name = kept[0].name if len(kept) == 1 else f"{len(kept)} meshes"
        faults = [find_faults(solid.vertices, solid.faces) for solid in kept]
        self.warnings = [
            f"'{solid.name}' is not closed: {fault.words}." for solid, fault in zip(kept, faults, strict=True) if fault
        ]
        self._by_parity = np.array([bool(fault) for fault in faults])
        self._mu = np.array([solid.mu for solid in kept], dtype=np.float64)
        starts = np.cumsum([0, *(len(solid.vertices) for solid in kept[:-1])])
        vertices = np.concatenate([solid.vertices for solid in kept])
        faces = np.concatenate([solid.faces + start for solid, start in zip(kept, starts, strict=True)])
        solid_of = np.repeat(np.arange(len(kept), dtype=np.int32), [len(solid.faces) for solid in kept])
        self.bounds = np.stack([vertices.min(axis=0), vertices.max(axis=0)])
        self._vertices = vertices
        order = _morton_order(vertices, faces)
        self._faces, self._solid_of = np.ascontiguousarray(faces[order]), np.ascontiguousarray(solid_of[order])
        self._lows, self._highs = _tree(vertices, self._faces)

    def integrals(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N,) float64 integrals of attenuation along (N, 3) world rays of unit directions, from their origins on.

        Raises
        ------
        NerfError
            When a line crosses more faces than are kept.
        """
        from ..kernels.cpu.triangles import MOST_HITS, mesh_worker

        shared, starts, steps, memory = self._prepared(origins, directions)
        out = np.zeros(len(starts))
        workers: Any = _workers()
        workers.run(
            mesh_worker, range(workers.threads), *shared, self._mu, self._by_parity, starts, steps, *memory, out
        )
        if np.isnan(out).any():
            raise NerfError(TOO_MANY.format(MOST_HITS))
        return out

    def stretches(
        self, origins: np.ndarray, directions: np.ndarray, takes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where rays run inside some of the solids.

        Parameters
        ----------
        origins, directions : (N, 3) arrays
            World rays of unit directions.
        takes : (S,) bool array
            Which of `solids`.

        Returns
        -------
        rays : (K,) int array
            The ray of each stretch, ascending.
        starts, stops : (K,) float64 arrays
            World lengths from the ray's origin; a start may lie behind it. A ray's stretches do not overlap.

        Raises
        ------
        NerfError
            When a line crosses more faces than are kept.
        """
        from ..kernels.cpu.stretches import stretches_worker
        from ..kernels.cpu.triangles import MOST_HITS

        shared, starts, steps, memory = self._prepared(origins, directions)
        workers: Any = _workers()
        most, takes = 16, np.asarray(takes, dtype=np.bool_)
        while True:
            ends = np.zeros((2, len(starts), most))
            counts = np.zeros(len(starts), np.int64)
            arguments = takes, self._by_parity, starts, steps, *memory, *ends, counts
            workers.run(stretches_worker, range(workers.threads), *shared, *arguments)
            if (counts == -2).any() or most > MOST_HITS:
                raise NerfError(TOO_MANY.format(MOST_HITS))
            if (counts >= 0).all():
                break
            most *= 8
        rays, numbers = np.nonzero(np.arange(most) < counts[:, None])
        return rays, ends[0, rays, numbers], ends[1, rays, numbers]

    def _prepared(self, origins: np.ndarray, directions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, Any]:
        """What the kernels take before and after materials: memory and the tree; rays; lists of crossings."""
        from ..kernels.cpu.triangles import MOST_HITS, STACK

        starts = np.ascontiguousarray(origins, dtype=np.float64).reshape(-1, 3)
        steps = np.ascontiguousarray(directions, dtype=np.float64).reshape(-1, 3)
        if not (np.isfinite(starts).all() and np.isfinite(steps).all()):
            raise NerfError("Rays must be finite numbers.")
        threads = _workers().threads
        margin = MARGIN * max(float(np.abs(self.bounds).max()), float(np.abs(starts).max(initial=0.0)))
        memory = np.zeros((threads, 6, max(STACK, len(self._mu))), np.int64)
        tree = self._lows - margin, self._highs + margin
        lists = np.zeros((threads, MOST_HITS)), np.zeros((threads, MOST_HITS), np.int64)
        return (memory, self._vertices, self._faces, self._solid_of, *tree), starts, steps, lists

    def line_integrals(self, camera: Camera, should_stop: Stop | None = None) -> np.ndarray:
        """See `RadiographSource`."""
        origins, directions = (part.reshape(-1, 3) for part in camera.rays())
        p = np.empty(len(origins), np.float32)
        for first in range(0, len(p), RAYS_AT_ONCE):
            _go_on(should_stop)
            part = slice(first, first + RAYS_AT_ONCE)
            p[part] = self.integrals(origins[part], directions[part])
        return p.reshape(camera.height, camera.width)

    def identity(self) -> dict[str, Any]:
        """See `RadiographSource`."""
        return {
            "meshes": [
                [solid.name, solid.mu, solid.priority, digest(solid.vertices, solid.faces)] for solid in self.solids
            ]
        }


@dataclass(frozen=True)
class Faults:
    """Why a mesh does not enclose a solid: edges with an odd number of faces, and edges whose faces face both ways."""

    open_edges: int
    turned_edges: int

    def __bool__(self) -> bool:
        return bool(self.open_edges or self.turned_edges)

    @property
    def words(self) -> str:
        """As part of a sentence, with what to do."""
        told = []
        if self.open_edges:
            told.append(f"{self.open_edges} edges have an odd number of faces, so it has holes: fill them")
        if self.turned_edges:
            told.append(f"at {self.turned_edges} edges faces point opposite ways: recalculate its normals")
        return " and ".join(told)


def find_faults(vertices: np.ndarray, faces: np.ndarray) -> Faults:
    """What keeps (V, 3) vertices and (F, 3) faces from enclosing a solid; vertices at one place count as one.

    A mesh whose every edge is run as often one way as the other is closed, however many faces meet there.
    """
    edges = mesh_edges(np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64))
    odd = edges.counts % 2 == 1
    return Faults(int(odd.sum()), int(((edges.ways != 0) & ~odd).sum()))


def _checked(solid: Solid) -> Solid:
    vertices = np.ascontiguousarray(solid.vertices, dtype=np.float64)
    faces = np.ascontiguousarray(solid.faces, dtype=np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise NerfError(f"The mesh '{solid.name}' is not made of (V, 3) vertices and (F, 3) faces.")
    if not np.isfinite(vertices).all() or np.abs(vertices).max(initial=0.0) > 1e12:
        raise NerfError(f"The mesh '{solid.name}' has vertices that are no usable numbers.")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise NerfError(f"The mesh '{solid.name}' has faces with vertices that it does not have.")
    if not 0.0 <= solid.mu < 1e12:
        raise NerfError(f"The attenuation of '{solid.name}' must be 0 or more, not {solid.mu}.")
    return Solid(solid.name, vertices, faces, float(solid.mu), int(solid.priority))


def _morton_order(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces in the order of a space-filling curve (Morton 1966) through their middles, so that neighbours are near."""
    middles = vertices[faces].mean(axis=1)
    low, high = middles.min(axis=0), middles.max(axis=0)
    cells = ((middles - low) / np.maximum(high - low, 1e-300) * (2**20 - 1)).astype(np.uint64)
    code = np.zeros(len(faces), np.uint64)
    for bit in range(20):
        for axis in range(3):
            code |= ((cells[:, axis] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return np.argsort(code, kind="stable")


def _tree(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corners of a complete binary tree's boxes, root first; some faces in order are a leaf."""
    from ..kernels.cpu.triangles import LEAF

    count = -(-len(faces) // LEAF)
    leaves = 1 << max(count - 1, 0).bit_length()
    corners = vertices[faces]
    starts = np.arange(0, len(faces), LEAF)
    low, high = np.full((leaves, 3), np.inf), np.full((leaves, 3), -np.inf)
    low[:count] = np.minimum.reduceat(corners.min(axis=1), starts)
    high[:count] = np.maximum.reduceat(corners.max(axis=1), starts)
    lows, highs = [low], [high]
    while len(lows[0]) > 1:
        lows.insert(0, np.minimum(lows[0][::2], lows[0][1::2]))
        highs.insert(0, np.maximum(highs[0][::2], highs[0][1::2]))
    return np.concatenate(lows), np.concatenate(highs)
