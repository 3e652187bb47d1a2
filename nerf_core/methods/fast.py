"""The fast method: a hash grid, two small networks and an occupancy grid, trained by fused kernels."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import CheckpointError, NerfError
from ..contract.samplers import SamplerChoice
from ..data.views import Views
from ..fields.hash_grid import BATCH_SIZES, CUDA_BATCH_SIZES, TORCH_SAMPLERS, FastLayout, FastSettings
from ..kernels.backend import FastBackend, check_arrays
from ..kernels.rays import RayArrays
from ..kernels.views import ViewArrays, camera_arrays, typical_side, view_arrays
from .base import Method, MethodState, Normalisation, RayColors, StepStats
from .fast_looking import SampledLooking, is_native, native_colors, trained_choice
from .fast_surface import surface_colors, takes_shell, trace_surface
from .fast_trace import trace_occupancy
from .trace import Trace, with_march

if TYPE_CHECKING:
    from .proposals import Proposals

DEFAULT_SIDE = 400.0
"""Image size that the table is sized for when no images have been seen."""
NO_SURFACE_TRAINING = (
    "The surface sampler is trained by the backend 'cpu' alone, and only in bounded scenes (images with transparency, "
    "or the setting 'scene'); train with another sampler: what it trains can be rendered with --sampler surface too."
)


class FastMethod(Method):
    """Instant-NGP's recipe behind the `Method` interface.

    The size of the field follows the training images', so it is only made with the first views (or a checkpoint, or
    the first question asked of it). So does whether the scene goes on outside the subject's box, unless the settings
    say it: images without alpha show what is there, images with alpha show the subject alone.

    Parameters
    ----------
    normalisation : Normalisation
    device : {'cpu', 'cuda', 'mps'}
        'cpu' computes with numba, 'cuda' with Triton where it serves the GPU, the others with torch.
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
            self.backend = "reference" if self.settings.sampler in TORCH_SAMPLERS else _backend_for(device)
        self._made: FastBackend | None = None
        self._prepared: FastBackend | None = None  # whose own kernels have rendered a ray
        self._views: tuple[ViewArrays, bool] | None = None
        self._camera: tuple[Camera, ViewArrays] | None = None
        self._looking: SampledLooking | None = None
        self._proposals: Proposals | None = None

    @classmethod
    def is_unbounded(cls, settings: Mapping[str, Any] | None, has_alpha: bool) -> bool:
        """As the setting `scene` says; see `Method`."""
        scene = FastSettings.from_dict(settings).scene
        return scene == "unbounded" or (scene == "auto" and not has_alpha)

    @classmethod
    def takes_depth(cls, settings: Mapping[str, Any] | None, device: str) -> bool:
        """Unless the setting `depth_loss` is 0; see `Method`."""
        return FastSettings.from_dict(settings).depth_loss > 0

    def _make(self, side: float = DEFAULT_SIDE, has_alpha: bool = True) -> FastBackend:
        if self.settings.scene == "auto":
            self.settings = replace(self.settings, scene="bounded" if has_alpha else "unbounded")
        self.settings = self.settings.sized_for(side, cuda=self.backend == "cuda")
        box = self.normalisation.unit_bounds
        if self.backend == "cpu":
            from ..kernels.cpu.backend import CpuBackend

            return CpuBackend(self.settings, box, self.seed)
        if self.backend == "cuda":
            from ..kernels.cuda.availability import interpreted, problem

            if not (self.device == "cpu" and interpreted()):
                reason = "They run on the device 'cuda' only." if self.device != "cuda" else problem()
                if reason:
                    raise NerfError(f"The fast method's CUDA kernels cannot run here. {reason}")
            from ..kernels.cuda.backend import CudaBackend

            return CudaBackend(self.settings, box, self.seed, self.device)
        from ..kernels.reference.backend import ReferenceBackend

        return ReferenceBackend(self.settings, box, self.seed, self.device)

    @property
    def field(self) -> FastBackend:
        """The backend, made when it is first needed."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def unbounded(self) -> bool:
        """See `Method`."""
        return self.field.unbounded

    def load_views(self, views: Views) -> None:
        """Take the training images; the first ones also size the field."""
        # Random backgrounds make transparency the only way to explain a transparent pixel; without alpha there is
        # nothing to composite over.
        self._views = (view_arrays(views, self.normalisation, self.settings.depth_loss > 0), views.has_alpha)
        if self._made is None:
            self._made = self._make(typical_side(views), views.has_alpha)
        if self.settings.sampler == "surface" and not self._made.renders_surface:
            raise NerfError(NO_SURFACE_TRAINING)
        self._made.load_views(*self._views)
        if self._learner is not None:
            self._learner.load_views(self._views[0])

    @property
    def _learner(self) -> "Proposals | None":
        """The proposal networks, where the field is trained with some."""
        if self.settings.sampler == "proposal" and self._proposals is None:
            from .proposals import Proposals

            self._proposals = Proposals(self.field)
        return self._proposals

    def train_step(self, progress: float) -> StepStats:
        """One optimisation step over random pixels; see `Method`."""
        stats = self.field.train_step(progress)
        if self._learner is not None:
            self._learner.after_step(progress)
        return StepStats(stats.loss, stats.mse, stats.rays, stats.samples, stats.overflow, stats.depth_loss)

    def _unit_rays(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        origins = self.normalisation.to_unit(np.asarray(origins, np.float64).reshape(-1, 3))
        return origins.astype(np.float32), np.asarray(directions, np.float32).reshape(-1, 3)

    def render_rays(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
    ) -> RayColors:
        """Colour and depth of rays, without jitter; see `Method`."""
        choice = self._choice(sampler)
        scale = self.normalisation.scale
        if limits is not None:
            # An end without limit stays one: what comes after it is as far as float32 counts.
            limits = np.clip(np.asarray(limits, np.float64) * scale, 0.0, 1e30).astype(np.float32)
        rays = self._unit_rays(origins, directions)
        if is_native(choice):
            evaluations = np.zeros(len(rays[0]), np.int32)
            return native_colors(self.field.render(*rays, limits, evaluations), evaluations, self.normalisation)
        if takes_shell(self.field, choice):
            return surface_colors(self.field.render_surface(*rays, limits, choice.samples), self.normalisation)
        known = None if true_depth is None else np.asarray(true_depth, np.float64) * scale
        return self.looking.render(choice, self._learner, *rays, limits, known)

    def render_pixels(
        self,
        camera: Camera,
        first: int,
        count: int,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
        into: RayArrays | None = None,
    ) -> RayColors:
        """Colour and depth of a camera's pixels; see `Method`."""
        field = self.field
        choice = self._choice(sampler)
        by_shell = takes_shell(field, choice)
        if not field.renders_pixels or not (is_native(choice) or by_shell):
            return super().render_pixels(camera, first, count, sampler, true_depth, into)
        if self._camera is None or self._camera[0] is not camera:  # a table of a lens's directions takes a while
            self._camera = camera, camera_arrays([camera], self.normalisation)
        if by_shell:
            seen = field.render_surface_pixels(self._camera[1], first, count, choice.samples, into)
            return surface_colors(seen, self.normalisation)
        made, samples = field.render_pixels(self._camera[1], first, count, into)
        return native_colors((made.rgba, made.depth, samples), made.evaluations, self.normalisation)

    def prepare(self, sampler: SamplerChoice | None = None, on_progress: Callable[[float], None] | None = None) -> None:
        """See `Method.prepare`."""
        choice = self._choice(sampler)
        # One ray compiles the kernels, and bakes a shell: no picture's own time, and too short to be told.
        up = np.array([[0.0, 0.0, 1.0]], np.float32)
        if takes_shell(self.field, choice):
            self.field.render_surface(np.zeros_like(up), up, None, choice.samples)
        elif is_native(choice):
            if self._prepared is not self.field:
                self.field.render(np.zeros_like(up), up)
                self._prepared = self.field
        else:
            self.looking.prepare(choice, self._learner, on_progress)

    @property
    def trained_sampler(self) -> SamplerChoice:
        """See `Method.trained_sampler`."""
        return trained_choice(self.settings)

    def _choice(self, sampler: SamplerChoice | None) -> SamplerChoice:
        if sampler is None and self.settings.sampler == "surface" and not self.field.surface_is_ready:
            return SamplerChoice("occupancy")  # previews of a young field
        return sampler or self.trained_sampler

    @property
    def full_sampling(self) -> SamplerChoice:
        """Every occupied place up to where a ray is opaque; see `Method.full_sampling`."""
        # What is trained anywhere along rays is not held to the occupied cells; proposal networks only watch those.
        return self.trained_sampler if self.settings.sampler in TORCH_SAMPLERS else SamplerChoice("occupancy")

    @property
    def looking(self) -> SampledLooking:
        """What renders with other samplers than the backend's own."""
        if self._looking is None or self._looking.backend is not self.field:
            self._looking = SampledLooking(self.field, self.normalisation)
        return self._looking

    def trace_rays(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
    ) -> Trace:
        """The samples that rendering these rays uses: up to where a ray has become opaque; see `Method`."""
        choice = self._choice(sampler)
        origins, directions = np.asarray(origins), np.asarray(directions)
        if is_native(choice):
            return trace_occupancy(self.field, self.normalisation, origins, directions)
        if takes_shell(self.field, choice):
            return trace_surface(self.field, self.normalisation, origins, directions, choice.samples)
        known = None if true_depth is None else np.asarray(true_depth, np.float64) * self.normalisation.scale
        unit = self._unit_rays(origins, directions)
        placed = self.looking.trace(choice, self._learner, unit, origins, directions, known)
        if choice.name != "occupancy":
            return placed
        return with_march(trace_occupancy(self.field, self.normalisation, origins, directions), placed)

    def query_density(self, points: np.ndarray) -> np.ndarray:
        """Density per world unit; 0 outside the box, unless the scene is unbounded; see `Method`."""
        unit = self.normalisation.to_unit(np.asarray(points, np.float64).reshape(-1, 3))
        low, high = self.normalisation.unit_bounds
        inside = np.all((unit >= low) & (unit <= high), axis=1) | self.field.unbounded
        density = np.zeros(len(unit), np.float32)
        if inside.any():
            density[inside] = self.field.query(unit[inside].astype(np.float32), None)[0]
        return density * np.float32(self.normalisation.scale)

    def faintest_density(self) -> float:
        """What a cell of the occupancy grid must exceed, in a bounded scene; see `Method`."""
        values = self.field.arrays()["occupancy/values"]
        if self.field.unbounded or not (values > 0).any():
            return 0.0
        mean = float(np.maximum(values, 0.0).sum(dtype=np.float64)) / int((values >= 0).sum())
        return min(self.field.occupancy_limit, mean) * self.normalisation.scale

    def query_color(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Straight colour at points seen along directions; see `Method`."""
        unit = self.normalisation.to_unit(np.asarray(points, np.float64).reshape(-1, 3))
        inside = unit if self.field.unbounded else np.clip(unit, 0.0, 1.0)
        return self.field.query(inside.astype(np.float32), np.asarray(directions, np.float32).reshape(-1, 3))[1]

    def state(self) -> MethodState:
        """Arrays and settings for a checkpoint; see `Method`."""
        field = self.field
        arrays = field.arrays()
        if self._learner is not None:
            arrays |= self._learner.arrays()
        return MethodState(arrays, {"settings": self.settings.to_dict(), **field.counters()})

    def load_state(self, state: MethodState) -> None:
        """Take over a checkpoint of any backend; the backend stays what this method was built with."""
        stored = state.settings.get("settings")
        if not isinstance(stored, Mapping):
            raise CheckpointError("The checkpoint does not say what the fast method was built with.")
        arrays = _with_optimiser(state.arrays)
        # Who computes, and how much at once, is no matter of the field's.
        own = self.settings.with_batch_sizes(cuda=self.backend == "cuda")
        kept: dict[str, Any] = {"backend": own.backend}
        for name, size in BATCH_SIZES.items():  # unless somebody asked for it
            if getattr(self.settings, name) or stored.get(name) in (None, 0, size, CUDA_BATCH_SIZES[name]):
                kept[name] = getattr(own, name)
        if stored.get("scene", "auto") == "auto":  # written before there were unbounded scenes
            kept["scene"] = "bounded"
        self.settings = FastSettings.from_dict({**stored, **kept})
        made = self._made
        if made is None or made.settings != self.settings:
            # Before anything is made: a few words of metadata can ask for gigabytes that the file does not hold.
            sized = self.settings.sized_for(DEFAULT_SIDE, cuda=self.backend == "cuda")
            check_arrays(sized, FastLayout.from_settings(sized), arrays)
            made = self._make()
            if self._views is not None:
                made.load_views(*self._views)
        made.check_arrays(arrays)
        made.load_arrays(arrays)
        made.load_counters(state.settings)
        self._made, self._proposals, self._looking = made, None, None
        if self._learner is not None:
            self._learner.load_arrays(state.arrays)
            if self._views is not None:
                self._learner.load_views(self._views[0])

    def drop_views(self) -> None:
        """Let go of the training pixels and the batch's buffers; see `Method`."""
        self._views = None
        for each in (self._made, self._proposals):
            if each is not None:
                each.drop_views()

    def warm_up(self, should_stop: Callable[[], bool] | None = None, everything: bool = False) -> None:
        """Compile every kernel (or find it compiled); see `Method`."""
        self.field.warm_up(should_stop, everything or self.settings.sampler == "surface")


def _with_optimiser(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """A snapshot holds the field alone: to look at it, Adam's moments may as well be those of its first step."""
    if any(name.startswith("adam/") for name in arrays):
        return arrays
    parameters = [name.removeprefix("params/") for name in arrays if name.startswith("params/")]
    parameters = [name for name in parameters if "/" not in name]  # proposal networks do without
    return {
        **arrays,
        **{
            f"adam/{moment}/{name}": np.zeros(arrays[f"params/{name}"].shape, np.float32)
            for moment in ("first", "second")
            for name in parameters
        },
    }


def _backend_for(device: str) -> str:
    """Who computes on a device where the settings leave it open."""
    if device == "cpu":
        return "cpu"
    if device == "cuda":
        from ..kernels.cuda.availability import problem

        return "reference" if problem() else "cuda"
    return "reference"
