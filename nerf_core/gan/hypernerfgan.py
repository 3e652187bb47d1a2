"""HyperNeRFGAN (Kania et al. 2023) in its medical adaptation: a modulated NeRF against StyleGAN2's discriminator.

Codes are plain Gaussian samples. In the medical adaptation the polar angle is fixed, the background black, and one axis
is turned about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..contract.errors import NerfError
from . import camera
from .augment import AdaptiveChance, augment
from .base import System, frozen
from .modulated import HyperNeRF, composited
from .settings import Settings as SharedSettings
from .stylegan_discriminator import Discriminator, gradient_penalty

BETAS = (0.0, 0.99)


@dataclass(frozen=True)
class HyperSettings(SharedSettings):
    """HyperNeRFGAN's settings; see :class:`Settings` of the package for those that every system has.

    Attributes
    ----------
    code_size, style_size : int
        Of z, and of w.
    depth, width : int
        Of the target NeRF: 4 or 8 layers of 128 as published.
    rank : int
        Of the modulation; published 10.
    frequencies : int
        L of the positional encoding; published 10.
    view_directions : bool
        Whether colour sees the viewing direction (an ablation).
    direction_frequencies : int
        Of its encoding.
    channels : int
        3 (colour, averaged to grey) as published, or 1.
    feature_maps : int
        Of the discriminator at 32 pixels and below (an ablation); published 512.
    augmentation : bool
        Whether the discriminator sees pictures augmented as StyleGAN2-ADA does (an ablation).
    augmentation_target, augmentation_images : float
        What p is led to, and in how many pictures it may go from 0 to 1.
    learning_rate : float
        Of Adam, for both players; published 2.5e-3.
    r1 : float
        Weight of R1; published 0.1 to 1.
    r1_interval : int
        Steps from one R1 to the next, which then counts that often.
    coarse_steps : int
        In so many first steps both players see pictures of half as many pixels a side, which cost a quarter to render.
    shared_fakes : bool
        Whether a step's two players see the same generated pictures, which saves rendering them twice.
    told_angle : bool
        Whether the discriminator is told the angle. Published systems do not: a generator may then put its subject at
        any azimuth, and cannot know left from right, since a radiograph from behind is that from the front mirrored.
    """

    SYSTEM: ClassVar[str] = "HyperNeRFGAN"
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        **SharedSettings.RANGES,
        "code_size": (1, 4096),
        "style_size": (1, 4096),
        "depth": (1, 32),
        "width": (4, 2048),
        "rank": (1, 512),
        "frequencies": (0, 16),
        "direction_frequencies": (1, 16),
        "channels": (1, 3),
        "feature_maps": (4, 2048),
        "augmentation_target": (0.0, 1.0),
        "augmentation_images": (100.0, 1e9),
        "learning_rate": (1e-6, 0.1),
        "r1": (0.0, 1000.0),
        "r1_interval": (1, 1000),
        "coarse_steps": (0, 10_000_000),
    }

    code_size: int = 512
    style_size: int = 512
    depth: int = 8
    width: int = 128
    rank: int = 10
    frequencies: int = 10
    view_directions: bool = False
    direction_frequencies: int = 4
    channels: int = 3
    feature_maps: int = 512
    augmentation: bool = False
    augmentation_target: float = 0.6
    augmentation_images: float = 500_000.0
    learning_rate: float = 2.5e-3
    r1: float = 0.5
    r1_interval: int = 16
    coarse_steps: int = 0
    shared_fakes: bool = False
    told_angle: bool = False

    @classmethod
    def presets(cls) -> "Mapping[str, HyperSettings]":
        """`tiny`, for ten minutes on two CPU cores, and `paper`, as published."""
        paper = cls(
            image_size=64,
            batch=4,
            samples=64,
            radius_low=10.0,
            radius_high=10.0,
            polar_low=90.0,
            polar_high=90.0,
        )
        tiny = replace(
            paper,
            image_size=32,
            steps=4000,
            ema=0.99,
            samples=12,
            camera="data",
            code_size=32,
            style_size=64,
            depth=4,
            width=48,
            frequencies=5,
            channels=1,
            feature_maps=32,
            augmentation_images=20_000.0,
            learning_rate=5e-3,
            r1=0.05,
            r1_interval=8,
            coarse_steps=1000,
            shared_fakes=True,
            told_angle=True,
        )
        return {"tiny": tiny, "paper": paper}

    def check(self) -> None:
        """As :meth:`Settings.check`; the image size must halve down to the discriminator's last block."""
        super().check()
        if self.image_size & (self.image_size - 1):
            raise NerfError(
                f"{self.SYSTEM}'s setting 'image_size' is {self.image_size}; its discriminator halves pictures, so use "
                "a power of two, such as 32, 64 or 128."
            )


