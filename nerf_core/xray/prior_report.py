"""A reconstruction from a radiograph data set, and its files: volume, radiographs, turntable, numbers, pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, DataError, NerfError
from ..contract.files import make_folder, write_json
from ..contract.xray import NOT_FOR_DIAGNOSIS, XrayFacts, mu_to_hu
from ..data.dataset import Dataset, load_dataset
from .grid import Grid
from .population import PER_METRE
from .prior import Prior
from .prior_cases import Case
from .prior_evaluation import OURS, PEER, Score, find_volume, score
from .single_view import Reconstruction, prior_grid

REPORT, FORMAT = "prior_report.json", "nerf_toolkit.prior_reconstruction"
TURNTABLE_FRAMES, TURNTABLE_FPS = 72, 24.0


@dataclass(frozen=True)
class Given:
    """A data set's radiographs, and which of them a volume is found from.

    Attributes
    ----------
    names : list of str
        Of all views: split and file.
    line_integrals : list of (H, W) float32
    cameras : list of Camera
    chosen : list of int
        The views that are given.
    facts : XrayFacts
    world_from_prior : (4, 4)
        The prior's metres to the data set's world, its origin in the middle of the data set's bounds.
    """

    names: list[str]
    line_integrals: list[np.ndarray]
    cameras: list[Camera]
    chosen: list[int]
    facts: XrayFacts
    world_from_prior: np.ndarray


def read_given(
    data: str | Path,
    count: int | None = None,
    views: Sequence[str] = (),
    should_stop: Callable[[], bool] | None = None,
) -> Given:
    """Read a radiograph data set and choose the given views.

    Parameters
    ----------
    data : path
    count : int, optional
        So many of the train split, evenly spread from its first.
    views : sequence of str
        SPLIT:INDEX each, instead.

    Raises
    ------
    DataError
        When it is no radiograph data set, its radiographs were scaled one by one, or a view is not in it.
    """
    dataset = load_dataset(data, should_stop=should_stop)
    facts = dataset.xray
    if facts is None:
        raise DataError(f"The data set '{data}' holds no radiographs; make some with 'nerf drr'.")
    if facts.scaling != "physical":
        raise DataError(
            f"The radiographs of '{data}' were scaled one by one ('scaling': '{facts.scaling}'), so that their line "
            "integrals are not known; make them with 'nerf drr --scaling physical'."
        )
    names: list[str] = []
    pictures: list[np.ndarray] = []
    cameras: list[Camera] = []
    first: dict[str, tuple[int, int]] = {}
    for split, loaded in dataset.splits.items():
        first[split] = len(names), len(loaded)
        for view in loaded.views:
            assert view.line_integral is not None
            names.append(f"{split}/{Path(view.name).stem}")
            pictures.append(view.line_integral)
            cameras.append(view.camera)
    chosen = _named(views, first, data) if views else _spread(count or 1, first, data)
    world_from_prior = np.diag([*[1.0 / facts.meters_per_unit] * 3, 1.0])
    world_from_prior[:3, 3] = _middle(dataset)
    return Given(names, pictures, cameras, chosen, facts, world_from_prior)


def reconstruct_given(
    given: Given,
    prior: Prior,
    data: str | Path,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[dict[str, Reconstruction], list[Score], Case | None]:
    """The volume, the peer's beside it, and both measured where the data set has the truth."""
    views = [given.line_integrals[index] for index in given.chosen]
    cameras = [given.cameras[index] for index in given.chosen]
    case = _case(given, prior, data)  # first: what is wrong with the truth is told before minutes of work
    found: dict[str, Reconstruction] = {}
    for number, way in enumerate((OURS, PEER)):

        def told(done: float, number: int = number) -> None:
            if progress is not None:
                progress((number + done) / 2)

        found[way] = find_volume(
            way, views, cameras, prior, given.world_from_prior, given.facts.meters_per_unit, told, should_stop
        )
    scores = [] if case is None else [score(case, each, way, given.chosen) for way, each in found.items()]
    return found, scores, case


def claim_report_folder(folder: str | Path) -> Path:
    """A folder for a reconstruction's files: new, empty, or one of ours, whose files are written over."""
    folder = make_folder(folder)
    strangers = sorted(path.name for path in folder.iterdir())
    if strangers and not (folder / REPORT).exists():
        raise NerfError(
            f"The folder '{folder}' already holds other files (such as '{strangers[0]}') and is not a reconstruction "
            "of nerf prior; choose an empty or new folder."
        )
    return folder


