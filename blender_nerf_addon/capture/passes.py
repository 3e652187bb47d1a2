"""Passes beside a view's picture: depth, normal, mask and object index, exact at the pixels' centres.

Whatever engine takes the pictures, Cycles finds the geometry: one sample in the middle of each pixel gives place,
normal and object with no smoothing across edges. EEVEE's and Workbench's own passes are smoothed, planar, or not there
at all. The mask is a render of its own, smoothed like a picture.

They are rendered in a copy of the scene that shares its objects: switching engine or passes in the person's own would
rearrange the sockets of the compositor's Render Layers nodes and make links invalid.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

import bpy
import numpy as np

from .. import compat
from ..importers import encode
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import make_folder, write_bytes
from ..vendor.nerf_core.contract.run_folder import RunFolder
from ..vendor.nerf_core.contract.transforms import PASS_KEYS
from . import layers, picture
from .bounds import GEOMETRY
from .depths import centre_distances
from .plan import CapturePlan
from .scene_guard import SceneGuard

KINDS = ("depth", "normal", "mask", "index")  # of `PASS_KEYS`; line integrals are the X-ray mode's
MASK_SAMPLES = 16
NOTHING = 1e9  # Blender's Z pass holds 1e10 where there is no surface


def file_path(kind: str, picture_path: str) -> str:
    """Where the pass of a picture lies: ``depth/train/0001.exr`` for ``train/0001.png``."""
    suffix = ".png" if kind == "mask" else ".exr"
    return f"{kind}/{PurePosixPath(picture_path).with_suffix(suffix)}"


def frame_keys(kinds: Iterable[str], picture_path: str) -> dict[str, str]:
    """What a frame of `transforms.json` says about its passes."""
    return {PASS_KEYS[kind]: file_path(kind, picture_path) for kind in kinds}


def check(scene: bpy.types.Scene, kinds: Iterable[str]) -> None:
    """Say before a capture that its passes cannot be made.

    Raises
    ------
    NerfError
        When Cycles is not there.
    """
    if tuple(kinds) and not hasattr(scene, "cycles"):
        raise NerfError(
            "Depth, normal, mask and object index are made by Cycles, which is switched off: enable the add-on "
            "'Cycles Render Engine', or capture without these passes."
        )


def are_whole(run: RunFolder, kinds: Iterable[str], picture_path: str, camera: Camera) -> bool:
    """Whether all passes of a picture lie there, whole and of the camera's size."""
    for kind in kinds:
        path = run.dataset / file_path(kind, picture_path)
        if not picture.is_whole(path, camera):
            return False
    return True


def take(
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    guard: SceneGuard,
    run: RunFolder,
    plan: CapturePlan,
    picture_path: str,
    camera: Camera,
) -> None:
    """Render and write the passes of one view; the scene's camera and size are set already.

    Parameters
    ----------
    scene, layer, guard
        Inside `guard`, which restores what is changed here.
    run : RunFolder
    plan : CapturePlan
        Says which passes, the objects' numbers, and what the mask shows.
    picture_path : str
        The view's picture, relative to the data set.
    camera : Camera

    Raises
    ------
    NerfError
        When rendering fails or a file cannot be written.
    """
    own = scene.copy()
    try:
        _choose_cycles(own)
        own_layer = own.view_layers[layer.name]
        geometry = [kind for kind in plan.passes if kind != "mask"]
        if geometry:
            for kind, data in _geometry(own, own_layer, guard, geometry, camera, plan.object_index).items():
                _write(run, kind, picture_path, encode.exr_channels(data))
        if "mask" in plan.passes:
            subject = None if plan.subject is None else set(plan.subject)
            _write(run, "mask", picture_path, encode.png_grey(_mask(own, own_layer, guard, subject)))
    finally:
        bpy.data.scenes.remove(own)


def _choose_cycles(scene: bpy.types.Scene) -> None:
    """Rays to the first surface and no farther; nothing drawn over them."""
    was_cycles = scene.render.engine == "CYCLES"
    scene.render.use_persistent_data = False  # it would outlive the scene
    scene.render.engine = "CYCLES"
    scene.render.film_transparent = True
    scene.render.use_freestyle = False
    settings = scene.cycles
    if not was_cycles:
        settings.device = "CPU"  # the person has not asked for a GPU, whose kernels may take minutes to load
    settings.use_denoising = settings.use_adaptive_sampling = False
    settings.use_layer_samples = "IGNORE"
    settings.max_bounces = 0


def _geometry(
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    guard: SceneGuard,
    kinds: list[str],
    camera: Camera,
    object_index: dict[str, int],
) -> dict[str, dict[str, np.ndarray]]:
    """The channels of each kind's file, from one render."""
    scene.cycles.samples = 1
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = 0.01  # Blender's least
    compat.sample_pixel_centres(scene.cycles)
    if "index" in kinds:
        for item in bpy.data.objects:
            if item.name_full in object_index:
                guard.set(item, "pass_index", object_index[item.name_full])
    layers.choose_passes(layer, ("combined", "z", "position", "normal", "object_index"))
    picture.render(scene)
    channels = layers.read(scene)
    z = layers.pick(channels, "Depth", "Z")[..., 0]
    if z.shape != (camera.height, camera.width):
        raise NerfError(f"Cycles gave a picture of another size than {camera.width}x{camera.height}; capture again.")
    hit = (z > 0) & (z < NOTHING)
    normal = layers.pick(channels, "Normal", "XYZ")
    made: dict[str, dict[str, np.ndarray]] = {}
    if "depth" in kinds:
        made["depth"] = {"V": centre_distances(camera, layers.pick(channels, "Position", "XYZ"), normal, hit)}
    if "normal" in kinds:
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        unit = np.divide(normal, length, out=np.zeros_like(normal), where=(length > 1e-6) & hit[..., None])
        made["normal"] = {key: unit[..., i] for i, key in enumerate("XYZ")}
    if "index" in kinds:
        made["index"] = {"V": np.where(hit, np.round(layers.pick(channels, "Object Index", "X")[..., 0]), 0.0)}
    return made


def _mask(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, guard: SceneGuard, subject: set[str] | None
) -> np.ndarray:
    """(H, W) uint8: how much of each pixel the subject covers, without what stands before it."""
    scene.cycles.samples = MASK_SAMPLES
    scene.cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    scene.cycles.filter_width = 1.5
    if subject is not None:
        for item in layer.objects:
            if item.name_full not in subject and (item.type in GEOMETRY or item.is_instancer):
                guard.set(item, "is_holdout", True)
    layers.choose_passes(layer, ("combined",))
    picture.render(scene)
    alpha = layers.pick(layers.read(scene), "Combined", "A")[..., 0]
    return (np.clip(alpha, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _write(run: RunFolder, kind: str, picture_path: str, data: bytes) -> None:
    path = run.dataset / file_path(kind, picture_path)
    make_folder(path.parent)
    write_bytes(path, data)
