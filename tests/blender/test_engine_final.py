"""F12 with the engine NeRF Toolkit: its pixels are the core's own, wherever the camera, the border and the NeRF are."""

import os
import signal
import threading

import bpy
import numpy as np
import pytest

from .small_run import CENTER, RADIUS, core_python, look_from, needs_core, process_gone, trained_run

pytestmark = needs_core
TOLERANCE = 1.0 / 255.0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def core_modules(addon_module):
    """The core, started once for all of these tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("NERF_CORE_PYTHON", core_python())

    class Core:
        core = addon_module("jobs.core")
        pump = addon_module("jobs.pump")
        cameras = addon_module("capture.cameras")
        layers = addon_module("objects.layers")
        create = addon_module("objects.create")
        run_folder = addon_module("vendor.nerf_core.contract.run_folder")

        def ask(self, **params):
            """The core's own answer to a `render` request, past the engine."""
            call = self.core.request("render", params)
            assert self.pump.pump_until(lambda: call.done, 120) and call.error is None, call.error
            return call.arrays

        def expected(self, **more):
            """What the core itself makes of the scene as it stands: as one picture, without border."""
            camera = self.camera()
            layers = self.layers.scene_layers(bpy.context.evaluated_depsgraph_get())
            wanted = {"layers": layers, "camera": camera.to_dict(), "color": "linear", "clip": True, "depth": "z"}
            return self.ask(**{**wanted, **more})

        def camera(self):
            """The contract's camera of the scene as it stands, without border."""
            scene = bpy.context.scene
            bpy.context.view_layer.update()
            frame = self.cameras.Frame.of_render(scene.render, with_border=False)
            return self.cameras.camera_from_blender(scene.camera, bpy.context.evaluated_depsgraph_get(), frame)

    core = Core()
    yield core
    process = core.core.running()
    core.core.leave(20)
    if process is not None:
        assert process_gone(process.pid)
    patch.undo()


@pytest.fixture
def scene(run, core_modules):
    """The factory scene with a NeRF in it, and the engine chosen."""
    scene = bpy.context.scene
    core_modules.create.add_nerf(scene, core_modules.run_folder.RunFolder(run))
    look_from(scene)
    assert bpy.ops.nerf.use_engine() == {"FINISHED"}
    scene.render.film_transparent = True
    scene.view_layers[0].use_pass_z = scene.view_layers[0].use_pass_normal = True
    return scene


@pytest.fixture
def nerf(scene):
    return next(item for item in scene.objects if item.nerf.is_nerf)


def multilayer(scene, path):
    """Have renders saved as float multilayer EXR at `path`."""
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
        settings.use_exr_interleave = True  # in several parts 5.0.1 writes no picture with a pixel aspect
    settings.file_format, settings.color_depth = "OPEN_EXR_MULTILAYER", "32"
    scene.render.filepath = str(path)


def read_exr(path):
    """Channels of an EXR by name without the layer's, top row first."""
    exr = pytest.importorskip("OpenEXR")
    with exr.File(str(path), separate_channels=True) as file:
        found = [item for part in file.parts for item in part.channels.items()]  # from 5.0 on, a pass is a part
        return {name.partition(".")[2]: np.array(channel.pixels) for name, channel in found}


def rendered(scene, tmp_path):
    """Render, and give the passes: rgba, depth, normal, opacity."""
    path = tmp_path / "picture.exr"
    multilayer(scene, path)
    assert bpy.ops.render.render(write_still=True) == {"FINISHED"}
    return passes_of(path)


def passes_of(path):
    channels = read_exr(path)
    return {
        "rgba": np.stack([channels[f"Combined.{letter}"] for letter in "RGBA"], axis=-1),
        "depth": channels.get("Depth.Z"),
        "normal": np.stack([channels[f"Normal.{letter}"] for letter in "XYZ"], axis=-1),
        "opacity": channels.get("Opacity.A"),
    }


def agree(name, seen, expected):
    """Whether a picture is the core's, and shows something."""
    assert seen.shape == expected.shape, name
    np.testing.assert_allclose(seen, expected, atol=TOLERANCE, err_msg=name)
    assert 0.005 < (expected[..., 3] > 0.5).mean() < 0.97, name


