"""Where the subject is, when a data set does not say: from its alpha masks, or from its cameras alone."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..contract.camera import Camera
from ..contract.lens import Distortion
from .views import View

GRID = 48  # cells along the longest side; the hull is found again inside its own box until it stays
PADDING = 0.05
MAX_VIEWS = 100


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
    origins = np.array([camera.position for camera in cameras])
    forward = np.array([camera.forward for camera in cameras])
    middle = origins.mean(axis=0)
    spread = float(np.linalg.norm(origins - middle, axis=1).max(initial=0.0))
    # sum_i (I - d_i d_i^T)(x - o_i) = 0: the normal equations of the squared distance to every axis.
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    system = across.sum(axis=0)
    if np.linalg.eigvalsh(system)[0] < 1e-3 * len(cameras):  # (nearly) parallel axes meet nowhere
        reach = max(spread, 1.0)
        center = middle + forward.mean(axis=0) * reach
        return np.stack([center - reach, center + reach])
    center = np.linalg.solve(system, np.einsum("nij,nj->i", across, origins))
    distance = np.linalg.norm(origins - center, axis=1)
    inward = np.einsum("ni,ni->n", forward, center - origins) > 0
    reach = float(distance.max()) if inward.mean() > 0.5 else 4.0 * max(spread, 1e-3)
    return np.stack([center - reach, center + reach])


def visual_hull_box(views: Sequence[View], region: np.ndarray) -> np.ndarray | None:
    """The box of everything that no mask rules out, padded by 5 % of its longest side.

    Space carving on a coarse grid: a cell goes when some view sees all of it and sees nothing there (alpha 0), or when
    less than a tenth of the views see it at all. Masks are widened by the cell's size, so thin things stay.

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
    masks = [_summed_area(view.rgba[..., 3] > 0) for view in picked]
    lenses = [_Lens.of(view.camera) for view in picked]
    region = np.asarray(region, dtype=np.float64)
    box = region
    for _ in range(8):
        cells, half = _grid(box)
        kept = _carve(cells, half, lenses, masks)
        if not len(kept):
            return None
        tight = np.stack([kept.min(axis=0) - half, kept.max(axis=0) + half])
        tight = np.stack([np.maximum(tight[0], box[0]), np.minimum(tight[1], box[1])])
        shrunk = float(np.prod(tight[1] - tight[0]) / np.prod(box[1] - box[0]))
        box = tight
        if shrunk > 0.9:
            break
    pad = PADDING * float(np.max(box[1] - box[0]))
    return np.stack([np.maximum(box[0] - pad, region[0]), np.minimum(box[1] + pad, region[1])])


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

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels (N, 2), pixels per world unit (N,) there, and whether each point is in the frame (N,)."""
        flat, depth = self.ideal.project(points)
        inside = (flat >= self.reach[0]).all(axis=-1) & (flat <= self.reach[1]).all(axis=-1)
        pixels = flat if self.camera.distortion.is_identity else self.camera.project(points)[0]
        size = (self.camera.width, self.camera.height)
        inside &= (pixels >= 0).all(axis=-1) & (pixels < size).all(axis=-1)
        focal = max(self.camera.fl_x, self.camera.fl_y)
        if self.camera.kind == "orthographic":
            return pixels, np.full(len(points), focal), inside & (depth > 0)
        near = np.maximum(depth, 1e-9)
        return pixels, focal / near, inside & (depth > 1e-9)


def _summed_area(mask: np.ndarray) -> np.ndarray:
    """(H + 1, W + 1) int64: how many pixels are set above and left of each corner (Crow 1984)."""
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    table[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    return table


def _grid(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell centres (N, 3) of a grid of roughly cubic cells over a box, and half a cell's size (3,)."""
    extent = box[1] - box[0]
    counts = np.clip(np.ceil(GRID * extent / extent.max()), 4, GRID).astype(int)
    axes = [box[0][k] + (np.arange(counts[k]) + 0.5) * extent[k] / counts[k] for k in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), 0.5 * extent / counts


def _carve(cells: np.ndarray, half: np.ndarray, lenses: list[_Lens], masks: list[np.ndarray]) -> np.ndarray:
    radius = float(np.linalg.norm(half))
    seen_by = np.zeros(len(cells), np.int32)
    for lens, table in zip(lenses, masks, strict=True):
        pixels, per_unit, inside = lens.project(cells)
        seen_by += inside
        reach = np.minimum(radius * per_unit, 1e6)[:, None] + 1.0
        size = np.array([table.shape[1] - 1, table.shape[0] - 1])
        with np.errstate(invalid="ignore"):
            low = np.where(inside[:, None], np.floor(pixels - reach), 0)
            high = np.where(inside[:, None], np.ceil(pixels + reach), 0)
        whole = inside & (low >= 0).all(axis=-1) & (high <= size).all(axis=-1)
        x0, y0 = np.clip(low, 0, size).astype(np.int64).T
        x1, y1 = np.clip(high, 0, size).astype(np.int64).T
        count = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
        keep = ~(whole & (count == 0))
        cells, seen_by = cells[keep], seen_by[keep]
    enough = max(1 if len(lenses) == 1 else 2, round(0.1 * len(lenses)))
    return cells[seen_by >= enough]
