"""A COLMAP model as text: cameras.txt, images.txt, points3D.txt, as pycolmap and 3D Gaussian splatting read it.

COLMAP's cameras look along +Z with Y down, and its poses go from world to camera.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...vendor.nerf_core.contract.camera import Camera
from ...vendor.nerf_core.contract.files import write_bytes
from .cloud import Cloud

_FLIP = np.diag([1.0, -1.0, -1.0])  # OpenGL's axes to OpenCV's


def write_model(folder: Path, names: Sequence[str], cameras: Sequence[Camera], cloud: Cloud) -> None:
    """Write the three files into a folder that exists; points have no tracks."""
    lenses: dict[tuple, int] = {}
    images = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then a line of 2D points, which is empty"]
    for number, (name, camera) in enumerate(zip(names, cameras, strict=True), start=1):
        lens = (camera.width, camera.height, camera.fl_x, camera.fl_y, camera.cx, camera.cy)
        own = lenses.setdefault(lens, len(lenses) + 1)
        rotation = (camera.c2w[:3, :3] @ _FLIP).T
        values = [*quaternion(rotation), *(-rotation @ camera.position)]
        images += [f"{number} {' '.join(repr(float(v)) for v in values)} {own} {name}", ""]
    listed = ["# CAMERA_ID MODEL WIDTH HEIGHT FX FY CX CY"]
    for (width, height, *floats), own in lenses.items():
        listed.append(f"{own} PINHOLE {width} {height} {' '.join(repr(float(v)) for v in floats)}")
    points = ["# POINT3D_ID X Y Z R G B ERROR, and no track"]
    for number, (place, color) in enumerate(zip(cloud.position.tolist(), cloud.color.tolist(), strict=True), start=1):
        points.append(f"{number} {place[0]:.7g} {place[1]:.7g} {place[2]:.7g} {color[0]} {color[1]} {color[2]} 0")
    for name, lines in (("cameras.txt", listed), ("images.txt", images), ("points3D.txt", points)):
        write_bytes(folder / name, ("\n".join(lines) + "\n").encode("utf-8"))


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a (3, 3) rotation, w not negative.

    References
    ----------
    Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix", JGCD 2000.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    k = np.array([
        [xx - yy - zz, yx + xy, zx + xz, zy - yz],
        [yx + xy, yy - xx - zz, zy + yz, xz - zx],
        [zx + xz, zy + yz, zz - xx - yy, yx - xy],
        [zy - yz, xz - zx, yx - xy, xx + yy + zz],
    ])  # fmt: skip
    vector = np.linalg.eigh(k / 3.0)[1][:, -1]
    found = vector[[3, 0, 1, 2]]
    return -found if found[0] < 0 else found
