"""Where a capture's cameras stand: rigs and splits as plain geometry, without bpy.

A rig gives viewing directions (unit vectors from the subject's centre to a camera) for the three splits. Training
views are spread evenly; held-out views lie between them, so that they measure interpolation and not repetition.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..vendor.nerf_core.contract.camera import Camera, look_at
from ..vendor.nerf_core.contract.errors import NerfError

GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
# The lowest ring of the upper hemisphere, as sin(elevation): a camera in the floor's own plane sees nothing of it.
HORIZON = math.sin(math.radians(5.0))
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitCounts:
    """How many views each split has."""

    train: int
    val: int = 0
    test: int = 0

    def __post_init__(self) -> None:
        if self.train < 1 or self.val < 0 or self.test < 0:
            raise NerfError("A capture needs at least one training view, and no count may be negative.")


@dataclass(frozen=True)
class RigView:
    """One camera of a rig: its split and its (4, 4) camera-to-world matrix, OpenGL axes, world space."""

    split: str
    c2w: np.ndarray


def fibonacci_directions(count: int, lowest: float = -1.0, turn: float = 0.0) -> np.ndarray:
    """Evenly spread unit directions: Fibonacci lattice over a sphere, or over its cap above `lowest`.

    Parameters
    ----------
    count : int
    lowest : float
        sin(elevation) below which no direction lies; -1 is the whole sphere, 0 its upper half.
    turn : float
        Radians by which the lattice is turned around Z.

    Returns
    -------
    (count, 3) float64 array

    References
    ----------
    Swinbank and Purser, "Fibonacci grids: A novel approach to global modelling", QJRMS 2006.
    """
    index = np.arange(count)
    z = 1.0 - (1.0 - lowest) * (index + 0.5) / max(count, 1)
    radius = np.sqrt(np.maximum(0.0, 1.0 - z * z))
    angle = GOLDEN_ANGLE * index + turn
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=-1)


def sphere_directions(counts: SplitCounts, upper_half: bool = False) -> dict[str, np.ndarray]:
    """Directions of a Fibonacci rig for each split; held-out ones lie in the gaps between training views.

    Every held-out direction starts from an even lattice of its own, so that together they cover the sphere, and moves
    within about one training spacing to the place that is farthest from every view chosen before it.
    """
    lowest = HORIZON if upper_half else -1.0
    train = fibonacci_directions(counts.train, lowest)
    held_out = counts.val + counts.test
    chosen = {"train": train, "val": np.empty((0, 3)), "test": np.empty((0, 3))}
    if not held_out:
        return chosen
    candidates = fibonacci_directions(32 * (counts.train + held_out), lowest, turn=0.5)
    spacing = math.sqrt(2.0 * math.pi * (1.0 - lowest) / counts.train)
    taken = train
    found = []
    for wanted in fibonacci_directions(held_out, lowest, turn=1.0):
        near = candidates[candidates @ wanted > math.cos(min(spacing, math.pi))]
        near = near if len(near) else candidates
        best = near[np.argmin((near @ taken.T).max(axis=1))]
        taken = np.vstack([taken, best])
        found.append(best)
    for split, index in _deal(held_out, counts).items():
        chosen[split] = np.array([found[i] for i in index]).reshape(-1, 3)
    return chosen


def orbit_directions(counts: SplitCounts, elevation: float) -> dict[str, np.ndarray]:
    """Directions of a turntable: one turn around Z at one elevation (radians), held-out views in the gaps."""
    held_out = counts.val + counts.test
    gap = 2.0 * math.pi / counts.train
    train = gap * np.arange(counts.train)
    # Gaps are handed out evenly over the turn; a gap that gets several views is divided evenly.
    gaps = [int(i * counts.train / held_out) for i in range(held_out)]
    angles = []
    for i, own in enumerate(gaps):
        first, shared = gaps.index(own), gaps.count(own)
        angles.append(gap * (own + (i - first + 1) / (shared + 1)))
    dealt = _deal(held_out, counts)
    split_angles = {"train": train, **{split: np.array([angles[i] for i in dealt[split]]) for split in dealt}}
    flat, height = math.cos(elevation), math.sin(elevation)
    return {
        split: np.stack([flat * np.cos(a), flat * np.sin(a), np.full_like(a, height)], axis=-1).reshape(-1, 3)
        for split, a in split_angles.items()
    }


def split_sequence(total: int, val: int, test: int) -> list[str]:
    """The split of each of `total` cameras or frames that exist already: held-out ones are spread evenly among them.

    Raises
    ------
    NerfError
        When nothing would be left to train on.
    """
    if total < 1:
        raise NerfError("There is no camera to capture from.")
    if total - val - test < 1:
        raise NerfError(
            f"There are {total} views, and {val} validation and {test} test views were asked for: none is left to "
            "train on; ask for fewer held-out views or add cameras."
        )
    held_out = val + test
    splits = ["train"] * total
    for split, index in _deal(held_out, SplitCounts(total - held_out, val, test)).items():
        for i in index:
            splits[int((i + 0.5) * total / held_out)] = split
    return splits


def place(directions: dict[str, np.ndarray], centre: np.ndarray, radius: float) -> list[RigView]:
    """Cameras at `radius` from `centre` along each direction, looking at the centre with Z up."""
    centre = np.asarray(centre, dtype=np.float64)
    return [
        RigView(split, look_at(centre + radius * direction, centre))
        for split in SPLITS
        for direction in directions.get(split, ())
    ]


def fit_radius(bounds: np.ndarray, directions: Sequence[np.ndarray] | np.ndarray, lens: Camera, margin: float) -> float:
    """The least distance from the bounds' centre at which every camera sees the whole box.

    Parameters
    ----------
    bounds : (2, 3) float array
        Smallest and largest corner, world space.
    directions : (N, 3) float array
        From the centre to the cameras.
    lens : Camera
        Any camera with the rig's intrinsics; its pose is not looked at.
    margin : float
        Part of the picture's half side that stays free around the subject, 0 to below 1.

    Returns
    -------
    float
        Scene units. For an orthographic lens the distance does not change the picture, and the box's diagonal serves.

    Raises
    ------
    NerfError
        When the principal point lies outside the picture, so that no distance shows the centre.
    """
    bounds = np.asarray(bounds, dtype=np.float64)
    half = np.maximum((bounds[1] - bounds[0]) / 2, 1e-6)
    if lens.kind != "perspective":
        return float(2.0 * np.linalg.norm(half))
    corners = half * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    left, right = lens.cx / lens.fl_x, (lens.width - lens.cx) / lens.fl_x
    top, bottom = lens.cy / lens.fl_y, (lens.height - lens.cy) / lens.fl_y
    if min(left, right, top, bottom) <= 0:
        raise NerfError("The lens shift moves the subject out of the picture; set the shift to 0 or give a radius.")
    keep = 1.0 - margin
    needed = 0.0
    for direction in directions:
        rotation = look_at(direction, np.zeros(3))[:3, :3]
        x, y, z = (corners @ rotation).T
        across = np.maximum(np.where(x < 0, -x / left, x / right), np.where(y < 0, -y / bottom, y / top)) / keep
        needed = max(needed, float((z + across).max()))
    # No camera inside the box, however wide the lens.
    return max(needed, float(np.linalg.norm(half)) * 1.01)


def _deal(held_out: int, counts: SplitCounts) -> dict[str, list[int]]:
    """Deal 0 .. held_out - 1 to val and test so that both are spread over the whole row."""
    dealt: dict[str, list[int]] = {"val": [], "test": []}
    for i in range(held_out):
        is_val = (i + 1) * counts.val // held_out > i * counts.val // held_out
        dealt["val" if is_val else "test"].append(i)
    return dealt
