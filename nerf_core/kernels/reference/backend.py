"""The fast method in plain torch, as a backend: CUDA, Apple's MPS, and the CPU."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ...contract.errors import NerfError
from ...fields.hash_grid import FastSettings
from ..backend import BatchStats, FastBackend, OccupancyUpdate
from ..views import ViewArrays
from . import field, volume
from .optimiser import adam
from .pixels import Pixels

RENDER_RAYS = 8192
"""Rays that are rendered at once: bounds the memory of the lattice points that are looked up."""
QUERY_POINTS = 1 << 18


class ReferenceBackend(FastBackend):
    """Plain torch; see `FastBackend`.

    Parameters
    ----------
    settings, box, seed
        As for `FastBackend`.
    device : str
        Anything torch calls a device.
    """

    name = "reference"

    def __init__(self, settings: FastSettings, box: np.ndarray, seed: int, device: str = "cpu") -> None:
        super().__init__(settings, box, seed)
        try:
            self.device = torch.device(device)
            self._box = torch.from_numpy(self.box).to(self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise NerfError(f"torch cannot use the device '{device}' here: {str(error).splitlines()[0]}") from error
        self._pixels: Pixels | None = None
        self.parameters = {
            name: torch.from_numpy(array).to(self.device).requires_grad_()
            for name, array in self.layout.initial(seed).items()
        }
        self._first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self._second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        side = settings.occupancy_resolution
        self._values = torch.zeros(side, side, side, device=self.device)
        self._outside = self._outside_box(side)
        self._values[self._outside] = -1.0
        self._cells = ~self._outside

    def _outside_box(self, side: int) -> Tensor:
        low = torch.arange(side, device=self.device)
        empty = []
        for axis in range(3):
            empty.append((low + 1 <= self._box[0, axis] * side) | (low >= self._box[1, axis] * side))
        return empty[2][:, None, None] | empty[1][None, :, None] | empty[0][None, None, :]

    # Training --------------------------------------------------------------------------------------------------

    def load_views(self, views: ViewArrays, random_background: bool) -> None:
        """Take the training pixels."""
        self._pixels = Pixels(views, random_background, self.device)

    def drop_views(self) -> None:
        """Let go of the training pixels."""
        self._pixels = None

    def _generator(self, purpose: int) -> torch.Generator:
        """Random numbers of this step alone, so that a continued run draws what an uninterrupted one would."""
        seed = np.random.SeedSequence([self.seed, self.step, purpose]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed) & (2**63 - 1))

    def train_step(self, progress: float) -> BatchStats:
        """One optimisation step."""
        if self._pixels is None:
            raise RuntimeError("load_views comes before the first training step")
        batch = self._pixels.sample(self.rays, self._generator(0))
        step = self.training_step_length()
        samples = volume.march(batch.origins, batch.directions, self._box, self._cells, step, batch.jitter)
        kept, made = self._without_hidden(samples, step)
        features = field.density_network(
            self.parameters, field.encode(self.layout, self.parameters["table"], kept.position)
        )
        density = field.density_of(features[:, 0])
        color = self._colors(kept, density, features, batch.directions, step)
        thresholds = (self.settings.weight_threshold, self.settings.transmittance_threshold)
        result = volume.composite(kept, density, color, step, self.rays, *thresholds)
        loss = volume.loss(result, batch.target, batch.background)
        names = list(self.parameters)
        gradients = torch.autograd.grad(loss, [self.parameters[name] for name in names], allow_unused=True)
        self._update(dict(zip(names, gradients, strict=True)), self.learning_rate(progress))
        if self.feeds_occupancy:
            self._feed_occupancy(kept.position[result.selected], density.detach()[result.selected])
        update = self.occupancy_update()
        if update is not None:
            self.update_occupancy(update)
        mse = float(loss.detach())
        stats = BatchStats(mse, mse, self.rays, made, int(result.selected.sum()), 0)
        self.step += 1
        self.adapt_rays(stats)
        return stats

    @torch.no_grad()
    def _without_hidden(self, samples: volume.Samples, step: float) -> tuple[volume.Samples, int]:
        """Drop the samples behind where their ray becomes opaque, which is most of what was marched."""
        density = self._density(samples.position)
        rays = int(samples.ray[-1]) + 1 if len(samples.ray) else 0
        passing = volume.transmittance_before(samples.ray, density * step, rays)
        seen = passing >= self.settings.transmittance_threshold
        return volume.Samples(*(part[seen] for part in samples)), len(density)

    def _colors(
        self, samples: volume.Samples, density: Tensor, features: Tensor, directions: Tensor, step: float
    ) -> Tensor:
        """Colours of the samples that count; zero elsewhere."""
        thresholds = (self.settings.weight_threshold, self.settings.transmittance_threshold)
        chosen = volume.select(samples.ray, density.detach(), step, len(directions), *thresholds)[2]
        harmonics = field.spherical_harmonics(directions)[samples.ray[chosen]]
        color = field.color_network(self.parameters, features[chosen], harmonics)
        where = torch.nonzero(chosen)[:, 0]
        return features.new_zeros(len(density), 3).index_copy(0, where, color)

    def _update(self, gradients: Mapping[str, Tensor | None], rate: float) -> None:
        settings = self.settings
        for name, gradient in gradients.items():
            if gradient is not None:
                adam(
                    self.parameters[name].detach(),
                    self._first[name],
                    self._second[name],
                    gradient,
                    rate,
                    settings.beta1,
                    settings.beta2,
                    settings.epsilon,
                    self.step + 1,
                )

    # Occupancy -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _feed_occupancy(self, positions: Tensor, density: Tensor) -> None:
        side = self._values.shape[0]
        x, y, z = (positions * side).to(torch.int64).clamp(max=side - 1).unbind(-1)
        self._values.view(-1).scatter_reduce_(0, x + side * (y + side * z), density, "amax")

    @torch.no_grad()
    def update_occupancy(self, update: OccupancyUpdate) -> float:
        """Refresh part of the occupancy grid; gives the share of the box that is occupied."""
        side = self._values.shape[0]
        flat = self._values.view(-1)
        chosen = torch.arange(update.phase, flat.numel(), update.every, device=self.device)
        chosen = chosen[flat[chosen] >= 0]
        corner = torch.stack([chosen % side, chosen // side % side, chosen // (side * side)], dim=-1)
        random = torch.rand(len(chosen), 3, generator=self._generator(1)).to(self.device)
        density = self._density((corner + random) / side)
        flat[chosen] = torch.maximum(flat[chosen] * update.decay, density)
        return self._set_cells()

    def _set_cells(self) -> float:
        inside = ~self._outside
        mean = float(self._values[inside].mean())
        # A grid that has not been asked yet (or has lost everything) holds back nothing.
        limit = min(self.occupancy_limit, mean) if mean > 0.0 else -0.5
        self._cells = (self._values > limit) & inside
        return float(self._cells.sum()) / max(int(inside.sum()), 1)

    # Looking ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _density(self, positions: Tensor) -> Tensor:
        parts = [
            field.density_of(
                field.density_network(self.parameters, field.encode(self.layout, self.parameters["table"], part))[:, 0]
            )
            for part in positions.split(QUERY_POINTS)
        ]
        return torch.cat(parts) if parts else positions.new_zeros(0)

    def _rays(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array, np.float32).reshape(-1, 3)).to(self.device)

    @torch.no_grad()
    def render(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Render rays; see `FastBackend`."""
        rgba, depth, total = [], [], 0
        for o, d in zip(self._rays(origins).split(RENDER_RAYS), self._rays(directions).split(RENDER_RAYS), strict=True):
            jitter = torch.full_like(o[:, 0], 0.5)
            samples = volume.march(o, d, self._box, self._cells, self.fine_step, jitter)
            kept, made = self._without_hidden(samples, self.fine_step)
            total += made
            features = field.density_network(
                self.parameters, field.encode(self.layout, self.parameters["table"], kept.position)
            )
            density = field.density_of(features[:, 0])
            color = self._colors(kept, density, features, d, self.fine_step)
            thresholds = (self.settings.weight_threshold, self.settings.transmittance_threshold)
            result = volume.composite(kept, density, color, self.fine_step, len(o), *thresholds)
            rgba.append(torch.cat([result.color, result.alpha[:, None]], dim=1).cpu().numpy())
            depth.append((result.depth / result.alpha.clamp(min=1e-20)).cpu().numpy())
        return np.concatenate(rgba).reshape(-1, 4), np.concatenate(depth), total

    @torch.no_grad()
    def march(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All lattice points of rays that lie in occupied cells; see `FastBackend`."""
        o, d = self._rays(origins), self._rays(directions)
        samples = volume.march(o, d, self._box, self._cells, self.fine_step, torch.full_like(o[:, 0], 0.5))
        counts = torch.bincount(samples.ray, minlength=len(o))
        return counts.cpu().numpy(), samples.position.cpu().numpy(), samples.distance.cpu().numpy()

    @torch.no_grad()
    def query(self, positions: np.ndarray, directions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Density and colour at positions; see `FastBackend`."""
        points = self._rays(positions)
        if directions is None:
            return self._density(points).cpu().numpy(), np.zeros((0, 3), np.float32)
        density, color = [np.zeros(0, np.float32)], [np.zeros((0, 3), np.float32)]
        along = self._rays(directions)
        for first in range(0, len(points), QUERY_POINTS):
            part = slice(first, first + QUERY_POINTS)
            answer = field.query(self.layout, self.parameters, points[part], along[part])
            density.append(answer[0].cpu().numpy())
            color.append(answer[1].cpu().numpy())
        return np.concatenate(density), np.concatenate(color)

    # State -----------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of everything that training changes."""
        result = {"occupancy/values": self._values.cpu().numpy().copy()}
        for prefix, tensors in (
            ("params/", self.parameters),
            ("adam/first/", self._first),
            ("adam/second/", self._second),
        ):
            result.update({prefix + name: value.detach().cpu().numpy().copy() for name, value in tensors.items()})
        return result

    @torch.no_grad()
    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over checked arrays."""
        for prefix, tensors in (
            ("params/", self.parameters),
            ("adam/first/", self._first),
            ("adam/second/", self._second),
        ):
            for name, value in tensors.items():
                value.copy_(torch.from_numpy(np.array(arrays[prefix + name], np.float32)))
        self._values.copy_(torch.from_numpy(np.array(arrays["occupancy/values"], np.float32)))
        self._set_cells()
