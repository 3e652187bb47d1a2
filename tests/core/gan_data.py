"""Small radiographs for the generative systems' tests: two balls turned about one axis, integrated exactly."""

from pathlib import Path

import numpy as np
from PIL import Image

from nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms
from nerf_core.contract.xray import ConeBeam

TINY = {
    "preset": "tiny",
    "image_size": 16,
    "batch": 2,
    "samples": 4,
    "depth": 2,
    "width": 16,
    "discriminator_width": 4,
    "reconstruction": 0.0,  # its feature network takes a second to load
}
RIG = ConeBeam(5.0, 8.0, (6.4, 6.4), (16, 16))


def balls(instance: int) -> list[tuple[np.ndarray, float]]:
    """Centres and radii: the second ball stands to the side, each instance elsewhere."""
    angle = 2.0 * instance
    beside = np.array([0.8 * np.cos(angle), 0.8 * np.sin(angle), 0.5 - 0.1 * instance])
    return [(np.zeros(3), 0.7), (beside, 0.4)]


def radiograph(instance: int, angle: float, size: int) -> np.ndarray:
    """(size, size) uint8: the chords through the balls, 2 being white."""
    origins, directions = RIG.with_pixels(size, size).camera(np.zeros(3), angle).rays()
    total = np.zeros((size, size))
    for center, radius in balls(instance):
        along = ((center - origins) * directions).sum(axis=-1)
        apart = ((center - origins) ** 2).sum(axis=-1) - along**2
        total += 2.0 * np.sqrt(np.maximum(radius**2 - apart, 0.0))
    return np.round(255.0 * np.clip(total / 2.0, 0.0, 1.0)).astype(np.uint8)


def write_pictures(folder: Path, instances: int = 2, views: int = 12, size: int = 16) -> Path:
    """Folders of pictures at even angles; names whose order as text is not that of their numbers."""
    for instance in range(instances):
        (folder / f"patient {instance}").mkdir(parents=True)
        for view in range(views):
            picture = Image.fromarray(radiograph(instance, 360.0 * view / views, size))
            picture.save(folder / f"patient {instance}" / f"view_{view}.png")
    return folder


def write_posed(folder: Path, instance: int = 0, views: int = 6, size: int = 16, start: float = 0.0) -> Path:
    """A radiograph data set with cameras; its frames are written out of order."""
    (folder / "train").mkdir(parents=True)
    frames = []
    for view in np.random.default_rng(0).permutation(views):
        angle = start + 360.0 * view / views
        name = f"train/{len(frames):03d}.png"
        Image.fromarray(radiograph(instance, angle, size)).save(folder / name)
        frames.append(FrameRecord(name, "train", RIG.with_pixels(size, size).camera(np.zeros(3), angle)))
    bounds = np.array([[-1.2] * 3, [1.2] * 3])
    write_transforms(folder, frames, DatasetFacts(bounds=bounds, has_alpha=False))
    return folder
