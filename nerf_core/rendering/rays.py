"""Rays: where they meet the scene's box, and random training pixels turned into them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..contract.camera import Camera
from ..contract.lens import undistort
from ..data.views import Views

if TYPE_CHECKING:
    from torch import Tensor


def intersect_box(origins: "Tensor", directions: "Tensor", bounds: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Where rays enter and leave an axis-aligned box (the slab method).

    Parameters
    ----------
    origins, directions : (R, 3) tensors
    bounds : (2, 3) tensor
        Smallest and largest corner.

    Returns
    -------
    t_near, t_far : (R,) tensors
        In units of `directions`' length; ``t_near >= 0``; a ray that misses has ``t_far <= t_near``.
    """
    import torch  # the fast method on the CPU uses this module without it, and starts seconds sooner

    tiny = torch.finfo(directions.dtype).tiny
    safe = torch.where(directions.abs() < 1e-12, torch.full_like(directions, 1e-12), directions)
    first, second = (bounds[0] - origins) / safe, (bounds[1] - origins) / safe
    t_near = torch.minimum(first, second).amax(dim=-1).clamp_min(tiny)
    t_far = torch.maximum(first, second).amin(dim=-1)
    return t_near, t_far


@dataclass(frozen=True)
class PixelBatch:
    """Some training pixels and their rays, float32, world space.

    Attributes
    ----------
    origins, directions : (R, 3) arrays
    rgba : (R, 4) array
        Straight alpha, 0 to 1, as the images are held (sRGB).
    depth : (R,) array or None
        Distance along the unit ray, 0 where it is not known; None where no view knows any.
    """

    origins: np.ndarray
    directions: np.ndarray
    rgba: np.ndarray
    depth: np.ndarray | None = None


class PixelSource:
    """Draws pixels from posed images, every pixel of every image alike, whatever their sizes and lenses.

    Rays are made from the cameras' numbers when they are drawn: keeping them would take four times the images' room.

    Parameters
    ----------
    views : Views
        At least one.
    """

    def __init__(self, views: Views) -> None:
        self.images = [view.rgba for view in views.views]
        self.depths = [view.depth for view in views.views] if views.has_depth else None
        self.cameras = [view.camera for view in views.views]
        self.ends = np.cumsum([camera.width * camera.height for camera in self.cameras])
        self.widths = np.array([camera.width for camera in self.cameras])
        numbers = [(camera.fl_x, camera.fl_y, camera.cx, camera.cy) for camera in self.cameras]
        self.intrinsics = np.array(numbers, dtype=np.float64)
        self.c2w = np.stack([camera.c2w for camera in self.cameras])
        kinds: dict[object, int] = {}
        keys = [(camera.kind, camera.distortion) for camera in self.cameras]
        self.lens_of = np.array([kinds.setdefault(key, len(kinds)) for key in keys])
        self.lens_examples = [self.cameras[keys.index(key)] for key in kinds]  # type: ignore[arg-type]

    def draw(self, count: int, generator: np.random.Generator) -> PixelBatch:
        """`count` pixels, drawn uniformly with replacement."""
        return self.at(generator.integers(0, self.ends[-1], size=count))

    def at(self, index: np.ndarray) -> PixelBatch:
        """The pixels with these running numbers (views after each other, each row by row)."""
        view = np.searchsorted(self.ends, index, side="right")
        within = index - np.concatenate([[0], self.ends])[view]
        y, x = np.divmod(within, self.widths[view])
        rgba = np.empty((len(index), 4), dtype=np.float32)
        depth = np.zeros(len(index), dtype=np.float32) if self.depths is not None else None
        order = np.argsort(view, kind="stable")
        starts = np.flatnonzero(np.diff(view[order], prepend=-1))
        for rows in np.split(order, starts[1:]):
            rgba[rows] = self.images[view[rows[0]]][y[rows], x[rows]]
            known = self.depths[view[rows[0]]] if self.depths is not None else None
            if depth is not None and known is not None:
                depth[rows] = known[y[rows], x[rows]]
        origins, directions = self._rays(view, x + 0.5, y + 0.5)
        return PixelBatch(origins.astype(np.float32), directions.astype(np.float32), rgba / 255.0, depth)

    def _rays(self, view: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fl_x, fl_y, cx, cy = self.intrinsics[view].T
        plane = np.stack([(x - cx) / fl_x, (y - cy) / fl_y], axis=-1)
        local_origins = np.zeros((len(view), 3))
        local = np.empty((len(view), 3))
        lenses = self.lens_of[view]
        for lens, example in enumerate(self.lens_examples):
            rows = lenses == lens
            if rows.any():
                local_origins[rows], local[rows] = _local_rays(example, plane[rows])
        rotation = self.c2w[view, :3, :3]
        directions = np.einsum("nij,nj->ni", rotation, local)
        origins = np.einsum("nij,nj->ni", rotation, local_origins) + self.c2w[view, :3, 3]
        return origins, directions


def _local_rays(camera: Camera, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origins and unit directions in camera axes, from (N, 2) coordinates that the intrinsics are taken out of."""
    u, v = plane[:, 0], plane[:, 1]
    zero = np.zeros_like(u)
    origins = np.zeros((len(u), 3))
    if camera.kind == "orthographic":
        return np.stack([u, -v, zero], axis=-1), np.stack([zero, zero, zero - 1.0], axis=-1)
    if camera.kind == "panoramic":
        return origins, np.stack([np.sin(u) * np.cos(v), -np.sin(v), -np.cos(u) * np.cos(v)], axis=-1)
    if not camera.distortion.is_identity:
        ideal = undistort(camera.distortion, plane)
        u, v = ideal[:, 0], ideal[:, 1]
    directions = np.stack([u, -v, zero - 1.0], axis=-1)
    return origins, directions / np.linalg.norm(directions, axis=-1, keepdims=True)
