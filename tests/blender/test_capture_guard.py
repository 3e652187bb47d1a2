"""The scene is the same after a capture that succeeds, fails or is stopped: every property and every name."""

import bpy
import pytest

from . import capture_scenes as scenes


@pytest.fixture
def scene(tmp_path):
    """A scene that uses much of what a capture touches."""
    scene = bpy.context.scene
    scenes.workbench(scene)
    render, image = scene.render, scene.render.image_settings
    render.resolution_x, render.resolution_y, render.resolution_percentage = 333, 222, 75
    render.pixel_aspect_x, render.use_border, render.use_crop_to_border = 1.2, True, True
    render.border_min_x, render.use_stamp, render.use_motion_blur = 0.25, True, True
    render.use_multiview, render.filepath, render.dither_intensity = True, "//mine_", 0.7
    if hasattr(image, "media_type"):
        image.media_type = "IMAGE"
    image.file_format, image.color_mode, image.color_depth, image.exr_codec = "OPEN_EXR", "RGBA", "32", "PIZ"
    scene.view_settings.view_transform, scene.view_settings.look = "AgX", "AgX - Punchy"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.8, 1.2
    scene.cycles.use_denoising = True
    scene.view_layers.new("Second").use = True
    cube, camera = bpy.data.objects["Cube"], bpy.data.objects["Camera"]
    for frame, x in ((1, 0.0), (20, 2.0)):
        cube.location.x = x
        cube.keyframe_insert("location", index=0, frame=frame)
        camera.data.lens = 40 + x
        camera.data.keyframe_insert("lens", frame=frame)
    bpy.ops.mesh.primitive_monkey_add(location=(3, 0, 0))
    bpy.ops.mesh.primitive_cone_add(location=(-3, 0, 0))
    bpy.context.object.hide_render = True
    other = bpy.data.objects.new("Other", bpy.data.cameras.new("Other"))
    other.location = (0, -9, 0)
    other.rotation_euler.x = 1.5
    scene.collection.objects.link(other)
    scene.timeline_markers.new("a", frame=1).camera = other
    scene.timeline_markers.new("b", frame=12).camera = camera
    scene.frame_start, scene.frame_end = 1, 20
    scene.frame_set(5, subframe=0.25)
    scene.camera = camera
    cube.location.x, camera.data.lens = -0.5, 33.0  # changed, not keyed: a frame change would overwrite it
    for item in scene.objects:
        item.select_set(item == cube)
    scenes.small(scene.nerf.capture, tmp_path)
    bpy.context.view_layer.update()
    return scene


def _use(scene, how):
    settings = scene.nerf.capture
    if how == "selected":
        settings.subject, settings.use_transparent = "SELECTED", False
    elif how == "animation":
        settings.rig, settings.frame_step = "ANIMATION", 4
    elif how == "cycles":
        scenes.cycles(scene)
        scene.cycles.use_denoising = True
        settings.use_scene_size = True
    elif how == "passes":
        scenes.cycles(scene)
        settings.use_depth = settings.use_normal = settings.use_mask = settings.use_index = True
        settings.picture_format, settings.subject, settings.isolate = "EXR", "SELECTED", False
        layer, cycles = bpy.context.view_layer, scene.cycles
        layer.use_pass_mist, layer.use_pass_cryptomatte_object, layer.use_pass_combined = True, True, False
        cycles.samples, cycles.max_bounces, cycles.pixel_filter_type, cycles.filter_width = 77, 5, "GAUSSIAN", 2.5
        cycles.use_adaptive_sampling, cycles.use_layer_samples, scene.render.use_freestyle = False, "BOUNDED", True
        bpy.data.objects["Suzanne"].is_holdout = True
        _use_mist_in_compositor(scene)


