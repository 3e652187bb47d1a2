"""NeRFs as objects of a world: where each one is placed, what it is cropped to, and where rays meet it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import NerfError
from ..contract.samplers import SamplerChoice
from ..contract.transforms import ColorSpace
from ..fields.contraction import UNBOUNDED_FAR, UNBOUNDED_NEAR
from ..methods.base import Method
from ..methods.cost import RenderCost

FLAT = 1e-12
"""Determinant, relative to the lengths of its columns, below which a matrix has no inverse worth using."""
EVEN = 2e-6
"""How far from a similarity a matrix may be and count as one: Blender's are of float32, good to some 1e-7."""


@dataclass(frozen=True)
class Rays:
    """Rays in the world.

    Attributes
    ----------
    origins, directions : (R, 3) float64 arrays
        Scene units; directions have unit length.
    limits : (R, 2) float64 array
        Distances from and to which each ray is looked along.
    """

    origins: np.ndarray
    directions: np.ndarray
    limits: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> "Rays":
        return Rays(self.origins[rows], self.directions[rows], self.limits[rows])

    def __len__(self) -> int:
        return len(self.origins)


@dataclass(frozen=True)
class Seen:
    """What some rays see of a layer; see `methods.base.RayColors`, distances in world units."""

    rgba: np.ndarray
    depth: np.ndarray
    samples: int
    cost: RenderCost | None = None
    evaluations: np.ndarray | None = None


@dataclass(frozen=True)
class Layer:
    """A NeRF, its place in the world and what it is cropped to.

    Attributes
    ----------
    method : Method
    color_space : {'srgb', 'linear'}
        Of its run.
    matrix : (4, 4) float64 array
        From the space that the run was trained in to the world; affine. One without an inverse (a scale of 0) shows
        nothing.
    crops : tuple of (4, 4) float64 arrays
        Cubes to the world, affine: each takes [-1, 1]^3 to a box, and only what is inside all boxes is shown.
    sampler : SamplerChoice or None
        What places the samples in this layer; None: what the view says.
    name : str
        What errors call it, where it is not the only one.
    """

    method: Method
    color_space: ColorSpace = "srgb"
    matrix: np.ndarray = field(default_factory=lambda: np.eye(4))
    crops: tuple[np.ndarray, ...] = ()
    sampler: SamplerChoice | None = None
    name: str = ""

    @cached_property
    def is_flat(self) -> bool:
        """Whether the layer or one of its crops has no extent, so that nothing can be seen."""
        return any(is_flat(matrix) for matrix in (self.matrix, *self.crops))

    @cached_property
    def to_run(self) -> np.ndarray:
        """(4, 4) from the world to the space that the run was trained in."""
        return np.linalg.inv(self.matrix)

    @cached_property
    def size(self) -> float:
        """Longest side of the run's box, in the world."""
        return float(np.linalg.norm(self.matrix[:3, :3], ord=2)) / self.method.normalisation.scale

    @cached_property
    def scale(self) -> float | None:
        """How many times larger than trained it is, where it is only moved, turned and scaled evenly; else None."""
        linear = self.matrix[:3, :3]
        scale = float(np.linalg.norm(linear[:, 0]))
        # Of what is larger or smaller still, an orthographic camera's numbers would not be usable.
        if self.is_flat or np.linalg.det(linear) < 0.0 or not 1e-6 < scale < 1e6:
            return None
        is_even = np.abs(linear.T @ linear - scale * scale * np.eye(3)).max() < EVEN * scale * scale
        return scale if is_even else None

    def camera_in_run(self, camera: Camera) -> Camera:
        """A camera of the world, as the run's training space has it; only for a layer that has a `scale`."""
        if np.array_equal(self.matrix, np.eye(4)):
            return camera
        assert self.scale is not None
        c2w = self.to_run @ camera.c2w
        c2w[:3, :3] *= self.scale
        zoom = self.scale if camera.kind == "orthographic" else 1.0
        return replace(camera, c2w=c2w, fl_x=camera.fl_x * zoom, fl_y=camera.fl_y * zoom)

    @cached_property
    def _to_crops(self) -> list[np.ndarray]:
        return [np.linalg.inv(crop) for crop in self.crops]

    def range_of(self, rays: Rays) -> np.ndarray:
        """(R, 2) world distances between which rays may see the layer; the first is not below the second where none."""
        if self.is_flat:
            return np.stack([rays.limits[:, 1], rays.limits[:, 0]], axis=-1)
        near, far = rays.limits[:, 0].copy(), rays.limits[:, 1].copy()
        normalisation = self.method.normalisation
        origins, directions = moved(self.to_run, rays)
        if self.method.unbounded:
            lengths = np.linalg.norm(directions, axis=-1) * normalisation.scale
            near, far = np.maximum(near, UNBOUNDED_NEAR / lengths), np.minimum(far, UNBOUNDED_FAR / lengths)
        else:
            low, high = meet_box(origins, directions, *np.asarray(normalisation.bounds))
            near, far = np.maximum(near, low), np.minimum(far, high)
        for to_crop in self._to_crops:
            low, high = meet_box(*moved(to_crop, rays), -np.ones(3), np.ones(3))
            near, far = np.maximum(near, low), np.minimum(far, high)
        return np.stack([near, far], axis=-1)

    def prepare(self, sampler: SamplerChoice | None, on_progress: Callable[[float], None] | None) -> None:
        """Make what the view's sampler, or its own, needs; see `Method.prepare`."""
        try:
            self.method.prepare(self.sampler or sampler, on_progress)
        except NerfError as error:
            raise (NerfError(f"'{self.name}': {error}") if self.name else error) from None

    def render(self, rays: Rays, sampler: SamplerChoice | None = None) -> Seen:
        """What rays see between their limits."""
        origins, directions = moved(self.to_run, rays)
        lengths = np.linalg.norm(directions, axis=-1)
        directions = directions / lengths[:, None]
        limits = rays.limits * lengths[:, None]
        sampler = self.sampler or sampler
        colors = self.method.render_rays(origins.astype(np.float32), directions.astype(np.float32), limits, sampler)
        depth = colors.depth / lengths.astype(np.float32)
        return Seen(colors.rgba, depth, colors.samples, colors.cost, colors.evaluations)


