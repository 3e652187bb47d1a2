"""COLMAP models, text and binary, read through pycolmap: cameras, lenses, image files and sparse points.

COLMAP's cameras look along +Z with +Y down and its poses are world to camera; here they become camera to world in
OpenGL axes. Its world has no defined up and no scale: `placement` gives it both. COLMAP counts pixels as the contract
does: the centre of the first is (0.5, 0.5). Every 8th image by name is held out as val, as LLFF and NeRF do.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import DataError
from ..contract.frames import FrameSpec
from ..contract.json_data import shown
from ..contract.transforms import FARTHEST
from .bounds import subject_from_cameras
from .colmap_check import check_binary
from .transforms import TransformsFile, hold_out

PARTS = ("cameras", "images", "points3D")
# The parameters of COLMAP's camera models, in its order, by the names of `transforms.json`.
MODELS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fl_x", "fl_y", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2"),
}
FOLDERS = ("", "sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "colmap")
PERCENTILES = (1.0, 99.0)  # of the points' coordinates: stray points lie far out
FEWEST_POINTS = 20
PADDING = 0.05
_MISSING = "Reading COLMAP models needs the package 'pycolmap', which is not installed; run 'pip install pycolmap'."


def find_model(path: str | Path) -> Path | None:
    """The folder with a COLMAP model that a path means; None where there is none.

    Takes the model's folder or one of its files, or a folder with `sparse/0`, `sparse`, `colmap/sparse/0` in it; of
    several models the one with the lowest number.
    """
    path = Path(path)
    if path.is_file() and path.stem in PARTS and path.suffix in (".bin", ".txt"):
        path = path.parent
    for inner in FOLDERS:
        if _extension(path / inner):
            return path / inner
    numbered = [folder for folder in path.glob("sparse/*") if folder.name.isdigit() and _extension(folder)]
    return min(numbered, key=lambda folder: int(folder.name)) if numbered else None


def read_colmap(folder: Path) -> TransformsFile:
    """Read a model; poses and points are in COLMAP's own world, boxes are left out.

    Parameters
    ----------
    folder : Path
        Of :func:`find_model`.

    Raises
    ------
    DataError
        One sentence that names the file and what to do.
    """
    model = _load(folder)
    document = folder / f"images{_extension(folder)}"
    posed = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.image_id)
    if not posed:
        raise DataError(f"The COLMAP model '{folder}' has no images with a pose; reconstruct it again.")
    written = _written_names(document) if document.suffix == ".txt" else {}
    names = [written.get(image.image_id, name) for image, name in zip(posed, _names(posed, document), strict=True)]
    pictures = _pictures(folder, names[0])
    values = {number: _lens(camera, folder) for number, camera in model.cameras.items()}
    frames, missing = [], []
    for image, name in zip(posed, names, strict=True):
        picture = pictures / name
        if not _is_file(picture):
            missing.append(name)
            continue
        own = values.get(image.camera_id)
        if own is None:
            raise DataError(f"The image '{shown(name)}' of '{document}' has no camera; export the model again.")
        frames.append(FrameSpec(document, name, picture, own, {}, _pose(image, name, document)))
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(
            f"The image '{shown(missing[0])}'{more} of the COLMAP model '{folder}' is not in '{pictures}'; add it."
        )
    points, colors = _points(model)
    return TransformsFile(hold_out(frames), kind="colmap", points=points, colors=colors)


def boxes(points: np.ndarray | None, cameras: list[Camera]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Where a scene of sparse points is, and what of it matters most.

    Parameters
    ----------
    points : (N, 3) array or None
        World space.
    cameras : list of Camera
        Of the training images.

    Returns
    -------
    region, subject : (2, 3) float64 arrays or None
        The 1st to 99th percentile of the points on each axis, 5 % wider; and the part of it that lies in the cube
        about what cameras that stand around something look at (`subject_from_cameras`). None without enough points.
    """
    if points is None or len(points) < FEWEST_POINTS:
        return None, None
    low, high = np.percentile(points, PERCENTILES, axis=0)
    pad = PADDING * float(np.max(high - low))
    if not pad > 0:
        return None, None
    region = np.stack([low - pad, high + pad])
    cube = subject_from_cameras(cameras)
    inner = np.stack([np.maximum(region[0], cube[0]), np.minimum(region[1], cube[1])])
    # Cameras that look outwards are inside their cube, and what they look at is outside: there the points decide.
    extent = inner[1] - inner[0]
    around = bool((extent > 0.1 * (cube[1] - cube[0])).all()) and not _stand_within(cameras, cube)
    return region, inner if around else region


def _stand_within(cameras: list[Camera], cube: np.ndarray) -> bool:
    places = np.array([camera.position for camera in cameras])
    return bool(((places >= cube[0]) & (places <= cube[1])).all(axis=1).mean() > 0.5)


