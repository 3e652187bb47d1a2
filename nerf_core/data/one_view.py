"""A single view of a data set: its camera, its pixels and, where there is any, its depth."""

from pathlib import Path

from ..contract.errors import DataError
from ..contract.transforms import SPLITS
from .dataset import frame_camera
from .depth import depth_file, read_depth
from .documents import read_documents
from .images import read_image
from .line_integrals import line_integral_source, read_line_integrals
from .placement import Placement
from .views import View


def load_view(path: str | Path, split: str, index: int, downscale: int = 1, placement: Placement | None = None) -> View:
    """Read one picture of a data set, and nothing of the others.

    Parameters
    ----------
    path : path
        As `load_dataset` takes it.
    split : {'train', 'val', 'test'}
    index : int
        Which of the split, from 0.
    downscale : int
        Shrink the picture by this factor; the camera follows.
    placement : Placement, optional
        Which way is up, and how large the scene is.

    Raises
    ------
    DataError
        When the data set, the split or the view is not there or not usable. A depth map that cannot be read is left
        out.
    """
    if split not in SPLITS:
        raise DataError(f"'{split}' is not a split; the splits are {', '.join(SPLITS)}.")
    if not Path(path).exists():
        raise DataError(f"The data set '{path}' is gone; there is no {split} view to compare with.")
    documents = read_documents(path, None, placement)
    frames = documents.frames
    views = frames.get(split) or []
    if not views:
        raise DataError(f"The data set '{path}' has no {split} split; it has {', '.join(frames) or 'none'}.")
    if not 0 <= index < len(views):
        raise DataError(
            f"The {split} split of '{path}' has {len(views)} views, 0 to {len(views) - 1}; there is no view {index}."
        )
    frame = views[index]
    header, camera = frame_camera(frame)
    try:
        rgba = read_image(header, (camera.width, camera.height), downscale)
        facts = documents.xray
        line = None if facts is None else read_line_integrals(line_integral_source(frame, facts), header, rgba)
    except DataError as error:
        raise DataError(f"The {frame.where} is not usable: {error}") from error
    camera = camera.resized(rgba.shape[1], rgba.shape[0])
    try:
        file = depth_file(frame)
        depth = None if file is None else read_depth(file, camera, rgba)
    except DataError:  # a run that was trained without depth is looked at without it
        depth = None
    return View(frame.name, camera, rgba, depth, line)
