"""What was rendered last as float arrays: its layers, by way of a multilayer EXR, with no compositor."""

import tempfile
from pathlib import Path

import bpy
import numpy as np
from mathutils import Color

from .. import compat
from ..importers.decode import read_exr
from ..vendor.nerf_core.contract.errors import NerfError


def choose_passes(layer: bpy.types.ViewLayer, wanted: tuple[str, ...]) -> None:
    """Have a view layer make the passes `use_pass_NAME` for the wanted names, and no other."""
    for name in (item.identifier for item in layer.bl_rna.properties if item.identifier.startswith("use_pass_")):
        setattr(layer, name, name.removeprefix("use_pass_") in wanted)


def read(scene: bpy.types.Scene) -> dict[str, np.ndarray]:
    """The channels of what was rendered last, such as ``ViewLayer.Position.X``; changes the scene's image settings.

    Returns
    -------
    dict of str to (H, W) float32 array
        Scene-linear in the file's working space, alpha premultiplied; the first row is the picture's top.

    Raises
    ------
    NerfError
        When nothing was rendered or Blender cannot write to its own temporary folder.
    """
    result = render_result()
    compat.choose_multilayer(scene.render.image_settings)
    with tempfile.TemporaryDirectory(dir=bpy.app.tempdir or None, prefix="nerf-") as folder:
        path = Path(folder) / "layers.exr"
        try:
            result.save_render(str(path), scene=scene)
            return read_exr(path)
        except RuntimeError as error:
            raise NerfError(
                f"Blender could not write to its temporary folder '{folder}': {str(error).strip()}; free some space "
                "there or set another one in the preferences."
            ) from error


def render_result() -> bpy.types.Image:
    """The image that holds what was rendered last; a NerfError where there is none."""
    result = next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)
    if result is None:
        raise NerfError("Blender rendered no picture; check the render engine.")
    return result


def pick(channels: dict[str, np.ndarray], name: str, keys: str) -> np.ndarray:
    """(H, W, len(keys)) of one pass, such as "Position" with "XYZ"; a NerfError where it was not rendered."""
    found = []
    for key in keys:
        ending = tuple(f".{spelling}.{key}" for spelling in compat.pass_spellings(name))
        match = [channel for channel in channels if channel.endswith(ending)]
        if not match:
            raise NerfError(f"The render engine gave no pass '{name}'; choose another engine or switch the pass off.")
        found.append(channels[match[0]])
    return np.stack(found, axis=-1)


def linear_rec709(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) premultiplied colour from the .blend file's working space to linear Rec.709; alpha stays."""
    axes = [Color(axis).from_scene_linear_to_rec709_linear() for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    matrix = np.array([tuple(axis) for axis in axes], dtype=np.float32)
    if np.abs(matrix - np.eye(3)).max() < 1e-5:
        return rgba
    return np.concatenate([rgba[..., :3] @ matrix, rgba[..., 3:]], axis=-1)
