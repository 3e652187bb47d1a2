"""Reading `transforms.json` documents: NeRF-synthetic, instant-ngp, nerfstudio, and our own; no pixels yet.

Poses are camera-to-world in OpenGL axes, Z up, in all of them; they are taken as they are (nerfstudio's
`applied_transform` only tells what was done to them before).

Splits. A folder with `transforms_train.json` is NeRF-synthetic: one file a split. A single file is split by
nerfstudio's `train_filenames`, `val_filenames`, `test_filenames` where it has any of them; else every 8th frame by name
is held out as val, as LLFF and NeRF do (none when there are fewer than 8 frames).
"""

import posixpath
import re
from collections import ChainMap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import DataError
from ..contract.frames import FrameSpec, check_model, find_image, load_json, optional_number, pose
from ..contract.json_data import shown
from ..contract.transforms import FARTHEST, SPLITS, TOOLKIT_KEY, is_box
from ..contract.xray import XrayFacts

HOLD_OUT_EVERY = 8
MAX_AABB_SCALE = 128  # instant-ngp's: eight cascades


@dataclass(frozen=True)
class TransformsFile:
    """A data set as its documents describe it.

    Attributes
    ----------
    frames : dict of split name to list of FrameSpec
    bounds : (2, 3) float64 array or None
        Our own `nerf_toolkit` bounds, world space.
    aabb : (2, 3) float64 array or None
        instant-ngp's box: its unit cube times `aabb_scale`, world space; None where the document has no `aabb_scale`.
    aabb_scale : int or None
        A power of two, 1 to 128.
    unit_cube : (2, 3) float64 array or None
        instant-ngp's unit cube, from `scale` and `offset`, world space: what it takes the subject to be, while
        `aabb` holds the surroundings too. None where `aabb` is.
    kind : {'transforms', 'nerf-synthetic', 'colmap'}
    points : (N, 3) float64 array or None
        COLMAP's sparse points, world space.
    colors : (N, 3) uint8 array or None
        Their colours, sRGB.
    xray : XrayFacts or None
        How radiographs were made; None for pictures of light.
    """

    frames: dict[str, list[FrameSpec]] = field(default_factory=dict)
    bounds: np.ndarray | None = None
    aabb: np.ndarray | None = None
    aabb_scale: int | None = None
    unit_cube: np.ndarray | None = None
    kind: str = "transforms"
    points: np.ndarray | None = None
    colors: np.ndarray | None = None
    xray: XrayFacts | None = None


def read_transforms(path: str | Path, splits: tuple[str, ...] | None = None) -> TransformsFile:
    """Read a data set's documents.

    Parameters
    ----------
    path : path
        The data set's folder, or its JSON file.
    splits : tuple of str, optional
        Only these of 'train', 'val', 'test'; by default all there are.

    Raises
    ------
    DataError
        One sentence that names the file and what to do.
    """
    path = Path(path)
    wanted = SPLITS if splits is None else splits
    family = re.fullmatch(r"transforms_(train|val|test)\.json", path.name)
    folder = path if path.is_dir() else path.parent
    if (path.is_dir() or family) and (folder / "transforms_train.json").is_file():
        return _read_family(folder, wanted)
    single = folder / "transforms.json" if path.is_dir() else path
    if not single.is_file():
        if not path.exists():
            raise DataError(f"The data set '{path}' does not exist; check the path.")
        raise DataError(
            f"'{path}' is not a data set: it has neither transforms_train.json nor transforms.json, and no "
            "COLMAP model; choose a NeRF-synthetic, instant-ngp, nerfstudio or COLMAP folder."
        )
    document = load_json(single)
    frames = _frames(single, document)
    found = {split: chosen for split, chosen in _split(single, document, frames).items() if split in wanted and chosen}
    facts = toolkit_xray(single, document)
    return TransformsFile(found, _toolkit_bounds(single, document), *_ngp_box(single, document), xray=facts)


def _read_family(folder: Path, wanted: tuple[str, ...]) -> TransformsFile:
    found: dict[str, list[FrameSpec]] = {}
    bounds = xray = None
    ngp: tuple[np.ndarray | None, int | None, np.ndarray | None] = (None, None, None)
    for split in SPLITS:
        path = folder / f"transforms_{split}.json"
        if not path.is_file() or split not in wanted:
            continue
        document = load_json(path)
        found[split] = _frames(path, document)
        bounds = _toolkit_bounds(path, document) if bounds is None else bounds
        ngp = _ngp_box(path, document) if ngp[0] is None else ngp
        xray = toolkit_xray(path, document) if xray is None else xray
    return TransformsFile(found, bounds, *ngp, kind="nerf-synthetic", xray=xray)


