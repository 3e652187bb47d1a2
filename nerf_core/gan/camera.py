"""The camera of the generative systems: it turns about one axis and looks at the origin; rays through the image plane.

World of a generator: +z is the axis of rotation and up in the image; the subject lies about the origin. As in
`contract.xray.ConeBeam`, azimuth 0 puts the source on -y, and azimuths count counter-clockwise seen from +z.

Points of the image plane are (x, y) in [-1, 1]: x to the right, y DOWN, the outer edges of the image at -1 and 1, so
that the centre of pixel i of S is at (2 i + 1) / S - 1, whatever the resolution.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .settings import Settings

if TYPE_CHECKING:
    from .dataset import Radiographs

GRAF_HALF_WIDTH = 10.0 * math.tan(math.radians(5.0))
"""What the published camera sees to each side of the axis: field of view 10 degrees at distance 10."""
CAMERA_SETTINGS = ("field_of_view", "radius_low", "radius_high", "polar_low", "polar_high", "near", "far")
"""What :func:`camera_of_data` settles."""


def fixed_poses(azimuths: Tensor, settings: Settings) -> Tensor:
    """Poses in the middle of the distribution's other numbers.

    Parameters
    ----------
    azimuths : (n,) tensor
        Degrees.
    settings : Settings

    Returns
    -------
    (n, 3) tensor
        Azimuth and polar angle in degrees, and the source's distance from the origin.
    """
    polar = 0.5 * (settings.polar_low + settings.polar_high)
    radius = 0.5 * (settings.radius_low + settings.radius_high)
    return torch.stack([azimuths, torch.full_like(azimuths, polar), torch.full_like(azimuths, radius)], dim=-1)


def random_poses(count: int, settings: Settings, rng: torch.Generator) -> Tensor:
    """(count, 3) poses of the training distribution.

    Any azimuth, the cosine of the polar angle and the distance uniform between their limits: even on the sphere.
    """
    unit = torch.rand(count, 3, generator=rng)
    low, high = (math.cos(math.radians(angle)) for angle in (settings.polar_low, settings.polar_high))
    polar = torch.rad2deg(torch.acos(low + unit[:, 1] * (high - low)))
    radius = settings.radius_low + unit[:, 2] * (settings.radius_high - settings.radius_low)
    return torch.stack([360.0 * unit[:, 0], polar, radius], dim=-1)


def pixel_points(size: int) -> Tensor:
    """(size * size, 2) points of the image plane: the pixels' centres, row by row from the top left."""
    centres = (2.0 * torch.arange(size) + 1.0) / size - 1.0
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def rays(poses: Tensor, points: Tensor, field_of_view: float) -> tuple[Tensor, Tensor]:
    """Rays from the source through points of the image plane.

    Parameters
    ----------
    poses : (n, 3) tensor
        Azimuth and polar angle in degrees, distance.
    points : (n, R, 2) tensor
    field_of_view : float
        Degrees, across the image.

    Returns
    -------
    origins, directions : (n, R, 3) tensors
        Directions have unit length.
    """
    azimuth, polar = torch.deg2rad(poses[:, 0]), torch.deg2rad(poses[:, 1])
    sin_a, cos_a, sin_p, cos_p = torch.sin(azimuth), torch.cos(azimuth), torch.sin(polar), torch.cos(polar)
    outward = torch.stack([sin_p * sin_a, -sin_p * cos_a, cos_p], dim=-1)  # from the origin to the source
    right = torch.stack([cos_a, sin_a, torch.zeros_like(azimuth)], dim=-1)
    up = torch.cross(outward, right, dim=-1)
    half = math.tan(math.radians(field_of_view) / 2.0)
    x, y = half * points[..., 0:1], half * points[..., 1:2]
    directions = x * right[:, None] - y * up[:, None] - outward[:, None]
    directions = directions / directions.norm(dim=-1, keepdim=True)
    origins = (poses[:, 2:3] * outward)[:, None].expand_as(directions)
    return origins, directions


def camera_of_data(settings: Settings, data: "Radiographs") -> Settings:
    """The settings with the camera's numbers settled: with `camera` 'data', those of the data set where it says them.

    The world is scaled so that the published half-width is seen at the axis, and samples lie where the images' field of
    view meets the subject's cylinder.
    """
    if settings.camera != "data":
        return settings
    fov = data.field_of_view or settings.field_of_view
    radius = GRAF_HALF_WIDTH / math.tan(math.radians(fov) / 2.0)
    reach = min(math.sqrt(2.0) * GRAF_HALF_WIDTH, 0.95 * radius)  # the image's square, seen along the diagonal
    numbers = (fov, radius, radius, 90.0, 90.0, radius - reach, radius + reach)
    settled: dict[str, Any] = dict(zip(CAMERA_SETTINGS, numbers, strict=True))
    return replace(settings, **settled)
