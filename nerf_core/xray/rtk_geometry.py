"""From the contract's cameras and our volumes to RTK's geometry and ITK's images, and back.

RTK (the Reconstruction Toolkit) turns about its y axis; at gantry angle 0 the source lies on +z, a detector's u is +x
and its v is +y. So a view's right is u and its up is v, and what our views turn about, their common up, becomes y.
Lengths are scaled so that the nearest source is 1000 from the axis: RTK compares some of them with fixed tolerances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import DataError, NerfError
from ..processor import processor_cores
from .grid import Grid

SOURCE_DISTANCE = 1000.0
DETECTOR = 1.75  # of RTK's detector, in the source's distances; any plane sees the same rays
STRAIGHT = 1e-6


class Radiograph(Protocol):
    """What is reconstructed from: a `data.views.View` of a radiograph data set is one."""

    @property
    def camera(self) -> Camera:
        """A pinhole at the source."""

    @property
    def line_integral(self) -> np.ndarray | None:
        """(H, W) float32, no unit."""


def load_rtk() -> tuple[Any, Any]:
    """The modules `itk` and `itk.RTK`, on as many threads as this process may use.

    The first call of a process takes about ten seconds.

    Raises
    ------
    NerfError
        When the package is not installed.
    """
    try:
        import itk
        from itk import RTK as rtk  # noqa: N811 - a module; its own documentation calls it so

        threads = itk.MultiThreaderBase  # the first attribute loads the library
    except ImportError as error:
        raise NerfError(
            "The solvers FDK and SART need the package 'itk-rtk', which this Python does not have; install it with "
            "'pip install nerf-toolkit[solvers]', or 'pip install itk-rtk'."
        ) from error
    cores = processor_cores() or 1
    threads.SetGlobalMaximumNumberOfThreads(cores)
    threads.SetGlobalDefaultNumberOfThreads(cores)
    return itk, rtk


@dataclass(frozen=True)
class RtkFrame:
    """Where RTK's coordinates lie in the world.

    Attributes
    ----------
    center : (3,) float64 array
        World position of RTK's origin, on the axis.
    rotation : (3, 3) float64 array
        Rows: RTK's x, y and z axis in the world.
    scale : float
        RTK's lengths per world unit.
    """

    center: np.ndarray
    rotation: np.ndarray
    scale: float

    def point(self, world: np.ndarray) -> np.ndarray:
        """(3,) in RTK's coordinates."""
        return self.scale * (self.rotation @ (np.asarray(world) - self.center))


def find_frame(cameras: Sequence[Camera], grid: Grid) -> RtkFrame:
    """RTK's frame for views about one axis.

    The axis is the views' common up; its place is where their central rays pass nearest to one another (with one view,
    or two that face each other, as near the grid's middle as those rays allow). RTK's x and z follow the grid's axes,
    so that a grid that stands upright needs no rotation.

    Raises
    ------
    DataError
        When there are no views, they are not perspective, or have no common up.
    """
    if not cameras:
        raise DataError("There are no radiographs to reconstruct from.")
    if any(camera.kind != "perspective" or not camera.distortion.is_identity for camera in cameras):
        raise DataError("Volumes are reconstructed from cone-beam radiographs: perspective views without distortion.")
    ups = np.array([camera.c2w[:3, 1] for camera in cameras])
    axis = ups.mean(axis=0)
    length = float(np.linalg.norm(axis))
    if length < 0.5:
        raise DataError("FDK and SART need views about one axis, which is up in all of them; these have no common up.")
    axis /= length
    # Least squares of the distances to all central rays; the grid's middle decides what they leave open.
    normal, right = 1e-6 * np.eye(3), 1e-6 * grid.center
    for camera in cameras:
        across = np.eye(3) - np.outer(camera.forward, camera.forward)
        normal, right = normal + across / len(cameras), right + across @ camera.position / len(cameras)
    center = np.linalg.solve(normal, right)
    axes = grid.world_from_index[:3, :3] / grid.spacing
    first = axes[:, int(np.argmin(np.abs(axis @ axes)))]
    x = first - axis * (axis @ first)
    x /= np.linalg.norm(x)
    rotation = np.stack([x, axis, np.cross(x, axis)])
    nearest = min(float(np.linalg.norm(camera.position - center)) for camera in cameras)
    if nearest <= 0:
        raise DataError("A view stands on the axis that it turns about; FDK and SART need views about one axis.")
    return RtkFrame(center, rotation, SOURCE_DISTANCE / nearest)


