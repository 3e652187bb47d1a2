"""What a person chooses about training, rendering, points and inspection; kept in the .blend."""

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    IntVectorProperty,
    PointerProperty,
    StringProperty,
)

from .. import compat
from .training_sampler import SAMPLERS

DEVICES = (
    ("AUTO", "Automatic", "The fastest device that the core finds"),
    ("CPU", "CPU", "The processor"),
    ("CUDA", "CUDA", "An NVIDIA graphics card"),
    ("MPS", "Metal", "Apple's graphics processor"),
)

ORIENTATIONS = (
    ("AUTO", "Automatic", "COLMAP: the cameras' mean up direction becomes Z; transforms.json: as it is"),
    ("UP", "Cameras Upright", "Turn the scene so that the cameras' mean up direction becomes Z"),
    ("NONE", "As It Is", "Leave the data set's axes"),
)
SCALES = (
    ("KEEP", "As It Is", "Leave the data set's place and units"),
    ("NORMALISE", "Normalised", "Move the cameras' mean to the origin, their farthest coordinate to 1"),
)


class NERF_PG_training(bpy.types.PropertyGroup):
    """How to train."""

    method: EnumProperty(
        name="Method",
        items=(
            ("FAST", "Fast", "Hash grid and small networks: good within a minute"),
            ("CLASSIC", "Classic", "The NeRF of 2020 as published: slow, to understand and compare"),
            ("XRAY", "X-Ray", "An attenuation field, from radiographs"),
        ),
        default="FAST",
    )
    sampler: EnumProperty(name="Sampler", description="What places the samples in training", items=SAMPLERS)
    samples: IntProperty(
        name="Samples",
        description="A ray; hierarchical: the fine ones. 0 is the sampler's own choice",
        default=0,
        min=0,
        max=4096,
        soft_max=256,
    )
    opacity: EnumProperty(
        name="Density",
        description="How density goes on between samples",
        items=(
            ("CONSTANT", "Constant", "It stays as it is at a sample up to the next one, as in the paper of 2020"),
            ("LINEAR", "Linear", "It goes over into the next sample's (PL-NeRF, 2023)"),
        ),
    )
    cdf: EnumProperty(
        name="Weights",
        description="What weights do between coarse samples, when fine ones are drawn from them",
        items=(
            ("CONSTANT", "Constant", "Each counts for its own stretch, as in the paper of 2020"),
            (
                "EXPONENTIAL",
                "Exponential",
                "They rise and fall exponentially, so that samples gather (L0-Sampler, 2024)",
            ),
        ),
    )
    budget: EnumProperty(
        name="Train For",
        items=(("SECONDS", "Seconds", "Train for a time"), ("STEPS", "Steps", "Train for a number of steps")),
        default="SECONDS",
    )
    seconds: FloatProperty(
        name="Seconds", description="Training time", default=60.0, min=1.0, soft_max=3600.0, subtype="TIME_ABSOLUTE"
    )
    steps: IntProperty(name="Steps", description="Training steps", default=2000, min=1, soft_max=100_000)
    device: EnumProperty(
        name="Device",
        items=(("PREFERENCES", "As in Preferences", "The device chosen in the add-on's preferences"), *DEVICES),
        default="PREFERENCES",
    )
    seed: IntProperty(name="Seed", description="Same seed, same start", default=0, min=0)
    data: StringProperty(
        name="Data Set",
        description="A folder with transforms.json to train on; empty: the views captured into the run folder",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    add_object: BoolProperty(
        name="Add NeRF to Scene",
        description="When a training ends well, add its NeRF to the scene as an object, if there is none of that run",
        default=True,
    )
    orientation: EnumProperty(name="Up", description="Which way is up in the data set", items=ORIENTATIONS)
    scale: EnumProperty(name="Scale", description="How large the data set is", items=SCALES)
    preview: BoolProperty(
        name="Live Preview", description="Show the active camera's view in the image 'NeRF Preview'", default=True
    )
    preview_size: IntProperty(
        name="Size", description="Longer side of the preview, in pixels", default=320, min=16, max=2048
    )
    preview_seconds: FloatProperty(
        name="Every", description="Time between previews", default=4.0, min=0.5, max=600.0, subtype="TIME_ABSOLUTE"
    )


class NERF_PG_render(bpy.types.PropertyGroup):
    """Which views to render."""

    views: EnumProperty(
        name="Views",
        items=(
            ("ACTIVE", "Active Camera", "The scene's camera at the current frame"),
            ("ALL", "All Cameras", "Every camera of the scene at the current frame"),
            ("FRAMES", "Frame Range", "The scene's camera at every frame of the scene's range"),
        ),
        default="ACTIVE",
    )
    percentage: IntProperty(
        name="Scale", description="Of the scene's resolution", default=100, min=1, max=400, subtype="PERCENTAGE"
    )


class NERF_PG_points(bpy.types.PropertyGroup):
    """Which density points to import."""

    count: IntProperty(
        name="Count",
        description="Number of points. More than 100,000 make Blender pause as they arrive; more than 200,000 are "
        "drawn as plain points, whose colours Material Preview and renders show, but Solid mode does not",
        default=100_000,
        min=1,
        max=20_000_000,
        soft_max=500_000,
    )
    automatic: BoolProperty(name="Automatic Threshold", description="Let the core choose the density", default=True)
    threshold: FloatProperty(
        name="Threshold",
        description="Smallest density, per scene unit",
        default=10.0,
        min=0.0,
        soft_max=1000.0,
    )
    size: FloatProperty(
        name="Point Size",
        description="Radius of the points; 0 chooses one that closes the surface",
        default=0.0,
        min=0.0,
        soft_max=1.0,
        subtype="DISTANCE",
    )
    object: PointerProperty(type=bpy.types.Object, name="Points", description="The object of the last import")


class NERF_PG_inspect(bpy.types.PropertyGroup):
    """Which rays to take apart."""

    pixels: EnumProperty(
        name="Pixels",
        items=(("GRID", "Grid", "A grid of pixels over the picture"), ("PIXEL", "One Pixel", "A chosen pixel")),
        default="GRID",
    )
    grid: IntVectorProperty(name="Grid", description="Columns and rows", size=2, default=(8, 8), min=1, max=512)
    pixel: IntVectorProperty(
        name="Pixel",
        description="Column and row from the picture's top left corner, counted from 0",
        size=2,
        default=(0, 0),
        min=0,
    )
    use_center: BoolProperty(name="Centre", description="Take the pixel in the middle of the picture", default=True)
    show_rays: BoolProperty(name="Rays", description="Add each ray as an edge", default=True)
    size: FloatProperty(
        name="Point Size",
        description="Radius of the samples; 0 chooses one",
        default=0.0,
        min=0.0,
        soft_max=1.0,
        subtype="DISTANCE",
    )
    object: PointerProperty(type=bpy.types.Object, name="Samples", description="The object of the last inspection")
    rays: PointerProperty(type=bpy.types.Object, name="Rays", description="The rays of the last inspection")


CLASSES = (NERF_PG_training, NERF_PG_render, NERF_PG_points, NERF_PG_inspect)
