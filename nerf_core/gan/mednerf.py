"""MedNeRF: GRAF's generator against a discriminator of patches that also reconstructs, with DAG's transforms.

Source: Corona-Figueroa et al., "MedNeRF: Medical Neural Radiance Fields for Reconstructing 3D-aware CT-Projections from
a Single X-ray", EMBC 2022 (arXiv 2202.01020).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from . import camera, dag, patch
from .base import System, frozen
from .graf import ConditionalField, render_field
from .mednerf_discriminator import Judged, PatchDiscriminator
from .mednerf_settings import MedNerfSettings


class MedNeRF(System):
    """The system; see `base.System`."""

    name = "mednerf"
    settings_class: ClassVar[type[MedNerfSettings]] = MedNerfSettings
    settings: MedNerfSettings
    generator: ConditionalField
    discriminator: PatchDiscriminator

    def __init__(self, settings: MedNerfSettings, device: str = "cpu", seed: int = 0) -> None:
        super().__init__(settings, device, seed)
        self._perceptual: nn.Module | None = None

    @property
    def code_size(self) -> int:
        """The shape code's numbers, then the appearance code's."""
        return self.settings.shape_code + self.settings.appearance_code

    @property
    def transforms(self) -> int:
        """How many of DAG's transforms are in use."""
        return len(dag.TRANSFORMS) if self.settings.dag else 1

    def make_generator(self) -> ConditionalField:
        """As `System.make_generator`."""
        own = self.settings
        return ConditionalField(
            depth=own.depth,
            width=own.width,
            skip=own.skip,
            shape_code=own.shape_code,
            appearance_code=own.appearance_code,
            position_frequencies=own.position_frequencies,
            direction_frequencies=own.direction_frequencies,
            channels=own.channels,
            density_activation=own.density_activation,
            view_directions=own.view_directions,
        )

    def make_discriminator(self) -> PatchDiscriminator:
        """As `System.make_discriminator`."""
        own = self.settings
        return PatchDiscriminator(
            own.patch_size, own.channels, own.discriminator_width, self.transforms, own.told_angle
        )

    def make_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """As `System.make_optimisers`."""
        own = self.settings

        def made(network: nn.Module, rate: float) -> torch.optim.Optimizer:
            if own.optimiser == "adam":
                return torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, 0.99))
            return torch.optim.RMSprop(network.parameters(), lr=rate)

        return {
            "generator": made(self.generator, own.generator_rate),
            "discriminator": made(self.discriminator, own.discriminator_rate),
        }

    def shade(
        self,
        codes: Tensor,
        poses: Tensor,
        points: Tensor,
        generator: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """As `System.shade`."""
        return self._shade(codes, poses, points, generator or self.generator_ema, rng, 0.0)

    def _shade(
        self, codes: Tensor, poses: Tensor, points: Tensor, field: nn.Module, rng: torch.Generator | None, noise: float
    ) -> Tensor:
        own = self.settings
        return render_field(
            field,  # type: ignore[arg-type]
            codes,
            poses,
            points,
            field_of_view=own.field_of_view,
            near=own.near,
            far=own.far,
            samples=own.samples,
            rng=rng,
            noise=noise,
        )

    def discriminator_step(self, real: Tensor, azimuths: Tensor) -> dict[str, float]:
        """Hinge with soft margin on each transform's head, and the reconstruction of the real patches."""
        own, rng = self.settings, self.rng
        patches = patch.sample_patches(real, self._points(len(real))).expand(-1, own.channels, -1, -1)
        with torch.no_grad():
            made, made_azimuths = self.make_patches(len(real))
        count = self.transforms
        judged = self.discriminator.body(
            torch.cat([dag.all_transforms(2.0 * patches - 1.0, count), dag.all_transforms(2.0 * made - 1.0, count)])
        )
        tops = judged.top.chunk(2 * count)
        losses = []
        for head in range(count):
            on_real = self.discriminator.judge(tops[head], head, azimuths)
            on_made = self.discriminator.judge(tops[count + head], head, made_azimuths)
            losses.append(
                dag.soft_hinge(on_real, True, rng, own.soft_margin)
                + dag.soft_hinge(on_made, False, rng, own.soft_margin)
            )
        hinge = dag.weighted(losses, own.dag_weight)
        loss, told = hinge, {"discriminator": hinge.item()}
        if own.reconstruction > 0.0 and self.step % own.reconstruction_every == 0:
            rebuilt = self._reconstruction_loss(judged, patches)
            loss = loss + own.reconstruction * own.reconstruction_every * rebuilt
            told["reconstruction"] = rebuilt.item()
        self._descend("discriminator", loss, own.discriminator_rate)
        return told

    def generator_step(self) -> dict[str, float]:
        """Raise what every transform's head says of made patches."""
        own = self.settings
        with frozen(self.discriminator):
            made, azimuths = self.make_patches(own.batch)
            tops = self.discriminator.body(dag.all_transforms(2.0 * made - 1.0, self.transforms)).top
            losses = [
                -self.discriminator.judge(top, head, azimuths).mean()
                for head, top in enumerate(tops.chunk(self.transforms))
            ]
            loss = dag.weighted(losses, own.dag_weight)
            self._descend("generator", loss, own.generator_rate)
        return {"generator": loss.item()}

    def make_patches(self, count: int) -> tuple[Tensor, Tensor]:
        """Patches by the generator in training, at random codes, poses and places.

        Returns
        -------
        patches : (count, channels, K, K) tensor
            In [0, 1].
        azimuths : (count,) tensor
            Degrees.
        """
        own = self.settings
        codes = self.sample_codes(count)
        poses = camera.random_poses(count, own, self.rng).to(self.device)
        points = self._points(count)
        noise = own.noise(self.step)
        values = self._shade(codes, poses, points, self.generator, self.rng, noise)
        patches = values.transpose(1, 2).reshape(count, own.channels, own.patch_size, own.patch_size)
        return patches, poses[:, 0]

    def _points(self, count: int) -> Tensor:
        own = self.settings
        lowest = patch.lowest_scale(self.step, own.scale_floor, own.scale_rate, own.scale_every)
        return patch.random_patches(count, own.patch_size, lowest, self.rng).to(self.device)

    def _reconstruction_loss(self, judged: Judged, patches: Tensor) -> Tensor:
        """Perceptual distance of what the decoders make of untransformed real patches to these."""
        if self._perceptual is None:
            from .perceptual import PerceptualDistance, feature_network

            self._perceptual = PerceptualDistance(feature_network()).to(self.device)
        own = Judged(*(part[: len(patches)] for part in judged))
        made = self.discriminator.reconstruct(own)
        return sum((self._perceptual(picture, patches).mean() for picture in made), torch.zeros(()).to(patches.device))

    def _descend(self, name: str, loss: Tensor, rate: float) -> None:
        optimiser = self.optimisers[name]
        for group in optimiser.param_groups:
            group["lr"] = rate * self.settings.rate_factor(self.step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
