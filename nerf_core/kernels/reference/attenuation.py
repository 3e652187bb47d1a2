"""The attenuation field in plain torch: the oracle of the kernels, and what computes where there are none.

The model is `kernels.cpu.attenuation_march`'s: Joseph's method on a grid of nodes. The gradients are autograd's.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...fields.attenuation import AttenuationSettings
from ..attenuation import BETAS, EPSILON, AttenuationBackend, BatchStats, Noise, Radiographs
from .pixels import Pixels

RAYS_AT_ONCE = {"cpu": 1 << 13, "mps": 1 << 14, "cuda": 1 << 17}
TINY, FAR, MOST_INTEGRAL = 1e-9, 1e30, 30.0


def box_range(origins: Tensor, directions: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Where (R, 3) rays, in units of nodes, enter and leave the box; where they miss, not later."""
    high = torch.tensor(shape, dtype=origins.dtype, device=origins.device) - 0.5
    flat = directions.abs() < TINY
    inverse = 1.0 / torch.where(flat, torch.ones_like(directions), directions)
    a, b = (-0.5 - origins) * inverse, (high - origins) * inverse
    outside = (flat & ((origins < -0.5) | (origins > high))).any(dim=-1)
    near = torch.where(flat, 0.0, torch.minimum(a, b)).amax(dim=-1).clamp_min(0.0)
    far = torch.where(flat, FAR, torch.maximum(a, b)).amin(dim=-1)
    return near, torch.where(outside, near, far)


def interpolate(values: Tensor, positions: Tensor) -> Tensor:
    """(X, Y, Z) values at (..., 3) positions in units of nodes; outside the outer nodes what they have."""
    total = torch.zeros_like(positions[..., 0])
    lower, parts = [], []
    for axis, count in enumerate(values.shape):
        index = positions[..., axis].detach().floor().clamp(0, count - 2)
        lower.append(index.to(torch.int64))
        parts.append((positions[..., axis] - index).clamp(0.0, 1.0))
    _, count_y, count_z = values.shape
    flat = values.reshape(-1)
    for corner in range(8):
        up = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        at = ((lower[0] + up[0]) * count_y + lower[1] + up[1]) * count_z + lower[2] + up[2]
        weight = torch.ones_like(total)
        for part, upper in zip(parts, up, strict=True):
            weight = weight * (part if upper else 1.0 - part)
        total = total + weight * flat[at]
    return total


