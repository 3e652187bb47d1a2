"""The systems of an X-ray experiment that learn from other patients: MedNeRF, HyperNeRFGAN, priors.

Their other patients are radiographed with the measured one's rig and shown through its pictures' window, as one
scanner would.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import NerfError
from ..contract.files import make_folder
from ..contract.json_data import shown
from ..contract.run_folder import GAN, RunFolder
from ..evaluation.xray import Reconstruction, of_volume
from ..xray.prior import DOCUMENT
from .folder import ExperimentFolder
from .xray_data import make_population
from .xray_plan import XrayCell
from .xray_systems import Found, Job, resized

GANS = ("mednerf", "hypernerfgan")
POPULATION_VIEWS = 72  # one every 5 degrees, the MedNeRF protocol's
FAKES = 200
# Of a cell's settings those that are not the system's own.
ASIDE = ("inversion", "fakes")
PRIOR_SETTINGS = {"longest": (8, 256), "modes": (0, 1000), "held_out": (0, 1000)}
MOST_PRIOR_VOXELS = 64
# Seconds before any was timed: of a generative system besides its training, by part; of a prior, and of each volume
# that its settings are chosen on.
GAN_PARTS = {"fitting the given view": 40.0, "features of other patients": 35.0, "FID and KID": 15.0}
PRIOR_SECONDS, TUNING_SECONDS = 15.0, 150.0


def check_learned(cell: XrayCell, device: str) -> None:
    """Refuse settings that a system does not take, and more views than it can be given.

    Raises
    ------
    NerfError
    """
    if cell.system in GANS:
        from ..gan.invert import InversionSettings
        from ..gan.registry import system_class

        if cell.scan.views != 1:
            raise NerfError(f"'{cell.system}' is given one view, not {cell.scan.views}; set 'views' to 1.")
        system_class(cell.system).settings_class.from_mapping(_own(cell), device)
        try:
            InversionSettings(**cell.settings.get("inversion", {})).check()
        except TypeError as error:
            raise NerfError(f"'inversion' of '{cell.system}' is not usable: {error}.") from error
        return
    prior_settings(cell)


def find_learned(job: Job) -> Found:
    """Run a system that learns from others; see `xray_systems.find`."""
    return _gan(job) if job.cell.system in GANS else _prior(job)


def seconds_left(cell: XrayCell, folder: ExperimentFolder) -> tuple[float | None, int | None]:
    """What a cell still takes, as `events.Pace` takes it: seconds, or steps."""
    if cell.system not in GANS:
        settings = prior_settings(cell)
        built = (_prior_folder(folder, cell) / DOCUMENT).is_file()
        share = (settings.longest / MOST_PRIOR_VOXELS) ** 3
        return 5.0 if built else share * (PRIOR_SECONDS + TUNING_SECONDS * settings.held_out), None
    if cell.seconds is None:
        return None, cell.steps
    return max(0.0, cell.seconds - _spent(folder.run(cell.folder))[0]) + sum(GAN_PARTS.values()), None


def _own(cell: XrayCell) -> dict[str, Any]:
    return {key: value for key, value in cell.settings.items() if key not in ASIDE}


# Generative systems


def _gan(job: Job) -> Found:
    """Train on the population's radiographs, then fit a code and the generator to the one given view."""
    from ..gan.dataset import load_radiographs, one_axis_azimuths
    from ..gan.invert import InversionSettings, invert, novel_views
    from ..gan.metrics import measure_system
    from ..gan.perceptual import PerceptualDistance, feature_network
    from ..gan.run import load_gan_run

    cell, facts = job.cell, job.dataset.xray
    assert facts is not None
    low, high = facts.window
    others = make_population(
        job.folder.root,
        cell.scan,
        cell.population,
        POPULATION_VIEWS,
        facts.window,
        job.part("radiographs of other patients"),
        job.should_stop,
    )
    root = job.folder.run(cell.folder)
    _train(job, root, others)
    run = load_gan_run(root, job.device)
    system, size = run.system, run.system.settings.image_size
    network = feature_network()
    given = load_radiographs(job.data, size)
    inversion = invert(
        system,
        given.images[0],
        float(given.azimuths[0]),
        PerceptualDistance(network),
        InversionSettings.of(system.settings, **cell.settings.get("inversion", {})),
        cell.seed,
        _part(job, "fitting the given view"),
        job.should_stop,
    )
    known = _known(job, others, size)
    distributions = measure_system(
        system,
        known.features,
        known.azimuths,
        network,
        int(cell.settings.get("fakes", FAKES)),
        cell.seed,
        _part(job, "FID and KID"),
        job.should_stop,
    )

    def project(camera: Camera) -> np.ndarray:
        azimuth = one_axis_azimuths([camera], job.data)
        shown = novel_views(system, inversion, azimuth)[0]
        return resized(low + shown * (high - low), camera)

    metrics = {
        "fid": distributions.fid,
        "kid": distributions.kid,
        "train_seconds": run.spent.seconds,
        "steps": run.spent.steps,
    }
    told = {"run": f"runs/{cell.folder}", "fid_features": distributions.label}
    return Found(Reconstruction(cell.name, project), metrics, told)


def _part(job: Job, words: str) -> Callable[[int, int], None]:
    """What a part after the training tells how far it is."""
    names = list(GAN_PARTS)
    later = sum(GAN_PARTS[name] for name in names[names.index(words) + 1 :])
    return lambda done, total: job.tell(done / total, (1 - done / total) * GAN_PARTS[words] + later, words)


class _Known(NamedTuple):
    """What generated pictures are measured against."""

    features: Any
    azimuths: np.ndarray


_KNOWN: dict[tuple[Path, int], _Known] = {}
"""Of the last population, by its folder and the pictures' size: a minute's work that several cells share."""


