"""Volumes from one radiograph, or two, or more, by what a prior knows; and the peer without modes beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import DataError
from .grid import Grid
from .prior import Prior
from .prior_fit import BLURS, ELSEWHERE, Fit, Model, fit_prior
from .ray_matrix import RayMatrix
from .residual import ResidualSettings, add_residual, optimise_voxels

SURPRISING = 1.5  # times the expected error
STRANGE_NOISE = 2.0  # times the surprise: how much wider the noise of the coefficients is taken then
MIRRORED_PRIOR = "mirrored"  # of a prior's facts: whether its population held left and right ones


@dataclass(frozen=True)
class ReconstructSettings:
    """How a volume is found from few views; the defaults were chosen on held-out phantoms.

    Attributes
    ----------
    fit_noise : float
        Standard deviation of a line integral when the coefficients are found: far above the measured noise, as
        neighbouring pixels lack the same.
    alignment : float
        How freely the whole may shift, scale and turn beside the modes (`prior_fit.Model`).
    residual : ResidualSettings or None
        None leaves the volume of the modes as it is.
    expected_error : float or None
        Root mean square that the modes' projections lack of a volume of their kind. Where it is exceeded by far, the
        body is of another kind or lies elsewhere: coefficients are held nearer to the mean, the global alignment is
        free, and the voxels are then as free as those of the peer.
    """

    fit_noise: float = 0.7
    alignment: float = 0.3
    residual: ResidualSettings | None = ResidualSettings()
    expected_error: float | None = None


@dataclass(frozen=True)
class Reconstruction:
    """A volume that was found.

    Attributes
    ----------
    grid : Grid
        World space of the cameras.
    mu : (X, Y, Z) float32
        1 / world unit.
    deviation : (X, Y, Z) float32 or None
        How unsure each voxel is, 1 / world unit, before the residual.
    coefficients : (K,) float64 or None
        In standard deviations (`prior_fit.Fit`).
    mirrored : bool
        Whether the other side's patient fitted better.
    error : float
        Root mean square of what the projections lack, no unit.
    """

    grid: Grid
    mu: np.ndarray
    deviation: np.ndarray | None
    coefficients: np.ndarray | None
    mirrored: bool
    error: float

    def radiographs(self, cameras: Sequence[Camera]) -> list[np.ndarray]:
        """(height, width) float32 line integrals of the volume for each camera."""
        from .projector import project_camera

        return [project_camera(self.mu, self.grid.world_from_index, camera) for camera in cameras]


def reconstruct(
    views: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    prior: Prior,
    world_from_prior: np.ndarray | None = None,
    meters_per_unit: float = 1.0,
    settings: ReconstructSettings | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Reconstruction:
    """A volume from radiographs: the prior's coefficients first, then what they cannot give as a residual.

    Parameters
    ----------
    views : sequence of (height, width) arrays
        Line integrals, no unit.
    cameras : sequence of Camera
        One a view: where its source stood, world space.
    prior : Prior
    world_from_prior : (4, 4) array, optional
        The prior's metres (RAS, about the body's centre) to the world: a similarity. By default the prior's origin
        lies where the cameras' central rays meet, or before a single camera at its `source_axis`; give it where it is
        known, as the volume's middle mostly is.
    meters_per_unit : float
        Of the world.
    settings : ReconstructSettings, optional
        By default what the prior was tuned to.
    progress, should_stop : callable, optional
        Told the fraction done; asked between steps.

    Raises
    ------
    DataError
        When views and cameras do not fit each other.
    Cancelled
        When `should_stop` said so.
    """
    task = ViewTask(views, cameras, prior, world_from_prior, meters_per_unit)
    settings = settings_of(prior, len(views)) if settings is None else settings
    share = 0.5 if settings.residual is not None else 1.0
    fit, flip = fit_sides(
        prior, task, settings.fit_noise, settings.alignment, meters_per_unit, _part(progress, 0.0, share), should_stop
    )
    surprise = 1.0 if settings.expected_error is None else fit.error / max(settings.expected_error, 1e-9)
    strange = surprise > SURPRISING
    if strange:
        # Of another kind than the population, or elsewhere: its modes are asked for less, its place for more.
        fit, flip = fit_sides(
            *(prior, task, STRANGE_NOISE * surprise * settings.fit_noise, 1.0, meters_per_unit),
            *(_part(progress, 0.0, share), should_stop),
            blurs=ELSEWHERE,
        )
    mu = fit.mu
    told = _part(progress, 0.5, 0.5)
    if settings.residual is not None and strange:
        # How unsure each voxel is was learned from the population, too: voxels are as free as the peer's.
        peer = mean_settings_of(prior, len(views))
        mu = optimise_voxels(mu, task.rays, task.values, peer, meters_per_unit, told, should_stop)
    elif settings.residual is not None:
        mu = add_residual(
            mu, fit.deviation, task.rays, task.values, settings.residual, meters_per_unit, told, should_stop
        )
    return Reconstruction(task.grid, mu, fit.deviation, fit.coefficients, flip, task.error(mu))


def fit_sides(
    prior: Prior,
    task: "ViewTask",
    noise: float,
    alignment: float,
    meters_per_unit: float = 1.0,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    blurs: Sequence[tuple[float, int]] = BLURS,
) -> tuple[Fit, bool]:
    """The most probable volume of a prior (`prior_fit.fit_prior`), and whether it is the mirrored prior's.

    A population of left and right ones is laid alike; which side it is then shows in how well either fits.
    """
    flips = (False, True) if prior.facts.get(MIRRORED_PRIOR) else (False,)
    found: list[tuple[float, Fit, bool]] = []
    for flip in flips:
        model = Model(mirrored(prior) if flip else prior, meters_per_unit, alignment)
        told = _part(progress, len(found) / len(flips), 1 / len(flips))
        fit = fit_prior(model, task.rays, task.values, noise, task.pixels_per_voxel, told, should_stop, blurs)
        cost = task.rays.rays * (fit.error / noise) ** 2 + float(fit.coefficients @ fit.coefficients)
        found.append((cost, fit, flip))
    _, fit, flip = min(found, key=lambda each: each[0])
    return fit, flip


def mean_plus_optimisation(
    views: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    prior: Prior,
    world_from_prior: np.ndarray | None = None,
    meters_per_unit: float = 1.0,
    settings: ResidualSettings | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Reconstruction:
    """The peer: the population's mean volume, its voxels optimised on the views under total variation.

    Parameters and errors as those of :func:`reconstruct`; `settings` by default are those that were best on held-out
    volumes.
    """
    task = ViewTask(views, cameras, prior, world_from_prior, meters_per_unit)
    settings = mean_settings_of(prior, len(views)) if settings is None else settings
    start, flip = sided_mean(prior, task, meters_per_unit)
    mu = optimise_voxels(start, task.rays, task.values, settings, meters_per_unit, progress, should_stop)
    return Reconstruction(task.grid, mu, None, None, flip, task.error(mu))


def sided_mean(prior: Prior, task: "ViewTask", meters_per_unit: float = 1.0) -> tuple[np.ndarray, bool]:
    """(X, Y, Z) float32: the population's mean, 1 / world unit, mirrored where that fits the views better."""
    mean = prior.mean * np.float32(meters_per_unit)
    other = np.ascontiguousarray(mean[::-1])
    if prior.facts.get(MIRRORED_PRIOR) and task.error(other) < task.error(mean):
        return other, True
    return mean, False


