"""From radiographs to the coefficients of a prior: the most probable volume of the model, and how sure it is.

Levenberg-Marquardt (Marquardt 1963) on ``|A mu(theta) - p|^2 / noise^2 + |theta|^2``, from a blurred template and
blurred radiographs to sharp ones. theta holds the prior's coefficients, each N(0, 1), and the global alignment: shift,
scale and turn, each over its standard deviation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ..contract.errors import Cancelled
from .prior import Prior
from .ray_matrix import RayMatrix
from .warp import upsampled, warp_channels

BLURS = ((2.0, 5), (1.0, 5), (0.0, 8))  # voxels, and steps
ELSEWHERE = ((4.0, 6), *BLURS)  # of what may lie elsewhere; under the first the global alignment moves alone
SHIFT, SCALE, TURN = 0.01, 0.03, 0.03  # standard deviations of the global alignment: metres, shares, radian
SETTLED = 1e-4  # of the objective: a smaller share gained ends a blur


@dataclass(frozen=True)
class Fit:
    """A volume of the model.

    Attributes
    ----------
    mu : (X, Y, Z) float32
        1 / world unit.
    coefficients : (D + M + 9,) float64
        Of shape, of appearance, and of the alignment (shift x y z, scale x y z, turn about x y z), in their standard
        deviations.
    deviation : (X, Y, Z) float32
        How unsure each voxel is, 1 / world unit: of the coefficients given the radiographs, and of what no
        coefficients can give.
    error : float
        Root mean square of what the projections lack.
    """

    mu: np.ndarray
    coefficients: np.ndarray
    deviation: np.ndarray
    error: float


class Model:
    """A prior's volumes by their coefficients, in one world.

    Parameters
    ----------
    prior : Prior
    meters_per_unit : float
        Of the world that attenuation is asked for.
    alignment : float
        The global alignment's standard deviations times this; 0 holds it fast.
    """

    def __init__(self, prior: Prior, meters_per_unit: float = 1.0, alignment: float = 1.0) -> None:
        self.prior, self.alignment = prior, alignment
        self.unit = np.float32(meters_per_unit)
        fields = [upsampled(mode, prior.shape) for mode in prior.displacement]
        self.fields = np.stack([*fields, *_alignment(prior, alignment)])
        self.shapes, self.appearances = len(fields), len(prior.appearance)
        self.size = self.shapes + self.appearances + 9
        self._channels: dict[float, np.ndarray] = {}

    def _sources(self, blur: float) -> np.ndarray:
        """(X, Y, Z, 2 + M): room for the mixed template, then the template and its modes, blurred."""
        if blur not in self._channels:
            prior = self.prior
            volumes = [prior.template, prior.template, *prior.appearance]
            if blur > 0:
                volumes = [gaussian_filter(volume, blur, mode="nearest") for volume in volumes]
            self._channels[blur] = np.ascontiguousarray(np.stack(volumes, axis=-1) * self.unit)
        return self._channels[blur]

    def displacement(self, theta: np.ndarray) -> np.ndarray:
        """(3, X, Y, Z) float32 voxels."""
        b = np.concatenate([theta[: self.shapes], theta[self.shapes + self.appearances :]]).astype(np.float32)
        return np.ascontiguousarray(np.tensordot(b, self.fields, axes=1))

    def volume(self, theta: np.ndarray, blur: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The volume, its derivative by place (3, X, Y, Z), and the appearance modes where they came to lie."""
        sources = self._sources(blur)
        c = theta[self.shapes : self.shapes + self.appearances].astype(np.float32)
        sources[..., 0] = sources[..., 1] + sources[..., 2:] @ c
        values, gradient = warp_channels(sources, self.displacement(theta))
        kept = values[..., 0] > 0
        return np.where(kept, values[..., 0], 0), gradient * kept, values[..., 2:] * kept[..., None]

    def derivative(self, gradient: np.ndarray, modes: np.ndarray) -> np.ndarray:
        """(X * Y * Z, size) float32: of the volume by the coefficients."""
        count = gradient[0].size
        moved = np.einsum("axyz,kaxyz->xyzk", gradient, self.fields, optimize=True).reshape(count, -1)
        return np.concatenate([moved[:, : self.shapes], modes.reshape(count, -1), moved[:, self.shapes :]], axis=1)

    def carried(self, volume: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """A volume of the template's places where the coefficients put it."""
        return warp_channels(np.ascontiguousarray(volume[..., None]), self.displacement(theta))[0][..., 0]


def fit_prior(
    model: Model,
    rays: RayMatrix,
    line_integrals: np.ndarray,
    noise: float,
    pixels_per_voxel: float = 1.0,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    blurs: Sequence[tuple[float, int]] = BLURS,
) -> Fit:
    """The most probable volume of a model given line integrals.

    Parameters
    ----------
    model : Model
    rays : RayMatrix
        Through the model's grid, in its world.
    line_integrals : (rays,) float32
    noise : float
        Standard deviation of a line integral: measured noise, and what the model cannot explain.
    pixels_per_voxel : float
        Pixels of a radiograph that a voxel's width covers there: how much wider the radiographs are blurred.
    blurs : sequence of (float, int)
        Standard deviations in voxels, and steps; of more than `BLURS` the first moves the global alignment alone.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    active = np.ones(model.size)
    if model.alignment == 0:
        active[-9:] = 0
    theta = np.zeros(model.size)
    done, total = 0, sum(steps for _, steps in blurs)
    damping = 1e-2
    for index, (blur, steps) in enumerate(blurs):
        moving = active.copy()
        if index == 0 and len(blurs) > len(BLURS):
            moving[:-9] = 0
        wanted = _blurred(line_integrals, rays.sizes, blur * pixels_per_voxel)
        mu, gradient, modes = model.volume(theta, blur)
        lack = wanted - rays.project(mu)
        value = _objective(lack, theta, noise)
        for step in range(steps):
            if should_stop is not None and should_stop():
                raise Cancelled
            if progress is not None:
                progress((done + step) / total)
            jacobian = (rays.matrix @ model.derivative(gradient, modes)).astype(np.float64) * (moving / noise)
            normal = jacobian.T @ jacobian
            downhill = jacobian.T @ (lack.astype(np.float64) / noise) - theta
            before = value
            for _ in range(6):
                move = np.linalg.solve(normal + np.diag(1.0 + damping * np.diag(normal)), downhill) * moving
                tried = model.volume(theta + move, blur)
                tried_lack = wanted - rays.project(tried[0])
                tried_value = _objective(tried_lack, theta + move, noise)
                if tried_value < value:
                    theta, (mu, gradient, modes), lack, value = theta + move, tried, tried_lack, tried_value
                    damping = max(damping * 0.2, 1e-6)
                    break
                damping *= 6.0
            else:
                break
            if before - value < SETTLED * before:
                break
        done += steps
    mu, gradient, modes = model.volume(theta)
    lack = line_integrals - rays.project(mu)
    derivative = model.derivative(gradient, modes) * active.astype(np.float32)
    jacobian = (rays.matrix @ derivative).astype(np.float64) / noise
    covariance = np.linalg.inv(jacobian.T @ jacobian + np.eye(model.size))
    root = np.linalg.cholesky(covariance).astype(np.float32)
    unsure = np.square(derivative @ root).sum(axis=1).reshape(model.prior.shape)
    left = model.carried(model.prior.deviation, theta) * model.unit
    return Fit(mu, theta, np.sqrt(unsure + left**2), float(np.sqrt(np.mean(np.square(lack)))))


def _objective(lack: np.ndarray, theta: np.ndarray, noise: float) -> float:
    return float(np.square(lack, dtype=np.float64).sum() / noise**2 + theta @ theta)


def _blurred(values: np.ndarray, sizes: Sequence[tuple[int, int]], sigma: float) -> np.ndarray:
    if sigma <= 0:
        return values
    ends = np.cumsum([height * width for height, width in sizes])[:-1]
    parts = [part.reshape(size) for part, size in zip(np.split(values, ends), sizes, strict=True)]
    return np.concatenate([gaussian_filter(part, sigma, mode="nearest").reshape(-1) for part in parts])


def _alignment(prior: Prior, strength: float) -> list[np.ndarray]:
    """Nine fields in voxels: shift, scale, turn, each of one standard deviation."""
    shape, spacing = prior.shape, prior.spacing
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, spacing, strict=True)]
    place = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    fields = []
    for axis in range(3):
        field = np.zeros_like(place)
        field[axis] = SHIFT
        fields.append(field)
    for axis in range(3):
        field = np.zeros_like(place)
        field[axis] = SCALE * place[axis]
        fields.append(field)
    for axis in range(3):
        field = np.zeros_like(place)
        one, other = (axis + 1) % 3, (axis + 2) % 3
        field[one], field[other] = -TURN * place[other], TURN * place[one]
        fields.append(field)
    return [field * strength / spacing.astype(np.float32)[:, None, None, None] for field in fields]
