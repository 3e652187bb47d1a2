"""The fast method in plain torch, as a backend: CUDA, Apple's MPS, and the CPU."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...contract.errors import NerfError
from ...fields.hash_grid import TORCH_SAMPLERS, FastSettings
from ..backend import DEPTH_REACH, BatchStats, FastBackend, OccupancyUpdate
from ..views import ViewArrays
from . import contraction, field, volume
from .optimiser import adam
from .pixels import Pixels
from .placing import place, trapezoid

RENDER_RAYS = 8192
"""Rays that are rendered at once: bounds the memory of the lattice points that are looked up."""
RENDER_POINTS = 1 << 20
"""The same for an unbounded scene, where a ray has more of them."""
PIECE = 48
"""Lattice points that an unbounded ray is followed for between two looks at whether anything passes it."""
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
        outside = torch.from_numpy(self.outside_cells()).to(self.device)
        self._values[outside] = -1.0
        self._cells = ~outside

    # Space -----------------------------------------------------------------------------------------------------

    def _to_grid(self, positions: Tensor) -> Tensor:
        """Unit positions to where the grids live."""
        return contraction.contract(positions) if self.unbounded else positions

    def _march(
        self,
        origins: Tensor,
        directions: Tensor,
        jitter: Tensor,
        coarseness: float = 1.0,
        limits: Tensor | None = None,
    ) -> volume.Samples:
        if self.unbounded:
            return volume.march_unbounded(
                origins, directions, self._cells, self.lattice(coarseness), jitter, limits=limits
            )
        return volume.march(origins, directions, self._box, self._cells, coarseness * self.fine_step, jitter, limits)

    def _stretched(self, density: Tensor, grid: Tensor) -> Tensor:
        """What the occupancy grid makes of densities at grid positions: far samples stand for longer intervals."""
        return density * contraction.stretch(grid, self.fine_growth, self.fine_step) if self.unbounded else density

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

    def _device_generator(self, purpose: int) -> torch.Generator:
        """Likewise, for numbers that are drawn on the device."""
        seed = np.random.SeedSequence([self.seed, self.step, purpose]).generate_state(1)[0]
        return torch.Generator(device=self.device).manual_seed(int(seed))

    def train_step(self, progress: float) -> BatchStats:
        """One optimisation step."""
        if self._pixels is None:
            raise RuntimeError("load_views comes before the first training step")
        batch = self._pixels.sample(self.rays, self._generator(0))
        anywhere = self.settings.sampler in TORCH_SAMPLERS
        if anywhere:
            lattice = self.lattice() if self.unbounded else None
            kept = place(self.settings, batch, self._box, lattice, self._density, self._device_generator(2))
        else:
            kept, _ = self._visible(batch.origins, batch.directions, batch.jitter, self.coarseness())
        grid = self._to_grid(kept.position)
        features = field.density_network(self.parameters, field.encode(self.layout, self.parameters["table"], grid))
        density = field.density_of(features[:, 0])
        if anywhere and self.settings.opacity == "linear":
            density = trapezoid(kept, density)
        color = self._colors(kept, density, features, batch.directions)
        thresholds = (self.settings.weight_threshold, self.settings.transmittance_threshold)
        result = volume.composite(kept, density, color, kept.interval, self.rays, *thresholds)
        mse = loss = volume.loss(result, batch.target, batch.background)
        depth_loss = None
        if self._pixels.has_depth and self.takes_depth:
            reach = (self.depth_growth * batch.depth).clamp(min=DEPTH_REACH)
            depth_loss = volume.depth_loss(kept, result, batch.depth, reach)
            loss = mse + self.depth_weight(progress) * depth_loss
        names = list(self.parameters)
        gradients = torch.autograd.grad(loss, [self.parameters[name] for name in names], allow_unused=True)
        self._update(dict(zip(names, gradients, strict=True)), self.learning_rate(progress))
        if self.feeds_occupancy:
            self._feed_occupancy(grid[result.selected], density.detach()[result.selected])
        update = self.occupancy_update()
        if update is not None:
            self.update_occupancy(update)
        stats = BatchStats(
            float(loss.detach()),
            float(mse.detach()),
            self.rays,
            len(kept.ray),
            int(result.selected.sum()),
            0,
            None if depth_loss is None else float(depth_loss.detach()),
        )
        self.step += 1
        self.adapt_rays(stats)
        return stats

    @torch.no_grad()
    def _visible(
        self,
        origins: Tensor,
        directions: Tensor,
        jitter: Tensor,
        coarseness: float = 1.0,
        limits: Tensor | None = None,
    ) -> tuple[volume.Samples, int]:
        """Samples up to where their ray becomes opaque, and how many densities were asked for to find them."""
        if not self.unbounded:
            samples = self._march(origins, directions, jitter, coarseness, limits)
            return self._without_hidden(samples, self._density(samples.position) * samples.interval, len(origins))
        # What no view has ever seen stays fog, and behind the walls of a room is most of it: so a piece at a time.
        lattice = self.lattice(coarseness)
        passing = torch.arange(len(origins), device=self.device)
        behind = origins.new_zeros(len(origins))
        pieces, depths = [], []
        for first in range(0, lattice.points, PIECE):
            within = None if limits is None else limits[passing]
            piece = volume.march_unbounded(
                origins[passing], directions[passing], self._cells, lattice, jitter[passing], first, PIECE, within
            )
            piece = piece._replace(ray=passing[piece.ray])
            depth = self._density(piece.position) * piece.interval
            behind.index_add_(0, piece.ray, depth)
            passing = passing[torch.exp(-behind[passing]) >= self.settings.transmittance_threshold]
            pieces.append(piece)
            depths.append(depth)
            if not len(passing):
                break
        samples = volume.Samples(*(torch.cat(parts) for parts in zip(*pieces, strict=True)))
        order = torch.argsort(samples.ray, stable=True)
        sorted_samples = volume.Samples(*(part[order] for part in samples))
        return self._without_hidden(sorted_samples, torch.cat(depths)[order], len(origins))

    def _without_hidden(self, samples: volume.Samples, optical_depth: Tensor, rays: int) -> tuple[volume.Samples, int]:
        passing = volume.transmittance_before(samples.ray, optical_depth, rays)
        seen = passing >= self.settings.transmittance_threshold
        return volume.Samples(*(part[seen] for part in samples)), len(optical_depth)

    def _colors(self, samples: volume.Samples, density: Tensor, features: Tensor, directions: Tensor) -> Tensor:
        """Colours of the samples that count; zero elsewhere."""
        thresholds = (self.settings.weight_threshold, self.settings.transmittance_threshold)
        chosen = volume.select(samples.ray, density.detach(), samples.interval, len(directions), *thresholds)[2]
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
    def _feed_occupancy(self, grid: Tensor, density: Tensor) -> None:
        side = self._values.shape[0]
        x, y, z = (grid * side).to(torch.int64).clamp(max=side - 1).unbind(-1)
        self._values.view(-1).scatter_reduce_(0, x + side * (y + side * z), self._stretched(density, grid), "amax")

    @torch.no_grad()
    def update_occupancy(self, update: OccupancyUpdate) -> float:
        """Refresh part of the occupancy grid; gives the share of the box that is occupied."""
        side = self._values.shape[0]
        flat = self._values.view(-1)
        chosen = torch.arange(update.phase, flat.numel(), update.every, device=self.device)
        chosen = chosen[flat[chosen] >= 0]
        corner = torch.stack([chosen % side, chosen // side % side, chosen // (side * side)], dim=-1)
        random = torch.rand(len(chosen), 3, generator=self._generator(1)).to(self.device)
        grid = (corner + random) / side
        flat[chosen] = torch.maximum(flat[chosen] * update.decay, self._stretched(self._grid_density(grid), grid))
        return self._set_cells()

    def _set_cells(self) -> float:
        inside = self._values >= 0.0
        mean = float(self._values[inside].mean())
        # A grid that has not been asked yet (or has lost everything) holds back nothing.
        limit = min(self.occupancy_limit, mean) if mean > 0.0 else -0.5
        self._cells = self._values > limit
        return float(self._cells.sum()) / max(int(inside.sum()), 1)

    @property
    def occupied(self) -> np.ndarray:
        """(G, G, G) bool, indexed z, y, x: the cells that rays look into."""
        return self._cells.cpu().numpy()

    # Looking ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _density(self, positions: Tensor) -> Tensor:
        """Density at unit positions."""
        return torch.cat([self._grid_density(self._to_grid(part)) for part in positions.split(QUERY_POINTS)])

    def _grid_density(self, grid: Tensor) -> Tensor:
        table = self.parameters["table"]
        parts = [
            field.density_of(field.density_network(self.parameters, field.encode(self.layout, table, part))[:, 0])
            for part in grid.split(QUERY_POINTS)
        ]
        return torch.cat(parts)

    def _rays(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array, np.float32).reshape(-1, 3)).to(self.device)

    @torch.no_grad()
    def render(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        evaluations: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Render rays; see `FastBackend`."""
        rgba, depth, counts, total = [], [], [], 0
        at_once = max(1, RENDER_POINTS // self.lattice().points) if self.unbounded else RENDER_RAYS
        o_parts, d_parts = self._rays(origins).split(at_once), self._rays(directions).split(at_once)
        within: Sequence[Tensor | None] = [None] * len(o_parts)
        if limits is not None:
            within = torch.from_numpy(np.array(limits, np.float32).reshape(-1, 2)).to(self.device).split(at_once)
        for o, d, part in zip(o_parts, d_parts, within, strict=True):
            kept, made = self._visible(o, d, torch.full_like(o[:, 0], 0.5), limits=part)
            total += made
            grid = self._to_grid(kept.position)
            features = field.density_network(self.parameters, field.encode(self.layout, self.parameters["table"], grid))
            density = field.density_of(features[:, 0])
            color = self._colors(kept, density, features, d)
            thresholds = (self.settings.weight_threshold, self.settings.transmittance_threshold)
            result = volume.composite(kept, density, color, kept.interval, len(o), *thresholds)
            rgba.append(torch.cat([result.color, result.alpha[:, None]], dim=1).cpu().numpy())
            depth.append((result.depth / result.alpha.clamp(min=1e-20)).cpu().numpy())
            counts.append(torch.bincount(kept.ray[result.selected], minlength=len(o)).cpu().numpy())
        if evaluations is not None:
            evaluations[:] = np.concatenate(counts)
        return np.concatenate(rgba).reshape(-1, 4), np.concatenate(depth), total

    @torch.no_grad()
    def march(
        self, origins: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All lattice points of rays that lie in occupied cells; see `FastBackend`."""
        o, d = self._rays(origins), self._rays(directions)
        samples = self._march(o, d, torch.full_like(o[:, 0], 0.5))
        counts = torch.bincount(samples.ray, minlength=len(o)).cpu().numpy()
        position, distance, interval = (
            part.cpu().numpy() for part in (samples.position, samples.distance, samples.interval)
        )
        return counts, position, distance, interval

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
            answer = field.query(self.layout, self.parameters, self._to_grid(points[part]), along[part])
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
