"""What radiographs add to a volume: a residual on grids of several resolutions under total variation.

The residual is ``deviation * sum_l weight_l upsampled(z_l)``: numbers z of unit variance on grids from coarse to fine,
so that it moves where the volume is unsure, in large pieces first. The whole volume, never negative, then minimises
``|A mu - p|^2 / 2 noise^2 + |z|^2 / 2 + weight TV(residual)`` (L-BFGS; Byrd et al. 1995). `mean_plus_optimisation`, the
peer, has the voxels themselves as unknowns, starts at the population's mean, and has total variation alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..contract.errors import Cancelled
from .ray_matrix import RayMatrix
from .total_variation import total_variation

SMOOTHING = 0.005  # of water's attenuation: differences below count by their square in total variation
WATER = 20.6  # 1 / m


@dataclass(frozen=True)
class ResidualSettings:
    """How a residual is found.

    Attributes
    ----------
    noise : float
        Standard deviation of a line integral.
    tv : float
        Weight of total variation, 1 / (1 / m) for a voxel: with differences in units of 1 / m.
    about_start : bool
        Of `optimise_voxels`: whether total variation is that of the difference from the start, not of the volume.
    confidence : float
        The deviation that is given times this.
    levels : sequence of (int, float)
        Factor between the grid's voxels and a level's, and the level's share of the residual's variance.
    steps : int
        Of L-BFGS, at most.
    """

    noise: float = 0.5
    tv: float = 0.0
    about_start: bool = False
    confidence: float = 1.0
    levels: tuple[tuple[int, float], ...] = ((8, 0.25), (4, 0.25), (2, 0.25), (1, 0.25))
    steps: int = 40


def add_residual(
    mu: np.ndarray,
    deviation: np.ndarray,
    rays: RayMatrix,
    line_integrals: np.ndarray,
    settings: ResidualSettings,
    unit: float = 1.0,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> np.ndarray:
    """A volume with its residual.

    Parameters
    ----------
    mu, deviation : (X, Y, Z) float32
        What is believed, and how unsure it is; 1 / world unit.
    rays : RayMatrix
    line_integrals : (rays,) float32
    settings : ResidualSettings
    unit : float
        Metres a world unit.

    Returns
    -------
    (X, Y, Z) float32

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    scale = (deviation * settings.confidence).astype(np.float32)
    levels = [_Level(mu.shape, factor, np.sqrt(share)) for factor, share in settings.levels]
    ends = np.cumsum([level.size for level in levels])
    per_metre = np.float32(1.0 / unit)

    def residual(z: np.ndarray) -> np.ndarray:
        parts = np.split(z.astype(np.float32), ends[:-1])
        return scale * sum(level.up(part) for level, part in zip(levels, parts, strict=True))

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        moved = residual(z)
        volume = mu + moved
        kept = volume > 0
        lack = rays.project(np.where(kept, volume, 0)) - line_integrals
        value = float(np.square(lack, dtype=np.float64).sum()) / (2 * settings.noise**2) + float(z @ z) / 2
        gradient = rays.backproject(lack / settings.noise**2) * kept
        if settings.tv > 0:
            tv, slope = total_variation(moved * per_metre, np.float32(SMOOTHING * WATER))
            value += settings.tv * tv
            gradient += settings.tv * per_metre * slope
        gradient = gradient * scale
        return value, z + np.concatenate([level.down(gradient) for level in levels]).astype(np.float64)

    z = _minimise(objective, np.zeros(ends[-1]), settings.steps, None, progress, should_stop)
    return np.maximum(mu + residual(z), 0)


def optimise_voxels(
    start: np.ndarray,
    rays: RayMatrix,
    line_integrals: np.ndarray,
    settings: ResidualSettings,
    unit: float = 1.0,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_step: Callable[[int, np.ndarray], None] | None = None,
) -> np.ndarray:
    """Voxels, never negative, from a start to what the line integrals and the total variation want.

    Parameters and errors as those of :func:`add_residual`; `settings.confidence` and `levels` are not used. `on_step`
    is given each step's number, from 1, and volume.
    """
    shape = start.shape
    per_metre = np.float32(1.0 / unit)
    water = WATER * unit

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        volume = (x.reshape(shape) * water).astype(np.float32)
        lack = rays.project(volume) - line_integrals
        value = float(np.square(lack, dtype=np.float64).sum()) / (2 * settings.noise**2)
        gradient = rays.backproject(lack / settings.noise**2)
        if settings.tv > 0:
            varied = volume - start if settings.about_start else volume
            tv, slope = total_variation(varied * per_metre, np.float32(SMOOTHING * WATER))
            value += settings.tv * tv
            gradient += settings.tv * per_metre * slope
        return value, gradient.reshape(-1).astype(np.float64) * water

    def told(step: int, x: np.ndarray) -> None:
        if on_step is not None:
            on_step(step, (x.reshape(shape) * water).astype(np.float32))

    begin = np.maximum(start.reshape(-1) / water, 0).astype(np.float64)
    x = _minimise(objective, begin, settings.steps, 0.0, progress, should_stop, told)
    return (x.reshape(shape) * water).astype(np.float32)


class _Level:
    """A coarser grid, trilinear between its points, and the adjoint of that."""

    def __init__(self, shape: Sequence[int], factor: int, weight: float) -> None:
        self.points = [max(2, round((n - 1) / factor) + 1) for n in shape] if factor > 1 else list(shape)
        self.size = int(np.prod(self.points))
        self.weight = np.float32(weight)
        self.axes = [_hats(n, points) for n, points in zip(shape, self.points, strict=True)] if factor > 1 else None

    def up(self, z: np.ndarray) -> np.ndarray:
        values = z.reshape(self.points) * self.weight
        return values if self.axes is None else _along(values, self.axes)

    def down(self, volume: np.ndarray) -> np.ndarray:
        values = volume if self.axes is None else _along(volume, [axis.T for axis in self.axes])
        return values.reshape(-1) * self.weight


def _hats(count: int, points: int) -> np.ndarray:
    """(count, points) weights; rows scaled so that unit variances stay unit variances on the mean."""
    place = np.linspace(0, points - 1, count)
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(points)))
    return (weights / np.sqrt(np.square(weights).sum(axis=1, keepdims=True))).astype(np.float32)


def _along(values: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    for axis, matrix in enumerate(matrices):
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values)


def _minimise(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    steps: int,
    lowest: float | None,
    progress: Callable[[float], None] | None,
    should_stop: Callable[[], bool] | None,
    on_step: Callable[[int, np.ndarray], None] | None = None,
) -> np.ndarray:
    from scipy.optimize import Bounds, minimize

    taken = 0

    def told(x: np.ndarray) -> None:
        nonlocal taken
        taken += 1
        if on_step is not None:
            on_step(taken, x)
        if progress is not None:
            progress(min(1.0, taken / steps))
        if should_stop is not None and should_stop():
            raise Cancelled

    bounds = None if lowest is None else Bounds(np.full(len(start), lowest), np.full(len(start), np.inf))
    options = {"maxiter": steps, "maxfun": 2 * steps + 10, "maxcor": 8}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options, callback=told)
    return found.x
