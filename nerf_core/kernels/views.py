"""Training views as flat arrays: what every backend chooses its random pixels from."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import DataError
from ..data.views import Views
from ..methods.base import Normalisation

PINHOLE, TABLE, ORTHOGRAPHIC = 0, 1, 2


class ViewArrays(NamedTuple):
    """V views of P pixels in all, positions in the unit cube.

    `pixels` (P, 4) uint8; `starts` (V + 1,) int64 first pixel of each view; `widths` (V,) int64; `cameras`
    (V, 16) float32: rotation (9), position (3), fl_x, fl_y, cx, cy (an orthographic camera's fl_x and fl_y in pixels
    per unit-cube length); `kinds` (V,) int64; `tables` (V,) int64: where in `lens` a view's table begins; `lens`
    (N, 3) float32: unit directions in the camera's frame, for lenses that are no pinhole; `depths` (P,) float32:
    distance along the unit ray, in unit-cube lengths, 0 where it is not known; none at all where no view knows any.
    """

    pixels: np.ndarray
    starts: np.ndarray
    widths: np.ndarray
    cameras: np.ndarray
    kinds: np.ndarray
    tables: np.ndarray
    lens: np.ndarray
    depths: np.ndarray


def view_arrays(views: Views, normalisation: Normalisation, with_depth: bool = True) -> ViewArrays:
    """Flatten views; cameras with the same lens share one table of directions.

    Parameters
    ----------
    views : Views
    normalisation : Normalisation
    with_depth : bool
        Take the views' depth along, where they have any.

    Raises
    ------
    DataError
        When there is no view, or an image is not what its camera says.
    """
    if not len(views):
        raise DataError("There is no training view; the data set needs at least one image.")
    for view in views.views:
        camera = view.camera
        if view.rgba.shape != (camera.height, camera.width, 4) or view.rgba.dtype != np.uint8:
            raise DataError(
                f"The image '{view.name}' is {view.rgba.shape[1]}x{view.rgba.shape[0]}, "
                f"but its camera says {camera.width}x{camera.height}."
            )
    arrays = camera_arrays([view.camera for view in views.views], normalisation)
    pixels = np.empty((arrays.starts[-1], 4), np.uint8)
    depths = np.zeros(arrays.starts[-1] if with_depth and views.has_depth else 0, np.float32)
    for view, first, stop in zip(views.views, arrays.starts[:-1], arrays.starts[1:], strict=True):
        pixels[first:stop] = view.rgba.reshape(-1, 4)
        if len(depths) and view.depth is not None:
            np.multiply(view.depth.reshape(-1), normalisation.scale, out=depths[first:stop], casting="same_kind")
    return arrays._replace(pixels=pixels, depths=depths)


def camera_arrays(cameras: Sequence[Camera], normalisation: Normalisation) -> ViewArrays:
    """Flatten cameras, without any pixels; those with the same lens share one table of directions."""
    starts, widths, rows, kinds, tables = [0], [], [], [], []
    lenses: dict[tuple, int] = {}
    lens_parts: list[np.ndarray] = []
    lens_rows = 0
    for camera in cameras:
        starts.append(starts[-1] + camera.width * camera.height)
        widths.append(camera.width)
        scale = normalisation.scale if camera.kind == "orthographic" else 1.0
        position = normalisation.to_unit(camera.position)
        intrinsics = [camera.fl_x / scale, camera.fl_y / scale, camera.cx, camera.cy]
        rows.append(np.concatenate([camera.c2w[:3, :3].ravel(), position, intrinsics]))
        if camera.kind == "orthographic":
            kinds.append(ORTHOGRAPHIC)
            tables.append(0)
        elif camera.kind == "perspective" and camera.distortion.is_identity:
            kinds.append(PINHOLE)
            tables.append(0)
        else:
            key = _lens_key(camera)
            if key not in lenses:
                lenses[key] = lens_rows
                lens_parts.append(_lens_directions(camera))
                lens_rows += len(lens_parts[-1])
            kinds.append(TABLE)
            tables.append(lenses[key])
    return ViewArrays(
        pixels=np.zeros((0, 4), np.uint8),
        starts=np.array(starts, np.int64),
        widths=np.array(widths, np.int64),
        cameras=np.array(rows, np.float32),
        kinds=np.array(kinds, np.int64),
        tables=np.array(tables, np.int64),
        lens=np.concatenate(lens_parts) if lens_parts else np.zeros((1, 3), np.float32),
        depths=np.zeros(0, np.float32),
    )


def typical_side(views: Views) -> float:
    """Side of a square with as many pixels as a view has on average."""
    if not len(views):
        return 0.0
    return math.sqrt(sum(view.camera.width * view.camera.height for view in views.views) / len(views))


def _lens_key(camera: Camera) -> tuple:
    return (
        camera.kind,
        camera.width,
        camera.height,
        camera.fl_x,
        camera.fl_y,
        camera.cx,
        camera.cy,
        camera.distortion,
    )


def _lens_directions(camera: Camera) -> np.ndarray:
    from dataclasses import replace

    _, directions = replace(camera, c2w=np.eye(4)).rays()
    return directions.reshape(-1, 3).astype(np.float32)
