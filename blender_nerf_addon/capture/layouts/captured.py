"""A finished capture read back from its run folder: frames with full cameras, and what its files are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...vendor.nerf_core.contract.camera import Camera
from ...vendor.nerf_core.contract.errors import DataError, NerfError
from ...vendor.nerf_core.contract.run_folder import RunFolder
from ...vendor.nerf_core.contract.transforms import PASS_KEYS, TOOLKIT_KEY, FrameRecord


@dataclass(frozen=True)
class Captured:
    """A data set of ours.

    Attributes
    ----------
    run : RunFolder
    frames : tuple of FrameRecord
    bounds : (2, 3) float array
    facts : mapping
        What the data set says of itself under `nerf_toolkit`.
    """

    run: RunFolder
    frames: tuple[FrameRecord, ...]
    bounds: np.ndarray
    facts: Mapping[str, Any]

    @property
    def has_alpha(self) -> bool:
        """Whether alpha tells the subject from the background."""
        return bool(self.facts.get("has_alpha"))

    @property
    def is_linear(self) -> bool:
        """Whether the pictures are scene-linear EXR."""
        return self.facts.get("color_space") == "linear"

    def has_pass(self, kind: str) -> bool:
        """Whether every frame has the pass, such as 'depth'."""
        return all(PASS_KEYS[kind] in frame.passes for frame in self.frames)

    def of_split(self, *splits: str) -> list[FrameRecord]:
        """The frames of some splits, in order."""
        return [frame for frame in self.frames if frame.split in splits]

    def path(self, name: str) -> Path:
        """Where a file of the data set lies."""
        return self.run.dataset / name


def read_captured(run: RunFolder) -> Captured:
    """Read a capture that is finished.

    Raises
    ------
    NerfError
        When the folder is no run, or nothing was captured into it to the end.
    """
    run.read()
    path = run.dataset / "transforms.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        frames = tuple(_frames(document))
        facts = dict(document[TOOLKIT_KEY])
        bounds = np.array(facts["bounds"], dtype=np.float64)
    except FileNotFoundError as error:
        raise NerfError(
            f"'{run.root}' holds no finished capture: capture into it first (other data sets are not laid out)."
        ) from error
    except OSError as error:
        raise NerfError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise NerfError(f"'{path}' was changed since it was captured ({error}); capture again.") from error
    if not frames or bounds.shape != (2, 3):
        raise NerfError(f"'{path}' was changed since it was captured; capture again.")
    return Captured(run, frames, bounds, facts)


def _frames(document: Mapping[str, Any]) -> list[FrameRecord]:
    shared = {key: value for key, value in document.items() if key != "frames"}
    split_of = {name: split for split in ("train", "val", "test") for name in document[f"{split}_filenames"]}
    found = []
    for entry in document["frames"]:
        passes = {key: str(entry[key]) for key in PASS_KEYS.values() if key in entry}
        camera = Camera.from_dict({**shared, **entry})
        found.append(FrameRecord(str(entry["file_path"]), split_of[entry["file_path"]], camera, passes))
    return found
