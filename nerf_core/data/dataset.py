"""A data set in memory: `load_dataset` reads documents, checks headers, decodes images in parallel, finds bounds."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, DataError
from ..contract.frames import FrameSpec
from ..contract.transforms import SPLITS, ColorSpace
from ..contract.xray import XrayFacts
from .bounds import box_from_cameras, subject_from_cameras, visual_hull_box
from .depth import DepthFile, depth_file, read_depth
from .documents import read_documents
from .images import ImageHeader, downscaled_size, read_header, read_image
from .line_integrals import LineIntegralSource, line_integral_source, read_line_integrals
from .memory import free_memory
from .placement import Placement
from .views import View, Views

WHITE, BLACK = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Dataset:
    """All that was read from a data set.

    Attributes
    ----------
    splits : dict of str to Views
        Only splits with images, of 'train', 'val', 'test'.
    bounds : (2, 3) float64 array
        World box that the field shall fill: the document's own, else found (see `load_dataset`).
    subject : (2, 3) float64 array
        World box of what matters most, for a field that goes on outside it: `bounds` where there is alpha or the
        document gives them; else instant-ngp's unit cube where there is one; else found from the cameras.
    color_space : {'srgb', 'linear'}
        What the files were: 'linear' for EXR.
    has_alpha : bool
        Whether any pixel of any loaded image is transparent.
    background : (3,) floats
        What images are composited over to be compared, in the images' encoded colour: white where there is alpha
        (NeRF-synthetic's convention), else black.
    path : Path
        As given.
    aabb_scale : int or None
        instant-ngp's: how many times larger than `unit_cube` the scene with its surroundings is, a power of two.
    unit_cube : (2, 3) float64 array or None
        World box that instant-ngp takes the subject to fill; None where the document has no `aabb_scale`.
    xray : XrayFacts or None
        How the radiographs were made, lengths in units of this world; None for pictures of light. Where it is given,
        every view has its `line_integral`.
    """

    splits: dict[str, Views]
    bounds: np.ndarray
    subject: np.ndarray
    color_space: ColorSpace
    has_alpha: bool
    background: tuple[float, float, float]
    path: Path
    aabb_scale: int | None = None
    unit_cube: np.ndarray | None = None
    xray: XrayFacts | None = None


def load_dataset(
    path: str | Path,
    downscale: int = 1,
    splits: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    placement: Placement | None = None,
    depth: Sequence[str] = (),
) -> Dataset:
    """Read a NeRF-synthetic folder, a `transforms.json` of instant-ngp, nerfstudio or our own, or a COLMAP model.

    Bounds come from the document's `nerf_toolkit` key; else, with alpha, from the masks' visual hull (inside
    instant-ngp's box or COLMAP's points when there are such); else from `aabb_scale` as instant-ngp understands it, or
    from COLMAP's points; else from the cameras.

    Parameters
    ----------
    path : path
        The folder, or the JSON file in it.
    downscale : int
        Shrink images by this factor by area averaging of premultiplied colour; cameras follow.
    splits : sequence of str, optional
        Read only these; by default all. Asked for and absent is an error for 'train' alone.
    progress : callable, optional
        Called with (images done, images in all) from the calling thread.
    should_stop : callable, optional
        Asked between images.
    placement : Placement, optional
        Which way is up, and how large the scene is.
    depth : sequence of str
        Splits whose depth maps are read too, where frames name any (`data.depth`).

    Raises
    ------
    DataError
        One sentence that names the file and what to do.
    Cancelled
        When `should_stop` said so.
    """
    if downscale < 1:
        raise DataError(f"downscale must be 1 or more, not {downscale}.")
    unknown = [split for split in splits or () if split not in SPLITS]
    if unknown:
        raise DataError(f"'{unknown[0]}' is not a split; the splits are {', '.join(SPLITS)}.")
    documents = read_documents(path, None if splits is None else tuple(splits), placement)
    if (splits is None or "train" in splits) and not documents.frames.get("train"):
        raise DataError(f"The data set '{path}' has an empty train split; it needs at least one training image.")
    if not documents.frames:
        there = ", ".join(read_documents(path).frames) or "none"
        raise DataError(f"The data set '{path}' has no {' or '.join(splits or ())} split; it has {there}.")
    jobs = [
        _Job(
            split,
            frame,
            *frame_camera(frame),
            depth_file(frame) if split in depth else None,
            None if documents.xray is None else line_integral_source(frame, documents.xray),
        )
        for split, frames in documents.frames.items()
        for frame in frames
    ]
    kinds = {job.header.is_exr for job in jobs}
    if len(kinds) > 1:
        raise DataError(f"The data set '{path}' mixes EXR with other images; convert them all to one kind.")
    _check_memory(jobs, downscale, path)
    decoded = _decode(jobs, downscale, progress, should_stop)
    color_space: ColorSpace = "linear" if kinds.pop() else "srgb"
    has_alpha = any(bool((image[..., 3] < 255).any()) for _, image, _, _ in decoded)
    by_split: dict[str, list[View]] = {split: [] for split in documents.frames}
    for job, parts in zip(jobs, decoded, strict=True):
        by_split[job.split].append(View(job.frame.name, *parts))
    loaded = {split: Views(views, color_space, has_alpha) for split, views in by_split.items()}
    shown = by_split.get("train") or next(iter(by_split.values()))
    bounds = subject = _bounds(documents.bounds, documents.aabb, shown)
    if documents.bounds is None and not has_alpha:
        cube = documents.unit_cube
        subject = subject_from_cameras([view.camera for view in shown]) if cube is None else cube
    return Dataset(
        splits=loaded,
        bounds=bounds,
        subject=subject,
        color_space=color_space,
        has_alpha=has_alpha,
        background=WHITE if has_alpha else BLACK,
        path=Path(path),
        aabb_scale=documents.aabb_scale,
        unit_cube=documents.unit_cube,
        xray=documents.xray,
    )


@dataclass(frozen=True)
class _Job:
    split: str
    frame: FrameSpec
    header: ImageHeader
    camera: Camera
    depth: DepthFile | None
    line_integral: LineIntegralSource | None


_Decoded = tuple[Camera, np.ndarray, np.ndarray | None, np.ndarray | None]


def frame_camera(frame: FrameSpec) -> tuple[ImageHeader, Camera]:
    """An image's header and its full camera; DataError where its size is not the document's."""
    header = read_header(frame.image)
    stored, upright = (header.width, header.height), (header.height, header.width)
    told = tuple(actual if said is None else said for said, actual in zip(frame.size(), stored, strict=True))
    size = stored
    if told != stored:
        if not (header.turned and told == upright):
            raise DataError(
                f"The image '{frame.image}' is {stored[0]}x{stored[1]} pixels, but the {frame.where} says "
                f"{told[0]:g}x{told[1]:g}; resize the image or correct w and h."
            )
        size = upright
    return header, frame.camera(*size)


def _check_memory(jobs: list[_Job], downscale: int, path: str | Path) -> None:
    """A sentence before reading beats a process killed in the middle of it."""
    sizes = [downscaled_size((job.camera.width, job.camera.height), downscale) for job in jobs]
    bytes_of = [4 + 4 * (job.depth is not None) + 4 * (job.line_integral is not None) for job in jobs]
    needed = sum(a_pixel * width * height for a_pixel, (width, height) in zip(bytes_of, sizes, strict=True))
    free = free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"The images of '{path}' need {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            f"shrink them by a downscale of {math.ceil(downscale * math.sqrt(2 * needed / max(free, 1)))} or use fewer."
        )


def _decode(
    jobs: list[_Job],
    downscale: int,
    progress: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> list[_Decoded]:
    """Every job's pixels; several jobs at once, the first error stops the rest."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="nerf-images") as pool:
        futures = [pool.submit(_read, job, downscale) for job in jobs]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(futures))
                if should_stop is not None and should_stop():
                    raise Cancelled
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _read(job: _Job, downscale: int) -> _Decoded:
    try:
        image = read_image(job.header, (job.camera.width, job.camera.height), downscale)
        camera = job.camera.resized(image.shape[1], image.shape[0])
        depth = None if job.depth is None else read_depth(job.depth, camera, image)
        line = None if job.line_integral is None else read_line_integrals(job.line_integral, job.header, image)
        return camera, image, depth, line
    except DataError as error:
        raise DataError(f"The {job.frame.where} is not usable: {error}") from error


def _bounds(given: np.ndarray | None, aabb: np.ndarray | None, views: Sequence[View]) -> np.ndarray:
    if given is not None:
        return given
    region = box_from_cameras([view.camera for view in views]) if aabb is None else aabb
    hull = visual_hull_box(views, region)
    return region if hull is None else hull