def meet_box(
    origins: np.ndarray, directions: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where lines enter and leave an axis-aligned box (the slab method); a line misses it where near >= far.

    Parameters
    ----------
    origins, directions : (R, 3) arrays
    low, high : (3,) arrays
        The box's corners.

    Returns
    -------
    near, far : (R,) arrays
        In lengths of `directions`; negative behind the origins.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / (directions + 0.0)  # -0.0 would swap the faces
        first, second = (low - origins) * inverse, (high - origins) * inverse
    # A line within a face's plane gives 0 * infinity; it counts as inside that pair of faces.
    first, second = np.where(np.isnan(first), -np.inf, first), np.where(np.isnan(second), np.inf, second)
    return np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)


def moved(matrix: np.ndarray, rays: Rays) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions through an affine matrix; directions keep the length that it gives them."""
    linear = matrix[:3, :3]
    return turned(linear, rays.origins) + matrix[:3, 3], turned(linear, rays.directions)


def turned(linear: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(R, 3) vectors through a (3, 3) matrix.

    Not "@": what computes that on many threads takes milliseconds to wake them where other work keeps them busy.
    """
    return np.einsum("ij,rj->ri", linear, vectors)


def is_flat(matrix: np.ndarray) -> bool:
    """Whether an affine (4, 4) matrix has no inverse worth using: nothing is seen of what is scaled to nothing."""
    linear = matrix[:3, :3]
    lengths = np.linalg.norm(linear, axis=0)
    if not lengths.min() > 0.0:
        return True
    return abs(float(np.linalg.det(linear / lengths))) < FLAT
