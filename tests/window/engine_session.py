"""What a person does with the render engine in Blender's window: the Rendered viewport, F12, Esc.

Runs inside Blender: `blender --python engine_session.py -- FOLDER RUN`.
"""

import os
import sys
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hands

FOLDER, RUN = (Path(text) for text in sys.argv[sys.argv.index("--") + 1 :])
MODULE = "bl_ext.user_default.nerf_toolkit"


def addon(name):
    return sys.modules[f"{MODULE}.{name}"]


def core_picture(camera, layers):
    """The core's own picture of a view, scene-linear; as a .npy file's name says."""
    call = addon("jobs.core").request("render", {"layers": layers, "camera": camera, "color": "linear", "clip": True})
    yield from hands.wait_for(lambda: call.done, 120, "the core's own picture")
    assert call.error is None, call.error
    return call.arrays["rgba"]


def look(name, view, result):
    """A picture of the settled viewport, and what the core makes of the same view."""
    yield from hands.wait_for(lambda: view.settled and view.shown is not None and view.shown.divisor == 1, 180, name)
    yield 1.0
    yield from hands.screenshot(FOLDER / f"{name}.png")
    wanted = view.wanted
    rgba = yield from core_picture(wanted.camera.to_dict(), wanted.layers)
    np.save(FOLDER / f"{name}.npy", rgba)
    window, region = bpy.context.window_manager.windows[0], hands.view_region("WINDOW")
    result[name] = {
        "left": window.x + region.x,
        "low": window.y + region.y,
        "size": [region.width, region.height],
        "screen": [window.width, window.height],
        "center": projected(region),
    }
    return region


def projected(region):
    """Where Blender says that the middle of the NeRF's box is, from the region's top left corner."""
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    nerf = next(item for item in bpy.context.scene.objects if item.nerf.is_nerf)
    place = location_3d_to_region_2d(
        region, hands.view_area()[1].spaces.active.region_3d, nerf.matrix_world.translation
    )
    return [place.x, region.height - place.y]


def empties(space, view, result):
    """The viewport with an empty's axes inside the ball, and in front of it."""
    for name in ("floor", "axis_x", "axis_y", "cursor", "text", "object_origins"):
        setattr(space.overlay, f"show_{name}", False)
    space.overlay.show_overlays = True
    empty = bpy.data.objects.new("Axes", None)
    empty.empty_display_size = 0.3
    bpy.context.scene.collection.objects.link(empty)
    toward = space.region_3d.view_rotation @ Vector((0.0, 0.0, 1.0))
    for name, place in (("4-far", 50.0), ("5-inside", 0.0), ("6-in-front", 1.5)):
        empty.location = toward * place  # from the ball's middle; the first one is behind the eye
        yield 0.5
        yield from look(name, view, result)
    bpy.data.objects.remove(empty)
    space.overlay.show_overlays = False


def borders(scene, space, view, result):
    """The viewport with a render border: of a free view, and of the camera, which the scene's own is."""
    region = hands.view_region("WINDOW")
    for owner, name in ((space, "render_border"), (scene.render, "border")):
        for end, x, y in (("min", 0.45, 0.4), ("max", 0.7, 0.75)):
            setattr(owner, f"{name}_{end}_x", x)
            setattr(owner, f"{name}_{end}_y", y)
    space.use_render_border = True
    yield 0.5
    yield from look("8-border", view, result)
    result["8-border"]["part"] = list(view.wanted.part)
    space.use_render_border = False
    scene.render.use_border = True
    space.region_3d.view_perspective = "CAMERA"
    yield 0.5
    yield from look("9-camera-border", view, result)
    result["9-camera-border"]["part"] = list(view.wanted.part)
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    corners = [scene.camera.matrix_world @ corner for corner in scene.camera.data.view_frame(scene=scene)]
    seen = [location_3d_to_region_2d(region, space.region_3d, corner) for corner in corners]
    low, high = ([pick(corner[i] for corner in seen) for i in (0, 1)] for pick in (min, max))
    result["frame"] = [*low, *high]
    scene.render.use_border = False
    space.region_3d.view_perspective = "PERSP"


def local_view(scene, nerf, view, result):
    """The viewport in the local view of an empty, and of the NeRF."""
    window, area, _ = hands.view_area()

    def toggle():
        with bpy.context.temp_override(window=window, area=area, region=hands.view_region("WINDOW")):
            bpy.ops.view3d.localview(frame_selected=False)

    empty = bpy.data.objects.new("Alone", None)
    scene.collection.objects.link(empty)
    for item in (empty, nerf):
        for each in scene.objects:
            each.select_set(each == item)
        toggle()
        yield 1.0
        result.setdefault("local", []).append(view.wanted is not None)
        toggle()
        yield 0.5
    yield 0.5
    result["local"].append(view.wanted is not None)
    bpy.data.objects.remove(empty)


def trained_on(scene, view, result):
    """The viewport while what it shows is trained on, and after that."""
    training = addon("jobs.training")
    scene.nerf.run_folder = str(RUN)
    scene.nerf.training.budget, scene.nerf.training.seconds, scene.nerf.training.preview = "SECONDS", 12.0, False
    yield from look("10-before", view, result)
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.nerf.train(more=True)
    pictures = []
    while training.under_way():
        if view.shown is not None and (not pictures or pictures[-1] is not view.shown):
            pictures.append(view.shown)
        yield 0.05
    result["training"] = {"phase": training.current().phase, "pictures": len(pictures)}
    yield 0.5
    yield from look("11-after", view, result)


