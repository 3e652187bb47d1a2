"""A small NeRF whose weights are modulated by a style: HyperNeRFGAN's hypernetwork (Kania et al. 2023, section 3).

Not a network that writes all weights: each layer has weights W_s of its own, shared by all subjects, and the style
gives two thin factors A and B whose product, of low rank, scales W_s entry by entry.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .camera import GRAF_HALF_WIDTH
from .equalised import Linear, Mapping

EXTENT = math.sqrt(2.0) * GRAF_HALF_WIDTH
"""Half a side of the box that coordinates are scaled by: the image's square, seen along its diagonal."""


class ModulatedLinear(nn.Module):
    """A linear layer with weights of its own for every style.

    ``W = W_s * (1 + A B / sqrt(rank))`` with A (outputs, rank) and B (rank, inputs) linear in the style, then every row
    of W divided by its length; the bias is shared.

    Parameters
    ----------
    inputs, outputs, style_size, rank : int
    gain : float
        Multiplies the outputs of W: sqrt(2) before a ReLU keeps the spread.
    """

    def __init__(self, inputs: int, outputs: int, style_size: int, rank: int = 10, gain: float = 1.0) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.factors = Linear(style_size, rank * (inputs + outputs))
        self.inputs, self.outputs, self.rank, self.gain = inputs, outputs, rank, gain

    def weights(self, styles: Tensor) -> Tensor:
        """(n, outputs, inputs) weights of (n, style_size) styles; rows of length 1."""
        left, right = self.factors(styles).split([self.outputs * self.rank, self.rank * self.inputs], dim=1)
        left = left.reshape(-1, self.outputs, self.rank)
        right = right.reshape(-1, self.rank, self.inputs)
        weights = self.shared * (1.0 + torch.bmm(left, right) / math.sqrt(self.rank))
        return functional.normalize(weights, dim=2, eps=1e-8)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        """(n, P, inputs) to (n, P, outputs): one matrix product a subject for all of its points."""
        weights = self.weights(styles).transpose(1, 2) * self.gain
        return torch.bmm(x, weights).add_(self.bias)  # in place: on a CPU fresh memory costs as much as the product


class HyperNeRF(nn.Module):
    """Mapping network and modulated NeRF.

    Parameters
    ----------
    code_size, style_size : int
    depth, width : int
        Hidden layers of the NeRF, and their size.
    frequencies : int
        L of the positional encoding: sines and cosines of 2^k pi x for k < L.
    direction_frequencies : int
        Of the viewing direction that colour sees; 0: it does not see it.
    rank : int
    channels : int
        Of the colour: 3, or 1 for grey.
    """

    def __init__(
        self,
        code_size: int,
        style_size: int,
        depth: int,
        width: int,
        frequencies: int,
        direction_frequencies: int = 0,
        rank: int = 10,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.mapping = Mapping(code_size, style_size)
        self.frequencies, self.direction_frequencies = frequencies, direction_frequencies
        sizes = [3 + 6 * frequencies] + [width] * depth
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.hidden = nn.ModuleList(ModulatedLinear(a, b, style_size, rank, math.sqrt(2.0)) for a, b in pairs)
        self.density = ModulatedLinear(width, 1, style_size, rank)
        seen = width + (3 + 6 * direction_frequencies if direction_frequencies else 0)
        self.color = ModulatedLinear(seen, channels, style_size, rank)
        self.gains = nn.Parameter(torch.ones(1 + channels))  # rows of length 1 alone could not say how much

    def forward(self, codes: Tensor, points: Tensor, directions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Density and colour at points.

        Parameters
        ----------
        codes : (n, code_size) tensor
        points : (n, P, 3) tensor
            World.
        directions : (n, P, 3) tensor, optional
            Unit vectors from the source; wanted when `direction_frequencies` is not 0.

        Returns
        -------
        density : (n, P) tensor
            1 / world unit.
        color : (n, P, channels) tensor
            In [0, 1].
        """
        styles = self.mapping(codes)
        x = encoded(points / EXTENT, self.frequencies)
        for layer in self.hidden:
            x = functional.relu_(layer(x, styles))
        density = functional.softplus(self.density(x, styles)[..., 0] * self.gains[0])
        if self.direction_frequencies:
            if directions is None:
                raise ValueError("this NeRF's colour sees the viewing direction")
            x = torch.cat([x, encoded(directions, self.direction_frequencies)], dim=-1)
        return density, torch.sigmoid(self.color(x, styles) * self.gains[1:])


def encoded(x: Tensor, frequencies: int) -> Tensor:
    """Positional encoding of (..., D): x itself, then sines and cosines of 2^k pi x; (..., D (1 + 2 frequencies))."""
    if not frequencies:
        return x
    octaves = math.pi * 2.0 ** torch.arange(frequencies, device=x.device, dtype=x.dtype)
    angles = (x[..., None, :] * octaves[:, None]).flatten(-2)
    return torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=-1)


def composited(density: Tensor, color: Tensor, distances: Tensor, far: float) -> Tensor:
    """Emission and absorption along rays before a black background (Mildenhall et al. 2020, equation 3).

    Parameters
    ----------
    density : (n, R, S) tensor
    color : (n, R, S, C) tensor
    distances : (n, R, S) tensor
        Of the samples from the source, rising.
    far : float
        Where the last sample's interval ends.

    Returns
    -------
    (n, R, C) tensor
    """
    ends = torch.cat([distances[..., 1:], torch.full_like(distances[..., :1], far)], dim=-1)
    thickness = density * (ends - distances)
    before = torch.cumsum(thickness, dim=-1) - thickness
    weights = torch.exp(-before) * -torch.expm1(-thickness)
    return (weights[..., None] * color).sum(dim=-2)
