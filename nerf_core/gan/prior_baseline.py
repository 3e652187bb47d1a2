"""What a prior of other patients makes of one radiograph, as a baseline of the generative systems.

"Mean of other patients plus test-time optimisation": a volume, not pictures, so that it needs the instance's cameras
and line integrals (a radiograph data set, not mere pictures) and a prior built from the training's patients
(`nerf prior build`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..contract.errors import DataError, NerfError
from ..data.dataset import load_dataset
from ..data.views import View
from ..xray.membership import of_radiographs, role_of
from ..xray.prior import Prior
from ..xray.single_view import Reconstruction, mean_plus_optimisation, reconstruct
from .baselines import shrunk
from .dataset import Radiographs, one_axis_azimuths

MEAN_OPTIMISED, PRIOR_OPTIMISED = "mean of other patients, optimised", "prior of other patients, optimised"
Baseline = Callable[[Radiographs, int, int, np.ndarray], np.ndarray]


def prior_baselines(prior: Prior) -> dict[str, Baseline]:
    """The baselines that a prior gives, for `evaluate.evaluate`: its mean, and its modes where it has any."""

    def mean(data: Radiographs, instance: int, given: int, azimuths: np.ndarray) -> np.ndarray:
        return views_by(data, instance, given, prior, mean_plus_optimisation)

    def modes(data: Radiographs, instance: int, given: int, azimuths: np.ndarray) -> np.ndarray:
        return views_by(data, instance, given, prior, reconstruct)

    return {MEAN_OPTIMISED: mean} | ({PRIOR_OPTIMISED: modes} if prior.modes else {})


def check_unseen(prior: Prior, data: Radiographs, count: int = 0) -> None:
    """Refuse a prior that was made of, or tuned on, one of the first `count` instances (0: all).

    Raises
    ------
    NerfError
    """
    for name in data.names[: count or None]:
        identities, source = of_radiographs(_folder(data, name), prior.facts)
        if role_of(prior.facts, identities, source):
            raise NerfError(
                f"The instance '{name}' ({source}) is of the prior's own population, which knows it: build a prior "
                "without it, measure others with --data, or leave --prior out."
            )


def _folder(data: Radiographs, name: str) -> Path:
    path = Path(data.path) / name
    return path if path.is_dir() else Path(data.path)  # a single instance, given itself


def views_by(
    data: Radiographs,
    instance: int,
    given: int,
    prior: Prior,
    method: Callable[..., Reconstruction],
) -> np.ndarray:
    """All views (V, S, S) of the volume that a method finds from the given one, as the data set's pictures show them.

    Parameters
    ----------
    data : Radiographs
    instance, given : int
        The instance, and which of its views (by azimuth) is given.
    prior : Prior
    method : callable
        `single_view.mean_plus_optimisation` or `single_view.reconstruct`.

    Raises
    ------
    DataError
        When the instance is no radiograph data set: pictures alone do not say how large the subject is.
    """
    name = data.names[instance]
    path = _folder(data, name)
    dataset = load_dataset(path, splits=("train",))
    facts = dataset.xray
    if facts is None:
        raise DataError(
            f"The instance '{path}' does not say how its radiographs were made, which a prior of volumes needs: use a "
            "data set as 'nerf drr' makes, or leave the prior out."
        )
    views = _by_azimuth(dataset.splits["train"].views, path)
    world_from_prior = np.diag([*[1.0 / facts.meters_per_unit] * 3, 1.0])
    world_from_prior[:3, 3] = dataset.bounds.mean(axis=0)
    line_integral = views[given].line_integral
    assert line_integral is not None  # where a data set has facts, every view has them
    found = method([line_integral], [views[given].camera], prior, world_from_prior, facts.meters_per_unit)
    low, high = facts.window
    shown = [np.clip((p - low) / (high - low), 0.0, 1.0) for p in found.radiographs([view.camera for view in views])]
    return np.stack([shrunk(picture.astype(np.float32), data.size) for picture in shown])


def _by_azimuth(views: Sequence[View], path: Path) -> list[View]:
    order = np.argsort(one_axis_azimuths([view.camera for view in views], path), kind="stable")
    return [views[index] for index in order]
