"""A volume warped by a displacement: values and their derivative by place, trilinear, on the CPU."""

import numba
import numpy as np


def upsampled(control: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Control points (..., x, y, z), from the first voxel's centre to the last one's, at all voxels, trilinear."""
    values = np.asarray(control, dtype=np.float32)
    for axis in range(3):
        points, count = values.shape[axis - 3], shape[axis]
        place = np.linspace(0.0, points - 1.0, count)
        low = np.minimum(place.astype(np.int64), max(points - 2, 0))
        part = (place - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        high = np.minimum(low + 1, points - 1)
        values = np.take(values, low, axis - 3) * (1 - part) + np.take(values, high, axis - 3) * part
    return np.ascontiguousarray(values)


@numba.njit(cache=True, nogil=True)
def warp_channels(channels, displacement):  # noqa: ANN001, ANN201
    """Channels at displaced places.

    Parameters
    ----------
    channels : (X, Y, Z, C) float32
    displacement : (3, X, Y, Z) float32
        Voxels; what lies outside the grid is the nearest value inside.

    Returns
    -------
    values : (X, Y, Z, C) float32
    gradient : (3, X, Y, Z) float32
        Of the first channel by the place, 1 / voxel; 0 across the grid's edge.
    """
    sx, sy, sz, count = channels.shape
    values = np.empty_like(channels)
    gradient = np.zeros((3, sx, sy, sz), dtype=np.float32)
    size = (sx, sy, sz)
    low = np.empty(3, dtype=np.int64)
    high = np.empty(3, dtype=np.int64)
    part = np.empty(3, dtype=np.float32)
    inside = np.empty(3, dtype=np.float32)
    for i in range(sx):
        for j in range(sy):
            for k in range(sz):
                here = (i, j, k)
                for axis in range(3):
                    place = here[axis] + displacement[axis, i, j, k]
                    top = size[axis] - 1
                    inside[axis] = 1.0 if 0.0 <= place <= top else 0.0
                    place = min(max(place, 0.0), float(top))
                    low[axis] = min(int(place), max(top - 1, 0))
                    high[axis] = min(low[axis] + 1, top)
                    part[axis] = place - low[axis]
                fx, fy, fz = part[0], part[1], part[2]
                for channel in range(count):
                    a = channels[low[0], low[1], low[2], channel]
                    b = channels[low[0], low[1], high[2], channel]
                    c = channels[low[0], high[1], low[2], channel]
                    d = channels[low[0], high[1], high[2], channel]
                    e = channels[high[0], low[1], low[2], channel]
                    f = channels[high[0], low[1], high[2], channel]
                    g = channels[high[0], high[1], low[2], channel]
                    h = channels[high[0], high[1], high[2], channel]
                    ab, cd, ef, gh = a + (b - a) * fz, c + (d - c) * fz, e + (f - e) * fz, g + (h - g) * fz
                    near, far = ab + (cd - ab) * fy, ef + (gh - ef) * fy
                    values[i, j, k, channel] = near + (far - near) * fx
                    if channel == 0:
                        gradient[0, i, j, k] = (far - near) * inside[0]
                        gradient[1, i, j, k] = ((cd - ab) * (1 - fx) + (gh - ef) * fx) * inside[1]
                        left = (b - a) * (1 - fy) + (d - c) * fy
                        right = (f - e) * (1 - fy) + (h - g) * fy
                        gradient[2, i, j, k] = (left * (1 - fx) + right * fx) * inside[2]
    return values, gradient
