"""The fast field's settings and its one flat parameter layout, shared by every backend.

The field is instant-NGP's (Müller et al. 2022, "Instant Neural Graphics Primitives"): a multiresolution hash grid, a
density network and a colour network of one hidden layer each, no biases:

* encoding: `levels` x `features` numbers by trilinear interpolation of table rows;
* density network: encoding -> `density_width`, ReLU -> 16 numbers, whose first one is log density;
* colour network: those 16 and 16 spherical harmonics of the viewing direction -> `color_width`, ReLU -> 3, sigmoid.

A checkpoint holds these arrays under these names whatever trained it; `[in, out]` for every weight matrix.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from ..contract.errors import CheckpointError, NerfError
from ..contract.samplers import MAX_SAMPLES, SamplerChoice
from ..contract.setting_checks import check_choices, check_names, check_numbers
from ..samplers.options import CDFS, OPACITIES, options_as_settings

OWNER = "The fast method"

GEO_FEATURES = 16
"""Outputs of the density network: log density, and what the colour network is told."""
SH_FEATURES = 16
"""Real spherical harmonics of degree 0 to 3."""
HASH_PRIMES = (1, 2654435761, 805459861)
"""Instant-NGP's spatial hash: xor of the coordinates' products with these, modulo the table's size."""
MAX_LOG_DENSITY = 15.0
"""Log density is clamped here before it is exponentiated, so that nothing overflows in float32."""
MAX_RAY_STEPS = 4096

BACKENDS = ("auto", "cpu", "cuda", "reference")
BATCH_SIZES = {"samples_per_step": 1 << 15, "max_rays_per_step": 1 << 14}
"""Of a training step, where nothing else is asked for."""
CUDA_BATCH_SIZES = {"samples_per_step": 1 << 18, "max_rays_per_step": 1 << 17}
"""Likewise, as many as keep a GPU busy."""
TRAINING_SAMPLERS = ("occupancy", "proposal", "uniform", "hierarchical", "surface")
TORCH_SAMPLERS = ("uniform", "hierarchical")
"""Those that need gradients of samples anywhere, which the kernels do not have."""
COARSE_SAMPLES = 64
"""Of the sampler 'hierarchical', where nothing else is asked for; twice as many in an unbounded scene."""
SCENES = ("auto", "bounded", "unbounded")
MIN_STEP_GROWTH = 1 / 2048