def test_passes_world_and_depth(core_modules, scene, tmp_path):
    seen = rendered(scene, tmp_path)
    expected = core_modules.expected(passes=["normal"])
    agree("picture", seen["rgba"], expected["rgba"])
    hit = expected["rgba"][..., 3] > 0.5
    np.testing.assert_allclose(seen["depth"][hit], expected["depth"][hit], rtol=1e-5)
    assert (seen["depth"][expected["rgba"][..., 3] == 0.0] == 1e10).all()
    np.testing.assert_allclose(seen["opacity"], expected["rgba"][..., 3], atol=1e-6)
    np.testing.assert_allclose(seen["normal"], expected["normal"], atol=1e-5)
    # The nearest depth is the sphere's.
    distance = np.linalg.norm(np.array(scene.camera.matrix_world.translation) - CENTER)
    assert abs(seen["depth"][hit].min() - (distance - RADIUS)) < 0.15
    length = np.linalg.norm(seen["normal"], axis=-1)
    assert np.abs(length[hit] - 1.0).max() < 1e-3 and (length[expected["rgba"][..., 3] == 0.0] == 0.0).all()
    depth = expected["depth"]

    scene.nerf_engine.depth = "DISTANCE"
    scene.nerf_engine.use_opacity = False
    seen, expected = rendered(scene, tmp_path), core_modules.expected(depth="distance")
    np.testing.assert_allclose(seen["depth"][hit], expected["depth"][hit], rtol=1e-5)
    assert (expected["depth"][hit] > depth[hit]).any() and seen["opacity"] is None

    scene.render.film_transparent = False
    background = scene.world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.2, 0.4, 0.1, 1.0)
    background.inputs["Strength"].default_value = 0.5
    seen = rendered(scene, tmp_path)["rgba"]
    over = expected["rgba"][..., :3] + (1 - expected["rgba"][..., 3:]) * np.array([0.1, 0.2, 0.05], np.float32)
    np.testing.assert_allclose(seen[..., :3], over, atol=TOLERANCE)
    assert (seen[..., 3] == 1.0).all()


def new_lens(scene, **values):
    """Give the scene's camera a lens of the factory's, but for these values."""
    scene.camera.data = bpy.data.cameras.new("lens")
    for name, value in values.items():
        setattr(scene.camera.data, name, value)


# Loading the factory scene ends the core: so all cameras are looked through in one test.
CAMERAS = {
    "plain": ({}, {}),
    "tall": ({"resolution_y": 60}, {}),
    "percentage": ({"resolution_percentage": 150}, {}),
    "pixel aspect": ({"pixel_aspect_x": 1.6}, {}),
    "vertical": ({}, {"sensor_fit": "VERTICAL", "sensor_height": 20.0, "shift_x": 0.1, "shift_y": -0.15}),
    "horizontal": ({}, {"sensor_fit": "HORIZONTAL", "shift_x": -0.2, "shift_y": 0.1}),
    "orthographic": ({}, {"type": "ORTHO", "ortho_scale": 2.6, "shift_x": 0.1}),
    "clipped": ({}, {"clip_start": 3.9}),
    "panorama": ({"resolution_x": 96, "resolution_y": 48}, {"type": "PANO"}),
}


def test_every_camera_shows_the_core_s_pixels(core_modules, scene, addon_module, tmp_path):
    pictures = {}
    for name, (output, lens) in CAMERAS.items():
        look_from(scene)
        scene.render.pixel_aspect_x = 1.0
        new_lens(scene, **lens)
        if name == "panorama":
            addon_module("compat").panorama(scene.camera.data).panorama_type = "EQUIRECTANGULAR"
        for key, value in output.items():
            setattr(scene.render, key, value)
        pictures[name] = rendered(scene, tmp_path)["rgba"]
        agree(name, pictures[name], core_modules.expected()["rgba"])
    shown = {name: picture[..., 3].sum() for name, picture in pictures.items()}
    assert shown["percentage"] > 2 * shown["plain"] and shown["clipped"] < 0.9 * shown["horizontal"]


def test_borders(core_modules, scene, tmp_path):
    render = scene.render
    render.use_border = render.use_crop_to_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.3, 0.8, 0.2, 0.6
    cropped = rendered(scene, tmp_path)["rgba"]
    render.use_crop_to_border = False
    whole = rendered(scene, tmp_path)["rgba"]
    left, right, top, low = 12, 32, 30 - 18, 30 - 6  # of 40 x 30
    expected = core_modules.expected()["rgba"]
    agree("cropped", cropped, expected[top:low, left:right])
    expected[:top] = expected[low:] = expected[:, :left] = expected[:, right:] = 0.0
    agree("not cropped", whole, expected)