def _extension(folder: Path) -> str | None:
    """'.bin' or '.txt', the kind of a folder's model; binary comes first, as with COLMAP; None where there is none."""
    for extension in (".bin", ".txt"):
        if all(_is_file(folder / f"{part}{extension}") for part in PARTS[:2]):
            return extension
    return None


def _load(folder: Path) -> Any:
    """Pycolmap's reconstruction."""
    extension = _extension(folder)
    points = folder / f"points3D{extension}"
    if not points.is_file():
        raise DataError(f"The COLMAP model '{folder}' lacks '{points.name}'; copy the whole model.")
    for part in PARTS[:2]:
        if not (folder / f"{part}{extension}").stat().st_size:
            raise DataError(f"The COLMAP file '{folder / (part + str(extension))}' is empty; export the model again.")
    if extension == ".bin":
        check_binary(folder)
    try:
        import pycolmap
    except ImportError as error:
        raise DataError(_MISSING) from error
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value  # what is wrong is told by the exception
    model = pycolmap.Reconstruction()
    try:
        (model.read_binary if extension == ".bin" else model.read_text)(str(folder))
    except Exception as error:  # pycolmap raises ValueError, IndexError, MemoryError and more, as the C++ below it does
        reason = shown(" ".join(str(error).split()) or type(error).__name__)
        raise DataError(f"The COLMAP model '{folder}' is broken ({reason}); export it again.") from error
    return model


def _names(images: list[Any], document: Path) -> list[str]:
    try:
        return [image.name for image in images]
    except UnicodeDecodeError as error:
        raise DataError(f"An image's name in '{document}' is not UTF-8 text; rename the image.") from error


def _written_names(document: Path) -> dict[int, str]:
    """Images' names by their numbers, of a text model: pycolmap ends a name at its first space."""
    names = {}
    with open(document, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            fields = line.strip().split(maxsplit=9)
            if len(fields) == 10 and fields[0].isdigit():
                names[int(fields[0])] = fields[9]
            next(stream, "")  # the image's points, in a line that may be empty
    return names


def _lens(camera: Any, folder: Path) -> dict[str, Any]:
    """A COLMAP camera by the names of `transforms.json`."""
    name = camera.model_name
    keys = MODELS.get(name)
    where = f"camera {camera.camera_id} of the COLMAP model '{folder}'"
    if keys is None:
        known = ", ".join(MODELS)
        raise DataError(
            f"The {where} has the camera model {name}, which is not read ({known} are); undistort the images "
            "with COLMAP's image_undistorter."
        )
    if len(keys) != len(camera.params):
        raise DataError(f"The {where} has {len(camera.params)} parameters, {name} has {len(keys)}; export it again.")
    values = dict(zip(keys, (float(value) for value in camera.params), strict=True))
    if "f" in values:
        values["fl_x"] = values["fl_y"] = values.pop("f")
    return {**values, "w": int(camera.width), "h": int(camera.height)}


def _pose(image: Any, name: str, document: Path) -> np.ndarray:
    """(4, 4) camera to world, OpenGL axes."""
    matrix = np.asarray(image.cam_from_world().matrix(), dtype=np.float64)
    rotation, translation = matrix[:, :3], matrix[:, 3]
    usable = np.isfinite(matrix).all() and np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3
    if not usable or np.abs(translation).max() > FARTHEST:
        raise DataError(
            f"The pose of the image '{shown(name)}' in '{document}' is no rotation and place; export it again."
        )
    c2w = np.eye(4)
    c2w[:3, :3] = rotation.T * (1.0, -1.0, -1.0)  # +Y down and +Z forward become +Y up and +Z backward
    c2w[:3, 3] = -rotation.T @ translation
    return c2w


def _points(model: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    found = list(model.points3D.values())
    if not found:
        return None, None
    places = np.array([point.xyz for point in found], dtype=np.float64).reshape(-1, 3)
    colors = np.array([point.color for point in found], dtype=np.uint8).reshape(-1, 3)
    usable = np.isfinite(places).all(axis=1) & (np.abs(places) < FARTHEST).all(axis=1)
    return (places[usable], colors[usable]) if usable.any() else (None, None)


def _pictures(folder: Path, name: str) -> Path:
    """The folder with the images: `images` in or above the model's folder, or one of those itself."""
    candidates = list(_around(folder))
    for candidate in candidates:
        if _is_file(candidate / name):
            return candidate
    return next((candidate for candidate in candidates if candidate.is_dir()), candidates[0])


def _around(folder: Path) -> Iterator[Path]:
    whole = folder.absolute()
    above = (whole, *whole.parents[:3])
    yield from (place / "images" for place in above)
    yield from above


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long or with a null byte names no file
        return False
