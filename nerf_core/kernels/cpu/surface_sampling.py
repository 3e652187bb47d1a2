"""The surface sampler on the CPU: keeps a shell of the field, renders by it, and trains with it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...contract.errors import CheckpointError
from ...fields.shell import (
    BRICK,
    CELLS,
    DEFAULT_SAMPLES,
    EMPTY_BELOW,
    MAX_SAMPLES,
    MERGED_BELOW,
    OPAQUE_BELOW,
    Shell,
    brick_numbers,
    make_shell,
)
from ..backend import BatchStats, SurfaceProfile, SurfaceRays
from ..rays import RayArrays
from ..views import ViewArrays
from . import occupancy, surface, surface_train
from .encoding import halved
from .shell import CROSSED, ShellGrid, make_walk
from .structures import CHUNK_ROWS, CHUNKS, Field, make_batch

if TYPE_CHECKING:
    from .backend import CpuBackend

TRAINED_SAMPLES = (1, 1, 2, 4)
"""Samples a ray of a training step, one of these at random: one field serves all budgets."""
RAYS = 8192
"""Rays of such a step: with 8 samples on every ray no chunk can be full."""
REBAKED_EVERY = 256
"""Training steps that a shell serves."""
SHARE = 1.0
"""How much of what the shell's cells should change is passed on to the field's density; see `surface_train`."""

assert RAYS // CHUNKS * max(TRAINED_SAMPLES) <= CHUNK_ROWS  # noqa: S101 - of constants


class SurfaceSampling:
    """A backend's field as a shell with a few samples a ray.

    Parameters
    ----------
    backend : CpuBackend
        Of a bounded scene.
    """

    def __init__(self, backend: "CpuBackend") -> None:
        self.backend = backend
        self._memory = [(scratch, make_walk()) for scratch in backend._scratch]
        self._grid: ShellGrid | None = None
        self._step = -1
        self._seen: tuple[int, ShellGrid] | None = None
        self._light: tuple[int, Field] | None = None

    # The shell -------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """The field has changed: the next question bakes it anew."""
        self._grid = self._seen = self._light = None

    @property
    def is_baked(self) -> bool:
        """Whether there is a shell, perhaps some steps old."""
        return self._grid is not None

    def grid(self, oldest: int = 0) -> ShellGrid:
        """The shell, baked at most `oldest` training steps ago."""
        if self._grid is None or not 0 <= self.backend.step - self._step <= oldest:
            self._grid, self._step = self._bake(), self.backend.step
        return self._grid

    def _seen_grid(self) -> ShellGrid:
        """The shell for pictures: of the field as it is, or, in the midst of training, one that is some steps old.

        Never baked in the training's place: who looks must not change what is learnt.
        """
        if self.backend._views is None:
            return self.grid()
        if self._grid is not None:
            return self._grid
        if self._seen is None or self.backend.step - self._seen[0] > REBAKED_EVERY:
            self._seen = self.backend.step, self._bake()
        return self._seen[1]

    def _light_field(self) -> Field:
        """The field as it is, with a table of half the size: colours of few samples mostly wait for its rows."""
        backend = self.backend
        if self._light is None or self._light[0] != backend.step:
            self._light = backend.step, backend._field._replace(table=halved(backend._table))
        return self._light[1]

    def arrays(self) -> dict[str, np.ndarray]:
        """The shell that training goes on with, for a checkpoint: nothing where it would be baked next anyway."""
        if self._grid is None or self.backend._views is None or self.backend.settings.sampler != "surface":
            return {}
        grid = self._grid
        return {
            "surface/cells": np.flatnonzero(grid.bricks.reshape(-1) >= 0).astype(np.int32),
            "surface/codes": grid.codes.copy(),
            "surface/levels": grid.levels.copy(),
            "surface/baked": np.array([self._step], np.int64),
        }

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`arrays` gave, or forget the shell where there is none.

        Raises
        ------
        CheckpointError
            When these are no shell of this grid.
        """
        self.forget()
        if not any(name.startswith("surface/") for name in arrays):
            return
        side = self.backend.settings.occupancy_resolution
        cells, codes = arrays.get("surface/cells"), arrays.get("surface/codes")
        levels, baked = arrays.get("surface/levels"), arrays.get("surface/baked")
        if (
            cells is None
            or (cells.dtype, cells.ndim) != (np.int32, 1)
            or (len(cells) and (cells[0] < 0 or cells[-1] >= side**3 or not (np.diff(cells) > 0).all()))
            or codes is None
            or (codes.dtype, codes.shape) != (np.uint8, (max(len(cells), 1), CELLS))
            or levels is None
            or (levels.dtype, levels.shape) != (np.float32, (256,))
            or not (np.isfinite(levels).all() and (levels >= 0.0).all())
            or baked is None
            or (baked.dtype, baked.shape) != (np.int64, (1,))
        ):
            raise CheckpointError(
                f"The checkpoint's arrays 'surface/...' are no shell of {side} cells along a side; "
                "the file does not belong to this run."
            )
        bricks = np.full(side**3, -1, np.int32)
        bricks[cells] = np.arange(len(cells), dtype=np.int32)
        shell = Shell(bricks.reshape(side, side, side), np.ascontiguousarray(codes), np.ascontiguousarray(levels))
        self._grid, self._step = self._walkable(shell), int(baked[0])

    def _bake(self) -> ShellGrid:
        backend = self.backend
        side = backend.settings.occupancy_resolution
        numbers = brick_numbers(backend.occupied)
        density = np.zeros((len(numbers), CELLS), np.float32)
        if len(numbers):
            backend.workers.run(surface.bake_worker, backend._scratch, backend._field, side, numbers, density, place=1)
        return self._walkable(make_shell(side, numbers, density, EMPTY_BELOW / backend.fine_step))

    def _walkable(self, shell: Shell) -> ShellGrid:
        side = self.backend.settings.occupancy_resolution
        away = np.zeros((side, side, side), np.uint8)
        occupied = np.zeros((2, side**3 // 8), np.uint64)
        occupied[0].view(np.uint8)[:] = shell.bricks.reshape(-1) >= 0
        occupancy.spread_distance(away.reshape(-1).view(np.uint64), occupied[0], occupied[1], side)
        return ShellGrid(away, shell.bricks, shell.codes, shell.levels, self.backend.box)

    def _options(self, samples: int, *more: float) -> np.ndarray:
        backend = self.backend
        settings = backend.settings
        cell = 1.0 / (settings.occupancy_resolution * BRICK)
        return np.array([samples, OPAQUE_BELOW, MERGED_BELOW * cell**2, *more])

    # Looking ---------------------------------------------------------------------------------------------------

    def render(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray,
        view: ViewArrays,
        first: int,
        samples: int | None,
        into: RayArrays,
    ) -> SurfaceRays:
        """Render rays that are given, or else `view`'s pixels from number `first` on; see `surface.surface_worker`."""
        looked = np.zeros(1, np.int64)
        self.backend.workers.run(
            surface.surface_worker,
            self._memory,
            self._light_field(),
            self._seen_grid(),
            origins,
            directions,
            limits,
            view,
            first,
            into.rgba,
            into.depth,
            into.evaluations,
            looked,
            self._options(samples or DEFAULT_SAMPLES),
            place=2,
        )
        return SurfaceRays(*into, int(looked[0]))

    def profile(
        self, origins: np.ndarray, directions: np.ndarray, view: ViewArrays, samples: int | None
    ) -> SurfaceProfile:
        """What rays cross, and where their samples lie; `view` is not looked at."""
        rays = len(origins)
        counts, groups = np.zeros(rays, np.int32), np.zeros((rays, 2), np.int32)
        cells = np.zeros((rays, CROSSED, 3), np.float32)
        places = np.zeros((rays, MAX_SAMPLES, 3), np.float32)
        limits = np.zeros((0, 2), np.float32)
        options = self._options(samples or DEFAULT_SAMPLES)
        grid = self._seen_grid()
        if rays:
            surface.profile_rays(
                *self._memory[0], grid, origins, directions, limits, view, options, counts, groups, cells, places
            )
        return SurfaceProfile(counts, cells, groups[:, 0], places, groups[:, 1])

    # Training --------------------------------------------------------------------------------------------------

    def samples_of(self, step: int) -> int:
        """Samples a ray of a training step."""
        return TRAINED_SAMPLES[np.random.default_rng((self.backend.seed, step)).integers(len(TRAINED_SAMPLES))]

    def gradients(self, rays: int = RAYS, samples: int | None = None) -> BatchStats:
        """Run the forward and backward pass of this step's batch without updating anything."""
        backend = self.backend
        if backend._views is None:
            raise RuntimeError("load_views comes before the first training step")
        if backend._batch is None:
            backend._batch = make_batch(backend.layout)
        backend.workers.run(
            surface_train.surface_train_worker,
            self._memory,
            backend._field,
            self.grid(REBAKED_EVERY),
            backend._views,
            backend._batch,
            rays,
            backend.seed,
            backend.step,
            self._options(
                min(samples or self.samples_of(backend.step), max(TRAINED_SAMPLES)),
                float(backend._random_background),
                SHARE,
            ),
            place=3,
        )
        loss, error, count, made, trained, _, _ = backend._batch.stats.sum(axis=0)
        return BatchStats(float(loss), error / (3.0 * count), int(count), int(made), int(trained), 0)
