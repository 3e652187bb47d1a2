"""The levels of a hashed attenuation field, and where each of their nodes lies in one flat array of numbers.

A coarse level has a number for each node; each finer one has twice as many nodes along every axis, which share the
rows of a table by Instant-NGP's hash (Müller et al. 2022) where they are more than its rows. Attenuation is the SUM of
all levels, each interpolated linearly, and zero where that is negative: there is no network.

Layers of nodes along the last axis are dealt out to `SECTIONS` parts of a table, each hashed into by itself. So
threads can each own some layers and no row of another's, which makes gradients' sums the same whatever their number,
and what a few neighbouring rays read lies close together.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SECTIONS = 16
"""Parts of a table."""
LAYERS = 8
"""Of the coarse level, a task of gradients."""


class LevelArrays(NamedTuple):
    """What kernels know of K levels, the coarse one first.

    Node (i, j, k) of a level has the row ``bases[level, k]`` plus, where ``masks[level]`` is below zero,
    ``i * strides[level, 0] + j * strides[level, 1]``, else ``(i ^ j * PRIME ^ k * PRIME) & masks[level]``.

    `counts` (K, 3) int64: nodes; `ratios` (K, 3) float32: of them to the finest level's; `strides` (K, 2), `masks`
    (K,), `bases` (K, most layers) int64; `tasks` (T, 3) int64: a level, and which of its layers, half open.
    """

    counts: np.ndarray
    ratios: np.ndarray
    strides: np.ndarray
    masks: np.ndarray
    bases: np.ndarray
    tasks: np.ndarray


@dataclass(frozen=True)
class Levels:
    """A layout.

    Attributes
    ----------
    coarse : (3,) tuple of int
        Nodes of the coarse level, whose numbers come first, the last axis fastest.
    rows : int
        Of all tables together, which follow.
    arrays : LevelArrays
    """

    coarse: tuple[int, int, int]
    rows: int
    arrays: LevelArrays

    @property
    def dense(self) -> int:
        """Nodes of the coarse level."""
        return self.coarse[0] * self.coarse[1] * self.coarse[2]

    @property
    def size(self) -> int:
        """Numbers in all."""
        return self.dense + self.rows

    @classmethod
    def of(cls, shape: tuple[int, ...], levels: int, log2_table_size: int) -> "Levels":
        """For a finest level of `shape` nodes, `levels` levels finer than the coarse one, and tables' largest size."""
        finest = np.array(shape, np.int64)
        counts = np.array([np.maximum(np.rint(finest / 2**up), 2) for up in range(levels, -1, -1)], np.int64)
        strides = np.zeros((levels + 1, 2), np.int64)
        masks = np.full(levels + 1, -1, np.int64)
        bases = np.zeros((levels + 1, int(counts[:, 2].max())), np.int64)
        tasks = []
        x, y, z = (int(count) for count in counts[0])
        strides[0] = y * z, z
        bases[0, :z] = np.arange(z)
        tasks += [(0, first, min(first + LAYERS, z)) for first in range(0, z, LAYERS)]
        used = x * y * z
        for level in range(1, levels + 1):
            x, y, z = (int(count) for count in counts[level])
            layers = -(-z // SECTIONS)
            tasks += [(level, first, min(first + layers, z)) for first in range(0, z, layers)]
            if x * y * z <= 1 << log2_table_size:
                strides[level] = 1, x
                bases[level, :z] = used + np.arange(z) * (x * y)
                used += x * y * z
            else:
                section = (1 << log2_table_size) // SECTIONS
                masks[level] = section - 1
                bases[level, :z] = used + np.arange(z) // layers * section
                used += -(-z // layers) * section
        ratios = (counts / finest).astype(np.float32)
        # The largest tasks first, so that no thread is left with one at the end.
        order = np.array(tasks[::-1], np.int64)
        coarse = (int(counts[0, 0]), int(counts[0, 1]), int(counts[0, 2]))
        arrays = LevelArrays(counts, ratios, strides, masks, bases, order)
        return cls(coarse, used - int(counts[0].prod()), arrays)
