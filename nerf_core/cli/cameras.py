"""Write the cameras of a data set or a camera file as `transforms.json` or as nerfstudio's camera path."""

import argparse
import os
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from .common import add_json, add_overwrite, add_placement, say

HELP = "convert the cameras of a data set or camera file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf cameras` takes."""
    parser.add_argument(
        "data", metavar="DATA", help="a data set (NeRF-synthetic, transforms.json, COLMAP) or a file of cameras"
    )
    parser.add_argument("--out", metavar="FILE.json", required=True)
    parser.add_argument(
        "--format",
        choices=("transforms", "nerfstudio"),
        default="transforms",
        help="transforms.json, which can be trained from where DATA has images (default), or nerfstudio's camera path",
    )
    parser.add_argument("--split", choices=("train", "val", "test"), help="only these (default: all)")
    parser.add_argument(
        "--fps", type=float, metavar="F", help="pictures a second of a path (default: the file's, or 24)"
    )
    add_placement(parser)
    add_overwrite(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read and write."""
    from ..contract.camera_path import CameraPath, nerfstudio_document, read_camera_path, transforms_document
    from ..contract.files import make_folder, write_json
    from ..data.describe import describe_dataset
    from ..data.placement import Placement
    from ..export.ownership import check_writable

    out = Path(arguments.out)
    if out.suffix.lower() != ".json":
        raise NerfError(f"Cameras are written as JSON: '{out.name}' must end in .json.")
    if arguments.fps is not None and not 0 < arguments.fps < 1e6:
        raise NerfError(f"Pictures a second must be more than 0, not {arguments.fps:g}.")
    placement = Placement(arguments.orientation, arguments.scale)
    if _is_camera_file(Path(arguments.data)):
        if arguments.split or placement != Placement():
            raise NerfError(
                f"'{arguments.data}' holds cameras without images: --split, --orientation and --scale are "
                "for data sets."
            )
        path = read_camera_path(arguments.data)
        path = CameraPath.even(path.cameras, arguments.fps) if arguments.fps else path
        count = len(path.cameras)
        document = nerfstudio_document(path) if arguments.format == "nerfstudio" else transforms_document(path)
    else:
        found = describe_dataset(arguments.data, placement)
        frames = [frame for frame in found.frames if arguments.split in (None, frame.split)]
        if not frames:
            raise NerfError(f"The data set '{arguments.data}' has no {arguments.split} split.")
        count = len(frames)
        if arguments.format == "nerfstudio":
            document = nerfstudio_document(CameraPath.even([frame.camera for frame in frames], arguments.fps))
        else:
            document = _dataset(found, frames, out)
    check_writable(out, arguments.overwrite)
    make_folder(out.parent)
    write_json(out, document)
    say(arguments, f"{count} cameras: {out}")
    return {"data": arguments.data, "out": str(out), "count": count, "format": arguments.format}


def _is_camera_file(path: Path) -> bool:
    """Whether a JSON file is a list or a path of cameras rather than a data set: without frames, or without images."""
    from ..contract.frames import find_image, load_json

    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    document = load_json(path, (dict, list))
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not frames:
        return True
    names = [frame.get("file_path") for frame in frames if isinstance(frame, dict)]
    return not any(isinstance(name, str) and find_image(path.parent, name) for name in names)


def _dataset(found: Any, frames: list[Any], out: Path) -> dict[str, Any]:
    """A `transforms.json` that names the images from where it lies."""
    from ..contract.transforms import TOOLKIT_KEY, DatasetFacts, FrameRecord, dataset_document
    from ..export.ownership import MARK

    base = Path(os.path.abspath(out)).parent
    records = [FrameRecord(_from(base, frame.image), frame.split, frame.camera) for frame in frames]
    document = dataset_document(records, DatasetFacts(found.bounds, found.color_space, found.has_alpha))
    document[TOOLKIT_KEY]["made_by"] = MARK
    return document


def _from(base: Path, image: Path) -> str:
    try:
        return Path(os.path.relpath(image, base)).as_posix()
    except ValueError:  # another drive on Windows
        return image.as_posix()
