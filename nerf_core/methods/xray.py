"""The attenuation field: what radiographs are line integrals of, learnt from 1 to hundreds of them.

Each ray's line integral p of attenuation is held against the measured one; there is no colour, no viewing direction
and nothing hides anything. As a picture p is shown through the data set's window, black where nothing is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..contract.errors import CheckpointError, DataError, NerfError
from ..contract.samplers import SamplerChoice
from ..contract.traces import LEFT, MISSED
from ..contract.xray import NOT_FOR_DIAGNOSIS, XrayFacts
from ..data.dataset import Dataset
from ..data.views import Views
from ..fields.attenuation import AUTO_RESOLUTIONS, AttenuationSettings, NodeGrid
from ..kernels.attenuation import AttenuationBackend, attenuation_backend, check_arrays
from ..xray.grid import Grid
from .base import Method, MethodState, Normalisation, RayColors, StepStats
from .cost import RenderCost
from .trace import StageSamples, Stretches, Trace, assemble
from .xray_data import INITIAL, first_values, radiographs

POINTS_AT_ONCE = 1 << 18
UNIFORM = SamplerChoice("uniform")
OLDEST = {"grid": "dense"}
"""What checkpoints meant before they said it."""
PER_VIEW_NOTE = (
    "The radiographs were scaled one by one, so each view's gain and offset are learnt beside the field: its "
    "attenuation is known up to a factor, and Hounsfield units are no more than that."
)


class XrayMethod(Method):
    """A grid of attenuation, dense or hashed, behind the `Method` interface; see `fields.attenuation`.

    Density is attenuation per world unit. Rays see the line integral through the window of the data set.

    Parameters
    ----------
    normalisation : Normalisation
    device : {'cpu', 'cuda', 'mps'}
        'cpu' computes with numba, the others with torch.
    seed : int
    settings : mapping, optional
        Names of `AttenuationSettings`.
    """

    name = "xray"
    over_black = True

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
        self.settings = AttenuationSettings.from_dict(settings)
        self.backend = self.settings.backend
        if self.backend == "auto":
            self.backend = "cpu" if device == "cpu" else "reference"
        if self.backend == "cpu" and device != "cpu":
            raise NerfError("The xray method's backend 'cpu' runs on the device 'cpu' only; set 'backend' to 'auto'.")
        self.facts = XrayFacts(window=(0.0, 1.0))
        self._made: AttenuationBackend | None = None
        self._views: Views | None = None
        self._begun = False  # whether the field holds anything yet
        self._notes: list[str] = []
        self._white = (-1, 1.0)

    # Training

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Method.notes`."""
        return (NOT_FOR_DIAGNOSIS, *self._notes)

    def load_facts(self, dataset: Dataset) -> None:
        """Take the window, the scaling, and how fine the field has to be; see `Method`."""
        if dataset.xray is None:
            raise DataError(
                f"The data set '{dataset.path}' holds pictures of light; the method 'xray' learns from radiographs "
                "with line integrals: make them with 'nerf drr', or train with --method fast."
            )
        self.facts = dataset.xray
        if not self.settings.shape:
            self.settings = self.settings.with_shape(self._chosen_shape(dataset))
        if dataset.xray.scaling == "per_view":
            self._notes.append(PER_VIEW_NOTE)

    def _chosen_shape(self, dataset: Dataset) -> tuple[int, int, int]:
        from ..xray.truth import aligned_shape, truth_grid

        bounds = self.normalisation.bounds
        if self.settings.resolution:
            return NodeGrid.over(bounds, self.settings.resolution).shape
        truth = truth_grid(dataset.path, self.facts, bounds)
        shape = None if truth is None else aligned_shape(truth)
        if shape is not None and min(shape) >= 2 and max(shape) <= 2 * AUTO_RESOLUTIONS[1]:
            return shape
        cameras = [view.camera for view in dataset.splits["train"].views]
        sizes = [np.linalg.norm(each.position - self.normalisation.center) / each.fl_x for each in cameras]
        across = float(np.max(bounds[1] - bounds[0])) / max(float(np.median(sizes)), 1e-12)
        return NodeGrid.over(bounds, int(np.clip(round(across), *AUTO_RESOLUTIONS))).shape

    @property
    def grid(self) -> NodeGrid:
        """Where the nodes are."""
        shape = self.settings.shape or NodeGrid.over(self.normalisation.bounds, AUTO_RESOLUTIONS[0]).shape
        return NodeGrid(np.asarray(self.normalisation.bounds, np.float64), (shape[0], shape[1], shape[2]))

    @property
    def field(self) -> AttenuationBackend:
        """The backend, made when it is first needed."""
        if self._made is None:
            grid = self.grid
            settings = self.settings.with_shape(grid.shape)
            self._made = attenuation_backend(self.backend, settings, grid.cell / grid.spacing, self.seed, self.device)
        return self._made

    def load_views(self, views: Views) -> None:
        """Take the line integrals; see `Method`."""
        if any(view.line_integral is None for view in views.views):
            raise DataError("The method 'xray' learns from line integrals, which these views do not have.")
        self._views = views
        self.field.load(radiographs(views, self.facts, self.normalisation, self.grid, self.settings))

    def warm_up(self, should_stop: Callable[[], bool] | None = None, everything: bool = False) -> None:
        """Compile the kernels, and make the volume that the field begins as; see `Method`."""
        self.field.warm_up(should_stop)
        self._begin(should_stop)

    def _begin(self, should_stop: Callable[[], bool] | None = None) -> None:
        if self._begun or self._views is None:
            return
        data = self.field.radiographs
        assert data is not None
        grid = NodeGrid(self.grid.bounds, self.field.first_shape)
        begun = first_values(self._views, grid, self.grid.cell, self.settings.init, data.reference, should_stop)
        values, how = begun
        self.field.set_values(values)
        self._notes.append(INITIAL[how])
        self._begun = True

    def train_step(self, progress: float) -> StepStats:
        """One step over rays of all views; see `Method`."""
        self._begin()
        stats = self.field.train_step(progress)
        return StepStats(stats.loss, stats.mse, stats.rays, stats.samples)

    def drop_views(self) -> None:
        """See `Method.drop_views`."""
        self._views = None
        self.field.drop()

    # Looking

    def line_integrals(
        self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None = None
    ) -> np.ndarray:
        """(N,) float32 line integrals of attenuation along (N, 3) world rays, from their origins on.

        `limits` (N, 2), if given, are the distances from and to which each ray is followed, world units. Intensities
        are ``exp(-p)``.
        """
        return self._integrated(origins, directions, limits)[:, 0]

    def _integrated(self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None) -> np.ndarray:
        grid = self.grid
        o, d = grid.rays(np.asarray(origins).reshape(-1, 3), np.asarray(directions).reshape(-1, 3))
        if limits is not None:
            limits = np.clip(np.asarray(limits, np.float64) / grid.cell, 0.0, 1e30).astype(np.float32)
        return self.field.integrate(o, d, limits)

    def shown(self, line_integrals: np.ndarray) -> np.ndarray:
        """Line integrals as a picture shows them, 0 to 1: through the window."""
        low, high = self.facts.window
        return np.clip((line_integrals - np.float32(low)) / np.float32(high - low), 0.0, 1.0).astype(np.float32)

    def render_rays(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
    ) -> RayColors:
        """Line integrals through the window, as grey with just as much alpha; depth is the mean of what adds to them.

        See `Method`.
        """
        count = _samples(sampler)
        if count is None:
            out = self._integrated(origins, directions, limits)
        else:
            out = self._evenly(origins, directions, limits, count)
        value = self.shown(out[:, 0])
        depth = np.divide(out[:, 1], out[:, 0], out=np.zeros_like(value), where=(out[:, 0] > 0) & (value > 0))
        evaluations = out[:, 2].astype(np.int32)
        cost = RenderCost.of_rays(evaluations, value)
        rgba = np.repeat(value[:, None], 4, axis=1)
        return RayColors(rgba, depth * np.float32(self.grid.cell), cost.full, evaluations, cost=cost)

    def _evenly(self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None, count: int) -> np.ndarray:
        """As `_integrated` gives it, of so many samples evenly spaced in the box."""
        near, far = self._range(origins, directions, limits)
        length = np.maximum(far - near, 0.0) / count
        t = near[:, None] + length[:, None] * (np.arange(count) + 0.5)
        part = self._attenuation_at(origins, directions, t) * length[:, None]
        cell = self.grid.cell
        samples = np.where(length > 0, count, 0)
        return np.stack([part.sum(axis=1), (part * t).sum(axis=1) / cell, samples], axis=-1).astype(np.float32)

    def _attenuation_at(self, origins: np.ndarray, directions: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(R, K) attenuation per world unit at distances (R, K) along rays."""
        origins, directions = np.asarray(origins, np.float64), np.asarray(directions, np.float64)
        points = origins.reshape(-1, 1, 3) + t[..., None] * directions.reshape(-1, 1, 3)
        return self._query(points.reshape(-1, 3)).reshape(t.shape)

    def _range(
        self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Between which world distances (R,) rays are in the box; the first is not below the second where they miss."""
        origins, directions = np.asarray(origins, np.float64), np.asarray(directions, np.float64)
        low, high = self.normalisation.bounds
        d = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
        a, b = (low - origins) / d, (high - origins) / d
        near = np.maximum(np.minimum(a, b).max(axis=-1), 0.0)
        far = np.maximum(a, b).min(axis=-1)
        if limits is not None:
            near, far = np.maximum(near, limits[:, 0]), np.minimum(far, limits[:, 1])
        return near, far

    @property
    def trained_sampler(self) -> SamplerChoice:
        """See `Method.trained_sampler`."""
        return UNIFORM

    def trace_rays(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
    ) -> Trace:
        """Evenly spaced samples through all of the box; see `Method`.

        A sample's weight is its share of the line integral, times what the picture shows of that; its transmittance is
        the intensity that reaches it from the ray's origin.
        """
        count = _samples(sampler) or max(self.grid.shape)
        near, far = self._range(origins, directions)
        rays = len(near)
        hit = far > near
        near, far = np.where(hit, near, 0.0), np.where(hit, far, 0.0)
        length = (far - near) / count
        edges = near[:, None] + length[:, None] * np.arange(count + 1)
        t = 0.5 * (edges[:, :-1] + edges[:, 1:])
        density = self._attenuation_at(origins, directions, t)
        part = density * length[:, None]
        total = part.sum(axis=1)
        share = np.divide(part, total[:, None], out=np.zeros_like(part), where=total[:, None] > 0)
        weight = share * self.shown(total)[:, None]
        ray = np.repeat(np.arange(rays), count)
        known = np.repeat(hit, count)

        def flat(values: np.ndarray) -> np.ndarray:
            return values.reshape(-1)[known]

        before = np.exp(-(np.cumsum(part, axis=1) - part))
        stage = StageSamples(
            ray[known],
            flat(t),
            flat(edges[:, :-1]),
            flat(edges[:, 1:]),
            flat(density),
            np.ones((int(known.sum()), 3), np.float32),
            flat(weight),
            flat(before),
            flat(part),
        )
        bins = Stretches(stage.ray, stage.t0, stage.t1, stage.weight)
        reason = np.where(hit, LEFT, MISSED)
        return assemble(origins, directions, (near, far), [stage], bins=bins, full=count, end=far, end_reason=reason)

    def _query(self, points: np.ndarray) -> np.ndarray:
        """(N,) attenuation per world unit at world points; 0 outside the box."""
        points = np.asarray(points, np.float64).reshape(-1, 3)
        found = np.zeros(len(points), np.float32)
        low, high = self.normalisation.bounds
        grid, field = self.grid, self.field
        for start in range(0, len(points), POINTS_AT_ONCE):
            part = points[start : start + POINTS_AT_ONCE]
            inside = np.all((part >= low) & (part <= high), axis=1)
            found[start : start + len(part)][inside] = field.query(grid.points(part[inside]))
        return found / np.float32(grid.cell)

    def query_density(self, points: np.ndarray) -> np.ndarray:
        """Attenuation per world unit; see `Method`."""
        return self._query(points)

    def query_color(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Grey: attenuation in shares of the largest that the field holds; see `Method`."""
        if self._white[0] != self.field.step:
            self._white = self.field.step, self.field.peak() / self.grid.cell
        grey = np.clip(self._query(points) / np.float32(max(self._white[1], 1e-30)), 0.0, 1.0)
        return np.repeat(grey[:, None], 3, axis=1)

    def volume_on(self, grid: Grid) -> np.ndarray:
        """(X, Y, Z) float32 attenuation per world unit on a grid of voxels; 0 outside the field's box.

        Taken at the voxels' centres; where voxels are larger than the field's cells, the mean over as many places in
        each as it has cells.
        """
        fine = np.maximum(np.ceil(grid.spacing.min() / self.grid.spacing.max() - 1e-3), 1.0)
        steps = (np.arange(int(fine)) + 0.5) / fine - 0.5
        values = np.zeros(grid.shape, np.float32)
        offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
        offsets = offsets @ grid.world_from_index[:3, :3].T
        for index in range(grid.shape[0]):
            centers = grid.slab(index, index + 1)[0].reshape(-1, 3)
            found = sum(self._query(centers + offset) for offset in offsets) / len(offsets)
            values[index] = np.asarray(found, np.float32).reshape(grid.shape[1:])
        return values

    # State

    def state(self) -> MethodState:
        """See `Method.state`."""
        self._begin()
        settings = {"settings": self.settings.to_dict(), "step": self.field.step, "xray": self.facts.to_dict()}
        return MethodState(self.field.arrays(), settings)

    @classmethod
    def check_state(cls, settings: Mapping[str, Any], device: str, state: MethodState) -> None:
        """See `Method.check_state`."""
        check_arrays(state.arrays, AttenuationSettings.from_dict({**OLDEST, **settings}))

    def load_state(self, state: MethodState) -> None:
        """See `Method.load_state`."""
        step = state.settings.get("step")
        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < 2**53:
            raise CheckpointError("the checkpoint does not say how many steps it holds")
        stored = state.settings.get("settings")
        if not isinstance(stored, Mapping):
            raise CheckpointError("the checkpoint does not say what the xray method was built with")
        # Who computes, and how much at once, is no matter of the field's.
        settings = AttenuationSettings.from_dict({**OLDEST, **stored, "backend": self.settings.backend})
        check_arrays(state.arrays, settings)
        try:
            self.facts = XrayFacts.from_dict(state.settings.get("xray"))
        except DataError as error:
            raise CheckpointError(f"the checkpoint does not say how its radiographs were made: {error}") from error
        if settings != self.settings:
            self.settings, self._made = settings, None
        self.field.load_arrays(state.arrays, step)
        self._begun = True


def _samples(sampler: SamplerChoice | None) -> int | None:
    """How many evenly spaced samples a ray was asked for; None for the field's own, one a layer of nodes."""
    if sampler is not None and sampler.name != "uniform":
        raise NerfError(
            f"The method 'xray' adds up attenuation along all of a ray: render it with the sampler 'uniform', not "
            f"'{sampler.name}'."
        )
    return None if sampler is None else sampler.samples
