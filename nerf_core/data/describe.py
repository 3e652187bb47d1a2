"""What a data set holds, without its pixels: for showing it in Blender and for writing its cameras elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, DataError
from ..contract.transforms import SPLITS, ColorSpace
from ..contract.xray import XrayFacts
from .bounds import MAX_VIEWS, box_from_cameras, subject_from_cameras, visual_hull_box
from .dataset import frame_camera
from .documents import read_documents
from .images import ImageHeader, read_image
from .placement import Placement
from .transforms import TransformsFile
from .views import View


@dataclass(frozen=True)
class DescribedFrame:
    """One image of a data set: its name there, its file (absolute), its split and its camera in the world."""

    name: str
    image: Path
    split: str
    camera: Camera


@dataclass(frozen=True)
class Description:
    """A data set as far as its headers and documents tell it.

    Attributes
    ----------
    kind : {'nerf-synthetic', 'transforms', 'colmap'}
    frames : list of DescribedFrame
        Train first, then val and test.
    bounds : (2, 3) float64 array
        The box that a training on it fills, or, where the surroundings are trained too, resolves best; world space.
    color_space : {'srgb', 'linear'}
    has_alpha : bool
        Whether transparency tells the subject from its surroundings.
    points, colors : (N, 3) arrays or None
        COLMAP's sparse points, world space, and their sRGB bytes.
    xray : XrayFacts or None
        How radiographs were made; None for pictures of light.
    """

    kind: str
    frames: list[DescribedFrame]
    bounds: np.ndarray
    color_space: ColorSpace
    has_alpha: bool
    points: np.ndarray | None
    colors: np.ndarray | None
    xray: XrayFacts | None = None


def describe_dataset(
    path: str | Path,
    placement: Placement | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Description:
    """Read a data set's documents and its images' headers; pixels of at most 64 images, where a box hangs on them.

    Parameters
    ----------
    path : path
        As `load_dataset` takes it.
    placement : Placement, optional
    progress : callable, optional
        Called with the part that is done, 0 to 1.
    should_stop : callable, optional
        Asked between images.

    Raises
    ------
    DataError
        One sentence that names the file and what to do.
    Cancelled
        When `should_stop` said so.
    """
    documents = read_documents(path, None, placement)
    frames: list[DescribedFrame] = []
    headers: list[ImageHeader] = []
    total = sum(len(specs) for specs in documents.frames.values())
    for split in SPLITS:
        for spec in documents.frames.get(split, ()):
            header, camera = frame_camera(spec)
            frames.append(DescribedFrame(spec.name, header.path.absolute(), split, camera))
            headers.append(header)
            _go_on(0.5 * len(frames) / total, progress, should_stop)
    if not frames:
        raise DataError(f"The data set '{path}' names no images; it needs at least one.")
    if len({header.is_exr for header in headers}) > 1:
        raise DataError(f"The data set '{path}' mixes EXR with other images; convert them all to one kind.")
    shown = [index for index, frame in enumerate(frames) if frame.split == "train"] or list(range(len(frames)))
    bounds, has_alpha = _box(documents, [frames[i] for i in shown], [headers[i] for i in shown], progress, should_stop)
    space: ColorSpace = "linear" if headers[0].is_exr else "srgb"
    return Description(
        documents.kind, frames, bounds, space, has_alpha, documents.points, documents.colors, documents.xray
    )


def _box(
    documents: TransformsFile,
    frames: list[DescribedFrame],
    headers: list[ImageHeader],
    progress: Callable[[float], None] | None,
    should_stop: Callable[[], bool] | None,
) -> tuple[np.ndarray, bool]:
    """The box that training would take, as `load_dataset` finds it, and whether there is transparency."""
    may_have_alpha = any(header.has_alpha for header in headers)
    if documents.bounds is not None:
        return documents.bounds, may_have_alpha
    cameras = [frame.camera for frame in frames]
    if may_have_alpha:
        picked = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MAX_VIEWS)).astype(int))
        views = []
        for done, index in enumerate(picked, start=1):
            frame, camera = frames[index], cameras[index]
            pixels = read_image(headers[index], (camera.width, camera.height))
            views.append(View(frame.name, camera, pixels))
            _go_on(0.5 + 0.5 * done / len(picked), progress, should_stop)
        region = box_from_cameras(cameras) if documents.aabb is None else documents.aabb
        hull = visual_hull_box(views, region)
        if hull is not None:
            return hull, True
    cube = documents.unit_cube
    return subject_from_cameras(cameras) if cube is None else cube, False


def _go_on(done: float, progress: Callable[[float], None] | None, should_stop: Callable[[], bool] | None) -> None:
    if should_stop is not None and should_stop():
        raise Cancelled
    if progress is not None:
        progress(done)
