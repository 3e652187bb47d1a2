"""Which view and which pixel a story is about, where nobody says so: the same choice every time. No bpy here."""

from collections.abc import Sequence

import numpy as np

from ..vendor.nerf_core.contract.camera import Camera

ELEVATION = np.radians(28.0)  # from which a view shows most of a thing that stands on a ground
NEIGHBOURS = 3  # cells in each direction that a pixel is judged with


def choose_view(cameras: Sequence[Camera], bounds: np.ndarray) -> int:
    """Number of the training view that looks at the box's middle from a little above.

    Parameters
    ----------
    cameras : sequence of Camera
    bounds : (2, 3) array
    """
    middle = np.asarray(bounds).mean(axis=0)
    extent = float(np.linalg.norm(bounds[1] - bounds[0]))
    worth = []
    for camera in cameras:
        offset = camera.position - middle
        distance = max(float(np.linalg.norm(offset)), 1e-9)
        elevation = np.arcsin(np.clip(offset[2] / distance, -1.0, 1.0))
        aim = float(np.dot(-camera.c2w[:3, 2], -offset / distance))
        # One that stands close shows little; one that looks elsewhere, nothing.
        worth.append(abs(elevation - ELEVATION) + 2.0 * (1.0 - aim) + 0.1 * abs(np.log(distance / extent)))
    return int(np.argmin(worth))


def choose_pixels(rgba: np.ndarray, count: int) -> np.ndarray:
    """(N, 2) columns and rows of cells on the object, amid a texture, away from its edge and the picture's; best first.

    Parameters
    ----------
    rgba : (H, W, 4) float array
        Premultiplied sRGB, shrunk.
    count : int
        How many at most; no two are neighbours.
    """
    height, width = rgba.shape[:2]
    alpha = rgba[..., 3]
    y, x = np.mgrid[:height, :width]
    reach = NEIGHBOURS
    inside = (x >= reach) & (y >= reach) & (x < width - reach) & (y < height - reach)
    whole = inside & (_least(alpha, reach) > 0.98)
    on_object = whole if whole.any() else (inside if inside.any() else np.ones_like(inside))
    # Textured around, but not at the very place: a neighbour of it would say something else.
    around = _spread(rgba[..., :3], reach)
    here = _spread(rgba[..., :3], 1)
    colorful = np.ptp(rgba[..., :3], axis=-1)
    weight = np.where(on_object, alpha, 0.0)
    centre = np.array([(weight * y).sum(), (weight * x).sum()]) / max(weight.sum(), 1e-9)
    away = np.hypot((y - centre[0]) / height, (x - centre[1]) / width)
    worth = np.minimum(around, 0.2) - 1.5 * here + 0.35 * colorful - 0.5 * away
    worth[~on_object] = -np.inf
    found = []
    while len(found) < count and np.isfinite(worth.max()):
        row, column = np.unravel_index(int(np.argmax(worth)), worth.shape)
        found.append((int(column), int(row)))
        worth[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = -np.inf
    return np.array(found)


def choose_ray(
    counts: np.ndarray,
    acting: np.ndarray,
    spread: np.ndarray,
    vivid: np.ndarray,
    history: np.ndarray,
) -> int:
    """Which of some rays tells most: some samples act and some do not, and it was ill known at first and well at last.

    Parameters
    ----------
    counts, acting : (R,) arrays
        Samples of each ray, and those of them that weigh something.
    spread : (R,) array
        Length of the stretch that the weight lies in, relative to the box.
    vivid : (R,) array
        How colourful and bright the pixels are, 0 to 1: dark samples are hard to see.
    history : (M, R) array
        Differences from the picture at moments of the training, 0 to 1; the last is the NeRF as it is.
    """
    worth = (
        2.0 * np.minimum(acting, 6) / 6.0
        + 1.4 * np.minimum(counts, 12) / 12.0
        - 0.5 * np.maximum(counts - 40, 0) / 40.0
    )
    worth = (
        worth
        - 18.0 * np.maximum(history[-1] - 0.006, 0.0)
        - 6.0 * np.maximum(spread - 0.05, 0.0)
        - 0.005 * np.arange(len(counts))
    )
    worth = worth + 4.0 * np.minimum(vivid, 0.7)
    if len(history) > 1:
        # An error that rises on the way is no smaller truth, but a longer story.
        rises = np.maximum(np.diff(history, axis=0), 0.0).sum(axis=0)
        worth = worth + 2.5 * np.minimum(history[0], 0.3) - 2.5 * rises / np.maximum(history[0], 0.03)
    return int(np.argmax(worth))


def nearest_view(cameras: Sequence[Camera], eye: np.ndarray, point: np.ndarray) -> tuple[int, np.ndarray] | None:
    """Which training view sees a point most as an eye does, and where in it; None where none has it in its picture.

    Parameters
    ----------
    cameras : sequence of Camera
    eye, point : (3,) arrays
        In the same world.
    """
    looks = eye - point
    looks = looks / max(float(np.linalg.norm(looks)), 1e-9)
    best: tuple[float, int, np.ndarray] | None = None
    for index, other in enumerate(cameras):
        pixel, depth = other.project(np.asarray(point, dtype=np.float64))
        if not (depth > 0 and 0 <= pixel[0] < other.width and 0 <= pixel[1] < other.height):
            continue
        offset = other.position - point
        alike = float(np.dot(looks, offset / max(float(np.linalg.norm(offset)), 1e-9)))
        if best is None or alike > best[0] + 1e-9:
            best = alike, index, np.asarray(pixel)
    return None if best is None else (best[1], best[2])


def _shifts(values: np.ndarray, reach: int) -> list[np.ndarray]:
    padded = np.pad(values, [(reach, reach), (reach, reach), *[(0, 0)] * (values.ndim - 2)], mode="edge")
    height, width = values.shape[:2]
    steps = range(2 * reach + 1)
    return [padded[dy : dy + height, dx : dx + width] for dy in steps for dx in steps]


def _least(values: np.ndarray, reach: int) -> np.ndarray:
    return np.min(_shifts(values, reach), axis=0)


def _spread(values: np.ndarray, reach: int) -> np.ndarray:
    return np.std(_shifts(values, reach), axis=0).mean(axis=-1)
