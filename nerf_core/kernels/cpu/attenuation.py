"""The attenuation field on the CPU: holds the grid and sends threads through the kernels."""

from collections.abc import Callable

import numpy as np

from ...contract.errors import Cancelled
from ...fields.attenuation import AttenuationSettings
from ..attenuation import BETAS, EPSILON, AttenuationBackend, BatchStats, Noise, Radiographs
from .attenuation_march import RAYS, integrate_worker, query_worker, residual_worker, spread_worker
from .attenuation_update import adam_worker, slope_worker
from .backend import NO_LIMITS, NO_VIEWS
from .workers import Workers, thread_count

NO_AFFINE = np.zeros((0, 2), np.float32)
THINNEST = 8
"""Layers of nodes a task of gradients: those at its edges are visited twice."""


class CpuAttenuation(AttenuationBackend):
    """Numba kernels; see `AttenuationBackend`.

    Results depend on the seed alone, not on the number of threads: every node is summed by one thread, in the rays'
    order.
    """

    name = "cpu"

    def __init__(
        self, settings: AttenuationSettings, weights: np.ndarray, seed: int, threads: int | None = None
    ) -> None:
        super().__init__(settings, weights, seed)
        self.workers = Workers(threads or thread_count())
        self._size = int(np.prod(self.shape))
        self._shape = np.array(self.shape, np.int64)
        self._values = np.zeros(self._size, np.float32)
        self._next = self._values  # what the next step writes: never what is read meanwhile
        self._state: np.ndarray | None = None  # both moments, the gradient, and what total variation remembers
        self._rays: Rays | None = None

    def set_values(self, values: np.ndarray) -> None:
        """See `AttenuationBackend`."""
        self._values = np.ascontiguousarray(values, np.float32).reshape(-1).copy()
        self._state = None

    @property
    def values(self) -> np.ndarray:
        """See `AttenuationBackend`."""
        return self._values.reshape(self.shape).copy()

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """See `AttenuationBackend`."""
        first, second = self._training_state()[:2]
        return first.reshape(self.shape).copy(), second.reshape(self.shape).copy()

    def load_moments(self, first: np.ndarray, second: np.ndarray) -> None:
        """See `AttenuationBackend`."""
        state = self._training_state()
        state[0], state[1] = np.asarray(first, np.float32).reshape(-1), np.asarray(second, np.float32).reshape(-1)

    def drop(self) -> None:
        """See `AttenuationBackend`."""
        super().drop()
        self._rays = None

    def _training_state(self) -> np.ndarray:
        if self._state is None:
            self._state = np.zeros((4, self._size), np.float32)
            self._next = np.zeros(self._size, np.float32)
        return self._state

    def _accumulate(self, chosen: np.ndarray, gradient: np.ndarray) -> tuple[BatchStats, "Rays"]:
        """Add the data's gradient, scaled up from these pixels to all, to a flat array."""
        data = self.radiographs
        if data is None:
            raise RuntimeError("load comes before the first training step")
        count = len(chosen)
        if self._rays is None or len(self._rays.slopes) != count:
            self._rays = Rays(count)
        rays = self._rays
        stats = np.zeros((-(-count // RAYS), 3))
        self.workers.run(
            residual_worker,
            None,
            self._values,
            self._shape,
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
            stats,
        )
        slab = max(THINNEST, -(-self.shape[2] // (4 * self.workers.threads)))
        self.workers.run(
            spread_worker,
            None,
            gradient,
            self._shape,
            rays.origins,
            rays.directions,
            rays.spans,
            rays.slopes,
            np.int64(slab),
        )
        loss, error, samples = stats.sum(axis=0)
        return BatchStats(loss / count, error / count / data.window**2, count, int(samples)), rays

    def train_step(self, progress: float) -> BatchStats:
        """See `AttenuationBackend`."""
        first, second, gradient, slopes = self._training_state()
        chosen = self.draw()
        stats, rays = self._accumulate(chosen, gradient)
        self._smoothed(slopes, gradient, first, second, self._next, self.learning_rate(progress))
        self._values, self._next = self._next, self._values
        if len(self.affine):
            assert self.radiographs is not None
            self.fit_views(rays.view, rays.out[:, 0], self.radiographs.targets[chosen])
        self.step += 1
        return stats

    def _smoothed(
        self,
        slopes: np.ndarray,
        gradient: np.ndarray,
        first: np.ndarray,
        second: np.ndarray,
        updated: np.ndarray,
        rate: float,
    ) -> None:
        weight, soft = self.smoothing
        self.workers.run(slope_worker, None, self._values, self._shape, self.weights, np.float32(soft), slopes)
        self.workers.run(
            adam_worker,
            None,
            self._values,
            updated,
            first,
            second,
            gradient,
            slopes,
            self._shape,
            self.weights,
            np.float32(weight),
            float(rate),
            np.array(BETAS),
            np.float32(EPSILON),
            self.step + 1,
        )

    def gradients(self, chosen: np.ndarray) -> tuple[np.ndarray, BatchStats]:
        """See `AttenuationBackend`."""
        gradient = np.zeros(self._size, np.float32)
        stats, _ = self._accumulate(np.ascontiguousarray(chosen, np.int64), gradient)
        # Adam's first moment of a fresh state is (1 - beta1) times the gradient.
        first, second, slopes, updated = np.zeros((4, self._size), np.float32)
        self._smoothed(slopes, gradient, first, second, updated, 0.0)
        return (first / np.float32(1.0 - BETAS[0])).reshape(self.shape), stats

    def integrate(self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
        """See `AttenuationBackend`."""
        out = np.zeros((len(origins), 3), np.float32)
        within = NO_LIMITS if limits is None else rows(limits, 2)
        self.workers.run(
            integrate_worker,
            None,
            self._values,
            self._shape,
            rows(origins, 3),
            rows(directions, 3),
            within,
            out,
        )
        return out

    def query(self, positions: np.ndarray) -> np.ndarray:
        """See `AttenuationBackend`."""
        out = np.zeros(len(positions), np.float32)
        self.workers.run(query_worker, None, self._values, self._shape, rows(positions, 3), out)
        return out

    def warm_up(self, should_stop: Callable[[], bool] | None = None) -> None:
        """See `AttenuationBackend`: on a grid of two nodes a side, so that nothing of this one changes."""
        settings = AttenuationSettings(shape=(2, 2, 2), rays_per_step=16)
        run_once(CpuAttenuation(settings, np.ones(3), 0, threads=1), should_stop)


def run_once(tiny: AttenuationBackend, should_stop: Callable[[], bool] | None) -> None:
    """Train and ask a field of a few nodes once, which compiles its kernels or finds them compiled.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    side = tiny.shape[0]
    one, pixels, noise = np.ones(3, np.float32), np.arange(16), Noise(0.0, 0.0, 1.0)
    targets = np.ones(16, np.float32)
    tiny.load(Radiographs(NO_VIEWS, pixels, targets, side * one, -0.5 * one, 1.0 / side, noise, 1.0, 1.0, False))
    parts: list[Callable[[], object]] = [
        lambda: tiny.train_step(0.0),
        lambda: tiny.integrate(one[None], one[None]),
        lambda: tiny.query(one[None]),
    ]
    for part in parts:
        part()
        if should_stop is not None and should_stop():
            raise Cancelled


class Rays:
    """Working memory of a batch."""

    def __init__(self, count: int) -> None:
        self.origins, self.directions = np.zeros((2, count, 3), np.float32)
        self.out = np.zeros((count, 3), np.float32)
        self.spans = np.zeros((count, 4), np.float32)
        self.slopes = np.zeros(count, np.float32)
        self.view = np.zeros(count, np.int64)


def rows(array: np.ndarray, columns: int) -> np.ndarray:
    """An array as kernels take it, (N, columns) float32."""
    # Writeable, because numba would compile everything again for an array that is not.
    return np.require(array, np.float32, ["C", "W"]).reshape(-1, columns)
