"""What a person sets for the rigs that need more than counts and a distance; part of `scene.nerf.capture`."""

import math

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty

RIGS = (
    ("SPHERE", "Sphere", "Cameras spread evenly over a sphere around the subject (Fibonacci)"),
    ("HEMISPHERE", "Upper Hemisphere", "Cameras spread evenly over the upper half of a sphere, for things on a floor"),
    ("ORBIT", "Turntable", "Cameras on one circle around the vertical axis"),
    ("SPIRAL", "Spiral", "Cameras along a spiral around the vertical axis"),
    ("RANDOM", "Random", "Cameras by chance, the same for the same seed, at distances that may vary"),
    ("GRID", "Grid", "Cameras in a flat square grid that faces the subject: forward-facing pictures"),
    ("CURVE", "Along a Curve", "Cameras evenly spaced along a curve object"),
    ("INTERIOR", "Interior", "Cameras inside the bounds that look outward in all directions, for rooms"),
    ("CAMERAS", "Scene Cameras", "The cameras that the scene holds, with their own lenses"),
    ("ANIMATION", "Camera Animation", "The active camera along its animation, every Nth frame"),
)
AIMS = (
    ("SUBJECT", "The Subject", "All cameras look at the middle of the bounds"),
    ("FORWARD", "Forward", "Cameras look along the curve, or all the same way from a grid"),
)
SHAPES = (
    ("BOX", "Box", "Cameras are spread over a box in the middle of the bounds"),
    ("SPHERE", "Ellipsoid", "Cameras are spread over an ellipsoid in the middle of the bounds"),
)


class RigSettings:
    """Mixed into the capture's property group."""

    rig: EnumProperty(name="Cameras", description="Where the pictures are taken from", items=RIGS, default="SPHERE")
    elevation: FloatProperty(
        name="Elevation",
        description="Height of the turntable's cameras, or of the grid's middle, above the horizon",
        default=math.radians(25.0),
        min=math.radians(-89.0),
        max=math.radians(89.0),
        subtype="ANGLE",
    )
    elevation_start: FloatProperty(
        name="Elevation Start",
        description="Height of the spiral's first camera above the horizon",
        default=math.radians(-20.0),
        min=math.radians(-89.0),
        max=math.radians(89.0),
        subtype="ANGLE",
    )
    elevation_end: FloatProperty(
        name="End",
        description="Height of the spiral's last camera above the horizon",
        default=math.radians(75.0),
        min=math.radians(-89.0),
        max=math.radians(89.0),
        subtype="ANGLE",
    )
    turns: FloatProperty(
        name="Turns", description="How often the spiral goes round; negative goes clockwise", default=4.0,
        soft_min=0.5, soft_max=20.0, min=-1000.0, max=1000.0,
    )  # fmt: skip
    seed: IntProperty(name="Seed", description="Another number places the cameras otherwise", default=0, min=0)
    use_upper_half: BoolProperty(
        name="Upper Half", description="Place cameras above the horizon only, for things on a floor"
    )
    distance_spread: FloatProperty(
        name="Distance Spread",
        description="How much farther than the distance cameras may stand, as a part of it",
        default=0.0, min=0.0, soft_max=2.0, max=100.0,
    )  # fmt: skip
    azimuth: FloatProperty(
        name="Azimuth",
        description="Where the grid's middle stands around the vertical axis: 0 is +X, -90 degrees the front",
        default=math.radians(-90.0),
        subtype="ANGLE",
    )
    grid_size: FloatProperty(
        name="Grid Size", description="Side of the grid, as a part of its distance", default=0.8,
        min=0.0, soft_max=3.0, max=100.0,
    )  # fmt: skip
    aim: EnumProperty(name="Look At", description="Where the cameras look", items=AIMS, default="SUBJECT")
    curve_object: PointerProperty(
        name="Curve",
        description="The curve object to follow",
        type=bpy.types.Object,
        poll=lambda self, item: item.type == "CURVE",
    )
    interior_shape: EnumProperty(
        name="Spread Over", description="Where cameras stand inside the bounds", items=SHAPES, default="BOX"
    )
    interior_fill: FloatProperty(
        name="Fill", description="How much of the bounds the cameras are spread over; 0 puts all in the middle",
        default=0.5, min=0.0, max=1.0, subtype="FACTOR",
    )  # fmt: skip
    frame_step: IntProperty(
        name="Every Nth Frame", description="Take every Nth frame of the frame range", default=5, min=1
    )
    use_frame_range: BoolProperty(
        name="Own Frame Range", description="Take a part of the animation instead of the scene's frame range"
    )
    range_start: IntProperty(name="Start", description="First frame to take", default=1)
    range_end: IntProperty(name="End", description="Last frame that may be taken", default=250)
