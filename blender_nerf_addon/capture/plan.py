"""A capture's plan: which views, through which cameras, with which look; what decides whether it can be resumed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.transforms import ColorSpace
from . import rigs


@dataclass(frozen=True)
class View:
    """One picture to take.

    Attributes
    ----------
    file_path : str
        Relative to the data set, forward slashes, with extension.
    split : str
    camera : Camera or None
        None when the camera is known only at its frame (an animated one).
    frame : int or None
        The scene's frame; None leaves the frame as it is.
    """

    file_path: str
    split: str
    camera: Camera | None = None
    frame: int | None = None


@dataclass(frozen=True)
class CapturePlan:
    """Everything that decides what a capture's pictures look like.

    Attributes
    ----------
    views : tuple of View
    bounds : (2, 3) float array
        The subject's box, world space.
    transparent : bool
        Whether the background becomes alpha.
    samples : int
        Render samples a pixel; 0 leaves the scene's own.
    denoise : bool
    engine : str
        The render engine's id.
    only : tuple of str or None
        The names of the objects that are rendered alone; None renders all.
    passes : tuple of str
        What is captured beside the pictures, of `passes.KINDS`.
    subject : tuple of str or None
        The names of the objects that a mask shows; None shows all that is rendered.
    object_index : dict of str to int
        Object's name to its number in the object indices.
    """

    views: tuple[View, ...]
    bounds: np.ndarray
    transparent: bool
    samples: int
    denoise: bool
    engine: str
    only: tuple[str, ...] | None = None
    passes: tuple[str, ...] = ()
    subject: tuple[str, ...] | None = None
    object_index: dict[str, int] = field(default_factory=dict)

    @property
    def color_space(self) -> ColorSpace:
        """Of the pictures: 'linear' for EXR, else 'srgb'."""
        return "linear" if self.views and self.views[0].file_path.endswith(".exr") else "srgb"

    @property
    def moves_in_time(self) -> bool:
        """Whether views lie at different frames."""
        return any(view.frame is not None for view in self.views)

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a later capture to go on with this one's pictures, as plain JSON."""
        # Settings of later versions count where they are used: a capture of an earlier one can be gone on with.
        later: dict[str, Any] = {}
        if self.passes:
            later["passes"] = list(self.passes)
        if "mask" in self.passes and self.subject is not None:
            later["subject"] = sorted(self.subject)
        if "index" in self.passes:
            later["object_index"] = dict(self.object_index)
        return {
            **later,
            "views": [
                {
                    "file_path": view.file_path,
                    "split": view.split,
                    "frame": view.frame,
                    "camera": view.camera.to_dict() if view.camera else None,
                }
                for view in self.views
            ],
            "bounds": np.asarray(self.bounds).tolist(),
            "transparent": self.transparent,
            "samples": self.samples,
            "denoise": self.denoise,
            "engine": self.engine,
            "only": sorted(self.only) if self.only is not None else None,
        }


def name_views(items: list[tuple[str, Camera | None, int | None]], suffix: str = ".png") -> tuple[View, ...]:
    """Views from (split, camera, frame), numbered from 1 within their split; training first."""
    views = []
    for split in rigs.SPLITS:
        chosen = [item for item in items if item[0] == split]
        digits = max(4, len(str(len(chosen))))
        views += [
            View(f"{split}/{number:0{digits}d}{suffix}", split, camera, frame)
            for number, (_, camera, frame) in enumerate(chosen, start=1)
        ]
    return tuple(views)
