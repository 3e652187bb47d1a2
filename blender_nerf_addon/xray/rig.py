"""The cone-beam rig that a scene's settings describe: its lengths, its views, and what of the subject it cuts off."""

import math
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..capture.plan import View
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.transforms import SPLITS
from ..vendor.nerf_core.contract.xray import PRESETS, ConeBeam, preset
from .materials import metres_per_unit
from .subject import Subject

MM_PER_M = 1000.0
MARGIN = 1.05  # of a fitted detector, around the subject


@dataclass(frozen=True)
class Rig:
    """A cone beam where it stands in the world.

    Attributes
    ----------
    beam : ConeBeam
        World units.
    center : (3,) float64 array
        What it turns about, as an axis along Z.
    angles : tuple of (split, degrees)
        Its views: training first, in the order of their angles.
    """

    beam: ConeBeam
    center: np.ndarray
    angles: tuple[tuple[str, float], ...]

    def camera(self, angle: float) -> Camera:
        """Of a view at `angle` degrees."""
        return self.beam.camera(self.center, angle)

    def views(self) -> tuple[View, ...]:
        """Every view with its camera and the file that the core writes its picture to."""
        counts = dict.fromkeys(SPLITS, 0)
        digits = max(4, len(str(len(self.angles))))
        views = []
        for split, angle in self.angles:
            views.append(View(f"{split}/{counts[split]:0{digits}d}.png", split, self.camera(angle)))
            counts[split] += 1
        return tuple(views)


def make_rig(scene: bpy.types.Scene, subject: Subject) -> Rig:
    """The rig that `scene.nerf_xray` describes, for a subject.

    Raises
    ------
    NerfError
        When lengths do not go together, such as a detector between source and axis.
    """
    settings = scene.nerf_xray
    center = subject.center if settings.isocentre is None else _place(settings.isocentre)
    return Rig(beam_of(settings, subject, center, metres_per_unit(scene)), center, spread_angles(settings))


def beam_of(settings: Any, subject: Subject, center: np.ndarray, metres: float) -> ConeBeam:
    """The cone beam of the settings, in Blender units of so many `metres`."""
    pixels = (settings.pixels[0], settings.pixels[1])
    if settings.rig == "CUSTOM":
        return ConeBeam(settings.source_axis, settings.source_detector, tuple(settings.detector), pixels)
    if settings.rig == "FITTED":
        return fitted(subject, center, pixels)
    known = preset(settings.rig.lower(), 1.0).scaled(1.0 / (MM_PER_M * metres))
    return known.with_pixels(*pixels)


def fitted(subject: Subject, center: np.ndarray, pixels: tuple[int, int]) -> ConeBeam:
    """A rig in R2-Gaussian's proportions, whose detector is just so large that nothing of the subject is cut off.

    Parameters
    ----------
    subject : Subject
    center : (3,) array
        What it turns about.
    pixels : (width, height)
        The detector has their proportions: pixels are square.
    """
    radius, height = subject.reach(center)
    side = max(2.0 * height, math.sqrt(2.0) * radius, 1e-6)  # a cube's side, where the subject is a cube
    known = PRESETS["volume"].scaled(side)
    distance, screen = known.source_axis, known.source_detector
    across = screen * radius / math.sqrt(distance**2 - radius**2)
    along = screen * height / (distance - radius)
    pixel = 2.0 * MARGIN * max(across / pixels[0], along / pixels[1])
    return ConeBeam(distance, screen, (pixel * pixels[0], pixel * pixels[1]), pixels)


def spread_angles(settings: Any) -> tuple[tuple[str, float], ...]:
    """Split and angle (degrees) of every view: training ones evenly over the arc, held-out ones in the gaps."""
    start, arc = math.degrees(settings.start), math.degrees(settings.arc)
    step = arc / settings.views
    train = [("train", start + step * index) for index in range(settings.views)]
    gaps = [index * settings.views // max(settings.val_views, 1) for index in range(settings.val_views)]
    held_out = []
    for index, gap in enumerate(gaps):
        place, shared = index - gaps.index(gap), gaps.count(gap)
        held_out.append(("val", start + step * (gap + (place + 1) / (shared + 1))))
    return (*train, *held_out)


def cut_off(points: np.ndarray, rig: Rig) -> np.ndarray:
    """Which points some view does not show.

    Parameters
    ----------
    points : (N, 3) array
        World space.
    rig : Rig

    Returns
    -------
    (N,) bool array
    """
    outside = np.zeros(len(points), dtype=bool)
    width, height = rig.beam.pixels
    for _, angle in rig.angles:
        at, depth = rig.camera(angle).project(points)
        inside = (at >= 0.0).all(axis=1) & (at[:, 0] <= width) & (at[:, 1] <= height) & (depth > 0.0)
        outside |= ~inside | (depth > rig.beam.source_detector)
    return outside


def collision(rig: Rig, subject: Subject) -> str:
    """What is wrong where the source or the detector stands in the subject; empty where neither does."""
    radius, _ = subject.reach(rig.center)
    if radius >= rig.beam.source_axis:
        return "The source goes through the subject: make the distance from source to axis larger."
    if radius > rig.beam.source_detector - rig.beam.source_axis:
        return "The subject goes through the detector: make the distance from source to detector larger."
    return ""


def check(rig: Rig, subject: Subject) -> None:
    """Refuse a rig whose source stands in the subject.

    Raises
    ------
    NerfError
        With what to do.
    """
    told = collision(rig, subject)
    if told.startswith("The source"):
        raise NerfError(told)


def _place(item: bpy.types.Object) -> np.ndarray:
    return np.array(item.matrix_world.translation, dtype=np.float64)
