"""What a person does in the X-ray mode in Blender's window: check, cancel, radiograph and train, look at the field.

Runs inside Blender: `blender --enable-event-simulate --python xray_session.py -- FOLDER`.
"""

import sys
import time
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hands

FOLDER = Path(sys.argv[sys.argv.index("--") + 1])
MODULE = "bl_ext.user_default.nerf_toolkit"
RINGS = (512, 384)  # of a ball of 400,000 triangles, which may not hold Blender up


def addon(name):
    return sys.modules[f"{MODULE}.{name}"]


def timed(holder, name, longest):
    """Keep the longest time that a function took, by the processor: others may be busy beside."""
    original = getattr(holder, name)

    def wrapped(*arguments, **named):
        began = time.thread_time()
        try:
            return original(*arguments, **named)
        finally:
            longest[name] = max(longest.get(name, 0.0), time.thread_time() - began)

    setattr(holder, name, wrapped)


def subject(scene):
    """A ball of flesh with a pin of bone: a unit is 10 cm."""
    scene.unit_settings.scale_length = 0.1
    bpy.data.objects.remove(scene.objects["Cube"])
    bpy.ops.mesh.primitive_uv_sphere_add(segments=RINGS[0], ring_count=RINGS[1], radius=1.0)
    ball = bpy.context.object
    ball.name, ball.nerf_xray.material = "Ball", "SOFT_TISSUE"
    bpy.ops.mesh.primitive_cylinder_add(radius=0.2, depth=1.4, location=(0.3, 0.0, 0.0))
    pin = bpy.context.object
    pin.name, pin.nerf_xray.material, pin.nerf_xray.priority = "Pin", "BONE", 1
    ball.display_type = "WIRE"
    pin.select_set(False)


def script():
    result = {"version": bpy.app.version_string, "longest": {}}
    scene = bpy.context.scene
    radiographs, training = addon("xray.radiographs"), addon("jobs.training")
    for name in ("_read", "_have_looked", "_ask", "start"):
        timed(radiographs, name, result["longest"])
    timed(addon("xray.subject"), "_look", result["longest"])
    subject(scene)
    settings = scene.nerf_xray
    settings.show_rig, settings.shown_view = True, 62
    settings.views, settings.val_views, settings.pixels = 24, 3, (64, 64)
    scene.nerf.capture.folder, scene.nerf.capture.name = str(FOLDER / "runs"), "ball"
    scene.nerf.training.budget, scene.nerf.training.steps = "STEPS", 60
    scene.nerf.training.device = "CPU"
    fold("NERF_PT_capture", "NERF_PT_train")
    yield from hands.open_sidebar()
    view = hands.view_area()[1].spaces.active
    view.region_3d.view_distance = 16.0
    yield 1.0
    yield from hands.screenshot(FOLDER / "rig.png")
    window = bpy.context.window_manager.windows[0]
    region = hands.view_region("WINDOW")
    result["view"] = [window.height, region.x, region.y, region.width, region.height]

    yield from hands.click("bpy.ops.nerf.xray_check(")
    yield from hands.wait_for(lambda: radiographs.current() and not radiographs.running(), 120, "the check")
    result["check"] = [radiographs.current().text, radiographs.current().warnings]

    settings.views = 400
    yield from hands.click("bpy.ops.nerf.xray_capture(then_train=False")
    yield from hands.wait_for(lambda: radiographs.current().phase == "computing", 120, "the first radiograph")
    yield from hands.wait_for(lambda: radiographs.current().fraction > 0.0, 120, "the first radiograph")
    yield from hands.screenshot(FOLDER / "computing.png")
    yield from hands.click("bpy.ops.nerf.xray_cancel(")
    result["cancelled"] = radiographs.current().phase
    yield from hands.wait_for(lambda: not (FOLDER / "runs" / "ball").exists(), 60, "the folder to go")

    settings.views = 24
    yield from hands.click("bpy.ops.nerf.xray_capture(then_train=True")
    yield from hands.wait_for(lambda: radiographs.current().phase == "done", 240, "the radiographs")
    result["preview"] = [list(image.size) for image in bpy.data.images if image.get("nerf_preview")]
    yield from hands.wait_for(lambda: training.current() is not None and not training.under_way(), 240, "the training")
    result["trained"] = training.current().phase
    result["nerf"] = [item.name for item in scene.objects if item.nerf.is_nerf]
    for name in ("Ball", "Pin"):
        scene.objects[name].hide_set(True)
    scene.view_settings.view_transform = "Standard"
    scene.render.engine = addon("engine.engine").ID
    scene.world.color = (0.0, 0.0, 0.0)
    for node in scene.world.node_tree.nodes if scene.world.node_tree else ():
        if node.type == "BACKGROUND":
            node.inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    view.shading.type = "RENDERED"
    view.region_3d.view_distance = 6.0
    yield 6.0
    yield from hands.screenshot(FOLDER / "field.png")
    addon("jobs.core").stop()
    return result


def fold(*names):
    """Have panels folded, so that the buttons below them are on the screen."""
    for name in names:
        kind = getattr(bpy.types, name)
        children = [
            getattr(bpy.types, each)
            for each in dir(bpy.types)
            if getattr(getattr(bpy.types, each), "bl_parent_id", "") == name
        ]
        for each in (*children, kind):
            bpy.utils.unregister_class(each)
        kind.bl_options = {"DEFAULT_CLOSED"}
        for each in (kind, *children):
            bpy.utils.register_class(each)
    kind = bpy.types.NERF_PT_xray
    children = [
        getattr(bpy.types, each)
        for each in dir(bpy.types)
        if getattr(getattr(bpy.types, each), "bl_parent_id", "") == kind.__name__
    ]
    for each in (*children, kind):
        bpy.utils.unregister_class(each)
    kind.bl_options = set()
    for each in (kind, *children):
        bpy.utils.register_class(each)


hands.perform(script(), FOLDER / "result.json")
