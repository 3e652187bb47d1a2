"""GRAF's generator: a radiance field whose shape and appearance follow two codes, rendered by emission and absorption.

Source: Schwarz et al., "GRAF: Generative Radiance Fields for 3D-Aware Image Synthesis", NeurIPS 2020 (arXiv
2007.02442), section 3.2 and its supplement. The codes are plain Gaussian vectors beside the encoded position and
direction.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..fields.positional import PositionalEncoding
from ..rendering.volume import weights_of
from . import camera


class CodedLinear(nn.Module):
    """A linear layer over [features, code], with the code's part made once a picture instead of once a point.

    Parameters
    ----------
    features, code, width : int
    """

    def __init__(self, features: int, code: int, width: int) -> None:
        super().__init__()
        whole = nn.Linear(features + code, width)  # the beginnings are those of the one layer that it stands for
        self.of_features = nn.Linear(features, width)
        self.of_code = nn.Linear(code, width, bias=False)
        with torch.no_grad():
            self.of_features.weight.copy_(whole.weight[:, :features])
            self.of_features.bias.copy_(whole.bias)
            self.of_code.weight.copy_(whole.weight[:, features:])

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """(n, P, width) of (n, P, features) and (n, code)."""
        return self.of_features(features) + self.of_code(code)[:, None]


class ConditionalField(nn.Module):
    """Density by position and shape code; colour by the direction and the appearance code as well.

    Parameters
    ----------
    depth, width : int
        Hidden layers of the trunk and their width (published: 8, 256); the colour's own layer has half the width.
    skip : int
        The layer, counted from 1, whose output the encoded position and the shape code join again; 0 for none.
    shape_code, appearance_code : int
        Sizes of the codes (published: 128 each).
    position_frequencies, direction_frequencies : int
        Published: 10 and 4.
    channels : int
        Of the colour.
    density_activation : {'relu', 'softplus'}
        Published: relu. Softplus cannot die in narrow networks.
    view_directions : bool
        Whether colour depends on the viewing direction.
    """

    def __init__(
        self,
        depth: int = 8,
        width: int = 256,
        skip: int = 4,
        shape_code: int = 128,
        appearance_code: int = 128,
        position_frequencies: int = 10,
        direction_frequencies: int = 4,
        channels: int = 3,
        density_activation: str = "relu",
        view_directions: bool = True,
    ) -> None:
        super().__init__()
        self.skip, self.shape_code = skip, shape_code
        self.density_activation = density_activation
        self.encode_position = PositionalEncoding(position_frequencies)
        self.encode_direction = PositionalEncoding(direction_frequencies) if view_directions else None
        encoded = self.encode_position.width()
        self.first = CodedLinear(encoded, shape_code, width)
        self.trunk = nn.ModuleDict()
        self.joined = CodedLinear(encoded, shape_code, width) if 0 < skip < depth else None
        for layer in range(2, depth + 1):
            self.trunk[str(layer)] = nn.Linear(width, width)
        self.density = nn.Linear(width, 1)
        self.feature = nn.Linear(width, width)
        seen = 0 if self.encode_direction is None else self.encode_direction.width()
        self.of_direction = None if self.encode_direction is None else nn.Linear(seen, width // 2, bias=False)
        self.branch = CodedLinear(width, appearance_code, width // 2)
        self.color = nn.Linear(width // 2, channels)

    def forward(self, positions: Tensor, directions: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Raw density and colour.

        Parameters
        ----------
        positions : (n, R, S, 3) tensor
            In [-1, 1]^3.
        directions : (n, R, 3) tensor
            Of unit length.
        codes : (n, shape_code + appearance_code) tensor

        Returns
        -------
        density : (n, R, S) tensor
            Before its activation.
        color : (n, R, S, channels) tensor
            0 to 1.
        """
        count, rays, samples = positions.shape[:3]
        shape, appearance = codes[:, : self.shape_code], codes[:, self.shape_code :]
        encoded = self.encode_position(positions.reshape(count, rays * samples, 3))
        hidden = functional.relu(self.first(encoded, shape))
        for name, layer in self.trunk.items():
            hidden = layer(hidden)
            if self.joined is not None and int(name) == self.skip + 1:
                hidden = hidden + self.joined(encoded, shape)
            hidden = functional.relu(hidden)
        density = self.density(hidden).reshape(count, rays, samples)
        hidden = self.branch(self.feature(hidden), appearance)
        if self.encode_direction is not None and self.of_direction is not None:
            seen = self.of_direction(self.encode_direction(directions))[:, :, None]
            hidden = (hidden.reshape(count, rays, samples, -1) + seen).reshape(count, rays * samples, -1)
        color = torch.sigmoid(self.color(functional.relu(hidden)))
        return density, color.reshape(count, rays, samples, -1)

    def activated(self, raw: Tensor) -> Tensor:
        """Density per unit of length, not negative."""
        return functional.softplus(raw - 1.0) if self.density_activation == "softplus" else functional.relu(raw)


def stratified(shape: tuple[int, int], samples: int, near: float, far: float, rng: torch.Generator | None) -> Tensor:
    """One sample in each of `samples` even intervals between `near` and `far`.

    Parameters
    ----------
    shape : (n, R)
    samples : int
    near, far : float
    rng : torch.Generator, optional
        Draws each sample's place in its interval; without it in the middle.

    Returns
    -------
    (n, R, samples) tensor
        Distances from the source.
    """
    count, rays = shape
    place = torch.full((count, rays, samples), 0.5) if rng is None else torch.rand(count, rays, samples, generator=rng)
    return near + (far - near) / samples * (torch.arange(samples) + place)


def render_field(
    field: ConditionalField,
    codes: Tensor,
    poses: Tensor,
    points: Tensor,
    *,
    field_of_view: float,
    near: float,
    far: float,
    samples: int,
    rng: torch.Generator | None = None,
    noise: float = 0.0,
) -> Tensor:
    """Emission and absorption along the rays through points of the image plane, over black.

    ``C = sum_i T_i (1 - exp(-sigma_i delta_i)) c_i``; delta_i reaches to the next sample, the last one's to `far`.

    Parameters
    ----------
    field : ConditionalField
    codes : (n, D) tensor
    poses : (n, 3) tensor
        As in `camera`.
    points : (n, R, 2) tensor
    field_of_view : float
        Degrees.
    near, far : float
        Positions are divided by half of their distance, which puts the samples into the field's [-1, 1]^3.
    samples : int
    rng : torch.Generator, optional
        Of the samples' places and the noise; without it samples lie in the middle of their intervals, without noise.
    noise : float
        Standard deviation of what is added to raw density.

    Returns
    -------
    (n, R, channels) tensor
        0 to 1.
    """
    origins, directions = camera.rays(poses, points, field_of_view)
    t = stratified((points.shape[0], points.shape[1]), samples, near, far, rng).to(points.device)
    positions = origins[:, :, None] + t[..., None] * directions[:, :, None]
    raw, color = field(positions / (0.5 * (far - near)), directions, codes)
    if noise > 0.0 and rng is not None:
        raw = raw + noise * torch.randn(raw.shape, generator=rng).to(raw.device)
    lengths = torch.cat([t[..., 1:] - t[..., :-1], far - t[..., -1:]], dim=-1)
    optical_depth = field.activated(raw) * lengths
    weights, _ = weights_of(optical_depth.flatten(0, 1))
    return (weights.reshape_as(raw)[..., None] * color).sum(dim=-2)
