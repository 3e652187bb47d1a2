"""One picture of a capture: output and quality settings, rendering, and a file that is whole or not there."""

import struct
from pathlib import Path

import bpy

from .. import compat
from ..importers import decode, encode
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import write_beside, write_bytes
from . import layers

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"


def choose_output(scene: bpy.types.Scene, transparent: bool) -> None:
    """Set what a scene renders and saves: a single sharp view, nothing laid over it, display-referred sRGB in 8 bits.

    Neither the scene's look nor its compositor and sequencer change the pictures. Call it inside a `SceneGuard`.
    """
    render_settings = scene.render
    render_settings.film_transparent = transparent
    render_settings.use_compositing = render_settings.use_sequencer = False
    render_settings.use_multiview = False
    render_settings.use_motion_blur = False
    render_settings.dither_intensity = 0.0
    for name in (item.identifier for item in render_settings.bl_rna.properties):
        if name.startswith("use_stamp"):  # no burnt-in text, and no paths or dates inside the pictures
            setattr(render_settings, name, False)
    _choose_colours(scene, alpha=transparent)


def choose_quality(scene: bpy.types.Scene, samples: int, denoise: bool) -> None:
    """Set samples a pixel (0 leaves the scene's own) and denoising, for engines that have them."""
    if scene.render.engine == "CYCLES" and hasattr(scene, "cycles"):
        # A build without a denoiser fails to render when asked for one.
        scene.cycles.use_denoising = denoise and compat.can_denoise()
        if samples:
            scene.cycles.samples = samples
    elif scene.render.engine == compat.eevee_engine() and samples:
        scene.eevee.taa_render_samples = samples


def take(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, path: Path, camera: Camera) -> None:
    """Render a view and write it whole: an 8-bit sRGB PNG, or a scene-linear EXR where the path ends so.

    Call it inside a `SceneGuard`.

    Raises
    ------
    NerfError
        When rendering fails or the file cannot be written.
    """
    is_exr = path.suffix == ".exr"
    if is_exr:
        layer.use_pass_combined = True
    render(scene)
    if is_exr:
        write_bytes(path, _linear(scene, camera))
    else:
        write_beside(path, lambda beside: save(scene, beside, camera))


def render(scene: bpy.types.Scene) -> None:
    """Render the scene as it is set; Blender waits meanwhile.

    Raises
    ------
    NerfError
        When Blender reports an error or breaks off.
    """
    try:
        result = bpy.ops.render.render("EXEC_DEFAULT", scene=scene.name)
    except RuntimeError as error:
        raise NerfError(f"Blender could not render a view: {str(error).strip().removeprefix('Error: ')}") from error
    if result != {"FINISHED"}:
        raise NerfError("Blender stopped rendering before a view was finished; start the capture again to go on.")


def save(scene: bpy.types.Scene, path: Path, camera: Camera) -> None:
    """Save what was rendered last, and look whether it is a whole picture of the camera's size.

    Raises
    ------
    OSError
        When the file cannot be written (disk full, no permission).
    NerfError
        When there is no such picture.
    """
    result = layers.render_result()
    try:
        result.save_render(str(path), scene=scene)
    except RuntimeError as error:
        _probe(path)
        raise NerfError(f"Blender could not save the picture '{path}': {str(error).strip()}") from error
    if not is_whole(path, camera):
        _probe(path)
        raise _no_picture(scene, camera)


def is_whole(path: Path, camera: Camera) -> bool:
    """Whether a PNG or EXR of the camera's size lies at `path`, from its first to its last bytes."""
    if path.suffix == ".exr":
        return decode.is_whole(path, camera.width, camera.height)
    try:
        with open(path, "rb") as stream:
            head = stream.read(24)
            stream.seek(-len(_PNG_END), 2)
            tail = stream.read()
    except OSError:
        return False
    if len(head) < 24 or not head.startswith(_PNG_START) or tail != _PNG_END:
        return False
    return struct.unpack(">II", head[16:24]) == (camera.width, camera.height)


def _linear(scene: bpy.types.Scene, camera: Camera) -> bytes:
    """What was rendered last as an EXR file: linear Rec.709, premultiplied; no alpha where nothing is transparent."""
    transparent = scene.render.film_transparent
    rgba = layers.pick(layers.read(scene), "Combined", "RGBA")
    if rgba.shape[:2] != (camera.height, camera.width):
        raise _no_picture(scene, camera)
    rgba = layers.linear_rec709(rgba)
    return encode.exr_channels({name: rgba[..., i] for i, name in enumerate("RGBA" if transparent else "RGB")})


def _no_picture(scene: bpy.types.Scene, camera: Camera) -> NerfError:
    return NerfError(
        f"The render engine '{scene.render.engine}' gave no whole picture of {camera.width}x{camera.height} pixels; "
        "check that it renders this scene."
    )


def _choose_colours(scene: bpy.types.Scene, alpha: bool) -> None:
    """Display-referred sRGB in 8 bits, whatever the scene's own look is."""
    image = scene.render.image_settings
    compat.choose_png(image)
    image.color_mode = "RGBA" if alpha else "RGB"
    image.color_depth = "8"
    image.compression = 15
    # The pictures follow the scene or settings of their own: switching over would copy curves that cannot be removed
    # again, so whichever is in use is set.
    owner = image if image.color_management == "OVERRIDE" else scene
    view = owner.view_settings
    try:
        owner.display_settings.display_device = "sRGB"
        view.view_transform = "Standard"
    except TypeError as error:
        raise NerfError(
            "This Blender's colour configuration has no display 'sRGB' with a view 'Standard'; capture with the "
            "configuration that Blender ships."
        ) from error
    view.look = "None"
    view.exposure, view.gamma = 0.0, 1.0
    view.use_curve_mapping = False
    if hasattr(view, "use_white_balance"):
        view.use_white_balance = False


def _probe(path: Path) -> None:
    """Blender does not say why a file could not be written: writing one ourselves raises the system's own reason."""
    with open(path, "wb") as stream:
        stream.write(bytes(1 << 20))
