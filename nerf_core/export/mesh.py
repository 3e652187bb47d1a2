"""A mesh of a run: marching cubes on its density, with colours as seen from outside.

Lorensen and Cline 1987, in the topologically sound form of Lewiner et al. 2003 (scikit-image), slab by slab, so that
progress is told, Stop is heard and no whole volume is held. Decimation is Garland and Heckbert's (1997), by the
library fast-simplification.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, NerfError
from ..methods.base import Method
from .density_grid import POINTS_AT_ONCE, Grid, density_slabs
from .points import choose_threshold, random_rays

MAX_FACES = 20_000_000
"""Of a mesh that may be asked for, and of one that is made before it is decimated: some 2 GB while it is worked on."""
ISLAND_SHARE = 0.02
"""Pieces with less than this share of the largest piece's area are islands."""
EMPTY = 1 / 30
"""Share of the threshold below which all densities count alike, so that no nothing draws a surface inwards."""
COLOR_STEPS = np.arange(-1.0, 4.0, 0.5)
"""Where a vertex's colour is looked at along its inward normal, in voxels."""
SEEN_RAYS = 4096  # that tell what cameras see
COLOR_SHARE = 0.35  # of the whole progress, where both parts are done


@dataclass(frozen=True)
class Mesh:
    """Triangles with what the field shows on them.

    Attributes
    ----------
    vertices : (V, 3) float32 array
        World space of the training.
    faces : (F, 3) int32 array
        Counter-clockwise seen from outside, where the density is lower.
    color : (V, 3) float32 array
        Straight sRGB, seen along the inward normal.
    normal : (V, 3) float32 array
        Outward, unit length.
    threshold : float
        The density of the surface, per world unit.
    """

    vertices: np.ndarray
    faces: np.ndarray
    color: np.ndarray
    normal: np.ndarray
    threshold: float


def extract_mesh(
    method: Method,
    cameras: Sequence[Camera],
    bounds: np.ndarray,
    resolution: int = 192,
    threshold: float | None = None,
    faces: int | None = None,
    drop_islands: bool = False,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Mesh:
    """The surface of one density inside the run's box, closed where the box cuts it.

    Parameters
    ----------
    method : Method
    cameras : sequence of Camera
        The training cameras: they choose the threshold, and hollows that they do not see are filled.
    bounds : (2, 3) array
        The box, world space.
    resolution : int
        Voxels along the box's longest side.
    threshold : float, optional
        The surface's density, per world unit; by default what density points take (`points.choose_threshold`).
    faces : int, optional
        Decimate to about so many triangles.
    drop_islands : bool
        Leave out pieces with less than `ISLAND_SHARE` of the largest piece's area.
    seed : int
        Of the rays that choose the threshold.
    progress, should_stop : callable, optional
        Told the fraction that is done; asked between parts of the work.

    Raises
    ------
    NerfError
        When a number is not usable, or nothing in the box reaches the density.
    Cancelled
        When `should_stop` said so.
    """
    bounds = np.asarray(bounds, dtype=np.float64)
    grid = Grid.over(bounds, resolution)
    if threshold is not None and not (np.isfinite(threshold) and threshold > 0):
        raise NerfError(f"The density threshold must be a number above 0 per scene unit, not {threshold}.")
    if faces is not None and not 4 <= faces <= MAX_FACES:
        raise NerfError(f"The number of faces must be 4 to {MAX_FACES}, not {faces}.")
    if threshold is None:
        if not cameras:
            raise NerfError("The run knows no training cameras to choose a threshold with; name one.")
        center, half = 0.5 * (bounds[0] + bounds[1]), 0.5 * (bounds[1] - bounds[0])
        region = np.stack([center - 1.001 * half, center + 1.001 * half])
        threshold = choose_threshold(method, cameras, seed, should_stop, region)
        if threshold <= 0:
            raise NerfError("The training cameras see nothing inside the box; train longer, or name a threshold.")
    parts = _parts(progress)
    vertices, triangles = iso_surface(
        density_slabs(method, grid, parts(0.0, 1.0 - COLOR_SHARE), should_stop), threshold
    )
    if not len(triangles):
        raise NerfError(
            f"Nothing in the run's box reaches the density {threshold:g} per scene unit; lower the threshold or train "
            "longer."
        )
    if cameras:
        places = (_seen(method, cameras, seed) - grid.origin) / grid.spacing
        vertices, triangles = without_cavities(vertices, triangles, places)
    if drop_islands:
        vertices, triangles = largest_pieces(vertices, triangles)
    if faces is not None and faces < len(triangles):
        vertices, triangles = decimated(vertices, triangles, faces, should_stop)
    # The ring of empty voxels around the grid closes what the box cuts; it shall not stand out of the box.
    world = np.clip(grid.origin + grid.spacing * vertices, bounds[0], bounds[1])
    normal = vertex_normals(world, triangles)
    color = _colors(method, world, normal, grid.spacing, parts(1.0 - COLOR_SHARE, 1.0), should_stop)
    return Mesh(world.astype(np.float32), triangles.astype(np.int32), color, normal.astype(np.float32), threshold)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) float64 unit normals: the mean of the adjoining faces', weighted by their areas."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    face = np.cross(b - a, c - a)
    normal = np.stack(
        [sum(np.bincount(faces[:, i], face[:, axis], len(vertices)) for i in range(3)) for axis in range(3)], axis=-1
    )
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.where(length > 0, normal / np.maximum(length, 1e-300), (0.0, 0.0, 1.0))


