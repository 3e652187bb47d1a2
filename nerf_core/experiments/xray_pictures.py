"""The pictures of an X-ray experiment: truth | system | error of radiographs and slices, and turns of radiographs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled
from ..contract.files import make_folder
from ..contract.xray import ConeBeam, XrayFacts
from ..export.pictures import side_by_side, write_png
from ..export.video import VideoWriter
from ..xray.grid import Grid
from ..xray.true_volume import Truth
from .folder import ExperimentFolder
from .plan_file import Turntable

SHOWN_SIDE = 256  # pixels that a picture is enlarged to, at least: labels are to be read
SLICE_TOP = 1.15  # brightest attenuation shown, in water's; bone beyond it is white
WATER = 20.6  # 1 / m


def shown_line_integral(values: np.ndarray, facts: XrayFacts) -> np.ndarray:
    """(H, W) line integrals as the data set's pictures show them, 0 to 1."""
    low, high = facts.window
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)


def radiograph_picture(values: np.ndarray, truth: np.ndarray, facts: XrayFacts, name: str, caption: str) -> np.ndarray:
    """Truth, system and error of a radiograph beside each other, (H, W, 3) bytes."""
    return _compared(shown_line_integral(values, facts), shown_line_integral(truth, facts), name, caption)


def slice_picture(volume: np.ndarray, truth: Truth, per_metre: float, name: str, caption: str) -> np.ndarray:
    """Truth, system and error of an axial slice, and of a coronal one under it, (H, W, 3) bytes.

    Seen as radiologists do: axial from the feet, the patient's right on the left; coronal from the front.
    """
    rows = []
    for axis, label in ((2, caption), (1, "")):
        pair = [_cut(each, truth.grid, axis) * (per_metre / (SLICE_TOP * WATER)) for each in (volume, truth.mu)]
        rows.append(_compared(np.clip(pair[0], 0.0, 1.0), np.clip(pair[1], 0.0, 1.0), name, label))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _cut(values: np.ndarray, grid: Grid, axis: int) -> np.ndarray:
    """The middle slice across a world axis, rows downwards, with square pixels."""
    bounds = grid.bounds
    step = float(grid.spacing.min())
    across, down = [other for other in range(3) if other != axis]
    # The world's axes are RAS: x grows to the patient's right, which is on the left of these pictures.
    x = np.arange(bounds[1, across] - 0.5 * step, bounds[0, across], -step)
    y = np.arange(bounds[1, down] - 0.5 * step, bounds[0, down], -step)
    points = np.empty((len(y), len(x), 3))
    points[..., across], points[..., down] = np.meshgrid(x, y)
    points[..., axis] = bounds[:, axis].mean()
    return grid.sampled(values, points).astype(np.float32)


def _compared(image: np.ndarray, truth: np.ndarray, name: str, caption: str) -> np.ndarray:
    times = max(1, -(-SHOWN_SIDE // truth.shape[1]))
    pair = [np.repeat(np.repeat(each, times, 0), times, 1)[..., None].repeat(3, -1) for each in (truth, image)]
    return side_by_side(pair[0], pair[1], caption, name)


def turntable_cameras(
    facts: XrayFacts, cameras: Sequence[Camera], center: np.ndarray, turntable: Turntable
) -> list[Camera]:
    """One turn of the data set's own rig, in square pictures.

    Parameters
    ----------
    facts : XrayFacts
    cameras : sequence of Camera
        The data set's, where the facts do not say what the rig was.
    center : (3,) array
        World; on the axis.
    turntable : Turntable
    """
    first = cameras[0]
    axis = facts.source_axis or float(np.linalg.norm(first.position - center))
    detector = facts.source_detector or 1.5 * axis
    size = detector * first.width / first.fl_x, detector * first.height / first.fl_y
    longest = max(size)
    rig = ConeBeam(axis, detector, (longest, longest), (turntable.size, turntable.size))
    return rig.cameras(center, turntable.frames)


def render_turn(
    folder: ExperimentFolder,
    name: str,
    project: Callable[[Camera], np.ndarray],
    cameras: Sequence[Camera],
    facts: XrayFacts,
    fps: float,
    progress: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> None:
    """A cell's turn as numbered pictures and a video.

    Raises
    ------
    NerfError
        When the disk is full.
    Cancelled
        Whole pictures stay.
    """
    make_folder(folder.turntable(name))
    paths = folder.pictures(name, len(cameras))
    with VideoWriter(folder.turntable(name).with_suffix(".mp4"), fps) as video:
        for index, (camera, path) in enumerate(zip(cameras, paths, strict=True)):
            if should_stop():
                raise Cancelled
            grey = shown_line_integral(project(camera), facts)
            picture = np.repeat((grey * 255.0 + 0.5).astype(np.uint8)[..., None], 3, axis=-1)
            write_png(path, picture)
            video.add(picture)
            progress((index + 1) / len(cameras))
        video.finish()


def picture_path(folder: ExperimentFolder, name: str, kind: str) -> Path:
    """Where a cell's picture lies: kind is 'radiograph' or 'slice'."""
    return folder.root / "pictures" / f"{name}-{kind}.png"
