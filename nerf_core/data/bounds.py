"""Where the subject is, when a data set does not say: from its alpha masks, or from its cameras alone."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..contract.camera import Camera
from ..contract.lens import Distortion
from .views import View

GRID = 32  # cells along the longest side to begin with
FINEST = 1 / 120  # cells at the hull's faces are split until they are smaller than this part of its longest side
MAX_ROUNDS = 400
PADDING = 0.05
SEEN_BY = 0.5
MAX_VIEWS = 64
MASK_SIDE = 200  # masks are shrunk to sides of this to twice this many pixels
SUBJECT = 0.5
"""Half a side of the subject's cube as a part of the distance to the cameras that stand around it."""
MARGIN = 1.5
"""Half a side of the cube around cameras that look outwards, as a part of how far they spread."""
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)


def box_from_cameras(cameras: Sequence[Camera]) -> np.ndarray:
    """A cube that holds what the cameras look at.

    Its centre is the point nearest to all optical axes (least squares). Where the cameras stand around it, it reaches
    to the farthest camera; where they look outwards from one place, it reaches four times as far as they spread. A
    single camera, or cameras with parallel axes, get the cube in front of them as far away as they spread (or 1).

    Returns
    -------
    (2, 3) float64 array
        Smallest and largest corner, world space.
    """
    rig = _Rig.of(cameras)
    if rig.center is None:
        return rig.in_front()
    reach = float(rig.distance.max()) if rig.inward else 4.0 * max(rig.spread, 1e-3)
    return np.stack([rig.center - reach, rig.center + reach])


def subject_from_cameras(cameras: Sequence[Camera]) -> np.ndarray:
    """A cube for what a field that goes on outside it shall resolve best; see `fields.contraction`.

    Where the cameras stand around something, it lies about the point nearest to all optical axes and reaches half as
    far as the median camera; where they look outwards, as in a room, it holds them all and as much again of their
    surroundings as `MARGIN` says. A single camera, or cameras with parallel axes, as `box_from_cameras`.

    Returns
    -------
    (2, 3) float64 array
        Smallest and largest corner, world space.
    """
    rig = _Rig.of(cameras)
    if rig.center is None:
        return rig.in_front()
    center, reach = rig.center, SUBJECT * float(np.median(rig.distance))
    if not rig.inward:
        low, high = rig.origins.min(axis=0), rig.origins.max(axis=0)
        center, reach = 0.5 * (low + high), MARGIN * max(0.5 * float((high - low).max()), 1e-3)
    return np.stack([center - reach, center + reach])


class _Rig:
    """How cameras stand: where they are, how far they spread, and what they look at."""

    def __init__(self, origins: np.ndarray, forward: np.ndarray) -> None:
        self.origins, self.forward = origins, forward
        self.middle = origins.mean(axis=0)
        self.spread = float(np.linalg.norm(origins - self.middle, axis=1).max(initial=0.0))
        # sum_i (I - d_i d_i^T)(x - o_i) = 0: the normal equations of the squared distance to every axis.
        across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
        system = across.sum(axis=0)
        self.center: np.ndarray | None = None
        if np.linalg.eigvalsh(system)[0] >= 1e-3 * len(origins):  # (nearly) parallel axes meet nowhere
            center = np.linalg.solve(system, np.einsum("nij,nj->i", across, origins))
            self.center = center
            self.distance = np.linalg.norm(origins - center, axis=1)
            self.inward = bool((np.einsum("ni,ni->n", forward, center - origins) > 0).mean() > 0.5)

    @classmethod
    def of(cls, cameras: Sequence[Camera]) -> "_Rig":
        return cls(np.array([camera.position for camera in cameras]), np.array([camera.forward for camera in cameras]))

    def in_front(self) -> np.ndarray:
        """The cube in front of cameras that look one way."""
        reach = max(self.spread, 1.0)
        center = self.middle + self.forward.mean(axis=0) * reach
        return np.stack([center - reach, center + reach])


