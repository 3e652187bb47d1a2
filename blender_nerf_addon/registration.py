"""The ordered list of modules that register something, with roll-back when one of them fails."""

import contextlib
from types import ModuleType

import bpy

from . import cli, preferences, properties
from .capture import settings as capture_settings
from .compositing import settings as compositing_settings
from .compositing import setup as compositing_setup
from .engine import engine as render_engine
from .engine import settings as engine_settings
from .engine import viewport
from .experiments import compare as experiment_compare
from .experiments import settings as experiment_settings
from .experiments import state as experiment_state
from .experiments import wipe_line
from .explainer import settings as explainer_settings
from .heat import settings as heat_settings
from .importers import settings as importer_settings
from .inspect import overlay as inspect_overlay
from .inspect import plot_settings, plot_view
from .inspect import request as inspect_request
from .inspect import settings as inspect_settings
from .inspect import tool as inspect_tool
from .jobs import core, managed, pump, tasks, training
from .jobs import settings as job_settings
from .objects import find as object_find
from .objects import paths as object_paths
from .objects import properties as object_properties
from .operators import bake as bake_operators
from .operators import (
    cameras,
    capture,
    compositing,
    geometry,
    inspect,
    live_preview,
    points,
    render,
    train,
    xray_capture,
    xray_ct,
    xray_prior,
    xray_reconstruct,
    xray_results,
    xray_rig,
)
from .operators import core as core_operators
from .operators import engine as engine_operators
from .operators import experiments as experiment_operators
from .operators import explain as explain_operators
from .operators import heat as heat_operators
from .operators import inspect_pixel as inspect_pixel_operators
from .operators import layouts as layout_operators
from .operators import objects as object_operators
from .operators import paths as path_operators
from .operators import photographs as photograph_operators
from .operators import ray_plot as ray_plot_operators
from .operators import trace_pixels as trace_pixel_operators
from .operators import video as video_operators
from .ui import (
    capture_panel,
    compositing_panel,
    engine_panel,
    experiments_panel,
    explainer_panel,
    geometry_panel,
    heat_panel,
    inspect_panel,
    layout_panel,
    object_panel,
    panels,
    photographs_panel,
    prior_panel,
    ray_plot_panel,
    video_panel,
    xray_panel,
)
from .videos import settings as video_settings
from .xray import overlay as xray_overlay
from .xray import prior_build as xray_prior_builds
from .xray import properties as xray_properties
from .xray import radiographs as xray_radiographs
from .xray import reconstruct as xray_reconstructions
from .xray import subject as xray_subject

# In the order of registration: what others refer to comes first. A module may hold CLASSES (a tuple of classes for
# Blender) and functions register() and unregister() for handlers, timers, properties and commands.
MODULES: tuple[ModuleType, ...] = (
    preferences,
    capture_settings,
    job_settings,
    video_settings,
    importer_settings,
    inspect_settings,
    heat_settings,
    compositing_settings,
    plot_settings,
    experiment_settings,
    explainer_settings,
    properties,
    object_properties,
    object_find,
    object_paths,
    engine_settings,
    xray_properties,
    render_engine,
    core,
    managed,
    tasks,
    training,
    pump,
    experiment_state,
    experiment_compare,
    wipe_line,
    viewport,
    inspect_request,
    inspect_overlay,
    core_operators,
    capture,
    layout_operators,
    live_preview,
    train,
    render,
    points,
    inspect,
    inspect_pixel_operators,
    inspect_tool,
    plot_view,
    ray_plot_operators,
    trace_pixel_operators,
    bake_operators,
    geometry,
    compositing_setup,
    compositing,
    cameras,
    heat_operators,
    object_operators,
    video_operators,
    engine_operators,
    photograph_operators,
    path_operators,
    experiment_operators,
    explain_operators,
    xray_subject,
    xray_radiographs,
    xray_overlay,
    xray_capture,
    xray_rig,
    xray_results,
    xray_ct,
    xray_reconstructions,
    xray_reconstruct,
    xray_prior_builds,
    xray_prior,
    capture_panel,
    layout_panel,
    panels,
    inspect_panel,
    video_panel,
    object_panel,
    engine_panel,
    photographs_panel,
    geometry_panel,
    compositing_panel,
    ray_plot_panel,
    experiments_panel,
    heat_panel,
    explainer_panel,
    xray_panel,
    prior_panel,
    cli,
)

_registered: list[ModuleType] = []


def register() -> None:
    """Register all modules, or none: what was registered before a failure is taken back, then the error goes on."""
    try:
        for module in MODULES:
            _register_module(module)
            _registered.append(module)
    except Exception:
        with contextlib.suppress(Exception):  # what went wrong first is what is told
            unregister()
        raise


def unregister() -> None:
    """Unregister in reverse order what is registered; one module's failure is raised after all others are gone."""
    failure: Exception | None = None
    while _registered:
        try:
            _unregister_module(_registered.pop())
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _register_module(module: ModuleType) -> None:
    done: list[type] = []
    try:
        for cls in getattr(module, "CLASSES", ()):
            bpy.utils.register_class(cls)
            done.append(cls)
        if hasattr(module, "register"):
            module.register()
    except Exception:
        for cls in reversed(done):
            bpy.utils.unregister_class(cls)
        raise


def _unregister_module(module: ModuleType) -> None:
    try:
        if hasattr(module, "unregister"):
            module.unregister()
    finally:
        for cls in reversed(getattr(module, "CLASSES", ())):
            bpy.utils.unregister_class(cls)
