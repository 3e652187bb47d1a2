"""The fast method: a hash grid, two small networks and an occupancy grid, trained by fused kernels."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..contract.errors import CheckpointError
from ..data.views import Views
from ..fields.hash_grid import FastSettings
from ..kernels.backend import FastBackend
from ..kernels.views import ViewArrays, typical_side, view_arrays
from .base import Method, MethodState, Normalisation, RayColors, StepStats, Trace

DEFAULT_SIDE = 400.0
"""Image size that the table is sized for when no images have been seen."""


class FastMethod(Method):
    """Instant-NGP's recipe behind the `Method` interface.

    The size of the field follows the training images', so it is only made with the first views (or a checkpoint, or
    the first question asked of it).

    Parameters
    ----------
    normalisation : Normalisation
    device : {'cpu', 'cuda', 'mps'}
        'cpu' computes with numba, the others with torch.
    seed : int
    settings : mapping, optional
        Names of `FastSettings`; `{"backend": "reference"}` takes torch on the CPU too.
    """

    name = "fast"

    def __init__(
        self,
        normalisation: Normalisation,
        device: str = "cpu",
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.normalisation = normalisation
        self.device = device
        self.seed = seed
        self.settings = FastSettings.from_dict(settings)
        self.backend = self.settings.backend
        if self.backend == "auto":
            self.backend = "cpu" if device == "cpu" else "reference"
        self._made: FastBackend | None = None
        self._views: tuple[ViewArrays, bool] | None = None

    def _make(self, side: float = DEFAULT_SIDE) -> FastBackend:
        self.settings = self.settings.sized_for(side)
        box = self.normalisation.unit_bounds
        if self.backend == "cpu":
            from ..kernels.cpu.backend import CpuBackend

            return CpuBackend(self.settings, box, self.seed)
        from ..kernels.reference.backend import ReferenceBackend

        return ReferenceBackend(self.settings, box, self.seed, self.device)

    @property
    def field(self) -> FastBackend:
        """The backend, made when it is first needed."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def load_views(self, views: Views) -> None:
        """Take the training images; the first ones also size the field."""
        # Random backgrounds make transparency the only way to explain a transparent pixel; without alpha there is
        # nothing to composite over.
        self._views = (view_arrays(views, self.normalisation), views.has_alpha)
        if self._made is None:
            self._made = self._make(typical_side(views))
        self._made.load_views(*self._views)

    def train_step(self, progress: float) -> StepStats:
        """One optimisation step over random pixels; see `Method`."""
        stats = self.field.train_step(progress)
        return StepStats(stats.loss, stats.mse, stats.rays, stats.samples, stats.overflow)

    def _unit_rays(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        origins = self.normalisation.to_unit(np.asarray(origins, np.float64).reshape(-1, 3))
        return origins.astype(np.float32), np.asarray(directions, np.float32).reshape(-1, 3)

    def render_rays(self, origins: np.ndarray, directions: np.ndarray) -> RayColors:
        """Colour and depth of rays, without jitter; see `Method`."""
        rgba, depth, samples = self.field.render(*self._unit_rays(origins, directions))
        return RayColors(rgba, depth / np.float32(self.normalisation.scale), samples)

    def trace_rays(self, origins: np.ndarray, directions: np.ndarray) -> Trace:
        """The samples that rendering these rays uses: up to where a ray has become opaque; see `Method`."""
        field, settings = self.field, self.settings
        origins, directions = self._unit_rays(origins, directions)
        counts, positions, distances = field.march(origins, directions)
        ray = np.repeat(np.arange(len(origins), dtype=np.int32), counts)
        density, color = field.query(positions, directions[ray])
        step = field.fine_step
        starts = np.cumsum(counts) - counts
        # Optical depth in front of each sample, in float64: a running sum over all rays, less what came before the ray.
        depth = density.astype(np.float64) * step
        before = np.cumsum(depth) - depth
        transmittance = (
            np.exp(-(before - before[np.minimum(starts, max(len(depth) - 1, 0))[ray]])) if len(ray) else before
        )
        weight = transmittance * -np.expm1(-depth)
        used = transmittance >= settings.transmittance_threshold
        seen = used & (weight > settings.weight_threshold)
        rgba = np.zeros((len(origins), 4), np.float64)
        np.add.at(rgba, ray[seen], np.concatenate([color[seen], np.ones((int(seen.sum()), 1))], 1) * weight[seen, None])
        scale = self.normalisation.scale
        return Trace(
            ray=ray[used],
            t=distances[used] / np.float32(scale),
            dt=np.full(int(used.sum()), step / scale, np.float32),
            position=self.normalisation.to_world(positions[used].astype(np.float64)).astype(np.float32),
            density=density[used] * np.float32(scale),
            color=color[used],
            weight=weight[used].astype(np.float32),
            transmittance=transmittance[used].astype(np.float32),
            stage=np.zeros(int(used.sum()), np.int32),
            rgba=rgba.astype(np.float32),
        )

    def query_density(self, points: np.ndarray) -> np.ndarray:
        """Density per world unit, 0 outside the box; see `Method`."""
        unit = self.normalisation.to_unit(np.asarray(points, np.float64).reshape(-1, 3))
        low, high = self.normalisation.unit_bounds
        inside = np.all((unit >= low) & (unit <= high), axis=1)
        density = np.zeros(len(unit), np.float32)
        if inside.any():
            density[inside] = self.field.query(unit[inside].astype(np.float32), None)[0]
        return density * np.float32(self.normalisation.scale)

    def query_color(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Straight colour at points seen along directions; see `Method`."""
        unit = self.normalisation.to_unit(np.asarray(points, np.float64).reshape(-1, 3))
        inside = np.clip(unit, 0.0, 1.0).astype(np.float32)
        return self.field.query(inside, np.asarray(directions, np.float32).reshape(-1, 3))[1]

    def state(self) -> MethodState:
        """Arrays and settings for a checkpoint; see `Method`."""
        field = self.field
        return MethodState(field.arrays(), {"settings": self.settings.to_dict(), **field.counters()})

    def load_state(self, state: MethodState) -> None:
        """Take over a checkpoint of any backend; the backend stays what this method was built with."""
        stored = state.settings.get("settings")
        if not isinstance(stored, Mapping):
            raise CheckpointError("The checkpoint does not say what the fast method was built with.")
        kept = {"backend": self.settings.backend}
        self.settings = FastSettings.from_dict({**stored, **kept})
        made = self._made
        if made is None or made.settings != self.settings:
            made = self._make()
            if self._views is not None:
                made.load_views(*self._views)
        made.check_arrays(state.arrays)
        made.load_arrays(state.arrays)
        made.load_counters(state.settings)
        self._made = made

    def drop_views(self) -> None:
        """Let go of the training pixels and the batch's buffers; see `Method`."""
        self._views = None
        if self._made is not None:
            self._made.drop_views()

    def warm_up(self, should_stop: Callable[[], bool] | None = None) -> None:
        """Compile every kernel (or find it compiled)."""
        self.field.warm_up(should_stop)
