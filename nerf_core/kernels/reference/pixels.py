"""Random training pixels in torch: their rays, colours and backgrounds."""

from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from ..views import ORTHOGRAPHIC, TABLE, ViewArrays


class PixelBatch(NamedTuple):
    """Rays in the unit cube with what they should see: all (R, 3) but `jitter` (R,) and `depth` (R,), 0 if unknown."""

    origins: Tensor
    directions: Tensor
    target: Tensor
    background: Tensor
    jitter: Tensor
    depth: Tensor


class Pixels:
    """The training pixels on a device.

    Parameters
    ----------
    views : ViewArrays
    random_background : bool
        Composite over a random colour a ray; else over black.
    device : torch.device
    """

    def __init__(self, views: ViewArrays, random_background: bool, device: torch.device) -> None:
        self.random_background = random_background
        tensors = {name: torch.from_numpy(array).to(device) for name, array in views._asdict().items()}
        self._arrays = SimpleNamespace(**tensors)
        self.has_depth = bool(len(views.depths))
        self._total = int(views.starts[-1])
        self._has_tables = bool((views.kinds == TABLE).any())
        self._device = device

    def rays(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Origins and unit directions (R, 3) of pixels, numbered through all views."""
        arrays = self._arrays
        view = torch.searchsorted(arrays.starts, chosen, right=True) - 1
        pixel = chosen - arrays.starts[view]
        camera, width, kind = arrays.cameras[view], arrays.widths[view], arrays.kinds[view]
        rotation, position = camera[:, :9].reshape(-1, 3, 3), camera[:, 9:12]
        u = ((pixel % width) + 0.5 - camera[:, 14]) / camera[:, 12]
        v = -((pixel // width) + 0.5 - camera[:, 15]) / camera[:, 13]
        zero, one = torch.zeros_like(u), torch.ones_like(u)
        flat = (kind == ORTHOGRAPHIC)[:, None]
        across = torch.stack([u, v, zero], dim=-1)
        local = torch.where(flat, torch.stack([zero, zero, -one], dim=-1), torch.stack([u, v, -one], dim=-1))
        local = local / local.norm(dim=-1, keepdim=True)
        if self._has_tables:
            row = torch.where(kind == TABLE, arrays.tables[view] + pixel, torch.zeros_like(pixel))
            local = torch.where((kind == TABLE)[:, None], arrays.lens[row], local)
        offset = torch.where(flat, across, torch.zeros_like(across))
        origins = position + (rotation @ offset[:, :, None])[:, :, 0]
        return origins, (rotation @ local[:, :, None])[:, :, 0]

    def sample(self, rays: int, generator: torch.Generator) -> PixelBatch:
        """Choose `rays` pixels, uniformly over all views."""
        # On the CPU, so that one seed gives one batch on every device.
        chosen = torch.randint(self._total, (rays,), generator=generator).to(self._device)
        random = torch.rand(rays, 4, generator=generator).to(self._device)
        origins, directions = self.rays(chosen)
        straight = self._arrays.pixels[chosen].to(torch.float32) / 255.0
        alpha = straight[:, 3:]
        background = random[:, :3] if self.random_background else torch.zeros_like(random[:, :3])
        target = straight[:, :3] * alpha + background * (1.0 - alpha)
        depths = self._arrays.depths
        depth = depths[chosen] if len(depths) else torch.zeros_like(random[:, 3])
        return PixelBatch(origins, directions, target, background, random[:, 3], depth)
