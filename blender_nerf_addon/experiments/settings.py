"""What a person chooses about experiments and about comparing their turntables; kept in the .blend."""

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
from ..vendor.nerf_core.contract.errors import NerfError


class NERF_PG_experiment_row(bpy.types.PropertyGroup):
    """A result, as the list shows it; `name` is the cell's.

    Of radiographs (`NERF_PG_experiment.xray`) the four numbers are the volume's PSNR and SSIM and the radiographs'.
    """

    psnr: StringProperty()
    ssim: StringProperty()
    s_hit: StringProperty()
    frame: StringProperty()
    error: StringProperty()
    folder: StringProperty(description="Of its turntable's pictures, below the experiment's folder")
    frames: IntProperty()


def _follow(settings: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    """Have the images be what the settings say."""
    from . import compare  # which needs the properties

    try:
        compare.refresh(settings.id_data)
    except (NerfError, OSError) as error:  # a property has nobody to report to; the buttons say it, too
        print(f"NeRF Toolkit: {error}")


class NERF_PG_experiment(bpy.types.PropertyGroup):
    """Which experiment, and which two of its cells are compared."""

    plan: EnumProperty(
        name="Grid",
        description="Which settings are trained and compared",
        items=(
            (
                "sampling-small",
                "Samples, Small",
                "Eight samplings by three ablations in about 20 minutes on a processor",
            ),
            ("sampling", "Samples, Full", "The same with the published sizes: 12 hours on a graphics card"),
            (
                "xray-small",
                "X-Ray, Small",
                "Field, FDK, SART and others from few and many radiographs of a phantom or a CT, sized for a processor",
            ),
            ("xray", "X-Ray, Full", "The same with MedNeRF, HyperNeRFGAN and their ablations, for a graphics card"),
            ("FILE", "File", "A TOML file"),
            ("TEXT", "Text", "A text of this .blend file"),
        ),
    )
    file: StringProperty(name="File", description="A TOML file", subtype="FILE_PATH", options=compat.path_options())
    text: PointerProperty(type=bpy.types.Text, name="Text", description="A text that holds a grid in TOML")
    data: StringProperty(
        name="Data Set",
        description="What to train on; empty: what the scene's run is or would be trained on. Of X-rays: a CT or "
        "phantom:KIND:SEED; empty: the grid's own",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    folder: StringProperty(
        name="Folder",
        description="Where runs, results and the report go; empty: beside the run",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    results: StringProperty(
        description="The experiment's folder that the list of results is of",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    rows: CollectionProperty(type=NERF_PG_experiment_row)
    xray: BoolProperty(description="Whether the list of results is of radiographs", options={"HIDDEN"})
    active: IntProperty(name="Result")
    a: StringProperty(name="A", description="The cell on the left", update=_follow)
    b: StringProperty(name="B", description="The cell on the right", update=_follow)
    shown: EnumProperty(
        name="Show",
        items=(
            ("A", "A", "The turntable A"),
            ("B", "B", "The turntable B"),
            ("WIPE", "Wipe", "A left of a line, B right of it"),
        ),
        update=_follow,
    )
    split: FloatProperty(
        name="Wipe",
        description="Where the line between A and B is",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        update=_follow,
    )
    loaded: BoolProperty(description="Whether the turntables are in Image Editors", options={"HIDDEN"})


CLASSES = (NERF_PG_experiment_row, NERF_PG_experiment)