def visual_hull_box(views: Sequence[View], region: np.ndarray) -> np.ndarray | None:
    """The box of everything that no mask rules out, padded by 5 % of its longest side.

    Space carving on cubic cells, split only where they hold up the box. A cell goes when some view sees all of it and
    sees nothing there (alpha 0), or when less than `SEEN_BY` as many views see it as see the best seen cell: out there
    few masks speak, and stray cones would stay. Masks are shrunk, a block being set where any pixel of it is, and
    widened by the cell's size, so thin things stay.

    Parameters
    ----------
    views : sequence of View
        At most `MAX_VIEWS` of them are used, evenly picked.
    region : (2, 3) array
        Where to look, world space.

    Returns
    -------
    (2, 3) float64 array or None
        World space; None where no image has transparent pixels, or nothing is left.
    """
    picked = [views[i] for i in np.unique(np.linspace(0, len(views) - 1, min(len(views), MAX_VIEWS)).astype(int))]
    if not any((view.rgba[..., 3] == 0).any() for view in picked):
        return None
    hull = _Hull(picked)
    region = np.asarray(region, dtype=np.float64)
    cells, size = _grid(region)
    seen_by = hull.seen_by(cells, size)
    enough = max(min(2, len(picked)), SEEN_BY * seen_by.max(initial=0))
    cells = cells[seen_by >= enough]
    # From there on only the cells that hold up a face of the box are split, again and again, until they are small.
    sizes = np.full(len(cells), size)
    for _ in range(MAX_ROUNDS):
        if not len(cells):
            return None
        low, high = (cells - 0.5 * sizes[:, None]).min(axis=0), (cells + 0.5 * sizes[:, None]).max(axis=0)
        smallest = FINEST * float(np.max(high - low))
        reach = np.minimum(cells - low, high - cells).min(axis=1)
        outer = (reach < 1.01 * sizes) & (sizes > smallest)
        if not outer.any():
            break
        size = float(sizes[outer].max())
        outer &= sizes > 0.9 * size  # one size at a time, the coarsest first
        children = (cells[outer][:, None, :] + 0.25 * size * _CORNERS).reshape(-1, 3)
        children = children[hull.seen_by(children, 0.5 * size) >= enough]
        cells = np.concatenate([cells[~outer], children])
        sizes = np.concatenate([sizes[~outer], np.full(len(children), 0.5 * size)])
    pad = PADDING * float(np.max(high - low))
    return np.stack([np.maximum(low - pad, region[0]), np.minimum(high + pad, region[1])])


class _Hull:
    """The masks of some views, and which cubes of space they leave."""

    def __init__(self, views: Sequence[View]) -> None:
        self.masks = [_Mask.of(view.rgba[..., 3]) for view in views]
        self.lenses = [_Lens.of(view.camera) for view in views]

    def seen_by(self, centers: np.ndarray, size: float) -> np.ndarray:
        """(N,) how many views see cubes about (N, 3) world points with sides of `size`; 0 where a view rules it out."""
        radius = 0.5 * math.sqrt(3.0) * size
        seen = np.zeros(len(centers), np.int32)
        left = np.arange(len(centers))
        points = np.ascontiguousarray(centers.T)  # a row an axis: every step below runs along contiguous rows
        for lens, mask in zip(self.lenses, self.masks, strict=True):
            x, y, per_unit, inside = lens.project(points)
            seen[left] += inside
            reach = radius * per_unit
            x0, x1, y0, y1 = x - reach, x + reach, y - reach, y + reach
            whole = inside & (x0 >= 0) & (y0 >= 0) & (x1 <= lens.camera.width) & (y1 <= lens.camera.height)
            index = np.flatnonzero(whole)
            carved = index[mask.is_empty(x0[index], x1[index], y0[index], y1[index])]
            if len(carved):
                seen[left[carved]] = 0
                left, points = np.delete(left, carved), np.delete(points, carved, axis=1)
        return seen


