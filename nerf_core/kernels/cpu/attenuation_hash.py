"""The attenuation field of hashed levels on the CPU: holds the numbers and sends threads through the kernels."""

from collections.abc import Callable

import numpy as np

from ...fields.attenuation import AttenuationSettings
from ..attenuation import BETAS, EPSILON, BatchStats
from ..attenuation_levels import BRICK, LevelsBackend
from .attenuation import NO_AFFINE, Rays, rows, run_once
from .attenuation_levels import sum_query_worker, sum_residual_worker, sum_worker
from .attenuation_levels_update import brick_worker, flat_adam_worker, sum_spread_worker
from .attenuation_march import RAYS
from .backend import NO_LIMITS
from .workers import Workers, thread_count

NO_GATES = np.zeros((0, 0), np.uint8)


class CpuHashAttenuation(LevelsBackend):
    """Numba kernels; see `AttenuationBackend`.

    Results depend on the seed alone, not on the number of threads: every row is summed by one thread, in one order.
    """

    name = "cpu"

    def __init__(
        self, settings: AttenuationSettings, weights: np.ndarray, seed: int, threads: int | None = None
    ) -> None:
        super().__init__(settings, weights, seed)
        self.workers = Workers(threads or thread_count())
        self._shape = np.array(self.shape, np.int64)
        self._numbers = np.zeros(self.layout.size, np.float32)
        self._next = self._numbers  # what the next step writes: never what is read meanwhile
        self._state: np.ndarray | None = None  # both moments and the gradient
        self._rays: Rays | None = None
        self._gates = NO_GATES

    @property
    def _samples(self) -> list[np.ndarray]:
        """Each thread's working memory: new ones, since what renders meanwhile has threads of its own."""
        return list(np.zeros((self.workers.threads, max(self.shape)), np.float32))

    @property
    def numbers(self) -> np.ndarray:
        """See `LevelsBackend`."""
        return self._numbers.copy()

    def set_numbers(self, numbers: np.ndarray) -> None:
        """See `LevelsBackend`."""
        self._numbers = np.array(numbers, np.float32)
        self._state = None

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """See `AttenuationBackend`."""
        first, second = self._training_state()[:2]
        return first.copy(), second.copy()

    def load_moments(self, first: np.ndarray, second: np.ndarray) -> None:
        """See `AttenuationBackend`."""
        state = self._training_state()
        state[0], state[1] = first, second

    def drop(self) -> None:
        """See `AttenuationBackend`."""
        super().drop()
        self._rays, self._gates = None, NO_GATES

    def _training_state(self) -> np.ndarray:
        if self._state is None:
            self._state = np.zeros((3, self.layout.size), np.float32)
            self._next = np.zeros(self.layout.size, np.float32)
        return self._state

    def _accumulate(self, chosen: np.ndarray, gradient: np.ndarray) -> tuple[BatchStats, Rays]:
        """Add the gradient of the whole loss, scaled up from these pixels to all, to a flat array."""
        data = self.radiographs
        if data is None:
            raise RuntimeError("load comes before the first training step")
        count = len(chosen)
        if self._rays is None or len(self._rays.slopes) != count:
            self._rays, self._gates = Rays(count), np.zeros((count, max(self.shape)), np.uint8)
        rays, levels = self._rays, self.layout.arrays
        stats = np.zeros((-(-count // RAYS), 3))
        self.workers.run(
            sum_residual_worker,
            self._samples,
            self._numbers,
            self._shape,
            levels,
            data.views,
            chosen,
            data.targets,
            data.frame,
            self.affine if len(self.affine) else NO_AFFINE,
            np.array(data.noise, np.float32),
            np.float32(len(data.chosen) / count),
            rays.origins,
            rays.directions,
            rays.spans,
            rays.view,
            rays.out,
            rays.slopes,
            self._gates,
            stats,
        )
        corners, weight = self.draw_bricks()
        sums, slopes = np.zeros((2, len(corners), *3 * [BRICK + 1]), np.float32)
        soft = np.float32(self.smoothing[1])
        self.workers.run(
            brick_worker,
            None,
            self._numbers,
            self._shape,
            levels,
            corners,
            self.weights,
            np.float32(weight),
            soft,
            sums,
            slopes,
        )
        self.workers.run(
            sum_spread_worker,
            None,
            gradient,
            self._shape,
            levels,
            rays.origins,
            rays.directions,
            rays.spans,
            rays.slopes,
            self._gates,
            corners,
            slopes,
        )
        loss, error, samples = stats.sum(axis=0)
        return BatchStats(loss / count, error / count / data.window**2, count, int(samples)), rays

    def train_step(self, progress: float) -> BatchStats:
        """See `AttenuationBackend`."""
        first, second, gradient = self._training_state()
        chosen = self.draw()
        stats, rays = self._accumulate(chosen, gradient)
        rate, betas, epsilon = float(self.learning_rate(progress)), np.array(BETAS), np.float32(EPSILON)
        self.workers.run(
            flat_adam_worker,
            None,
            self._numbers,
            self._next,
            first,
            second,
            gradient,
            rate,
            betas,
            epsilon,
            self.step + 1,
        )
        self._numbers, self._next = self._next, self._numbers
        if len(self.affine):
            assert self.radiographs is not None
            self.fit_views(rays.view, rays.out[:, 0], self.radiographs.targets[chosen])
        self.step += 1
        return stats

    def gradients(self, chosen: np.ndarray) -> tuple[np.ndarray, BatchStats]:
        """See `LevelsBackend`."""
        gradient = np.zeros(self.layout.size, np.float32)
        stats, _ = self._accumulate(np.ascontiguousarray(chosen, np.int64), gradient)
        return gradient, stats

    def integrate(self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
        """See `AttenuationBackend`."""
        out = np.zeros((len(origins), 3), np.float32)
        within = NO_LIMITS if limits is None else rows(limits, 2)
        levels, o, d = self.layout.arrays, rows(origins, 3), rows(directions, 3)
        self.workers.run(sum_worker, self._samples, self._numbers, self._shape, levels, o, d, within, out, NO_GATES)
        return out

    def query(self, positions: np.ndarray) -> np.ndarray:
        """See `AttenuationBackend`."""
        out = np.zeros(len(positions), np.float32)
        self.workers.run(sum_query_worker, None, self._numbers, self.layout.arrays, rows(positions, 3), out)
        return out

    def warm_up(self, should_stop: Callable[[], bool] | None = None) -> None:
        """See `AttenuationBackend`: on a few nodes, so that nothing of this field changes."""
        settings = AttenuationSettings(shape=(4, 4, 4), grid="hash", levels=1, rays_per_step=16)
        run_once(CpuHashAttenuation(settings, np.ones(3), 0, threads=1), should_stop)
