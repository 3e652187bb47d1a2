"""The rays of a picture's samples: spread over the pixel, the lens and the time that the shutter is open.

Places are stratified: the S samples of a pixel are a Hammersley set in the pixel, another one, in another order, on the
lens, and S equal parts of the time. All pixels share them, each shifted by an offset of its own (Cranley and Patterson
1976) that is a hash of pixel and seed: the same whatever is rendered together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..contract.camera import Camera
from .layers import Rays
from .view import Lens, View

DIMENSIONS = 5
"""Pixel x and y, lens u and v, time."""


@dataclass(frozen=True)
class Shot:
    """Rays of some pixels, all at one time.

    Attributes
    ----------
    rows : (R,) int array
        Which of the pixels that were asked for.
    pose : int or None
        Which of the shutter's cameras; None: the view's own.
    rays : Rays
    cosine : (R,) array
        Length along the viewing axis of a step of 1 along the ray; 1 for a panoramic camera.
    """

    rows: np.ndarray
    pose: int | None
    rays: Rays
    cosine: np.ndarray


class Exposure:
    """Makes a view's rays.

    Parameters
    ----------
    view : View
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self._places = sample_places(view.samples, view.seed)

    def shots(self, pixels: np.ndarray, sample: int) -> Iterator[Shot]:
        """The rays of one sample of (P,) pixels, numbered row by row, one shot for each pose of the camera."""
        view = self.view
        y, x = np.divmod(pixels, view.camera.width)
        if view.samples == 1:
            centres = np.stack([x, y], axis=-1) + 0.5
            yield self._shot(np.arange(len(pixels)), None, view.camera, centres, None)
            return
        places = (self._places[sample] + pixel_shifts(pixels, view.seed)) % 1.0
        at = np.stack([x, y], axis=-1) + places[:, :2]
        poses = np.minimum((places[:, 4] * len(view.shutter)).astype(np.int64), len(view.shutter) - 1)
        if not view.shutter:
            yield self._shot(np.arange(len(pixels)), None, view.camera, at, places[:, 2:4])
            return
        for pose in np.unique(poses):
            rows = np.flatnonzero(poses == pose)
            yield self._shot(rows, int(pose), view.shutter[pose], at[rows], places[rows, 2:4])

    def _shot(
        self, rows: np.ndarray, pose: int | None, camera: Camera, at: np.ndarray, on_lens: np.ndarray | None
    ) -> Shot:
        origins, directions = camera.rays(at)
        if self.view.lens is not None and on_lens is not None:
            origins, directions = through_lens(self.view.lens, camera, origins, directions, on_lens)
        cosine = along_axis(camera, directions)
        limits = np.empty((len(origins), 2))
        limits[:] = 0.0, np.inf
        if self.view.clip:
            limits[:, 0] = np.maximum(camera.clip_start / cosine, 0.0)
            limits[:, 1] = camera.clip_end / cosine
        return Shot(rows, pose, Rays(origins, directions, limits), cosine)


def along_axis(camera: Camera, directions: np.ndarray) -> np.ndarray:
    """(R,) length along the viewing axis of unit `directions` (R, 3); 1 for a panoramic camera, which has none."""
    if camera.kind == "panoramic":
        return np.ones(len(directions))
    return np.maximum(np.einsum("ri,i->r", directions, camera.forward), 1e-9)


def through_lens(
    lens: Lens, camera: Camera, origins: np.ndarray, directions: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rays through places on a lens that meet the given rays where these are in focus.

    Parameters
    ----------
    lens : Lens
    camera : Camera
    origins, directions : (R, 3) arrays
        Through the lens's centre.
    numbers : (R, 2) array in [0, 1)
        Choose the places.
    """
    place = aperture(numbers, lens.blades, lens.rotation) * lens.radius / (lens.ratio, 1.0)
    if camera.kind == "panoramic":
        # The lens faces whatever is looked at.
        right = np.cross(directions, camera.c2w[:3, 1])
        length = np.linalg.norm(right, axis=-1, keepdims=True)
        right = np.where(length > 1e-6, right / np.maximum(length, 1e-6), camera.c2w[:3, 0])
        up = np.cross(right, directions)
        offset = place[:, :1] * right + place[:, 1:] * up
    else:
        offset = place @ camera.c2w[:3, :2].T
    sharp = origins + directions * (lens.focus / along_axis(camera, directions))[:, None]
    moved = origins + offset
    towards = sharp - moved
    return moved, towards / np.linalg.norm(towards, axis=-1, keepdims=True)


def aperture(numbers: np.ndarray, blades: int, rotation: float) -> np.ndarray:
    """(R, 2) places, uniform in the unit disc or in a regular polygon within it, of (R, 2) numbers in [0, 1).

    The disc by Shirley and Chiu's concentric map (1997), which keeps strata compact. An edge's middle of the polygon
    lies in the direction of `rotation`.
    """
    u, v = numbers[:, 0], numbers[:, 1]
    if blades < 3:
        a, b = 2.0 * u - 1.0, 2.0 * v - 1.0
        wide = np.abs(a) > np.abs(b)
        radius = np.where(wide, a, b)
        with np.errstate(divide="ignore", invalid="ignore"):
            angle = np.where(wide, np.pi / 4 * (b / a), np.pi / 2 - np.pi / 4 * (a / b))
        angle = np.where(radius == 0.0, 0.0, angle)
        return np.stack([radius * np.cos(angle + rotation), radius * np.sin(angle + rotation)], axis=-1)
    # One of the triangles between the centre and an edge; in it, a distance from the centre and a place along the edge.
    piece = np.floor(u * blades)
    outwards, along = np.sqrt(u * blades - piece), 2.0 * v - 1.0
    half = np.pi / blades
    middle, side = outwards * np.cos(half), outwards * along * np.sin(half)
    turn = rotation + 2.0 * half * piece
    return np.stack([middle * np.cos(turn) - side * np.sin(turn), middle * np.sin(turn) + side * np.cos(turn)], axis=-1)


def sample_places(samples: int, seed: int) -> np.ndarray:
    """(S, 5) the samples' places in [0, 1): pixel, lens and time, each stratified."""
    generator = np.random.default_rng(np.random.SeedSequence([seed & 0xFFFFFFFF, samples]))
    index = np.arange(samples)
    flat = np.stack([(index + 0.5) / samples, _radical_inverse(index)], axis=-1)
    time = (index + 0.5) / samples
    order, times = generator.permutation(samples), generator.permutation(samples)
    return np.concatenate([flat, flat[order], time[times][:, None]], axis=-1)


def pixel_shifts(pixels: np.ndarray, seed: int) -> np.ndarray:
    """(P, 5) offsets in [0, 1) of (P,) pixels: hashes (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        number = pixels.astype(np.uint64)[:, None] * np.uint64(DIMENSIONS) + np.arange(DIMENSIONS, dtype=np.uint64)
        value = _mix(number + _mix(np.array([seed & 0xFFFFFFFF], np.uint64)))
    return (value >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mix(value: np.ndarray) -> np.ndarray:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _radical_inverse(index: np.ndarray) -> np.ndarray:
    """Van der Corput's sequence in base 2."""
    result, digit, rest = np.zeros(len(index)), 0.5, index.copy()
    while rest.any():
        result += digit * (rest & 1)
        rest >>= 1
        digit /= 2
    return result
