"""Training samples anywhere along the rays, not in occupied cells alone: for samplers that need gradients there."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...fields.hash_grid import FastSettings, coarse_samples
from ...samplers.base import Sampler
from ...samplers.hierarchical import Hierarchical
from ...samplers.lattice import Lattice
from ...samplers.spacing import Growing
from ...samplers.stratified import Stratified
from . import volume
from .pixels import PixelBatch

UNIFORM, FINE = 128, 32
"""Samples a ray where no number is named; twice as many even ones in an unbounded scene."""


class DensityField:
    """A density as hierarchical sampling looks at it."""

    def __init__(self, density: Callable[[Tensor], Tensor]) -> None:
        self._density = density

    def query_density(self, positions: Tensor) -> Tensor:
        """See `samplers.base.Field`."""
        return self._density(positions.reshape(-1, 3)).reshape(positions.shape[:-1])

    def __call__(self, positions: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Only densities are known here."""
        raise NotImplementedError


def place(
    settings: FastSettings,
    batch: PixelBatch,
    box: Tensor,
    lattice: Lattice | None,
    density: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> volume.Samples:
    """As many samples on each ray that meets the scene, packed.

    Parameters
    ----------
    settings : FastSettings
        Whose `sampler` is 'uniform' or 'hierarchical'.
    batch : PixelBatch
    box : (2, 3) tensor
    lattice : Lattice or None
        Of an unbounded scene.
    density : callable
        (N, 3) unit positions to (N,).
    generator : torch.Generator
        On the rays' device.
    """
    o, d = batch.origins, batch.directions
    if lattice is None:
        near, far = volume.clip_to_box(o, d, box)
    else:
        near, far = torch.full_like(o[:, 0], lattice.near), torch.full_like(o[:, 0], lattice.far)
    rows = (near < far).nonzero()[:, 0]
    spacing = Growing(lattice) if lattice else None
    whole = 2 if lattice else 1
    sampler: Sampler
    if settings.sampler == "uniform":
        sampler, count = Stratified(generator, spacing), settings.samples or whole * UNIFORM
    else:
        coarse, count = coarse_samples(settings), settings.samples or FINE
        field = DensityField(density)
        sampler = Hierarchical(field, coarse, generator, settings.opacity, settings.cdf, shared=True, spacing=spacing)
    samples = sampler.sample(o[rows], d[rows], near[rows], far[rows], count, training=True)
    position = samples.positions(o[rows], d[rows]).reshape(-1, 3)
    return volume.Samples(
        rows[:, None].expand_as(samples.t).reshape(-1),
        samples.t.reshape(-1),
        position if lattice else position.clamp(0.0, 1.0),
        samples.dt.reshape(-1),
    )


def trapezoid(samples: volume.Samples, density: Tensor) -> Tensor:
    """Each interval's mean density where density goes linearly from a sample to the next on its ray."""
    following = torch.cat([density[1:], density[-1:]])
    is_last = torch.cat([samples.ray[1:] != samples.ray[:-1], torch.ones_like(samples.ray[:1], dtype=torch.bool)])
    return torch.where(is_last, density, 0.5 * (density + following))
