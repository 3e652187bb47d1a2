"""Occupancy sampling: a lattice along the ray, of which only what lies in occupied cells is looked at, until it ends.

Source: Müller et al. 2022, "Instant Neural Graphics Primitives", appendix C and E.1. The fast method's kernels do this
themselves; this is for other fields, and for a bound on the samples that are coloured.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..rendering.volume import weights_of
from .base import Bins, Cost, Field, Sampler, Samples, Skipped
from .grid import DensityGrid

PIECE = 32
"""Samples that a ray is followed for between two looks at whether anything passes it."""
ABSORBED = 5e-2
"""A cell is empty where one step through it would absorb less."""


class Occupancy(Sampler):
    """Lattice points in occupied cells.

    Parameters
    ----------
    grid : DensityGrid
    step : float
        Between lattice points.
    field : Field
        Asked for densities when not training, to find where rays end and which samples count.
    generator : torch.Generator, optional
    weight_threshold : float
        Samples of less weight are not coloured.
    transmittance_threshold : float
        A ray ends where less than this passes.
    """

    def __init__(
        self,
        grid: DensityGrid,
        step: float,
        field: Field,
        generator: torch.Generator | None = None,
        weight_threshold: float = 1e-3,
        transmittance_threshold: float = 3e-3,
    ) -> None:
        self.grid, self.step, self.field, self.generator = grid, step, field, generator
        self.weight_threshold, self.transmittance_threshold = weight_threshold, transmittance_threshold
        self._cells: Tensor
        self.refresh()

    def refresh(self) -> None:
        """Find out again which cells are occupied."""
        mean = float(self.grid.inside.mean())
        # A grid that has not been asked yet (or has lost everything) holds back nothing.
        limit = min(ABSORBED / self.step, mean) if mean > 0.0 else -0.5
        self._cells = self.grid.values > limit

    def occupied(self, positions: Tensor) -> Tensor:
        """(...) whether positions (..., 3) lie in occupied cells."""
        return self._cells[self.grid.index(positions)]

    def update(self, step: int, field: Field) -> None:
        """See `Sampler.update`."""
        if self.grid.update(step, field):
            self.refresh()

    def buffers(self) -> Mapping[str, Tensor]:
        """See `Sampler.buffers`."""
        return {"grid": self.grid.values, "known": self.grid.known}

    def sample(
        self,
        origins: Tensor,
        directions: Tensor,
        t_near: Tensor,
        t_far: Tensor,
        budget: int,
        training: bool,
        depth: Tensor | None = None,
    ) -> Samples:
        """See `Sampler.sample`.

        Training, the occupied lattice points, thinned out evenly where there are more than `budget`; else the `budget`
        that weigh most, each standing also for the lighter ones before it.
        """
        samples = self._march(origins, directions, t_near, t_far, training)
        assert samples.valid is not None
        if training:
            return self._thinned(samples, budget)
        with torch.no_grad():
            density, asked = self._until_opaque(samples, origins, directions)
            weights, _ = weights_of(density * samples.dt)
            bins = self._lattice_bins(samples, weights, t_near)
            kept = heaviest(samples, density * samples.dt, weights, budget, self.weight_threshold)
        cost = Cost(density_only=asked)
        return Samples(
            kept.t,
            kept.t0,
            kept.t1,
            optical_depth_hint=kept.optical_depth_hint,
            valid=kept.valid,
            bins=bins,
            skipped=samples.skipped,
            cost=cost,
        )

    @torch.no_grad()
    def look_through(
        self, origins: Tensor, directions: Tensor, t_near: Tensor, t_far: Tensor
    ) -> tuple[Samples, Tensor, Tensor | int]:
        """All lattice points in occupied cells, their optical depths (R, S), and the densities asked for these."""
        samples = self._march(origins, directions, t_near, t_far, False)
        density, asked = self._until_opaque(samples, origins, directions)
        return samples, density * samples.dt, asked

    def _march(self, origins: Tensor, directions: Tensor, t_near: Tensor, t_far: Tensor, training: bool) -> Samples:
        count = max(1, int(torch.ceil((t_far - t_near).max() / self.step)) + 1) if len(t_near) else 1
        if training:
            jitter = torch.rand(len(t_near), generator=self.generator, device=t_near.device, dtype=t_near.dtype)
        else:
            jitter = torch.full_like(t_near, 0.5)
        index = torch.arange(count, device=t_near.device, dtype=t_near.dtype)
        t = t_near[:, None] + (index + jitter[:, None]) * self.step
        inside = t < t_far[:, None]
        occupied = self.occupied(origins[:, None, :] + directions[:, None, :] * t[..., None])
        passed = inside & ~occupied
        half = 0.5 * self.step * passed
        skipped = Skipped(t - half, t + half)
        t, valid = pack(t, inside & occupied)
        return Samples(t, t, t + self.step * valid, valid=valid, skipped=skipped)

    def _thinned(self, samples: Samples, budget: int) -> Samples:
        """At most `budget` of a row's samples, evenly from all of them; each stands for those that it replaces."""
        assert samples.valid is not None
        counts = samples.counts[:, None]
        width = min(budget, samples.t.shape[1])
        thin = (counts / budget).clamp_min(1.0)
        offset = torch.rand((len(counts), 1), generator=self.generator, device=samples.t.device, dtype=samples.t.dtype)
        place = ((torch.arange(width, device=samples.t.device) + offset * (thin > 1.0)) * thin).to(torch.int64)
        valid = place < counts
        last = (counts - 1).clamp_min(0)
        t = samples.t.gather(-1, torch.minimum(place, last))
        return Samples(t, t, t + self.step * thin * valid, valid=valid, skipped=samples.skipped)

    def _lattice_bins(self, samples: Samples, weights: Tensor, t_near: Tensor) -> Bins | None:
        """Weights put back on the whole lattice, whose intervals in empty cells have none."""
        if samples.skipped is None:
            return None
        size = samples.skipped.t0.shape[1]
        index = ((samples.t - t_near[:, None]) / self.step - 0.5).round().to(torch.int64).clamp(0, size - 1)
        steps = torch.arange(size + 1, device=t_near.device, dtype=t_near.dtype) * self.step
        spread = torch.zeros_like(samples.skipped.t0).scatter_add(-1, index, weights * (samples.dt > 0))
        return Bins(t_near[:, None] + steps, spread)

    def _until_opaque(self, samples: Samples, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Densities (R, S) as far as light comes, and how many were asked for (R,)."""
        assert samples.valid is not None
        density = torch.zeros_like(samples.t)
        asked = torch.zeros_like(samples.t[:, 0], dtype=torch.int64)
        passing = torch.ones_like(samples.t[:, 0])
        for first in range(0, samples.t.shape[1], PIECE):
            piece = slice(first, first + PIECE)
            wanted = samples.valid[:, piece] & (passing >= self.transmittance_threshold)[:, None]
            ray, column = torch.nonzero(wanted, as_tuple=True)
            if not len(ray):
                break
            t = samples.t[:, piece][ray, column]
            found = self.field.query_density(origins[ray] + directions[ray] * t[:, None])
            density[:, piece] = density[:, piece].index_put((ray, column), found)
            asked += wanted.sum(dim=-1)
            passing = passing * torch.exp(-(density[:, piece] * samples.dt[:, piece]).sum(dim=-1))
        return density, asked

    def cost(self) -> Cost:
        """Not known beforehand: what is occupied and not hidden."""
        return Cost()


class Carved:
    """A field that was trained in an occupancy sampler's cells alone: 0 where it would be fog."""

    def __init__(self, field: Field, sampler: Occupancy) -> None:
        self.field, self.sampler = field, sampler

    def __call__(self, positions: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """See `Field`."""
        density, color = self.field(positions, directions)
        return density * self.sampler.occupied(positions), color

    def query_density(self, positions: Tensor) -> Tensor:
        """See `Field`."""
        return self.field.query_density(positions) * self.sampler.occupied(positions)


def pack(t: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (R, S) with their valid entries first, in order, cut to the longest; the rest repeats the last valid one."""
    order = torch.argsort((~valid).to(torch.uint8), dim=-1, stable=True)
    counts = valid.sum(dim=-1)
    width = max(1, int(counts.max())) if len(counts) else 1
    last = (counts - 1).clamp_min(0)[:, None]
    place = torch.arange(width, device=t.device)[None, :]
    return t.gather(-1, order.gather(-1, torch.minimum(place, last))), place < counts[:, None]


def heaviest(samples: Samples, depth: Tensor, weights: Tensor, count: int, threshold: float) -> Samples:
    """At most `count` samples a ray: those of most weight above `threshold`, which stand for the others, too.

    Each takes on the optical depth of the lighter ones between the one before and itself (the last one also of those
    behind it), so that what the ray absorbs stays the same.

    Parameters
    ----------
    samples : Samples
    depth, weights : (R, S) tensors
        Optical depths, and what compositing makes of them.
    count : int
    threshold : float
    """
    size = weights.shape[1]
    heavy = weights > threshold
    count = min(count, size, max(1, int(heavy.sum(dim=-1).max()) if len(weights) else 1))
    chosen = torch.topk(weights, count, dim=-1).indices
    chosen = torch.where(heavy.gather(-1, chosen), chosen, torch.full_like(chosen, size)).sort(dim=-1).values
    valid = chosen < size
    # The kept sample that each one belongs to: the next at or behind it, else the last.
    every = torch.arange(size, device=weights.device).expand(weights.shape).contiguous()
    last = (valid.sum(dim=-1) - 1).clamp_min(0)[:, None]
    owner = torch.minimum(torch.searchsorted(chosen, every), last)
    hint = torch.zeros_like(weights[:, :count]).scatter_add(-1, owner, depth) * valid
    at = chosen.clamp_max(size - 1)
    t = samples.t.gather(-1, at)
    end = samples.t1.gather(-1, at)
    # Sorted rows: what only fills a row up stands at its end.
    fill = end.gather(-1, last)
    t, end = torch.where(valid, t, fill), torch.where(valid, end, fill)
    start = torch.cat([samples.t0[:, :1], end[:, :-1]], dim=-1)
    return Samples(t, torch.minimum(start, t), torch.maximum(end, t), optical_depth_hint=hint, valid=valid)
