"""The one property group on the scene: `scene.nerf`."""

import bpy
from bpy.props import CollectionProperty, PointerProperty, StringProperty

from . import compat
from .capture.settings import NERF_PG_capture
from .compositing.settings import NERF_PG_compositing
from .experiments.settings import NERF_PG_experiment
from .explainer.settings import NERF_PG_explainer
from .heat.settings import NERF_PG_heat
from .importers.settings import NERF_PG_baked, NERF_PG_mesh, NERF_PG_volume
from .inspect.plot_settings import NERF_PG_ray_plot
from .inspect.settings import NERF_PG_inspector
from .jobs.settings import NERF_PG_inspect, NERF_PG_points, NERF_PG_render, NERF_PG_training
from .videos.settings import NERF_PG_video


class NERF_PG_scene(bpy.types.PropertyGroup):
    """What a scene knows of its NeRF; what is going on at the moment lies in `jobs`, which undo does not touch."""

    run_folder: StringProperty(
        name="Run Folder",
        description="Where captured views, the trained NeRF and its renders go; empty: beside the .blend file",
        subtype="DIR_PATH",
        options=compat.path_options(),
    )
    capture: PointerProperty(type=NERF_PG_capture)
    training: PointerProperty(type=NERF_PG_training)
    render: PointerProperty(type=NERF_PG_render)
    points: PointerProperty(type=NERF_PG_points)
    inspect: PointerProperty(type=NERF_PG_inspect)
    inspector: PointerProperty(type=NERF_PG_inspector)
    ray_plot: PointerProperty(type=NERF_PG_ray_plot)
    baked: CollectionProperty(type=NERF_PG_baked)
    video: PointerProperty(type=NERF_PG_video)
    mesh: PointerProperty(type=NERF_PG_mesh)
    volume: PointerProperty(type=NERF_PG_volume)
    compositing: PointerProperty(type=NERF_PG_compositing)
    experiment: PointerProperty(type=NERF_PG_experiment)
    heat: PointerProperty(type=NERF_PG_heat)
    explainer: PointerProperty(type=NERF_PG_explainer)


CLASSES = (NERF_PG_scene,)


def register() -> None:
    """Put the group on every scene."""
    bpy.types.Scene.nerf = PointerProperty(type=NERF_PG_scene)


def unregister() -> None:
    """Take it away; what was set stays in the file."""
    del bpy.types.Scene.nerf
