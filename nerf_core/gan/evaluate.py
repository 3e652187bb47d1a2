"""A run measured: FID and KID of its samples, and single-view inversion of instances beside what needs no learning.

One protocol for all systems: one view of an instance is given, the nearest to an azimuth, and everything is measured on
ALL of its other views. What a system reaches on the given view itself, which is what MedNeRF's paper tells, stands
apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.xray import NOT_FOR_DIAGNOSIS
from . import baselines
from .base import System
from .dataset import Radiographs
from .invert import InversionSettings, invert, novel_views
from .metrics import Distributions, ViewScores, features_of, mean_scores, measure_system, score_views
from .perceptual import FeatureNetwork, PerceptualDistance
from .pictures import tile

INVERTED, CODE_ONLY = "inversion", "inversion, code only"
COPY, MEAN, MEAN_AT_ANGLES = "copy of the given view", "mean of all training views", "mean of training views by angle"
WORDS = {
    INVERTED: "code, then code and generator, fitted to the given view",
    CODE_ONLY: "the generator as it was trained, with the code that was fitted alone",
    COPY: "nothing learned",
    MEAN: "nothing learned",
    MEAN_AT_ANGLES: "of other instances, which lie alike; knows each view's angle",
}


@dataclass(frozen=True)
class EvaluationSettings:
    """How a run is measured.

    Attributes
    ----------
    fakes : int
        Samples for FID and KID; published 1,000. 0: neither is measured.
    azimuth : float
        The view nearest to it, in degrees, is the given one.
    instances : int
        So many of the data set's are inverted, the first ones; 0: all.
    seed : int
        Of samples and starts.
    inversion : InversionSettings, optional
        By default those for the system's preset.
    """

    fakes: int = 1000
    azimuth: float = 0.0
    instances: int = 0
    seed: int = 0
    inversion: InversionSettings | None = None

    def check(self) -> None:
        """Raise a NerfError that names the first setting that is out of range."""
        if self.fakes != 0 and not 2 <= self.fakes <= 100_000:
            raise NerfError(f"FID is measured of 2 to 100000 samples, or 0 for not at all, not {self.fakes}.")
        if not -360.0 <= self.azimuth <= 360.0:
            raise NerfError(f"The given view's azimuth must be from -360 to 360 degrees, not {self.azimuth:g}.")
        if self.instances < 0:
            raise NerfError(f"The number of instances must be 0 (all) or more, not {self.instances}.")
        if self.inversion is not None:
            self.inversion.check()


@dataclass(frozen=True)
class InstanceResult:
    """One instance from one of its views.

    Attributes
    ----------
    name : str
    azimuth : float
        Of the given view, degrees.
    turn : float
        What the inversion adds to azimuths.
    others : dict of str to ViewScores
        By what made the views: on all views that were not given.
    given : ViewScores
        The inversion on the given view itself.
    """

    name: str
    azimuth: float
    turn: float
    others: dict[str, ViewScores]
    given: ViewScores


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes
    ----------
    distributions : Distributions or None
    instances : list of InstanceResult
    others : dict of str to ViewScores
        Means over the instances.
    given : ViewScores or None
    seen : bool
        Whether some of the instances are among those that the run was trained on.
    perceptual : str
        Whose features the perceptual distance is in.
    """

    distributions: Distributions | None
    instances: list[InstanceResult]
    others: dict[str, ViewScores]
    given: ViewScores | None
    seen: bool
    perceptual: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "distributions": None if self.distributions is None else self.distributions.to_dict(),
            "views_not_given": {name: scores.to_dict() for name, scores in self.others.items()},
            "given_view": None if self.given is None else self.given.to_dict(),
            "instances": [
                {
                    "name": result.name,
                    "azimuth": result.azimuth,
                    "turn": result.turn,
                    "views_not_given": {name: scores.to_dict() for name, scores in result.others.items()},
                    "given_view": result.given.to_dict(),
                }
                for result in self.instances
            ],
            "trained_on_these_instances": self.seen,
            "perceptual": self.perceptual,
            "not_for_diagnosis": NOT_FOR_DIAGNOSIS,
        }


Baseline = Callable[[Radiographs, int, int, np.ndarray], np.ndarray]
"""Of (data, instance, index of the given view among the instance's, azimuths in degrees) to (V, S, S) views."""


