"""`scene.nerf_xray`, `object.nerf_xray` and `material.nerf_xray`: the X-ray mode's settings, kept in the .blend."""

import math
from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    IntVectorProperty,
    PointerProperty,
    StringProperty,
)

from .. import compat
from .materials import OBJECT_ITEMS, SLOT_ITEMS
from .prior_settings import NERF_PG_xray_prior

KINDS = (
    ("NONE", "None", "No imported CT"),
    ("CT", "CT", "A CT in Hounsfield units: a NIfTI file, a DICOM folder or a phantom"),
)
RIGS = (
    ("FITTED", "Fitted", "Source and detector placed so that nothing of the subject is cut off, as R2-Gaussian has it"),
    ("CHEST", "Chest", "Source 541 mm from the axis, detector of 500 mm at 949 mm: true size, as in the LIDC set-up"),
    ("KNEE", "Knee", "Source 541 mm from the axis, detector of 350 mm at 949 mm: true size"),
    ("CUSTOM", "Custom", "Distances and detector of your choice"),
)
NOISES = (
    ("NONE", "None", "True line integrals"),
    ("POISSON", "Poisson", "Counting noise of a number of photons a pixel, and the detector's Gaussian noise"),
)


# Called after what decides the rig or the subject was changed: a property of ours makes Blender evaluate nothing anew.
on_change: list[Callable[[], None]] = []


