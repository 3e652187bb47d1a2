"""The fast method on the CPU: holds the arrays and sends threads through the fused kernels."""

from collections.abc import Callable, Mapping

import numpy as np

from ...contract.errors import NerfError
from ...fields.contraction import contract
from ...fields.hash_grid import FastSettings
from ..backend import DEPTH_REACH, BatchStats, FastBackend, OccupancyUpdate, SurfaceProfile, SurfaceRays
from ..rays import RayArrays
from ..views import ViewArrays
from . import occupancy, render, train
from .march import Grid, Spacing, march_all
from .structures import (
    OUT,
    Batch,
    Field,
    check_settings,
    level_array,
    make_batch,
    make_scratch,
    weight_sizes,
)
from .surface_sampling import SurfaceSampling
from .workers import Workers, thread_count

WEIGHTS = ("density_0", "density_1", "color_0", "color_1")
NO_RAYS = np.zeros((0, 3), np.float32)
NO_LIMITS = np.zeros((0, 2), np.float32)
NO_VIEWS = ViewArrays(
    pixels=np.full((16, 4), 128, np.uint8),
    starts=np.array([0, 16], np.int64),
    widths=np.array([4], np.int64),
    cameras=np.array([[1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 2, 4, 4, 2, 2]], np.float32),
    kinds=np.zeros(1, np.int64),
    tables=np.zeros(1, np.int64),
    lens=np.zeros((1, 3), np.float32),
    depths=np.zeros(0, np.float32),
)
"""Stands in where kernels take views but look at none: one of 4 by 4 grey pixels."""


