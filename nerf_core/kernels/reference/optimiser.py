"""Adam in plain torch, with instant-NGP's rule for the table: entries that got no gradient are left alone."""

import torch
from torch import Tensor


@torch.no_grad()
def adam(
    parameter: Tensor,
    first: Tensor,
    second: Tensor,
    gradient: Tensor,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
    line: int = 16,
) -> None:
    """Update in place (Kingma & Ba 2015, algorithm 1); `step` counts from 1.

    Parameters, moments and gradient are taken as flat runs of `line` numbers; a run whose gradient is all zero keeps
    its moments and its values.
    """
    flat = gradient.reshape(-1)
    short = -flat.numel() % line
    padded = torch.nn.functional.pad(flat, (0, short)) if short else flat
    touched = (padded.reshape(-1, line) != 0).any(dim=1, keepdim=True).expand(-1, line).reshape(-1)
    touched = touched[: flat.numel()].reshape(gradient.shape)
    mean = beta1 * first + (1.0 - beta1) * gradient
    square = beta2 * second + (1.0 - beta2) * gradient * gradient
    change = rate * (mean / (1.0 - beta1**step)) / (torch.sqrt(square / (1.0 - beta2**step)) + epsilon)
    first.copy_(torch.where(touched, mean, first))
    second.copy_(torch.where(touched, square, second))
    parameter.sub_(torch.where(touched, change, torch.zeros_like(change)))
