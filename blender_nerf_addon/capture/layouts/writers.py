"""The layouts: each writes a folder that its program reads as it is, one file at a time.

A writer yields after each file, so that whoever drives it can tell progress and stop between two files.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...importers.decode import read_exr
from ...vendor.nerf_core.contract.errors import NerfError, error_sentence
from ...vendor.nerf_core.contract.files import make_folder, write_bytes, write_json
from ...vendor.nerf_core.contract.transforms import PASS_KEYS, TOOLKIT_KEY, FrameRecord, intrinsics
from ..depths import planar
from .captured import Captured
from .cloud import Cloud
from .colmap import write_model
from .ply import write_ply

MILLI = 1000.0  # nerfstudio takes depth for millimetres, 0.001 of its unit, unless it is told otherwise
NGP_MARGIN = 1.05  # of instant-ngp's unit cube around the subject
NGP_SURROUNDINGS = 16  # its aabb_scale where pictures show what is around the subject


@dataclass(frozen=True)
class Layout:
    """A program's way of laying out data sets.

    Attributes
    ----------
    name : str
        Of its folder and for the command line.
    label : str
        For a person.
    write : callable
        (captured, cloud or None, folder) -> iterator, one step a file.
    reads_exr : bool
    needs_points, uses_points : bool
        Whether it does not work without points, and whether it takes them.
    """

    name: str
    label: str
    write: Callable[[Captured, Cloud | None, Path], Iterator[None]]
    reads_exr: bool = False
    needs_points: bool = False
    uses_points: bool = False


def check(layouts: Sequence[str], is_exr: bool, kinds: set[str], has_depth: bool) -> None:
    """Say before any work that a layout cannot be made.

    Parameters
    ----------
    layouts : sequence of str
        Keys of :data:`LAYOUTS`.
    is_exr : bool
        Of the pictures.
    kinds : set of str
        Of the cameras, as far as they are known.
    has_depth : bool

    Raises
    ------
    NerfError
        One sentence that names the layout and what to do.
    """
    for key in layouts:
        layout = LAYOUTS[key]
        if is_exr and not layout.reads_exr:
            raise NerfError(f"{layout.label} reads no OpenEXR pictures: capture PNG, or leave out its layout.")
        if kinds - {"perspective"}:
            raise NerfError(
                f"{layout.label} knows perspective cameras alone, and there are {', '.join(sorted(kinds))} ones: "
                "capture with perspective cameras, or leave out its layout."
            )
        if layout.needs_points and not has_depth:
            raise NerfError(f"{layout.label} begins with points, which come from depth: capture with the pass Depth.")


def _instant_ngp(captured: Captured, _cloud: Cloud | None, folder: Path) -> Iterator[None]:
    extent = float((captured.bounds[1] - captured.bounds[0]).max()) * NGP_MARGIN
    scale = 1.0 / extent
    box = {
        "aabb_scale": 1 if captured.has_alpha else NGP_SURROUNDINGS,
        "scale": scale,
        "offset": (0.5 - captured.bounds.mean(axis=0) * scale).tolist(),
    }
    # It loads every JSON file of a folder: what it must not train on lies in a folder of its own.
    for where, splits in ((folder, ("train",)), (folder / "test", ("val", "test"))):
        frames = captured.of_split(*splits)
        if frames:
            names = {frame.file_path: f"images/{_flat(frame)}" for frame in frames}
            yield from _copy(captured, frames, names, where)
            write_json(where / "transforms.json", _document(captured, frames, names, box))
            yield


def _nerfstudio(captured: Captured, cloud: Cloud | None, folder: Path) -> Iterator[None]:
    frames = list(captured.frames)
    names = {frame.file_path: f"images/{_flat(frame)}" for frame in frames}
    yield from _copy(captured, frames, names, folder)
    extra: dict[str, dict[str, str]] = {frame.file_path: {} for frame in frames}
    shared: dict[str, Any] = {}
    if captured.has_pass("depth"):
        shared["depth_unit_scale_factor"] = 1.0 / MILLI
        for frame in frames:
            name = f"depth/{Path(_flat(frame)).stem}.npy"
            distance = read_exr(captured.path(frame.passes[PASS_KEYS["depth"]]))["V"]
            _save(folder / name, planar(frame.camera, distance) * np.float32(MILLI))
            extra[frame.file_path]["depth_file_path"] = name
            yield
    # A mask there means "train on nothing else"; where alpha says what is empty, emptiness is to be trained.
    if captured.has_pass("mask") and not captured.has_alpha:
        for frame in frames:
            name = f"masks/{Path(_flat(frame)).stem}.png"
            _copy_file(captured.path(frame.passes[PASS_KEYS["mask"]]), folder / name)
            extra[frame.file_path]["mask_path"] = name
            yield
    if cloud is not None:
        write_ply(folder / "points3d.ply", cloud)
        shared["ply_file_path"] = "points3d.ply"
    for split in ("train", "val", "test"):
        shared[f"{split}_filenames"] = [names[frame.file_path] for frame in captured.of_split(split)]
    write_json(folder / "transforms.json", _document(captured, frames, names, shared, extra))
    yield


def _gaussian(captured: Captured, cloud: Cloud | None, folder: Path) -> Iterator[None]:
    if cloud is None:
        raise NerfError("3D Gaussian splatting begins with points, which come from depth: capture with the pass Depth.")
    yield from _nerfstudio(captured, cloud, folder)
    frames = captured.frames
    model = make_folder(folder / "sparse" / "0")
    write_model(model, [_flat(frame) for frame in frames], [frame.camera for frame in frames], cloud)
    write_ply(model / "points3D.ply", cloud)
    held_out = [_flat(frame) for frame in captured.of_split("val", "test")]
    if held_out:
        write_bytes(model / "test.txt", "".join(f"{name}\n" for name in held_out).encode("utf-8"))
    yield


def _synthetic(captured: Captured, _cloud: Cloud | None, folder: Path) -> Iterator[None]:
    for split in ("train", "val", "test"):
        frames = captured.of_split(split)
        if not frames:
            continue
        names = {frame.file_path: f"{split}/r_{i}.png" for i, frame in enumerate(frames)}
        lens = frames[0].camera
        for frame in frames:
            own = frame.camera
            middle = (own.width / 2, own.height / 2)
            if (own.fl_x, own.width, own.height) != (lens.fl_x, lens.width, lens.height) or (
                max(abs(own.fl_x - own.fl_y), abs(own.cx - middle[0]), abs(own.cy - middle[1])) > 1e-3
            ):
                raise NerfError(
                    "NeRF-synthetic knows one lens for all views, square pixels and no shift: use such cameras, or "
                    "leave out its layout."
                )
        yield from _copy(captured, frames, names, folder)
        write_json(
            folder / f"transforms_{split}.json",
            {
                "camera_angle_x": 2.0 * math.atan(0.5 * lens.width / lens.fl_x),
                "frames": [
                    {
                        "file_path": "./" + names[frame.file_path].removesuffix(".png"),
                        "transform_matrix": frame.camera.c2w.tolist(),
                    }
                    for frame in frames
                ],
            },
        )
        yield


LAYOUTS = {
    "INSTANT_NGP": Layout("instant-ngp", "instant-ngp", _instant_ngp, reads_exr=True),
    "NERFSTUDIO": Layout("nerfstudio", "nerfstudio", _nerfstudio, uses_points=True),
    "GAUSSIAN": Layout("3dgs", "3D Gaussian splatting", _gaussian, needs_points=True, uses_points=True),
    "SYNTHETIC": Layout("nerf-synthetic", "NeRF-synthetic", _synthetic),
}


def _flat(frame: FrameRecord) -> str:
    """A picture's name in a single folder: ``train_0001.png``."""
    return frame.file_path.replace("/", "_")


