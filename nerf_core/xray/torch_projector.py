"""Line integrals through a voxel volume as a torch function: differentiable with respect to the volume.

    rays = Rays.of(origins, directions)                        # (N, 3) arrays or tensors, world, unit directions
    p = project(volume, world_from_index, rays)                # volume (X, Y, Z) per world unit -> (N,); has a gradient
    v = backproject(p, volume.shape, world_from_index, rays)   # the transpose; has a gradient with respect to p

On the CPU both run in the compiled kernels of `projector` and are each other's exact transpose. Volumes on another
device are projected by plain torch operations there (:func:`project_reference`, Joseph's model), whose gradient is
autograd's: it is also what the kernels are tested against.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract.camera import Camera
from ..contract.errors import NerfError
from .projector import Model, backproject_volume, index_rays, project_volume

POINTS_AT_ONCE = 1 << 22  # of `project_reference`


@dataclass(frozen=True)
class Rays:
    """World rays: (N, 3) float64 origins, (N, 3) float64 unit directions."""

    origins: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, origins: Any, directions: Any) -> "Rays":
        """From arrays or tensors of shape (..., 3)."""
        found = [
            np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64).reshape(-1, 3)
            for values in (origins, directions)
        ]
        return cls(*found)

    @classmethod
    def of_cameras(cls, cameras: list[Camera]) -> "Rays":
        """Through all pixels' centres of cameras, row by row, one camera after the other."""
        parts = [camera.rays() for camera in cameras]
        return cls.of(
            np.concatenate([origins.reshape(-1, 3) for origins, _ in parts]),
            np.concatenate([directions.reshape(-1, 3) for _, directions in parts]),
        )

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, chosen: Any) -> "Rays":
        return Rays(self.origins[chosen], self.directions[chosen])


def project(volume: Tensor, world_from_index: np.ndarray, rays: Rays, model: Model = "joseph") -> Tensor:
    """Line integrals of a volume along rays.

    Parameters
    ----------
    volume : (X, Y, Z) float tensor
        Per world unit.
    world_from_index : (4, 4) array
        From voxel indices (centres at whole numbers) to the world.
    rays : Rays
        N of them.
    model : {'joseph', 'siddon'}
        On devices other than the CPU 'joseph' alone.

    Returns
    -------
    (N,) float32 tensor
        On the volume's device; differentiable with respect to the volume, any number of times (it is linear).
    """
    if volume.device.type == "cpu":
        return _Project.apply(volume, world_from_index, rays, model)  # type: ignore[no-any-return]
    if model != "joseph":
        raise NerfError("Only Joseph's projector runs on a GPU; choose the model 'joseph'.")
    return project_reference(volume, world_from_index, rays)


def backproject(
    values: Tensor, shape: tuple[int, int, int], world_from_index: np.ndarray, rays: Rays, model: Model = "joseph"
) -> Tensor:
    """The transpose of :func:`project`: (N,) values to an (X, Y, Z) volume; differentiable with respect to the values.

    Runs on the CPU whatever device the values are on.
    """
    return _Backproject.apply(values, tuple(shape), world_from_index, rays, model)  # type: ignore[no-any-return]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volume: Tensor, world_from_index: np.ndarray, rays: Rays, model: Model) -> Tensor:
        ctx.geometry = tuple(volume.shape), world_from_index, rays, model
        ctx.kind = volume.dtype
        found = project_volume(volume.detach().numpy(), world_from_index, rays.origins, rays.directions, model)
        return torch.from_numpy(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Backproject.apply(gradients[0], *ctx.geometry).to(ctx.kind), None, None, None  # type: ignore[no-untyped-call]


class _Backproject(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        shape: tuple[int, int, int],
        world_from_index: np.ndarray,
        rays: Rays,
        model: Model,
    ) -> Tensor:
        ctx.geometry = world_from_index, rays, model
        ctx.kind = values.dtype, values.device
        amounts = values.detach().cpu().numpy()
        found = backproject_volume(amounts, shape, world_from_index, rays.origins, rays.directions, model)
        return torch.from_numpy(found).to(values.device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        kind, device = ctx.kind
        return _Project.apply(gradients[0].cpu(), *ctx.geometry).to(device, kind), None, None, None, None  # type: ignore[no-untyped-call]


def project_reference(volume: Tensor, world_from_index: np.ndarray, rays: Rays) -> Tensor:
    """Joseph's line integrals by plain torch operations, on the volume's device, in the volume's float type.

    See :func:`project`; slower on the CPU than the kernels by far.
    """
    starts, steps = index_rays(world_from_index, rays.origins, rays.directions)
    major = np.abs(steps).argmax(axis=1)
    out = torch.zeros(len(rays), dtype=volume.dtype, device=volume.device)
    for axis in range(3):
        chosen = np.flatnonzero((major == axis) & (np.abs(steps).max(axis=1) > 0))
        count = max(1, POINTS_AT_ONCE // volume.shape[axis])
        for first in range(0, len(chosen), count):
            part = chosen[first : first + count]
            sums = _along(volume, axis, starts[part], steps[part])
            out = out.index_add(0, torch.as_tensor(part, device=volume.device), sums)
    return out


def _along(volume: Tensor, axis: int, starts: np.ndarray, steps: np.ndarray) -> Tensor:
    """(N,) integrals of rays that run along an axis most."""
    planes = np.arange(volume.shape[axis])
    t = (planes[None, :] - starts[:, axis, None]) / steps[:, axis, None]
    places = starts[:, None, :] + t[..., None] * steps[:, None, :]
    places[..., axis] = planes
    sizes = np.array(volume.shape)
    # From centres at 0 .. n - 1 to torch's -1 .. 1 with align_corners=False, which one voxel along an axis allows, too.
    scaled = torch.as_tensor((2.0 * places + 1.0) / sizes - 1.0, dtype=volume.dtype, device=volume.device)
    grid = scaled.flip(-1)[None, None]
    sampled = torch.nn.functional.grid_sample(
        volume[None, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )[0, 0, 0]
    ahead = torch.as_tensor(t >= 0.0, device=volume.device)
    length = torch.as_tensor(1.0 / np.abs(steps[:, axis]), dtype=volume.dtype, device=volume.device)
    return (sampled * ahead).sum(dim=1) * length
