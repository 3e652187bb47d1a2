"""Augmentation of what a discriminator sees, real and made alike, as much as it needs (ADA: Karras et al. 2020).

Pictures are flipped, turned by quarters, moved, scaled and turned, and their brightness and contrast changed, each with
probability p for each picture by itself; as long as p stays below about 0.8 a generator does not learn to make
augmented pictures. p grows while the discriminator is too sure of the real ones, and falls while it is not.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

MOST = 0.8
"""p stays below: beyond it augmentations leak into what is generated."""


def augment(pictures: Tensor, chance: float, rng: torch.Generator) -> Tensor:
    """Pictures, each changed by its own draw; differentiable in the pictures.

    Parameters
    ----------
    pictures : (n, C, S, S) tensor
        In [0, 1], black background, which is what comes in from outside.
    chance : float
        p. With 0 the pictures come back as they are, bit for bit.
    rng : torch.Generator
        On the CPU.
    """
    if chance <= 0.0:
        return pictures
    matrices, moved = _geometry(len(pictures), pictures.shape[-1], chance, rng)
    matrices = matrices.to(pictures)
    grid = functional.affine_grid(matrices[:, :2], list(pictures.shape), align_corners=False)
    turned = functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    pictures = torch.where(moved.to(pictures.device)[:, None, None, None], turned, pictures)
    scale, shift = _colour(len(pictures), chance, rng)
    return pictures * scale.to(pictures)[:, None, None, None] + shift.to(pictures)[:, None, None, None]


def _geometry(count: int, size: int, chance: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Matrices (n, 3, 3) from where a pixel goes to where it comes from, in [-1, 1]; and which pictures move at all."""
    normal = torch.randn(count, 4, generator=rng)
    even = torch.rand(count, 5, generator=rng)
    wanted = torch.rand(count, 7, generator=rng) < chance
    one, none = torch.ones(count), torch.zeros(count)

    def pick(index: int, value: Tensor, otherwise: Tensor) -> Tensor:
        return torch.where(wanted[:, index], value, otherwise)

    flip = pick(0, torch.where(even[:, 0] < 0.5, -one, one), one)
    quarters = pick(1, torch.floor(even[:, 1] * 4.0), none)
    # By whole pixels, up to an eighth of the side.
    steps = torch.round((even[:, 2:4] * 2.0 - 1.0) * 0.125 * size) * 2.0 / size
    step_x, step_y = pick(2, steps[:, 0], none), pick(2, steps[:, 1], none)
    scale = pick(3, torch.exp2(0.2 * normal[:, 0]), one)
    # Turned once, before the stretching; StyleGAN2-ADA turns before and after it, with chance p for either.
    angle = pick(4, (even[:, 4] * 2.0 - 1.0) * math.pi, none)
    stretch = pick(5, torch.exp2(0.2 * normal[:, 1]), one)
    move_x, move_y = pick(6, 0.25 * normal[:, 2], none), pick(6, 0.25 * normal[:, 3], none)
    matrix = _scaled(flip, one) @ _turned(quarters * (math.pi / 2)) @ _moved(step_x, step_y)
    matrix = matrix @ _scaled(scale, scale) @ _turned(angle) @ _scaled(stretch, 1.0 / stretch) @ _moved(move_x, move_y)
    return matrix, wanted.any(dim=1)


def _colour(count: int, chance: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """What a picture's values are multiplied with, and what is added."""
    normal = torch.randn(count, 2, generator=rng)
    wanted = torch.rand(count, 2, generator=rng) < chance
    # StyleGAN2-ADA's numbers (0.5 and 0.2) are for values of -1 to 1.
    scale = torch.where(wanted[:, 0], torch.exp2(0.5 * normal[:, 0]), torch.ones(count))
    shift = torch.where(wanted[:, 1], 0.1 * normal[:, 1], torch.zeros(count))
    return scale, shift


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _scaled(x: Tensor, y: Tensor) -> Tensor:
    one, none = torch.ones_like(x), torch.zeros_like(x)
    return _matrix([[x, none, none], [none, y, none], [none, none, one]])


def _turned(angle: Tensor) -> Tensor:
    one, none = torch.ones_like(angle), torch.zeros_like(angle)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return _matrix([[cos, -sin, none], [sin, cos, none], [none, none, one]])


def _moved(x: Tensor, y: Tensor) -> Tensor:
    one, none = torch.ones_like(x), torch.zeros_like(x)
    return _matrix([[one, none, x], [none, one, y], [none, none, one]])


class AdaptiveChance:
    """p, led by the mean sign of the real pictures' scores: above `target` it grows, below it falls.

    Attributes
    ----------
    value : float
        p, from 0 to `MOST`.
    sign : float
        The running mean of the signs, 0 to 1 as the discriminator overfits.

    Parameters
    ----------
    target : float
        Published 0.6.
    images : float
        Shown pictures in which p goes from 0 to 1 when it always grows; published 500,000.
    """

    def __init__(self, target: float = 0.6, images: float = 500_000.0) -> None:
        self.target, self.images = target, images
        self.value = 0.0
        self.sign = 0.0

    def update(self, scores: Tensor) -> None:
        """Take a batch's scores of real pictures into account."""
        count = len(scores)
        sign = float(scores.detach().sign().mean())
        self.sign += (sign - self.sign) * min(1.0, count / 256.0)  # over the last few hundred pictures
        grow = 1.0 if self.sign > self.target else -1.0
        self.value = min(max(self.value + grow * count / self.images, 0.0), MOST)
