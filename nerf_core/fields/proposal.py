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
START = 4.0
"""Log density that a network begins near where it knows what is empty: every cell of the rest may stop the light."""


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
    known : callable, optional
        Positions (N, 3) to (N,) bool: where there may be something at all, as an occupancy grid knows. Elsewhere the
        density is 0, unasked and unlearned: most of a scene is empty, and the network's few cells are for the rest.
    """

    def __init__(
        self,
        bounds: Tensor,
        resolution: int,
        to_cells: Callable[[Tensor], Tensor] | None = None,
        known: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
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
        self.known = known
        self.table = nn.Parameter(torch.empty(self.layout.shapes["table"]).uniform_(-1e-4, 1e-4))
        self.hidden = nn.Parameter(torch.empty(16, HIDDEN).uniform_(-1.0, 1.0) * (6.0 / 16) ** 0.5)
        self.out = nn.Parameter(torch.empty(HIDDEN, 1).uniform_(-1.0, 1.0) * (6.0 / HIDDEN) ** 0.5)

    def query_density(self, positions: Tensor) -> Tensor:
        """(...) density per unit of the positions' space at (..., 3)."""
        flat = positions.reshape(-1, 3)
        if self.known is None:
            return self._density(flat).reshape(positions.shape[:-1])
        rows = self.known(flat).nonzero()[:, 0]
        density = torch.zeros(len(flat), dtype=flat.dtype).index_put((rows,), self._density(flat[rows]))
        return density.reshape(positions.shape[:-1])

    def _density(self, positions: Tensor) -> Tensor:
        inside = positions if self.to_cells is None else self.to_cells(positions)
        unit = ((inside - self.low) * self.scale).clamp(0.0, 1.0)
        raw = (torch.relu(self._encode(unit) @ self.hidden) @ self.out)[:, 0]
        raw = raw if self.known is None else raw + START
        return torch.exp(raw.clamp(max=MAX_LOG_DENSITY))

    def _encode(self, unit: Tensor) -> Tensor:
        if torch.is_grad_enabled() or unit.device.type != "cpu" or unit.dtype != torch.float32:
            return encode(self.layout, self.table, unit)
        from ..kernels.cpu.encode_points import encode_points  # numba takes a second to import

        return torch.from_numpy(encode_points(self.layout, self.table.detach().numpy(), unit.numpy()))
