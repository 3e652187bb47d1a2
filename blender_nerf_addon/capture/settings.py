"""What a person sets for a capture: the property group `scene.nerf.capture`."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .. import compat
from .rig_settings import RigSettings

SUBJECTS = (
    ("SCENE", "Visible Scene", "Everything that is rendered"),
    ("SELECTED", "Selected Objects", "The selected objects, and what lies below selected empties"),
)
FORMATS = (
    ("PNG", "PNG", "8 bits, sRGB as it looks on the screen with the view Standard, straight alpha"),
    ("EXR", "OpenEXR", "32-bit floats, scene-linear Rec.709, premultiplied alpha: bright lights keep their value"),
)

LAYOUTS = (
    ("INSTANT_NGP", "instant-ngp", "transforms.json with its box around the subject; held-out views in a folder apart"),
    (
        "NERFSTUDIO",
        "nerfstudio",
        "transforms.json with splits, depth along the viewing axis, and points where depth is",
    ),
    (
        "GAUSSIAN",
        "3D Gaussian Splatting",
        "COLMAP text files and points3d.ply made of the depth, which is captured too",
    ),
    ("SYNTHETIC", "NeRF-synthetic", "transforms_train.json and its kin, as NeRF's own synthetic scenes have them"),
)


class NERF_PG_object(bpy.types.PropertyGroup):
    """A pointer to an object, for lists of them."""

    object: PointerProperty(type=bpy.types.Object)


class NERF_PG_capture(RigSettings, bpy.types.PropertyGroup):
    """All settings of a capture."""

    subject: EnumProperty(name="Subject", description="What is captured", items=SUBJECTS, default="SCENE")
    isolate: BoolProperty(
        name="Hide Others",
        description="Hide all other objects from the captured pictures; lights stay",
        default=True,
    )
    bounds_object: PointerProperty(
        name="Bounds",
        description="The box around the subject: move and scale it to change what is trained. "
        "Without one the bounds are found from the subject's geometry",
        type=bpy.types.Object,
        poll=lambda self, item: item.type == "EMPTY",
    )
    bounds_subject: CollectionProperty(
        type=NERF_PG_object, description="The objects that the bounds were made for; they stay the subject while "
        "the box itself is selected",
    )  # fmt: skip
    train_count: IntProperty(
        name="Train", description="Number of pictures to train on", default=60, min=1, soft_max=500, max=100000
    )
    val_count: IntProperty(
        name="Validation",
        description="Number of held-out pictures that show progress during training",
        default=6,
        min=0,
        soft_max=100,
        max=100000,
    )
    test_count: IntProperty(
        name="Test",
        description="Number of held-out pictures for judging the result; training never sees them",
        default=4,
        min=0,
        soft_max=100,
        max=100000,
    )
    use_auto_radius: BoolProperty(
        name="Fit Distance",
        description="Choose the cameras' distance so that the subject fills the picture",
        default=True,
    )
    radius: FloatProperty(
        name="Distance",
        description="Distance of the cameras from the centre of the bounds",
        default=5.0,
        min=1e-4,
        soft_max=1000.0,
        subtype="DISTANCE",
        unit="LENGTH",
    )
    focal_length: FloatProperty(
        name="Focal Length",
        description="Lens of the rig's cameras, on a sensor 36 mm along the picture's longer side",
        default=50.0,
        min=1.0,
        soft_min=10.0,
        soft_max=200.0,
        max=5000.0,
        subtype="DISTANCE_CAMERA",
        unit="CAMERA",
    )
    resolution_x: IntProperty(
        name="Width", description="Width of the pictures", default=400, min=4, soft_max=2048, max=65536,
        subtype="PIXEL",
    )  # fmt: skip
    resolution_y: IntProperty(
        name="Height", description="Height of the pictures", default=400, min=4, soft_max=2048, max=65536,
        subtype="PIXEL",
    )  # fmt: skip
    use_scene_size: BoolProperty(
        name="Scene's Output Size",
        description="Take size, percentage, pixel aspect and cropped border from the scene's output settings",
        default=False,
    )
    use_transparent: BoolProperty(
        name="Transparent Background",
        description="Store what is behind the subject as transparency, so that only the subject is trained. "
        "When off, surroundings and sky are trained too, which takes longer",
        default=True,
    )
    samples: IntProperty(
        name="Samples",
        description="Render samples a pixel, for Cycles and EEVEE; 0 takes the scene's own. "
        "Noise in the pictures limits how good the training can get",
        default=64,
        min=0,
        soft_max=4096,
        max=1 << 20,
    )
    use_denoise: BoolProperty(name="Denoise", description="Denoise the pictures (Cycles)", default=True)
    picture_format: EnumProperty(name="Format", description="How the pictures are stored", items=FORMATS, default="PNG")
    use_depth: BoolProperty(
        name="Depth",
        description="Write each pixel's distance to the first surface, along its own ray, in scene units (float EXR)",
    )
    use_normal: BoolProperty(
        name="Normal", description="Write the surface's normal at each pixel, world space (float EXR)"
    )
    use_mask: BoolProperty(name="Mask", description="Write how much of each pixel the subject covers (grey PNG)")
    use_index: BoolProperty(
        name="Object Index",
        description="Write each pixel's object as its pass index (float EXR). While no object has one, they are "
        "numbered by name from 1; the data set lists them",
    )
    layouts: EnumProperty(
        name="Layouts",
        description="Programs for which the data set is written once more as they want it, after the capture. "
        "Shift-click chooses several",
        items=LAYOUTS,
        options={"ENUM_FLAG"},
    )
    use_zip: BoolProperty(
        name="Zip File", description="Make a zip file of each layout; without a layout, of the data set as it is"
    )
    folder: StringProperty(
        name="Folder",
        description="Where runs are kept. Empty: the folder of the preferences, or 'nerf' beside the .blend file, "
        "or 'NeRF Toolkit' in your home folder while the file is not saved",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    name: StringProperty(
        name="Name",
        description="Name of the run's folder. Empty: the .blend file's name. "
        "A folder that exists already is never overwritten: a number is appended",
    )
    last_run: StringProperty(
        name="Last Run",
        description="The run folder of the last capture",
        subtype="DIR_PATH",
        options={"HIDDEN"} | compat.path_options(),
    )
    preview_collection: PointerProperty(
        name="Preview",
        description="The collection that shows the cameras before the capture",
        type=bpy.types.Collection,
    )


CLASSES = (NERF_PG_object, NERF_PG_capture)
