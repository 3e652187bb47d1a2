"""COLMAP models written by hand, as its documentation describes the files: text and binary; needs numpy alone."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NUMBERS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5}


def parameters(camera, model: str) -> list[float]:
    """A contract camera's intrinsics in the order of a COLMAP model."""
    lens = camera.distortion
    return {
        "SIMPLE_PINHOLE": [camera.fl_x, camera.cx, camera.cy],
        "PINHOLE": [camera.fl_x, camera.fl_y, camera.cx, camera.cy],
        "SIMPLE_RADIAL": [camera.fl_x, camera.cx, camera.cy, lens.k1],
        "RADIAL": [camera.fl_x, camera.cx, camera.cy, lens.k1, lens.k2],
        "OPENCV": [camera.fl_x, camera.fl_y, camera.cx, camera.cy, lens.k1, lens.k2, lens.p1, lens.p2],
        "OPENCV_FISHEYE": [camera.fl_x, camera.fl_y, camera.cx, camera.cy, 0.0, 0.0, 0.0, 0.0],
    }[model]


def world_to_camera(c2w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COLMAP's quaternion (w, x, y, z) and translation of an OpenGL camera-to-world matrix."""
    rotation = (c2w[:3, :3] * (1.0, -1.0, -1.0)).T
    # The eigenvector of Bar-Itzhack's matrix is the quaternion, whatever the angle.
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    matrix = np.array([
        [xx - yy - zz, 0, 0, 0],
        [yx + xy, yy - xx - zz, 0, 0],
        [zx + xz, zy + yz, zz - xx - yy, 0],
        [zy - yz, xz - zx, yx - xy, xx + yy + zz],
    ])  # fmt: skip
    x, y, z, w = np.linalg.eigh(matrix / 3.0)[1][:, -1]
    return np.array([w, x, y, z]) * (1.0 if w >= 0 else -1.0), -rotation @ c2w[:3, 3]


def write_model(
    folder: Path,
    cameras: Sequence,
    names: Sequence[str],
    points: np.ndarray,
    colors: np.ndarray,
    binary: bool,
    model: str = "OPENCV",
) -> Path:
    """Write cameras, images and points3D; each image has a camera of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (_write_binary if binary else _write_text)(folder, cameras, names, points, colors, model)
    return folder


def _write_text(folder, cameras, names, points, colors, model):
    lines = ["# Camera list"]
    for number, camera in enumerate(cameras, start=1):
        values = " ".join(repr(float(value)) for value in parameters(camera, model))
        lines.append(f"{number} {model} {camera.width} {camera.height} {values}")
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["# Image list"]
    for number, (camera, name) in enumerate(zip(cameras, names, strict=True), start=1):
        pose = " ".join(repr(float(value)) for part in world_to_camera(camera.c2w) for value in part)
        lines += [f"{number} {pose} {number} {name}", "1.5 2.5 -1"]
    (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["# 3D point list"]
    for number, (point, color) in enumerate(zip(points, colors, strict=True), start=1):
        lines.append(" ".join([str(number), *(repr(float(v)) for v in point), *(str(int(v)) for v in color), "0.5"]))
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_binary(folder, cameras, names, points, colors, model):
    data = struct.pack("<Q", len(cameras))
    for number, camera in enumerate(cameras, start=1):
        values = parameters(camera, model)
        data += struct.pack("<IiQQ", number, NUMBERS[model], camera.width, camera.height)
        data += struct.pack(f"<{len(values)}d", *values)
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(cameras))
    for number, (camera, name) in enumerate(zip(cameras, names, strict=True), start=1):
        quaternion, translation = world_to_camera(camera.c2w)
        data += struct.pack("<I7dI", number, *quaternion, *translation, number) + name.encode() + b"\0"
        data += struct.pack("<Q2dq", 1, 1.5, 2.5, -1)
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(points))
    for number, (point, color) in enumerate(zip(points, colors, strict=True), start=1):
        data += struct.pack("<Q3d3BdQ", number, *point, *(int(v) for v in color), 0.5, 0)
    (folder / "points3D.bin").write_bytes(data)
