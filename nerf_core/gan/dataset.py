"""What a generative system learns from: instances, each a turn of radiographs, small enough to lie in memory.

DATA is one instance or a folder of them. An instance is a radiograph data set (`nerf drr`: a folder with
`transforms*.json`, whose cameras give the angles), or a folder of pictures at even angles about one axis (the MedNeRF
protocol's layout: 72 pictures, one every 5 degrees, in the order of their names' numbers).
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, DataError
from ..data.dataset import frame_camera
from ..data.documents import read_documents
from ..data.images import ImageHeader, read_header, read_image
from ..data.memory import free_memory

PICTURES = (".png", ".jpg", ".jpeg")
DOCUMENTS = ("transforms.json", "transforms_train.json")
ONE_AXIS = 2.0  # degrees that a source may stand off the plane of the others
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Radiographs:
    """All images of all instances.

    Attributes
    ----------
    images : (N, size, size) float32 array
        Grey, 0 (background) to 1, as the PNGs show them; row 0 is the top.
    azimuths : (N,) float32 array
        Degrees, 0 to 360, as in `gan.camera`.
    instance : (N,) int64 array
        Which instance an image is of; the images of one lie together, by azimuth.
    names : list of str
        Of the instances: their folders' names.
    field_of_view : float or None
        Degrees across the images; None where the pictures do not say.
    path : Path
        As given.
    """

    images: np.ndarray
    azimuths: np.ndarray
    instance: np.ndarray
    names: list[str]
    field_of_view: float | None
    path: Path

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """The images' side in pixels."""
        return self.images.shape[1]

    def of(self, instance: int) -> tuple[np.ndarray, np.ndarray]:
        """(V, size, size) images and (V,) azimuths of one instance."""
        chosen = self.instance == instance
        return self.images[chosen], self.azimuths[chosen]

    def only(self, instances: Sequence[int]) -> "Radiographs":
        """The same with some of the instances, numbered anew in the order given."""
        picked = [np.flatnonzero(self.instance == instance) for instance in instances]
        order = np.concatenate(picked)
        numbers = np.repeat(np.arange(len(picked)), [len(part) for part in picked])
        return Radiographs(
            self.images[order],
            self.azimuths[order],
            numbers.astype(np.int64),
            [self.names[instance] for instance in instances],
            self.field_of_view,
            self.path,
        )