def write_report(
    folder: Path,
    given: Given,
    found: Reconstruction,
    document: dict[str, Any],
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Write volume, deviation, radiographs at all of the data set's views, and a turntable.

    ::

        FOLDER/volume.nii.gz           Hounsfield units, RAS millimetres of the data set's world
        FOLDER/deviation.nii.gz        how unsure each voxel was before the residual, 1 / cm
        FOLDER/radiographs/SPLIT/NAME.png and .exr
        FOLDER/turntable.mp4
        FOLDER/prior_report.json

    Raises
    ------
    Cancelled
        When `should_stop` said so; what is written by then is whole.
    """
    from ..ct import Volume, write_nifti
    from ..export.exr import write_exr
    from ..export.pictures import write_png
    from ..export.video import VideoWriter
    from .prior_pictures import radiograph_picture

    # First, so that the folder is known as ours from now on.
    write_json(folder / REPORT, {"format": FORMAT, "not_for_diagnosis": NOT_FOR_DIAGNOSIS, **document})
    per_cm = 1.0 / (PER_METRE * given.facts.meters_per_unit)
    millimetres = np.diag([*[1e3 * given.facts.meters_per_unit] * 3, 1.0]) @ found.grid.world_from_index
    hu = mu_to_hu(found.mu * np.float32(per_cm)).astype(np.float32)
    write_nifti(folder / "volume.nii.gz", Volume(hu, millimetres, "reconstruction"))
    if found.deviation is not None:
        unsure = (found.deviation * per_cm).astype(np.float32)
        write_nifti(folder / "deviation.nii.gz", Volume(unsure, millimetres, "deviation"))
    total = len(given.cameras) + TURNTABLE_FRAMES

    def tell(done: int) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled
        if progress is not None:
            progress(done / total)

    for index, (name, camera) in enumerate(zip(given.names, given.cameras, strict=True)):
        tell(index)
        path = folder / "radiographs" / name
        make_folder(path.parent)
        p = found.radiographs([camera])[0]
        write_exr(path.with_name(path.name + ".exr"), {"V": p})
        write_png(path.with_name(path.name + ".png"), radiograph_picture(p, given.facts.window))
    with VideoWriter(folder / "turntable.mp4", TURNTABLE_FPS) as video:
        for index, camera in enumerate(_around(given.cameras[given.chosen[0]], found.grid.center)):
            tell(len(given.cameras) + index)
            video.add(radiograph_picture(found.radiographs([camera])[0], given.facts.window))
        video.finish()
    if progress is not None:
        progress(1.0)


def _around(camera: Camera, center: np.ndarray) -> list[Camera]:
    """A camera turned about the vertical through a point."""
    from dataclasses import replace

    turned = []
    for index in range(TURNTABLE_FRAMES):
        angle = 2 * np.pi * index / TURNTABLE_FRAMES
        turn, there = np.eye(4), np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        there[:3, 3] = center
        turned.append(replace(camera, c2w=there @ turn @ np.linalg.inv(there) @ camera.c2w))
    return turned


def _middle(dataset: Dataset) -> np.ndarray:
    return np.asarray(dataset.bounds, dtype=np.float64).mean(axis=0)


def _spread(count: int, first: dict[str, tuple[int, int]], data: str | Path) -> list[int]:
    if "train" not in first:
        raise DataError(f"The data set '{data}' has no train split to take views of; name them with --view.")
    start, length = first["train"]
    if not 1 <= count <= length:
        raise DataError(f"The train split of '{data}' has {length} views, so {count} of them cannot be given.")
    if count <= 4:  # quarter turns: opposite views of a parallel beam would be the same
        return sorted({start + round(length * index / 4) % length for index in range(count)})
    return [start + length * index // count for index in range(count)]


def _named(views: Sequence[str], first: dict[str, tuple[int, int]], data: str | Path) -> list[int]:
    chosen = []
    for text in views:
        split, _, index = text.partition(":")
        if split not in first or not index.isascii() or not index.isdigit() or int(index) >= first[split][1]:
            there = ", ".join(f"{name}:0 to {name}:{length - 1}" for name, (_, length) in first.items())
            raise DataError(f"The view '{text}' is not in '{data}', which has {there}.")
        chosen.append(first[split][0] + int(index))
    return list(dict.fromkeys(chosen))


def _case(given: Given, prior: Prior, data: str | Path) -> Case | None:
    """The truth on the prior's voxels, where the data set has one."""
    from .true_volume import find_truth

    grid = prior_grid(prior, given.world_from_prior)
    truth = find_truth(data, longest=2 * max(grid.shape))
    if truth is None:
        return None
    values = _reduced(truth.grid, truth.mu, grid)
    return Case(Path(data).name, grid, values, given.cameras, given.line_integrals, given.world_from_prior)


def _reduced(own: Grid, mu: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) float32: means over a voxel's eighths, as the truth may be finer; of those that lie in the truth's box.

    A population's volumes are laid on the prior's grid like that: a voxel that is cut by the box holds what is inside.
    """
    total, inside = np.zeros(grid.shape), np.zeros(grid.shape)
    offsets = np.array(np.meshgrid(*((-0.25, 0.25),) * 3, indexing="ij")).reshape(3, 8).T
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    everywhere = np.ones(own.shape, dtype=np.float32)
    for offset in offsets:
        points = grid.to_world(index + offset)
        total += own.sampled(mu, points)
        inside += own.sampled(everywhere, points)
    return (total / np.maximum(inside, 1.0)).astype(np.float32)