@dataclass(frozen=True)
class FastSettings:
    """Everything that the fast method can be told; the sizes that are 0 are chosen by the images' size.

    Attributes
    ----------
    backend : {'auto', 'cpu', 'cuda', 'reference'}
        Who computes: fused numba kernels, Triton kernels, or plain torch; 'auto' takes numba on the CPU, Triton on
        NVIDIA GPUs that it serves (`kernels.cuda.availability`), and torch elsewhere.
    sampler : str
        What the field is trained with, and rendered unless something else is asked for: 'occupancy'; 'proposal', whose
        networks learn beside the field and place the samples of pictures; 'uniform' or 'hierarchical', which the
        backend 'reference' alone trains; 'surface'. May be given as an object, `{"name": "uniform", "samples": 64}`.
    samples, coarse_samples : int
        A ray, where the sampler takes a number; 0 takes its own.
    opacity : {'constant', 'linear'}
        How density goes on between samples, for 'uniform' and 'hierarchical'.
    cdf : {'constant', 'exponential'}
        What weights do between coarse samples, for 'hierarchical'.
    levels, features : int
        Levels of the hash grid and numbers a level.
    scene : {'auto', 'bounded', 'unbounded'}
        Whether there is nothing outside the subject's box, or everything that cameras see (`fields.contraction`);
        'auto' takes images without alpha for the latter. A backend is never given 'auto'.
    base_resolution, max_resolution : int
        Cells along the grid at the coarsest and the finest level; geometric in between; 0 chooses by the scene. The
        grid is the unit cube, or twice as large where the scene is unbounded.
    log2_table_size : int
        Rows of a hashed level, as a power of two; 0 chooses by the images' size.
    density_width, color_width : int
        Hidden units of the two networks; multiples of 16.
    occupancy_resolution : int
        Cells along the grid of the occupancy grid, a multiple of 8 (16 where the scene is unbounded); 0 chooses by
        the images' size.
    ray_steps : int
        Samples that would lie on the unit cube's diagonal if all of it were occupied; 0 chooses by the images' size.
    step_growth : float
        Spacing of samples relative to their distance, where that is more than `ray_steps` gives; for unbounded scenes
        alone. 0 chooses by the images' size.
    samples_per_step : int
        Field evaluations that a training step aims at; the number of rays follows it; 0 chooses by the backend.
    max_rays_per_step : int
        Upper bound on the rays of a training step; 0 chooses by the backend.
    learning_rate, final_learning_rate : float
        Adam's step at the start and at the end of the training budget; exponential in between.
    beta1, beta2, epsilon : float
        Adam's constants (Kingma & Ba 2015).
    weight_threshold : float
        Samples whose compositing weight is below it are neither coloured nor trained.
    transmittance_threshold : float
        A ray ends where less than this passes.
    occupancy_threshold : float
        A cell is empty where one step through it would absorb less than this.
    depth_loss : float
        Weight of the depth loss at the start of the training budget, where the images come with depth; 0 leaves
        depth unread.
    """

    backend: str = "auto"
    sampler: str = "occupancy"
    samples: int = 0
    coarse_samples: int = 0
    opacity: str = "constant"
    cdf: str = "constant"
    levels: int = 8
    features: int = 4
    scene: str = "auto"
    base_resolution: int = 0
    max_resolution: int = 0
    log2_table_size: int = 0
    density_width: int = 64
    color_width: int = 64
    occupancy_resolution: int = 0
    ray_steps: int = 0
    step_growth: float = 0.0
    samples_per_step: int = 0
    max_rays_per_step: int = 0
    learning_rate: float = 2e-2
    final_learning_rate: float = 6e-4
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-15
    weight_threshold: float = 1e-3
    transmittance_threshold: float = 3e-3
    occupancy_threshold: float = 5e-2
    depth_loss: float = 0.5

    def __post_init__(self) -> None:
        check_numbers(OWNER, self, _RANGES, [item.name for item in fields(self) if item.type is int])
        if self.backend not in BACKENDS:
            raise NerfError(f"The fast method's setting 'backend' must be one of {', '.join(BACKENDS)}.")
        check_choices(OWNER, self, {"sampler": TRAINING_SAMPLERS, "opacity": OPACITIES, "cdf": CDFS})
        if self.sampler in TORCH_SAMPLERS and self.backend in ("cpu", "cuda"):
            raise NerfError(
                f"The fast method's sampler '{self.sampler}' is trained by the backend 'reference' alone; set "
                f"'backend' to 'reference' or 'auto', not '{self.backend}'."
            )
        if 0 < self.coarse_samples < 3:
            raise NerfError("The fast method's setting 'coarse_samples' must be 0 (the sampler's own) or at least 3.")
        if self.scene not in SCENES:
            raise NerfError(f"The fast method's setting 'scene' must be one of {', '.join(SCENES)}.")
        if self.log2_table_size and self.log2_table_size < 10:
            raise NerfError("The fast method's setting 'log2_table_size' must be 0 (chosen by image size) or 10 to 24.")
        for name in ("density_width", "color_width"):
            if getattr(self, name) % 16:
                raise NerfError(f"The fast method's setting '{name}' must be a multiple of 16.")
        for name, least in (("samples_per_step", 256), ("max_rays_per_step", 32)):
            if 0 < getattr(self, name) < least:
                raise NerfError(f"The fast method's setting '{name}' must be 0 (chosen) or at least {least}.")
        if 0 < self.ray_steps < 16:
            raise NerfError("The fast method's setting 'ray_steps' must be 0 (chosen by image size) or at least 16.")
        if self.levels * self.features % 16:
            raise NerfError("The fast method's settings 'levels' times 'features' must be a multiple of 16.")
        if self.occupancy_resolution % 8:
            raise NerfError("The fast method's setting 'occupancy_resolution' must be a multiple of 8.")
        if self.scene == "unbounded" and self.occupancy_resolution % 16:
            raise NerfError(
                "The fast method's setting 'occupancy_resolution' must be a multiple of 16 in an unbounded scene."
            )
        for name in ("base_resolution", "max_resolution"):
            if getattr(self, name) == 1:
                raise NerfError(f"The fast method's setting '{name}' must be 0 (chosen by the scene) or at least 2.")
        if 0.0 < self.step_growth < MIN_STEP_GROWTH:
            at_least = f"0 (chosen by image size) or at least {MIN_STEP_GROWTH:g}"
            raise NerfError(f"The fast method's setting 'step_growth' must be {at_least}.")
        if 0 < self.max_resolution < self.base_resolution:
            raise NerfError("The fast method's setting 'max_resolution' must not be below 'base_resolution'.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "FastSettings":
        """Read plain JSON; an unknown name is an error that lists the known ones."""
        known = [item.name for item in fields(cls)]
        values = _with_sampler(values or {})
        check_names(OWNER, values, known)
        return cls(**dict(values))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    def with_batch_sizes(self, cuda: bool = False) -> "FastSettings":
        """Fill in the batch's sizes, where they are left to be chosen."""
        chosen = CUDA_BATCH_SIZES if cuda else BATCH_SIZES
        return replace(
            self,
            samples_per_step=self.samples_per_step or chosen["samples_per_step"],
            max_rays_per_step=self.max_rays_per_step or chosen["max_rays_per_step"],
        )

    def sized_for(self, image_side: float, cuda: bool = False) -> "FastSettings":
        """Fill in what is left to be chosen, for images of about `image_side` pixels squared.

        `scene` is the caller's to resolve; one that is still 'auto' gets the sizes of a bounded one. `cuda` takes the
        sizes that a GPU has time for.
        """
        if cuda:
            return self._sized_for_cuda(image_side)
        small = image_side < 300
        unbounded = self.scene == "unbounded"
        occupancy = 96 if small and not unbounded else 128
        # About a pixel's width; where samples lie denser, fewer rays a step make a room take longer to learn.
        growth = (1 / 64 if small else (1 / 128 if image_side < 600 else 1 / 256)) if unbounded else 0.0
        # On lego a third of instant-NGP's 1024 steps trains faster and ends no lower.
        steps = ((192 if unbounded else 256) if small else 320) if image_side < 600 else 768
        # Coarse levels teach the air of a room to be empty sooner: 6 instead of 16 is worth 1 dB there.
        base = self.base_resolution or (6 if unbounded else 16)
        return replace(
            self,
            base_resolution=base,
            max_resolution=self.max_resolution or max(base, 2048 if unbounded and not small else 1024),
            log2_table_size=self.log2_table_size or (16 if small else 17) + int(unbounded),
            occupancy_resolution=self.occupancy_resolution or occupancy,
            step_growth=self.step_growth or growth,
            ray_steps=self.ray_steps or steps,
        ).with_batch_sizes()

    def _sized_for_cuda(self, image_side: float) -> "FastSettings":
        base = self.base_resolution or (6 if self.scene == "unbounded" else 16)
        growth = 1 / 256 if self.scene == "unbounded" else 0.0
        return replace(
            self,
            base_resolution=base,
            max_resolution=self.max_resolution or max(base, 2048 if image_side >= 300 else 1024),
            log2_table_size=self.log2_table_size or 19,
            # One size whatever the images: kernels are compiled for it.
            occupancy_resolution=self.occupancy_resolution or 128,
            step_growth=self.step_growth or growth,
            ray_steps=self.ray_steps or (512 if image_side < 300 else 1024),
        ).with_batch_sizes(cuda=True)


def coarse_samples(settings: FastSettings) -> int:
    """How many the sampler 'hierarchical' trains with."""
    return settings.coarse_samples or COARSE_SAMPLES * (2 if settings.scene == "unbounded" else 1)


#: A sampler's options, and the settings that say them.
SAMPLER_SETTINGS = {"opacity": "opacity", "cdf": "cdf", "coarse": "coarse_samples"}


def _with_sampler(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with a sampler that is given as an object spread over the settings that say it."""
    given = values.get("sampler")
    if not isinstance(given, Mapping):
        return values
    choice = SamplerChoice.from_dict(given)
    spread: dict[str, Any] = {"sampler": choice.name, "samples": choice.samples or 0}
    return {**values, **spread, **options_as_settings(OWNER, choice, SAMPLER_SETTINGS)}


_RANGES: dict[str, tuple[float, float]] = {
    "samples": (0, MAX_SAMPLES),
    "coarse_samples": (0, MAX_SAMPLES),
    "levels": (1, 32),
    "features": (1, 8),
    "base_resolution": (0, 4096),
    "max_resolution": (0, 65536),
    "log2_table_size": (0, 24),
    "density_width": (16, 256),
    "color_width": (16, 256),
    "occupancy_resolution": (0, 512),
    "ray_steps": (0, MAX_RAY_STEPS),
    "step_growth": (0.0, 0.1),
    "samples_per_step": (0, 1 << 22),
    "max_rays_per_step": (0, 1 << 20),
    "learning_rate": (1e-8, 1.0),
    "final_learning_rate": (1e-8, 1.0),
    "beta1": (0.0, 0.9999),
    "beta2": (0.0, 0.99999),
    "epsilon": (0.0, 1.0),
    "weight_threshold": (0.0, 0.1),
    "transmittance_threshold": (0.0, 0.1),
    "occupancy_threshold": (0.0, 1.0),
    "depth_loss": (0.0, 100.0),
}


@dataclass(frozen=True)
class FastLayout:
    """Where everything lies in the parameter arrays.

    Attributes
    ----------
    features : int
    resolutions : (L,) int64 array
        Cells along the grid, a level.
    offsets : (L + 1,) int64 array
        First row of each level in the table; the last one is the number of rows.
    dense : (L,) bool array
        Whether a level has a row for every grid corner (row ``x + (n + 1) * (y + (n + 1) * z)``); others are hashed.
    shapes : dict of str to tuple
        Name and shape of every parameter array.
    """

    features: int
    resolutions: np.ndarray
    offsets: np.ndarray
    dense: np.ndarray
    shapes: dict[str, tuple[int, int]]

    @property
    def levels(self) -> int:
        """How many levels the grid has."""
        return len(self.resolutions)

    @classmethod
    def from_settings(cls, settings: FastSettings) -> "FastLayout":
        """Lay out the field that `settings` (with nothing left to be chosen) describe."""
        sizes = (settings.log2_table_size, settings.occupancy_resolution, settings.ray_steps)
        if not all((*sizes, settings.base_resolution, settings.max_resolution)):
            raise ValueError("some sizes are not chosen yet: call sized_for first")
        size = 1 << settings.log2_table_size
        growth = (settings.max_resolution / settings.base_resolution) ** (1.0 / max(settings.levels - 1, 1))
        resolutions = np.array(
            [int(np.floor(settings.base_resolution * growth**level + 1e-6)) for level in range(settings.levels)],
            dtype=np.int64,
        )
        corners = (resolutions + 1) ** 3
        dense = corners <= size
        # Rows of dense levels are padded to whole cache lines, which Adam's lazy update goes by.
        rows = np.where(dense, (corners + 15) // 16 * 16, size)
        offsets = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        encoded = settings.levels * settings.features
        shapes = {
            "table": (int(offsets[-1]), settings.features),
            "density_0": (encoded, settings.density_width),
            "density_1": (settings.density_width, GEO_FEATURES),
            "color_0": (GEO_FEATURES + SH_FEATURES, settings.color_width),
            "color_1": (settings.color_width, 3),
        }
        return cls(settings.features, resolutions, offsets, dense, shapes)

    def initial(self, seed: int) -> dict[str, np.ndarray]:
        """Fresh parameters: table uniform in +-1e-4, weights uniform after He et al. 2015."""
        generator = np.random.default_rng(seed)
        parameters = {"table": generator.uniform(-1e-4, 1e-4, self.shapes["table"]).astype(np.float32)}
        for name, (inputs, outputs) in self.shapes.items():
            if name != "table":
                bound = np.sqrt(6.0 / inputs)
                parameters[name] = generator.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        return parameters

    def check(self, arrays: Mapping[str, np.ndarray], prefix: str) -> None:
        """Raise a `CheckpointError` unless every parameter is there in its shape under ``prefix + name``."""
        for name, shape in self.shapes.items():
            array = arrays.get(prefix + name)
            if array is None:
                raise CheckpointError(f"The checkpoint has no array '{prefix}{name}'; it was not made by this method.")
            if tuple(array.shape) != shape:
                raise CheckpointError(
                    f"The checkpoint's array '{prefix}{name}' is {'x'.join(map(str, array.shape))}, "
                    f"but its settings ask for {'x'.join(map(str, shape))}; the file does not belong to this run."
                )
            if not np.isfinite(array).all():
                raise CheckpointError(f"The checkpoint's array '{prefix}{name}' holds NaN or infinity.")
