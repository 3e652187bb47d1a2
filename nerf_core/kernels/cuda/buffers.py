"""The device memory of the CUDA backend: parameters, and what a training step writes and reads."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...fields.hash_grid import GEO_FEATURES, FastLayout
from ...samplers.lattice import Lattice
from ..views import ViewArrays
from .march import mask_words
from .networks import weight_names, weight_offsets

SPARE = 1.25
"""Room for samples, relative to what a step aims at: the number of rays follows the samples a step late."""
UNBOUNDED_SPARE = 4.0
"""Likewise in an unbounded scene, where pieces of rays with much that is hidden need room for a while (`visible`)."""
ROUND = 1024


@dataclass(frozen=True)
class Parameters:
    """The field's parameters, their moments and gradients (float32), and the copy that kernels compute with.

    `table` is (rows, F); `weights` is flat, matrices one after the other (`networks.weight_offsets`).
    """

    table: Tensor
    table_first: Tensor
    table_second: Tensor
    table_gradient: Tensor
    table_copy: Tensor
    weights: Tensor
    weights_first: Tensor
    weights_second: Tensor
    weights_gradient: Tensor
    weights_copy: Tensor

    @classmethod
    def allocate(cls, layout: FastLayout, dtype: torch.dtype, device: torch.device) -> "Parameters":
        """Zeros."""
        rows = layout.shapes["table"]
        total = weight_offsets(layout)["total"]
        tensors = []
        for shape in (rows, (total,)):
            tensors += [torch.zeros(shape, dtype=torch.float32, device=device) for _ in range(4)]
            tensors.append(torch.zeros(shape, dtype=dtype, device=device))
        return cls(*tensors)

    def load(self, layout: FastLayout, arrays: dict[str, np.ndarray], which: str = "") -> None:
        """Take over arrays by the layout's names; `which` is '' for the parameters, '_first' or '_second'."""
        flat = np.concatenate([np.asarray(arrays[name], np.float32).reshape(-1) for name in weight_names(layout)])
        getattr(self, "table" + which).copy_(torch.from_numpy(np.array(arrays["table"], np.float32)))
        getattr(self, "weights" + which).copy_(torch.from_numpy(flat))
        if not which:
            self.table_copy.copy_(self.table)
            self.weights_copy.copy_(self.weights)

    def read(self, layout: FastLayout, which: str = "") -> dict[str, np.ndarray]:
        """Copies of what :meth:`load` takes."""
        flat = getattr(self, "weights" + which).cpu().numpy()
        offsets = weight_offsets(layout)
        result = {"table": getattr(self, "table" + which).cpu().numpy().copy()}
        for name in weight_names(layout):
            shape = layout.shapes[name]
            result[name] = flat[offsets[name] : offsets[name] + math.prod(shape)].reshape(shape).copy()
        return result


class State:
    """The 32 words of :mod:`.advance`: `words` (32,) int32, and `i` and `f`, its halves as int32 and float32."""

    def __init__(self, device: torch.device) -> None:
        self.words = torch.zeros(32, dtype=torch.int32, device=device)
        self.i = self.words[:16]
        self.f = self.words[16:].view(torch.float32)


@dataclass(frozen=True)
class Packed:
    """Rays (at most R) and their packed samples (at most S), as :mod:`.march` writes them."""

    origin: Tensor
    direction: Tensor
    jitter: Tensor
    masks: Tensor
    ray_near: Tensor
    ray_start: Tensor
    ray_count: Tensor
    s_ray: Tensor
    s_t: Tensor
    s_dt: Tensor

    @classmethod
    def allocate(
        cls, rays: int, samples: int, fine_step: float, fine_growth: float, unbounded: bool, device: torch.device
    ) -> "Packed":
        """Room for so many rays of the rendering's lattice, and so many samples."""
        words = mask_words(longest_lattice(fine_step, fine_growth, unbounded))

        def make(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        whole = torch.int32
        return cls(
            origin=make(rays, 3),
            direction=make(rays, 3),
            jitter=make(rays),
            masks=make(rays, words, dtype=whole),
            ray_near=make(rays),
            ray_start=make(rays, dtype=whole),
            ray_count=make(rays, dtype=whole),
            s_ray=make(samples, dtype=whole),
            s_t=make(samples),
            s_dt=make(samples),
        )


@dataclass(frozen=True)
class Batch:
    """What a training step needs beside `Packed`: targets a ray; the field and its gradients a sample."""

    target: Tensor
    background: Tensor
    depth: Tensor | None
    encoded: Tensor
    density: Tensor
    rgb: Tensor
    geo: Tensor
    selected: Tensor
    d_log_density: Tensor
    d_rgb_logit: Tensor
    d_geo: Tensor
    d_encoded: Tensor

    @classmethod
    def allocate(
        cls, rays: int, samples: int, encoded: int, dtype: torch.dtype, device: torch.device, with_depth: bool = False
    ) -> "Batch":
        """Room for so many rays and samples, of `encoded` numbers a sample."""

        def make(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            target=make(rays, 3),
            background=make(rays, 3),
            depth=make(rays) if with_depth else None,
            encoded=make(samples, encoded, dtype=dtype),
            density=make(samples),
            rgb=make(samples, 3),
            geo=make(samples, GEO_FEATURES, dtype=dtype),
            selected=make(samples, dtype=torch.int32),
            d_log_density=make(samples),
            d_rgb_logit=make(samples, 3),
            d_geo=make(samples, GEO_FEATURES, dtype=dtype),
            d_encoded=make(samples, encoded, dtype=dtype),
        )


def longest_lattice(fine_step: float, fine_growth: float, unbounded: bool) -> int:
    """Lattice points of the longest ray: through the whole scene, or along the unit cube's diagonal."""
    if unbounded:
        return Lattice(fine_step, fine_growth).points + 1
    return math.ceil(math.sqrt(3.0) / fine_step) + 1


def sample_capacity(samples_per_step: int, unbounded: bool = False) -> int:
    """Samples that a step has room for."""
    spare = UNBOUNDED_SPARE if unbounded else SPARE
    return -(-int(spare * samples_per_step) // ROUND) * ROUND


def device_views(views: ViewArrays, device: torch.device, with_depth: bool = True) -> tuple[Tensor | None, ...]:
    """The training pixels as tensors, in the order of `ViewArrays`; None for the depths where none is asked for."""
    parts = [torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in views[:-1]]
    return *parts, torch.from_numpy(views.depths).to(device) if with_depth and len(views.depths) else None
