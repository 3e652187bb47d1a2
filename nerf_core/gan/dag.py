"""DAG: data augmentation for GANs, where each invertible transform of real and made images has a head of its own.

Source: Tran et al., "On Data Augmentation for GAN Training", IEEE Trans. Image Processing 2021 (arXiv 2006.05338):
since the transforms are invertible, matching transformed distributions matches the original ones. MedNeRF (arXiv
2202.01020) takes flips and a quarter turn, with hinge losses whose margin is drawn anew for each value.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

TRANSFORMS = ("identity", "flip left-right", "flip up-down", "rotate 90")
WEIGHT = 0.2
SOFT_MARGIN = 0.2


def transform(images: Tensor, index: int) -> Tensor:
    """(n, C, K, K) images under one of `TRANSFORMS` (the turn is counter-clockwise)."""
    if index == 1:
        return images.flip(-1)
    if index == 2:
        return images.flip(-2)
    return torch.rot90(images, 1, (-2, -1)) if index == 3 else images


def inverse(images: Tensor, index: int) -> Tensor:
    """What :func:`transform` was given."""
    return torch.rot90(images, -1, (-2, -1)) if index == 3 else transform(images, index)


def all_transforms(images: Tensor, count: int = len(TRANSFORMS)) -> Tensor:
    """(count * n, C, K, K): the images under the first `count` transforms, one after the other."""
    return torch.cat([transform(images, index) for index in range(count)])


def head_weights(count: int = len(TRANSFORMS), weight: float = WEIGHT) -> list[float]:
    """Of the heads' losses: 1 for the images as they are, the others share `weight` evenly (0.2 / 3 each)."""
    return [1.0] + [weight / (count - 1)] * (count - 1) if count > 1 else [1.0]


def weighted(losses: Sequence[Tensor], weight: float = WEIGHT) -> Tensor:
    """One loss of the heads' losses."""
    factors = head_weights(len(losses), weight)
    return torch.stack([factor * loss for factor, loss in zip(factors, losses, strict=True)]).sum()


def soft_hinge(values: Tensor, real: bool, rng: torch.Generator, softness: float = SOFT_MARGIN) -> Tensor:
    """The discriminator's hinge loss with a soft margin: ``mean(relu(m -+ value))``, m uniform in [1 - softness, 1].

    Parameters
    ----------
    values : tensor
        The discriminator's, before any activation.
    real : bool
        Whether they shall be above m, or below -m.
    rng : torch.Generator
    softness : float
        0 is the plain hinge.
    """
    margins = 1.0 - softness * torch.rand(values.shape, generator=rng).to(values.device)
    return functional.relu(margins - values if real else margins + values).mean()
