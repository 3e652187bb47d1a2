"""From what a renderer found at each pixel to the distance along the pixel's own ray, without bpy."""

import numpy as np

from ..vendor.nerf_core.contract.camera import Camera

# A surface seen at a lower angle than this is not extended to the pixel's centre: the step would be longer than sure.
LEAST_FACING = 0.02


def centre_distances(camera: Camera, position: np.ndarray, normal: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Distances along the unit rays through the pixels' centres.

    A renderer samples anywhere near the centre; the surface's plane there is followed to the centre itself.

    Parameters
    ----------
    camera : Camera
    position, normal : (H, W, 3) float arrays
        World space: the surface's place, and its unit normal, at the sample of each pixel.
    hit : (H, W) bool array
        Where there is a surface.

    Returns
    -------
    (H, W) float32 array
        World units; 0 where nothing is hit.
    """
    origins, directions = camera.rays()
    offset = np.asarray(position, dtype=np.float64) - origins
    along = np.einsum("ijk,ijk->ij", offset, directions)
    facing = np.einsum("ijk,ijk->ij", directions, np.asarray(normal, dtype=np.float64))
    step = np.einsum("ijk,ijk->ij", offset - along[..., None] * directions, np.asarray(normal, dtype=np.float64))
    sure = np.abs(facing) > LEAST_FACING
    along += np.divide(step, facing, out=np.zeros_like(along), where=sure)
    return np.where(hit, np.maximum(along, 0.0), 0.0).astype(np.float32)


def planar(camera: Camera, distance: np.ndarray) -> np.ndarray:
    """(H, W) float32 depth along the viewing axis from distances along the rays; a panorama keeps its distances."""
    if camera.kind == "panoramic":
        return np.asarray(distance, dtype=np.float32)
    _, directions = camera.rays()
    return (np.asarray(distance, dtype=np.float64) * (directions @ camera.forward)).astype(np.float32)


def unproject(camera: Camera, distance: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(N, 3) world points of the (N, 2) whole pixels (column, row), from an (H, W) array of distances."""
    origins, directions = camera.rays(pixels + 0.5)
    return origins + directions * distance[pixels[:, 1], pixels[:, 0]][:, None].astype(np.float64)
