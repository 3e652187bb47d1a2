"""PSNR and SSIM between a picture and the truth, both composited over the same background.

Pictures are compared as floats of 0 to 1, display-referred; the rendered one is clipped but not rounded to bytes, as
is usual in the field (rounding changes the PSNR by less than 0.01 dB below 40 dB).
"""

import math

import numpy as np

MOST_PSNR = 100.0  # of identical pictures, where the ratio itself is infinite


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio, ``-10 log10(MSE)`` over all pixels and channels, in dB; 100 at most.

    Parameters
    ----------
    image, truth : arrays of the same shape
        Values of 0 to 1; `image` is clipped to that.
    """
    mse = float(np.mean(np.square(np.clip(image, 0.0, 1.0) - truth, dtype=np.float64)))
    return min(MOST_PSNR, -10.0 * math.log10(max(mse, 1e-300)))


def ssim(image: np.ndarray, truth: np.ndarray) -> float | None:
    """Structural similarity (Wang et al. 2004), the mean over pixels and channels.

    With the paper's constants: an 11x11 Gaussian window with sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance,
    L = 1; each colour channel by itself.

    Parameters
    ----------
    image, truth : (H, W, 3) arrays
        Values of 0 to 1; `image` is clipped to that.

    Returns
    -------
    float or None
        None where a side is shorter than the window's 11 pixels.
    """
    from skimage.metrics import structural_similarity

    if min(truth.shape[:2]) < 11:
        return None
    return float(
        structural_similarity(
            np.clip(image, 0.0, 1.0).astype(np.float64),
            truth.astype(np.float64),
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )
