"""Back in Blender: the run's cameras, a rendered view and density points, the demo's file, and a picture of it."""

from pathlib import Path

import bpy
from mathutils import Vector

from .addon import BlenderWithAddon, quiet_blender
from .scene import TABLE_RADIUS

PICTURE_SIZE = (900, 420)
PICTURE_SAMPLES = 10


def bring_back(blender: BlenderWithAddon, run: Path, target: Path, picture: Path, count: int) -> None:
    """Import through the add-on's operators, save the file, and take a picture of what came back.

    The picture shows the objects, and beside them the points that were learned from their pictures.

    Parameters
    ----------
    blender : BlenderWithAddon
    run : Path
        The trained run folder.
    target, picture : Path
        The .blend and the PNG to write.
    count : int
        Density points to import.

    Raises
    ------
    SystemExit
        When an operator fails; its own error has been printed.
    """
    scene = bpy.context.scene
    blender.module("jobs.runs").set_run_folder(scene, run)
    scene.nerf.points.count = count
    scene.render.resolution_x = scene.render.resolution_y = 400
    with quiet_blender():
        _run("import_cameras")
        _run("import_points")
        _run("render_view")
        bpy.context.preferences.filepaths.save_version = 0  # no .blend1 beside it
        scene.nerf.run_folder = str(run)
        bpy.ops.wm.save_as_mainfile(filepath=str(target), check_existing=False)
        # Once there is a file, the run folder is kept relative to it, so that both can be moved together.
        blender.module("jobs.runs").set_run_folder(scene, run)
        bpy.ops.wm.save_mainfile()
        _picture(scene.nerf.points.object, picture)


def _run(operator: str) -> None:
    if getattr(bpy.ops.nerf, operator)() != {"FINISHED"}:
        raise SystemExit(f"Blender's operator nerf.{operator} did not finish.")


def _picture(points: bpy.types.Object, target: Path) -> None:
    """Render the objects with the points moved to their right; the saved file keeps the points in their place."""
    scene = bpy.context.scene
    points.location.x += 2.3 * TABLE_RADIUS
    for item in scene.objects:
        if item.type == "CAMERA" and item != scene.camera:
            item.hide_render = True
    middle = Vector((1.15 * TABLE_RADIUS, -0.1, 0.2))
    camera = scene.camera
    camera.location = middle + Vector((0.4, -8.6, 4.6))
    camera.rotation_euler = (middle - camera.location).to_track_quat("-Z", "Y").to_euler()
    render = scene.render
    render.resolution_x, render.resolution_y = PICTURE_SIZE
    render.film_transparent = False
    scene.cycles.samples = PICTURE_SAMPLES
    render.image_settings.file_format = "PNG"
    render.filepath = str(target)
    bpy.ops.render.render(write_still=True)
