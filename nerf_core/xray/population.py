"""A population of volumes on one grid: phantoms by ranges of seeds, CT files and folders, and CTs made more by warping.

Every volume is laid with its body's centre at the grid's origin, RAS axes, attenuation in 1 / m.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..contract.errors import Cancelled, DataError, NerfError
from ..contract.json_data import shown
from ..contract.xray_words import PHANTOM
from .grid import Grid

PER_METRE = 100.0  # from 1 / cm
BODY = 0.08  # 1 / cm: more than lung and cushions
MOST_VOLUMES = 4096
WARP, WARP_SCALE = 0.012, 0.06  # of an augmented volume: metres at control points, shares of its size
WARP_POINTS = 5
Origin = Literal["synthetic", "real", "augmented"]


@dataclass(frozen=True)
class Member:
    """One volume of a population: where it comes from, or what it is a warped copy of."""

    source: str
    origin: Origin
    seed: int = 0

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.source} warped {self.seed}" if self.origin == "augmented" else self.source


@dataclass(frozen=True)
class Population:
    """Volumes on a grid.

    Attributes
    ----------
    grid : Grid
        Metres, RAS, about the bodies' centres.
    volumes : (N, X, Y, Z) float32
        1 / m.
    members : tuple of Member
    """

    grid: Grid
    volumes: np.ndarray
    members: tuple[Member, ...]


def list_members(sources: Sequence[str], augment: int = 0) -> list[Member]:
    """What sources name, in order.

    Parameters
    ----------
    sources : sequence of str
        `phantom:KIND:FIRST-LAST` or `phantom:KIND:SEED`; a CT (NIfTI file, DICOM folder or file); a folder of NIfTI
        files or of DICOM folders.
    augment : int
        So many warped copies of each real volume beside it.

    Raises
    ------
    DataError
        When a source names nothing.
    """
    members: list[Member] = []
    for source in sources:
        if source.startswith(PHANTOM):
            members += [Member(name, "synthetic") for name in _phantoms(source)]
            continue
        for path in _ct_paths(Path(source)):
            members.append(Member(str(path), "real"))
            members += [Member(str(path), "augmented", seed) for seed in range(1, augment + 1)]
    if not members:
        raise DataError("No volumes were given; name phantoms (phantom:chest:0-63), CT files or folders of them.")
    if len(members) > MOST_VOLUMES:
        raise DataError(f"{len(members)} volumes are too many for one prior; give at most {MOST_VOLUMES}.")
    return members


def load_population(
    members: Sequence[Member],
    longest: int = 64,
    grid: Grid | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Population:
    """Read members onto one grid.

    Parameters
    ----------
    members : sequence of Member
    longest : int
        Voxels along the longest side of the box that holds all of them, each about its body's centre.
    grid : Grid, optional
        Take this one instead.

    Raises
    ------
    NerfError
        When a volume cannot be read, or `longest` is out of range.
    Cancelled
        When `should_stop` said so.
    """
    if not 8 <= longest <= 256:
        raise NerfError(f"A prior's grid has 8 to 256 voxels along its longest side, not {longest}.")
    half = np.zeros(3)
    if grid is None:
        for source in dict.fromkeys(member.source for member in members):
            bounds, center = _extent(source)
            half = np.maximum(half, np.maximum(bounds[1] - center, center - bounds[0]))
        grid = Grid.of_bounds(np.stack([-half, half]), longest)
    volumes = np.empty((len(members), *grid.shape), dtype=np.float32)
    for index, member in enumerate(members):
        if should_stop is not None and should_stop():
            raise Cancelled
        volumes[index] = member_volume(member, grid)
        if progress is not None:
            progress((index + 1) / len(members))
    return Population(grid, volumes, tuple(members))


def member_volume(member: Member, grid: Grid) -> np.ndarray:
    """(X, Y, Z) float32, 1 / m: a member on a grid."""
    from ..ct.phantoms import parse_phantom
    from ..ct.source import open_source

    phantom = parse_phantom(member.source)
    if phantom is not None:
        bounds = phantom.bounds * 1e-3
        whole = np.allclose(bounds, grid.bounds, atol=1e-6)
        volume = phantom.volume(
            grid.shape if whole else int(np.ceil((bounds[1] - bounds[0]).max() / min(grid.spacing)))
        )
        center = phantom.bounds.mean(axis=0)
    else:
        volume = open_source(member.source)
        center = body_center(volume.mu(), volume.affine)
        volume = volume.resampled(spacing=[max(1e3 * min(grid.spacing), step) for step in volume.spacing])
    millimetres = np.diag([1e-3, 1e-3, 1e-3, 1.0])
    millimetres[:3, 3] = -1e-3 * center
    own = Grid(volume.shape, millimetres @ volume.affine)
    values = volume.mu().astype(np.float32) * np.float32(PER_METRE)
    if member.origin != "augmented" and own.shape == grid.shape and np.allclose(own.bounds, grid.bounds, atol=1e-6):
        return values
    points = grid.slab(0, grid.shape[0])
    if member.origin == "augmented":
        points = points + _random_warp(grid, member.seed)
    return own.sampled(values, points).astype(np.float32)


def body_center(mu: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(3,) RAS millimetres: the middle of the box of the largest connected body of more than lung's attenuation."""
    from scipy.ndimage import binary_opening, find_objects, label

    step = np.maximum(1, np.array(mu.shape) // 96)
    coarse = mu[:: step[0], :: step[1], :: step[2]] > BODY
    # Opened, so that a table's thin plates hold on to nothing.
    labels, count = label(binary_opening(coarse, iterations=2))
    if not count:
        box = [slice(0, n) for n in coarse.shape]
    else:
        sizes = np.bincount(labels.reshape(-1))[1:]
        box = list(find_objects(labels)[int(np.argmax(sizes))])
    middle = np.array([(part.start + part.stop - 1) / 2 for part in box]) * step
    return affine[:3, :3] @ middle + affine[:3, 3]


def _extent(source: str) -> tuple[np.ndarray, np.ndarray]:
    """The volume's box and its body's centre, metres."""
    from ..ct.phantoms import parse_phantom
    from ..ct.source import open_source

    phantom = parse_phantom(source)
    if phantom is not None:
        return phantom.bounds * 1e-3, phantom.bounds.mean(axis=0) * 1e-3
    volume = open_source(source)
    return volume.bounds * 1e-3, body_center(volume.mu(), volume.affine) * 1e-3


def _random_warp(grid: Grid, seed: int) -> np.ndarray:
    """(X, Y, Z, 3) metres: a smooth displacement and a change of size."""
    from .warp import upsampled

    rng = np.random.default_rng([0x9E37, seed])
    control = rng.normal(scale=WARP, size=(3, WARP_POINTS, WARP_POINTS, WARP_POINTS))
    field = np.moveaxis(upsampled(control, grid.shape), 0, -1)
    return field + grid.slab(0, grid.shape[0]) * rng.normal(scale=WARP_SCALE, size=3)


def _phantoms(source: str) -> list[str]:
    """`phantom:KIND:FIRST-LAST` as single names; what is no range is left to the phantoms' own reader."""
    from ..ct.phantoms import parse_phantom

    found = re.fullmatch(r"(phantom:[^:]*):(\d{1,9})-(\d{1,9})", source)
    if found is None:
        parse_phantom(source)
        return [source]
    first, last = int(found[2]), int(found[3])
    if last < first or last - first >= MOST_VOLUMES:
        raise DataError(
            f"'{shown(source)}' is no range of phantoms: write phantom:KIND:FIRST-LAST, such as phantom:chest:0-63, "
            f"with at most {MOST_VOLUMES}."
        )
    names = [f"{found[1]}:{seed}" for seed in range(first, last + 1)]
    parse_phantom(names[0])
    return names


def _ct_paths(path: Path) -> list[Path]:
    """A CT, or the CTs in a folder: its NIfTI files, else its folders, else itself as a DICOM series."""
    if not path.exists():
        raise DataError(f"'{path}' does not exist; name a CT, a folder of CTs, or phantom:KIND:FIRST-LAST.")
    if not path.is_dir():
        return [path]
    files = sorted(each for each in path.iterdir() if each.name.lower().endswith((".nii", ".nii.gz")))
    if files:
        return files
    folders = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    return folders or [path]
