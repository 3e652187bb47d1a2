"""Grids of a system's pictures: fixed codes seen from fixed angles, real ones above them; turntables."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .base import System
from .dataset import Radiographs

GAP = 2  # pixels between tiles
LEAST_SIDE = 96  # of a tile in a grid: small pictures are shown with each pixel as a square


def fixed_codes(system: System, count: int, seed: int = 0) -> Tensor:
    """(count, code_size) codes that are the same each time, whatever the training has drawn."""
    return system.sample_codes(count, torch.Generator().manual_seed(seed))


def even_azimuths(count: int) -> Tensor:
    """(count,) degrees around the axis from 0."""
    return 360.0 * torch.arange(count) / count


def turn(system: System, codes: Tensor, views: int, size: int | None = None) -> Iterator[np.ndarray]:
    """Each view of all codes: (n, size, size) float arrays of 0 to 1, one azimuth after the other."""
    for azimuth in even_azimuths(views):
        poses = system.poses(azimuth.repeat(len(codes)))
        yield system.render(codes, poses, size)[:, 0].cpu().numpy()


def sample_grid(
    system: System, codes: Tensor, views: int, size: int | None = None, real: Sequence[Sequence[np.ndarray]] = ()
) -> np.ndarray:
    """One picture: a row for each code, a column for each azimuth; rows of real images above.

    Parameters
    ----------
    system : System
    codes : (n, code_size) tensor
    views : int
    size : int, optional
        Pixels a side of each picture.
    real : rows of (S, S) float arrays
        Shown first, as many a row as there are views.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    made = np.stack(list(turn(system, codes, views, size)), axis=1)
    return tile([*real, *made])


def tile(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """(H, W, 3) uint8 picture of rows of grey pictures, each (S, S) in [0, 1] with its own S; dark gaps between."""
    side = max(len(picture) for row in rows for picture in row)
    side *= max(1, -(-LEAST_SIDE // side))
    across = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (side + GAP) - GAP, across * (side + GAP) - GAP), 40, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = y * (side + GAP), x * (side + GAP)
            places = np.arange(side) * len(picture) // side
            grey = (np.clip(picture[np.ix_(places, places)], 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
            sheet[top : top + side, left : left + side] = grey
    return np.repeat(sheet[..., None], 3, axis=-1)


def real_rows(data: Radiographs, rows: int, views: int) -> list[list[np.ndarray]]:
    """Images of the first instances at the azimuths nearest to even ones."""
    found = []
    for instance in range(min(rows, len(data.names))):
        images, azimuths = data.of(instance)
        wanted = even_azimuths(views).numpy()
        apart = np.abs((azimuths[None] - wanted[:, None] + 180.0) % 360.0 - 180.0)
        found.append([images[index] for index in apart.argmin(axis=1)])
    return found
