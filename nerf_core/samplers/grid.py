"""Density on a grid of cells, kept by asking the field now and then: what occupancy and surface samplers go by."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from .base import Field

Map = Callable[[Tensor], Tensor]
OnProgress = Callable[[float], None]

EVERY = 16
"""Training steps between two updates."""
PARTS = 8
"""Into which a grid is divided for an update, once every cell has been asked."""
AT_ONCE = 1 << 15
"""Points that are asked for between two tellings of the progress."""


class DensityGrid:
    """Cells over a box, with a density each: over the cube on its longest side, of which only the box is asked for.

    Parameters
    ----------
    bounds : (2, 3) tensor
        In the rays' space, or in what `to_cells` takes it to.
    resolution : int
        Cells along the cube's sides.
    decay : float
        What an old value is multiplied by when its cell is asked again.
    keep : {'largest', 'mean'}
        'largest': the larger of the decayed old value and the new one, so that thin things stay (Müller et al. 2022,
        appendix C); 'mean': the running mean.
    seed : int
    to_cells : callable, optional
        Positions (..., 3) of the rays' space to where the box is: a contraction.
    to_field : callable, optional
        Its inverse.
    """

    def __init__(
        self,
        bounds: Tensor,
        resolution: int,
        decay: float = 0.8,
        keep: str = "largest",
        seed: int = 0,
        to_cells: Map | None = None,
        to_field: Map | None = None,
    ) -> None:
        self.bounds, self.resolution = bounds, resolution
        sides = bounds[1] - bounds[0]
        self.cell = float(sides.max()) / resolution
        self.values = torch.zeros(resolution**3, device=bounds.device)
        self.known = torch.zeros(1, device=bounds.device)  # whether every cell has been asked
        self.decay, self.keep, self.seed = decay, keep, seed
        self.to_cells, self.to_field = to_cells, to_field
        used = [torch.arange(resolution, device=bounds.device) * self.cell < float(side) - 1e-6 for side in sides]
        self._inside = (used[2][:, None, None] & used[1][:, None] & used[0]).flatten().nonzero()[:, 0]

    @property
    def inside(self) -> Tensor:
        """(C,) densities of the cells that meet the box."""
        return self.values[self._inside]

    def lookup(self, positions: Tensor) -> Tensor:
        """(...) densities of the cells that positions (..., 3) lie in; those outside take the nearest cell's."""
        return self.values[self.index(positions)]

    def index(self, positions: Tensor) -> Tensor:
        """(...) int64 numbers of the cells that positions (..., 3) lie in."""
        inside = positions if self.to_cells is None else self.to_cells(positions)
        place = ((inside - self.bounds[0]) / self.cell).to(torch.int64).clamp(0, self.resolution - 1)
        x, y, z = place.unbind(-1)
        return x + self.resolution * (y + self.resolution * z)

    @torch.no_grad()
    def update(self, step: int, field: Field) -> bool:
        """Ask again after training step `step` (from 1), if it is time; says whether anything was asked."""
        if step % EVERY:
            return False
        turn = step // EVERY
        every = PARTS if self.known else 1
        for _ in self._ask(self._inside[turn % every :: every], field, turn):
            pass
        self.known.fill_(1.0)
        return True

    @torch.no_grad()
    def build(self, field: Field, rounds: int = 2, on_progress: OnProgress | None = None) -> None:
        """Ask every cell, at several places of each; the grid is of no use where `on_progress` raises something."""
        self.known.zero_()
        for turn in range(rounds):
            for done in self._ask(self._inside, field, turn, 1.0 / (turn + 1)):
                if on_progress is not None:
                    on_progress((turn + done) / rounds)
        self.known.fill_(1.0)

    def _ask(self, chosen: Tensor, field: Field, turn: int, share: float | None = None) -> Iterator[float]:
        """Ask cells, some at a time: gives which part of them is about to be; all take their values at the end."""
        # On the CPU and from the step alone, so that a continued run draws what an uninterrupted one would.
        seed = int(np.random.SeedSequence([self.seed, turn]).generate_state(1)[0])
        offset = torch.rand(len(chosen), 3, generator=torch.Generator().manual_seed(seed)).to(chosen.device)
        side = self.resolution
        corner = torch.stack([chosen % side, chosen // side % side, chosen // (side * side)], dim=-1)
        found = []
        for number, (corners, offsets) in enumerate(zip(corner.split(AT_ONCE), offset.split(AT_ONCE), strict=True)):
            yield number * AT_ONCE / max(len(chosen), 1)
            places = torch.minimum(self.bounds[0] + (corners + offsets) * self.cell, self.bounds[1])
            found.append(field.query_density(places if self.to_field is None else self.to_field(places)))
        density = torch.cat(found) if found else self.values[:0]
        old = self.values[chosen]
        if self.keep == "largest":
            decay = self.decay if share is None else 1.0
            self.values[chosen] = torch.maximum(old * decay, density) if share != 1.0 else density
        else:
            share = share or (1.0 - self.decay if self.known else 1.0)
            self.values[chosen] = old + share * (density - old)
