"""A subject of ellipsoids that no turn and no mirror maps onto itself, with its exact line integrals."""

from types import SimpleNamespace

import numpy as np

from nerf_core.contract.camera import Camera
from nerf_core.contract.xray import PRESETS
from nerf_core.xray.grid import Grid

# Middle and half axes in world units (metres), attenuation added inside, per world unit.
ELLIPSOIDS = (
    ((0.02, 0.005, 0.03), (0.06, 0.08, 0.07), 20.0),
    ((-0.01, 0.03, 0.05), (0.020, 0.030, 0.015), 25.0),
    ((0.04, -0.04, 0.01), (0.020, 0.020, 0.030), -15.0),
    ((0.05, 0.02, 0.07), (0.010, 0.010, 0.008), 12.0),
)
CENTER = np.array([0.01, 0.0, 0.01])
BOUNDS = np.array([[-0.09, -0.12, -0.08], [0.11, 0.10, 0.12]])


def line_integrals(camera: Camera) -> np.ndarray:
    """(H, W) float32, exact."""
    origins, directions = camera.rays()
    total = np.zeros(origins.shape[:2])
    for center, half, mu in ELLIPSOIDS:
        start, step = (origins - center) / half, directions / np.array(half)
        a, b, c = (step**2).sum(-1), (start * step).sum(-1), (start**2).sum(-1) - 1.0
        total += mu * 2.0 * np.sqrt(np.maximum(b * b - a * c, 0.0)) / a
    return total.astype(np.float32)


def radiographs(count: int, pixels: int = 48, arc: float = 360.0) -> list[SimpleNamespace]:
    """Views of the chest's rig, all about the world's z."""
    rig = PRESETS["chest"].scaled(0.001).with_pixels(pixels, pixels)
    return [
        SimpleNamespace(camera=camera, line_integral=line_integrals(camera))
        for camera in rig.cameras(CENTER, count, arc=arc)
    ]


def truth(grid: Grid, parts: int = 3) -> np.ndarray:
    """(X, Y, Z) float32 attenuation per world unit, each voxel the mean of `parts`^3 points in it."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).astype(float)
    total = np.zeros(grid.shape)
    offsets = (np.arange(parts) + 0.5) / parts - 0.5
    for offset in np.stack(np.meshgrid(offsets, offsets, offsets), axis=-1).reshape(-1, 3):
        points = grid.to_world(index + offset)
        for center, half, mu in ELLIPSOIDS:
            total += mu * ((((points - center) / np.array(half)) ** 2).sum(-1) < 1.0)
    return (total / parts**3).astype(np.float32)