def _known(job: Job, others: Path, size: int) -> _Known:
    """The features of a population's radiographs."""
    from ..gan.dataset import load_radiographs
    from ..gan.metrics import features_of
    from ..gan.perceptual import feature_network

    key = others.absolute(), size
    if key not in _KNOWN:
        known = load_radiographs(others, size)
        told = _part(job, "features of other patients")
        features = features_of(known.images, feature_network(), told, job.should_stop)
        _KNOWN.clear()
        _KNOWN[key] = _Known(features, known.azimuths)
    return _KNOWN[key]


def _train(job: Job, root: Path, data: Path) -> None:
    """Train a generative system to the end of its budget, or go on with it."""
    from ..contract.errors import Cancelled
    from ..gan.events import GanEvents, GanProgress
    from ..gan.prepare import GanRequest
    from ..gan.train import GanTrainer

    cell = job.cell
    if _is_trained(root, cell):
        return

    class Events(GanEvents):
        def loading(self, done: int, total: int) -> None:
            job.tell(0.0, None, "reading radiographs")

        def progress(self, progress: GanProgress) -> None:
            words = f"training, step {progress.step}"
            words += "" if progress.fid is None else f", FID {progress.fid:.0f}"
            left = None if progress.seconds_left is None else progress.seconds_left + sum(GAN_PARTS.values())
            job.tell(progress.done, left, words)

        def log(self, level: str, text: str) -> None:
            job.log(text)

        def should_stop(self) -> bool:
            return job.should_stop()

    request = GanRequest(
        run=root,
        data=data,
        system=cell.system,
        seconds=cell.seconds,
        steps=cell.steps,
        device=job.device,
        seed=cell.seed,
        settings=_own(cell),
        grids=4,
        measures=0,  # it is measured when it is trained
    )
    if GanTrainer(request, Events()).run().stopped:
        raise Cancelled


def _is_trained(root: Path, cell: XrayCell) -> bool:
    """Whether a run has spent what the cell gives it; one of another cell is refused by its trainer."""
    if not RunFolder(root, GAN).checkpoint.exists():
        return False
    seconds, steps = _spent(root)
    return seconds >= cell.seconds if cell.seconds is not None else steps >= (cell.steps or 0)


def _spent(root: Path) -> tuple[float, int]:
    """Seconds and steps of a run; none of one that is not there."""
    folder = RunFolder(root, GAN)
    if not folder.checkpoint.exists():
        return 0.0, 0
    spent: Mapping[str, Any] = folder.read().get("spent") or {}
    return float(spent.get("seconds", 0.0)), int(spent.get("steps", 0))


# Priors


def _prior(job: Job) -> Found:
    """A prior of the population, then what the given views add: by its modes, or (mean-patient) voxel by voxel."""
    from ..xray.single_view import mean_plus_optimisation, reconstruct

    cell, facts = job.cell, job.dataset.xray
    assert facts is not None
    began = time.perf_counter()
    prior = _kept_prior(job)
    # A phantom's box and a CT's resampled cube are about their bodies' middles.
    world_from_prior = np.diag([*[1.0 / facts.meters_per_unit] * 3, 1.0])
    world_from_prior[:3, 3] = job.grid.center
    job.tell(0.0, None, "fitting the given views")
    found = (mean_plus_optimisation if cell.system == "mean-patient" else reconstruct)(
        [view.line_integral for view in job.given],
        [view.camera for view in job.given],
        prior,
        world_from_prior,
        facts.meters_per_unit,
        progress=job.part("fitting the given views"),
        should_stop=job.should_stop,
    )
    mu = np.concatenate(
        [found.grid.sampled(found.mu, job.grid.slab(row, row + 1)) for row in range(job.grid.shape[0])]
    ).astype(np.float32)
    seconds = time.perf_counter() - began
    return Found(of_volume(cell.name, mu, job.grid, seconds), {"train_seconds": seconds})


def _kept_prior(job: Job) -> Any:
    """The prior of a cell's population, built once for all cells that agree in it."""
    from ..xray.prior import load_prior, save_prior
    from ..xray.prior_build import build_prior

    cell = job.cell
    settings, folder = prior_settings(cell), _prior_folder(job.folder, cell)
    if (folder / DOCUMENT).is_file():
        return load_prior(folder)
    prior = build_prior(
        cell.population, settings, lambda done, words: job.tell(done, None, f"prior: {words}"), job.should_stop
    )
    make_folder(folder.parent)
    save_prior(folder, prior)
    return prior


def _prior_folder(folder: ExperimentFolder, cell: XrayCell) -> Path:
    """Where the prior of a cell's population lies."""
    settings = prior_settings(cell)
    told = json.dumps([list(cell.population), vars(settings)], sort_keys=True)
    return folder.root / "priors" / f"{settings.kind}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def prior_settings(cell: XrayCell) -> Any:
    """What a cell's prior is built with.

    Raises
    ------
    NerfError
        When a setting is unknown, or no number that it can be.
    """
    from ..xray.prior import Kind
    from ..xray.prior_build import BuildSettings

    for name, value in cell.settings.items():
        if name not in PRIOR_SETTINGS:
            raise NerfError(f"'{cell.system}' has no setting '{shown(name)}'; it takes {', '.join(PRIOR_SETTINGS)}.")
        low, high = PRIOR_SETTINGS[name]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise NerfError(
                f"'{name}' of '{cell.system}' is {shown(repr(value))}; it must be a whole number from {low} to {high}."
            )
    values = {"longest": min(cell.scan.voxels, MOST_PRIOR_VOXELS), **cell.settings}
    kind: Kind = "mean" if cell.system == "mean-patient" else "low_rank"
    return BuildSettings(kind, rig=cell.scan.preset, **values)