class _Mask:
    """Where a picture is not wholly transparent, asked for rectangles at a time."""

    def __init__(self, table: np.ndarray, step: int) -> None:
        self.table, self.step = table, step

    @classmethod
    def of(cls, alpha: np.ndarray) -> "_Mask":
        step = max(1, max(alpha.shape) // MASK_SIDE)
        height, width = (-(-side // step) for side in alpha.shape)
        seen = np.zeros((height * step, width * step), bool)
        np.greater(alpha, 0, out=seen[: alpha.shape[0], : alpha.shape[1]])
        # A block that holds anything counts as seen: nothing of what is in the picture gets lost.
        rows = np.logical_or.reduce([seen[k::step] for k in range(step)])
        return cls(_summed_area(np.logical_or.reduce([rows[:, k::step] for k in range(step)])), step)

    def is_empty(self, x0: np.ndarray, x1: np.ndarray, y0: np.ndarray, y1: np.ndarray) -> np.ndarray:
        """(N,) whether nothing is to be seen in rectangles inside the picture, in its pixels."""
        left, top = (x0 / self.step).astype(np.int64), (y0 / self.step).astype(np.int64)
        right, bottom = np.ceil(x1 / self.step).astype(np.int64), np.ceil(y1 / self.step).astype(np.int64)
        table = self.table
        return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left] == 0


class _Lens:
    """Projects points, but knows which lie outside the frame: beyond it a distortion model folds back into view."""

    def __init__(self, camera: Camera, ideal: Camera, reach: np.ndarray) -> None:
        self.camera, self.ideal, self.reach = camera, ideal, reach

    @classmethod
    def of(cls, camera: Camera) -> "_Lens":
        ideal = replace(camera, distortion=Distortion(), c2w=camera.c2w)
        if camera.distortion.is_identity:
            return cls(camera, ideal, np.array([[-np.inf] * 2, [np.inf] * 2]))
        x, y = np.linspace(0, camera.width, 33), np.linspace(0, camera.height, 33)
        border = np.concatenate(
            [
                np.stack([x, 0 * x], axis=-1),
                np.stack([x, 0 * x + camera.height], axis=-1),
                np.stack([0 * y, y], axis=-1),
                np.stack([0 * y + camera.width, y], axis=-1),
            ]
        )
        origins, directions = camera.rays(border)
        seen, _ = ideal.project(origins + directions)
        return cls(camera, ideal, np.stack([seen.min(axis=0), seen.max(axis=0)]))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pixels x and y of (3, N) points, pixels per world unit there, and whether each is in the frame; all (N,)."""
        camera = self.camera
        if camera.kind == "panoramic" or not camera.distortion.is_identity:
            flat, depth = self.ideal.project(points.T)
            inside = (flat >= self.reach[0]).all(axis=-1) & (flat <= self.reach[1]).all(axis=-1)
            x, y = camera.project(points.T)[0].T
        else:  # as Camera.project, without what only other lenses need
            rotation = camera.c2w[:3, :3].T
            right, up, depth = rotation @ points - (rotation @ camera.position)[:, None]
            depth = -depth
            inside = np.ones(len(depth), bool)
            scale = 1.0 / np.maximum(depth, 1e-9) if camera.kind == "perspective" else 1.0
            x, y = camera.fl_x * right * scale + camera.cx, camera.cy - camera.fl_y * up * scale
        inside &= (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height) & (depth > 1e-9)
        focal = max(camera.fl_x, camera.fl_y)
        if camera.kind == "orthographic":
            return x, y, np.full(len(x), focal), inside
        return x, y, focal / np.maximum(depth, 1e-9), inside


def _summed_area(mask: np.ndarray) -> np.ndarray:
    """(H + 1, W + 1) int32: how many pixels are set above and left of each corner (Crow 1984)."""
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    np.cumsum(mask, axis=0, dtype=np.int32, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    return table


def _grid(box: np.ndarray) -> tuple[np.ndarray, float]:
    """Centres (N, 3) of cubes that cover a box, and their size."""
    extent = box[1] - box[0]
    size = float(extent.max()) / GRID
    counts = np.maximum(np.ceil(extent / size - 1e-6), 1).astype(int)
    axes = [0.5 * (box[0][k] + box[1][k]) + (np.arange(counts[k]) + 0.5 - 0.5 * counts[k]) * size for k in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), size