def rtk_geometry(rtk: Any, itk: Any, cameras: Sequence[Camera], frame: RtkFrame) -> Any:
    """RTK's `ThreeDCircularProjectionGeometry` of the cameras, in their order.

    The views must have one size; :func:`projection_image` says how pixels lie on the detector.

    Raises
    ------
    DataError
        When RTK cannot take a camera.
    """
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    point, vector = itk.Point[itk.D, 3], itk.Vector[itk.D, 3]
    width, height = _pixel(cameras)
    for camera in cameras:
        source = frame.point(camera.position)
        right, up, back = (frame.rotation @ camera.c2w[:3, column] for column in range(3))
        # The plane on which this camera's pixels are as far apart as the others'.
        detector = source - width * camera.fl_x * back
        # RTK's origin on the detector is where this camera's principal point is.
        off_x = (0.5 * camera.width - camera.cx) * width
        off_y = (camera.cy - 0.5 * camera.height) * height
        detector = detector + off_x * right + off_y * up
        if not geometry.AddProjection(point(source), point(detector), vector(right), vector(up)):
            raise DataError("RTK cannot take a view whose right and up are not square to each other.")
    return geometry


def projection_image(itk: Any, views: Sequence[Radiograph]) -> Any:
    """The views' line integrals as a stack: u to the right, v up, the detector's middle at 0.

    Raises
    ------
    DataError
        When a view has no line integrals, or another size or pixel shape than the first.
    """
    first = views[0].camera
    stack = []
    for view in views:
        camera, values = view.camera, view.line_integral
        if values is None:
            raise DataError("A view has no line integrals; FDK and SART need a radiograph data set ('nerf drr').")
        if values.shape != (camera.height, camera.width) or (camera.width, camera.height) != (
            first.width,
            first.height,
        ):
            raise DataError("All radiographs that a volume is reconstructed from must have one size.")
        if abs(camera.fl_x / camera.fl_y - first.fl_x / first.fl_y) > 1e-6:
            raise DataError("All radiographs that a volume is reconstructed from must have pixels of one shape.")
        stack.append(values[::-1])
    image = itk.image_from_array(np.ascontiguousarray(stack, dtype=np.float32))
    pitch_x, pitch_y = _pixel([view.camera for view in views])
    image.SetSpacing([pitch_x, pitch_y, 1.0])
    image.SetOrigin([-0.5 * pitch_x * (first.width - 1), -0.5 * pitch_y * (first.height - 1), 0.0])
    return image


def _pixel(cameras: Sequence[Camera]) -> tuple[float, float]:
    """Width and height of a detector's pixel, RTK's unit."""
    width = DETECTOR * SOURCE_DISTANCE / cameras[0].fl_x
    return width, width * cameras[0].fl_x / cameras[0].fl_y


@dataclass(frozen=True)
class VolumeLayout:
    """How a grid's array becomes an ITK image whose axes are as near RTK's as its own allow.

    Attributes
    ----------
    order : (3,) of int
        The grid's axis that is the image's x, y and z.
    flipped : (3,) of bool
        Whether it runs the other way.
    direction : (3, 3) float64 array
        ITK's: columns are the image's axes in RTK's coordinates.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    direction: np.ndarray
    origin: np.ndarray
    spacing: np.ndarray

    @classmethod
    def of(cls, grid: Grid, frame: RtkFrame) -> "VolumeLayout":
        """For a grid that may stand at any angle."""
        axes = frame.rotation @ (grid.world_from_index[:3, :3] / grid.spacing)
        best = max(
            ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)),
            key=lambda order: sum(abs(axes[row, column]) for row, column in enumerate(order)),
        )
        flipped = tuple(bool(axes[row, column] < 0) for row, column in enumerate(best))
        signs = np.where(flipped, -1.0, 1.0)
        direction = axes[:, best] * signs
        if np.abs(direction - np.eye(3)).max() < STRAIGHT:
            direction = np.eye(3)
        corner = np.zeros(3)
        for column, other in zip(best, flipped, strict=True):
            corner[column] = grid.shape[column] - 1 if other else 0
        return cls(
            best,
            flipped,  # type: ignore[arg-type] # three of them
            direction,
            frame.point(grid.to_world(corner)),
            grid.spacing[list(best)] * frame.scale,
        )

    def image(self, itk: Any, values: np.ndarray) -> Any:
        """The ITK image of a grid's (X, Y, Z) array."""
        turned = np.transpose(values, self.order)[self._flips]
        image = itk.image_from_array(np.ascontiguousarray(turned.transpose(2, 1, 0), dtype=np.float32))
        image.SetSpacing([float(length) for length in self.spacing])
        image.SetOrigin([float(value) for value in self.origin])
        image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(self.direction)))
        return image

    def values(self, itk: Any, image: Any) -> np.ndarray:
        """The grid's (X, Y, Z) float32 array of an ITK image."""
        turned = np.asarray(itk.array_view_from_image(image)).transpose(2, 1, 0)[self._flips]
        return np.ascontiguousarray(np.transpose(turned, np.argsort(self.order)), dtype=np.float32)

    @property
    def _flips(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if other else 1) for other in self.flipped)
