"""The one camera model: every camera of Blender and of every dataset ends here.

Frames of reference. World space is Blender's: right-handed, Z up, scene units. A camera looks along its own -Z,
with +X right and +Y up (OpenGL). Pixel coordinates have x to the right and y DOWN from the top left corner of the
image; the centre of the first pixel is (0.5, 0.5).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from .errors import DataError
from .json_data import shown
from .lens import Distortion, distort, undistort

Kind = Literal["perspective", "orthographic", "panoramic"]
KINDS = ("perspective", "orthographic", "panoramic")
MAX_SIDE = 65536


@dataclass(frozen=True)
class Camera:
    """A camera with full intrinsics, its lens and its place in the world.

    Attributes
    ----------
    width, height : int
        Image size in pixels.
    fl_x, fl_y : float
        Pixels per unit: of tan(angle) for a perspective camera (the focal length in pixels), of scene length for
        an orthographic one, of radian for a panoramic (equirectangular) one.
    cx, cy : float
        The principal point in pixels from the top left corner.
    c2w : (4, 4) float64 array
        Camera to world, OpenGL axes; its rotation is orthonormal (scale is taken out by the maker).
    kind : {'perspective', 'orthographic', 'panoramic'}
    clip_start, clip_end : float
        Distances along the viewing axis, scene units.
    distortion : Distortion
        OpenCV's lens model; perspective only.
    """

    width: int
    height: int
    fl_x: float
    fl_y: float
    cx: float
    cy: float
    c2w: np.ndarray = field(default_factory=lambda: np.eye(4))
    kind: Kind = "perspective"
    clip_start: float = 0.0
    clip_end: float = float("inf")
    distortion: Distortion = Distortion()

    def __post_init__(self) -> None:
        c2w = np.array(self.c2w, dtype=np.float64)
        if c2w.shape != (4, 4):
            raise DataError(f"a camera-to-world matrix must be 4x4, this one is {'x'.join(map(str, c2w.shape))}")
        if not np.isfinite(c2w).all():
            raise DataError("a camera-to-world matrix holds NaN or infinity")
        if self.kind not in KINDS:
            raise DataError(f"camera kind '{shown(str(self.kind))}' is not one of {', '.join(KINDS)}")
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise DataError(f"an image size of {self.width}x{self.height} is outside 1 to {MAX_SIDE} pixels")
        # NaN is within no limits. Within these, squares and sixth powers of the lens model stay finite.
        numbers = (self.fl_x, self.fl_y, self.cx, self.cy)
        if not (all(1e-9 < fl < 1e12 for fl in numbers[:2]) and all(abs(c) < 1e9 for c in numbers[2:])):
            raise DataError(f"camera intrinsics fl_x, fl_y, cx, cy = {numbers} are not usable numbers")
        lens = self.distortion
        if not all(abs(term) < 1e6 for term in (lens.k1, lens.k2, lens.k3, lens.p1, lens.p2)):
            raise DataError(f"lens distortion {lens} is not made of usable numbers")
        c2w.flags.writeable = False
        object.__setattr__(self, "c2w", c2w)

    @property
    def position(self) -> np.ndarray:
        """(3,) world position."""
        return self.c2w[:3, 3]

    @property
    def forward(self) -> np.ndarray:
        """(3,) unit viewing direction in the world."""
        return -self.c2w[:3, 2]

    def resized(self, width: int, height: int) -> "Camera":
        """The same view at another resolution."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fl_x=self.fl_x * sx,
            fl_y=self.fl_y * sy,
            cx=self.cx * sx,
            cy=self.cy * sy,
        )

    def rays(self, pixels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """World-space rays through pixels.

        Parameters
        ----------
        pixels : (..., 2) float array, optional
            Pixel coordinates (x, y); by default the centres of all pixels, shape (height, width, 2).

        Returns
        -------
        origins, directions : (..., 3) float64 arrays
            Scene units; directions have unit length.
        """
        if pixels is None:
            pixels = pixel_centres(self.width, self.height)
        pixels = np.asarray(pixels, dtype=np.float64)
        u = (pixels[..., 0] - self.cx) / self.fl_x
        v = (pixels[..., 1] - self.cy) / self.fl_y
        rotation, position = self.c2w[:3, :3], self.c2w[:3, 3]
        if self.kind == "orthographic":
            offset = np.stack([u, -v, np.zeros_like(u)], axis=-1)
            origins = offset @ rotation.T + position
            return origins, np.broadcast_to(self.forward, origins.shape).copy()
        if self.kind == "panoramic":
            local = np.stack([np.sin(u) * np.cos(v), -np.sin(v), -np.cos(u) * np.cos(v)], axis=-1)
        else:
            if not self.distortion.is_identity:
                ideal = undistort(self.distortion, np.stack([u, v], axis=-1))
                u, v = ideal[..., 0], ideal[..., 1]
            local = np.stack([u, -v, -np.ones_like(u)], axis=-1)
            local /= np.linalg.norm(local, axis=-1, keepdims=True)
        directions = local @ rotation.T
        return np.broadcast_to(position, directions.shape).copy(), directions

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where world points appear in the image.

        Parameters
        ----------
        points : (..., 3) float array
            World space.

        Returns
        -------
        pixels : (..., 2) float64 array
        depth : (...,) float64 array
            Distance along the viewing axis (perspective, orthographic) or from the camera (panoramic).
            For a perspective camera a point with ``depth <= 0`` is behind it and its pixel means nothing.
        """
        local = (np.asarray(points, dtype=np.float64) - self.position) @ self.c2w[:3, :3]
        x, y, z = local[..., 0], local[..., 1], -local[..., 2]
        if self.kind == "orthographic":
            uv, depth = np.stack([x, -y], axis=-1), z
        elif self.kind == "panoramic":
            depth = np.linalg.norm(local, axis=-1)
            uv = np.stack([np.arctan2(x, z), -np.arcsin(np.clip(y / np.maximum(depth, 1e-300), -1, 1))], axis=-1)
        else:
            depth = z
            safe = np.where(np.abs(z) < 1e-300, 1e-300, z)
            uv = np.stack([x / safe, -y / safe], axis=-1)
            if not self.distortion.is_identity:
                uv = distort(self.distortion, uv)
        return uv * (self.fl_x, self.fl_y) + (self.cx, self.cy), depth

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON: what the two processes send and `cameras.json` files hold."""
        lens = self.distortion
        return {
            "kind": self.kind,
            "w": self.width,
            "h": self.height,
            "fl_x": self.fl_x,
            "fl_y": self.fl_y,
            "cx": self.cx,
            "cy": self.cy,
            "clip_start": self.clip_start,
            "clip_end": None if np.isinf(self.clip_end) else self.clip_end,
            **({} if lens.is_identity else {k: getattr(lens, k) for k in ("k1", "k2", "k3", "p1", "p2")}),
            "transform_matrix": self.c2w.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Camera":
        """Read what :meth:`to_dict` wrote.

        Raises
        ------
        DataError
            When a value is missing or is not a usable number; the message names the key.
        """

        def number(key: str, default: float | None = None) -> float:
            value = data.get(key, default)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DataError(f"camera value '{key}' is {'missing' if value is None else 'not a number'}")
            if not abs(value) < 1e300:  # NaN too, and whole numbers that no float holds
                raise DataError(f"camera value '{key}' is not a usable number")
            return float(value)

        matrix = data.get("transform_matrix")
        try:
            c2w = np.array(matrix, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError("camera value 'transform_matrix' is not a 4x4 matrix of numbers") from error
        width, height = number("w"), number("h")
        clip_end = data.get("clip_end")
        return cls(
            width=int(width),
            height=int(height),
            fl_x=number("fl_x"),
            fl_y=number("fl_y", data.get("fl_x")),
            cx=number("cx", width / 2),
            cy=number("cy", height / 2),
            c2w=c2w,
            kind=data.get("kind", "perspective"),
            clip_start=number("clip_start", 0.0),
            clip_end=float("inf") if clip_end is None else number("clip_end"),
            distortion=Distortion(*(number(k, 0.0) for k in ("k1", "k2", "k3", "p1", "p2"))),
        )


def pixel_centres(width: int, height: int) -> np.ndarray:
    """(height, width, 2) float64: the (x, y) coordinates of every pixel's centre."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y], axis=-1)


def look_at(position: np.ndarray, target: np.ndarray, up: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> np.ndarray:
    """(4, 4) camera-to-world of a camera at `position` that looks at `target` with `up` as near to +Y as can be."""
    position = np.asarray(position, dtype=np.float64)
    backward: np.ndarray = position - np.asarray(target, dtype=np.float64)
    backward /= np.linalg.norm(backward)
    right = np.cross(up, backward)
    if np.linalg.norm(right) < 1e-9:  # looking straight along `up`: any right will do, take a fixed one
        right = np.cross((0.0, 1.0, 0.0), backward)
        if np.linalg.norm(right) < 1e-9:
            right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    c2w = np.eye(4)
    c2w[:3, 0], c2w[:3, 1], c2w[:3, 2], c2w[:3, 3] = right, np.cross(backward, right), backward, position
    return c2w
