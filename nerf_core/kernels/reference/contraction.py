"""The contraction of unbounded space in torch; the numpy twin in `fields.contraction` says what it is."""

import torch
from torch import Tensor

from ...fields.contraction import FARTHEST


def contract(unit: Tensor) -> Tensor:
    """Positions (..., 3) anywhere, in unit-cube lengths, to positions in the grid's [0, 1]^3."""
    x = 2.0 * unit - 1.0
    m, axis = x.abs().max(dim=-1, keepdim=True)
    inverse = 1.0 / m.clamp(min=1.0)
    along = x.gather(-1, axis)
    outer = torch.where(m > 1.0, along.sign() * (2.0 - inverse), along)
    return 0.25 * ((x * inverse).scatter(-1, axis, outer) + 2.0)


def stretch(grid: Tensor, growth: float, step: float) -> Tensor:
    """(...,) how many times `step` the interval of a sample at grid positions (..., 3) is."""
    n = (4.0 * grid - 2.0).abs().amax(dim=-1)
    m = torch.where(n <= 1.0, n, 1.0 / (2.0 - n).clamp(min=1.0 / FARTHEST))
    return (0.5 * growth / step * m).clamp(min=1.0)
