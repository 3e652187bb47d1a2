"""Take rays apart through a NeRF that was moved, turned or scaled: rays into its training world, samples out of it."""

from dataclasses import replace

import numpy as np

from ..methods.trace import Trace


def into_training(
    matrix: np.ndarray, origins: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rays of the world in which a NeRF was placed, as rays of the world that it was trained in.

    Parameters
    ----------
    matrix : (4, 4) float64 array
        Training world to the other, affine and invertible.
    origins, directions : (R, 3) arrays
        Unit directions.

    Returns
    -------
    origins, directions : (R, 3) float64 arrays
        Unit directions.
    stretch : (R,) float64 array
        How many units of length of the outer world one of the training world is along each ray.
    """
    inverse = np.linalg.inv(matrix)
    turned = directions @ inverse[:3, :3].T
    length = np.linalg.norm(turned, axis=-1)
    return origins @ inverse[:3, :3].T + inverse[:3, 3], turned / length[:, None], 1.0 / length


def rays_out_of_training(
    matrix: np.ndarray, origins: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The other way about: :func:`into_training` with its origins and directions, and the same `stretch`."""
    turned = directions @ matrix[:3, :3].T
    length = np.linalg.norm(turned, axis=-1)
    return origins @ matrix[:3, :3].T + matrix[:3, 3], turned / length[:, None], length


def out_of_training(matrix: np.ndarray, stretch: np.ndarray, trace: Trace) -> Trace:
    """A trace of :func:`into_training`'s rays, in the outer world: positions, lengths, and density per its unit."""
    along = stretch.astype(np.float32)
    sample, a_bin, skip = along[trace.ray], along[trace.bin_ray], along[trace.skip_ray]
    return replace(
        trace,
        position=(trace.position @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32),
        t=trace.t * sample,
        t0=trace.t0 * sample,
        t1=trace.t1 * sample,
        dt=trace.dt * sample,
        density=trace.density / sample,
        near=trace.near * along,
        far=trace.far * along,
        end=trace.end * along,
        expected_depth=trace.expected_depth * along,
        median_depth=trace.median_depth * along,
        bin_t0=trace.bin_t0 * a_bin,
        bin_t1=trace.bin_t1 * a_bin,
        skip_t0=trace.skip_t0 * skip,
        skip_t1=trace.skip_t1 * skip,
    )
