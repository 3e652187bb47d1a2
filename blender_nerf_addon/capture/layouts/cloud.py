"""Coloured points of a capture's surfaces, gathered view by view from its depth and pictures."""

from dataclasses import dataclass, field

import numpy as np

from ...importers.decode import read_exr
from ...vendor.nerf_core.contract.transforms import PASS_KEYS, FrameRecord
from ..depths import unproject
from .captured import Captured

POINTS = 100_000  # as many as splatting begins with where it has to guess
SOLID = 0.5  # a pixel that is covered less holds little of the surface's own colour


@dataclass(frozen=True)
class Cloud:
    """Points in world space.

    Attributes
    ----------
    position, normal : (N, 3) float32 arrays
        Normals are 0 where none were captured.
    color : (N, 3) uint8 array
        sRGB.
    """

    position: np.ndarray
    normal: np.ndarray
    color: np.ndarray


@dataclass
class Gatherer:
    """Takes a share of points from each training view; the same ones each time."""

    captured: Captured
    parts: list[Cloud] = field(default_factory=list)

    def views(self) -> list[FrameRecord]:
        """The views to take points from."""
        return self.captured.of_split("train")

    def take(self, frame: FrameRecord, srgb: np.ndarray) -> None:
        """Add a view's points.

        Parameters
        ----------
        frame : FrameRecord
        srgb : (H, W, 4) uint8 array
            Its picture with straight alpha.
        """
        distance = read_exr(self.captured.path(frame.passes[PASS_KEYS["depth"]]))["V"]
        there = (distance > 0) & (srgb[..., 3] >= 255 * SOLID)
        rows, columns = np.nonzero(there)
        share = -(-POINTS // len(self.views()))
        chosen = np.random.default_rng(len(self.parts)).permutation(len(rows))[:share]
        pixels = np.stack([columns[chosen], rows[chosen]], axis=-1)
        position = unproject(frame.camera, distance, pixels).astype(np.float32)
        normal = np.zeros_like(position)
        if PASS_KEYS["normal"] in frame.passes:
            found = read_exr(self.captured.path(frame.passes[PASS_KEYS["normal"]]))
            normal = np.stack([found[key][pixels[:, 1], pixels[:, 0]] for key in "XYZ"], axis=-1)
        self.parts.append(Cloud(position, normal, srgb[pixels[:, 1], pixels[:, 0], :3]))

    def cloud(self) -> Cloud:
        """All points so far."""
        return Cloud(*(np.concatenate([getattr(part, name) for part in self.parts] or [np.zeros((0, 3))])
                       for name in ("position", "normal", "color")))  # fmt: skip


def encoded(linear: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 sRGB with straight alpha from (H, W, 4) premultiplied linear floats."""
    alpha = np.clip(linear[..., 3:], 0.0, 1.0)
    straight = np.divide(linear[..., :3], alpha, out=np.zeros_like(linear[..., :3]), where=alpha > 1e-6)
    straight = np.clip(straight, 0.0, 1.0)
    curve = np.where(straight <= 0.0031308, 12.92 * straight, 1.055 * np.power(straight, 1 / 2.4) - 0.055)
    return (np.concatenate([curve, alpha], axis=-1) * 255.0 + 0.5).astype(np.uint8)