def load_radiographs(
    path: str | Path,
    size: int,
    splits: tuple[str, ...] = ("train",),
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Radiographs:
    """Read one instance or a folder of instances.

    Parameters
    ----------
    path : path
        A radiograph data set or its JSON file, a folder of pictures, or a folder of such folders.
    size : int
        Pixels a side; images are shrunk to it by area averaging.
    splits : tuple of str
        Which of a radiograph data set's splits.
    progress : callable, optional
        Called with (images done, images in all).
    should_stop : callable, optional
        Asked between images.

    Raises
    ------
    DataError
        One sentence that names the file and what to do: nothing to read, pictures that are not square, smaller than
        `size` or of several sizes, cameras that do not turn about one axis, or too little memory.
    Cancelled
        When `should_stop` said so.
    """
    path = Path(path)
    found = [_instance(folder, splits) for folder in _instance_folders(path)]
    total = sum(len(instance.headers) for instance in found)
    _check_memory(total, size, path)
    images = np.empty((total, size, size), dtype=np.float32)
    done = 0
    for instance in found:
        for header in instance.headers:
            if should_stop is not None and should_stop():
                raise Cancelled
            images[done] = read_grey(header, size)
            done += 1
            if progress is not None:
                progress(done, total)
    views = [instance.field_of_view for instance in found]
    if any((view is None) != (views[0] is None) or abs((view or 0) - (views[0] or 0)) > 0.5 for view in views):
        raise DataError(
            f"The instances in '{path}' have different fields of view ({_shown(views)} degrees); use one rig."
        )
    return Radiographs(
        images,
        np.concatenate([instance.azimuths for instance in found]).astype(np.float32),
        np.repeat(np.arange(len(found)), [len(instance.headers) for instance in found]).astype(np.int64),
        [instance.name for instance in found],
        views[0],
        path,
    )


@dataclass(frozen=True)
class _Instance:
    name: str
    headers: list[ImageHeader]
    azimuths: np.ndarray
    field_of_view: float | None


def _instance_folders(path: Path) -> list[Path]:
    """The folders (or documents) of the instances, in the order of their names' numbers."""
    if not path.exists():
        raise DataError(f"There is no data set '{path}'; give a folder of radiographs, or of such folders.")
    if path.is_file() or _is_instance(path):
        return [path]
    found = sorted((child for child in path.iterdir() if child.is_dir() and _is_instance(child)), key=_natural)
    if not found:
        raise DataError(
            f"'{path}' holds neither pictures nor radiograph data sets; give a folder of radiographs (as 'nerf drr' "
            "makes), of PNG pictures at even angles, or a folder of such folders."
        )
    return found


def _is_instance(folder: Path) -> bool:
    return any((folder / name).is_file() for name in DOCUMENTS) or bool(_pictures(folder))


def _pictures(folder: Path) -> list[Path]:
    found = (child for child in folder.iterdir() if child.suffix.lower() in PICTURES and child.name[0] != ".")
    return sorted((child for child in found if child.is_file()), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers in names count as numbers: view_2 comes before view_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _instance(path: Path, splits: tuple[str, ...]) -> _Instance:
    if path.is_file() or any((path / name).is_file() for name in DOCUMENTS):
        return _from_cameras(path, splits)
    headers = [read_header(picture) for picture in _pictures(path)]
    azimuths = 360.0 * np.arange(len(headers)) / len(headers)
    return _Instance(path.name, headers, azimuths, None)


def _from_cameras(path: Path, splits: tuple[str, ...]) -> _Instance:
    documents = read_documents(path, splits)
    frames = [frame for split in splits for frame in documents.frames.get(split, [])]
    if not frames:
        raise DataError(f"The radiographs '{path}' have no {' or '.join(splits)} split; make them with 'nerf drr'.")
    headers, cameras = zip(*map(frame_camera, frames), strict=True)
    azimuths = one_axis_azimuths(cameras, path)
    views = [2.0 * math.degrees(math.atan(0.5 * camera.width / camera.fl_x)) for camera in cameras]
    if max(views) - min(views) > 0.5:
        raise DataError(f"The cameras of '{path}' have different fields of view; a turn of radiographs has one rig.")
    order = np.argsort(azimuths, kind="stable")
    name = path.parent.name if path.is_file() else path.name
    return _Instance(name, [headers[index] for index in order], azimuths[order], float(np.mean(views)))


def one_axis_azimuths(cameras: Sequence[Camera], path: Path) -> np.ndarray:
    """(N,) azimuths in degrees of cameras that turn about one vertical axis.

    Raises
    ------
    DataError
        When a camera looks up or down, or stands on its side.
    """
    forward = np.array([camera.forward for camera in cameras])
    right = np.array([camera.c2w[:3, 0] for camera in cameras])
    tilt = np.degrees(np.arcsin(np.clip(np.abs(np.stack([forward[:, 2], right[:, 2]])), 0.0, 1.0)))
    if tilt.max() > ONE_AXIS:
        raise DataError(
            f"The cameras of '{path}' do not turn about one upright axis (one is {tilt.max():.0f} degrees off); the "
            "generative systems need a turntable, as 'nerf drr' makes."
        )
    return np.degrees(np.arctan2(-forward[:, 0], forward[:, 1])) % 360.0


def read_grey(header: ImageHeader, size: int) -> np.ndarray:
    """One picture, composited over black, as grey of the asked size: (size, size) float32 of 0 to 1.

    Raises
    ------
    DataError
        When it is not square, or smaller than that.
    """
    from PIL import Image

    if header.width != header.height:
        raise DataError(f"'{header.path}' is {header.width}x{header.height} pixels; radiographs must be square.")
    if header.width < size:
        raise DataError(
            f"'{header.path}' has {header.width} pixels a side, fewer than the {size} asked for; set 'image_size' to "
            f"{header.width} or less."
        )
    rgba = read_image(header, (header.width, header.height)).astype(np.float32) / 255.0
    grey = (rgba[..., :3] @ LUMA) * rgba[..., 3]
    if header.width == size:
        return grey
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BOX))


def _check_memory(count: int, size: int, path: Path) -> None:
    needed, free = 4 * count * size * size, free_memory()
    if free is not None and needed > free // 2:
        raise DataError(
            f"The {count} images of '{path}' at {size} pixels need {needed / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free; use fewer instances or a smaller 'image_size'."
        )


def _shown(views: Sequence[float | None]) -> str:
    return ", ".join("unknown" if view is None else f"{view:.1f}" for view in dict.fromkeys(views))
