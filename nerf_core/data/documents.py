"""Any data set's documents, whatever wrote them: which kind a path is, and where its world stands."""

from dataclasses import replace
from pathlib import Path

from .colmap import boxes, find_model, read_colmap
from .placement import Placement, place
from .transforms import TransformsFile, read_transforms


def read_documents(
    path: str | Path, splits: tuple[str, ...] | None = None, placement: Placement | None = None
) -> TransformsFile:
    """Read a NeRF-synthetic folder, a `transforms.json` or a COLMAP model; no pixels yet.

    Where a folder has both, a `transforms.json` is taken before a COLMAP model: it was made from that.

    Parameters
    ----------
    path : path
    splits : tuple of str, optional
        Only these of 'train', 'val', 'test'; by default all there are.
    placement : Placement, optional

    Raises
    ------
    DataError
        One sentence that names the file and what to do.
    """
    path, placement = Path(path), placement or Placement()
    model = None if _has_transforms(path) else find_model(path)
    if model is not None:
        found = place(read_colmap(model), placement)
        cameras = [frame.camera(frame.values["w"], frame.values["h"]) for frame in found.frames["train"]]
        region, subject = boxes(found.points, cameras)
        found = replace(found, aabb=region, unit_cube=subject)
    elif placement.leaves("transforms"):
        return read_transforms(path, splits)
    else:
        found = place(read_transforms(path), placement)
    if splits is None:
        return found
    return replace(found, frames={split: frames for split, frames in found.frames.items() if split in splits})


def _has_transforms(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in ("transforms.json", "transforms_train.json"))
    return path.suffix.lower() == ".json"
