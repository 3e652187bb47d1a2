"""The data set's own picture for a camera: found by its place and lens, read when it is asked for."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, DataError
from ..contract.frames import FrameSpec
from .dataset import frame_camera
from .depth import depth_file, read_depth
from .documents import read_documents
from .images import ImageHeader, downscaled_size, read_image
from .placement import Placement

SAME_TURN = 1e-4
"""By how much the axes of two cameras' rotations may differ: a tenth of a pixel at a focal length of 1,000."""
SAME_PLACE = 1e-4
"""How far apart two cameras may be, in longest sides of the subject's box."""
SAME_LENS = 2e-4
"""By which part focal lengths may differ: Blender holds a camera's angles as float32."""
SAME_PIXEL = 0.05
"""By how much pixels may be shifted."""
KEPT = 4
"""Decoded views: a picture is asked for by parts."""


@dataclass(frozen=True)
class Truth:
    """What a data set knows of a picture.

    Attributes
    ----------
    name : str
        Of the view.
    split : str
    rgba : (H, W, 4) uint8 array
        sRGB with straight alpha.
    depth : (H, W) float32 array or None
        Distance along the unit rays, in units of the data set's world; 0 where it is not known.
    """

    name: str
    split: str
    rgba: np.ndarray
    depth: np.ndarray | None


class Truths:
    """A data set's views, by their cameras.

    Parameters
    ----------
    path : path
        As `load_dataset` takes it.
    placement : Placement, optional
    size : float
        Longest side of the subject's box, world units.
    should_stop : callable, optional
        Asked between images, whose headers are read.

    Raises
    ------
    DataError
        When the data set is not usable.
    Cancelled
        When `should_stop` said so.
    """

    def __init__(
        self,
        path: str | Path,
        placement: Placement | None = None,
        size: float = 1.0,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self._size = size
        self._views: list[tuple[str, FrameSpec, ImageHeader, Camera]] = []
        self._read: OrderedDict[tuple[int, int], tuple[np.ndarray, np.ndarray | None]] = OrderedDict()
        for split, frames in read_documents(path, None, placement).frames.items():
            for frame in frames:
                if should_stop is not None and should_stop():
                    raise Cancelled
                self._views.append((split, frame, *frame_camera(frame)))

    def of(self, camera: Camera) -> Truth | None:
        """What a camera should see; None where it is none of the data set's.

        A camera is one of them when it has its place, direction and lens; its picture may be smaller by a whole factor,
        and a part of it: rows or a border.
        """
        for index, (split, frame, _, whole) in enumerate(self._views):
            found = window_of(camera, whole, SAME_PLACE * self._size)
            if found is not None:
                factor, left, top = found
                rgba, depth = self._pixels(index, factor)
                part = np.s_[top : top + camera.height, left : left + camera.width]
                return Truth(frame.name, split, rgba[part], None if depth is None else depth[part])
        return None

    def _pixels(self, index: int, factor: int) -> tuple[np.ndarray, np.ndarray | None]:
        key = (index, factor)
        if key not in self._read:
            _, frame, header, camera = self._views[index]
            rgba = read_image(header, (camera.width, camera.height), factor)
            small = camera.resized(rgba.shape[1], rgba.shape[0])
            try:
                file = depth_file(frame)
                depth = None if file is None else read_depth(file, small, rgba)
            except DataError:  # a run that was trained without depth is looked at without it
                depth = None
            self._read[key] = rgba, depth
        self._read.move_to_end(key)
        while len(self._read) > KEPT:
            self._read.popitem(last=False)
        return self._read[key]


def window_of(camera: Camera, whole: Camera, place: float) -> tuple[int, int, int] | None:
    """Which part of another camera's picture a camera sees; None where it sees something else.

    Parameters
    ----------
    camera : Camera
    whole : Camera
    place : float
        How far apart they may be, world units.

    Returns
    -------
    factor : int
        By which `whole`'s picture must be shrunk.
    left, top : int
        Of the part in the shrunk picture, pixels.
    """
    if camera.kind != whole.kind or camera.distortion != whole.distortion:
        return None
    if np.abs(camera.c2w[:3, :3] - whole.c2w[:3, :3]).max() > SAME_TURN:
        return None
    if np.linalg.norm(camera.position - whole.position) > place:
        return None
    factor = max(1, round(whole.fl_x / camera.fl_x))
    small = whole.resized(*downscaled_size((whole.width, whole.height), factor))
    ratios = np.array([camera.fl_x / small.fl_x, camera.fl_y / small.fl_y])
    if np.abs(ratios - 1.0).max() > SAME_LENS:
        return None
    offset = np.array([small.cx - camera.cx, small.cy - camera.cy])
    left, top = (int(value) for value in np.round(offset))
    if np.abs(offset - (left, top)).max() > SAME_PIXEL:
        return None
    inside = 0 <= left <= small.width - camera.width and 0 <= top <= small.height - camera.height
    return (factor, left, top) if inside else None