def _frames(path: Path, document: dict[str, Any]) -> list[FrameSpec]:
    entries = document.get("frames")
    if not isinstance(entries, list) or not entries:
        raise DataError(f"'{path}' has no frames; a data set needs at least one image.")
    shared = {key: value for key, value in document.items() if key != "frames"}
    frames, missing = [], []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"Frame {index} of '{path}' is not a JSON object.")
        name = entry.get("file_path")
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"Frame {index} of '{path}' has no file_path; name its image.")
        where = f"frame '{shown(name)}' of '{path}'"
        values = ChainMap(entry, shared)  # a copy a frame would be frames times keys, which a file can make too many
        check_model(values, where)
        image = find_image(path.parent, name)
        if image is None:
            missing.append(name)
            continue
        frames.append(FrameSpec(path, name, image, values, entry, pose(entry.get("transform_matrix"), where)))
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(
            f"The image '{shown(missing[0])}'{more} named by '{path}' does not exist; add it or remove its frame."
        )
    return frames


def _split(path: Path, document: dict[str, Any], frames: list[FrameSpec]) -> dict[str, list[FrameSpec]]:
    listed = {split: document.get(f"{split}_filenames") for split in SPLITS}
    if any(names is not None for names in listed.values()):
        chosen = {}
        for split, names in listed.items():
            if names is not None and not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
                raise DataError(f"'{split}_filenames' in '{path}' is not a list of file names; correct it.")
            known = {posixpath.normpath(name) for name in names or ()}
            chosen[split] = [frame for frame in frames if posixpath.normpath(frame.name) in known]
        return chosen
    return hold_out(frames)


def hold_out(frames: list[FrameSpec]) -> dict[str, list[FrameSpec]]:
    """Every 8th frame by name as val, the rest as train; all as train where there are fewer than 8."""
    if len(frames) < HOLD_OUT_EVERY:
        return {"train": frames}
    order = sorted(range(len(frames)), key=lambda index: (_natural(frames[index].name), index))
    held_out = set(order[::HOLD_OUT_EVERY])
    return {
        "train": [frame for index, frame in enumerate(frames) if index not in held_out],
        "val": [frame for index, frame in enumerate(frames) if index in held_out],
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """A sorting key under which r_2 comes before r_10."""
    return [
        (int(part[:18]), part) if part.isascii() and part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


def _toolkit_bounds(path: Path, document: dict[str, Any]) -> np.ndarray | None:
    ours = document.get(TOOLKIT_KEY)
    given = ours.get("bounds") if isinstance(ours, dict) else None
    if given is None:
        return None
    try:
        bounds = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        bounds = np.empty(0)
    if bounds.shape != (2, 3) or not is_box(bounds) or not all(type(v) in (int, float) for row in given for v in row):
        raise DataError(f"The bounds in '{path}' are not the two corners of a box; correct them or remove them.")
    return bounds


def toolkit_xray(path: Path, document: dict[str, Any]) -> XrayFacts | None:
    """What a document says of its radiographs; None where it holds pictures of light.

    Raises
    ------
    DataError
        When what it says is not usable; the sentence names the file.
    """
    ours = document.get(TOOLKIT_KEY)
    given = ours.get("xray") if isinstance(ours, dict) else None
    if given is None:
        return None
    try:
        return XrayFacts.from_dict(given)
    except DataError as error:
        raise DataError(f"In '{path}' {error}; correct it or make the radiographs again.") from error


def _ngp_box(path: Path, document: dict[str, Any]) -> tuple[np.ndarray | None, int | None, np.ndarray | None]:
    """instant-ngp's box, `aabb_scale` and unit cube: the cube is ``world * scale + offset``, the box lies about 0.5."""
    where = f"file '{path}'"
    side = optional_number(document, "aabb_scale", where)
    if side is None:
        return None, None, None
    scale = optional_number(document, "scale", where)
    scale = 0.33 if scale is None else scale
    offset = document.get("offset", [0.5, 0.5, 0.5])
    usable = isinstance(offset, list) and len(offset) == 3
    if not usable or not all(type(value) in (int, float) and abs(value) < 1e9 for value in offset):
        raise DataError(f"The value 'offset' of the {where} is not three numbers; correct it.")
    if side not in (1, 2, 4, 8, 16, 32, 64, MAX_AABB_SCALE):
        raise DataError(
            f"The value 'aabb_scale' of the {where} is {side:g}; instant-ngp knows powers of two, 1 to "
            f"{MAX_AABB_SCALE}: correct it or remove it."
        )
    if not 1e-6 < scale < 1e6:
        raise DataError(f"The value 'scale' of the {where} is {scale:g}, outside 1e-6 to 1e6; correct it.")
    center = (0.5 - np.array(offset, dtype=np.float64)) / scale
    half = 0.5 / scale
    cube = np.stack([center - half, center + half])
    aabb = np.stack([center - half * side, center + half * side])
    if not is_box(aabb):
        raise DataError(f"The 'offset' of the {where} puts the scene more than {FARTHEST:g} units away; correct it.")
    return aabb, int(side), cube
