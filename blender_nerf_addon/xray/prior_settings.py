"""What a prior is built of and where it goes: the property group `scene.nerf_xray.new_prior`."""

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .. import compat

SOURCES = (
    ("CHEST", "Synthetic Chests", "Phantoms of the chest, one a seed"),
    ("KNEE", "Synthetic Knees", "Phantoms of the knee, left and right ones, one a seed"),
    ("CTS", "Folder of CTs", "The NIfTI files of a folder, or its folders, each a DICOM series"),
)
KINDS = (
    (
        "LOW_RANK",
        "Mean and Modes",
        "The mean, and how the volumes differ from it in shape and appearance",
    ),
    ("MEAN", "Mean", "The mean, and how far each voxel is from it"),
)


class NERF_PG_xray_prior(bpy.types.PropertyGroup):
    """A prior that is still to be built."""

    source: EnumProperty(name="Population", description="The volumes that it is built of", items=SOURCES)
    count: IntProperty(name="Volumes", description="So many phantoms", default=64, min=1, max=4096, soft_max=256)
    first: IntProperty(
        name="First Patient",
        description="The first phantom's number; the others follow it. A patient that is to be reconstructed should "
        "not be among them",
        default=0, min=0, max=10**8,
    )  # fmt: skip
    cts: StringProperty(
        name="CTs",
        description="A folder of NIfTI files, or of folders that each hold a DICOM series",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    copies: IntProperty(
        name="Warped Copies", description="Of each CT, beside it: real CTs are few", default=0, min=0, soft_max=16,
        max=1024,
    )  # fmt: skip
    kind: EnumProperty(name="Kind", description="What is kept of the population", items=KINDS)
    voxels: IntProperty(
        name="Voxels", description="Along the longest side of the prior's grid", default=48, min=8, max=256, soft_max=96
    )
    held_out: IntProperty(
        name="Held Out",
        description="Volumes to choose the prior's settings on, which are no part of it: at most a quarter. 0: none",
        default=4, min=0, max=4096, soft_max=16,
    )  # fmt: skip
    folder: StringProperty(
        name="Folder",
        description="Folder that holds priors. Empty: 'priors' in that of the runs",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    name: StringProperty(name="Name", description="Of the prior's own folder. Empty: after its population")