def line_integrals(
    values: Tensor, origins: Tensor, directions: Tensor, limits: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `integrals_of`, through (X, Y, Z) attenuation a cell."""
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return integrals_of(lambda positions: interpolate(values, positions), shape, origins, directions, limits)


def integrals_of(
    attenuation: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    origins: Tensor,
    directions: Tensor,
    limits: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Line integrals (R,) through attenuation a cell at (..., 3) positions, first moments (R,), and samples (R,).

    Rays are in units of nodes, and distances along them in cells; `limits` (R, 2) are distances to stay within.
    """
    near, far = box_range(origins, directions, shape)
    if limits is not None:
        near, far = torch.maximum(near, limits[:, 0]), torch.minimum(far, limits[:, 1])
    main = directions.abs().argmax(dim=-1, keepdim=True)
    slope = directions.gather(1, main)
    slope = torch.where(slope == 0, torch.full_like(slope, TINY), slope)
    planes = torch.arange(max(shape), dtype=origins.dtype, device=origins.device)
    t = (planes[None] - origins.gather(1, main)) / slope
    half = 0.5 / slope.abs()
    length = (torch.minimum(t + half, far[:, None]) - torch.maximum(t - half, near[:, None])).clamp_min(0.0)
    there = planes[None] < torch.tensor(shape, device=origins.device)[main]
    length = torch.where(there & (far > near)[:, None], length, torch.zeros_like(length))
    positions = origins[:, None, :] + t[..., None] * directions[:, None, :]
    part = length * attenuation(positions)
    return part.sum(dim=-1), (part * t).sum(dim=-1), (length > 0).sum(dim=-1)


def total_variation(values: Tensor, weights: Tensor, soft: float) -> Tensor:
    """The sum of sqrt(dx^2 + dy^2 + dz^2 + soft^2) over nodes; `weights` (3,) of the axes' differences."""
    square = torch.full_like(values, soft * soft)
    for axis in range(3):
        count = values.shape[axis]
        step = weights[axis] * (values.narrow(axis, 1, count - 1) - values.narrow(axis, 0, count - 1))
        last = torch.zeros_like(values.narrow(axis, 0, 1))
        square = square + torch.cat([step, last], dim=axis).square()
    return square.sqrt().sum()


def total_variation_at(bricks: Tensor, there: Tensor, weights: Tensor, soft: float) -> Tensor:
    """The same over the nodes of (B, n, n, n) bricks that are `there`, but for their last layers of neighbours."""
    inner = bricks[:, :-1, :-1, :-1]
    square = torch.full_like(inner, soft * soft)
    known = there[:, :-1, :-1, :-1]
    for axis in range(3):
        after = [slice(None), *3 * [slice(None, -1)]]
        after[axis + 1] = slice(1, None)
        step = weights[axis] * (bricks[tuple(after)] - inner)
        square = square + torch.where(there[tuple(after)], step, torch.zeros_like(step)).square()
    return (square.sqrt() * known).sum()


def error_weight(target: Tensor, noise: Noise) -> Tensor:
    """One over the variance that line integrals' noise is expected to have."""
    if noise.photons <= 0:
        return torch.full_like(target, 1.0 / noise.floor**2)
    thinned = (target / noise.scale).clamp_max(MOST_INTEGRAL).exp() / noise.photons
    return 1.0 / (noise.floor**2 + noise.scale**2 * (thinned + (noise.readout * thinned).square()))


class Part(NamedTuple):
    """Some rays of a batch: half the squared error over its variance, the squared error, samples; views, integrals."""

    loss: float
    square: float
    samples: int
    view: np.ndarray
    found: np.ndarray


class TorchAttenuation(AttenuationBackend):
    """Torch on any device; see `AttenuationBackend`."""

    name = "reference"
    at_once_share = 1

    def __init__(self, settings: AttenuationSettings, weights: np.ndarray, seed: int, device: str = "cpu") -> None:
        super().__init__(settings, weights, seed)
        self.device = torch.device(device)
        self._values = torch.zeros(self._size, device=self.device)
        self._moments = torch.zeros((2, *self._size), device=self.device)
        self._weights = torch.from_numpy(self.weights).to(self.device)
        self._pixels: Pixels | None = None
        self._targets = torch.zeros(0)

    @property
    def _size(self) -> tuple[int, ...]:
        """The shape of what is learnt of attenuation."""
        return self.shape

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(np.asarray(array), dtype=torch.float32, device=self.device)

    def load(self, radiographs: Radiographs) -> None:
        """See `AttenuationBackend`."""
        super().load(radiographs)
        self._pixels = Pixels(radiographs.views, False, self.device)
        self._targets = self._tensor(radiographs.targets)

    def drop(self) -> None:
        """See `AttenuationBackend`."""
        super().drop()
        self._pixels = None
        self._targets = torch.zeros(0)

    def set_values(self, values: np.ndarray) -> None:
        """See `AttenuationBackend`."""
        self._values = self._tensor(values)
        self._moments = torch.zeros((2, *self.shape), device=self.device)

    @property
    def values(self) -> np.ndarray:
        """See `AttenuationBackend`."""
        return self._values.cpu().numpy().copy()

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """See `AttenuationBackend`."""
        first, second = self._moments.cpu().numpy().copy()
        return first, second

    def load_moments(self, first: np.ndarray, second: np.ndarray) -> None:
        """See `AttenuationBackend`."""
        self._moments = torch.stack([self._tensor(first), self._tensor(second)])

    @property
    def _at_once(self) -> int:
        return RAYS_AT_ONCE.get(self.device.type, 1 << 13) // self.at_once_share

    def _look_up(self, values: Tensor) -> Callable[[Tensor], Tensor]:
        """What attenuation (...) is at (..., 3) positions."""
        return lambda positions: interpolate(values, positions)

    def _prior(self, values: Tensor) -> Iterator[tuple[Tensor, "Part | None"]]:
        weight, soft = self.smoothing
        if weight > 0:
            yield weight * total_variation(values, self._weights, soft), None

    def losses(self, values: Tensor, chosen: np.ndarray) -> Iterator[tuple[Tensor, Part | None]]:
        """The whole loss of nodes' values as terms to be added: parts of the rays, scaled up to all, then the prior."""
        data = self.radiographs
        if data is None or self._pixels is None:
            raise RuntimeError("load comes before the first training step")
        numbers = torch.from_numpy(chosen).to(self.device)
        starts = torch.from_numpy(data.views.starts).to(self.device)
        scale, offset = self._tensor(data.scale), self._tensor(data.offset)
        for part in torch.split(numbers, self._at_once):
            origins, directions = self._pixels.rays(part)
            rays = origins * scale + offset, directions * scale * data.cell
            found, _, samples = integrals_of(self._look_up(values), self.shape, *rays)
            target = self._targets[part]
            view = torch.searchsorted(starts, part, right=True) - 1
            expected = found
            if len(self.affine):
                affine = self._tensor(self.affine)[view]
                expected = affine[:, 0] * found + affine[:, 1]
            difference = expected - target
            half = 0.5 * (error_weight(target, data.noise) * difference.square()).sum()
            yield (
                half * (len(data.chosen) / len(chosen)),
                Part(
                    float(half.detach()),
                    float(difference.detach().square().sum()),
                    int(samples.sum()),
                    view.cpu().numpy(),
                    found.detach().cpu().numpy(),
                ),
            )
        yield from self._prior(values)

    def _backward(self, chosen: np.ndarray) -> tuple[Tensor, BatchStats, list[Part]]:
        """The gradient, term by term so that the memory of one is enough, and the batch's numbers."""
        values = self._values.detach().requires_grad_()
        parts = []
        for loss, part in self.losses(values, chosen):
            loss.backward()  # type: ignore[no-untyped-call]
            if part is not None:
                parts.append(part)
        assert values.grad is not None and self.radiographs is not None
        count, window = len(chosen), self.radiographs.window
        stats = BatchStats(
            sum(part.loss for part in parts) / count,
            sum(part.square for part in parts) / count / window**2,
            count,
            sum(part.samples for part in parts),
        )
        return values.grad, stats, parts

    def train_step(self, progress: float) -> BatchStats:
        """See `AttenuationBackend`."""
        chosen = self.draw()
        gradient, stats, parts = self._backward(chosen)
        first, second = self._moments
        first.mul_(BETAS[0]).add_(gradient, alpha=1.0 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1.0 - BETAS[1])
        step = self.step + 1
        root = (second / (1.0 - BETAS[1] ** step)).sqrt() + EPSILON
        change = self.learning_rate(progress) / (1.0 - BETAS[0] ** step) * first / root
        self._values = self._allowed(self._values - change)
        if len(self.affine):
            assert self.radiographs is not None
            view = np.concatenate([part.view for part in parts])
            found = np.concatenate([part.found for part in parts])
            self.fit_views(view, found, self.radiographs.targets[chosen])
        self.step = step
        return stats

    def _allowed(self, values: Tensor) -> Tensor:
        return values.clamp_min(0.0)

    def gradients(self, chosen: np.ndarray) -> tuple[np.ndarray, BatchStats]:
        """See `AttenuationBackend`."""
        gradient, stats, _ = self._backward(chosen)
        return gradient.cpu().numpy(), stats

    @torch.no_grad()
    def integrate(self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
        """See `AttenuationBackend`."""
        out = np.zeros((len(origins), 3), np.float32)
        at_once = self._at_once
        for first in range(0, len(origins), at_once):
            part = slice(first, first + at_once)
            within = None if limits is None else self._tensor(limits[part])
            rays = self._tensor(origins[part]), self._tensor(directions[part])
            total, moment, made = integrals_of(self._look_up(self._values), self.shape, *rays, within)
            out[part] = torch.stack([total, moment, made.to(total.dtype)], dim=-1).cpu().numpy()
        return out

    @torch.no_grad()
    def query(self, positions: np.ndarray) -> np.ndarray:
        """See `AttenuationBackend`."""
        return self._look_up(self._values)(self._tensor(positions)).cpu().numpy()
