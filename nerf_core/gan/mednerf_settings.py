"""The settings of MedNeRF: as published, and what two CPU cores can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..contract.errors import NerfError
from .settings import Settings

PATCH_SIZES = (16, 32, 64, 128)


@dataclass(frozen=True)
class MedNerfSettings(Settings):
    """Defaults are the published values, preset `paper`.

    Attributes
    ----------
    channels : int
        1 or 3; pictures are grey either way.
    depth, width, skip : int
        Of the generator's network.
    shape_code, appearance_code : int
    position_frequencies, direction_frequencies : int
    view_directions : bool
        Whether colour depends on the viewing direction.
    density_activation : {'relu', 'softplus'}
    noise_steps : int
        Steps over which the noise on raw density falls from 1 to 0.
    patch_size : int
        16, 32, 64 or 128.
    scale_floor, scale_rate, scale_every : float, float, int
        Of the patches' smallest scale, see `patch.lowest_scale`.
    discriminator_width : int
        Channels of its first map.
    told_angle : bool
        Whether the discriminator is told the angle. As published it is not: a generator may then put its subject at any
        azimuth, and needs far longer.
    dag : bool
        Transforms with heads of their own; without it one head sees patches as they are.
    dag_weight : float
        What the transforms share, beside 1 for the identity.
    soft_margin : float
        The hinge's margin is uniform in [1 - soft_margin, 1].
    reconstruction : float
        Weight of the decoders' perceptual loss; 0 leaves it out. (The papers give none; FastGAN adds it with 1.)
    reconstruction_every : int
        Only each so many steps, with so many times the weight.
    optimiser : {'rmsprop', 'adam'}
        Adam's betas are (0, 0.99).
    generator_rate, discriminator_rate : float
    halve_at : int
        Steps after which both rates are halved, and again at twice and four times as many.
    """

    SYSTEM: ClassVar[str] = "MedNeRF"
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        **Settings.RANGES,
        "channels": (1, 3),
        "depth": (1, 32),
        "width": (8, 2048),
        "skip": (0, 32),
        "shape_code": (1, 4096),
        "appearance_code": (1, 4096),
        "position_frequencies": (1, 20),
        "direction_frequencies": (1, 20),
        "noise_steps": (0, 10_000_000),
        "patch_size": (16, 128),
        "scale_floor": (0.01, 1.0),
        "scale_rate": (0.0, 100.0),
        "scale_every": (1, 10_000_000),
        "discriminator_width": (4, 512),
        "dag_weight": (0.0, 100.0),
        "soft_margin": (0.0, 1.0),
        "reconstruction": (0.0, 1000.0),
        "reconstruction_every": (1, 10_000),
        "generator_rate": (1e-8, 1.0),
        "discriminator_rate": (1e-8, 1.0),
        "halve_at": (1, 10_000_000),
    }
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **Settings.CHOICES,
        "density_activation": ("relu", "softplus"),
        "optimiser": ("rmsprop", "adam"),
    }

    channels: int = 3
    depth: int = 8
    width: int = 256
    skip: int = 4
    shape_code: int = 128
    appearance_code: int = 128
    position_frequencies: int = 10
    direction_frequencies: int = 4
    view_directions: bool = True
    density_activation: str = "relu"
    noise_steps: int = 5000
    patch_size: int = 32
    scale_floor: float = 0.25
    scale_rate: float = 0.0025 * 3
    scale_every: int = 1000
    discriminator_width: int = 64
    told_angle: bool = False
    dag: bool = True
    dag_weight: float = 0.2
    soft_margin: float = 0.2
    reconstruction: float = 1.0
    reconstruction_every: int = 1
    optimiser: str = "rmsprop"
    generator_rate: float = 5e-4
    discriminator_rate: float = 1e-4
    halve_at: int = 50_000

    @classmethod
    def presets(cls) -> "Mapping[str, MedNerfSettings]":
        """`tiny` and `paper`."""
        return {"paper": cls(), "tiny": TINY}

    def check(self) -> None:
        """As `Settings.check`."""
        super().check()
        if self.channels == 2:
            raise NerfError("MedNeRF's setting 'channels' is 2; use 1 or 3.")
        if self.patch_size not in PATCH_SIZES:
            raise NerfError(
                f"MedNeRF's setting 'patch_size' is {self.patch_size}; use one of {', '.join(map(str, PATCH_SIZES))}."
            )
        if self.patch_size > self.image_size:
            raise NerfError(
                f"MedNeRF's setting 'patch_size' is {self.patch_size}, larger than 'image_size', {self.image_size}."
            )

    def rate_factor(self, step: int) -> float:
        """What both learning rates are multiplied by: halved at `halve_at` and twice and four times as many steps."""
        return 0.5 ** sum(step >= factor * self.halve_at for factor in (1, 2, 4))

    def noise(self, step: int) -> float:
        """The standard deviation of the noise on raw density, 1 falling to 0."""
        return max(0.0, 1.0 - step / self.noise_steps) if self.noise_steps else 0.0


TINY = MedNerfSettings(
    image_size=32,
    batch=4,
    steps=8000,
    ema=0.995,
    samples=16,
    camera="data",
    channels=1,
    depth=4,
    width=48,
    skip=2,
    shape_code=32,
    appearance_code=8,
    position_frequencies=5,
    direction_frequencies=1,
    density_activation="softplus",
    noise_steps=500,
    patch_size=16,
    scale_floor=0.5,
    scale_every=10,
    discriminator_width=16,
    told_angle=True,
    reconstruction_every=4,
    optimiser="adam",
    generator_rate=2e-3,
    discriminator_rate=2e-3,
    halve_at=3000,
)
