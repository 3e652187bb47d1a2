"""Import the trained NeRF's mesh and volume, and the mesh that casts its shadows."""

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import BoolProperty

from ..importers import meshes, point_display, volumes
from ..jobs import runs, tasks
from ..objects import attach, chosen
from . import common

SHADOW_RESOLUTION = 96


class _Import:
    # Not REGISTER: its redo panel would start the core again while the first answer is still on its way.
    bl_options = {"UNDO"}  # noqa: RUF012

    wait: BoolProperty(
        name="Wait", description="Return when it is there; always so without a window", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a trained run."""
        return common.poll_trained(cls, context)

    def begin(self, title: str, step: Callable[[], tasks.Step], told: Callable[[Any], str]) -> set[str]:
        """Start the task; where it was waited for, say what came of it."""
        outcome = common.begin_task(self, title, [step], undo=True)
        task = tasks.current()
        if outcome == {"FINISHED"} and task.results:
            self.report({"INFO"}, told(task.results[0]))
        return outcome


class NERF_OT_import_mesh(_Import, bpy.types.Operator):
    """Bring the trained NeRF's surface in as a mesh."""

    bl_idname = "nerf.import_mesh"
    bl_label = "Import Mesh"
    bl_description = "Bring the surface of the trained NeRF in as a mesh with its colours, where the NeRF is"

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core for the mesh."""
        return self.begin(
            "Mesh",
            lambda: mesh_step(context.scene),
            lambda item: f"{len(item.data.polygons)} triangles in '{item.name}'",
        )


class NERF_OT_add_shadow(_Import, bpy.types.Operator):
    """Make the mesh that casts the NeRF's shadows."""

    bl_idname = "nerf.add_shadow"
    bl_label = "Add Shadow Catcher"
    bl_description = (
        "Add a plain mesh of the NeRF that the camera does not see: the scene's objects get its shadows, "
        "mirror it and are lit by it in Cycles"
    )

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core for a small mesh."""
        return self.begin(
            "Shadow Catcher",
            lambda: shadow_step(context.scene),
            lambda item: f"{len(item.data.polygons)} triangles in '{item.name}'",
        )


class NERF_OT_import_volume(_Import, bpy.types.Operator):
    """Bring the trained NeRF's density in as a volume."""

    bl_idname = "nerf.import_volume"
    bl_label = "Import Volume"
    bl_description = "Bring the density of the trained NeRF in as a volume: an OpenVDB file in the run's folder"

    @common.tells_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the core for the file."""
        return self.begin(
            "Volume", lambda: volume_step(context.scene), lambda item: f"'{item.name}': {item.data.filepath}"
        )


def mesh_step(scene: bpy.types.Scene) -> tasks.Step:
    """The step that asks for a mesh as `scene.nerf.mesh` says and makes its object."""
    settings = scene.nerf.mesh
    folder, uid = chosen.chosen_run(scene), scene.session_uid

    def handle(result: dict[str, Any], prepared: dict[str, Any]) -> bpy.types.Object:
        scene = runs.scene_again(uid)
        settings = scene.nerf.mesh
        item = meshes.import_mesh(scene, prepared, settings.shading, old=settings.object)
        attach.attach(item, attach.shown_nerf(scene, folder))
        settings.object = item
        if settings.automatic:
            settings.threshold = result["threshold"]
        point_display.color_solid_views()
        return item

    params = {
        "run": str(folder.root),
        "resolution": settings.resolution,
        "threshold": None if settings.automatic else settings.threshold,
        "faces": settings.faces if settings.decimate else None,
        "drop_islands": settings.drop_islands,
    }
    return tasks.Step("mesh", params, handle, "Extracting the mesh", _prepare)


def shadow_step(scene: bpy.types.Scene) -> tasks.Step:
    """The step that asks for a small mesh and makes the object that casts shadows."""
    settings = scene.nerf.mesh
    folder, uid = chosen.chosen_run(scene), scene.session_uid

    def handle(_result: dict[str, Any], prepared: dict[str, Any]) -> bpy.types.Object:
        scene = runs.scene_again(uid)
        settings = scene.nerf.mesh
        settings.shadow = meshes.import_shadow(scene, prepared, old=settings.shadow)
        attach.attach(settings.shadow, attach.shown_nerf(scene, folder))
        return settings.shadow

    params = {
        "run": str(folder.root),
        "resolution": min(settings.resolution, SHADOW_RESOLUTION),
        "threshold": None if settings.automatic else settings.threshold,
        "faces": settings.shadow_faces,
        "drop_islands": True,
    }
    return tasks.Step("mesh", params, handle, "Extracting the mesh", _prepare)


def volume_step(scene: bpy.types.Scene) -> tasks.Step:
    """The step that has the core write the volume as `scene.nerf.volume` says, and makes its object."""
    settings = scene.nerf.volume
    folder, uid = chosen.chosen_run(scene), scene.session_uid
    steps = (folder.read().get("spent") or {}).get("steps", 0)
    # A name of its own for each state of the training: Blender keeps what it has read of a file by its name.
    out = folder.root / "volumes" / f"density-{settings.resolution}-{steps}.vdb"

    def handle(result: dict[str, Any], _arrays: dict[str, Any]) -> bpy.types.Object:
        scene = runs.scene_again(uid)
        settings = scene.nerf.volume
        settings.object = volumes.import_volume(scene, result["out"], old=settings.object)
        attach.attach(settings.object, attach.shown_nerf(scene, folder))
        return settings.object

    params = {"run": str(folder.root), "resolution": settings.resolution, "out": str(out)}
    return tasks.Step("volume", params, handle, "Sampling the density")


def _prepare(arrays: dict[str, Any]) -> dict[str, Any]:
    return meshes.prepare(arrays["vertices"], arrays["faces"], arrays["color"])


CLASSES = (NERF_OT_import_mesh, NERF_OT_add_shadow, NERF_OT_import_volume)
