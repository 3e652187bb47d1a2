"""A knee of painted ellipsoids: femur with condyles, tibia with plateau, fibula, patella, muscle and fat.

RAS millimetres about the joint's middle. A right knee is built (lateral is +x) and mirrored for half of the patients;
sizes are those of adults, the shapes are drawn, not measured.
"""

import numpy as np

from ..contract.xray import MATERIALS
from .phantom_parts import Parts, turned

BOUNDS = (90.0, 90.0, 100.0)
"""Half the sides of the box; the leg is cut above and below, as in a scan."""
FAT, MUSCLE, PAD, BONE = range(0, 40, 10)  # what lies over what


def knee(rng: np.random.Generator) -> Parts:
    """One patient's ellipsoids."""
    density = rng.uniform(0.75, 1.1)
    soft = MATERIALS["soft tissue"]

    def bony(mu: float) -> float:
        return soft + (mu - soft) * density

    size = rng.uniform(0.92, 1.08)
    parts = Parts()
    _flesh(parts, rng, size)
    bend = turned((1, 0, 0), rng.uniform(-12.0, 0.0)) @ turned((0, 1, 0), rng.uniform(-3.0, 3.0))
    pivot = np.array([0.0, -6.0, 20.0]) * size
    femur = Parts()
    _femur(femur, rng, size, bony)
    parts.extend(femur.moved(bend, pivot - bend @ pivot))
    _tibia(parts, rng, size, bony)
    place = np.array([3.0, 39.0, 30.0]) * size + rng.uniform(-1.0, 1.0, 3) * (3.0, 2.0, 6.0)
    patella = np.array([21.0, 9.5, 21.0]) * size * rng.uniform(0.9, 1.1, 3)
    parts.shelled(place, patella, 1.8, (bony(0.5), bony(0.32)), turned((1, 0, 0), 6.0), BONE)
    mirror = np.diag([1.0 if rng.uniform() < 0.5 else -1.0, 1.0, 1.0])
    turn = turned((0, 0, 1), rng.uniform(-12.0, 12.0)) @ mirror
    return parts.moved(turn, rng.uniform(-1.0, 1.0, 3) * (4.0, 4.0, 6.0))


def _flesh(parts: Parts, rng: np.random.Generator, size: float) -> None:
    fat, muscle = MATERIALS["fat"], MATERIALS["soft tissue"]
    skin = rng.uniform(3.0, 12.0)
    shapes = (
        ((0.0, -10.0, 108.0), (58.0, 58.0, 112.0)),  # thigh
        ((0.0, 0.0, 6.0), (51.0, 51.0, 90.0)),  # about the joint
        ((2.0, -14.0, -104.0), (47.0, 50.0, 104.0)),  # calf
    )
    for center, half_axes in shapes:
        half = np.array(half_axes) * size * rng.uniform(0.95, 1.05, 3)
        parts.add(np.array(center) * size, half, muscle, rank=MUSCLE)
        parts.add(np.array(center) * size, half + skin, fat, rank=FAT)
    parts.add(
        np.array((0.0, 27.0, -10.0)) * size, np.array((17.0, 11.0, 14.0)) * size, fat, rank=PAD
    )  # below the patella
    parts.add(
        np.array((0.0, -40.0, 12.0)) * size, np.array((20.0, 12.0, 34.0)) * size, fat, rank=PAD
    )  # behind the joint


def _femur(parts: Parts, rng, size, bony) -> None:  # noqa: ANN001
    shell, core = bony(0.5), bony(0.29)
    for center, half_axes in (
        ((-23.0, -7.0, 19.0), (15.5, 31.0, 20.5)),  # medial condyle
        ((23.0, -5.0, 19.5), (14.5, 31.0, 20.0)),  # lateral condyle
        ((-14.0, 20.0, 27.0), (13.0, 12.0, 17.0)),  # the groove's two rims
        ((15.0, 21.0, 28.0), (13.0, 13.0, 18.0)),
        ((0.0, 5.0, 34.0), (27.0, 20.0, 17.0)),
        ((-27.0, -2.0, 36.0), (10.0, 17.0, 14.0)),  # epicondyles
        ((27.0, -2.0, 36.0), (9.0, 17.0, 14.0)),
        ((0.0, 3.0, 48.0), (30.0, 20.0, 26.0)),
        ((0.0, 3.0, 66.0), (22.0, 17.0, 28.0)),
    ):
        half = np.array(half_axes) * size * rng.uniform(0.97, 1.03, 3)
        parts.shelled(np.array(center) * size, half, 1.6, (shell, core), rank=BONE)
    _shaft(parts, np.linspace((0.0, 4.0, 66.0), (-2.0, 7.0, 150.0), 8) * size, 14.0 * size, 5.5, bony)


def _tibia(parts: Parts, rng, size, bony) -> None:  # noqa: ANN001
    shell, core = bony(0.5), bony(0.29)
    for center, half_axes in (
        ((-21.0, -5.0, -13.0), (19.0, 23.0, 7.5)),  # the plateau
        ((21.0, -5.0, -13.0), (18.0, 22.0, 7.5)),
        ((0.0, -4.0, -19.0), (37.0, 23.0, 13.0)),
        ((-5.0, -5.0, -6.5), (3.5, 8.0, 5.0)),  # the eminence's two tips
        ((5.0, -5.0, -6.5), (3.5, 8.0, 4.5)),
        ((0.0, -4.0, -34.0), (31.0, 21.0, 26.0)),
        ((-1.0, -3.0, -54.0), (22.0, 18.0, 30.0)),
        ((3.0, 17.0, -44.0), (8.0, 7.0, 15.0)),  # where the patella's tendon ends
    ):
        half = np.array(half_axes) * size * rng.uniform(0.97, 1.03, 3)
        parts.shelled(np.array(center) * size, half, 1.6, (shell, core), rank=BONE)
    _shaft(parts, np.linspace((-1.0, -3.0, -56.0), (-4.0, -3.0, -150.0), 8) * size, 13.0 * size, 5.0, bony)
    parts.shelled(
        np.array((34.0, -19.0, -31.0)) * size, np.array((10.0, 10.0, 12.0)) * size, 1.6, (shell, core), rank=BONE
    )
    _shaft(parts, np.linspace((34.0, -19.0, -36.0), (32.0, -18.0, -150.0), 10) * size, 6.5 * size, 3.2, bony)


def _shaft(parts: Parts, path: np.ndarray, radius: float, wall: float, bony) -> None:  # noqa: ANN001
    """A long bone's tube with marrow in it."""
    parts.chain(path, (radius, radius), bony(0.58), up=(0.0, 1.0, 0.0), rank=BONE)
    inner = radius - wall
    parts.chain(path, (inner, inner), MATERIALS["fat"], up=(0.0, 1.0, 0.0), rank=BONE + 1)
