"""A population's volumes registered to one template: smooth displacements and the sharp mean that they share.

Groupwise registration: all displacements are moved at once by gradient descent on the squared difference between the
warped template and each volume plus the displacements' roughness, from coarse to fine; the template is then the least
squares solution given the displacements, and their mean is taken out (Joshi et al. 2004, "Unbiased diffeomorphic atlas
construction for computational anatomy", without the diffeomorphism). Displacements pull: a volume at x is the template
at x + u(x).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from ..contract.errors import Cancelled

# Image size as a share of the finest, control points along the longest side, steps.
LEVELS = ((4, 5, 60), (4, 9, 60), (2, 17, 60), (1, 33, 25))
ROUGHNESS = 0.02
SIDE_ROUNDS, SIDE_LEVELS = 3, ((5, 25), (9, 15))  # control points a side, steps
RATE = 0.25  # voxels of the level a step


@dataclass(frozen=True)
class Registered:
    """A registered population.

    Attributes
    ----------
    template : (X, Y, Z) float32
    displacement : (N, 3, x, y, z) float32
        At control points spread evenly from the first voxel's centre to the last one's, in voxels.
    appearance : (N, X, Y, Z) float32
        What the warped template lacks of each volume, brought back to the template's places.
    """

    template: np.ndarray
    displacement: np.ndarray
    appearance: np.ndarray


def register(
    volumes: np.ndarray,
    levels: tuple[tuple[int, int, int], ...] = LEVELS,
    roughness: float = ROUGHNESS,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Registered:
    """Register (N, X, Y, Z) volumes, whose values are about 0 to 2, to a template of their own.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    full = torch.from_numpy(np.ascontiguousarray(volumes, dtype=np.float32))[:, None]
    shape = full.shape[2:]
    control: torch.Tensor | None = None
    template = full.mean(0, keepdim=True)
    # A level costs its voxels times its steps.
    costs = [steps / factor**3 for factor, _, steps in levels]
    spent = 0.0
    for (factor, points, steps), cost in zip(levels, costs, strict=True):
        size = [max(4, round(n / factor)) for n in shape]
        images = F.interpolate(full, size, mode="area") if factor > 1 else full
        grid_size = [max(2, round((points - 1) * n / max(shape)) + 1) for n in shape]
        control = (
            torch.zeros(len(full), 3, *grid_size)
            if control is None
            else F.interpolate(control, grid_size, mode="trilinear", align_corners=True)
        )
        template = F.interpolate(template, size, mode="trilinear", align_corners=False)
        # In two halves, with a template made in between.
        for half in range(2):
            template = _template(images, control, template, size, shape)

            def told(part: float, half: int = half, spent: float = spent, cost: float = cost) -> None:
                if progress is not None:
                    progress((spent + cost * (half + part) / 2) / sum(costs))

            control = _descend(images, control, template, shape, roughness, max(1, steps // 2), told, should_stop)
            control = control - control.mean(0, keepdim=True)
        spent += cost
    assert control is not None
    template = _template(full, control, template, list(shape), shape)
    appearance = _appearance(full, control, template, shape)
    return Registered(template[0, 0].numpy(), control.numpy(), appearance)


def one_sided(
    volumes: np.ndarray,
    longest: int = 24,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Which of a population's volumes are of the other side: (N,) bool, those to be mirrored along x to be alike.

    Left and right knees are two shapes that no smooth displacement leads from one to the other. Each volume is
    registered to the first one, then to the mean of those laid alike, straight and mirrored; the better fit says which.
    """
    full = torch.from_numpy(np.ascontiguousarray(volumes, dtype=np.float32))[:, None]
    size = [max(4, round(n * min(1.0, longest / max(full.shape[2:])))) for n in full.shape[2:]]
    straight = F.interpolate(full, size, mode="area")
    both = torch.cat([straight, straight.flip(2)])
    template, turned = straight[:1], torch.zeros(len(full), dtype=torch.bool)
    for round_ in range(SIDE_ROUNDS):

        def told(part: float, round_: int = round_) -> None:
            if progress is not None:
                progress((round_ + part) / SIDE_ROUNDS)

        control = torch.zeros(len(both), 3, 5, 5, 5)
        shape = tuple(size)
        for points, steps in SIDE_LEVELS:
            control = F.interpolate(control, (points,) * 3, mode="trilinear", align_corners=True)
            control = _descend(both, control, template, shape, ROUGHNESS, steps, told, should_stop)
        lack = torch.stack(
            [
                (_warp(template, _coordinates(control[i : i + 1], size, shape)) - both[i]).square().mean()
                for i in range(len(both))
            ]
        )
        now = lack[len(full) :] < lack[: len(full)]
        if round_ and bool((now == turned).all()):
            break
        turned = now
        chosen = torch.where(turned, torch.arange(len(full)) + len(full), torch.arange(len(full)))
        mean = control[chosen].mean(0, keepdim=True)
        template = _carried_back(both[chosen], control[chosen] - mean, template, size, shape)
    return turned.numpy()


def _coordinates(control: torch.Tensor, size: list[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Where to sample, as grid_sample takes it; displacements are in voxels of the finest grid."""
    field = F.interpolate(control, size, mode="trilinear", align_corners=True)
    axes = [(torch.arange(n) + 0.5) / n * 2 - 1 for n in size]
    base = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    scale = torch.tensor([2.0 / n for n in shape]).view(1, 3, 1, 1, 1)
    # grid_sample's last axis is (z, y, x) of ours.
    return (base[None] + field * scale).permute(0, 2, 3, 4, 1).flip(-1)


def _warp(template: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
    expanded = template.expand(len(coordinates), -1, -1, -1, -1)
    return F.grid_sample(expanded, coordinates, mode="bilinear", padding_mode="border", align_corners=False)


def _descend(
    images: torch.Tensor,
    control: torch.Tensor,
    template: torch.Tensor,
    shape: tuple[int, ...],
    roughness: float,
    steps: int,
    told: Callable[[float], None],
    should_stop: Callable[[], bool] | None,
) -> torch.Tensor:
    size = list(images.shape[2:])
    voxel = max(shape) / max(size)
    result = []
    batch = max(1, 8 * 32**3 // int(np.prod(size)))
    for first in range(0, len(images), batch):
        moved = control[first : first + batch].clone().requires_grad_(True)
        optimiser = torch.optim.Adam([moved], lr=RATE * voxel, betas=(0.8, 0.95))
        for step in range(steps):
            if should_stop is not None and should_stop():
                raise Cancelled
            for group in optimiser.param_groups:
                group["lr"] = RATE * voxel * (1.0 - 0.9 * step / steps)
            difference = _warp(template, _coordinates(moved, size, shape)) - images[first : first + batch]
            # The roughness of a field is a number without unit: voxels of displacement a voxel of way.
            loss = difference.square().mean((1, 2, 3, 4)).sum() + roughness * _roughness(moved, shape)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            told((first + len(moved) * (step + 1) / steps) / len(images))
        result.append(moved.detach())
    return torch.cat(result)


def _roughness(control: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    total = control.new_zeros(())
    for axis in range(3):
        points = control.shape[2 + axis]
        spacing = (shape[axis] - 1) / (points - 1)
        total = total + (control.diff(dim=2 + axis) / spacing).square().mean((1, 2, 3, 4)).sum()
    return total


def _template(
    images: torch.Tensor, control: torch.Tensor, template: torch.Tensor, size: list[int], shape: tuple[int, ...]
) -> torch.Tensor:
    """What explains all images best given where each looks: their values carried back, averaged by weight."""
    return _carried_back(images, control, template, size, shape)


def _carried_back(
    images: torch.Tensor, control: torch.Tensor, otherwise: torch.Tensor, size: list[int], shape: tuple[int, ...]
) -> torch.Tensor:
    values, weights = torch.zeros_like(otherwise), torch.zeros_like(otherwise)
    for index in range(len(images)):
        coordinates = _coordinates(control[index : index + 1], size, shape)
        values += _splat(images[index : index + 1], coordinates)
        weights += _splat(torch.ones_like(images[index : index + 1]), coordinates)
    # A pull of a little weight towards what was there, where hardly any image looks.
    pull = 0.02 * len(images)
    return (values + pull * otherwise) / (weights + pull)


def _appearance(
    images: torch.Tensor, control: torch.Tensor, template: torch.Tensor, shape: tuple[int, ...]
) -> np.ndarray:
    result = np.empty((len(images), *shape), dtype=np.float32)
    nothing = torch.zeros_like(template)
    for index in range(len(images)):
        here = control[index : index + 1]
        coordinates = _coordinates(here, list(shape), shape)
        lack = images[index : index + 1] - _warp(template, coordinates)
        result[index] = _carried_back(lack, here, nothing, list(shape), shape)[0, 0].numpy()
    return result


def _splat(values: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
    """The adjoint of sampling, which is its derivative."""
    sampled = torch.zeros_like(values, requires_grad=True)
    warped = F.grid_sample(sampled, coordinates, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.autograd.grad(warped, sampled, values)[0]