def _document(
    captured: Captured,
    frames: Sequence[FrameRecord],
    names: dict[str, str],
    shared: dict[str, Any],
    extra: dict[str, dict[str, str]] | None = None,
) -> dict[str, Any]:
    own = [intrinsics(frame.camera) for frame in frames]
    same = {key: value for key, value in own[0].items() if all(other[key] == value for other in own)}
    facts = {key: captured.facts[key] for key in ("color_space", "has_alpha", "bounds") if key in captured.facts}
    entries = []
    for frame, lens in zip(frames, own, strict=True):
        entry: dict[str, Any] = {"file_path": names[frame.file_path], **(extra or {}).get(frame.file_path, {})}
        entry.update({key: value for key, value in lens.items() if key not in same})
        entry["transform_matrix"] = frame.camera.c2w.tolist()
        entries.append(entry)
    return {"camera_model": "OPENCV", **same, **shared, TOOLKIT_KEY: facts, "frames": entries}


def _copy(captured: Captured, frames: Sequence[FrameRecord], names: dict[str, str], folder: Path) -> Iterator[None]:
    for frame in frames:
        _copy_file(captured.path(frame.file_path), folder / names[frame.file_path])
        yield


def _copy_file(source: Path, target: Path) -> None:
    make_folder(target.parent)
    if not source.is_file():
        raise NerfError(f"The picture '{source}' of the capture is gone; capture again.")
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise NerfError(error_sentence(error)) from error


def _save(path: Path, values: np.ndarray) -> None:
    make_folder(path.parent)
    try:
        np.save(path, values, allow_pickle=False)
    except OSError as error:
        raise NerfError(error_sentence(error)) from error
