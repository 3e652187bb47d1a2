"""The device memory of rendering in waves; see `render`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...fields.hash_grid import GEO_FEATURES

WARP_POINTS = 128
"""Lattice points that a warp looks at together, four a lane."""


@dataclass(frozen=True)
class Waves:
    """Device memory for rendering at most R rays, S samples a wave.

    `origin`, `direction` (R, 3) and `limits` (R, 2), the distances from and to which a ray is looked along, are to be
    filled; `rgba` (R, 4), premultiplied, `depth` (R,), the mean distance of what is seen (0 where nothing is), and
    `evaluations` (R,) of the field are the result. The field's kernels take the rest by `Packed`'s and `Batch`'s names.
    """

    origin: Tensor
    direction: Tensor
    limits: Tensor
    rgba: Tensor
    depth: Tensor
    evaluations: Tensor
    optical_depth: Tensor
    ray_near: Tensor
    ray_far: Tensor
    cursor: Tensor
    going: Tensor
    next_going: Tensor
    wave_start: Tensor
    wave_count: Tensor
    s_ray: Tensor
    s_t: Tensor
    s_dt: Tensor
    encoded: Tensor
    density: Tensor
    rgb: Tensor
    geo: Tensor

    @classmethod
    def allocate(cls, rays: int, samples: int, encoded: int, dtype: torch.dtype, device: torch.device) -> "Waves":
        """Room for so many rays, and samples of `encoded` numbers; `FIRST_POINTS` samples a ray never overflow."""
        if samples < WARP_POINTS:
            raise ValueError(f"a wave needs room for {WARP_POINTS} samples at least")

        def make(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        whole = torch.int32
        return cls(
            origin=make(rays, 3),
            direction=make(rays, 3),
            limits=make(rays, 2),
            rgba=make(rays, 4),
            depth=make(rays),
            evaluations=make(rays, dtype=whole),
            optical_depth=make(rays),
            ray_near=make(rays),
            ray_far=make(rays),
            cursor=make(rays, dtype=whole),
            going=make(rays, dtype=whole),
            next_going=make(rays, dtype=whole),
            wave_start=make(rays, dtype=whole),
            wave_count=make(rays, dtype=whole),
            s_ray=make(samples, dtype=whole),
            s_t=make(samples),
            s_dt=make(samples),
            encoded=make(samples, encoded, dtype=dtype),
            density=make(samples),
            rgb=make(samples, 3),
            geo=make(samples, GEO_FEATURES, dtype=dtype),
        )
