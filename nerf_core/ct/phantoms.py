"""Phantoms made of ellipsoids: their line integrals are known exactly, their voxels are antialiased.

Kinds: `ellipsoids` (random ones), `shepp-logan` (the three-dimensional head of Kak and Slaney), and two that stand in
for patients, `chest` and `knee`. A seed is a patient: sizes, places and densities change, the anatomy stays.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.json_data import shown
from ..contract.xray import mu_to_hu
from ..contract.xray_words import PHANTOM
from .phantom_parts import Parts, turned
from .volume import Volume

KINDS = ("ellipsoids", "shepp-logan", "chest", "knee")
DEFAULT_VOXELS = 128
MAX_SEED = 2**31
VACUUM_HU = np.float32(-1002.0)  # outside there is nothing, not even air: its attenuation is 0 exactly
MAX_SAMPLES = 4  # a side, in voxels that a surface cuts


@dataclass(frozen=True)
class Phantom:
    """Ellipsoids in a box of air.

    Attributes
    ----------
    centers, half_axes : (N, 3) float64 arrays
        RAS millimetres.
    rotations : (N, 3, 3) float64 array
        Columns are the directions of an ellipsoid's axes.
    mu : (N,) float64 array
        Attenuation, 1 / cm: added inside each ellipsoid; where `painted` is set, that of the FIRST ellipsoid in the
        list that holds a point, alone.
    bounds : (2, 3) float64 array
        RAS millimetres; what stands out of this box is cut off. It is the same for all seeds of a kind.
    name : str
        `phantom:KIND:SEED`.
    painted : bool
    """

    centers: np.ndarray
    half_axes: np.ndarray
    rotations: np.ndarray
    mu: np.ndarray
    bounds: np.ndarray
    name: str
    painted: bool = False

    def line_integrals(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Exact integrals of mu along rays, from their origins on.

        Parameters
        ----------
        origins, directions : (..., 3) arrays
            RAS millimetres; directions of unit length.

        Returns
        -------
        p : (...) float64 array
            Without unit.
        """
        from ..kernels.cpu.ellipsoids import integrals_worker

        directions = np.asarray(directions, dtype=np.float64)
        shape = np.broadcast_shapes(np.shape(origins), directions.shape)
        flat = [np.array(np.broadcast_to(a, shape), dtype=np.float64).reshape(-1, 3) for a in (origins, directions)]
        out = np.zeros(len(flat[0]))
        workers = _workers()
        memory = [np.empty((2, len(self.mu) + 1)) for _ in range(workers.threads)]
        lists = self.centers, self.half_axes.max(axis=1), self._maps(), self.mu / 10.0  # per mm
        workers.run(integrals_worker, memory, *lists, self.painted, self.bounds, *flat, out)
        return out.reshape(shape[:-1])

    def volume(self, shape: int | tuple[int, int, int] = DEFAULT_VOXELS) -> Volume:
        """The phantom's box as voxels, each with the mean of what it holds.

        Parameters
        ----------
        shape : int or (3,)
            Voxels along x, y, z; a number: along the longest side, with cubes for voxels (the others as near as fit).
        """
        from ..kernels.cpu.ellipsoids import voxels_worker

        sides = self.bounds[1] - self.bounds[0]
        counts = np.ceil(sides / sides.max() * shape - 0.5) if isinstance(shape, int) else np.array(shape)
        if counts.shape != (3,) or not ((counts >= 1) & (counts <= 4096)).all():
            raise NerfError(f"A phantom is made of 1 to 4096 voxels a side, not {shape}.")
        counts = counts.astype(np.int64)
        steps = sides / counts
        origin = self.bounds[0] + 0.5 * steps
        mu = np.empty(tuple(counts), np.float32)
        workers = _workers()
        memory = [np.empty((2, len(self.mu)), np.int64) for _ in range(workers.threads)]
        lists = self.centers, self.half_axes.max(axis=1), self._maps(), self.half_axes.min(axis=1), self.mu
        workers.run(voxels_worker, memory, *lists, self.painted, origin, steps, MAX_SAMPLES, mu)
        affine = np.diag([*steps, 1.0])
        affine[:3, 3] = origin
        return Volume(np.where(mu > 0.0, mu_to_hu(mu), VACUUM_HU), affine, self.name)

    def _maps(self) -> np.ndarray:
        return np.ascontiguousarray(np.swapaxes(self.rotations, 1, 2) / self.half_axes[:, :, None])


