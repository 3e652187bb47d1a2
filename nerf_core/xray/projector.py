"""Line integrals through voxel volumes, by compiled kernels on all cores; and the transpose (backprojection).

Two models of what lies between voxel centres (`MODELS`): "joseph" interpolates linearly and is smooth in the volume's
place; "siddon" takes each voxel as constant. `torch_projector` has the same as differentiable functions.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, NerfError
from ..data.memory import free_memory

Model = Literal["joseph", "siddon"]
MODELS: tuple[Model, ...] = ("joseph", "siddon")
RAYS_AT_ONCE = 1 << 15  # between two questions whether to stop


def project_volume(
    mu: np.ndarray,
    world_from_index: np.ndarray,
    origins: np.ndarray,
    directions: np.ndarray,
    model: Model = "joseph",
) -> np.ndarray:
    """Line integrals along rays, from their origins to infinity.

    Parameters
    ----------
    mu : (X, Y, Z) array
        Attenuation per world unit; 0 outside. Taken as float32.
    world_from_index : (4, 4) array
        From voxel indices (centres at whole numbers) to the world; any invertible affine matrix.
    origins, directions : (N, 3) arrays
        World space; directions are unit vectors.
    model : {'joseph', 'siddon'}
        P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982); R. L. Siddon, Med. Phys. 12 (1985).

    Returns
    -------
    (N,) float32 array
        Dimensionless.

    Raises
    ------
    NerfError
        When shapes do not fit, the matrix has no inverse, or the model is not known.
    """
    from ..kernels.cpu.projection import project_worker

    values = _volume(mu)
    starts, steps = index_rays(world_from_index, origins, directions)
    out = np.zeros(len(starts), np.float32)
    _workers().run(project_worker, None, values, values.reshape(-1), starts, steps, _number(model), out)
    return out


def project_between(
    mu: np.ndarray,
    world_from_index: np.ndarray,
    origins: np.ndarray,
    directions: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    model: Model = "joseph",
) -> np.ndarray:
    """Line integrals along a stretch of each ray; those of stretches that follow one another add up to the whole ray's.

    Parameters
    ----------
    mu, world_from_index, origins, directions, model
        As :func:`project_volume` takes them.
    starts, stops : (N,) arrays
        World lengths from the rays' origins, each start below its stop; what lies before an origin does not count.

    Returns
    -------
    (N,) float64 array
    """
    from ..kernels.cpu.stretches import between_worker

    values = _volume(mu)
    begin, steps = index_rays(world_from_index, origins, directions)
    lengths = [np.ascontiguousarray(each, dtype=np.float64).reshape(-1) for each in (starts, stops)]
    if any(each.shape != (len(begin),) for each in lengths):
        raise NerfError(f"Stretches do not fit {len(begin)} rays; give one start and one stop a ray.")
    out = np.zeros(len(begin))
    _workers().run(between_worker, None, values, values.reshape(-1), begin, steps, *lengths, _number(model), out)
    return out


def backproject_volume(
    values: np.ndarray,
    shape: tuple[int, int, int],
    world_from_index: np.ndarray,
    origins: np.ndarray,
    directions: np.ndarray,
    model: Model = "joseph",
) -> np.ndarray:
    """The transpose of :func:`project_volume`: each ray's value spread over the voxels that it was summed from.

    Parameters
    ----------
    values : (N,) array
        One a ray.
    shape : (X, Y, Z)
    world_from_index, origins, directions, model
        As :func:`project_volume` takes them.

    Returns
    -------
    (X, Y, Z) float32 array
        The same numbers for the same rays on the same number of threads.
    """
    from ..kernels.cpu.projection import backproject_worker

    starts, steps = index_rays(world_from_index, origins, directions)
    amounts = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    if amounts.shape != (len(starts),):
        raise NerfError(f"{len(amounts)} values do not fit {len(starts)} rays; give one value a ray.")
    workers = _workers()
    free = free_memory()
    threads = workers.threads
    if free is not None:  # every thread adds to a volume of its own
        threads = max(1, min(threads, int(0.5 * free / (4 * math.prod(shape)))))
    sums = np.zeros((threads, *shape), np.float32)
    pool = workers if threads == workers.threads else _single()
    if pool.threads != threads:
        threads, sums = 1, sums[:1]
    arguments: tuple[Any, ...] = (threads, sums, sums.reshape(threads, -1), starts, steps, _number(model), amounts)
    pool.run(backproject_worker, range(threads), *arguments)
    return sums[0] if threads == 1 else sums.sum(axis=0, dtype=np.float32)


def project_camera(
    mu: np.ndarray,
    world_from_index: np.ndarray,
    camera: Camera,
    model: Model = "joseph",
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """A camera's line integrals through a volume, along the rays through its pixels' centres.

    Parameters
    ----------
    mu, world_from_index, model
        As :func:`project_volume` takes them.
    camera : Camera
        Of any kind; its clip distances are passed over.
    should_stop, on_progress : callable, optional
        Asked, and told the part that is done, between parts of the picture.

    Returns
    -------
    (height, width) float32 array

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    values = _volume(mu)
    origins, directions = camera.rays()
    # Rays beside each other along the volume's last axis touch the same memory; columns of pixels mostly are.
    last = np.abs(np.asarray(world_from_index)[:3, 2] @ camera.c2w[:3, :2])
    if columns := bool(last[1] > last[0]):
        origins, directions = origins.swapaxes(0, 1), directions.swapaxes(0, 1)
    shape = origins.shape[:2]
    origins, directions = origins.reshape(-1, 3), directions.reshape(-1, 3)
    out = np.empty(len(origins), np.float32)
    for first in range(0, len(out), RAYS_AT_ONCE):
        if should_stop is not None and should_stop():
            raise Cancelled("the radiograph was stopped")
        part = slice(first, first + RAYS_AT_ONCE)
        out[part] = project_volume(values, world_from_index, origins[part], directions[part], model)
        if on_progress is not None:
            on_progress(min(1.0, (first + RAYS_AT_ONCE) / len(out)))
    picture = out.reshape(shape)
    return np.ascontiguousarray(picture.T) if columns else picture


