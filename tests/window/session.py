"""What a person does in Blender's window with the default scene, from Capture & Train to Inspect Samples.

Runs inside Blender: `blender --enable-event-simulate --python session.py -- FOLDER`; FOLDER receives `result.json`,
screenshots and the run.
"""

import sys
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hands

FOLDER = Path(sys.argv[sys.argv.index("--") + 1])
MODULE = "bl_ext.user_default.nerf_toolkit"
SIZE = 72


def addon(name):
    return sys.modules[f"{MODULE}.{name}"]


def attribute(mesh, name, member, width):
    values = np.empty(len(mesh.vertices) * width, dtype=np.float32)
    mesh.attributes[name].data.foreach_get(member, values)
    return values.reshape(-1, width) if width > 1 else values


def positions(item):
    values = np.empty(len(item.data.vertices) * 3, dtype=np.float32)
    item.data.vertices.foreach_get("co", values)
    local = values.reshape(-1, 3)
    return local @ np.array(item.matrix_world.to_3x3()).T + np.array(item.matrix_world.translation)


def pixels(image):
    values = np.empty(len(image.pixels), dtype=np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], 4)


def view_pixels(path):
    """The 3D viewport's part of a screenshot."""
    yield from hands.screenshot(path)
    image = bpy.data.images.load(str(path))
    window, region = bpy.context.window_manager.windows[0], hands.view_region("WINDOW")
    left, low = window.x + region.x, window.y + region.y
    part = pixels(image)[low : low + region.height, left : left + region.width].copy()
    bpy.data.images.remove(image)
    return part


def open_panels():
    """Unfold what is clicked in and starts folded: Blender has no way to ask where a folded panel's header is.

    The others stay folded: a button far down is found late, and a training does not wait for its Stop.
    """
    for kind in list(bpy.types.Panel.__subclasses__()) + [
        kind for base in bpy.types.Panel.__subclasses__() for kind in base.__subclasses__()
    ]:
        name = getattr(kind, "bl_idname", kind.__name__)
        if name in ("NERF_PT_points", "NERF_PT_inspect_grid") and "DEFAULT_CLOSED" in getattr(kind, "bl_options", ()):
            bpy.utils.unregister_class(kind)
            kind.bl_options = set()
            bpy.utils.register_class(kind)


def render_settings(scene):
    """What a capture changes while it takes a picture, as one string."""
    simple = {"BOOLEAN", "INT", "FLOAT", "STRING", "ENUM"}
    values = [repr(scene.camera), scene.frame_current]
    for group in (scene.render, scene.render.image_settings, scene.view_settings, scene.cycles):
        for item in group.bl_rna.properties:
            if item.type in simple and not item.is_readonly:
                value = getattr(group, item.identifier)
                values.append((item.identifier, list(value) if getattr(item, "is_array", False) else value))
    return repr(values)


def picture_times():
    """When each picture of the data set was written."""
    return {str(path): path.stat().st_mtime_ns for path in (FOLDER / "run" / "dataset").glob("*/*.png")}


