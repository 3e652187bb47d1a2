"""Writing data sets that NeRF-synthetic readers, instant-ngp and nerfstudio all take, with full intrinsics.

`transforms.json` holds every frame with its extension and, for nerfstudio, the split's file names;
`transforms_train.json`, `_val` and `_test` follow NeRF-synthetic (no extension for PNG). Poses are camera-to-world in
OpenGL axes and Blender's world, as all three readers expect. Reading is `nerf_core.data`'s work.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .camera import Camera
from .files import write_json

if TYPE_CHECKING:
    from .xray import XrayFacts

SPLITS = ("train", "val", "test")
ColorSpace = Literal["srgb", "linear"]
TOOLKIT_KEY = "nerf_toolkit"  # our own facts live under this key, which other readers pass over
# The keys of a frame for what was captured beside its image. Depth is a float EXR with the channel V: the distance
# along the unit ray through the pixel's centre, world units, 0 where nothing is hit (`"depth": "distance"` says so).
# Normals are unit vectors of the world in a float EXR's X, Y, Z. A mask is an 8-bit PNG, white where the subject is.
# Object indices are whole numbers in a float EXR's V. Line integrals of attenuation, dimensionless, are in a float
# EXR's V (`XrayFacts` under the toolkit's key says how the radiographs were made).
PASS_KEYS = {
    "depth": "depth_file_path",
    "normal": "normal_file_path",
    "mask": "mask_path",
    "index": "object_index_file_path",
    "line_integral": "line_integral_file_path",
}
FARTHEST = 1e12  # world units from the origin; beyond, a difference of two places is mostly rounding


@dataclass(frozen=True)
class FrameRecord:
    """One image of a data set: where it lies, which split it belongs to, the camera that made it."""

    file_path: str  # relative to the data set, forward slashes, with extension, such as "train/0001.png"
    split: str
    camera: Camera
    # What lies beside the image: one of `PASS_KEYS`' values to a path like `file_path`.
    passes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetFacts:
    """What a capture knows about its data set beside the frames.

    Attributes
    ----------
    bounds : (2, 3) float array or None
        Smallest and largest corner of the subject's axis-aligned box, world space.
    color_space : {'srgb', 'linear'}
        Display-referred sRGB (PNG) or scene-linear (EXR).
    has_alpha : bool
        Whether alpha tells the subject from the background (straight alpha in PNG, premultiplied in EXR).
    object_index : mapping of str to int or None
        What the object indices mean: object's name to its number; 0 is nothing.
    xray : XrayFacts or None
        How radiographs were made; None for pictures of light.
    """

    bounds: np.ndarray | None = None
    color_space: ColorSpace = "srgb"
    has_alpha: bool = True
    object_index: Mapping[str, int] | None = None
    xray: "XrayFacts | None" = None


def is_box(corners: np.ndarray) -> bool:
    """Whether (2, 3) float64 world corners, smallest and largest, are a box that a scene can be normalised by."""
    if not np.isfinite(corners).all() or np.abs(corners).max() > FARTHEST:
        return False
    extent = corners[1] - corners[0]
    return bool((extent > 0).all() and extent.max() > 1e-9 * max(1.0, np.abs(corners).max()))


def intrinsics(camera: Camera) -> dict[str, Any]:
    """instant-ngp's and nerfstudio's keys for a camera's intrinsics, with both angles for older readers."""
    lens = camera.distortion
    return {
        "camera_angle_x": 2.0 * math.atan(0.5 * camera.width / camera.fl_x),
        "camera_angle_y": 2.0 * math.atan(0.5 * camera.height / camera.fl_y),
        "fl_x": camera.fl_x,
        "fl_y": camera.fl_y,
        "cx": camera.cx,
        "cy": camera.cy,
        "w": camera.width,
        "h": camera.height,
        **{k: getattr(lens, k) for k in ("k1", "k2", "k3", "p1", "p2")},
    }


def write_transforms(folder: str | Path, frames: Sequence[FrameRecord], facts: DatasetFacts) -> list[Path]:
    """Write `transforms.json` and one `transforms_SPLIT.json` for each split that has frames.

    Parameters
    ----------
    folder : path
        The data set's folder, which exists.
    frames : sequence of FrameRecord
        At least one; they need not share intrinsics: what differs is written per frame.
    facts : DatasetFacts

    Returns
    -------
    list of Path
        The files written, each whole.
    """
    folder = Path(folder)
    written = [folder / "transforms.json"]
    write_json(written[0], dataset_document(frames, facts))
    for split in SPLITS:
        chosen = [frame for frame in frames if frame.split == split]
        if chosen:
            path = folder / f"transforms_{split}.json"
            write_json(path, _document(chosen, facts, keep_extension=False))
            written.append(path)
    return written


def dataset_document(frames: Sequence[FrameRecord], facts: DatasetFacts) -> dict[str, Any]:
    """A `transforms.json` with every frame, and the file names of each split as nerfstudio takes them."""
    document = _document(frames, facts, keep_extension=True)
    for split in SPLITS:
        document[f"{split}_filenames"] = [frame.file_path for frame in frames if frame.split == split]
    return document


def _document(frames: Sequence[FrameRecord], facts: DatasetFacts, keep_extension: bool) -> dict[str, Any]:
    per_frame = [intrinsics(frame.camera) for frame in frames]
    shared = {key: value for key, value in per_frame[0].items() if all(other[key] == value for other in per_frame)}
    document: dict[str, Any] = {"camera_model": "OPENCV", **shared}
    document[TOOLKIT_KEY] = {
        "color_space": facts.color_space,
        "has_alpha": facts.has_alpha,
        "bounds": None if facts.bounds is None else np.asarray(facts.bounds, dtype=np.float64).tolist(),
    }
    kinds = {key for frame in frames for key in frame.passes}
    if PASS_KEYS["depth"] in kinds:
        document[TOOLKIT_KEY]["depth"] = "distance"
    if PASS_KEYS["normal"] in kinds:
        document[TOOLKIT_KEY]["normal"] = "world"
    if facts.object_index is not None:
        document[TOOLKIT_KEY]["object_index"] = dict(facts.object_index)
    if facts.xray is not None:
        document[TOOLKIT_KEY]["xray"] = facts.xray.to_dict()
    document["frames"] = []
    for frame, own in zip(frames, per_frame, strict=True):
        path = frame.file_path
        if not keep_extension and path.endswith(".png"):
            path = "./" + path.removesuffix(".png")
        entry: dict[str, Any] = {"file_path": path}
        entry.update(frame.passes)
        entry.update({key: value for key, value in own.items() if key not in shared})
        if frame.camera.kind != "perspective":
            entry["kind"] = frame.camera.kind
        entry["transform_matrix"] = frame.camera.c2w.tolist()
        document["frames"].append(entry)
    return document
