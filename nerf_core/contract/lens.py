"""OpenCV's radial and tangential lens distortion (k1, k2, k3, p1, p2), both ways.

Source: OpenCV, "Camera Calibration and 3D Reconstruction", the distortion model of `projectPoints`.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Distortion:
    """Coefficients of OpenCV's lens model; all zero is a pinhole."""

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether the lens bends nothing."""
        return not any((self.k1, self.k2, self.k3, self.p1, self.p2))


def distort(lens: Distortion, xy: np.ndarray) -> np.ndarray:
    """Map ideal image-plane coordinates to where the lens puts them.

    Parameters
    ----------
    lens : Distortion
    xy : (..., 2) float array
        Ideal normalised coordinates, OpenCV frame (x right, y down), on the plane at distance 1.

    Returns
    -------
    (..., 2) float array
        Distorted normalised coordinates.
    """
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    radial = 1.0 + r2 * (lens.k1 + r2 * (lens.k2 + r2 * lens.k3))
    return np.stack(
        [
            x * radial + 2.0 * lens.p1 * x * y + lens.p2 * (r2 + 2.0 * x * x),
            y * radial + lens.p1 * (r2 + 2.0 * y * y) + 2.0 * lens.p2 * x * y,
        ],
        axis=-1,
    )


def undistort(lens: Distortion, xy: np.ndarray, iterations: int = 20) -> np.ndarray:
    """Invert :func:`distort` by Newton's method.

    Parameters
    ----------
    lens : Distortion
    xy : (..., 2) float array
        Distorted normalised coordinates.
    iterations : int
        Upper bound on Newton steps; it stops once the largest step is below 1e-12.

    Returns
    -------
    (..., 2) float array
        Ideal normalised coordinates, to about 1e-12 wherever the lens model is invertible.
    """
    target = np.asarray(xy, dtype=np.float64)
    ideal = target.copy()
    if lens.is_identity:
        return ideal
    for _ in range(iterations):
        x, y = ideal[..., 0], ideal[..., 1]
        r2 = x * x + y * y
        radial = 1.0 + r2 * (lens.k1 + r2 * (lens.k2 + r2 * lens.k3))
        slope = lens.k1 + r2 * (2.0 * lens.k2 + 3.0 * r2 * lens.k3)  # d radial / d r2
        dxx = radial + 2.0 * x * x * slope + 2.0 * lens.p1 * y + 6.0 * lens.p2 * x
        dxy = 2.0 * x * y * slope + 2.0 * lens.p1 * x + 2.0 * lens.p2 * y
        dyy = radial + 2.0 * y * y * slope + 6.0 * lens.p1 * y + 2.0 * lens.p2 * x
        residual = distort(lens, ideal) - target
        determinant = dxx * dyy - dxy * dxy
        # Beyond the lens model's fold the Jacobian is singular: leave such points where they are.
        safe = np.where(np.abs(determinant) < 1e-9, np.inf, determinant)
        step_x = (dyy * residual[..., 0] - dxy * residual[..., 1]) / safe
        step_y = (dxx * residual[..., 1] - dxy * residual[..., 0]) / safe
        ideal[..., 0] -= step_x
        ideal[..., 1] -= step_y
        if max(np.abs(step_x).max(initial=0.0), np.abs(step_y).max(initial=0.0)) < 1e-12:
            break
    return ideal