class CpuBackend(FastBackend):
    """Fused numba kernels; see `FastBackend`.

    Results depend on the seed alone, not on the number of threads.
    """

    name = "cpu"
    renders_pixels = True

    def __init__(self, settings: FastSettings, box: np.ndarray, seed: int, threads: int | None = None) -> None:
        super().__init__(settings, box, seed)
        reason = check_settings(settings)
        if reason:
            raise NerfError(f"The fast method cannot run on the CPU with these settings: {reason}.")
        self.workers = Workers(threads or thread_count())
        self._scratch = [make_scratch(self.layout) for _ in range(self.workers.threads)]
        self._batch: Batch | None = None
        self._views: ViewArrays | None = None
        self._random_background = False
        self._rows = np.diff(self.layout.offsets)

        sizes = weight_sizes(self.layout)
        self._weights = np.zeros(sum(sizes), np.float32)
        self._weight_state = np.zeros((3, sum(sizes)), np.float32)
        rows, features = self.layout.shapes["table"]
        self._table = np.zeros((rows, features), np.float32)
        self._table_state = np.zeros((3, rows * features), np.float32)
        self._load_parameters(self.layout.initial(seed))

        side = settings.occupancy_resolution
        self._values = np.zeros((side, side, side), np.float32)
        self._values[self.outside_cells()] = occupancy.OUTSIDE
        self._away = np.zeros((side, side, side), np.uint8)
        self._occupied = np.zeros((2, side**3 // 8), np.uint64)
        self._grid = Grid(self._away, self.box)
        self.surface = SurfaceSampling(self)

    # Parameters ------------------------------------------------------------------------------------------------

    def _matrices(self, flat: np.ndarray) -> list[np.ndarray]:
        """The four matrices inside a flat array of weights, the last one padded to 16 columns."""
        result, start = [], 0
        for name, size in zip(WEIGHTS, weight_sizes(self.layout), strict=True):
            inputs, outputs = self.layout.shapes[name]
            columns = OUT if name == "color_1" else outputs
            result.append(flat[start : start + size].reshape(inputs, columns))
            start += size
        return result

    def _fill(self, flat: np.ndarray, arrays: Mapping[str, np.ndarray], prefix: str) -> None:
        for name, matrix in zip(WEIGHTS, self._matrices(flat), strict=True):
            matrix[:, : self.layout.shapes[name][1]] = arrays[prefix + name]

    def _read(self, flat: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
        return {
            prefix + name: matrix[:, : self.layout.shapes[name][1]].copy()
            for name, matrix in zip(WEIGHTS, self._matrices(flat), strict=True)
        }

    def _load_parameters(self, arrays: Mapping[str, np.ndarray], prefix: str = "") -> None:
        self._table[:] = arrays[prefix + "table"]
        self._fill(self._weights, arrays, prefix)
        self._refresh_field()

    def _refresh_field(self) -> None:
        matrices = self._matrices(self._weights)
        transposes = [np.ascontiguousarray(matrix.T) for matrix in matrices]
        # Only the geometric features get a gradient: the harmonics' rows of the colour network's first matrix do not.
        transposes[2] = np.ascontiguousarray(matrices[2][:OUT].T)
        self._field = Field(self._table, level_array(self.layout), *matrices, *transposes)

    def _spacing(self, coarseness: float = 1.0) -> Spacing:
        """Where samples lie along rays, `coarseness` times as far apart as in rendering."""
        values = [coarseness * self.fine_step, 0.0, 0.0, 0.0, 0.0, 0.0]
        if self.unbounded:
            lattice = self.lattice(coarseness)
            values[1:] = [lattice.growth, lattice.near, lattice.far, lattice.turn, lattice.turn_index]
        return Spacing(*map(np.float32, values))

    # Training --------------------------------------------------------------------------------------------------

    def load_views(self, views: ViewArrays, random_background: bool) -> None:
        """Take the training pixels."""
        self._views = views
        self._random_background = random_background

    def drop_views(self) -> None:
        """Let go of the training pixels and the batch's buffers."""
        self._views = self._batch = None
        self.surface.forget()

    def gradients(self, rays: int, progress: float = 0.0) -> BatchStats:
        """Run the fused forward and backward pass of this step's batch without updating anything."""
        if self._views is None:
            raise RuntimeError("load_views comes before the first training step")
        if self._batch is None:
            self._batch = make_batch(self.layout)
        batch = self._batch
        with_depth = len(self._views.depths) > 0 and self.takes_depth
        options = np.array(
            [
                self.settings.weight_threshold,
                self.settings.transmittance_threshold,
                float(self._random_background),
                self.depth_weight(progress) if with_depth else 0.0,
                DEPTH_REACH,
                self.depth_growth,
            ]
        )
        self.workers.run(
            train.train_worker,
            self._scratch,
            self._field,
            self._grid,
            self._views,
            batch,
            rays,
            self.seed,
            self.step,
            self._spacing(self.coarseness()),
            options,
            place=3,
        )
        loss, error, count, samples, trained, cut, missed = batch.stats.sum(axis=0)
        return BatchStats(
            float(loss),
            error / (3.0 * count),
            int(count),
            int(samples),
            int(trained),
            int(cut),
            float(missed / count) if with_depth else None,
        )

    def train_step(self, progress: float) -> BatchStats:
        """One optimisation step."""
        by_surface = self.is_surface_step(progress)
        stats = self.surface.gradients() if by_surface else self.gradients(self.rays, progress)
        self._update(self.learning_rate(progress))
        update = self.occupancy_update()
        if update is not None:
            self.update_occupancy(update)
        self.step += 1
        if not by_surface:
            self.adapt_rays(stats)
        return stats

    def _update(self, rate: float) -> None:
        settings = self.settings
        parts = -(-self.workers.threads // self.layout.levels)
        self.workers.run(
            train.update_worker,
            None,
            self._field,
            self._batch,
            self._values,
            self.feeds_occupancy,
            self._spacing(),
            parts,
            self._rows,
            self._table_state,
            self._weights,
            self._weight_state,
            rate,
            np.array([settings.beta1, settings.beta2, settings.epsilon]),
            self.step + 1,
        )
        self._refresh_field()

    def update_occupancy(self, update: OccupancyUpdate) -> float:
        """Refresh part of the occupancy grid; gives the share of the box that is occupied."""
        self.workers.run(
            occupancy.refresh_worker,
            self._scratch,
            self._field,
            self._values,
            update.every,
            update.phase,
            self.seed,
            self.step,
            np.float32(update.decay),
            self._spacing(),
            place=1,
        )
        return self._set_cells()

    def _set_cells(self) -> float:
        occupied, other = self._occupied
        share = occupancy.threshold_cells(self._values, self.occupancy_limit, occupied.view(np.uint8))
        occupancy.spread_distance(self._away.reshape(-1).view(np.uint64), occupied, other, len(self._away))
        return float(share)

    @property
    def occupied(self) -> np.ndarray:
        """(G, G, G) bool, indexed z, y, x: the cells that rays look into."""
        return self._away == 0

    # Looking ---------------------------------------------------------------------------------------------------

    def render(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        evaluations: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Render rays; see `FastBackend`."""
        into = RayArrays.empty(len(origins))
        made = self._render(_rows3(origins), _rows3(directions), _limits(limits), NO_VIEWS, 0, into)
        if evaluations is not None:
            evaluations[:] = into.evaluations
        return into.rgba, into.depth, made

    def render_pixels(
        self, view: ViewArrays, first: int, count: int, into: RayArrays | None = None
    ) -> tuple[RayArrays, int]:
        """Render `count` pixels of a single view from number `first` on; its rays are made on the way."""
        into = into or RayArrays.empty(count)
        return into, self._render(NO_RAYS, NO_RAYS, NO_LIMITS, view, first, into)

    def _render(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray,
        view: ViewArrays,
        first: int,
        into: RayArrays,
    ) -> int:
        samples = np.zeros(1, np.int64)
        self.workers.run(
            render.render_worker,
            self._scratch,
            self._field,
            self._grid,
            origins,
            directions,
            limits,
            view,
            first,
            into.rgba,
            into.depth,
            samples,
            into.evaluations,
            self._spacing(),
            np.array([self.settings.weight_threshold, self.settings.transmittance_threshold]),
            place=2,
        )
        return int(samples[0])

    @property
    def renders_surface(self) -> bool:
        """In bounded scenes; see `FastBackend`."""
        return not self.unbounded

    @property
    def surface_is_ready(self) -> bool:
        """See `FastBackend`."""
        return self._views is None or self.surface.is_baked

    def render_surface(
        self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None, samples: int | None
    ) -> SurfaceRays:
        """Render rays by the shell; see `FastBackend`."""
        into = RayArrays.empty(len(origins))
        return self.surface.render(_rows3(origins), _rows3(directions), _limits(limits), NO_VIEWS, 0, samples, into)

    def render_surface_pixels(
        self, view: ViewArrays, first: int, count: int, samples: int | None, into: RayArrays | None = None
    ) -> SurfaceRays:
        """As `render_surface`, for pixels of a single view; see `render_pixels`."""
        into = into or RayArrays.empty(count)
        return self.surface.render(NO_RAYS, NO_RAYS, NO_LIMITS, view, first, samples, into)

    def profile_surface(self, origins: np.ndarray, directions: np.ndarray, samples: int | None) -> SurfaceProfile:
        """What the shell holds along rays; see `FastBackend`."""
        return self.surface.profile(_rows3(origins), _rows3(directions), NO_VIEWS, samples)

    def march(
        self, origins: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All lattice points of rays that lie in occupied cells; see `FastBackend`."""
        origins, directions = _rows3(origins), _rows3(directions)
        counts = np.zeros(len(origins), np.int64)
        needed = 64 * len(origins)
        while True:
            distances, intervals = np.zeros(needed, np.float32), np.zeros(needed, np.float32)
            total = march_all(
                origins, directions, self._scratch[0], self._spacing(), self._grid, counts, distances, intervals
            )
            if total <= needed:
                break
            needed = total
        distances, ray = distances[:total], np.repeat(np.arange(len(origins)), counts)
        positions = origins[ray] + distances[:, None] * directions[ray]
        if not self.unbounded:
            positions = positions.clip(0.0, 1.0)
        return counts, positions, distances, intervals[:total]

    def query(self, positions: np.ndarray, directions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Density and colour at positions; see `FastBackend`."""
        positions = _rows3(contract(positions) if self.unbounded else positions)
        density = np.zeros(len(positions), np.float32)
        color = np.zeros((len(positions) if directions is not None else 0, 3), np.float32)
        self.workers.run(
            render.query_worker,
            self._scratch,
            self._field,
            positions,
            _rows3(directions) if directions is not None else positions,
            directions is not None,
            density,
            color,
            place=1,
        )
        return density, color

    def warm_up(self, should_stop: Callable[[], bool] | None = None, everything: bool = False) -> None:
        """Compile every kernel, or find it compiled; those of the surface sampler with `everything`."""
        from .warm_up import compile_all

        compile_all(should_stop, everything)

    # State -----------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of everything that training changes."""
        # What goes on from here and what is continued from these arrays train by the same shell.
        result = {"occupancy/values": self._values.copy(), **self.surface.arrays()}
        for prefix, table, weights in (
            ("params/", self._table, self._weights),
            ("adam/first/", self._table_state[0].reshape(self._table.shape), self._weight_state[0]),
            ("adam/second/", self._table_state[1].reshape(self._table.shape), self._weight_state[1]),
        ):
            result[prefix + "table"] = table.copy()
            result.update(self._read(weights, prefix))
        return result

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over checked arrays."""
        self._load_parameters(arrays, "params/")
        for index, prefix in enumerate(("adam/first/", "adam/second/")):
            self._table_state[index] = np.asarray(arrays[prefix + "table"], np.float32).reshape(-1)
            self._fill(self._weight_state[index], arrays, prefix)
        self._values[:] = arrays["occupancy/values"]
        self._set_cells()
        self.surface.load_arrays(arrays)


def _limits(limits: np.ndarray | None) -> np.ndarray:
    return NO_LIMITS if limits is None else np.require(limits, np.float32, ["C", "W"]).reshape(-1, 2)


def _rows3(array: np.ndarray) -> np.ndarray:
    # Writeable, because numba would compile everything again for an array that is not.
    return np.require(array, np.float32, ["C", "W"]).reshape(-1, 3)
