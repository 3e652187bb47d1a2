"""What a person does with the inspector in Blender's window: points, clicks, turns the view, compares samplers.

Runs inside Blender: `blender --python inspect_session.py -- FOLDER RUN`.
"""

import sys
from pathlib import Path

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from bpy_extras.view3d_utils import location_3d_to_region_2d
from mathutils import Quaternion, Vector

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hands

FOLDER, RUN = (Path(text) for text in sys.argv[sys.argv.index("--") + 1 :])
MODULE = "bl_ext.user_default.nerf_toolkit"


def addon(name):
    return sys.modules[f"{MODULE}.{name}"]


def state():
    return addon("inspect.state").current()


def settled(what, slots=1):
    """Wait until what was asked for is shown and drawn."""
    request = addon("inspect.request")
    yield from hands.wait_for(lambda: len(state().slots) == slots and not request.waiting(), 120, what)
    assert state().error == "", state().error
    yield 0.6


def facts():
    """What is shown, in plain numbers."""
    current, slot = state(), state().slots[0]
    one = slot.of_ray(current.chosen_ray)
    origin, direction = current.camera.rays(np.array([current.pixel]))
    return {
        "pixel": list(current.pixel),
        "view": current.view,
        "pinned": current.pinned,
        "rays": slot.rays,
        "slots": len(current.slots),
        "samples": len(one["t"]),
        "weights": float(one["weight"][one["selected"] > 0].sum()),
        "rgba": one["rgba"].tolist(),
        "ray_error": float(np.abs(one["direction"] - direction[0]).max() + np.abs(one["origin"] - origin[0]).max()),
        "place_error": float(np.abs(one["position"] - one["origin"] - one["t"][:, None] * one["direction"]).max()),
    }


def marked(region, across=0.0):
    """Where the chosen ray's heaviest sample is on the screen, from the region's top left corner, and its colour."""
    one = state().slots[-1 if across else 0].of_ray(state().chosen_ray)
    heavy = int(np.argmax(one["weight"]))
    place = seen_at(region, Vector(one["position"][heavy]))
    way = (seen_at(region, Vector(one["position"][heavy] + 0.01 * one["direction"])) - place).normalized()
    place += across * bpy.context.preferences.system.ui_scale * Vector((-way.y, way.x))
    return {"at": [place.x, region.height - place.y], "color": one["color"][heavy].tolist()}


def seen_at(region, place):
    """Where Blender says that a place in the world is, from the region's lower left corner."""
    return location_3d_to_region_2d(region, hands.view_area()[1].spaces.active.region_3d, place)


def place_of(region):
    window = bpy.context.window_manager.windows[0]
    return {
        "left": window.x + region.x,
        "low": window.y + region.y,
        "size": [region.width, region.height],
        "screen": [window.width, window.height],
    }


def click(x, y):
    for value in ("PRESS", "RELEASE"):
        hands.event("LEFTMOUSE", value, x, y)
        yield 0.3


def escape(x, y):
    for value in ("PRESS", "RELEASE"):
        hands.event("ESC", value, x, y)
        yield 0.3


def image_editor(image):
    """The largest other area as an Image Editor with a picture; its area and region."""
    window, view, _ = hands.view_area()
    area = max((a for a in window.screen.areas if a != view), key=lambda a: a.width * a.height)
    area.ui_type = "IMAGE_EDITOR"
    area.spaces.active.image = image
    region = next(r for r in area.regions if r.type == "WINDOW")
    yield 0.5
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.image.view_all(fit_view=True)
    yield 0.5
    return area, region