def script():
    result = {"version": bpy.app.version_string}
    scene = bpy.context.scene
    result["enabled"] = MODULE in bpy.context.preferences.addons
    result["objects_before"] = sorted(item.name for item in bpy.data.objects)
    open_panels()
    yield from hands.open_sidebar()
    result["tab"] = hands.view_area()[2].active_panel_category
    yield from hands.screenshot(FOLDER / "1-sidebar.png")

    # EEVEE is drawn in software where there is no graphics card: Cycles is the faster of the two there.
    scene.render.engine = "CYCLES"
    capture = scene.nerf.capture
    capture.folder, capture.name = str(FOLDER), "run"
    capture.train_count, capture.val_count, capture.test_count = 24, 2, 2
    capture.resolution_x = capture.resolution_y = SIZE
    capture.samples = 4
    scene.nerf.training.budget = "SECONDS"
    scene.nerf.training.seconds = 30.0
    scene.nerf.training.preview_seconds = 1.0

    settings_before = render_settings(scene)
    yield from hands.click("bpy.ops.nerf.capture(then_train=True)")
    active_job = addon("operators.capture").active_job
    yield from hands.wait_for(lambda: active_job() is not None, 20, "the capture to start")
    yield from hands.wait_for(lambda: active_job() is None or active_job().done >= 5, 120, "five views")
    yield from hands.screenshot(FOLDER / "2-capturing.png")
    # Esc ends it at the next view, and a second click goes on where it was.
    yield from hands.press("ESC")
    yield from hands.wait_for(lambda: active_job() is None, 60, "the capture to stop")
    taken = picture_times()
    result["stopped_capture"] = {"views": len(taken), "settings_kept": render_settings(scene) == settings_before}
    training = addon("jobs.training")
    result["stopped_capture"]["trains"] = training.current() is not None
    yield from hands.click("bpy.ops.nerf.capture(then_train=True)")
    yield from hands.wait_for(
        lambda: training.current() is not None, 300, "the capture to end and the training to start"
    )
    result["taken_again"] = sum(picture_times()[name] != when for name, when in taken.items())
    yield from hands.wait_for(lambda: training.current().step > 0, 180, "the first training steps")
    result["core_pid"] = addon("jobs.core").running().pid
    yield from hands.wait_for(lambda: "NeRF Preview" in bpy.data.images, 60, "the live preview")
    yield 1.0
    yield from hands.screenshot(FOLDER / "3-training.png")
    yield from hands.click("bpy.ops.nerf.train_stop(", upwards=True)
    yield from hands.wait_for(lambda: not training.under_way(), 60, "the training to stop")
    result["stopped_training"] = {"phase": training.current().phase, "elapsed": training.current().elapsed}
    yield from hands.click("bpy.ops.nerf.train(more=False)")
    yield from hands.wait_for(lambda: training.under_way(), 30, "the training to go on")
    yield from hands.wait_for(lambda: not training.under_way(), 180, "the training to end")
    result["continued_training"] = {"phase": training.current().phase, "elapsed": training.current().elapsed}
    scene.nerf.training.seconds = 4.0
    yield from hands.click("bpy.ops.nerf.train(more=True)")
    yield from hands.wait_for(lambda: training.under_way(), 30, "more training")
    yield from hands.wait_for(lambda: not training.under_way(), 180, "more training to end")
    result["more_training"] = {"phase": training.current().phase, "elapsed": training.current().elapsed}
    result["training"] = {"phase": training.current().phase, "val_psnr": training.current().val_psnr}
    preview = pixels(bpy.data.images["NeRF Preview"])
    result["preview"] = {"size": list(preview.shape[:2]), "covered": float((preview[..., 3] > 0.5).mean())}
    result["objects_after_capture"] = sorted(item.name for item in bpy.data.objects if not item.nerf.is_nerf)
    result["nerfs"] = [list(item.nerf.rest) for item in bpy.data.objects if item.nerf.is_nerf]
    result["views"] = len(list((FOLDER / "run" / "dataset").glob("*/*.png")))

    # A novel view, beside Cycles' own picture from the same camera.
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 160, 90, 100
    images = set(bpy.data.images)
    yield from hands.click("bpy.ops.nerf.render_view(")
    yield from hands.wait_for(lambda: set(bpy.data.images) - images, 60, "the novel view")
    yield from hands.wait_for(lambda: not addon("jobs.tasks").running(), 30, "the rendering to end")
    view = next(iter(set(bpy.data.images) - images))
    seen = pixels(view)
    np.save(FOLDER / "view.npy", seen)
    result["view"] = {"size": list(view.size), "file": bpy.path.abspath(view.filepath)}

    settings = scene.nerf.points
    settings.count = 6000
    yield from hands.click("bpy.ops.nerf.import_points(")
    yield from hands.wait_for(lambda: settings.object is not None, 90, "the points")
    points = settings.object
    np.savez(
        FOLDER / "points.npz",
        position=positions(points),
        density=attribute(points.data, "density", "value", 1),
        color=attribute(points.data, "color", "color", 4),
    )
    # What the viewport shows of the points alone, and without them.
    cube = bpy.data.objects["Cube"]
    cube.hide_set(True)
    yield 1.0
    shown = yield from view_pixels(FOLDER / "4-points.png")
    points.hide_set(True)
    yield 1.0
    hidden = yield from view_pixels(FOLDER / "5-without.png")
    result["points_cover"] = float((np.abs(shown - hidden).max(axis=-1) > 0.05).mean())
    points.hide_set(False)
    cube.hide_set(False)

    inspect = scene.nerf.inspect
    inspect.pixels, inspect.grid = "GRID", (8, 6)
    yield from hands.click("bpy.ops.nerf.inspect_samples(")
    yield from hands.wait_for(lambda: inspect.object is not None, 60, "the samples")
    samples = inspect.object
    names = {"t": 1, "density": 1, "weight": 1, "transmittance": 1, "color": 4, "stage": 1}
    result["sample_attributes"] = sorted(name for name in samples.data.attributes.keys() if name in names)
    np.savez(
        FOLDER / "samples.npz",
        position=positions(samples),
        t=attribute(samples.data, "t", "value", 1),
        weight=attribute(samples.data, "weight", "value", 1),
        transmittance=attribute(samples.data, "transmittance", "value", 1),
        eye=np.array(scene.camera.matrix_world.translation),
    )
    cube.hide_set(True)
    points.hide_set(True)
    yield 1.0
    yield from hands.screenshot(FOLDER / "6-samples.png")

    # Last, because it changes the scene: what Cycles itself renders from the camera.
    for item in (points, samples, inspect.rays):
        if item is not None:
            item.hide_render = True
    cube.hide_set(False)
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    scene.cycles.samples, scene.cycles.use_denoising = 16, False
    scene.render.filepath = str(FOLDER / "truth.png")
    bpy.ops.render.render(write_still=True)
    truth = bpy.data.images.load(scene.render.filepath)
    np.save(FOLDER / "truth.npy", pixels(truth))
    yield 0.5
    return result


hands.perform(script(), FOLDER / "result.json")
