"""StyleGAN2's discriminator (Karras et al. 2020): residual blocks, blurred halving, equalised learning rates.

With an angle (an option of ours, after Mescheder's and Miyato's projection): the score is the product of the picture's
features and of what the angle is mapped to, so that a picture must look right for its angle.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .equalised import Conv, Linear, leaky

SMALLEST = 4  # the side at which the blocks end
HARMONICS = 4  # of the angle: cosine and sine of 1 to 4 times


def widths(size: int, feature_maps: int) -> list[int]:
    """Channels at `size`, size / 2, ... 4: `feature_maps` up to 32 pixels, above that half as many each doubling."""
    sides = [size >> halving for halving in range(int(math.log2(size // SMALLEST)) + 1)]
    return [max(1, min(feature_maps, feature_maps * 32 // side)) for side in sides]


class Discriminator(nn.Module):
    """Scores of pictures, the higher the more real.

    Parameters
    ----------
    size : int
        The pictures' side: 8, 16, 32, ...
    feature_maps : int
        Channels at 32 pixels and below; published 512.
    channels : int
        Of the pictures.
    with_angle : bool
        Whether :meth:`forward` is given angles.
    """

    def __init__(self, size: int, feature_maps: int, channels: int = 1, with_angle: bool = False) -> None:
        super().__init__()
        if size < 2 * SMALLEST or size & (size - 1):
            raise ValueError(f"pictures of {size} pixels cannot be halved down to {SMALLEST}")
        counts = widths(size, feature_maps)
        self.first = Conv(channels, counts[0], 1)
        pairs = zip(counts[:-1], counts[1:], strict=True)
        self.blocks = nn.ModuleList(Block(inputs, outputs) for inputs, outputs in pairs)
        last = counts[-1]
        self.conv = Conv(last + 1, last, 3)
        self.dense = Linear(last * SMALLEST * SMALLEST, last)
        self.score = Linear(last, last if with_angle else 1)
        self.angle = nn.ModuleList([Linear(2 * HARMONICS, last), Linear(last, last)]) if with_angle else None

    def forward(self, pictures: Tensor, azimuths: Tensor | None = None) -> Tensor:
        """Scores (n,) of (n, channels, size, size) pictures, seen from (n,) azimuths in degrees.

        The pictures of a batch are compared with one another (`minibatch_deviation`), so that a generator that always
        makes the same is found out.
        """
        x = leaky(self.first(pictures))
        for block in self.blocks:
            x = block(x)
        x = leaky(self.conv(minibatch_deviation(x)))
        x = self.score(leaky(self.dense(x.flatten(1))))
        if self.angle is None:
            return x[:, 0]
        if azimuths is None:
            raise ValueError("this discriminator is to be told the angles")
        turns = torch.deg2rad(azimuths)[:, None] * torch.arange(1, HARMONICS + 1, device=x.device)
        mapped = self.angle[1](leaky(self.angle[0](torch.cat([torch.cos(turns), torch.sin(turns)], dim=1))))
        mapped = mapped * torch.rsqrt(mapped.square().mean(dim=1, keepdim=True) + 1e-8)
        return (x * mapped).sum(dim=1) / math.sqrt(x.shape[1])


class Block(nn.Module):
    """Two convolutions, the second of which halves the picture, and a way around them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.keep = Conv(inputs, inputs, 3)
        self.halve = Conv(inputs, outputs, 3, stride=2)
        self.around = Conv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, H, W) to (n, outputs, H / 2, W / 2)."""
        around = self.around(blur(x, stride=2, padding=1))
        x = leaky(self.keep(x))
        x = leaky(self.halve(blur(x, stride=1, padding=2)))
        return (x + around) / math.sqrt(2.0)


def blur(x: Tensor, stride: int, padding: int) -> Tensor:
    """Each channel filtered with the binomial (1, 3, 3, 1) in both directions, zeros outside."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8.0
    count = x.shape[1]
    kernel = torch.outer(line, line).expand(count, 1, 4, 4)
    return functional.conv2d(x, kernel, stride=stride, padding=padding, groups=count)


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """A further channel: by how much the pictures of a group differ, the mean deviation over everything.

    Parameters
    ----------
    x : (n, C, H, W) tensor
    group : int
        Pictures that are compared; fewer where the batch is smaller or does not divide.
    """
    count, _, height, width = x.shape
    group = next(size for size in range(min(group, count), 0, -1) if count % size == 0)
    grouped = x.reshape(group, count // group, -1)
    deviation = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=1)
    return torch.cat([x, deviation.repeat(group)[:, None, None, None].expand(count, 1, height, width)], dim=1)


def gradient_penalty(scores: Tensor, pictures: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): half the mean over pictures of the squared slope of their scores.

    Parameters
    ----------
    scores : (n,) tensor
        Of `pictures`, which ask for gradients; each depends on its own picture (and, by the deviations within the
        batch, a little on the others, as in the published code).
    pictures : (n, C, H, W) tensor
    """
    (slopes,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return 0.5 * slopes.square().sum(dim=(1, 2, 3)).mean()
