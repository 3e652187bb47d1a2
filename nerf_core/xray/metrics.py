"""How near a volume of attenuation, and radiographs of it, are to the truth.

As R2-Gaussian (Zha et al., NeurIPS 2024) measures: a volume's PSNR is over all voxels with the truth's largest value as
its peak; its SSIM is the mean over the slices along each of the three axes, and over the axes. Radiographs are compared
as line integrals p, not as pictures, with one range for a whole set.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..contract.errors import DataError
from ..evaluation.metrics import MOST_PSNR

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03  # Wang et al. 2004


def volume_psnr(volume: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio of a volume, dB; 100 at most.

    Parameters
    ----------
    volume, truth : arrays of one shape
        In one unit, whichever; the peak is the truth's largest value.
    where : bool array, optional
        Only these voxels.

    Raises
    ------
    DataError
        When the shapes differ, or the truth is nowhere above 0.
    """
    _check(volume, truth)
    return _psnr(volume, truth, float(truth.max()), where)


def volume_ssim(volume: np.ndarray, truth: np.ndarray) -> float | None:
    """Structural similarity of a volume's slices: their mean along each axis, and the mean of the three axes.

    Slices that the truth is nowhere above 0 in are left out. The window is Gaussian, 11 pixels with sigma 1.5, with
    zeros outside the slice; the range is the truth's largest value.

    Parameters
    ----------
    volume, truth : (X, Y, Z) arrays

    Returns
    -------
    float or None
        None where a side is shorter than the window.

    Raises
    ------
    DataError
        See :func:`volume_psnr`.
    """
    _check(volume, truth)
    if min(truth.shape) < WINDOW:
        return None
    peak = float(truth.max())
    found = []
    for axis in range(3):
        some = np.moveaxis(truth, axis, 0).reshape(truth.shape[axis], -1).max(axis=1) > 0
        ours, true = (np.compress(some, array, axis=axis).astype(np.float32) / peak for array in (volume, truth))
        found.append(float(_similarity(ours, true, [other for other in range(3) if other != axis]).mean()))
    return float(np.mean(found))


def radiograph_psnr(image: np.ndarray, truth: np.ndarray, peak: float) -> float:
    """PSNR of line integrals, dB; 100 at most.

    Parameters
    ----------
    image, truth : (H, W) arrays
        Line integrals.
    peak : float
        The largest of the whole set (:func:`peak_of`).
    """
    return _psnr(image, truth, peak)


def radiograph_ssim(image: np.ndarray, truth: np.ndarray, peak: float) -> float | None:
    """Structural similarity of line integrals, as :func:`volume_ssim` takes slices; None where a side is too short."""
    if min(truth.shape) < WINDOW:
        return None
    return float(_similarity(image.astype(np.float32) / peak, truth.astype(np.float32) / peak, [0, 1]).mean())


def peak_of(truths: Sequence[np.ndarray]) -> float:
    """The range of a set of radiographs: their largest line integral.

    Raises
    ------
    DataError
        When it is not above 0.
    """
    peak = max((float(each.max()) for each in truths), default=0.0)
    if not peak > 0:
        raise DataError("There is nothing to measure against: no line integral is above 0.")
    return peak


def _check(volume: np.ndarray, truth: np.ndarray) -> None:
    if volume.shape != truth.shape:
        raise DataError(f"A volume of {volume.shape} cannot be measured against one of {truth.shape}.")
    if not float(truth.max()) > 0:
        raise DataError("There is nothing to measure against: the true volume is nowhere above 0.")


def _psnr(values: np.ndarray, truth: np.ndarray, peak: float, where: np.ndarray | None = None) -> float:
    error = np.square(np.asarray(values, np.float64) - truth)
    mse = float(np.mean(error if where is None else error[where]))
    return min(MOST_PSNR, 10.0 * math.log10(peak * peak / max(mse, 1e-300)))


def _similarity(image: np.ndarray, truth: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Of each pixel; windows run along two axes, whatever other axes there are. Values of 0 to 1."""
    from scipy.ndimage import correlate1d

    place = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (place / SIGMA) ** 2)
    weights /= weights.sum()

    def blurred(values: np.ndarray) -> np.ndarray:
        for axis in axes:
            values = correlate1d(values, weights, axis=axis, mode="constant")
        return values

    mean, mean_truth = blurred(image), blurred(truth)
    variance, variance_truth = blurred(image**2) - mean**2, blurred(truth**2) - mean_truth**2
    covariance = blurred(image * truth) - mean * mean_truth
    c1, c2 = K1**2, K2**2
    above = (2.0 * mean * mean_truth + c1) * (2.0 * covariance + c2)
    return above / ((mean**2 + mean_truth**2 + c1) * (variance + variance_truth + c2))
