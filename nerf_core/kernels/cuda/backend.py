"""The fast method on an NVIDIA GPU: holds the device memory and queues the kernels."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...contract.errors import Cancelled, NerfError
from ...fields.contraction import contract
from ...fields.hash_grid import FastSettings
from ..backend import BatchStats, FastBackend
from ..views import ViewArrays
from . import step
from .buffers import Batch, Packed, State, device_views, sample_capacity
from .graphs import Graphs
from .networks import launch_density_forward, launch_field_forward
from .render import FIRST_POINTS, render_rays
from .reports import Reports
from .visible import Pieces
from .waves import Waves

QUERY_POINTS = 1 << 18
RENDER_RAYS = 1 << 18
"""Rays that are rendered at once, with some 200 bytes for each of eight samples a ray."""
MARCH_RAYS = 1 << 14
MARCH_SAMPLES = 1 << 20


@dataclass
class _Training:
    """What only training needs."""

    views: tuple[Tensor | None, ...]
    random_background: bool
    packed: Packed
    batch: Batch
    pieces: Pieces | None
    reports: Reports
    graphs: Graphs


class CudaBackend(FastBackend):
    """Triton kernels, queued as one CUDA graph a step; see `FastBackend`.

    Steps are queued and not waited for: the numbers that :meth:`train_step` gives are of steps a little before, and
    `rays` is how many the last of those has left for the next.

    Parameters
    ----------
    settings, box, seed
        As for `FastBackend`.
    device : str
        'cuda', or 'cpu' in a process that runs Triton's interpreter.
    half : bool
        Compute with fp16 table, weights and activations; parameters, moments and sums are float32 all the same.
    """

    name = "cuda"

    def __init__(
        self, settings: FastSettings, box: np.ndarray, seed: int, device: str = "cuda", half: bool = True
    ) -> None:
        super().__init__(settings, box, seed)
        reason = check_settings(settings)
        if reason:
            raise NerfError(f"The fast method's CUDA kernels cannot run with these settings: {reason}.")
        self.device = torch.device(device)
        self.dtype = torch.float16 if half else torch.float32
        self._max_rays = self.settings.max_rays_per_step
        self.rays = min(self.rays, self._max_rays)
        self._training: _Training | None = None
        self._last_waves: Waves | None = None
        with self._memory():
            self._numbers = step.Numbers.of(self, self._max_rays)
            self.field = step.Field(
                self.layout, settings.occupancy_resolution, torch.from_numpy(self.box).to(self.device), self.dtype
            )
            self.field.parameters.load(self.layout, self.layout.initial(seed))
            self.field.values[torch.from_numpy(self.outside_cells()).to(self.device)] = -1.0
            self.field.threshold(self.occupancy_limit)
            self._state = State(self.device)
            self._write_counters()

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Say in one sentence what to do when the GPU's memory is full."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise NerfError(
                "The GPU's memory is full: close other programs that use it, or train with a smaller "
                "'samples_per_step' or 'log2_table_size', fewer or smaller images, or the device 'cpu'."
            ) from error

    def _write_counters(self) -> None:
        self._state.i[:2] = torch.tensor([self.step, self.rays], dtype=torch.int32, device=self.device)

    # Training --------------------------------------------------------------------------------------------------

    def load_views(self, views: ViewArrays, random_background: bool) -> None:
        """Take the training pixels, and the memory that training needs."""
        self.drop_views()
        samples = sample_capacity(self.settings.samples_per_step, self.unbounded)
        with_depth = len(views.depths) > 0 and self.takes_depth
        width = self.layout.shapes["density_0"][0]
        with self._memory():
            self._training = _Training(
                device_views(views, self.device, with_depth),
                random_background,
                self._packed(self._max_rays, samples),
                Batch.allocate(self._max_rays, samples, width, self.dtype, self.device, with_depth),
                # In a bounded scene little is hidden: what lies in occupied cells is mostly surface.
                Pieces.allocate(self._max_rays, self.device) if self.unbounded else None,
                Reports(self._state.words, with_depth),
                Graphs(self.device),
            )

    def drop_views(self) -> None:
        """Let go of the training pixels and the batch's memory; waits for the steps that are queued."""
        if self._training is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._training = None

    def _packed(self, rays: int, samples: int) -> Packed:
        return Packed.allocate(rays, samples, self.fine_step, self.fine_growth, self.unbounded, self.device)

    def train_step(self, progress: float) -> BatchStats:
        """Queue one optimisation step; gives what has been heard of the ones before since the last call."""
        training = self._training
        if training is None:
            raise RuntimeError("load_views comes before the first training step")
        asked = self.occupancy_update()
        training.reports.begin(
            self.learning_rate(progress),
            self.training_step_length(),
            self.training_growth(),
            self.depth_weight(progress) if training.batch.depth is not None else 0.0,
        )

        def work() -> None:
            step.train_step(
                self.field,
                self._numbers,
                self._state,
                training.views,
                training.random_background,
                training.packed,
                training.batch,
                training.pieces,
                asked,
            )

        with self._memory():
            # Which cells' turn it is the device knows; the graph differs in how many.
            training.graphs.run(None if asked is None else (asked.every, asked.decay), work)
        self.step += 1
        stats = training.reports.end()
        self.rays = training.reports.rays
        return stats

    # Looking ---------------------------------------------------------------------------------------------------

    def _rows3(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array, np.float32).reshape(-1, 3)).to(self.device)

    def march(
        self, origins: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All lattice points of rays that lie in occupied cells; see `FastBackend`."""
        parts = [
            self._march(o, d)
            for o, d in zip(
                self._rows3(origins).split(MARCH_RAYS), self._rows3(directions).split(MARCH_RAYS), strict=True
            )
        ]
        counts, positions, distances, intervals = (
            np.concatenate([part[index].cpu().numpy() for part in parts]) for index in range(4)
        )
        return counts.astype(np.int64), positions, distances, intervals

    def _march(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        state, samples = State(self.device), MARCH_SAMPLES
        while True:
            packed = self._packed(len(origins), samples)
            packed.origin.copy_(origins)
            packed.direction.copy_(directions)
            packed.jitter.fill_(0.5)
            state.words.zero_()
            state.i[1] = len(origins)
            state.f[2], state.f[3] = self.fine_step, self.fine_growth
            step.march(self.field, self._numbers, state, packed)
            wanted = int(state.i[7])
            if wanted <= samples:
                break
            samples = wanted
        # Rays are packed in groups, in whatever order the groups came.
        order = torch.argsort(packed.s_ray[:wanted], stable=True)
        ray, distance, interval = packed.s_ray[order].long(), packed.s_t[order], packed.s_dt[order]
        position = origins[ray] + distance[:, None] * directions[ray]
        if not self.unbounded:
            position = position.clamp(0.0, 1.0)
        return packed.ray_count, position, distance, interval

    def query(self, positions: np.ndarray, directions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Density and colour at positions; see `FastBackend`."""
        unit = np.asarray(positions, np.float64).reshape(-1, 3)
        grid = np.clip(contract(unit) if self.unbounded else unit, 0.0, 1.0).astype(np.float32)
        density = np.zeros(len(grid), np.float32)
        color = np.zeros((len(grid) if directions is not None else 0, 3), np.float32)
        along = None if directions is None else np.asarray(directions, np.float32).reshape(-1, 3)
        for first in range(0, len(grid), QUERY_POINTS):
            part = slice(first, first + QUERY_POINTS)
            answer = self._query(self._rows3(grid[part]), None if along is None else self._rows3(along[part]))
            density[part] = answer[0].cpu().numpy()
            if answer[1] is not None:
                color[part] = answer[1].cpu().numpy()
        return density, color

    def _query(self, grid: Tensor, directions: Tensor | None) -> tuple[Tensor, Tensor | None]:
        count, field = len(grid), self.field
        encoded = torch.zeros(count, self.layout.shapes["density_0"][0], dtype=self.dtype, device=self.device)
        density = torch.zeros(count, device=self.device)
        field.encode(grid, encoded, count)
        if directions is None:
            launch_density_forward(encoded, field.parameters.weights_copy, density, count, field.networks)
            return density, None
        state = State(self.device)
        state.i[2] = count
        color = torch.zeros(count, 3, device=self.device)
        launch_field_forward(
            encoded,
            field.parameters.weights_copy,
            directions,
            torch.arange(count, dtype=torch.int32, device=self.device),
            state.i,
            density,
            color,
            torch.zeros(count, 16, dtype=self.dtype, device=self.device),
            field.networks,
        )
        return density, color

    @property
    def occupied(self) -> np.ndarray:
        """(G, G, G) bool, indexed z, y, x: the cells that rays look into."""
        side = self.settings.occupancy_resolution
        packed = self.field.bits.cpu().numpy().view(np.uint8)
        words = np.unpackbits(packed, bitorder="little").reshape(side // 2, side // 4, side // 4, 2, 4, 4)
        return words.transpose(0, 3, 1, 4, 2, 5).reshape(side, side, side).astype(bool)

    def render(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        evaluations: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Render rays; see `FastBackend`."""
        count = len(origins)
        rgba, depth, samples = np.zeros((count, 4), np.float32), np.zeros(count, np.float32), 0
        for first in range(0, count, RENDER_RAYS):
            part = slice(first, min(first + RENDER_RAYS, count))
            with self._memory():
                waves = self._waves(part.stop - first)
                within = None if limits is None else torch.from_numpy(np.array(limits[part], np.float32))
                samples += self._render(waves, self._rows3(origins[part]), self._rows3(directions[part]), within)
            rgba[part] = waves.rgba[: part.stop - first].cpu().numpy()
            depth[part] = waves.depth[: part.stop - first].cpu().numpy()
            if evaluations is not None:
                evaluations[part] = waves.evaluations[: part.stop - first].cpu().numpy()
        return rgba, depth, samples

    def _waves(self, rays: int) -> Waves:
        """The memory that the last frame took, where it suffices."""
        if self._last_waves is None or len(self._last_waves.origin) < rays:
            self._last_waves = None
            room = -(-rays // 16) * 16 * FIRST_POINTS  # 16 rays of 8 points are what a warp takes
            encoded = self.layout.shapes["density_0"][0]
            self._last_waves = Waves.allocate(rays, room, encoded, self.dtype, self.device)
        return self._last_waves

    def _render(self, waves: Waves, origins: Tensor, directions: Tensor, limits: Tensor | None) -> int:
        waves.origin[: len(origins)] = origins
        waves.direction[: len(origins)] = directions
        waves.limits[: len(origins)] = torch.tensor([0.0, 1e30]) if limits is None else limits
        state = State(self.device)
        state.f[2], state.f[3] = self.fine_step, self.fine_growth
        return render_rays(
            state.i,
            state.f,
            waves,
            self.field.box,
            self.field.bits,
            len(origins),
            self.settings.occupancy_resolution,
            self.unbounded,
            self.settings.weight_threshold,
            self.settings.transmittance_threshold,
            lambda: step.forward(self.field, self._numbers, state, waves, waves),
        )

    def warm_up(self, should_stop: Callable[[], bool] | None = None, everything: bool = False) -> None:
        """Compile every kernel, or find it compiled, on a small field of the same kind."""
        from .catalogue import go_through

        settings = replace(self.settings, log2_table_size=10, samples_per_step=1024, max_rays_per_step=64)
        small = CudaBackend(settings, self.box, 0, str(self.device), self.dtype == torch.float16)
        for _ in go_through(small):
            if should_stop is not None and should_stop():
                raise Cancelled
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    # State -----------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of everything that training changes; waits for the steps that are queued."""
        parameters = self.field.parameters
        result = {"occupancy/values": self.field.values.cpu().numpy().copy()}
        for prefix, which in (("params/", ""), ("adam/first/", "_first"), ("adam/second/", "_second")):
            result.update({prefix + name: array for name, array in parameters.read(self.layout, which).items()})
        return result

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over checked arrays."""
        for prefix, which in (("params/", ""), ("adam/first/", "_first"), ("adam/second/", "_second")):
            named = {name: arrays[prefix + name] for name in self.layout.shapes}
            self.field.parameters.load(self.layout, named, which)
        self.field.values.copy_(torch.from_numpy(np.array(arrays["occupancy/values"], np.float32)))
        self.field.threshold(self.occupancy_limit)

    def counters(self) -> dict[str, int]:
        """Step and rays, and how many steps were skipped; waits for the steps that are queued."""
        words = self._state.i.tolist()
        return {"step": self.step, "rays": words[1], "skipped": words[6]}

    def load_counters(self, counters: Mapping[str, object]) -> None:
        """Take over :meth:`counters`, of whatever backend."""
        super().load_counters(counters)
        self.rays = min(self.rays, self._max_rays)
        self._write_counters()


def check_settings(settings: FastSettings) -> str | None:
    """Why the kernels cannot run with these settings, or None."""
    if settings.features not in (1, 2, 4, 8):
        return f"'features' must be 1, 2, 4 or 8, not {settings.features}"
    if (settings.levels * settings.features) > 64:
        return "'levels' times 'features' must be at most 64"
    if max(settings.density_width, settings.color_width) > 128:
        return "'density_width' and 'color_width' must be at most 128"
    if settings.max_resolution > 1 << 20:
        return "'max_resolution' is too large"
    return None