def script():
    scene = bpy.context.scene
    bpy.context.preferences.view.render_display_type = "NONE"
    nerf = addon("objects.create").add_nerf(scene, addon("vendor.nerf_core.contract.run_folder").RunFolder(RUN))
    nerf.location = (-2.0, 1.0, -0.5)  # to the world's origin
    bpy.data.objects.remove(scene.objects["Cube"])
    bpy.data.objects.remove(scene.objects["Light"])
    space = hands.view_area()[1].spaces.active
    for name in ("floor", "axis_x", "axis_y", "cursor", "text", "object_origins", "extras"):
        setattr(space.overlay, f"show_{name}", False)
    space.show_gizmo = False
    space.region_3d.view_distance = 5.0
    result = {"version": bpy.app.version_string}
    yield from hands.open_sidebar()
    region = hands.view_region("WINDOW")
    result["viewport"] = place_of(region)
    yield from hands.screenshot(FOLDER / "1-before.png")

    # The button, then the pointer over the ball's middle: the ray is looked along.
    yield from hands.click("bpy.ops.nerf.inspect_pixel(")
    x, y = region.x + region.width // 2, region.y + region.height // 2
    hands.move(x - 3, y)
    yield 0.2
    hands.move(x, y)
    yield from settled("the ray under the pointer")
    result["hover"] = {**facts(), **marked(region)}
    result["pointer"] = [x - region.x + 0.5, region.height - (y - region.y) - 0.5]
    yield from click(x, y)
    yield from settled("the pinned ray")
    result["click"] = facts()
    yield from hands.screenshot(FOLDER / "2-along.png")

    # From aside; and what is pinned stays when the pointer moves on.
    before = space.region_3d.view_rotation.copy()
    space.region_3d.view_rotation = Quaternion((0.0, 0.0, 1.0), 1.1) @ before
    yield 1.0
    hands.move(x + 60, y + 40)
    yield from settled("the ray from aside")
    result["aside"] = {**facts(), **marked(region)}
    yield from hands.screenshot(FOLDER / "3-aside.png")

    # The same ray under a second sampler.
    scene.nerf.inspector.sampler_b, scene.nerf.inspector.compare = "OCCUPANCY", True
    yield from settled("the second sampler", slots=2)
    result["compare"] = {**facts(), **marked(region, addon("inspect.shapes").LANE)}
    yield from hands.screenshot(FOLDER / "4-compare.png")
    scene.nerf.inspector.compare = False
    scene.nerf.inspector.patch, scene.nerf.inspector.spacing = 16, 6
    yield from settled("a patch")
    result["patch"] = facts()
    yield from hands.screenshot(FOLDER / "5-patch.png")
    scene.nerf.inspector.patch = 1
    yield from settled("one ray again")

    # Esc ends it and leaves what was pinned; a second time, it takes away what was merely pointed at.
    operator = addon("operators.inspect_pixel").NERF_OT_inspect_pixel
    yield from escape(x, y)
    result["ended"] = {"running": operator._running, **facts()}
    with bpy.context.temp_override(window=hands.view_area()[0]):
        bpy.ops.nerf.inspect_pixel("INVOKE_DEFAULT")
    hands.move(x + 40, y - 30)
    yield 0.3
    hands.move(x + 41, y - 30)
    yield 0.5
    yield from settled("another ray under the pointer")
    result["elsewhere"] = facts()
    yield from escape(x + 41, y - 30)
    result["restored"] = {"running": operator._running, **facts()}

    # In camera view it is the scene's camera, in the render's size.
    scene.render.resolution_x, scene.render.resolution_y = 160, 90
    space.region_3d.view_perspective = "CAMERA"
    yield 1.0
    with bpy.context.temp_override(window=hands.view_area()[0]):
        bpy.ops.nerf.inspect_pixel("INVOKE_DEFAULT")
    place = seen_at(region, nerf.matrix_world.translation)
    hands.move(region.x + place.x + 30, region.y + place.y)
    yield 0.3
    hands.move(region.x + place.x, region.y + place.y)
    yield 0.5
    yield from settled("the camera's ray")
    one = state().slots[0].of_ray(state().chosen_ray)
    heavy = Vector(one["position"][int(np.argmax(one["weight"]))])
    result["camera"] = {**facts(), "seen": list(world_to_camera_view(scene, scene.camera, heavy))[:2]}
    yield from escape(region.x + place.x, region.y + place.y)
    space.region_3d.view_perspective = "PERSP"
    yield 0.5

    # A click in a picture takes the camera that made it.
    scene.render.resolution_x, scene.render.resolution_y = 120, 80
    bpy.ops.nerf.render_view()
    yield from hands.wait_for(lambda: "Camera" in bpy.data.images, 60, "the novel view")
    yield from hands.wait_for(lambda: not addon("jobs.tasks").running(), 30, "the rendering to end")
    area, editor = yield from image_editor(bpy.data.images["Camera"])
    with bpy.context.temp_override(window=hands.view_area()[0], area=area, region=editor):
        bpy.ops.nerf.inspect_pixel("INVOKE_DEFAULT")
    at = editor.view2d.view_to_region(60.5 / 120, 1.0 - 40.5 / 80, clip=False)
    x, y = editor.x + at[0], editor.y + at[1]
    hands.move(x - 2, y)
    yield 0.3
    yield from click(x, y)
    yield from settled("the picture's ray")
    hands.move(x + 30, y + 30)
    yield 0.5
    result["picture"] = {**facts(), "value": list(bpy.data.images["Camera"].pixels[4 * (39 * 120 + 60) :][:4])}
    result["editor"] = {**place_of(editor), "at": [at[0], editor.height - at[1]]}
    yield from hands.screenshot(FOLDER / "6-picture.png")
    yield from escape(x, y)

    # Clear, and the viewport is as it was.
    space.region_3d.view_rotation = before
    bpy.ops.nerf.inspect_clear()
    view = hands.view_region("WINDOW")
    hands.move(view.x + 5, view.y + 5)
    yield 1.5
    yield from hands.screenshot(FOLDER / "7-after.png")
    result["cleared"] = len(state().slots)
    result["core_pid"] = addon("jobs.core").running().pid
    return result


hands.perform(script(), FOLDER / "result.json")
