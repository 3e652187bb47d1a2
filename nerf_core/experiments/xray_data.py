"""The radiographs of an X-ray experiment: made once for each scan, and the same ones measured on for every cell."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..contract.errors import Cancelled, DataError
from ..contract.files import make_folder
from ..contract.xray import preset
from ..contract.xray_words import PHANTOM
from .grid import slug
from .xray_plan import GIVEN, Scan

HELD_OUT_START = 2.0  # degrees
WINDOW_VIEWS = 8  # all around: what is white in every scan's pictures, however many views it has
SAME_ANGLE = 0.01


def nearest_given(views: int, held_out: int) -> float:
    """Degrees from a held-out view to a given one where they are nearest: 0 where one is given that is measured on."""
    held = HELD_OUT_START + 360.0 * np.arange(held_out) / held_out
    apart = held[:, None] - 360.0 * np.arange(views) / views
    return float(np.abs((apart + 180.0) % 360.0 - 180.0).min())


def source_of(scan: Scan, data: str) -> str:
    """The patient of a scan; `data` is the experiment's own."""
    return data if scan.source == GIVEN else scan.source


def short_name(source: str) -> str:
    """A patient as a table names it: a phantom by its name, a CT by its file's."""
    return source if source.startswith(PHANTOM) else Path(source).name


def same_patient(one: str, other: str) -> bool:
    """Whether two usable sources are the same phantom, or the same file."""
    return _identity(one) == _identity(other)


def _identity(source: str) -> str:
    if not source.startswith(PHANTOM):
        return str(Path(source).resolve())
    kind, _, seed = source.removeprefix(PHANTOM).partition(":")
    return f"{PHANTOM}{kind}:{int(seed or 0)}"


def check_source(source: str) -> None:
    """Refuse what is neither a phantom nor a file.

    Raises
    ------
    DataError
        One sentence.
    """
    from ..ct.phantoms import parse_phantom

    if parse_phantom(source) is None and not Path(source).exists():
        raise DataError(f"There is no CT '{source}'; name a NIfTI file, a DICOM folder, or phantom:KIND:SEED.")


def scan_folder(root: Path, scan: Scan, data: str, held_out: int) -> Path:
    """Where a scan's data set lies, by everything that it depends on."""
    told = json.dumps([source_of(scan, data), vars(scan), held_out, WINDOW_VIEWS], sort_keys=True)
    key = hashlib.sha256(told.encode()).hexdigest()[:8]
    return root / "data" / f"{_plain(short_name(source_of(scan, data)))}-{scan.views}-views-{key}"


def make_scan(
    root: Path,
    scan: Scan,
    data: str,
    held_out: int,
    progress: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> Path:
    """A scan's data set, made or as it lies there: `train` is given, `test` is measured on, the truth is beside them.

    Raises
    ------
    NerfError
        When the patient cannot be read, or the disk is full.
    Cancelled
        What is made stays.
    """
    path = scan_folder(root, scan, data, held_out)
    turns = [("train", 360.0 * index / scan.views) for index in range(scan.views)]
    turns += [("test", HELD_OUT_START + 360.0 * index / held_out) for index in range(held_out)]
    make_folder(path.parent)
    _make(path, source_of(scan, data), scan, turns, None, True, progress, should_stop)
    return path


def make_population(
    root: Path,
    scan: Scan,
    population: Sequence[str],
    views: int,
    window: tuple[float, float],
    progress: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> Path:
    """A folder of other patients' radiographs, a data set each, by the scan's rig and through one window.

    Raises
    ------
    NerfError, Cancelled
        See :func:`make_scan`.
    """
    rig = [scan.preset, scan.pixels, scan.voxels, scan.noise]
    key = hashlib.sha256(json.dumps([list(population), views, rig, list(window)]).encode()).hexdigest()[:8]
    folder = make_folder(root / "data" / f"population-{len(population)}-{key}")
    turns = [("train", 360.0 * index / views) for index in range(views)]
    for number, source in enumerate(population):
        if should_stop():
            raise Cancelled
        place = folder / f"{number + 1:04d}-{_plain(short_name(source))}"
        _make(place, source, scan, turns, window, False, lambda _part: None, should_stop)
        progress((number + 1) / len(population))
    return folder


def _make(
    path: Path,
    source: str,
    scan: Scan,
    turns: Sequence[tuple[str, float]],
    window: tuple[float, float] | None,
    with_truth: bool,
    progress: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> None:
    from ..xray.drr import RadiographPlan, make_radiographs, whitest, with_meters
    from ..xray.noise import Noise
    from ..xray.sources import open_radiograph_source
    from ..xray.turntable import named

    if (path / "transforms.json").is_file():
        return
    opened = open_radiograph_source(source, scan.voxels)
    sides = opened.bounds[1] - opened.bounds[0]
    rig = with_meters(preset(scan.preset, 1000.0 * float(sides.max())).with_pixels(scan.pixels, scan.pixels), 1.0)
    center = opened.bounds.mean(axis=0)
    views = named([(split, rig.camera(center, angle)) for split, angle in turns])
    if window is None:  # from the front alone a chest is thin: each scan's own would be another one
        shown = [opened.line_integrals(camera, should_stop) for camera in rig.cameras(center, WINDOW_VIEWS)]
        window = 0.0, whitest(max(float(image.max()) for image in shown), np.concatenate(shown, axis=None))
    plan = RadiographPlan(opened, views, rig, window, Noise.parse(scan.noise, 0), with_truth=with_truth)
    make_radiographs(plan, path, should_stop, lambda done, total: progress(done / total))


def _plain(name: str) -> str:
    return slug(name.removesuffix(".gz").removesuffix(".nii").replace(":", "-"))[:40]
