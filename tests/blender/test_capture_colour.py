"""Captured pictures are display-referred sRGB, whatever the scene's look, compositor and sequencer say."""

import bpy
import numpy as np
import pytest

from . import capture_scenes as scenes

# round(255 * sRGB(linear)), of exactly 187.5, 136.95 and 99.09, which is what Blender writes. The 187, 136 and 98 that
# are sometimes quoted for these greys are one less, which is no rounding of the sRGB curve.
EXPECTED = {0.5: 188, 0.25: 137, 0.125: 99}


def _planes(scene):
    """Three emission planes side by side in front of an orthographic camera."""
    for item in list(scene.objects):
        bpy.data.objects.remove(item)
    for column, value in enumerate(EXPECTED):
        bpy.ops.mesh.primitive_plane_add(size=1.0, location=(column - 1, 0, 0))
        bpy.context.object.data.materials.append(scenes.emission(f"Grey {value}", value))
    bpy.ops.object.camera_add(location=(0, 0, 5), rotation=(0, 0, 0))
    scene.camera = bpy.context.object
    scene.camera.data.type, scene.camera.data.ortho_scale = "ORTHO", 4.0
    scenes.cycles(scene)
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    scene.render.film_transparent = False


def _spoil(scene, override):
    """Everything that could change colours, at once; each is in use when the scene itself is rendered."""
    _spoil_view(scene.view_settings)
    if override:
        scene.render.image_settings.color_management = "OVERRIDE"
        _spoil_view(scene.render.image_settings.view_settings)
    scene.render.dither_intensity = 2.0
    scene.render.use_stamp = True
    _invert_in_compositor(scene)
    _white_in_sequencer(scene)


def _spoil_view(view):
    view.view_transform = "AgX"
    view.look = "AgX - Punchy"
    view.exposure, view.gamma = 1.3, 1.7
    view.use_curve_mapping = True
    view.curve_mapping.curves[3].points[0].location = (0.0, 0.4)
    view.curve_mapping.update()
    if hasattr(view, "use_white_balance"):
        view.use_white_balance, view.white_balance_temperature = True, 3000


def _invert_in_compositor(scene):
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("Invert", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        output = tree.nodes.new("CompositorNodeComposite")
    layers, invert = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeInvert")
    source = next(socket for socket in invert.inputs if socket.type == "RGBA")
    tree.links.new(layers.outputs["Image"], source)
    tree.links.new(invert.outputs[0], output.inputs[0])
    scene.render.use_compositing = True


def _white_in_sequencer(scene):
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    span = {"length": 100} if bpy.app.version >= (5, 0, 0) else {"frame_end": 100}
    strip = strips.new_effect(name="White", type="COLOR", channel=1, frame_start=1, **span)
    strip.color = (0.9, 0.2, 0.1)
    scene.render.use_sequencer = True


def _greys(pixels):
    """The colours in the middle of the three planes, left to right."""
    height, width = pixels.shape[:2]
    return [pixels[height // 2, int(width * (0.5 + column / 4)), :].tolist() for column in (-1, 0, 1)]


@pytest.mark.parametrize(("transparent", "override"), [(True, False), (False, True)])
def test_linear_emission_arrives_as_srgb(tmp_path, transparent, override):
    scene = bpy.context.scene
    _planes(scene)
    _spoil(scene, override)
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, val=0, test=0, size=64)
    settings.rig, settings.use_transparent = "CAMERAS", transparent

    if not override:  # once is enough to know that the spoiling spoils
        scene.render.resolution_x = scene.render.resolution_y = 64
        scene.render.resolution_percentage = 100
        scene.render.filepath = str(tmp_path / "spoilt.png")
        bpy.ops.render.render(write_still=True)
        spoilt = scenes.picture(tmp_path / "spoilt.png")
        assert np.abs(np.array(_greys(spoilt))[:, 0] - list(EXPECTED.values())).max() > 20, "the scene must be spoilt"

    before = scenes.dump()
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert scenes.differences(before, scenes.dump()) == []
    pixels = scenes.picture(tmp_path / "run/dataset/train/0001.png")
    assert _greys(pixels) == [[value] * 3 + [255] for value in EXPECTED.values()]
    corner = pixels[2, 2]
    assert corner[3] == (0 if transparent else 255)
    assert scenes.document(tmp_path / "run")["nerf_toolkit"] == {
        "color_space": "srgb", "has_alpha": transparent, "bounds": [[-1.5, -0.5, 0.0], [1.5, 0.5, 0.0]],
    }  # fmt: skip


def test_half_transparent_edges_hold_straight_colour(tmp_path):
    scene = bpy.context.scene
    _planes(scene)
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, val=0, test=0, size=64)
    settings.rig, settings.samples = "CAMERAS", 64
    bpy.data.objects["Plane"].rotation_euler.z = 0.3
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    pixels = scenes.picture(tmp_path / "run/dataset/train/0001.png").astype(int)
    edge = pixels[:, :16][(pixels[:, :16, 3] > 60) & (pixels[:, :16, 3] < 200)]
    assert len(edge) > 5
    assert np.abs(edge[:, :3] - 188).max() <= 3, "an edge's colour is the plane's, not darkened by its alpha"