def redraw() -> None:
    """Have all viewports, and the panels beside them, drawn again."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.type in {"VIEW_3D", "PROPERTIES"}:
                area.tag_redraw()


def _redraw(_group: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    for callback in list(on_change):
        callback()
    redraw()


def _shown(group: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    group.id_data.update_tag()  # a property of ours alone does not have the NeRF rendered anew


def _length(name: str, description: str, default: float) -> Any:
    return FloatProperty(
        name=name, description=description, default=default, min=1e-6, soft_max=100.0, precision=4,
        subtype="DISTANCE", unit="LENGTH", update=_redraw,
    )  # fmt: skip


def _attenuation() -> Any:
    return FloatProperty(
        name="Attenuation", description="Linear attenuation coefficient, per centimetre", default=0.2,
        min=0.0, soft_max=10.0, max=1e6, precision=4,
    )  # fmt: skip


def _priority() -> Any:
    return IntProperty(
        name="Priority",
        description=(
            "Where closed meshes and CTs overlap the highest priority counts (of one priority, a mesh before a CT): "
            "give what lies inside the higher one"
        ),
        default=0, min=-1000, max=1000,
    )  # fmt: skip


class NERF_PG_xray_object(bpy.types.PropertyGroup):
    """What an object is to X-rays: a closed mesh of one material, or an imported CT."""

    kind: EnumProperty(name="Kind", items=KINDS, default="NONE", options={"HIDDEN"})
    source: StringProperty(
        name="CT",
        description="The CT that this object stands for. When its file was moved, say here where it is now. "
        "Box and pictures stay as they are: another CT is to be imported instead",
        subtype="FILE_PATH",
        options=compat.path_options(),
    )
    seen: BoolProperty(
        name="In Radiographs",
        description="Have radiographs taken of this CT; what was reconstructed from radiographs is not, to begin with",
        default=True,
        update=_redraw,
    )
    material: EnumProperty(
        name="Material", description="What the object is made of", items=OBJECT_ITEMS, default="NONE", update=_redraw
    )
    attenuation: _attenuation()
    priority: _priority()
    use_window: BoolProperty(
        name="Own Window",
        description="Show a trained attenuation field through a window of its own, not that of its radiographs",
        update=_shown,
    )
    level: FloatProperty(
        name="Level", description="The line integral that is shown half bright", default=2.0, min=-1e5, max=1e5,
        soft_min=0.0, soft_max=20.0, update=_shown,
    )  # fmt: skip
    width: FloatProperty(
        name="Width", description="Line integrals from black to white", default=4.0, min=1e-4, max=1e5, soft_max=20.0,
        update=_shown,
    )  # fmt: skip


class NERF_PG_xray_material(bpy.types.PropertyGroup):
    """What the faces with this Blender material enclose, where that is not what the object is made of."""

    material: EnumProperty(
        name="Material", description="What these faces enclose", items=SLOT_ITEMS, default="OBJECT", update=_redraw
    )
    attenuation: _attenuation()
    priority: _priority()


class NERF_PG_xray(bpy.types.PropertyGroup):
    """How radiographs are taken and what is made of them."""

    rig: EnumProperty(name="Rig", description="Source and detector", items=RIGS, default="FITTED", update=_redraw)
    source_axis: _length("Source to Axis", "Distance from the source to the axis of rotation", 0.541)
    source_detector: _length("Source to Detector", "Distance from the source to the detector", 0.949)
    detector: FloatVectorProperty(
        name="Detector", description="Width and height of the detector", size=2, default=(0.5, 0.5), min=1e-6,
        soft_max=100.0, precision=4, subtype="XYZ_LENGTH", unit="LENGTH", update=_redraw,
    )  # fmt: skip
    pixels: IntVectorProperty(
        name="Pixels", description="Columns and rows of the detector", size=2, default=(128, 128), min=4, max=4096,
        update=_redraw,
    )  # fmt: skip
    views: IntProperty(
        name="Views", description="Radiographs to train on, evenly over the arc", default=72, min=1, max=10_000,
        soft_max=360, update=_redraw,
    )  # fmt: skip
    val_views: IntProperty(
        name="Held Out", description="Radiographs between them that training does not see, for measuring", default=8,
        min=0, max=10_000, soft_max=72, update=_redraw,
    )  # fmt: skip
    start: FloatProperty(
        name="Start", description="Angle of the first view; at 0 the source is on -Y", default=0.0, subtype="ANGLE",
        update=_redraw,
    )  # fmt: skip
    arc: FloatProperty(
        name="Arc", description="Angle that the views are spread over", default=math.radians(360.0),
        min=math.radians(0.1), max=math.radians(360.0), subtype="ANGLE", update=_redraw,
    )  # fmt: skip
    isocentre: PointerProperty(
        type=bpy.types.Object,
        name="Isocentre",
        description="The object that the rig turns about; empty: the middle of the subject",
        update=_redraw,
    )
    noise: EnumProperty(name="Noise", description="Of the detector", items=NOISES, default="NONE")
    photons: FloatProperty(
        name="Photons", description="That reach a pixel with nothing between", default=1e4, min=1.0, soft_max=1e6,
        max=1e12,
    )  # fmt: skip
    readout: FloatProperty(
        name="Readout", description="Standard deviation of the detector's own noise, in photons", default=10.0, min=0.0,
        soft_max=100.0, max=1e6,
    )  # fmt: skip
    seed: IntProperty(name="Seed", description="Same seed, same noise", default=0, min=0)
    shown_view: IntProperty(
        name="Shown View", description="The view whose source and detector are drawn", default=0, min=0,
        update=_redraw,
    )  # fmt: skip
    show_rig: BoolProperty(
        name="Show Rig", description="Draw source, detector, central ray and arc in the viewport", default=False,
        update=_redraw,
    )  # fmt: skip
    resolution: IntProperty(
        name="Resolution",
        description="Voxels along the longest side of the subject's box; 0 chooses by the radiographs' pixels",
        default=0, min=0, max=1024, soft_max=256,
    )  # fmt: skip
    smoothness: FloatProperty(
        name="Smoothness",
        description="Weight of total variation, relative to the noise: more for few views, 0 for none",
        default=0.5, min=0.0, soft_max=20.0, max=1e6,
    )  # fmt: skip
    grid: EnumProperty(
        name="Grid",
        description="How the field keeps its numbers",
        items=(
            ("AUTO", "Automatic", "Dense, and hashed above 320 nodes along the longest side"),
            ("DENSE", "Dense", "A number for each node: exact, and the quickest where it fits into the memory"),
            ("HASH", "Hashed", "A coarse grid, and tables of finer nodes that share rows: for large volumes"),
        ),
        default="AUTO",
    )
    init: EnumProperty(
        name="Begin With",
        description="What the field is before its first step",
        items=(
            ("FDK", "Back-Projection", "The radiographs' filtered back-projection (FDK), where itk-rtk is installed"),
            ("NONE", "Nothing", "The same attenuation everywhere"),
        ),
        default="FDK",
    )
    prior: StringProperty(
        name="Prior",
        description="The folder of a prior, as Build Prior makes it: what other volumes look like",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    given_views: IntProperty(
        name="From Views", description="Radiographs to reconstruct from, evenly spread", default=1, min=1, soft_max=10,
    )  # fmt: skip
    new_prior: PointerProperty(type=NERF_PG_xray_prior)
    preview_collection: PointerProperty(
        name="Cameras", description="The collection of the rig's cameras", type=bpy.types.Collection
    )


CLASSES = (NERF_PG_xray_prior, NERF_PG_xray_object, NERF_PG_xray_material, NERF_PG_xray)


def register() -> None:
    """Put the groups where they belong."""
    bpy.types.Scene.nerf_xray = PointerProperty(type=NERF_PG_xray)
    bpy.types.Object.nerf_xray = PointerProperty(type=NERF_PG_xray_object)
    bpy.types.Material.nerf_xray = PointerProperty(type=NERF_PG_xray_material)


def unregister() -> None:
    """Take them away; what was set stays in the file."""
    del bpy.types.Material.nerf_xray
    del bpy.types.Object.nerf_xray
    del bpy.types.Scene.nerf_xray