def test_an_animation_of_a_moved_nerf(core_modules, scene, nerf, tmp_path):
    for frame, place in ((1, -0.4), (3, 0.4)):
        nerf.location, nerf.rotation_euler = (0.0, place, 0.0), (0.0, 0.0, frame)
        nerf.keyframe_insert("location", frame=frame)
        nerf.keyframe_insert("rotation_euler", frame=frame)
    scene.frame_start, scene.frame_end, scene.frame_step = 1, 3, 2
    multilayer(scene, tmp_path / "f_")
    assert bpy.ops.render.render(animation=True) == {"FINISHED"}
    seen = [passes_of(tmp_path / f"f_{frame:04d}.exr") for frame in (1, 3)]
    assert np.abs(seen[0]["rgba"] - seen[1]["rgba"]).max() > 0.5
    for frame, picture in zip((1, 3), seen, strict=True):
        scene.frame_set(frame)
        agree(f"frame {frame}", picture["rgba"], core_modules.expected()["rgba"])


def test_layers_and_frames_without_a_nerf_are_empty(core_modules, scene, nerf, run, tmp_path):
    """A view layer without it, and frames in which it is scaled to nothing or hidden, show the world alone."""
    shown = bpy.data.collections.new("Shown")
    scene.collection.children.link(shown)
    scene.collection.objects.unlink(nerf)
    shown.objects.link(nerf)
    first, second = scene.view_layers[0], scene.view_layers.new("Other")
    first.name = "First"
    second.layer_collection.children[shown.name].exclude = True
    second.use_pass_z = True
    path = tmp_path / "layers.exr"
    multilayer(scene, path)
    assert bpy.ops.render.render(write_still=True) == {"FINISHED"}
    with pytest.importorskip("OpenEXR").File(str(path), separate_channels=True) as file:
        channels = {name: np.array(each.pixels) for part in file.parts for name, each in part.channels.items()}
    expected = core_modules.expected()["rgba"]
    np.testing.assert_allclose(channels["First.Combined.A"], expected[..., 3], atol=TOLERANCE)
    assert (channels["Other.Combined.A"] == 0.0).all() and (channels["Other.Depth.Z"] == 1e10).all()

    scene.view_layers.remove(second)
    scene.render.film_transparent = False
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.2, 0.4, 0.1, 1.0)
    for frame, size in ((1, 1.0), (2, 0.0)):
        nerf.scale = [size] * 3
        nerf.keyframe_insert("scale", frame=frame)
    scene.frame_start, scene.frame_end = 1, 2
    multilayer(scene, tmp_path / "f_")
    assert bpy.ops.render.render(animation=True) == {"FINISHED"}
    seen = [passes_of(tmp_path / f"f_{frame:04d}.exr")["rgba"] for frame in (1, 2)]
    assert np.ptp(seen[0][..., 0]) > 0.3
    np.testing.assert_allclose(seen[1], np.broadcast_to(np.float32([0.2, 0.4, 0.1, 1.0]), seen[1].shape), atol=1e-5)
    # It appears within the shutter time, whose middle shows nothing yet.
    scene.frame_set(1)
    scene.render.use_motion_blur, scene.render.motion_blur_position, scene.render.motion_blur_shutter = True, "START", 2
    scene.nerf_engine.blur_samples = 1
    assert np.ptp(rendered(scene, tmp_path)["rgba"][..., 0]) > 0.3


def blur_scene(scene, nerf):
    """A small picture, which is asked for in one piece, of a NeRF that moves by a Python driver."""
    scene.render.resolution_x, scene.render.resolution_y = 24, 16
    scene.nerf_engine.blur_samples, scene.nerf_engine.motion_steps, scene.nerf_engine.seed = 8, 3, 5
    # A function that only Python knows: it is called while the engine waits for Blender's evaluation.
    bpy.app.driver_namespace["nerf_place"] = lambda frame: 0.4 * (frame - 2)
    nerf.driver_add("location", 1).driver.expression = "nerf_place(frame)"
    scene.frame_set(2)
    return scene.frame_current * 65536 + 5


def soft(rgba):
    """How much of a picture is neither in nor out."""
    return ((rgba[..., 3] > 0.1) & (rgba[..., 3] < 0.9)).mean()


