"""The radiance field of the 2020 NeRF: one multilayer perceptron from position and direction to density and colour.

Source: Mildenhall et al., "NeRF: Representing Scenes as Neural Radiance Fields for View Synthesis", ECCV 2020,
section 3 and figure 7.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .positional import PositionalEncoding


class RadianceMLP(nn.Module):
    """Density and colour at positions seen along directions.

    Parameters
    ----------
    depth, width : int
        Hidden layers of the trunk and their width (published: 8, 256).
    skip : int
        The layer, counted from 1, whose output the encoded position is joined to again (published: 5); 0 for none.
    position_frequencies, direction_frequencies : int
        Of the positional encodings (published: 10 and 4); 0 switches an encoding off.
    view_directions : bool
        Whether colour depends on the viewing direction; without it colour comes straight from the trunk.
    include_input : bool
        See `PositionalEncoding`.
    density_activation : {'relu', 'softplus'}
        Published: relu. Softplus cannot die in narrow networks.
    """

    def __init__(
        self,
        depth: int = 8,
        width: int = 256,
        skip: int = 5,
        position_frequencies: int = 10,
        direction_frequencies: int = 4,
        view_directions: bool = True,
        include_input: bool = True,
        density_activation: str = "relu",
    ) -> None:
        super().__init__()
        self.skip = skip
        self.view_directions = view_directions
        self.density_activation = density_activation
        self.encode_position = PositionalEncoding(position_frequencies, include_input)
        self.encode_direction = PositionalEncoding(direction_frequencies, include_input)
        encoded = self.encode_position.width()
        self.trunk = nn.ModuleList()
        inputs = encoded
        for layer in range(1, depth + 1):
            self.trunk.append(nn.Linear(inputs, width))
            inputs = width + (encoded if layer == skip else 0)
        self.density = nn.Linear(inputs, 1)
        if view_directions:
            self.feature = nn.Linear(inputs, width)
            self.branch = nn.Linear(width + self.encode_direction.width(), max(width // 2, 1))
            self.color = nn.Linear(max(width // 2, 1), 3)
        else:
            self.color = nn.Linear(inputs, 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):  # Glorot, as the authors' Keras layers start
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def _trunk(self, positions: Tensor) -> Tensor:
        encoded = self.encode_position(positions)
        hidden = encoded
        for number, layer in enumerate(self.trunk, start=1):
            hidden = functional.relu(layer(hidden))
            if number == self.skip:
                hidden = torch.cat([encoded, hidden], dim=-1)
        return hidden

    def _activate(self, raw: Tensor) -> Tensor:
        if self.density_activation == "softplus":
            return functional.softplus(raw - 1.0)
        return functional.relu(raw)

    def query_density(self, positions: Tensor) -> Tensor:
        """(...,) density per unit of the field's own space at (..., 3) positions in [-1, 1]^3."""
        return self._activate(self.density(self._trunk(positions)))[..., 0]

    def forward(self, positions: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Density and colour.

        Parameters
        ----------
        positions : (..., S, 3) tensor
            In [-1, 1]^3.
        directions : (..., 3) tensor
            Unit viewing directions, one for each row of S positions.

        Returns
        -------
        density : (..., S) tensor
            Per unit of the field's own space, not negative.
        color : (..., S, 3) tensor
            Straight, 0 to 1.
        """
        hidden = self._trunk(positions)
        density = self._activate(self.density(hidden))[..., 0]
        if self.view_directions:
            encoded = self.encode_direction(directions)[..., None, :].expand(*positions.shape[:-1], -1)
            hidden = functional.relu(self.branch(torch.cat([self.feature(hidden), encoded], dim=-1)))
        return density, torch.sigmoid(self.color(hidden))
