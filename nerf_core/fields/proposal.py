"""A small density field that proposes where a large one should be looked at: a coarse hash grid and one hidden layer.

Source: Barron et al. 2022, "Mip-NeRF 360", section 3 (proposal networks); Müller et al. 2022 (the encoding).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..kernels.reference.field import encode
from .hash_grid import FastLayout, FastSettings

HIDDEN = 16
MAX_LOG_DENSITY = 12.0


class ProposalField(nn.Module):
    """Density at positions of a box.

    Parameters
    ----------
    bounds : (2, 3) tensor
        The box, in the space that positions come in (or in what `to_cells` takes them to).
    resolution : int
        Cells along the box's longest side, at the finest level.
    to_cells : callable, optional
        Positions (..., 3) to where the box is: a contraction.
    """

    def __init__(self, bounds: Tensor, resolution: int, to_cells: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.layout = FastLayout.from_settings(
            FastSettings(
                levels=4,
                features=4,
                base_resolution=8,
                max_resolution=resolution,
                log2_table_size=15,
                occupancy_resolution=8,
                ray_steps=16,
            )
        )
        low = bounds[0].clone()
        self.low, self.scale, self.to_cells = low, 1.0 / float((bounds[1] - bounds[0]).max()), to_cells
        self.table = nn.Parameter(torch.empty(self.layout.shapes["table"]).uniform_(-1e-4, 1e-4))
        self.hidden = nn.Parameter(torch.empty(16, HIDDEN).uniform_(-1.0, 1.0) * (6.0 / 16) ** 0.5)
        self.out = nn.Parameter(torch.empty(HIDDEN, 1).uniform_(-1.0, 1.0) * (6.0 / HIDDEN) ** 0.5)

    def query_density(self, positions: Tensor) -> Tensor:
        """(...) density per unit of the positions' space at (..., 3)."""
        inside = positions if self.to_cells is None else self.to_cells(positions)
        unit = ((inside - self.low) * self.scale).clamp(0.0, 1.0)
        encoded = encode(self.layout, self.table, unit.reshape(-1, 3))
        raw = (torch.relu(encoded @ self.hidden) @ self.out)[:, 0]
        return torch.exp(raw.clamp(max=MAX_LOG_DENSITY)).reshape(positions.shape[:-1])
