"""A room with a ball and a box in it, seen by few cameras, with the exact distance of every pixel.

Plain walls of one colour each with a soft gradient, so that colours alone say little of how far away they are.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from nerf_core.contract.camera import Camera, look_at
from nerf_core.data.views import View, Views

BOUNDS = np.array([[-2.0, -1.5, 0.0], [2.0, 1.5, 2.0]])
BALL, RADIUS = np.array([0.5, 0.3, 0.6]), 0.5
BOX = np.array([[-1.2, -0.9, 0.0], [-0.5, -0.2, 0.9]])
WALL_COLORS = np.array([[0.8, 0.4, 0.3], [0.3, 0.5, 0.8], [0.5, 0.7, 0.4], [0.7, 0.65, 0.4], [0.5] * 3, [0.9] * 3])
OUTER = 0.05  # how far the field's box reaches beyond the walls
FIELD_BOUNDS = BOUNDS + np.array([[-OUTER], [OUTER]])


def camera(index: float, count: int, size: int) -> Camera:
    """One of `count` cameras in a ring inside the room, looking across it."""
    angle = 2.0 * np.pi * index / count
    place = np.array([1.7 * np.cos(angle), 1.25 * np.sin(angle), 1.1 + 0.5 * np.sin(2.0 * angle + 1.0)])
    target = np.array([-0.3 * np.cos(angle), -0.3 * np.sin(angle), 0.7])
    return Camera(size, size, 0.6 * size, 0.6 * size, size / 2, size / 2, look_at(place, target))


def trace(origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) colours and (N,) distances along rays (N, 3) from inside the room."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slabs = np.where(directions > 0, BOUNDS[1] - origins, BOUNDS[0] - origins) / directions
        axis = np.nanargmin(np.where(directions == 0, np.inf, slabs), axis=1)
        rows = np.arange(len(origins))
        distance = slabs[rows, axis]
        wall = 2 * axis + (directions[rows, axis] > 0)
        point = origins + distance[:, None] * directions
        color = WALL_COLORS[wall] * (0.8 + 0.1 * np.sin(1.3 * point.sum(axis=1)))[:, None]

        a, b = (BOX[0] - origins) / directions, (BOX[1] - origins) / directions
        near, far = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
        seen = (near < far) & (near > 0) & (near < distance)
        face = np.minimum(a, b).argmax(axis=1)
        distance = np.where(seen, near, distance)
        color[seen] = np.array([[0.7, 0.3, 0.6], [0.5, 0.25, 0.5], [0.8, 0.5, 0.7]])[face[seen]]

    offset = origins - BALL
    middle = -np.sum(offset * directions, axis=1)
    inside = RADIUS**2 - (np.sum(offset * offset, axis=1) - middle**2)
    hit = middle - np.sqrt(np.maximum(inside, 0.0))
    seen = (inside > 0) & (hit > 0) & (hit < distance)
    distance = np.where(seen, hit, distance)
    normal = (origins + distance[:, None] * directions - BALL) / RADIUS
    color[seen] = 0.5 + 0.35 * normal[seen]
    return np.clip(color, 0.0, 1.0), distance


def view(of: Camera, name: str = "view") -> View:
    """What a camera sees, and how far away it is."""
    color, distance = trace(*(rays.reshape(-1, 3) for rays in of.rays()))
    rgba = np.full((of.height, of.width, 4), 255, np.uint8)
    rgba[..., :3] = np.round(255.0 * color).reshape(of.height, of.width, 3)
    return View(name, of, rgba, distance.reshape(of.height, of.width).astype(np.float32))


def views(count: int, size: int, offset: float = 0.0) -> Views:
    """Posed images with depth in memory; another `offset` gives cameras between those."""
    return Views([view(camera(i + offset, count, size), f"{i:04}") for i in range(count)], "srgb", False)


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    """A scanline EXR with these channels."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(path))


def write_dataset(folder: Path, train: int = 12, val: int = 3, size: int = 40, with_depth: bool = True) -> Path:
    """The same as files, depth as a capture writes it: EXR, channel V, distances; returns the folder."""
    (folder / "depth").mkdir(parents=True)
    frames: list[dict] = []
    for split, count, offset in (("train", train, 0.0), ("val", val, 0.37)):
        for i in range(count):
            seen = view(camera(i + offset, count, size))
            name = f"{split}_{i:04}"
            Image.fromarray(seen.rgba[..., :3]).save(folder / f"{name}.png")
            frame = {"file_path": f"{name}.png", "transform_matrix": seen.camera.c2w.tolist()}
            if with_depth:
                write_exr(folder / "depth" / f"{name}.exr", {"V": seen.depth})
                frame["depth_file_path"] = f"depth/{name}.exr"
            frames.append(frame)
    document = {
        "w": size, "h": size, "fl_x": seen.camera.fl_x, "fl_y": seen.camera.fl_y, "cx": size / 2, "cy": size / 2,
        "nerf_toolkit": {"bounds": FIELD_BOUNDS.tolist(), "depth": "distance"},
        "train_filenames": [frame["file_path"] for frame in frames[:train]],
        "val_filenames": [frame["file_path"] for frame in frames[train:]],
        "frames": frames,
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder
