"""Points on what is visible: drawn where training cameras' rays end, with density and colour, and written as PLY."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, NerfError
from ..contract.files import write_beside
from ..data.color import to_bytes
from ..methods.base import Method
from ..methods.trace import Trace
from .ownership import MARK

RAYS_AT_ONCE = 4096
PILOT_RAYS = 16384
MOST_RAYS_PER_POINT = 60  # a subject that fills less than a sixtieth of the pictures gets fewer points than asked
# Draw as if everything were so many times as dense: a learned surface starts at the true one and is soft behind it,
# where nothing in the pictures says otherwise; points drawn by plain weight lie twice as deep in a cube.
SHARPEN = 4
MAX_POINTS = 50_000_000
REGIONS = (1.0, 4.0, 16.0)
"""Boxes that points come from, as multiples of the subject's: the first that holds `REGION_SHARE` of what is seen."""
REGION_SHARE = 0.05


@dataclass(frozen=True)
class PointCloud:
    """Points with what the field says there.

    Attributes
    ----------
    position : (N, 3) float32 array
        World space.
    density : (N,) float32 array
        Per world unit.
    color : (N, 3) float32 array
        Straight, sRGB-encoded, as a training camera saw it.
    threshold : float
        The density that every point reaches.
    """

    position: np.ndarray
    density: np.ndarray
    color: np.ndarray
    threshold: float

    def __len__(self) -> int:
        return len(self.position)


def extract_points(
    method: Method,
    cameras: Sequence[Camera],
    count: int,
    threshold: float | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    bounds: np.ndarray | None = None,
) -> PointCloud:
    """Draw points from what training cameras see.

    A ray goes through a random place of a random camera's picture. Of its samples with density of at least `threshold`
    one is drawn in proportion to its weight, the probability that the ray ends there (in a field `SHARPEN` times as
    dense); the ray gives no point with the probability that it ends at none of them. So opaque surfaces get points on
    them, and nothing inside.

    Parameters
    ----------
    method : Method
    cameras : sequence of Camera
        Usually the training cameras.
    count : int
        Points wanted; fewer come back where very little is visible.
    threshold : float, optional
        Smallest density, per world unit; by default one that keeps out haze (see `choose_threshold`).
    seed : int
    progress : callable, optional
        Called with the fraction that is done.
    should_stop : callable, optional
        Asked between batches of rays.
    bounds : (2, 3) array, optional
        The subject's box, world space: where a field goes on outside it, points come from the box alone, or from a
        larger one where hardly anything is seen in it (see `REGIONS`).

    Raises
    ------
    NerfError
        When a number is not usable, or nothing is visible at that density.
    Cancelled
        When `should_stop` said so.
    """
    if not 1 <= count <= MAX_POINTS:
        raise NerfError(f"The number of points must be 1 to {MAX_POINTS}, not {count}.")
    if threshold is not None and not (np.isfinite(threshold) and threshold >= 0):
        raise NerfError(f"The density threshold must be a number of 0 or more per scene unit, not {threshold}.")
    if not cameras:
        raise NerfError("The run knows no training cameras to look for points with; train it again.")
    rng = np.random.default_rng(seed)
    region = None if bounds is None else _choose_region(method, cameras, bounds, seed)
    if threshold is None:
        threshold = choose_threshold(method, cameras, seed, should_stop, region)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    total = rays = 0
    while total < count and rays < MOST_RAYS_PER_POINT * max(count, RAYS_AT_ONCE):
        if should_stop is not None and should_stop():
            raise Cancelled("the points were stopped")
        trace = method.trace_rays(*random_rays(cameras, RAYS_AT_ONCE, rng), method.full_sampling)
        rays += RAYS_AT_ONCE
        chosen = _draw(trace, threshold, rng)
        if region is not None:
            chosen = chosen[_inside(trace.position[chosen], region)]
        found.append((trace.position[chosen], trace.density[chosen], trace.color[chosen]))
        total += len(chosen)
        if progress is not None:
            progress(min(1.0, max(total / count, rays / (MOST_RAYS_PER_POINT * max(count, RAYS_AT_ONCE)))))
        if rays >= 16 * RAYS_AT_ONCE and total == 0:
            break
    if total == 0:
        raise NerfError(
            f"Nothing that the training cameras see reaches the density {threshold:g} per scene unit; "
            "lower the threshold or train longer."
        )
    position, density, color = (np.concatenate(parts)[:count].astype(np.float32) for parts in zip(*found, strict=True))
    return PointCloud(position, density, np.clip(color, 0.0, 1.0), float(threshold))