def index_rays(
    world_from_index: np.ndarray, origins: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """World rays in a volume's index space: (N, 3) float64 each; one world unit of t stays one.

    Raises
    ------
    NerfError
        When the matrix has no inverse or the rays are not finite.
    """
    matrix = np.asarray(world_from_index, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.abs(np.linalg.det(matrix[:3, :3])) < 1e-300:
        raise NerfError("A volume's matrix must be an invertible 4x4 matrix of finite numbers.")
    linear = np.linalg.inv(matrix[:3, :3])
    starts = (np.asarray(origins, dtype=np.float64).reshape(-1, 3) - matrix[:3, 3]) @ linear.T
    steps = np.asarray(directions, dtype=np.float64).reshape(-1, 3) @ linear.T
    if starts.shape != steps.shape:
        raise NerfError(f"{len(starts)} origins do not fit {len(steps)} directions; give one of each a ray.")
    if not (np.isfinite(starts).all() and np.isfinite(steps).all()):
        raise NerfError("Rays must be finite numbers.")
    return np.ascontiguousarray(starts), np.ascontiguousarray(steps)


def _volume(mu: np.ndarray) -> np.ndarray:
    values = np.ascontiguousarray(mu, dtype=np.float32)
    if values.ndim != 3 or 0 in values.shape:
        raise NerfError(f"A volume has voxels along x, y and z; this array's shape is {values.shape}.")
    return values


def _number(model: str) -> int:
    from ..kernels.cpu.projection import JOSEPH, SIDDON

    if model not in MODELS:
        raise NerfError(f"The projector '{model}' is not known; use one of {', '.join(MODELS)}.")
    return JOSEPH if model == "joseph" else SIDDON


@cache
def _workers() -> Any:
    from ..kernels.cpu.workers import Workers, thread_count

    return Workers(thread_count())


@cache
def _single() -> Any:
    from ..kernels.cpu.workers import Workers

    return Workers(1)
