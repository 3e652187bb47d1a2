"""What the backends of a hashed attenuation field have in common; see `fields.attenuation_levels`."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from ..fields.attenuation_levels import Levels
from .attenuation import AttenuationBackend

BRICK = 8
"""Nodes along a brick of them that total variation is taken of."""
BRICKS = 1024
"""A step; all of a grid of 128 nodes a side in five."""
NO_BRICKS = np.zeros((0, 3), np.int64)


class LevelsBackend(AttenuationBackend):
    """A field of hashed levels; see `AttenuationBackend`, whose `values` are the coarse level's alone when set.

    Gradients are of `numbers`: the coarse level's, then the tables'.
    """

    @cached_property
    def layout(self) -> Levels:
        """Where everything lies in `numbers`."""
        return self.settings.layout()

    @property
    def first_shape(self) -> tuple[int, int, int]:
        """See `AttenuationBackend`."""
        return self.layout.coarse

    @property
    @abstractmethod
    def numbers(self) -> np.ndarray:
        """(P,) float32 copy of all that is learnt of attenuation."""

    @abstractmethod
    def set_numbers(self, numbers: np.ndarray) -> None:
        """Take them over, and begin the optimiser anew."""

    def set_values(self, values: np.ndarray) -> None:
        """Take over the coarse level's attenuation; the finer ones add nothing to it yet."""
        numbers = np.zeros(self.layout.size, np.float32)
        numbers[: self.layout.dense] = np.asarray(values, np.float32).reshape(-1)
        self.set_numbers(numbers)

    @property
    def values(self) -> np.ndarray:
        """(X, Y, Z) float32 attenuation a cell at the finest level's nodes."""
        made = np.zeros(self.shape, np.float32)
        across = np.meshgrid(*map(np.arange, self.shape[1:]), indexing="ij")
        for x in range(self.shape[0]):
            nodes = np.stack([np.full(self.shape[1:], x), *across], axis=-1).reshape(-1, 3)
            made[x] = self.query(nodes.astype(np.float32)).reshape(self.shape[1:])
        return made

    def peak(self) -> float:
        """The largest attenuation a cell at the coarse level's nodes."""
        ratios = self.layout.arrays.ratios[0]
        axes = [(np.arange(n) + 0.5) / ratio - 0.5 for n, ratio in zip(self.first_shape, ratios, strict=True)]
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return float(self.query(nodes.astype(np.float32)).max(initial=0.0))

    def draw_bricks(self) -> tuple[np.ndarray, float]:
        """(B, 3) int64 lowest nodes of this step's bricks, and total variation's weight in them.

        They may reach beyond the box, so that every node is as likely to be in one. The weight is what makes of the
        bricks' sum that over all nodes, on average.
        """
        weight, _ = self.smoothing
        if weight == 0:
            return NO_BRICKS, 0.0
        places = np.array(self.shape) + BRICK - 1
        count = int(min(BRICKS, -(-places.prod() // BRICK**3)))
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, self.step, 1]))
        corners = (rng.random((count, 3)) * places).astype(np.int64) - (BRICK - 1)
        return corners, weight * float(places.prod()) / (count * BRICK**3)

    def _field(self) -> dict[str, np.ndarray]:
        numbers, dense = self.numbers, self.layout.dense
        return {
            "params/attenuation": numbers[:dense].reshape(self.first_shape),
            "params/tables": numbers[dense:],
        }

    def _load_field(self, arrays: Mapping[str, np.ndarray]) -> None:
        parts = arrays["params/attenuation"], arrays["params/tables"]
        self.set_numbers(np.concatenate([np.asarray(part, np.float32).reshape(-1) for part in parts]))