def evaluate(
    system: System,
    training: Radiographs,
    data: Radiographs,
    network: FeatureNetwork,
    settings: EvaluationSettings | None = None,
    more: dict[str, Baseline] | None = None,
    progress: Callable[[str, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_instance: Callable[[InstanceResult, np.ndarray, dict[str, np.ndarray]], None] | None = None,
) -> Evaluation:
    """Measure a system.

    Parameters
    ----------
    system : System
    training : Radiographs
        What it was trained on: samples are compared with these, and means are theirs.
    data : Radiographs
        Instances to invert; others than those of `training`, or `training` itself.
    network : FeatureNetwork
    settings : EvaluationSettings, optional
    more : dict, optional
        Further baselines by name.
    progress : callable, optional
        Called with what is being done and the fraction of that, 0 to 1.
    should_stop : callable, optional
        Asked often.
    on_instance : callable, optional
        Given each instance's result, its true views and what each way made of them, all (V, S, S).

    Raises
    ------
    NerfError
        When a setting is out of range, or an instance has a single view.
    Cancelled
        When `should_stop` said so.
    """
    settings = settings or EvaluationSettings()
    settings.check()
    say = progress or (lambda _text, _done: None)
    distance = PerceptualDistance(network)
    distributions = _distributions(system, training, network, settings, say, should_stop) if settings.fakes else None
    count = min(settings.instances or len(data.names), len(data.names))
    results = []
    for instance in range(count):
        label = f"inverting {data.names[instance]}"
        say(label, 0.0)
        result, truth, views = _instance(
            system,
            training,
            data,
            instance,
            distance,
            settings,
            more or {},
            partial(_fraction, say, label),
            should_stop,
        )
        results.append(result)
        if on_instance is not None:
            on_instance(result, truth, views)
    names = [name for name in (results[0].others if results else ()) if all(name in each.others for each in results)]
    return Evaluation(
        distributions,
        results,
        {name: mean_scores([result.others[name] for result in results]) for name in names},
        mean_scores([result.given for result in results]) if results else None,
        any(len(_without(training, data.of(instance)[0])) < len(training.names) for instance in range(count)),
        distance.label,
    )


def _fraction(say: Callable[[str, float], None], label: str, done: int, total: int) -> None:
    say(label, done / total)


def _distributions(
    system: System,
    training: Radiographs,
    network: FeatureNetwork,
    settings: EvaluationSettings,
    say: Callable[[str, float], None],
    should_stop: Callable[[], bool] | None,
) -> Distributions:
    real = features_of(
        training.images, network, lambda done, total: say("features of the real images", done / total), should_stop
    )
    return measure_system(
        system,
        real,
        training.azimuths,
        network,
        settings.fakes,
        settings.seed,
        lambda done, total: say("features of samples", done / total),
        should_stop,
    )


def _instance(
    system: System,
    training: Radiographs,
    data: Radiographs,
    instance: int,
    distance: PerceptualDistance,
    settings: EvaluationSettings,
    more: dict[str, Baseline],
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool] | None,
) -> tuple[InstanceResult, np.ndarray, dict[str, np.ndarray]]:
    truth, azimuths = data.of(instance)
    if len(truth) < 2:
        raise NerfError(f"The instance '{data.names[instance]}' has one view; others are needed to measure on.")
    given = nearest(azimuths, settings.azimuth)
    azimuth = float(azimuths[given])
    unlike = _without(training, truth)
    found = invert(system, truth[given], azimuth, distance, settings.inversion, settings.seed, progress, should_stop)
    views = {
        INVERTED: novel_views(system, found, azimuths),
        CODE_ONLY: novel_views(system, found, azimuths, code_only=True),
        COPY: baselines.copy_view(truth[given], len(truth)),
        MEAN: baselines.mean_view(training, len(truth)),
        **({MEAN_AT_ANGLES: baselines.mean_at_angles(training.only(unlike), azimuths)} if unlike else {}),
        **{name: baseline(data, instance, given, azimuths) for name, baseline in more.items()},
    }
    others = np.arange(len(truth)) != given
    scores = {name: score_views(made[others], truth[others], distance) for name, made in views.items()}
    on_given = score_views(views[INVERTED][~others], truth[~others], distance)
    return InstanceResult(data.names[instance], azimuth, found.turn, scores, on_given), truth, views


def _without(training: Radiographs, truth: np.ndarray) -> list[int]:
    """The training's instances that are not the one with these views: its own views would be the answer."""
    same = {int(training.instance[index]) for index in np.flatnonzero((training.images == truth[0]).all(axis=(1, 2)))}
    return [instance for instance in range(len(training.names)) if instance not in same]


def nearest(azimuths: Sequence[float] | np.ndarray, azimuth: float) -> int:
    """Which of the azimuths is nearest to one, around the circle; degrees."""
    return int(np.abs((np.asarray(azimuths, dtype=np.float64) - azimuth + 180.0) % 360.0 - 180.0).argmin())


def comparison(truth: np.ndarray, views: dict[str, np.ndarray], count: int) -> np.ndarray:
    """One picture (H, W, 3) uint8: the true views in the first row, then a row for each way, at `count` angles."""
    columns = np.arange(count) * len(truth) // count
    rows = [truth[columns], *(made[columns] for name, made in views.items() if name != MEAN)]
    return tile([list(row) for row in rows])


def table(evaluation: Evaluation) -> list[str]:
    """Lines for a person."""
    lines = []
    found = evaluation.distributions
    if found is not None:
        lines += [
            f"FID {found.fid:.2f}   KID {found.kid:.4f} +- {found.kid_deviation:.4f}   "
            f"({found.fake} samples against {found.real} training images)",
            f"  {found.label}",
        ]
    if evaluation.instances:
        count = len(evaluation.instances)
        which = "that it was trained on" if evaluation.seen else "that were held out"
        views = next(iter(evaluation.others.values())).views
        lines.append(f"One view given, measured on the other {views} of {count} instance(s) {which}:")
        width = max(map(len, evaluation.others))
        lines.append(f"  {'':{width}}   PSNR dB    SSIM   perceptual")
        for name, scores in evaluation.others.items():
            lines.append(f"  {name:{width}}  {_row(scores)}")
        if evaluation.given is not None:
            lines.append(f"On the given view itself, as MedNeRF's paper measures:  {_row(evaluation.given)}")
        lines.append(f"  perceptual: {evaluation.perceptual}")
    lines.append(NOT_FOR_DIAGNOSIS)
    return lines


def _row(scores: ViewScores) -> str:
    similarity = "     -" if scores.ssim is None else f"{scores.ssim:6.4f}"
    return f"{scores.psnr:8.2f}  {similarity}   {scores.perceptual:10.4f}"