class HyperNeRFGAN(System):
    """The system; see :class:`System` for how it is used."""

    name = "hypernerfgan"
    settings_class = HyperSettings
    settings: HyperSettings
    discriminator: Discriminator

    def __init__(self, settings: HyperSettings, device: str = "cpu", seed: int = 0) -> None:
        super().__init__(settings, device, seed)
        self._shared: tuple[Tensor, Tensor] | None = None
        self.chance = AdaptiveChance(settings.augmentation_target, settings.augmentation_images)

    @property
    def code_size(self) -> int:
        """Numbers in a code."""
        return self.settings.code_size

    def make_generator(self) -> nn.Module:
        """Mapping network and modulated NeRF."""
        settings = self.settings
        return HyperNeRF(
            settings.code_size,
            settings.style_size,
            settings.depth,
            settings.width,
            settings.frequencies,
            settings.direction_frequencies if settings.view_directions else 0,
            settings.rank,
            settings.channels,
        )

    def make_discriminator(self) -> nn.Module:
        """StyleGAN2's."""
        settings = self.settings
        return Discriminator(settings.image_size, settings.feature_maps, settings.channels, settings.told_angle)

    def make_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each; the discriminator's makes up for R1 that comes only now and then (Karras et al. 2020)."""
        rate = self.settings.learning_rate
        share = self.settings.r1_interval / (self.settings.r1_interval + 1.0)
        betas = (BETAS[0] ** share, BETAS[1] ** share)
        return {
            "generator": torch.optim.Adam(self.generator.parameters(), lr=rate, betas=BETAS, eps=1e-8),
            "discriminator": torch.optim.Adam(self.discriminator.parameters(), lr=rate * share, betas=betas, eps=1e-8),
        }

    def shade(
        self,
        codes: Tensor,
        poses: Tensor,
        points: Tensor,
        generator: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """As :meth:`System.shade`."""
        settings = self.settings
        origins, directions = camera.rays(poses, points, settings.field_of_view)
        count, rays = points.shape[:2]
        step = (settings.far - settings.near) / settings.samples
        within = 0.5 if rng is None else torch.rand(count, rays, settings.samples, generator=rng).to(self.device)
        distances = settings.near + step * (torch.arange(settings.samples, device=self.device) + within)
        distances = distances.expand(count, rays, -1)
        positions = origins[..., None, :] + distances[..., None] * directions[..., None, :]
        seen = directions[..., None, :].expand_as(positions).flatten(1, 2) if settings.view_directions else None
        network = self.generator_ema if generator is None else generator
        density, color = network(codes, positions.flatten(1, 2), seen)
        shape = (count, rays, settings.samples)
        return composited(density.reshape(shape), color.reshape(*shape, -1), distances, settings.far)

    def discriminator_step(self, real: Tensor, azimuths: Tensor) -> dict[str, float]:
        """Non-saturating logistic loss, and R1 every `r1_interval` steps."""
        settings = self.settings
        real = real.expand(-1, settings.channels, -1, -1)
        if self._pixels < settings.image_size:
            real = self._full(functional.avg_pool2d(real, settings.image_size // self._pixels))
        if settings.shared_fakes:
            self._shared = self._made(settings.batch)
        with torch.no_grad():
            fake, fake_azimuths = self._shared or self._made(len(real))
            # R1 is of what the discriminator sees: augmentation has no second derivative.
            real, fake = self._augmented(real), self._augmented(fake.detach())
        regular = settings.r1 > 0 and self.step % settings.r1_interval == 0
        optimiser = self.optimisers["discriminator"]
        optimiser.zero_grad(set_to_none=True)
        real.requires_grad_(regular)
        real_scores = self._scores(real, azimuths)
        fake_scores = self._scores(fake, fake_azimuths)
        loss = functional.softplus(-real_scores).mean() + functional.softplus(fake_scores).mean()
        losses = {
            "discriminator": float(loss.detach()),
            "real_score": float(real_scores.detach().mean()),
            "fake_score": float(fake_scores.detach().mean()),
        }
        if regular:
            penalty = gradient_penalty(real_scores, real)
            loss = loss + settings.r1 * settings.r1_interval * penalty
            losses["r1"] = float(penalty.detach())
        loss.backward()
        optimiser.step()
        if settings.augmentation:
            self.chance.update(real_scores)
            losses["augmentation"] = self.chance.value
        return losses

    def generator_step(self) -> dict[str, float]:
        """Non-saturating logistic loss."""
        optimiser = self.optimisers["generator"]
        optimiser.zero_grad(set_to_none=True)
        with frozen(self.discriminator):
            fake, azimuths = self._shared or self._made(self.settings.batch)
            self._shared = None
            loss = functional.softplus(-self._scores(self._augmented(fake), azimuths)).mean()
            loss.backward()
        optimiser.step()
        return {"generator": float(loss.detach())}

    def extra_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The augmentation's p and what leads it."""
        return {}, {"augmentation": [self.chance.value, self.chance.sign]}

    def load_extra_state(self, arrays: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take what :meth:`extra_state` gave."""
        value, sign = facts["augmentation"]
        self.chance.value, self.chance.sign = float(value), float(sign)

    @property
    def _pixels(self) -> int:
        """A side of what is rendered for the discriminator in this step."""
        size = self.settings.image_size
        return size // 2 if self.step < self.settings.coarse_steps else size

    def _full(self, pictures: Tensor) -> Tensor:
        """Pictures at the size that the discriminator takes."""
        size = self.settings.image_size
        if pictures.shape[-1] == size:
            return pictures
        return functional.interpolate(pictures, size=(size, size), mode="bilinear", align_corners=False)

    def _made(self, count: int) -> tuple[Tensor, Tensor]:
        """Pictures (count, channels, S, S) of fresh codes from fresh poses, and their azimuths."""
        pixels = self._pixels
        codes = self.sample_codes(count)
        poses = camera.random_poses(count, self.settings, self.rng).to(self.device)
        points = camera.pixel_points(pixels).to(self.device).expand(count, -1, -1)
        shown = self.shade(codes, poses, points, self.generator, self.rng)
        return self._full(shown.transpose(1, 2).reshape(count, -1, pixels, pixels)), poses[:, 0]

    def _augmented(self, pictures: Tensor) -> Tensor:
        return augment(pictures, self.chance.value, self.rng) if self.settings.augmentation else pictures

    def _scores(self, pictures: Tensor, azimuths: Tensor) -> Tensor:
        return self.discriminator(2.0 * pictures - 1.0, azimuths if self.settings.told_angle else None)