def _use_mist_in_compositor(scene):
    """A graph that hangs on a pass which the capture switches off meanwhile."""
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("Mist", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        output = tree.nodes.new("CompositorNodeComposite")
    layers = tree.nodes.new("CompositorNodeRLayers")
    tree.links.new(layers.outputs["Mist"], output.inputs[0])


HOWS = ["sphere", "selected", "animation", "cycles", "passes"]


@pytest.mark.parametrize("how", HOWS)
def test_after_success(scene, how):
    _use(scene, how)
    before = scenes.dump()
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert scenes.differences(before, scenes.dump()) == []


@pytest.mark.parametrize("how", HOWS)
def test_after_cancel_between_views(scene, how, addon_module):
    _use(scene, how)
    before = scenes.dump()
    planner, driver = addon_module("capture.planner"), addon_module("capture.driver")
    settings = scene.nerf.capture
    job = driver.CaptureJob(scene, bpy.context.view_layer, settings, planner.make_plan(
        scene, bpy.context.view_layer, settings))  # fmt: skip
    assert scenes.differences(before, scenes.dump()) == []
    assert job.step() and job.done == 1
    between = scenes.differences(before, scenes.dump())
    assert between == [".scenes/Scene.render.use_persistent_data: False became True"]
    job.close()
    job.close()
    assert scenes.differences(before, scenes.dump()) == []


@pytest.mark.parametrize("how", HOWS)
def test_after_errors_while_saving_and_rendering(scene, how, addon_module, tmp_path):
    _use(scene, how)
    before = scenes.dump()
    planner, driver = addon_module("capture.planner"), addon_module("capture.driver")
    error = addon_module("vendor.nerf_core.contract.errors").NerfError
    settings, layer = scene.nerf.capture, bpy.context.view_layer
    job = driver.CaptureJob(scene, layer, settings, planner.make_plan(scene, layer, settings))
    job.step()
    train = tmp_path / "run/dataset/train"
    train.rename(tmp_path / "run/dataset/moved")
    train.write_text("a file is in the way")
    with pytest.raises(error, match="Cannot write '.*0002.(png|exr)'"):
        job.step()
    job.close()
    assert scenes.differences(before, scenes.dump()) == []


def test_after_an_error_while_writing_a_pass(scene, addon_module, tmp_path):
    _use(scene, "passes")
    before = scenes.dump()
    planner, driver = addon_module("capture.planner"), addon_module("capture.driver")
    error = addon_module("vendor.nerf_core.contract.errors").NerfError
    settings, layer = scene.nerf.capture, bpy.context.view_layer
    job = driver.CaptureJob(scene, layer, settings, planner.make_plan(scene, layer, settings))
    (tmp_path / "run/dataset/mask").write_text("a file is in the way")
    with pytest.raises(error, match="Cannot make the folder '.*mask.train'"):
        job.step()
    job.close()
    assert scenes.differences(before, scenes.dump()) == []
    tree = getattr(scene, "compositing_node_group", None) or scene.node_tree
    assert [link.from_socket.name for link in tree.links] == ["Mist"]


def test_renders_use_our_camera_and_a_raising_handler_changes_nothing(scene, tmp_path):
    """A person's own script hooks into renders; what it raises is Blender's affair, the scene stays."""
    before = scenes.dump()
    seen = []

    def handler(scene, *_):
        seen.append((scene.camera.name, scene.render.resolution_x))
        raise ValueError("from the person's own handler")

    bpy.app.handlers.render_pre.append(handler)
    try:
        assert bpy.ops.nerf.capture() == {"FINISHED"}
    finally:
        bpy.app.handlers.render_pre.remove(handler)
    assert seen == [("NeRF Capture", 32)] * 5
    assert scenes.differences(before, scenes.dump()) == []


def test_a_dump_sees_changes(scene):
    before = scenes.dump()
    scene.view_settings.gamma = 1.3
    bpy.data.objects["Cube"].hide_render = True
    assert len(scenes.differences(before, scenes.dump())) == 2


def test_only_the_selection_is_rendered_and_lights_stay(scene, tmp_path):
    scenes.cycles(scene)
    settings = scene.nerf.capture
    settings.subject = "SELECTED"
    settings.samples = 4
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    alone = scenes.document(tmp_path / "run")
    pixels = scenes.picture(tmp_path / "run/dataset/train/0001.png")
    assert pixels[..., :3][pixels[..., 3] > 250].max() > 60, "the lamp still shines on it"
    # The monkey at x = 3 would stand in some picture's way; alone, the cube's box is all there is.
    low, high = alone["nerf_toolkit"]["bounds"]
    assert low == pytest.approx([-1.5, -1, -1], abs=1e-5) and high == pytest.approx([0.5, 1, 1], abs=1e-5)
    settings.isolate, settings.name = False, "with others"
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    share = lambda run: sum(  # noqa: E731
        (scenes.picture(path)[..., 3] > 0).mean() for path in (tmp_path / run / "dataset").glob("*/*.png")
    )
    assert share("with others") > share("run") + 0.02