def ellipsoid_phantom(kind: str, seed: int = 0) -> Phantom:
    """A phantom of one of `KINDS`; the same seed makes the same one.

    Raises
    ------
    NerfError
        When the kind is not known or the seed is no seed.
    """
    if kind not in KINDS:
        raise NerfError(f"The phantom '{shown(str(kind))}' is not known; use one of {', '.join(KINDS)}.")
    if not 0 <= int(seed) < MAX_SEED:
        raise NerfError(f"A phantom's seed must be 0 to {MAX_SEED - 1}, not {seed}.")
    rng = np.random.default_rng([KINDS.index(kind), int(seed)])
    if kind == "chest":
        from .phantom_chest import BOUNDS, chest

        parts, bounds, painted = chest(rng), BOUNDS, True
    elif kind == "knee":
        from .phantom_knee import BOUNDS, knee

        parts, bounds, painted = knee(rng), BOUNDS, True
    elif kind == "shepp-logan":
        parts, bounds, painted = _shepp_logan(rng if seed else None), (100.0, 100.0, 100.0), False
    else:
        parts, bounds, painted = _ellipsoids(rng), (100.0, 100.0, 100.0), False
    half = np.array(bounds)
    return Phantom(*parts.arrays(), np.stack([-half, half]), f"{PHANTOM}{kind}:{int(seed)}", painted)


def parse_phantom(text: str) -> Phantom | None:
    """The phantom that `phantom:KIND:SEED` (or `phantom:KIND`, seed 0) names; None for anything else.

    Raises
    ------
    NerfError
        When it begins like one and names none.
    """
    if not text.startswith(PHANTOM):
        return None
    kind, _, seed = text[len(PHANTOM) :].partition(":")
    if seed and not (seed.isascii() and seed.isdigit() and len(seed) < 11):
        raise NerfError(f"'{shown(text)}' is no phantom: write {PHANTOM}KIND:SEED, such as {PHANTOM}chest:3.")
    return ellipsoid_phantom(kind, int(seed or 0))


# Kak and Slaney 1988, table 3.1, with Toft's contrasts (1996): half axes, centre, turn about z in degrees, contrast.
_HEAD = (
    ((0.6900, 0.920, 0.810), (0.0, 0.0, 0.0), 0.0, 1.0),
    ((0.6624, 0.874, 0.780), (0.0, -0.0184, 0.0), 0.0, -0.8),
    ((0.1100, 0.310, 0.220), (0.22, 0.0, 0.0), -18.0, -0.2),
    ((0.1600, 0.410, 0.280), (-0.22, 0.0, 0.0), 18.0, -0.2),
    ((0.2100, 0.250, 0.410), (0.0, 0.35, -0.15), 0.0, 0.1),
    ((0.0460, 0.046, 0.050), (0.0, 0.1, 0.25), 0.0, 0.1),
    ((0.0460, 0.046, 0.050), (0.0, -0.1, 0.25), 0.0, 0.1),
    ((0.0460, 0.023, 0.050), (-0.08, -0.605, 0.0), 0.0, 0.1),
    ((0.0230, 0.023, 0.020), (0.0, -0.606, 0.0), 0.0, 0.1),
    ((0.0230, 0.046, 0.020), (0.06, -0.605, 0.0), 0.0, 0.1),
)


def _shepp_logan(rng: np.random.Generator | None) -> Parts:
    """The head, 184 mm long; with a generator its inner parts are moved and scaled a little."""
    parts = Parts()
    for index, (half_axes, center, degrees, contrast) in enumerate(_HEAD):
        scale, shift = np.ones(3), np.zeros(3)
        if rng is not None and index > 1:
            scale, shift = rng.uniform(0.85, 1.1, 3), rng.uniform(-0.02, 0.02, 3)
        place = 100.0 * (np.array(center) + shift)
        parts.add(place, 100.0 * np.array(half_axes) * scale, 0.5 * contrast, turned((0, 0, 1), degrees))
    return parts


def _ellipsoids(rng: np.random.Generator) -> Parts:
    """A body with 6 to 12 ellipsoids inside it; nowhere is the sum below 0."""
    parts = Parts()
    body = rng.uniform(70.0, 95.0, 3)
    parts.add(np.zeros(3), body, 0.2)
    for _ in range(int(rng.integers(6, 13))):
        half_axes = rng.uniform(6.0, 28.0, 3)
        direction = rng.normal(size=3)
        room = (body - half_axes.max()).min() / body.min()  # so that it stays within the body
        center = body * direction / np.linalg.norm(direction) * rng.uniform(0.0, max(room, 0.0)) * 0.95
        contrast = rng.uniform(0.04, 0.25) if rng.uniform() < 0.7 else -rng.uniform(0.002, 0.016)
        parts.add(center, half_axes, contrast, turned(rng.normal(size=3), rng.uniform(0.0, 180.0)))
    return parts


def _workers() -> Any:
    from ..kernels.cpu.workers import Workers, thread_count

    return Workers(thread_count())
