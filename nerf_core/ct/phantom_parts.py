"""What phantoms are put together from: ellipsoids, and chains of them along curves."""

from collections.abc import Sequence

import numpy as np


class Parts:
    """A list of ellipsoids that grows; of painted ones, those of a higher `rank` lie over the others."""

    def __init__(self) -> None:
        self._centers: list[np.ndarray] = []
        self._half_axes: list[np.ndarray] = []
        self._rotations: list[np.ndarray] = []
        self._mu: list[float] = []
        self._ranks: list[int] = []

    def add(
        self,
        center: Sequence[float] | np.ndarray,
        half_axes: Sequence[float] | np.ndarray,
        mu: float,
        rotation: np.ndarray | None = None,
        rank: int = 0,
    ) -> None:
        """One ellipsoid: millimetres, 1 / cm, columns of `rotation` are its axes."""
        self._centers.append(np.asarray(center, dtype=np.float64))
        self._half_axes.append(np.asarray(half_axes, dtype=np.float64))
        self._rotations.append(np.eye(3) if rotation is None else rotation)
        self._mu.append(float(mu))
        self._ranks.append(rank)

    def chain(
        self,
        path: np.ndarray,
        across: Sequence[float],
        mu: float,
        up: Sequence[float] = (0.0, 0.0, 1.0),
        rank: int = 0,
        overlap: float = 1.7,
    ) -> None:
        """A bar along the (K, 3) path: one ellipsoid a stretch, long enough to run into its neighbours.

        `across` are its half axes towards `up` and square to it; `overlap` is a link's half length in stretches (1.7:
        between two centres the bar is 5 percent thinner).
        """
        for start, end in zip(path[:-1], path[1:], strict=True):
            stretch = float(np.linalg.norm(end - start))
            self.add((start + end) / 2, (overlap * stretch, *across), mu, frame(end - start, up), rank)

    def shelled(
        self,
        center: Sequence[float] | np.ndarray,
        half_axes: Sequence[float] | np.ndarray,
        shell: float,
        mu: tuple[float, float],
        rotation: np.ndarray | None = None,
        rank: int = 0,
    ) -> None:
        """An ellipsoid with a shell of another material, such as cortical bone about spongy: (shell, core)."""
        half_axes = np.asarray(half_axes, dtype=np.float64)
        self.add(center, half_axes, mu[0], rotation, rank)
        if min(half_axes) > 1.5 * shell:
            self.add(center, half_axes - shell, mu[1], rotation, rank + 1)

    def extend(self, other: "Parts") -> None:
        """Take in all of another list."""
        for mine, others in zip(self._lists(), other._lists(), strict=True):
            mine.extend(others)

    def moved(self, matrix: np.ndarray, shift: np.ndarray) -> "Parts":
        """All of it turned (or mirrored) by a (3, 3) orthonormal matrix about the origin, then shifted."""
        other = Parts()
        for center, half_axes, rotation, mu, rank in zip(*self._lists(), strict=True):
            other.add(matrix @ center + shift, half_axes, mu, matrix @ rotation, rank)
        return other

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Centres, half axes, rotations and mu, the highest rank first."""
        order = np.argsort(-np.array(self._ranks), kind="stable")
        centers, half_axes, rotations, mu = (np.array(values)[order] for values in self._lists()[:4])
        return centers, half_axes, rotations, mu

    def _lists(self) -> tuple[list, ...]:
        return self._centers, self._half_axes, self._rotations, self._mu, self._ranks


def turned(axis: Sequence[float] | np.ndarray, degrees: float) -> np.ndarray:
    """(3, 3) rotation about an axis, counter-clockwise seen from its tip (Rodrigues)."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def frame(along: np.ndarray, up: Sequence[float] = (0.0, 0.0, 1.0)) -> np.ndarray:
    """(3, 3) whose columns are `along`, then as near to `up` as can be, then square to both; of unit length."""
    first = np.asarray(along, dtype=np.float64) / np.linalg.norm(along)
    second = np.asarray(up, dtype=np.float64) - np.dot(up, first) * first
    if np.linalg.norm(second) < 1e-6:
        second = np.eye(3)[np.argmin(np.abs(first))]
        second = second - np.dot(second, first) * first
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], axis=1)
