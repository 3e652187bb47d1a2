"""GRAF's patches: a few pixels spread over the image by a random scale and shift, the same for made and real images.

Source: Schwarz et al. 2020 (arXiv 2007.02442), section 3.3: scale drawn between a falling limit and 1, any shift.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from .camera import pixel_points


def lowest_scale(step: int, floor: float, rate: float, every: int, cap: float = 0.9) -> float:
    """The smallest scale that a patch may have: ``min(cap, max(floor, exp(-rate * (step // every))))``.

    Published for MedNeRF: floor 0.25, rate 0.0025 * 3, every 1000 steps, cap 0.9.
    """
    return min(cap, max(floor, math.exp(-rate * (step // every))))


def random_patches(count: int, size: int, lowest: float, rng: torch.Generator) -> Tensor:
    """Points of random patches.

    Parameters
    ----------
    count : int
    size : int
        Pixels a side.
    lowest : float
        Scales are uniform from here to 1; shifts are such that the patch lies within the image.
    rng : torch.Generator

    Returns
    -------
    (count, size * size, 2) tensor
        Points of the image plane as in `camera`, row by row.
    """
    unit = torch.rand(count, 3, generator=rng)
    scales = lowest + unit[:, 0] * (1.0 - lowest)
    shifts = (2.0 * unit[:, 1:] - 1.0) * (1.0 - scales[:, None])
    return patch_points(size, scales, shifts)


def patch_points(size: int, scales: Tensor, shifts: Tensor) -> Tensor:
    """(n, size * size, 2) points of patches; with scale 1 and shift 0 they are the pixels of a size x size image.

    Parameters
    ----------
    size : int
    scales : (n,) tensor
        The patch's share of the image's side.
    shifts : (n, 2) tensor
        Of the patch's centre (x right, y down), at most 1 - scale to each side.
    """
    return scales[:, None, None] * pixel_points(size)[None].to(scales.device) + shifts[:, None]


def sample_patches(images: Tensor, points: Tensor) -> Tensor:
    """Images at the points of patches, bilinear between pixel centres.

    Parameters
    ----------
    images : (n, C, S, S) tensor
    points : (n, K * K, 2) tensor

    Returns
    -------
    (n, C, K, K) tensor
    """
    side = math.isqrt(points.shape[1])
    grid = points.reshape(len(points), side, side, 2)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