def settings_of(prior: Prior, views: int) -> ReconstructSettings:
    """What a prior was tuned to for a number of views; the defaults where it was not."""
    known = ReconstructSettings()
    residual = known.residual or ResidualSettings()
    tuned = _tuned(prior, views)
    return ReconstructSettings(
        fit_noise=tuned.get("fit_noise", known.fit_noise),
        alignment=tuned.get("alignment", known.alignment),
        residual=replace(
            residual,
            noise=tuned.get("residual_noise", residual.noise),
            tv=tuned.get("residual_tv", residual.tv),
            confidence=tuned.get("confidence", residual.confidence),
        ),
        expected_error=tuned.get("expected_error"),
    )


def mean_settings_of(prior: Prior, views: int, start: str = "mean") -> ResidualSettings:
    """What the peer was tuned to for a number of views; the defaults where it was not.

    `start` 'nothing' is the optimisation from nothing.
    """
    known = ResidualSettings(tv=0.01, about_start=start == "mean", steps=8)
    tuned = _tuned(prior, views)
    return replace(
        known,
        noise=tuned.get(f"{start}_noise", known.noise),
        tv=tuned.get(f"{start}_tv", known.tv),
        about_start=bool(tuned.get(f"{start}_about_start", known.about_start)),
        steps=int(tuned.get(f"{start}_steps", known.steps)),
    )