def largest_pieces(
    vertices: np.ndarray, faces: np.ndarray, share: float = ISLAND_SHARE
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of the connected pieces that have at least a `share` of the largest one's area."""
    piece, count = _pieces(len(vertices), faces)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    size = np.bincount(piece[faces[:, 0]], np.linalg.norm(np.cross(b - a, c - a), axis=1), count)
    kept = size >= share * size.max()
    return _used(vertices, faces[kept[piece[faces[:, 0]]]])


def without_cavities(vertices: np.ndarray, faces: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces without the walls of hollows that hardly any of the (N, 3) places that cameras see lies on.

    What no picture shows is left to chance, and the inside of things often is hollow; the walls of a room, which are a
    hollow's as well, stay.
    """
    from scipy.spatial import cKDTree

    piece, count = _pieces(len(vertices), faces)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    volume = np.bincount(piece[faces[:, 0]], np.einsum("ij,ij->i", a, np.cross(b, c)), count)
    hits = np.bincount(piece[cKDTree(vertices).query(seen)[1]], minlength=count)
    kept = (volume >= 0) | (hits >= ISLAND_SHARE * max(len(seen), 1))
    return _used(vertices, faces[kept[piece[faces[:, 0]]]]) if kept.any() else (vertices, faces)


def _pieces(vertices: int, faces: np.ndarray) -> tuple[np.ndarray, int]:
    """Each vertex's connected piece, and how many there are."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(links), bool), (links[:, 0], links[:, 1])), shape=(vertices, vertices))
    count, piece = connected_components(graph, directed=False)
    return piece, count


def _seen(method: Method, cameras: Sequence[Camera], seed: int) -> np.ndarray:
    """(N, 3) world places where rays of training cameras end."""
    origins, directions = random_rays(cameras, SEEN_RAYS, np.random.default_rng(seed))
    found = method.render_rays(origins, directions, sampler=method.full_sampling)
    ends = found.rgba[:, 3] > 0.5
    return origins[ends] + directions[ends] * found.depth[ends, None]


def _parts(progress: Callable[[float], None] | None) -> Callable[[float, float], Callable[[float], None] | None]:
    """Progress of a part of the work, as progress of the whole."""

    def part(first: float, last: float) -> Callable[[float], None] | None:
        return None if progress is None else lambda done: progress(first + (last - first) * done)

    return part


def iso_surface(slabs: Iterable[np.ndarray], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) in voxels from the first one's centre, and faces (F, 3), of a density that comes in slabs.

    Neighbouring slabs share a plane of voxels. A vertex on it is interpolated from the same two numbers in both, so
    that its in-plane coordinates are the same to the bit, and welds them.
    """
    from skimage.measure import marching_cubes

    level = 0.0
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    total, count, plane, seam, seam_index = 0, 0, -1, np.empty(0, np.int64), np.empty(0, np.int64)
    before: np.ndarray | None = None
    for slab in _ringed(slabs):
        # Density is the exponential of what the network gives: its logarithm is straighter between two voxels.
        field = np.log(np.maximum(slab / np.float32(threshold), np.float32(EMPTY)))
        block = field if before is None else np.concatenate([before, field])
        before = field[-1:]
        first, last = plane, plane + len(block) - 1
        plane = last
        if len(block) < 2 or not block.min() < level < block.max():
            seam = seam_index = np.empty(0, np.int64)
            continue
        found, triangles, _, _ = marching_cubes(block, level, gradient_direction="ascent", allow_degenerate=False)
        local = np.ascontiguousarray(found, dtype=np.float32)
        index = np.full(len(local), -1, np.int64)
        keys = np.ascontiguousarray(local[:, 1:]).view(np.int64).ravel()  # two float32 side by side
        on_first = np.flatnonzero(local[:, 0] == 0)
        if len(seam) and len(on_first):
            at = np.minimum(np.searchsorted(seam, keys[on_first]), len(seam) - 1)
            same = seam[at] == keys[on_first]
            index[on_first[same]] = seam_index[at[same]]
        new = np.flatnonzero(index < 0)
        index[new] = total + np.arange(len(new))
        total += len(new)
        on_last = np.flatnonzero(local[:, 0] == len(block) - 1)
        order = np.argsort(keys[on_last])
        seam, seam_index = keys[on_last][order], index[on_last][order]
        # The ring's first voxel is -1 on every axis.
        vertices.append(local[new].astype(np.float64) + (first, -1.0, -1.0))
        faces.append(index[triangles])
        count += len(triangles)
        if count > MAX_FACES:
            raise NerfError(
                f"The surface has more than {MAX_FACES} triangles; choose a lower resolution, or another threshold."
            )
    if not vertices:
        return np.empty((0, 3)), np.empty((0, 3), np.int64)
    return np.concatenate(vertices), np.concatenate(faces)


def _ringed(slabs):
    """The slabs with a voxel of nothing around the whole grid."""
    empty = None
    for slab in slabs:
        if empty is None:
            empty = np.zeros((1, slab.shape[1] + 2, slab.shape[2] + 2), np.float32)
            yield empty
        yield np.pad(slab, ((0, 0), (1, 1), (1, 1)))
    if empty is not None:
        yield empty


def _used(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the vertices that no face has."""
    kept, index = np.unique(faces, return_inverse=True)
    return vertices[kept], index.reshape(-1, 3)


def decimated(
    vertices: np.ndarray, faces: np.ndarray, count: int, should_stop: Callable[[], bool] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of about `count` triangles that have nearly the same shape."""
    from fast_simplification import simplify

    if should_stop is not None and should_stop():
        raise Cancelled("the mesh was stopped")
    points, triangles = simplify(vertices, np.ascontiguousarray(faces, dtype=np.int32), target_count=count)
    points, triangles = np.asarray(points, np.float64), _sound(np.asarray(triangles, np.int64))
    return _used(points, triangles) if len(triangles) else (vertices, faces)


def _sound(faces: np.ndarray) -> np.ndarray:
    """Without what collapses leave behind: faces with a corner twice, and faces upon each other.

    Two faces back to back enclose nothing, and both go.
    """
    corners = np.sort(faces, axis=1)
    faces = faces[(corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])]
    _, first, index, count = np.unique(
        np.sort(faces, axis=1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    kept = (count[index.ravel()] != 2) & np.isin(np.arange(len(faces)), first)
    return faces[kept]


def _colors(
    method: Method,
    vertices: np.ndarray,
    normal: np.ndarray,
    spacing: float,
    progress: Callable[[float], None] | None,
    should_stop: Callable[[], bool] | None,
) -> np.ndarray:
    """(V, 3) float32 straight sRGB: what a short ray along each inward normal shows.

    A learned surface is soft and its colour means something only where it has weight; at the vertex alone it may not.
    """
    steps = COLOR_STEPS * spacing
    many = max(1, POINTS_AT_ONCE // len(steps) // 2)
    color = np.empty((len(vertices), 3), np.float32)
    for start in range(0, len(vertices), many):
        if should_stop is not None and should_stop():
            raise Cancelled("the mesh was stopped")
        inward = -normal[start : start + many]
        points = (vertices[start : start + many, None] + inward[:, None] * steps[:, None]).reshape(-1, 3)
        directions = np.repeat(inward, len(steps), axis=0).astype(np.float32)
        seen = method.query_color(points, directions).reshape(-1, len(steps), 3)
        depth = method.query_density(points).reshape(-1, len(steps)).astype(np.float64) * (steps[1] - steps[0])
        weight = np.exp(-(np.cumsum(depth, axis=1) - depth)) * -np.expm1(-depth)
        total = weight.sum(axis=1, keepdims=True)
        weight = np.where(total > 1e-6, weight / np.maximum(total, 1e-12), 1.0 / len(steps))
        color[start : start + many] = np.einsum("vs,vsc->vc", weight, seen)
        if progress is not None:
            progress(min(1.0, (start + many) / len(vertices)))
    return np.clip(color, 0.0, 1.0)
