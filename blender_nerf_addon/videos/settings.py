"""What a person chooses about turntables and animations; kept in the .blend."""

import math

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty


class NERF_PG_video(bpy.types.PropertyGroup):
    """How turntables and animations are rendered."""

    format: EnumProperty(
        name="Format",
        items=(
            ("MP4", "MP4", "A video (H.264) over a background colour"),
            ("PNG", "PNG", "A folder of numbered pictures with a transparent background"),
            ("BOTH", "Both", "A video and, in a folder, its pictures with a transparent background"),
        ),
        default="MP4",
    )
    background: FloatVectorProperty(
        name="Background",
        description="Colour behind the NeRF in the video; PNG pictures are transparent",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=(1.0, 1.0, 1.0),
    )
    samples: IntProperty(
        name="Samples",
        description="Rays a pixel: more make smoother edges, and take that many times as long",
        default=1,
        min=1,
        max=256,
        soft_max=16,
    )
    frames: IntProperty(
        name="Frames", description="Of one turn; the last leads to the first again", default=120, min=2, max=10_000
    )
    fps: FloatProperty(
        name="Frame Rate", description="Frames a second of the turntable", default=24.0, min=1.0, max=240.0
    )
    placed: EnumProperty(
        name="Distance",
        items=(
            ("FIT", "Fit Box", "As near as the whole box stays in the picture"),
            ("CAMERA", "Active Camera", "The distance, height, starting point and lens of the scene's camera as it is"),
            ("FIXED", "Fixed", "A distance of your choice"),
        ),
        default="FIT",
    )
    radius: FloatProperty(
        name="Radius",
        description="Distance of the cameras from the box's centre",
        default=6.0,
        min=1e-3,
        soft_max=100.0,
        subtype="DISTANCE",
    )
    elevation: FloatProperty(
        name="Elevation",
        description="Height of the cameras above the horizon, as an angle",
        default=math.radians(20.0),
        min=math.radians(-89.0),
        max=math.radians(89.0),
        subtype="ANGLE",
    )
    focal_length: FloatProperty(
        name="Focal Length", default=50.0, min=1.0, soft_max=300.0, subtype="DISTANCE_CAMERA", unit="CAMERA"
    )
    clockwise: BoolProperty(name="Clockwise", description="Which way the camera goes, seen from above", default=False)
    width: IntProperty(name="Width", description="In pixels", default=640, min=2, max=8192, subtype="PIXEL")
    height: IntProperty(name="Height", description="In pixels", default=640, min=2, max=8192, subtype="PIXEL")
    percentage: IntProperty(
        name="Scale",
        description="Of the scene's resolution, for the animation",
        default=100,
        min=1,
        max=400,
        subtype="PERCENTAGE",
    )
    last: StringProperty(
        name="Result", description="The video, or the folder of pictures, that was rendered last", subtype="FILE_PATH"
    )


CLASSES = (NERF_PG_video,)