def choose_threshold(
    method: Method,
    cameras: Sequence[Camera],
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
    region: np.ndarray | None = None,
) -> float:
    """A density, per world unit, that surfaces reach and haze does not.

    At the density one hundredth of the visible scene's size stops half of the light: ``ln 2 / (0.01 L)``; less where a
    field is soft: at least three quarters of all that cameras see (in a region (2, 3), where one is given) stay.
    Raises `Cancelled` when `should_stop`, asked between batches of rays, said so.
    """
    rng = np.random.default_rng(seed)
    positions, densities, weights = [], [], []
    for _ in range(PILOT_RAYS // RAYS_AT_ONCE):
        if should_stop is not None and should_stop():
            raise Cancelled("the points were stopped")
        trace = method.trace_rays(*random_rays(cameras, RAYS_AT_ONCE, rng), method.full_sampling)
        seen = (trace.stage == trace.stage.max(initial=0)) & (trace.weight > 1e-3)
        if region is not None:
            seen &= _inside(trace.position, region)
        positions.append(trace.position[seen])
        densities.append(trace.density[seen])
        weights.append(trace.weight[seen])
    position, density, weight = np.concatenate(positions), np.concatenate(densities), np.concatenate(weights)
    if not len(density):
        return 0.0
    length = float(np.max(np.quantile(position, 0.99, axis=0) - np.quantile(position, 0.01, axis=0)))
    surface = np.log(2.0) / (0.01 * max(length, 1e-6))
    order = np.argsort(density)
    share = np.cumsum(weight[order], dtype=np.float64)
    soft = float(density[order][np.searchsorted(share, 0.25 * share[-1])])
    return float(min(surface, soft))


def _choose_region(method: Method, cameras: Sequence[Camera], bounds: np.ndarray, seed: int) -> np.ndarray:
    """The smallest of the boxes about the subject that points can come from."""
    rays = random_rays(cameras, RAYS_AT_ONCE, np.random.default_rng(seed))
    trace = method.trace_rays(*rays, method.full_sampling)
    last = trace.stage == trace.stage.max(initial=0)
    position, weight = trace.position[last], trace.weight[last]
    center, half = 0.5 * (bounds[0] + bounds[1]), 0.5 * (bounds[1] - bounds[0])
    region = bounds
    for times in REGIONS:
        # A hair wider: what lies on the box's faces is in it.
        region = np.stack([center - 1.001 * times * half, center + 1.001 * times * half])
        if weight[_inside(position, region)].sum() >= REGION_SHARE * weight.sum():
            break
    return region


def _inside(position: np.ndarray, region: np.ndarray) -> np.ndarray:
    return np.all((position >= region[0]) & (position <= region[1]), axis=1)


def random_rays(cameras: Sequence[Camera], count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """World rays (count, 3) float32 through uniformly random places of random cameras' pictures."""
    picks = np.sort(rng.integers(len(cameras), size=count))
    origins, directions = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    starts = np.searchsorted(picks, np.arange(len(cameras) + 1))
    for index in np.unique(picks):
        camera, rows = cameras[index], slice(starts[index], starts[index + 1])
        pixels = rng.random((rows.stop - rows.start, 2)) * (camera.width, camera.height)
        origins[rows], directions[rows] = camera.rays(pixels)
    return origins, directions


def write_ply(path: str | Path, cloud: PointCloud) -> None:
    """Write points as binary little-endian PLY: x, y, z, red, green, blue (uchar, sRGB), density (float, 1 / unit)."""
    rows = np.empty(
        len(cloud),
        dtype=[("xyz", "<f4", 3), ("rgb", "|u1", 3), ("density", "<f4")],
    )
    rows["xyz"], rows["rgb"], rows["density"] = cloud.position, to_bytes(cloud.color), cloud.density
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {MARK}",
        f"comment density_threshold {cloud.threshold:g}",
        f"element vertex {len(cloud)}",
        *(f"property float {name}" for name in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "property float density",
        "end_header\n",
    ]

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as stream:
            stream.write("\n".join(header).encode("ascii"))
            stream.write(rows.tobytes())

    write_beside(path, write)


def _draw(trace: Trace, threshold: float, rng: np.random.Generator) -> np.ndarray:
    """Indices of the drawn samples, at most one a ray, in random order."""
    last = trace.stage == trace.stage.max(initial=0)  # what the picture is made of
    dense = np.flatnonzero(last & (trace.density >= threshold) & (trace.weight > 0))
    if not len(dense):
        return dense
    ray, before = trace.ray[dense], trace.transmittance[dense].astype(np.float64)
    after = np.maximum(before - trace.weight[dense], 0.0)
    weight = before**SHARPEN - after**SHARPEN  # the weight that SHARPEN times the density would have
    # One uniform number a ray against the running sum of its weights: the inverse of the ray's own CDF.
    first = np.flatnonzero(np.r_[True, ray[1:] != ray[:-1]])
    running = np.cumsum(weight)
    start = np.repeat(running[first] - weight[first], np.diff(np.r_[first, len(ray)]))
    number = rng.random(len(first))[np.cumsum(np.r_[True, ray[1:] != ray[:-1]]) - 1]
    inside = running - start
    hit = (inside > number) & (inside - weight <= number)
    # A sum that rounding takes over 1 hits all the same; two hits a ray cannot be.
    return rng.permutation(dense[hit])