def bar(space, view, result):
    """The viewport with a blue bar through the ball, that comes out of it in front; then without the bar."""
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    right, toward = (space.region_3d.view_rotation @ Vector(axis) for axis in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    ends = [right * -1.5 + toward * 1.6, right * 1.5 - toward * 0.8]
    bpy.ops.mesh.primitive_cube_add(size=1.0, location=(ends[0] + ends[1]) / 2)
    item = bpy.context.object
    item.rotation_mode, item.rotation_quaternion = "QUATERNION", (ends[1] - ends[0]).to_track_quat("X", "Z")
    item.scale = ((ends[1] - ends[0]).length, 0.1, 0.1)
    item.color = (0.0, 0.1, 1.0, 1.0)
    item.select_set(False)
    space.overlay.show_overlays = True  # Blender draws its own depth of meshes then
    bpy.context.scene.nerf_engine.show_meshes = True
    yield 0.5
    region = yield from look("12-bar", view, result)
    places = {"in_front": 0.3, "behind": 0.64, "beside": 0.9}
    for name, part in places.items():
        place = location_3d_to_region_2d(region, space.region_3d, ends[0].lerp(ends[1], part))
        result["12-bar"][name] = [place.x, region.height - place.y]
    space.overlay.show_overlays = False
    yield 0.5
    yield from look("13-bar-alone", view, result)
    bpy.context.scene.nerf_engine.show_meshes = False
    yield 0.5
    yield from look("14-no-bar", view, result)
    bpy.data.objects.remove(item)


def rendering():
    return bpy.app.is_job_running("RENDER")


def script():
    result = {"version": bpy.app.version_string}
    scene = bpy.context.scene
    bpy.context.preferences.view.render_display_type = "NONE"
    nerf = addon("objects.create").add_nerf(scene, addon("vendor.nerf_core.contract.run_folder").RunFolder(RUN))
    nerf.location = (-2.0, 1.0, -0.5)  # to the world's origin
    bpy.data.objects.remove(scene.objects["Cube"])
    bpy.ops.nerf.use_engine()
    scene.view_settings.view_transform = "Standard"
    scene.render.film_transparent = False
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    space = hands.view_area()[1].spaces.active
    space.overlay.show_overlays = space.show_gizmo = False
    space.region_3d.view_distance = 5.0
    space.shading.type = "RENDERED"
    live = addon("engine.viewport")
    yield from hands.wait_for(live.views, 20, "the viewport's engine")
    view = live.views()[0]
    yield from look("1-perspective", view, result)
    space.region_3d.view_perspective = "ORTHO"
    yield 0.5
    yield from look("2-orthographic", view, result)
    space.region_3d.view_perspective = "CAMERA"
    scene.camera.data.shift_x, space.region_3d.view_camera_zoom = 0.1, 10.0
    space.region_3d.view_camera_offset = (0.05, -0.1)
    yield 0.5
    yield from look("3-camera", view, result)
    space.region_3d.view_perspective = "PERSP"
    yield from empties(space, view, result)
    nerf.hide_viewport = True
    yield 1.0
    yield from hands.screenshot(FOLDER / "7-hidden.png")
    result["hidden"] = {"drawn": view.shown is not None}
    nerf.hide_viewport = False
    yield from borders(scene, space, view, result)
    yield from local_view(scene, nerf, view, result)
    yield from trained_on(scene, view, result)
    yield from bar(space, view, result)

    # F12: on a thread of Blender's own, while the window lives on.
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 200, 120, 100
    depsgraph = bpy.context.evaluated_depsgraph_get()
    cameras = addon("capture.cameras")
    camera = cameras.camera_from_blender(scene.camera, depsgraph, cameras.Frame.of_render(scene.render))
    layers = addon("objects.layers").scene_layers(depsgraph)
    scene.render.dither_intensity = 0.0
    bpy.ops.render.render("INVOKE_DEFAULT")
    yield from hands.wait_for(lambda: not rendering(), 120, "F12")
    yield 0.5
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode = "PNG", "RGB"
    bpy.data.images["Render Result"].save_render(str(FOLDER / "f12.png"), scene=scene)
    rgba = yield from core_picture(camera.to_dict(), layers)
    np.save(FOLDER / "f12.npy", rgba)

    # Esc ends one that would take long, and the core is free at once.
    scene.render.resolution_x = scene.render.resolution_y = 4000
    scene.nerf_engine.samples = 64
    bpy.ops.render.render("INVOKE_DEFAULT")
    yield from hands.wait_for(rendering, 20, "the long render to start")
    yield 3.0
    result["esc"] = {"running": rendering()}
    for _ in range(10):
        (FOLDER / "Escape.key").write_text(os.environ.get("DISPLAY", ""), encoding="utf-8")
        yield 1.0
        if not rendering():
            break
    result["esc"]["stopped"] = not rendering()
    if result["esc"]["stopped"]:
        yield from core_picture(camera.to_dict(), layers)
        result["esc"]["core_free"] = True
    result["core_pid"] = addon("jobs.core").running().pid
    return result


hands.perform(script(), FOLDER / "result.json")
