"""Total variation of a voxel grid (Rudin, Osher and Fatemi 1992), smoothed so that it has a gradient everywhere."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def total_variation(volume, smoothing):  # noqa: ANN001, ANN201
    """Isotropic total variation and its gradient.

    Parameters
    ----------
    volume : (X, Y, Z) float32 array
    smoothing : float
        Differences well below it count by their square: ``sqrt(|differences|^2 + smoothing^2) - smoothing``.

    Returns
    -------
    value : float
        Summed over voxels; forward differences, none across the grid's end.
    gradient : (X, Y, Z) float32 array
    """
    sx, sy, sz = volume.shape
    gradient = np.zeros_like(volume)
    value = 0.0
    square = smoothing * smoothing
    for i in range(sx):
        for j in range(sy):
            for k in range(sz):
                here = volume[i, j, k]
                dx = volume[i + 1, j, k] - here if i + 1 < sx else np.float32(0.0)
                dy = volume[i, j + 1, k] - here if j + 1 < sy else np.float32(0.0)
                dz = volume[i, j, k + 1] - here if k + 1 < sz else np.float32(0.0)
                size = np.sqrt(dx * dx + dy * dy + dz * dz + square)
                value += size - smoothing
                dx, dy, dz = dx / size, dy / size, dz / size
                gradient[i, j, k] -= dx + dy + dz
                if i + 1 < sx:
                    gradient[i + 1, j, k] += dx
                if j + 1 < sy:
                    gradient[i, j + 1, k] += dy
                if k + 1 < sz:
                    gradient[i, j, k + 1] += dz
    return value, gradient
