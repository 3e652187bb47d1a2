"""Making a data set of radiographs: line integrals as float EXR, pictures as PNG, transforms, the truth beside them.

::

    DATA/transforms.json, transforms_train.json, ...   cameras; `nerf_toolkit.xray` says how they were made
    DATA/train/0000.png                                8-bit grey: black where nothing is in the way
    DATA/line_integral/train/0000.exr                  float32, channel V: what is trained on
    DATA/clean/train/0000.exr                          before noise or a scaling a view, where there is any
    DATA/volume.nii.gz                                 the truth in HU, where it is a volume
    DATA/radiographs.json                              what was asked: the same is gone on with, and nothing else

Two passes: line integrals first, one view a step, each written whole; then, once the largest is known, the pictures.
Stopped in between, it goes on where it was. Nothing that was there is written over.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import Cancelled, DataError, NerfError
from ..contract.files import MARK, make_folder, write_json
from ..contract.json_data import parse_json
from ..contract.transforms import PASS_KEYS, DatasetFacts, FrameRecord, write_transforms
from ..contract.xray import SCALINGS, ConeBeam, Scaling, XrayFacts
from ..data import exr
from ..export.exr import write_exr
from ..export.pictures import write_png
from .noise import Noise
from .sources import RadiographSource
from .turntable import RadiographView

STATE = "radiographs.json"
FORMAT, VERSION = "nerf_toolkit.radiographs", 1
VOLUME = "volume.nii.gz"
SAMPLES = 16384  # line integrals of a view, from which white is found
TRUNCATED = 0.05  # of the largest line integral, at the detector's edge
LARGEST = 1e6  # a kilometre of lead has 6e6


@dataclass(frozen=True)
class RadiographPlan:
    """A data set of radiographs that shall be made.

    Attributes
    ----------
    source : RadiographSource
    views : sequence of RadiographView
    rig : ConeBeam or None
        In world units, where the views have one.
    window : (low, high) or None
        The line integrals of black and white; None: 0 and the set's largest, unless that is far above nearly all
        others (metal seen lengthwise): see `whitest`.
    noise : Noise or None
        Of the train split; what is held out stays exact.
    scaling : {'physical', 'per_view'}
        'per_view': pictures alone, each stretched from its own smallest to its own largest line integral, as the
        MedNeRF protocol has them.
    meters_per_unit : float
    bounds : (2, 3) array or None
        World box that a field shall fill; None: around the source.
    with_truth : bool
        Whether a source that is a volume is written beside the radiographs.
    """

    source: RadiographSource
    views: Sequence[RadiographView]
    rig: ConeBeam | None = None
    window: tuple[float, float] | None = None
    noise: Noise | None = None
    scaling: Scaling = "physical"
    meters_per_unit: float = 1.0
    bounds: np.ndarray | None = None
    with_truth: bool = True

    def __post_init__(self) -> None:
        if not self.views:
            raise NerfError("There are no views to take radiographs from.")
        if self.scaling not in SCALINGS:
            raise NerfError(f"The scaling '{self.scaling}' is not one of {', '.join(SCALINGS)}.")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise NerfError(f"A window goes from a smaller to a larger line integral, not {self.window}.")

    def asked(self) -> dict[str, Any]:
        """What was asked, as plain JSON: the same words give the same files."""
        views = json.dumps([[view.name, view.camera.to_dict()] for view in self.views], sort_keys=True)
        return {
            "source": self.source.identity(),
            "views": len(self.views),
            "cameras": hashlib.sha256(views.encode()).hexdigest()[:16],
            "window": None if self.window is None else list(self.window),
            "noise": None if self.noise is None else self.noise.to_dict(),
            "scaling": self.scaling,
            "meters_per_unit": self.meters_per_unit,
            "truth": self.with_truth,
        }


@dataclass
class RadiographJob:
    """Radiographs in the making; :meth:`step` takes one.

    Parameters
    ----------
    plan : RadiographPlan
    out : Path
        The data set's folder: new, empty, or one in which the same was begun.

    Attributes
    ----------
    done : int
        Views whose line integrals are there.
    resumed : int
        How many of these were there already.
    latest : (int, (H, W) float32 array) or None
        The newest view's number and line integrals.
    truncated : bool
        Whether something stood out of the detector's left or right edge in a view of this job.

    Raises
    ------
    NerfError
        When the folder holds something else.
    """

    plan: RadiographPlan
    out: Path
    done: int = 0
    resumed: int = 0
    latest: tuple[int, np.ndarray] | None = None
    truncated: bool = False
    _made: list[Path] = field(default_factory=list)
    _fresh: bool = False

    def __post_init__(self) -> None:
        self.out = Path(self.out)
        self._fresh = _claim(self.out, self.plan.asked(), self.plan.source.patients())
        if self.is_whole:
            self.done = self.resumed = self.total
        else:
            for view in self.plan.views:
                if not self._exact(view).is_file():
                    break
                self.done += 1
            self.resumed = self.done

    @property
    def total(self) -> int:
        """Views in all."""
        return len(self.plan.views)

    @property
    def is_whole(self) -> bool:
        """Whether the data set is made."""
        return (self.out / "transforms.json").is_file()

    def step(self, should_stop: Callable[[], bool] | None = None) -> bool:
        """Take the next radiograph, or, after the last, write pictures and documents; returns whether all is done.

        Raises
        ------
        Cancelled
            When `should_stop` said so; what is made so far stays.
        """
        if self.is_whole:
            return True
        if self.done == self.total:
            self._finish(should_stop)
            return True
        view = self.plan.views[self.done]
        p = self.plan.source.line_integrals(view.camera, should_stop)
        if not (np.abs(p) < LARGEST).all():  # NaN too
            raise NerfError(
                f"A line integral of '{self.plan.source.name}' is above {LARGEST:g} or no number; check its values and "
                "their units."
            )
        self.truncated |= _stands_out(p)
        self._write(self._exact(view), lambda path: write_exr(path, {"V": p}))
        self.latest = self.done, p
        self.done += 1
        return False

    def discard(self) -> None:
        """Take away what this job has written, and the folders that are empty then."""
        for path in self._made:
            path.unlink(missing_ok=True)
        if self._fresh and not self.is_whole:
            (self.out / STATE).unlink(missing_ok=True)
        folders = {path.parent for path in self._made} | {self.out}
        for folder in sorted({*folders, *(f.parent for f in folders if f != self.out)}, key=lambda f: -len(f.parts)):
            if folder == self.out or self.out in folder.parents:
                try:
                    folder.rmdir()
                except OSError:  # something else is in it
                    pass

    def _exact(self, view: RadiographView) -> Path:
        """Where a view's exact line integrals go: beside the noisy ones, or where those would be."""
        return self.out / ("clean" if self._is_changed(view) else "line_integral") / view.exr

    def _is_changed(self, view: RadiographView) -> bool:
        """Whether what is trained on is not the exact line integrals."""
        noisy = self.plan.noise is not None and view.split == "train"
        return noisy or self.plan.scaling == "per_view"

    def _write(self, path: Path, write: Callable[[Path], Any]) -> None:
        make_folder(path.parent)
        write(path)
        self._made.append(path)

    def _finish(self, should_stop: Callable[[], bool] | None) -> None:
        """The second pass: noise, pictures, the truth, and last the documents, which say that all is there."""
        plan = self.plan
        # What is white is known from the training views: held-out ones tell nothing, where there are others.
        seen = [view for view in plan.views if view.split == "train"] or plan.views
        tops, samples = [], []
        for view in seen:
            p = exr.read_depth(self._exact(view))
            tops.append(float(p.max()))
            samples.append(p.ravel()[:: max(1, p.size // SAMPLES)])
        window = plan.window or (0.0, whitest(max(tops), np.concatenate(samples)))
        records = []
        for index, view in enumerate(plan.views):
            if should_stop is not None and should_stop():
                raise Cancelled("the radiographs were stopped")
            records.append(self._picture(index, view, window, max(tops)))
        truth = plan.source.truth() if plan.with_truth else None
        if truth is not None:
            from ..ct import write_nifti

            self._write(self.out / VOLUME, lambda path: write_nifti(path, truth))
        rig = plan.rig
        facts = XrayFacts(
            window=window,
            source_axis=None if rig is None else rig.source_axis,
            source_detector=None if rig is None else rig.source_detector,
            detector=None if rig is None else rig.detector,
            meters_per_unit=plan.meters_per_unit,
            volume=None if truth is None else VOLUME,
            noise=None if plan.noise is None else plan.noise.to_dict(),
            scaling=plan.scaling,
        )
        bounds = plan.source.bounds if plan.bounds is None else plan.bounds
        self._made += write_transforms(self.out, records, DatasetFacts(bounds, "srgb", False, xray=facts))

    def _picture(self, index: int, view: RadiographView, window: tuple[float, float], top: float) -> FrameRecord:
        """Write a view's picture, and its noisy line integrals; what the documents say of it."""
        plan, passes = self.plan, {}
        p = exr.read_depth(self._exact(view))
        if plan.noise is not None and view.split == "train":
            p = plan.noise.applied(p, index, top)
        if plan.scaling == "physical":
            name = f"line_integral/{view.exr}"
            passes[PASS_KEYS["line_integral"]] = name
            if self._is_changed(view):
                noisy = p
                self._write(self.out / name, lambda path: write_exr(path, {"V": noisy}))
            low, high = window
        else:
            low, high = float(p.min()), float(p.max())
        grey = picture(p, (low, high))
        self._write(self.out / view.name, lambda path: write_png(path, grey))
        return FrameRecord(view.name, view.split, view.camera, passes)


def whitest(top: float, values: np.ndarray) -> float:
    """The line integral that is shown as white.

    The largest, `top`; or one and a half times what all but one in 200 of the rays that meet anything stay below, where
    that is less: a screw seen along its length would leave everything else black.
    """
    met = values[values > 0.01 * top]
    if not len(met):
        return max(top, 1e-6)
    return max(1e-6, min(top, 1.5 * float(np.quantile(met, 0.995))))


def picture(p: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """(H, W, 3) uint8 grey of line integrals: black at the window's lower end, white at its upper."""
    low, high = window
    v = np.clip((np.asarray(p, dtype=np.float64) - low) / max(high - low, 1e-12), 0.0, 1.0)
    return np.repeat(np.round(255.0 * v).astype(np.uint8)[..., None], 3, axis=-1)


def make_radiographs(
    plan: RadiographPlan,
    out: str | Path,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> RadiographJob:
    """Make a data set of radiographs, or go on with it.

    Parameters
    ----------
    plan : RadiographPlan
    out : path
        Its folder; where the same was begun, the views that are there are kept.
    should_stop, on_progress : callable, optional
        Asked between views and within large ones; told (views done, views in all).

    Raises
    ------
    NerfError
        When the folder holds something else, or something cannot be written.
    Cancelled
        When `should_stop` said so; what is made stays, to go on with.
    """
    job = RadiographJob(plan, Path(out))
    while not job.step(should_stop):
        if on_progress is not None:
            on_progress(job.done, job.total)
        if should_stop is not None and should_stop():
            raise Cancelled("the radiographs were stopped")
    return job


def source_name(data: Path) -> str | None:
    """What a data set's radiographs were taken of: a phantom's name or a CT file's; None where it does not say."""
    try:
        source = _state(data)["asked"]["source"]
        name = source.get("phantom") or source.get("volume")
    except (LookupError, TypeError, AttributeError):
        return None
    return name if isinstance(name, str) else None


def patients_of(data: Path) -> list[str]:
    """Whom a data set's radiographs are of (`RadiographSource.patients`); empty where it does not say."""
    found = _state(data).get("patients")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _state(data: Path) -> dict[str, Any]:
    try:
        known = parse_json((data / STATE).read_bytes())
    except (OSError, ValueError, DataError):
        return {}
    return known if isinstance(known, dict) else {}


def with_meters(rig: ConeBeam, meters_per_unit: float) -> ConeBeam:
    """A rig in millimetres, in world units."""
    return rig.scaled(0.001 / meters_per_unit)


def _stands_out(p: np.ndarray) -> bool:
    """Whether something is seen at the left or right edge of a radiograph."""
    return bool(max(p[:, 0].max(), p[:, -1].max()) > TRUNCATED * max(float(p.max()), 1e-9))


def _claim(out: Path, asked: Mapping[str, Any], patients: Sequence[str]) -> bool:
    """Make a data set's folder ours; whether it is new. NerfError where it holds anything else."""
    state = out / STATE
    if state.is_file():
        try:
            known = parse_json(state.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"'{state}' cannot be read ({error}); choose another folder.") from error
        if not isinstance(known, dict) or known.get("format") != FORMAT or known.get("version") != VERSION:
            raise DataError(f"'{state}' was not written by this NeRF Toolkit; choose another folder.")
        if known.get("asked") != json.loads(json.dumps(asked)):
            raise NerfError(
                f"'{out}' holds radiographs that were made otherwise (see {STATE} there); choose another folder."
            )
        return False
    if out.exists() and (not out.is_dir() or any(path.name not in (".DS_Store",) for path in out.iterdir())):
        raise NerfError(f"'{out}' exists and holds something else; choose a new folder for the radiographs.")
    make_folder(out)
    write_json(state, {"format": FORMAT, "version": VERSION, "made": MARK, "asked": asked, "patients": list(patients)})
    return True
