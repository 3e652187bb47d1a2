"""A small radiograph data set of a phantom, with exact line integrals, written as any capture would."""

from pathlib import Path

import numpy as np

from nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms
from nerf_core.contract.xray import XrayFacts, preset
from nerf_core.ct.nifti import write_nifti
from nerf_core.ct.phantoms import ellipsoid_phantom
from nerf_core.export.exr import write_exr
from nerf_core.export.pictures import write_png

TO_METRES = 1e-3


def write_radiographs(
    folder: Path,
    kind: str = "ellipsoids",
    seed: int = 0,
    views: int = 12,
    held_out: int = 3,
    pixels: int = 48,
    voxels: int = 32,
    per_view: bool = False,
) -> np.ndarray:
    """Write the data set; gives the truth's attenuation per world unit (X, Y, Z), on the voxels of `volume.nii.gz`.

    With `per_view`, each view's line integrals are multiplied by a factor of its own, as an automatic exposure does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    phantom = ellipsoid_phantom(kind, seed)
    volume = phantom.volume(voxels)
    write_nifti(folder / "volume.nii.gz", volume)
    low, high = volume.bounds
    rig = preset("volume", float((high - low).max())).with_pixels(pixels, pixels)
    center = 0.5 * (low + high)
    splits = {"train": (views, 0.0), "val": (held_out, 180.0 / views)}
    frames, pictures = [], []
    for split, (count, start) in splits.items():
        for index, camera in enumerate(rig.cameras(center, count, start)):
            y, x = np.divmod(np.arange(pixels * pixels), pixels)
            origins, directions = camera.rays(np.stack([x, y], axis=-1) + 0.5)
            p = phantom.line_integrals(np.broadcast_to(origins, directions.shape), directions).reshape(pixels, pixels)
            if per_view:
                p = p * (0.7 + 0.6 * index / max(count - 1, 1))
            name = f"{split}/{index:04d}"
            own = {"line_integral_file_path": f"{name}_p.exr"}
            metres = rig.scaled(TO_METRES).camera(center * TO_METRES, start + 360.0 * index / count)
            frames.append(FrameRecord(f"{name}.png", split, metres, own))
            pictures.append(p.astype(np.float32))
    window = (0.0, float(max(p.max() for p in pictures)))
    for frame, p in zip(frames, pictures, strict=True):
        (folder / frame.split).mkdir(exist_ok=True)
        grey = np.round(255.0 * np.clip(p / window[1], 0.0, 1.0)).astype(np.uint8)
        write_png(folder / frame.file_path, np.repeat(grey[..., None], 3, axis=-1))
        write_exr(folder / frame.passes["line_integral_file_path"], {"V": p})
    facts = XrayFacts(window, volume="volume.nii.gz", scaling="per_view" if per_view else "physical")
    bounds = np.stack([low, high]) * TO_METRES
    write_transforms(folder, frames, DatasetFacts(bounds, "srgb", False, xray=facts))
    return volume.mu() * np.float32(100.0)  # per cm to per metre
