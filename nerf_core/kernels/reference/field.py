"""The fast field in plain torch: hash encoding, spherical harmonics, density and colour networks.

Every function takes tensors of one dtype on one device and is differentiable by autograd.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ...fields.hash_grid import HASH_PRIMES, MAX_LOG_DENSITY, FastLayout

Parameters = Mapping[str, Tensor]
"""`table`, `density_0`, `density_1`, `color_0`, `color_1`, as `FastLayout.shapes` names them."""


def corner_rows(layout: FastLayout, level: int, corners: Tensor) -> Tensor:
    """Table rows of integer grid corners (..., 3) of a level; Müller et al. 2022, equation 4."""
    x, y, z = corners.unbind(-1)
    side = int(layout.resolutions[level]) + 1
    if layout.dense[level]:
        rows = x + side * (y + side * z)
    else:
        size = int(layout.offsets[level + 1] - layout.offsets[level])
        rows = (x * HASH_PRIMES[0] ^ y * HASH_PRIMES[1] ^ z * HASH_PRIMES[2]) & (size - 1)
    return rows + int(layout.offsets[level])


def encode(layout: FastLayout, table: Tensor, positions: Tensor) -> Tensor:
    """Multiresolution hash encoding: trilinear interpolation of table rows, levels side by side.

    Parameters
    ----------
    layout : FastLayout
    table : (rows, F) tensor
    positions : (N, 3) tensor
        In the unit cube.

    Returns
    -------
    (N, levels * F) tensor
    """
    steps = torch.tensor([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)], dtype=torch.int64, device=positions.device)
    parts = []
    for level in range(layout.levels):
        cells = int(layout.resolutions[level])
        scaled = positions * cells
        lowest = scaled.detach().to(torch.int64).clamp(0, cells - 1)
        inside = (scaled - lowest).unsqueeze(1)
        rows = corner_rows(layout, level, lowest.unsqueeze(1) + steps)
        weights = torch.where(steps.bool(), inside, 1.0 - inside).prod(dim=-1)
        values = table.index_select(0, rows.reshape(-1)).reshape(-1, 8, table.shape[1])
        parts.append((values * weights.unsqueeze(-1)).sum(dim=1))
    return torch.cat(parts, dim=-1)


def spherical_harmonics(directions: Tensor) -> Tensor:
    """(N, 16) real spherical harmonics of degree 0 to 3 at unit directions (N, 3)."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack(
        [
            torch.full_like(x, 0.28209479177387814),
            -0.48860251190291987 * y,
            0.48860251190291987 * z,
            -0.48860251190291987 * x,
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.94617469575755997 * zz - 0.31539156525251999,
            -1.0925484305920792 * x * z,
            0.54627421529603959 * (xx - yy),
            0.59004358992664352 * y * (yy - 3.0 * xx),
            2.8906114426405538 * x * y * z,
            0.45704579946446572 * y * (1.0 - 5.0 * zz),
            0.3731763325901154 * z * (5.0 * zz - 3.0),
            0.45704579946446572 * x * (1.0 - 5.0 * zz),
            1.4453057213202769 * z * (xx - yy),
            0.59004358992664352 * x * (3.0 * yy - xx),
        ],
        dim=-1,
    )


def density_network(parameters: Parameters, encoded: Tensor) -> Tensor:
    """(N, 16): log density, and what the colour network is told of the place."""
    return torch.relu(encoded @ parameters["density_0"]) @ parameters["density_1"]


def color_network(parameters: Parameters, features: Tensor, harmonics: Tensor) -> Tensor:
    """(N, 3) straight colour in (0, 1)."""
    hidden = torch.relu(torch.cat([features, harmonics], dim=-1) @ parameters["color_0"])
    return torch.sigmoid(hidden @ parameters["color_1"])


def density_of(log_density: Tensor) -> Tensor:
    """Density per unit-cube length: exp, clamped so that it stays finite.

    The gradient goes on as if there were no clamp, so that a density that is too large can still come down.
    """
    clamped = log_density.clamp(max=MAX_LOG_DENSITY)
    return torch.exp(log_density + (clamped - log_density).detach())


def query(layout: FastLayout, parameters: Parameters, positions: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Density (N,) and colour (N, 3) at unit-cube positions seen along unit directions."""
    features = density_network(parameters, encode(layout, parameters["table"], positions))
    color = color_network(parameters, features, spherical_harmonics(directions))
    return density_of(features[:, 0]), color
