"""Which radiographs are taken: a one-axis turntable's views, those held out from training, and what they are called."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import NerfError
from ..contract.transforms import SPLITS
from ..contract.xray import DEFAULT_VIEWS, ConeBeam

DEFAULT_VAL = 8
MOST_VIEWS = 100_000


@dataclass(frozen=True)
class RadiographView:
    """A radiograph that is to be taken.

    Attributes
    ----------
    name : str
        Its picture in the data set, such as ``train/0001.png``.
    split : {'train', 'val', 'test'}
    camera : Camera
        A pinhole at the source.
    """

    name: str
    split: str
    camera: Camera

    @property
    def exr(self) -> str:
        """Its picture's name with the suffix of floats."""
        return self.name.removesuffix(".png") + ".exr"


def turntable(
    rig: ConeBeam,
    center: np.ndarray,
    count: int = DEFAULT_VIEWS,
    val: int = DEFAULT_VAL,
    train: int | None = None,
    start: float = 0.0,
    arc: float = 360.0,
) -> list[RadiographView]:
    """The views of a turntable about +z.

    Parameters
    ----------
    rig : ConeBeam
        In world units.
    center : (3,) array
        On the axis, world.
    count : int
        Views, ``arc / count`` degrees apart, the first at `start`.
    val : int
        Held-out views half a step off, evenly spread: none of them is a view to train on.
    train : int, optional
        Train on so many, evenly spread; the others of the `count` are the test split. By default on all.
    start, arc : float
        Degrees; a negative arc turns clockwise as seen from above.

    Raises
    ------
    NerfError
        When the numbers do not fit.
    """
    if not 1 <= count <= MOST_VIEWS:
        raise NerfError(f"A turntable has 1 to {MOST_VIEWS} views, not {count}.")
    if not 0 <= val <= count:
        raise NerfError(
            f"Of {count} views 0 to {count} in-between ones can be held out, not {val}. To train on few and measure on "
            "many, take many and train on some of them (--train-views)."
        )
    if train is not None and not 1 <= train <= count:
        raise NerfError(f"1 to {count} of {count} views can be trained on, not {train}.")
    if not math.isfinite(start) or not 0.0 < abs(arc) <= 360.0:
        raise NerfError(
            f"A turntable's views cover up to 360 degrees, either way, from a finite angle on; not {arc:g} from "
            f"{start:g}."
        )
    step = arc / count
    trained = set(range(count)) if train is None else {index * count // train for index in range(train)}
    angles: list[tuple[str, float]] = [
        ("train" if index in trained else "test", start + step * index) for index in range(count)
    ]
    angles += [("val", start + step * (index * count // val + 0.5)) for index in range(val)]
    return named([(split, rig.camera(center, angle)) for split, angle in angles])


def named(views: Sequence[tuple[str, Camera]]) -> list[RadiographView]:
    """Views with names: counted from 0 within each split."""
    counts = dict.fromkeys(SPLITS, 0)
    digits = max(4, len(str(len(views))))
    found = []
    for split, camera in views:
        if split not in counts:
            raise NerfError(f"'{split}' is not a split; the splits are {', '.join(SPLITS)}.")
        found.append(RadiographView(f"{split}/{counts[split]:0{digits}d}.png", split, camera))
        counts[split] += 1
    return found
