"""Positional encoding: coordinates as sines and cosines of doubling frequencies.

Source: Mildenhall et al., "NeRF: Representing Scenes as Neural Radiance Fields for View Synthesis", ECCV 2020, eq. 4.
"""

import math

import torch
from torch import Tensor, nn


class PositionalEncoding(nn.Module):
    """gamma(x) = (sin(2^0 pi x), cos(2^0 pi x), ..., sin(2^(L-1) pi x), cos(2^(L-1) pi x)), for each coordinate.

    Parameters
    ----------
    frequencies : int
        L; 0 passes the coordinates through unchanged (the encoding switched off).
    include_input : bool
        Put the coordinates themselves in front, as the authors' code does. It also keeps the two opposite faces of
        the box [-1, 1]^3 apart, which every sine and cosine maps to the same value.
    """

    def __init__(self, frequencies: int, include_input: bool = True) -> None:
        super().__init__()
        self.include_input = include_input or frequencies == 0
        scales = math.pi * 2.0 ** torch.arange(frequencies, dtype=torch.float32)
        self.scales: Tensor
        self.register_buffer("scales", scales, persistent=False)

    def width(self, dimensions: int = 3) -> int:
        """How many numbers come out for so many coordinates."""
        return dimensions * (2 * len(self.scales) + int(self.include_input))

    def forward(self, x: Tensor) -> Tensor:
        """Encode (..., D) coordinates in [-1, 1] into (..., width(D))."""
        angles = (x[..., None, :] * self.scales[:, None]).flatten(-2)
        parts = [x] if self.include_input else []
        if len(self.scales):
            parts += [angles.sin(), angles.cos()]
        return torch.cat(parts, dim=-1)
