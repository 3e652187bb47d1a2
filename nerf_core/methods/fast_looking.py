"""Which sampler the fast method is seen with: the backend's own renderer, or any other through `sampled`.

Nothing here imports torch until a sampler needs it: on the CPU the fast method starts seconds sooner without.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..contract.samplers import SamplerChoice
from ..fields.hash_grid import FastSettings, coarse_samples
from ..kernels.backend import FastBackend
from .base import Normalisation, RayColors
from .cost import RenderCost
from .trace import Trace

if TYPE_CHECKING:
    from ..samplers.base import Sampler
    from ..samplers.grid import DensityGrid
    from .proposals import Proposals

NO_DEPTH = (
    "The oracle is an upper bound that needs to be told the true depth: evaluate views of a data set that has depth, "
    "or choose another sampler."
)


def trained_choice(settings: FastSettings) -> SamplerChoice:
    """What the settings say that the field is trained, and by itself rendered, with."""
    options: dict[str, str | int | bool] = {}
    if settings.sampler == "hierarchical":
        options["coarse"] = coarse_samples(settings)
        options["joined"] = True  # whatever number is named
    if settings.sampler in ("uniform", "hierarchical") and settings.opacity != "constant":
        options["opacity"] = settings.opacity
    if settings.sampler == "hierarchical" and settings.cdf != "constant":
        options["cdf"] = settings.cdf
    return SamplerChoice(settings.sampler, settings.samples or None, options)


def is_native(choice: SamplerChoice) -> bool:
    """Whether the backend's own renderer places these samples."""
    return choice.name == "occupancy" and choice.samples is None and not choice.options


def native_colors(
    rendered: tuple[np.ndarray, np.ndarray, int], evaluations: np.ndarray, normalisation: Normalisation
) -> RayColors:
    """What a backend's renderer gave, in world units, with what it cost."""
    rgba, depth, samples = rendered
    cost = RenderCost.of_rays(evaluations, rgba[:, 3], samples - int(evaluations.sum(dtype=np.int64)))
    depth = np.divide(depth, np.float32(normalisation.scale), out=depth)
    return RayColors(rgba, depth, samples, evaluations, cost=cost)


class SampledLooking:
    """Renders and traces a backend's field with samplers; keeps what was built until the field changes.

    Parameters
    ----------
    backend : FastBackend
    normalisation : Normalisation
    """

    def __init__(self, backend: FastBackend, normalisation: Normalisation) -> None:
        self.backend, self.normalisation = backend, normalisation
        self._step = -1
        self._built: dict[str, tuple[int, Sampler, int]] = {}
        self._grids: dict[int, DensityGrid] = {}

    def prepare(
        self, choice: SamplerChoice, proposals: "Proposals | None", on_progress: Callable[[float], None] | None = None
    ) -> None:
        """Build what is kept; see `Method.prepare`."""
        self._sampler(choice, proposals, True, on_progress)

    def _sampler(
        self,
        choice: SamplerChoice,
        proposals: "Proposals | None",
        knows_depth: bool,
        on_progress: Callable[[float], None] | None = None,
    ) -> "tuple[Sampler, int]":
        from ..contract.errors import NerfError
        from .sampled import build

        if choice.name == "oracle" and not knows_depth:
            raise NerfError(NO_DEPTH)
        key = str(choice.to_dict())
        known = self._built.get(key)
        if known is None or known[0] != self.backend.step:
            if self._step != self.backend.step:
                self._step, self._built, self._grids = self.backend.step, {}, {}
            trained = None if proposals is None else proposals.sampler
            made = build(self.backend, choice, trained, self._grids, on_progress)
            known = self._built[key] = self.backend.step, *made
        return known[1], known[2]

    def render(
        self,
        choice: SamplerChoice,
        proposals: "Proposals | None",
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        true_depth: np.ndarray | None = None,
    ) -> RayColors:
        """Unit-frame rays, with `limits` and `true_depth` in unit-cube lengths."""
        sampler, budget = self._sampler(choice, proposals, true_depth is not None)
        from .sampled import render, unit_rays

        seen = render(self.backend, sampler, budget, unit_rays(self.backend, origins, directions, limits), true_depth)
        rgba, evaluations = seen.rgba.numpy(), seen.full.numpy().astype(np.int32)
        cost = RenderCost.of_rays(evaluations, rgba[:, 3], seen.density_only, seen.proposal)
        depth = seen.depth.numpy() / np.float32(self.normalisation.scale)
        return RayColors(rgba, depth, cost.full + cost.density_only, evaluations, cost=cost)

    def trace(
        self,
        choice: SamplerChoice,
        proposals: "Proposals | None",
        unit: tuple[np.ndarray, np.ndarray],
        origins: np.ndarray,
        directions: np.ndarray,
        true_depth: np.ndarray | None = None,
    ) -> Trace:
        """The same rays taken apart: in the unit frame, and as they are in the world."""
        sampler, budget = self._sampler(choice, proposals, true_depth is not None)
        import torch

        from .sampled import BackendField, rays_at_once, unit_rays
        from .sampler_trace import trace_sampler

        known = None if true_depth is None else torch.tensor(true_depth, dtype=torch.float32)
        rays = unit_rays(self.backend, *unit, None)
        field, scale = BackendField(self.backend), self.normalisation.scale
        at_once = rays_at_once(sampler, budget)
        return trace_sampler(sampler, field, rays, budget, scale, origins, directions, at_once, known)
