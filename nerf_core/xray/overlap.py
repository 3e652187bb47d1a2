"""CTs and closed meshes in one place: what has the higher priority replaces what it overlaps, to the exact surface.

A screw in a patient takes the tissue's place. So a CT's integral is taken without the stretches inside the meshes that
have its priority or a higher one (and inside the boxes of CTs with a higher one); a mesh of a lower priority is taken
without what lies in the CT's box. CTs of one priority add up.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contract.camera import Camera
from .mesh_integrals import MeshSource, Solid
from .sources import PhantomSource, RadiographSource, Stop, VolumeSource, _go_on

RAYS_AT_ONCE = 1 << 12
# A box's corners as `VolumeSource.corners` has them: x, y, z from low to high, z fastest.
BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4]]
    + [[1, 5, 7], [1, 7, 3]]
)


class OverlapSource(RadiographSource):
    """CTs and closed meshes, by priority.

    Parameters
    ----------
    cts : sequence of (VolumeSource or PhantomSource, int)
        Each with its priority.
    solids : sequence of Solid

    Attributes
    ----------
    warnings : list of str
        What is wrong with meshes, a sentence each that names the mesh.

    Raises
    ------
    NerfError
        As `MeshSource`.
    """

    def __init__(self, cts: Sequence[tuple[VolumeSource | PhantomSource, int]], solids: Sequence[Solid]) -> None:
        lowest = min([*(solid.priority for solid in solids), *(priority for _, priority in cts)])
        # Of one priority a mesh comes before a CT: so numbers are doubled, and a mesh's is one more.
        ranked = [Solid(s.name, s.vertices, s.faces, s.mu, 2 * s.priority + 1) for s in solids]
        ranked += [Solid(ct.name, ct.corners, BOX_FACES, 0.0, 2 * p) for ct, p in cts if p > lowest]
        self._cts = list(cts)
        self._meshes = MeshSource(ranked)
        self.warnings = self._meshes.warnings
        self._replace = [
            np.array([_meet(solid, ct.bounds) and solid.priority > 2 * priority for solid in self._meshes.solids])
            for ct, priority in cts
        ]
        self.name = " + ".join([*(ct.name for ct, _ in cts), *(solid.name for solid in solids[:3])])
        boxes = np.stack([self._meshes.bounds, *(ct.bounds for ct, _ in cts)])
        self.bounds = np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])

    def line_integrals(self, camera: Camera, should_stop: Stop | None = None) -> np.ndarray:
        """See `RadiographSource`."""
        total = self._meshes.line_integrals(camera, should_stop).astype(np.float64)
        for (ct, _), takes in zip(self._cts, self._replace, strict=True):
            p = ct.line_integrals(camera, should_stop).astype(np.float64)
            if takes.any():
                # What is left of nothing is nothing, not a rounding below it.
                p = np.maximum(p - self._replaced(ct, takes, camera, should_stop), 0.0)
            total += p
        return total.astype(np.float32)

    def _replaced(
        self, ct: VolumeSource | PhantomSource, takes: np.ndarray, camera: Camera, should_stop: Stop | None
    ) -> np.ndarray:
        """(H, W) a CT's integrals within the solids that take its place."""
        origins, directions = (part.reshape(-1, 3) for part in camera.rays())
        lost = np.zeros(len(origins))
        for first in range(0, len(lost), RAYS_AT_ONCE):
            _go_on(should_stop)
            part = slice(first, first + RAYS_AT_ONCE)
            rays, starts, stops = self._meshes.stretches(origins[part], directions[part], takes)
            if len(rays):
                inside = ct.between(origins[part][rays], directions[part][rays], starts, stops)
                lost[part] = np.bincount(rays, inside, minlength=len(lost[part]))
        return lost.reshape(camera.height, camera.width)

    def identity(self) -> dict[str, Any]:
        """See `RadiographSource`."""
        cts = [{**ct.identity(), "priority": priority} for ct, priority in self._cts]
        return {"cts": cts, **self._meshes.identity()}

    def patients(self) -> list[str]:
        """See `RadiographSource`."""
        return [patient for ct, _ in self._cts for patient in ct.patients()]


def _meet(solid: Solid, bounds: np.ndarray) -> bool:
    """Whether a solid's box and another overlap."""
    return bool((solid.vertices.max(axis=0) > bounds[0]).all() and (solid.vertices.min(axis=0) < bounds[1]).all())
