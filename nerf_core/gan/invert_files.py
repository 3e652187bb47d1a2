"""Where the view to invert comes from, and what an inversion leaves in its folder."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import CheckpointError, DataError, NerfError
from ..contract.files import MARK, make_folder, write_bytes, write_json
from ..contract.xray import NOT_FOR_DIAGNOSIS
from ..data.images import read_header
from ..export.ownership import check_writable
from ..export.pictures import write_png
from ..export.video import write_video
from .dataset import load_radiographs, read_grey
from .invert import Inversion, InversionSettings, invert, novel_views
from .metrics import ViewScores, score_views
from .perceptual import FeatureNetwork, PerceptualDistance
from .run import GanRun

LEAST_SIDE = 256  # of the turntable, so that players show more than a stamp


@dataclass(frozen=True)
class GivenView:
    """The view to invert.

    Attributes
    ----------
    image : (S, S) float32 array
        Grey, 0 to 1.
    azimuth : float
        Degrees.
    name : str
        For messages and `inversion.json`.
    others : (V, S, S) float32 array, optional
        The instance's other views, to measure on.
    other_azimuths : (V,) float32 array, optional
    """

    image: np.ndarray
    azimuth: float
    name: str
    others: np.ndarray | None = None
    other_azimuths: np.ndarray | None = None


def open_view(text: str, angle: float | None, size: int) -> GivenView:
    """Read a picture, or a view of a data set.

    Parameters
    ----------
    text : str
        A file, or DATA:VIEW.
    angle : float, optional
        Degrees; without it the data set's.
    size : int
        Pixels a side that it is shrunk to.

    Raises
    ------
    DataError
        When there is no such file or view, or a picture is not square or too small.
    NerfError
        When a picture comes without its angle, or the angle is no angle.
    """
    if angle is not None and not -360.0 <= angle <= 360.0:
        raise NerfError(f"The angle must be from -360 to 360 degrees, not {angle:g}.")
    path, _, number = text.rpartition(":")
    if Path(text).is_file() or not path or not number.isdecimal():
        if not Path(text).is_file():
            raise DataError(f"There is no picture '{text}'; give a file, or DATA:VIEW with a view's number.")
        if angle is None:
            raise NerfError(f"Say with --angle where '{text}' was seen from, in degrees.")
        return GivenView(read_grey(read_header(Path(text)), size), angle % 360.0, text)
    data = load_radiographs(path, size)
    index = int(number)
    if index >= len(data):
        raise DataError(f"'{path}' has {len(data)} views, numbered from 0; there is no view {index}.")
    others = (data.instance == data.instance[index]) & (np.arange(len(data)) != index)
    azimuth = float(data.azimuths[index]) if angle is None else angle % 360.0
    if angle is not None or not others.any():
        return GivenView(data.images[index], azimuth, text)
    return GivenView(data.images[index], azimuth, text, data.images[others], data.azimuths[others])


@dataclass(frozen=True)
class InversionFiles:
    """The files of an inversion.

    Attributes
    ----------
    folder : Path
    views : int
        Novel views, evenly around.
    overwrite : bool
        Whether files that are not ours may be written over.
    """

    folder: Path
    views: int = 72
    overwrite: bool = False

    @property
    def turntable(self) -> Path:
        """The novel views as a video."""
        return self.folder / "turntable.mp4"

    @property
    def latent(self) -> Path:
        """Code and fitted generator."""
        return self.folder / "latent.safetensors"

    @property
    def facts(self) -> Path:
        """What was done and reached."""
        return self.folder / "inversion.json"

    @property
    def pictures(self) -> list[Path]:
        """A PNG for each novel view."""
        return [self.folder / "views" / f"{index:03d}.png" for index in range(self.views)]

    @property
    def azimuths(self) -> np.ndarray:
        """Degrees, from 0."""
        return 360.0 * np.arange(self.views) / self.views

    def check(self) -> None:
        """Raise a NerfError when something would be written over that is not ours, before hours of work."""
        if not 1 <= self.views <= 3600:
            raise NerfError(f"An inversion shows 1 to 3600 views, not {self.views}.")
        for path in (self.turntable, self.latent, self.facts, *self.pictures):
            check_writable(path, self.overwrite)


def write_inversion(
    run: GanRun,
    view: GivenView,
    files: InversionFiles,
    network: FeatureNetwork,
    settings: InversionSettings,
    seed: int = 0,
    fps: float = 24.0,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Invert a view and write everything; returns what `inversion.json` says.

    Raises
    ------
    NerfError
        As :func:`invert` does, or when something cannot be written.
    Cancelled
        When `should_stop` said so: nothing is written.
    """
    system = run.system
    distance = PerceptualDistance(network)
    found = invert(system, view.image, view.azimuth, distance, settings, seed, progress, should_stop)
    scores = _scores(system, found, view, distance)
    facts = {
        "made_by": MARK,
        "system": system.name,
        "image": view.name,
        "seed": seed,
        **found.to_dict(),
        **{name: score.to_dict() for name, score in scores.items()},
        "perceptual": distance.label,
        "not_for_diagnosis": NOT_FOR_DIAGNOSIS,
    }
    make_folder(files.folder / "views")
    shown = novel_views(system, found, files.azimuths)
    for path, picture in zip(files.pictures, shown, strict=True):
        write_png(path, _rgb(picture))
    write_video(files.turntable, _enlarged(shown), fps)
    write_latent(files.latent, found)
    write_json(files.facts, facts)
    return facts


