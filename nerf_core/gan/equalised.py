"""Layers with equalised learning rates (Karras et al. 2018): weights are stored as N(0, 1) and scaled when used.

An optimiser that moves every weight equally far (Adam) then moves every layer equally far for its size.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

GAIN = math.sqrt(2.0)  # of the leaky ReLU, so that it keeps its input's spread
SLOPE = 0.2


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU that keeps the spread of its input."""
    return functional.leaky_relu(x, SLOPE) * GAIN


class Linear(nn.Module):
    """A linear layer; `multiplier` scales its learning rate, and its weights' beginnings so that they start alike.

    Parameters
    ----------
    inputs, outputs : int
    multiplier : float
        0.01 in mapping networks (Karras et al. 2019).
    bias : float
        What the biases begin with.
    """

    def __init__(self, inputs: int, outputs: int, multiplier: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / multiplier))
        self.scale = multiplier / math.sqrt(inputs)
        self.multiplier = multiplier

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return functional.linear(x, self.weight * self.scale, self.bias * self.multiplier)


class Conv(nn.Module):
    """A convolution that keeps the size, or halves it with `stride` 2 (of what was blurred and padded before)."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = 1.0 / math.sqrt(inputs * size * size)
        self.stride = stride
        self.padding = size // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, H, W) to (n, outputs, H', W')."""
        return functional.conv2d(x, self.weight * self.scale, self.bias, stride=self.stride, padding=self.padding)


class Mapping(nn.Module):
    """From codes z to styles w: z scaled to length sqrt(size), then linear layers with leaky ReLU.

    Parameters
    ----------
    code_size, style_size, layers : int
    multiplier : float
        Of the learning rate.
    """

    def __init__(self, code_size: int, style_size: int, layers: int = 2, multiplier: float = 0.01) -> None:
        super().__init__()
        sizes = [code_size] + [style_size] * layers
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(Linear(inputs, outputs, multiplier) for inputs, outputs in pairs)

    def forward(self, codes: Tensor) -> Tensor:
        """(n, code_size) to (n, style_size)."""
        x = codes * torch.rsqrt(codes.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = leaky(layer(x))
        return x