def mirrored(prior: Prior) -> Prior:
    """The prior of the other side: left and right (the index axis along x) exchanged."""
    displacement = prior.displacement[:, :, ::-1].copy()
    displacement[:, 0] *= -1
    flip = np.s_[::-1]
    return replace(
        prior,
        mean=prior.mean[flip].copy(),
        template=prior.template[flip].copy(),
        displacement=displacement,
        appearance=prior.appearance[:, ::-1].copy(),
        deviation=prior.deviation[flip].copy(),
    )


def prior_grid(prior: Prior, world_from_prior: np.ndarray) -> Grid:
    """The prior's voxels in the world."""
    return Grid(prior.shape, np.asarray(world_from_prior, dtype=np.float64) @ prior.world_from_index)


def _tuned(prior: Prior, views: int) -> dict[str, float]:
    """Keys are NAME.VIEWS; the largest number of views that is not above what is asked for counts."""
    found: dict[str, tuple[int, float]] = {}
    for key, value in prior.tuned.items():
        name, _, count = key.rpartition(".")
        if not count.isdigit() or int(count) > views:
            continue
        if name not in found or int(count) > found[name][0]:
            found[name] = int(count), value
    return {name: value for name, (_, value) in found.items()}


def _part(progress: Callable[[float], None] | None, start: float, share: float) -> Callable[[float], None] | None:
    if progress is None:
        return None
    return lambda done: progress(start + share * done)


class ViewTask:
    """Views on a prior's grid, with as many rays as its voxels can tell apart; parameters as `reconstruct` takes them.

    Attributes
    ----------
    grid : Grid
    rays : RayMatrix
    values : (rays,) float32
        The views' line integrals, a mean for each ray of the matrix.
    pixels_per_voxel : float
        Rays that a voxel's width covers.
    """

    def __init__(
        self,
        views: Sequence[np.ndarray],
        cameras: Sequence[Camera],
        prior: Prior,
        world_from_prior: np.ndarray | None = None,
        meters_per_unit: float = 1.0,
    ) -> None:
        if not views or len(views) != len(cameras):
            raise DataError(f"{len(views)} radiographs and {len(cameras)} cameras were given; give one camera a view.")
        for view, camera in zip(views, cameras, strict=True):
            if view.shape != (camera.height, camera.width):
                raise DataError(
                    f"A radiograph has {view.shape[1]}x{view.shape[0]} pixels and its camera "
                    f"{camera.width}x{camera.height}; give the camera of that radiograph."
                )
            if not np.isfinite(view).all():
                raise DataError("A radiograph holds NaN or infinity; make the radiographs again.")
        if world_from_prior is None:
            world_from_prior = np.diag([*[1.0 / meters_per_unit] * 3, 1.0])
            world_from_prior[:3, 3] = axis_point(cameras)
        self.grid = prior_grid(prior, world_from_prior)
        # A pixel's width at the body, against a voxel's.
        distance = float(np.mean([np.linalg.norm(camera.position - self.grid.center) for camera in cameras]))
        pixel = distance / float(np.mean([camera.fl_x for camera in cameras]))
        voxel = float(self.grid.spacing.mean())
        smallest = min(min(view.shape) for view in views)
        shrink = int(np.clip(round(voxel / pixel), 1, max(1, smallest // 8)))
        self.pixels_per_voxel = voxel / (pixel * shrink)
        self.rays = RayMatrix(cameras, self.grid.shape, self.grid.world_from_index, shrink)
        if not self.rays.matrix.nnz:
            raise DataError("No ray of the radiographs meets the prior's box; check where the cameras stand.")
        self.values = self.rays.shrunk(views, shrink)

    def error(self, mu: np.ndarray) -> float:
        """Root mean square of what a volume's projections lack."""
        return float(np.sqrt(np.mean(np.square(self.rays.project(mu) - self.values))))


def axis_point(cameras: Sequence[Camera]) -> np.ndarray:
    """(3,) the point nearest to all cameras' central rays, in the least squares' sense.

    One camera (or several that look the same way) does not tell how far away it is: that is an error.
    """
    normal, wanted = np.zeros((3, 3)), np.zeros(3)
    for camera in cameras:
        across = np.eye(3) - np.outer(camera.forward, camera.forward)
        normal += across
        wanted += across @ camera.position
    if np.linalg.cond(normal) > 1e6:
        raise DataError(
            "Where the body lies cannot be told from one direction alone; give its place (world_from_prior), such as "
            "the middle of the data set's bounds."
        )
    return np.linalg.solve(normal, wanted)