def _scores(system: Any, found: Inversion, view: GivenView, distance: PerceptualDistance) -> dict[str, ViewScores]:
    scores = {
        "given_view": score_views(novel_views(system, found, np.array([view.azimuth])), view.image[None], distance)
    }
    if view.others is not None and view.other_azimuths is not None:
        made = novel_views(system, found, view.other_azimuths)
        scores["views_not_given"] = score_views(made, view.others, distance)
    return scores


def write_latent(path: Path, inversion: Inversion) -> None:
    """Code, code before the generator was fitted, turn, and the fitted generator's weights, as safetensors."""
    from safetensors.torch import save

    arrays = {"code": inversion.code, "code_only": inversion.code_only}
    arrays |= {f"generator/{name}": value for name, value in inversion.generator.state_dict().items()}
    arrays = {name: value.detach().cpu().contiguous().clone() for name, value in arrays.items()}
    facts = {"azimuth": inversion.azimuth, "turn": inversion.turn}
    write_bytes(path, save(arrays, metadata={"made_by": MARK, "facts": json.dumps(facts)}))


def read_latent(path: Path, system: Any) -> Inversion:
    """An inversion from what :func:`write_latent` wrote, for the system that it was made with.

    Raises
    ------
    CheckpointError
        When the file is missing, broken, or of a system with other networks.
    """
    import copy

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            facts = json.loads((opened.metadata() or {})["facts"])
            arrays = {name: opened.get_tensor(name).to(system.device) for name in opened.keys()}  # noqa: SIM118
        azimuth, turn = float(facts["azimuth"]), float(facts["turn"])
        generator = copy.deepcopy(system.generator_ema)
        prefix = "generator/"
        generator.load_state_dict({name[len(prefix) :]: value for name, value in arrays.items() if prefix in name})
        if arrays["code"].shape != (1, system.code_size) or arrays["code_only"].shape != arrays["code"].shape:
            raise ValueError("the code has another size")
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError, RecursionError) as error:
        raise CheckpointError(
            f"'{path}' does not hold an inversion by this run's system; invert the view again."
        ) from error
    return Inversion(azimuth, arrays["code"], turn, generator, arrays["code_only"], InversionSettings())


def _rgb(picture: np.ndarray) -> np.ndarray:
    grey = (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _enlarged(pictures: np.ndarray) -> Iterator[np.ndarray]:
    """Each pixel as a square of whole pixels."""
    times = max(1, -(-LEAST_SIDE // pictures.shape[-1]))
    for picture in pictures:
        yield _rgb(np.repeat(np.repeat(picture, times, axis=0), times, axis=1))
