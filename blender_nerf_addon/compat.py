"""Every question about the Blender version, and no such question elsewhere (4.2 to 5.2)."""

from collections.abc import Iterator
from typing import Any

import bpy


def eevee_engine() -> str:
    """The render engine id of EEVEE in this Blender."""
    return "BLENDER_EEVEE" if bpy.app.version >= (5, 0, 0) else "BLENDER_EEVEE_NEXT"


def panorama(camera: bpy.types.Camera) -> Any:
    """Where a camera's panorama settings lie: `panorama_type`, `longitude_min` and their kin."""
    return camera if hasattr(camera, "panorama_type") else camera.cycles


def choose_png(image_settings: bpy.types.ImageFormatSettings) -> None:
    """Set the file format to PNG; from 5.0 on the media type comes first."""
    if hasattr(image_settings, "media_type") and image_settings.media_type != "IMAGE":
        image_settings.media_type = "IMAGE"
    if image_settings.file_format != "PNG":  # setting it, even to what it is, fills in an untouched colour space
        image_settings.file_format = "PNG"


def choose_multilayer(image_settings: bpy.types.ImageFormatSettings) -> None:
    """Set the file format to an uncompressed multilayer EXR of 32-bit floats, all in one part."""
    if hasattr(image_settings, "media_type"):
        image_settings.media_type = "MULTI_LAYER_IMAGE"
    image_settings.file_format = "OPEN_EXR_MULTILAYER"
    image_settings.color_depth = "32"
    image_settings.exr_codec = "NONE"
    if hasattr(image_settings, "use_exr_interleave"):  # from 5.0 on each layer would be a part of its own
        image_settings.use_exr_interleave = True


def pass_spellings(name: str) -> tuple[str, ...]:
    """What a render pass is called in a multilayer EXR; the object index was renamed in 5.0."""
    return ("Object Index", "IndexOB") if name == "Object Index" else (name,)


def sample_pixel_centres(settings: Any) -> None:
    """Have Cycles sample nowhere but in the middle of the pixels, where it can (5.1 and later)."""
    if hasattr(settings, "use_pixel_jitter"):
        settings.use_pixel_jitter = False


def action_curves(animation: bpy.types.AnimData) -> Iterator[bpy.types.FCurve]:
    """The f-curves that drive a datablock: the action's own (to 4.3), or those of its slot (from 4.4)."""
    action = animation.action
    if action is None:
        return
    slot = getattr(animation, "action_slot", None)
    if not hasattr(action, "layers"):
        yield from action.fcurves
        return
    for layer in action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(slot) if slot is not None and hasattr(strip, "channelbag") else None
            if bag is not None:
                yield from bag.fcurves


def path_options() -> set[str]:
    """Options of a path property that may start with `//`; since 4.5 Blender warns about such paths without them."""
    return {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


def can_denoise() -> bool:
    """Whether this build's Cycles has a denoiser that runs on the processor; Debian's Blender, for one, has none."""
    try:
        import _cycles
    except ImportError:
        return False
    return bool(getattr(_cycles, "with_openimagedenoise", True))


def reads_volumes() -> bool:
    """Whether this build reads OpenVDB files; all of Blender's own from 4.2 on do, some distributions' do not."""
    return bool(bpy.app.build_options.openvdb)


def set_linear(image: bpy.types.Image) -> None:
    """Say that an image's file holds scene-linear values; from 5.0 on an EXR without a mark is taken for sRGB."""
    for name in ("Linear Rec.709", "Linear", "scene_linear"):
        try:
            image.colorspace_settings.name = name
        except TypeError:  # a colour configuration of the person's own names it otherwise
            continue
        return


def use_nodes(material: bpy.types.Material) -> None:
    """Give a material its node tree; from 5.0 on every material has one, and asking for it warns."""
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True


def uses_nodes(item: bpy.types.World | bpy.types.Material) -> bool:
    """Whether a world or a material is what its nodes say; from 5.0 on each is, and asking it warns."""
    return bpy.app.version >= (5, 0, 0) or item.use_nodes


def declare_depth_write(info: Any) -> None:
    """Say that a shader writes its fragments' depth; before that could be said it was simply done."""
    if hasattr(info, "depth_write"):
        info.depth_write("ANY")


def ensure_curve(item: bpy.types.ID, path: str, index: int, mark: str, kind: str) -> bpy.types.FCurve:
    """The f-curve of a property, made where there is none; a new action gets ``action[mark] = kind``.

    From 4.4 on an action has slots, one a datablock, and from 5.0 on its curves are reached by them alone.
    """
    animation = item.animation_data or item.animation_data_create()
    if animation.action is None:
        action = bpy.data.actions.new(item.name)
        action[mark] = kind
        animation.action = action
    action = animation.action
    if hasattr(action, "fcurve_ensure_for_datablock"):
        return action.fcurve_ensure_for_datablock(item, path, index=index)
    return action.fcurves.find(path, index=index) or action.fcurves.new(path, index=index)
