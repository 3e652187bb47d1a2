"""The attenuation field of hashed levels in plain torch: the oracle of the kernels, and what computes elsewhere.

The model is `kernels.cpu.attenuation_levels`'s; the gradients are autograd's.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ...fields.attenuation import AttenuationSettings
from ...fields.hash_grid import HASH_PRIMES
from ..attenuation_levels import BRICK, LevelsBackend
from .attenuation import Part, TorchAttenuation, total_variation_at

PRIME_Y, PRIME_Z = HASH_PRIMES[1:]
SHARE = 8
"""How many times as much memory a sample takes as one of a dense grid, about."""


class TorchHashAttenuation(LevelsBackend, TorchAttenuation):
    """Torch on any device; see `LevelsBackend`."""

    at_once_share = SHARE

    def __init__(self, settings: AttenuationSettings, weights: np.ndarray, seed: int, device: str = "cpu") -> None:
        super().__init__(settings, weights, seed, device)
        self._bases = torch.from_numpy(self.layout.arrays.bases).to(self.device)

    @property
    def _size(self) -> tuple[int, ...]:
        return (self.layout.size,)

    @property
    def numbers(self) -> np.ndarray:
        """See `LevelsBackend`."""
        return self._values.cpu().numpy().copy()

    def set_numbers(self, numbers: np.ndarray) -> None:
        """See `LevelsBackend`."""
        self._values = self._tensor(numbers)
        self._moments = torch.zeros((2, self.layout.size), device=self.device)

    def _level(self, numbers: Tensor, level: int, positions: Tensor) -> Tensor:
        """What a level adds at (..., 3) positions."""
        arrays = self.layout.arrays
        lower, parts = [], []
        for axis in range(3):
            count, ratio = int(arrays.counts[level, axis]), float(arrays.ratios[level, axis])
            place = (positions[..., axis] + 0.5) * ratio - 0.5
            index = place.detach().floor().clamp(0, count - 2)
            lower.append(index.to(torch.int64))
            parts.append((place - index).clamp(0.0, 1.0))
        mask, (step_x, step_y) = int(arrays.masks[level]), (int(step) for step in arrays.strides[level])
        total = torch.zeros_like(positions[..., 0])
        for corner in range(8):
            up = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
            x, y, z = (low + step for low, step in zip(lower, up, strict=True))
            inside = x * step_x + y * step_y if mask < 0 else (x ^ y * PRIME_Y ^ z * PRIME_Z) & mask
            weight = torch.ones_like(total)
            for part, upper in zip(parts, up, strict=True):
                weight = weight * (part if upper else 1.0 - part)
            total = total + weight * numbers[self._bases[level][z] + inside]
        return total

    def _look_up(self, numbers: Tensor) -> Callable[[Tensor], Tensor]:
        def attenuation(positions: Tensor) -> Tensor:
            total = torch.zeros_like(positions[..., 0])
            for level in range(len(self.layout.arrays.counts)):
                total = total + self._level(numbers, level, positions)
            # Not relu, which passes nothing on of what is zero.
            return torch.where(total >= 0, total, torch.zeros_like(total))

        return attenuation

    def _allowed(self, values: Tensor) -> Tensor:
        return values  # their sum is put to zero where it is looked up

    def _prior(self, numbers: Tensor) -> Iterator[tuple[Tensor, Part | None]]:
        corners, weight = self.draw_bricks()
        if not len(corners):
            return
        side = torch.arange(BRICK + 1, device=self.device)
        steps = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), dim=-1)
        nodes = torch.from_numpy(corners).to(self.device)[:, None, None, None] + steps
        sums = self._look_up(numbers)(nodes.to(numbers.dtype))
        there = ((nodes >= 0) & (nodes < torch.tensor(self.shape, device=self.device))).all(dim=-1)
        yield weight * total_variation_at(sums, there, self._weights.to(numbers.dtype), self.smoothing[1]), None