def test_motion_blur_and_depth_of_field(core_modules, scene, nerf, tmp_path):
    seed = blur_scene(scene, nerf)
    sharp = rendered(scene, tmp_path)["rgba"]
    render = scene.render
    render.use_motion_blur, render.motion_blur_shutter, render.motion_blur_position = True, 1.5, "START"
    blurred = rendered(scene, tmp_path)["rgba"]
    assert scene.frame_current == 2 and scene.frame_subframe == 0.0
    looks = []
    for whole, part in ((2, 0.0), (2, 0.75), (3, 0.5)):
        scene.frame_set(whole, subframe=part)
        looks.append(core_modules.layers.scene_layers(bpy.context.evaluated_depsgraph_get()))
    scene.frame_set(2)
    camera = core_modules.camera().to_dict()
    moving = {"shutter": [camera] * 3, "layers_shutter": looks, "samples": 8, "seed": seed}
    agree("motion", blurred, core_modules.expected(**moving)["rgba"])
    assert soft(blurred) > 1.3 * soft(sharp)

    render.use_motion_blur = False
    dof = scene.camera.data.dof
    dof.use_dof, dof.aperture_fstop, dof.focus_object = True, 0.04, scene.objects["Light"]
    dof.aperture_blades, dof.aperture_rotation, dof.aperture_ratio = 5, 0.3, 1.5
    axis = np.array(scene.camera.matrix_world)[:3, 2]
    focus = abs(axis @ np.array(scene.camera.matrix_world.translation - scene.objects["Light"].location))
    lens = {"radius": 0.05 / 0.08, "focus": focus, "blades": 5, "rotation": dof.aperture_rotation, "ratio": 1.5}
    unsharp = rendered(scene, tmp_path)["rgba"]
    agree("lens", unsharp, core_modules.expected(lens=lens, samples=8, seed=seed)["rgba"])
    assert soft(unsharp) > 1.3 * soft(sharp)


def test_stereoscopy_gives_one_picture_for_both_eyes(core_modules, scene, tmp_path):
    scene.render.use_multiview = True
    path = tmp_path / "eyes.exr"
    multilayer(scene, path)
    scene.render.image_settings.views_format = "MULTIVIEW"
    assert bpy.ops.render.render(write_still=True) == {"FINISHED"}
    with pytest.importorskip("OpenEXR").File(str(path), separate_channels=True) as file:
        channels = {name: np.array(each.pixels) for part in file.parts for name, each in part.channels.items()}
    expected = core_modules.expected()["rgba"]
    for eye in ("left", "right"):
        seen = [channels[f"ViewLayer.Combined.{eye}.{letter}"] for letter in "RGBA"]
        np.testing.assert_allclose(np.stack(seen, axis=-1), expected, atol=TOLERANCE)


def test_what_is_missing_is_told(scene, nerf, run):
    scene.collection.objects.unlink(nerf)
    with pytest.raises(RuntimeError, match="no NeRF"):
        bpy.ops.render.render()
    scene.collection.objects.link(nerf)
    scene.camera.data.type = "PANO"
    if hasattr(scene.camera.data, "panorama_type"):
        scene.camera.data.panorama_type = "MIRRORBALL"
    else:
        scene.camera.data.cycles.panorama_type = "MIRRORBALL"
    with pytest.raises(RuntimeError, match="panorama"):
        bpy.ops.render.render()


def test_a_core_that_dies_and_a_run_that_goes_are_told_and_the_next_render_works(core_modules, scene, run, tmp_path):
    assert rendered(scene, tmp_path)["rgba"][..., 3].max() > 0.5
    scene.render.resolution_x = scene.render.resolution_y = 1200
    scene.nerf_engine.samples = 64
    process = core_modules.core.running()
    killer = threading.Timer(1.5, lambda: os.kill(process.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(RuntimeError, match="NeRF core was killed"):
        bpy.ops.render.render()
    killer.join()
    scene.render.resolution_x, scene.render.resolution_y, scene.nerf_engine.samples = 40, 30, 1
    moved = run.rename(run.with_name("moved"))
    (moved / "run.json").rename(moved / "hidden.json")
    with pytest.raises(RuntimeError, match="is gone"):
        bpy.ops.render.render()
    (moved / "hidden.json").rename(moved / "run.json")
    moved.rename(run)
    agree("again", rendered(scene, tmp_path)["rgba"], core_modules.expected()["rgba"])
    assert core_modules.core.running().pid != process.pid
