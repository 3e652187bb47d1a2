"""A small analytic scene for tests: a ball coloured by its normal, beside the world's origin, on transparent ground."""

from pathlib import Path

import numpy as np
from PIL import Image

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms
from nerf_core.data.views import View, Views

CENTER = np.array([2.0, -1.0, 0.5])
RADIUS = 0.8
BOUNDS = np.stack([CENTER - 1.0, CENTER + 1.0])


def camera(index: int, count: int, size: int) -> Camera:
    """One of `count` cameras around the ball."""
    angle = 2.0 * np.pi * index / count
    height = 1.5 * np.sin(3.0 * angle + 0.4)
    place = CENTER + (3.0 * np.cos(angle), 3.0 * np.sin(angle), height)
    return Camera(size, size, 1.2 * size, 1.2 * size, size / 2, size / 2, look_at(place, CENTER))


def picture(view: Camera) -> np.ndarray:
    """(height, width, 4) uint8, straight alpha: what the camera sees of the ball."""
    origins, directions = view.rays()
    offset = origins - CENTER
    middle = -np.sum(offset * directions, axis=-1)
    inside = RADIUS**2 - (np.sum(offset * offset, axis=-1) - middle**2)
    hit = inside > 0
    t = middle - np.sqrt(np.maximum(inside, 0.0))
    normal = (offset + directions * t[..., None]) / RADIUS
    rgba = np.zeros((view.height, view.width, 4))
    rgba[hit, :3] = 0.5 + 0.4 * normal[hit]
    rgba[hit, 3] = 1.0
    return np.round(255 * rgba).astype(np.uint8)


def views(count: int = 12, size: int = 32) -> Views:
    """Posed images in memory."""
    cameras = [camera(i, count, size) for i in range(count)]
    return Views([View(f"{i:04}.png", c, picture(c)) for i, c in enumerate(cameras)], "srgb", True)


def write_dataset(folder: Path, train: int = 8, val: int = 2, size: int = 24) -> Path:
    """The same as files; returns the folder."""
    records = []
    for split, count in (("train", train), ("val", val)):
        (folder / split).mkdir(parents=True)
        for i in range(count):
            view = camera(i, count + (split == "val"), size)
            name = f"{split}/{i:04}.png"
            Image.fromarray(picture(view)).save(folder / name)
            records.append(FrameRecord(name, split, view))
    write_transforms(folder, records, DatasetFacts(BOUNDS, "srgb", True))
    return folder
