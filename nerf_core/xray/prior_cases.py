"""Volumes that a prior was not made of, with radiographs to reconstruct them from and to be measured by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled
from ..contract.xray import PRESETS, ConeBeam, preset
from ..contract.xray_words import PHANTOM
from .grid import Grid
from .population import PER_METRE, Member, member_volume

DEFAULT_VIEWS = 72


@dataclass(frozen=True)
class Case:
    """A known volume and its turntable.

    Attributes
    ----------
    name : str
    grid : Grid
        Of the truth, metres.
    truth : (X, Y, Z) float32
        1 / m.
    cameras : list of Camera
        Metres, about the volume's middle.
    line_integrals : list of (H, W) float32
    world_from_prior : (4, 4)
        Where the prior is to begin: its origin at the middle of the volume's box.
    """

    name: str
    grid: Grid
    truth: np.ndarray
    cameras: list[Camera]
    line_integrals: list[np.ndarray]
    world_from_prior: np.ndarray


def rig_of(name: str, rig: str | None, longest: float) -> ConeBeam:
    """The cone beam to take radiographs of a volume with: what was asked for, or the one of a phantom's kind.

    Parameters
    ----------
    name : str
        Of the volume's source.
    rig : str or None
        One of `contract.xray.PRESETS`.
    longest : float
        The volume's longest side, millimetres.
    """
    if rig is None:
        kind = name.split(":")[1] if name.startswith(PHANTOM) else "chest"
        rig = kind if kind in PRESETS else "volume"
    return preset(rig, longest)


def make_case(
    member: Member,
    grid: Grid,
    rig: str | None = None,
    count: int = DEFAULT_VIEWS,
    pixels: int = 128,
    should_stop: Callable[[], bool] | None = None,
) -> Case:
    """A member of a population as a case.

    A phantom's line integrals are exact, a CT's are those of its own voxels: neither is projected on the prior's grid.

    Parameters
    ----------
    member : Member
    grid : Grid
        The prior's, metres: the truth is measured on it, or, of a CT, whose box has another middle, on the same voxels
        about that.
    rig : str, optional
        See :func:`rig_of`.
    count, pixels : int
        Views all around, and pixels a side.
    """
    from ..ct.phantoms import parse_phantom
    from ..ct.source import open_source
    from .projector import project_camera

    phantom = parse_phantom(member.source)
    if phantom is None and member.origin != "augmented":
        volume = open_source(member.source).canonical()
        bounds = volume.bounds * 1e-3
    else:
        bounds = grid.bounds if phantom is None else phantom.bounds * 1e-3
    beam = (
        rig_of(member.source, rig, 1e3 * float((bounds[1] - bounds[0]).max())).scaled(1e-3).with_pixels(pixels, pixels)
    )
    middle = bounds.mean(axis=0)
    cameras = beam.cameras(middle, count)
    world_from_prior = np.eye(4)
    pictures = []
    if phantom is not None:
        truth = member_volume(member, grid)
        where = grid
        for camera in cameras:
            _ask(should_stop)
            origins, directions = camera.rays()
            pictures.append(phantom.line_integrals(origins * 1e3, directions).astype(np.float32))
    elif member.origin == "augmented":  # known on the prior's grid alone
        truth, where = member_volume(member, grid), grid
        for camera in cameras:
            _ask(should_stop)
            pictures.append(project_camera(truth, grid.world_from_index, camera))
    else:
        mu = volume.mu().astype(np.float32) * np.float32(PER_METRE)
        own = Grid(volume.shape, np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ volume.affine)
        for camera in cameras:
            _ask(should_stop)
            pictures.append(project_camera(mu, own.world_from_index, camera))
        # The prior begins at the box's middle; the truth is measured on its voxels there.
        world_from_prior[:3, 3] = middle
        where = Grid(grid.shape, world_from_prior @ grid.world_from_index)
        reduced = volume.resampled(spacing=[max(1e3 * float(grid.spacing.min()), step) for step in volume.spacing])
        coarse = Grid(reduced.shape, np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ reduced.affine)
        values = reduced.mu().astype(np.float32) * np.float32(PER_METRE)
        truth = coarse.sampled(values, where.slab(0, where.shape[0])).astype(np.float32)
    return Case(member.name, where, truth, cameras, pictures, world_from_prior)


def given_views(count: int, views: int) -> list[int]:
    """Which of `count` views all around are given: the first, and quarter turns from it; beyond 4 evenly spread."""
    if views <= 4:
        return [round(count * index / 4) % count for index in range(views)]
    return [round(count * index / views) % count for index in range(views)]


def _ask(should_stop: Callable[[], bool] | None) -> None:
    if should_stop is not None and should_stop():
        raise Cancelled


def part_of(case: Case, chosen: Sequence[int]) -> tuple[list[np.ndarray], list[Camera]]:
    """The radiographs and cameras of some of a case's views."""
    return [case.line_integrals[index] for index in chosen], [case.cameras[index] for index in chosen]
