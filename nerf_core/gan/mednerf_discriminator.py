"""MedNeRF's discriminator: residual down blocks, squeeze-excite links, spectral norm, two decoders that reconstruct.

Sources: Corona-Figueroa et al., "MedNeRF", EMBC 2022 (arXiv 2202.01020); its discriminator follows Liu et al.,
"Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis", ICLR 2021 (arXiv 2101.04775).
Sizes are ours where the papers give none for patches of this size. So is telling it the angle (an option): by a
projection, Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of leaky rectifiers below 0
HARMONICS = 4  # of the angle: cosine and sine of 1 to 4 times
PROJECTION = 64  # numbers that patch and angle are compared in


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding))


class DownBlock(nn.Module):
    """Half the side: the mean of a strided path with two convolutions and of an averaged path with one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            _conv(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE), _conv(outputs, outputs, 3, 1, 1), nn.LeakyReLU(SLOPE)
        )
        self.direct = nn.Sequential(nn.AvgPool2d(2), _conv(inputs, outputs, 1), nn.LeakyReLU(SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        """(n, outputs, H / 2, W / 2)."""
        return 0.5 * (self.main(x) + self.direct(x))


class ExciteLink(nn.Module):
    """Channels of a small map are weighted by what a larger, earlier map holds (squeezed to 4x4 first)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), _conv(inputs, outputs, 4), nn.SiLU(), _conv(outputs, outputs, 1), nn.Sigmoid()
        )

    def forward(self, early: Tensor, late: Tensor) -> Tensor:
        """`late`, its channels times gates from `early`."""
        return late * self.gate(early)


class Decoder(nn.Module):
    """From a feature map back to the patch: doublings with gated linear units, then one convolution."""

    def __init__(self, inputs: int, channels: int, doublings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = inputs
        for _ in range(doublings):
            narrow = max(width // 2, 8)
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, 2 * narrow, 3, 1, 1), nn.GLU(dim=1)]
            width = narrow
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, K, K) in [0, 1]."""
        return torch.sigmoid(self.layers(features))


class Head(nn.Module):
    """One value of the smallest map; with an angle, plus how well the map goes with it."""

    def __init__(self, inputs: int, told_angle: bool) -> None:
        super().__init__()
        self.shared = nn.Sequential(_conv(inputs, inputs, 1), nn.LeakyReLU(SLOPE))
        self.value = _conv(inputs, 1, 4)
        self.seen = _conv(inputs, PROJECTION, 4) if told_angle else None
        self.angle = spectral_norm(nn.Linear(2 * HARMONICS, PROJECTION)) if told_angle else None

    def forward(self, top: Tensor, azimuths: Tensor | None = None) -> Tensor:
        """(n,) values of (n, inputs, 4, 4) maps, seen from (n,) azimuths in degrees."""
        shared = self.shared(top)
        value = self.value(shared).flatten()
        if self.seen is None or self.angle is None:
            return value
        if azimuths is None:
            raise ValueError("this discriminator is to be told the angles")
        turns = torch.deg2rad(azimuths)[:, None] * torch.arange(1, HARMONICS + 1, device=top.device)
        wanted = self.angle(torch.cat([torch.cos(turns), torch.sin(turns)], dim=1))
        return value + (self.seen(shared).flatten(1) * wanted).sum(dim=1)


class Judged(NamedTuple):
    """What the discriminator's body makes of patches.

    Attributes
    ----------
    top : (n, C, 4, 4) tensor
        For the heads.
    middle, low : tensors
        Maps of a half and a quarter of the patch's side, for the decoders.
    """

    top: Tensor
    middle: Tensor
    low: Tensor


class PatchDiscriminator(nn.Module):
    """Real or made, by patches in [-1, 1].

    Parameters
    ----------
    patch_size : int
        16, 32, 64 or 128 pixels a side.
    channels : int
        1 or 3.
    width : int
        Channels of the first map; doubled with each halving, up to eight times as many.
    heads : int
        One for each transform of `dag`.
    told_angle : bool
        Whether heads are told where a patch was seen from.
    """

    def __init__(
        self, patch_size: int, channels: int = 3, width: int = 64, heads: int = 4, told_angle: bool = False
    ) -> None:
        super().__init__()
        halvings = (patch_size // 4).bit_length() - 1
        widths = [width * min(2**index, 8) for index in range(halvings + 1)]
        self.stem = nn.Sequential(_conv(channels, width, 3, 1, 1), nn.LeakyReLU(SLOPE))
        self.blocks = nn.ModuleList(DownBlock(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.links = nn.ModuleList(ExciteLink(a, b) for a, b in zip(widths[:-2], widths[2:], strict=True))
        self.heads = nn.ModuleList(Head(widths[-1], told_angle) for _ in range(heads))
        self.decoders = nn.ModuleList([Decoder(widths[1], channels, 1), Decoder(widths[2], channels, 2)])

    def body(self, patches: Tensor) -> Judged:
        """The maps that heads and decoders take."""
        maps = [self.stem(patches)]
        for index, block in enumerate(self.blocks):
            made = block(maps[-1])
            if index >= 1:
                made = self.links[index - 1](maps[index - 1], made)
            maps.append(made)
        return Judged(maps[-1], maps[1], maps[2])

    def judge(self, top: Tensor, head: int = 0, azimuths: Tensor | None = None) -> Tensor:
        """(n,) values of a head, high for real."""
        return self.heads[head](top, azimuths)

    def forward(self, patches: Tensor, azimuths: Tensor | None = None) -> Tensor:
        """(n,) values of the first head."""
        return self.judge(self.body(patches).top, 0, azimuths)

    def reconstruct(self, judged: Judged) -> list[Tensor]:
        """What the two decoders see, (n, channels, K, K) in [0, 1] each."""
        return [decoder(part) for decoder, part in zip(self.decoders, (judged.middle, judged.low), strict=True)]
