"""Surface sampling: K samples at the quantiles of what a density grid stops along the ray, with no coarse stage.

The grid is kept by the field's own densities (`update`), so it starts empty and the samples lie evenly; as the field
takes shape they gather where matter begins. Two ways of using a sample:

* in training, and for what was so trained, the field says how dense its interval is;
* with `hint`, for few samples of any trained field, the grid does: a sample stands for one K-th of the light that the
  grid stops, carries that optical depth, and only its colour is asked of the field.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..rendering.volume import weights_of
from .base import Bins, Cost, Field, Sampler, Samples
from .grid import DensityGrid
from .hierarchical import intervals, shares
from .pdf import blurred_maximum, invert_cdf
from .spacing import Linear, Spacing, even_edges

EXPLORED = 0.1
"""Share of the light that is drawn evenly along the ray beside what the grid stops, where the field gives densities."""
FAINTEST = 2e-3
"""Alpha below which a ray is not coloured."""
PIECES_A_CELL = 2.0


class Surface(Sampler):
    """Quantiles of a grid's light.

    Parameters
    ----------
    grid : DensityGrid
    generator : torch.Generator, optional
    hint : bool
        Whether the grid's optical depths count, instead of the field's.
    spacing : Spacing, optional
        Of the pieces that the ray is looked up in.
    pieces : int, optional
        How many; by default as many as make two a cell.
    """

    def __init__(
        self,
        grid: DensityGrid,
        generator: torch.Generator | None = None,
        hint: bool = False,
        spacing: Spacing | None = None,
        pieces: int | None = None,
    ) -> None:
        self.grid, self.generator, self.hint = grid, generator, hint
        self.spacing, self.pieces = spacing or Linear(), pieces

    def update(self, step: int, field: Field) -> None:
        """See `Sampler.update`."""
        self.grid.update(step, field)

    def buffers(self) -> Mapping[str, Tensor]:
        """See `Sampler.buffers`."""
        return {"grid": self.grid.values, "known": self.grid.known}

    def profile(
        self, origins: Tensor, directions: Tensor, t_near: Tensor, t_far: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The grid along rays: edges (R, M + 1), optical depths (R, M) and weights (R, M) of M pieces."""
        count = self.pieces
        if count is None:
            longest = float((t_far - t_near).max()) if len(t_near) else 0.0
            count = max(1, int(PIECES_A_CELL * longest / self.grid.cell) + 1)
        edges = even_edges(t_near, t_far, count, self.spacing)
        middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
        density = self.grid.lookup(origins[:, None, :] + directions[:, None, :] * middle[..., None])
        depth = density * edges.diff(dim=-1)
        return edges, depth, weights_of(depth)[0]

    @torch.no_grad()
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
        """See `Sampler.sample`."""
        edges, _, weights = self.profile(origins, directions, t_near, t_far)
        cost = Cost(proposal=weights.shape[1])
        if self.hint and not training:
            return self._with_hints(edges, weights, budget, cost)
        even = edges.diff(dim=-1) / (edges[:, -1:] - edges[:, :1]).clamp_min(1e-9)
        mass = blurred_maximum(weights) + EXPLORED * even
        t, t0, t1 = intervals(lambda u: invert_cdf(edges, mass, u), len(edges), budget, edges, training, self.generator)
        return Samples(t, t0, t1, bins=Bins(edges, mass), cost=cost)

    def _with_hints(self, edges: Tensor, weights: Tensor, count: int, cost: Cost) -> Samples:
        alpha = weights.sum(dim=-1)
        mass = weights + 1e-12 * edges.diff(dim=-1)
        t, t0, t1 = intervals(lambda u: invert_cdf(edges, mass, u), len(edges), count, edges, False)
        valid = (alpha > FAINTEST)[:, None].expand(t.shape)
        hint = shares(alpha, count) * valid
        return Samples(t, t0, t1, optical_depth_hint=hint, valid=valid, bins=Bins(edges, mass), cost=cost)

    def cost(self) -> Cost:
        """Look-ups in the grid; how many depends on the ray's length."""
        return Cost(proposal=self.pieces or int(PIECES_A_CELL * 3.0**0.5 * self.grid.resolution))
