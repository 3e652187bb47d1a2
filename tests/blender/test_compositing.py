"""One picture of the scene and its NeRF: in front, behind, across, soft edges; real renders, the real core."""

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Vector

from .render_pixels import picture, rendered
from .small_run import CENTER, RADIUS, core_python, look_from, needs_core, trained_run

pytestmark = needs_core
GREEN, BLUE = (0.0, 0.8, 0.1), (0.1, 0.2, 0.9)


@pytest.fixture(scope="module")
def core(addon_module):
    """One core for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERF_CORE_PYTHON", core_python())
        yield addon_module("jobs.core")
        addon_module("jobs.core").leave(20)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("compositing"))


@pytest.fixture
def scene(run, core, addon_module):
    scene = bpy.context.scene
    scene.nerf.run_folder = str(run)
    look_from(scene, width=48, height=48)
    scene.camera.data.sensor_width, scene.camera.data.lens = 36.0, 1.4 * 36.0
    for item in list(scene.objects):
        if item.type != "CAMERA":
            bpy.data.objects.remove(item)
    scene.world = None
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.device = 8, False, "CPU"
    scene.view_settings.view_transform = "Standard"
    addon_module("objects.create").add_nerf(scene, addon_module("jobs.runs").trained_run(scene))
    return scene


def card(scene, color, ahead, across=0.0, size=1.0, turn=0.3) -> bpy.types.Object:
    """A glowing square that faces the camera, `ahead` of the ball's middle towards it."""
    view = scene.camera.matrix_world
    mesh = bpy.data.meshes.new("Card")
    mesh.from_pydata([(-size, -size, 0), (size, -size, 0), (size, size, 0), (-size, size, 0)], [], [(0, 1, 2, 3)])
    material = bpy.data.materials.new("Glow")
    if bpy.app.version < (5, 0, 0):  # there it always has, and asking warns
        material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    glow, sink = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    glow.inputs["Color"].default_value = (*color, 1.0)
    material.node_tree.links.new(glow.outputs[0], sink.inputs["Surface"])
    mesh.materials.append(material)
    item = bpy.data.objects.new("Card", mesh)
    scene.collection.objects.link(item)
    towards = (view.translation - Vector(CENTER)).normalized()
    place = Matrix.Translation(Vector(CENTER) + towards * ahead + view.to_3x3().col[0] * across)
    item.matrix_world = place @ view.to_3x3().to_4x4() @ Matrix.Rotation(turn, 4, "Z")
    return item


def parts(scene, folder) -> tuple[np.ndarray, np.ndarray]:
    """The scene's own picture, and the NeRF's, each alone."""
    scene.render.use_compositing = False
    own = rendered(scene, folder)
    scene.render.use_compositing = True
    made = scene.nerf.compositing.scene
    settings, other = scene.render.image_settings, made.render.image_settings
    if hasattr(settings, "media_type"):
        other.media_type = settings.media_type
    for name in ("file_format", "color_mode", "color_depth"):
        setattr(other, name, getattr(settings, name))
    return own, rendered(made, folder)


def over(above, below) -> np.ndarray:
    return above + (1 - above[..., 3:]) * below


def test_a_mesh_in_front_hides_the_nerf_and_one_behind_is_hidden_with_soft_edges(scene, tmp_path):
    front = card(scene, GREEN, 1.2 * RADIUS, across=0.45, size=0.5)
    assert bpy.ops.nerf.set_up_compositing() == {"FINISHED"}
    merged = rendered(scene, tmp_path)
    own, nerf = parts(scene, tmp_path)
    assert nerf[24, 24, 3] > 0.9 and nerf[1, 1, 3] < 0.05 and ((nerf[..., 3] > 0.1) & (nerf[..., 3] < 0.9)).any()
    edge = (own[..., 3] > 0.1) & (own[..., 3] < 0.9)
    assert (edge & (nerf[..., 3] > 0.8)).sum() > 10  # soft edges of the mesh, over the NeRF
    np.testing.assert_allclose(merged, over(own, nerf), atol=2e-3)
    inside = own[..., 3] == 1
    np.testing.assert_allclose(merged[inside][:, :3], np.tile(GREEN, (inside.sum(), 1)), atol=1e-3)

    bpy.data.objects.remove(front)
    card(scene, BLUE, -1.4 * RADIUS, across=0.5, size=0.7)
    merged = rendered(scene, tmp_path)
    own, nerf = parts(scene, tmp_path)
    assert ((own[..., 3] > 0.1) & (own[..., 3] < 0.9) & (nerf[..., 3] > 0.8)).sum() > 5
    assert ((own[..., 3] > 0.9) & (nerf[..., 3] > 0.1) & (nerf[..., 3] < 0.9)).sum() > 3  # of the NeRF, over the mesh
    np.testing.assert_allclose(merged, over(nerf, own), atol=2e-3)


def test_what_crosses_the_nerf_is_hidden_where_it_is_behind_with_an_even_edge(scene, tmp_path):
    item = card(scene, GREEN, 0.0, size=0.75, turn=0.0)
    item.matrix_world = item.matrix_world @ Matrix.Rotation(1.1, 4, "Y")  # its left half comes nearer
    bpy.ops.nerf.set_up_compositing()
    merged = rendered(scene, tmp_path)
    own, nerf = parts(scene, tmp_path)
    both = (own[..., 3] == 1) & (nerf[..., 3] > 0.9)
    before, behind = over(own, nerf), over(nerf, own)
    share = np.abs(merged - behind)[..., 1] / np.maximum(np.abs(before - behind)[..., 1], 1e-6)  # of green
    hidden, shown = both & (share < 0.02), both & (share > 0.98)
    assert hidden.sum() > 50 and shown.sum() > 20
    columns = np.indices(both.shape)[1]
    # Of the card's two halves the one that comes nearer is seen.
    assert abs(columns[shown].mean() - columns[hidden].mean()) > 4
    assert 0 < (both & (share > 0.1) & (share < 0.9)).sum() < 40  # and where they cross the edge is soft
    assert (both & ~hidden & ~shown).sum() < 0.3 * both.sum()


def test_the_world_is_behind_both_where_the_film_was_opaque(scene, tmp_path):
    scene.world = bpy.data.worlds.new("Sky")
    if bpy.app.version < (5, 0, 0):
        scene.world.use_nodes = True
    node = next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")
    sky = (0.2, 0.5, 0.7)
    node.inputs["Color"].default_value = (*sky, 1.0)
    card(scene, BLUE, -1.4 * RADIUS, across=0.5, size=0.7)
    scene.render.film_transparent = False
    bpy.ops.nerf.set_up_compositing()
    merged = rendered(scene, tmp_path)
    own, nerf = parts(scene, tmp_path)
    assert own[0, 0, 3] == 0  # transparent now
    np.testing.assert_allclose(merged[..., 3], 1.0, atol=1e-4)
    np.testing.assert_allclose(merged, over(nerf, over(own, np.array([*sky, 1.0]))), atol=5e-3)
    bpy.ops.nerf.remove_compositing()
    assert not scene.render.film_transparent and not bpy.context.view_layer.use_pass_environment


def wiring(tree) -> set:
    return {
        (link.from_node.name, link.from_socket.name, link.to_node.name, link.to_socket.name) for link in tree.links
    } | {node.name for node in tree.nodes}


def test_nodes_that_are_there_stay_a_second_time_adds_nothing_and_all_goes_again(scene, addon_module, tmp_path):
    compat = addon_module("compat_compositor")
    tree = compat.make_tree(scene, "Mine")
    layers, invert = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeInvert")
    tree.links.new(layers.outputs["Image"], next(s for s in invert.inputs if s.type == "RGBA"))
    tree.links.new(invert.outputs[0], compat.output(tree, make=True))
    viewer = tree.nodes.new("CompositorNodeViewer")
    tree.links.new(layers.outputs["Image"], viewer.inputs[0])
    card(scene, (1.0, 1.0, 1.0), 1.2 * RADIUS, size=0.25)  # white, and black when inverted
    mine, scenes, groups = wiring(tree), len(bpy.data.scenes), len(bpy.data.node_groups)
    assert bpy.ops.nerf.set_up_compositing() == {"FINISHED"}
    once = wiring(tree)
    assert {entry for entry in mine if isinstance(entry, str)} <= once
    lost = mine - once
    assert [entry[0] for entry in lost] == [invert.name]  # the one link that the merge was put into
    made = scene.nerf.compositing.scene
    assert bpy.ops.nerf.set_up_compositing() == {"FINISHED"}
    assert wiring(tree) == once and len(bpy.data.scenes) == scenes + 1 and scene.nerf.compositing.scene == made
    merged = rendered(scene, tmp_path)
    assert merged[24, 24, :3].max() < 0.02  # inverted, in front of the NeRF
    assert bpy.ops.nerf.remove_compositing() == {"FINISHED"}
    assert wiring(tree) == mine and len(bpy.data.scenes) == scenes and len(bpy.data.node_groups) == groups
    assert not scene.render.film_transparent and not bpy.context.view_layer.use_pass_z
    assert not bpy.ops.nerf.remove_compositing.poll()


def test_without_nodes_nothing_is_left_after_removal(scene, addon_module):
    compat = addon_module("compat_compositor")
    bpy.ops.nerf.set_up_compositing()
    assert compat.tree_of(scene) is not None
    bpy.ops.nerf.remove_compositing()
    assert compat.tree_of(scene) is None and len(bpy.data.scenes) == 1 and not bpy.data.node_groups


def test_a_copied_scene_gets_a_nerf_scene_of_its_own_and_leaves_the_original_s(scene, tmp_path):
    bpy.ops.nerf.set_up_compositing()
    made = scene.nerf.compositing.scene
    bpy.ops.scene.new(type="LINK_COPY")
    copy = bpy.context.window.scene if bpy.context.window else next(
        each for each in bpy.data.scenes if each not in (scene, made)
    )  # fmt: skip
    copy.render.resolution_x = 32
    with bpy.context.temp_override(scene=copy, view_layer=copy.view_layers[0]):
        bpy.context.view_layer.update()
        assert made.background_set == scene and made.render.resolution_x == 48  # follows its own scene alone
        assert bpy.ops.nerf.set_up_compositing() == {"FINISHED"}
    other = copy.nerf.compositing.scene
    assert other not in (None, made) and other.background_set == copy and scene.nerf.compositing.scene == made
    assert rendered(copy, tmp_path).shape == (48, 32, 4)
    with bpy.context.temp_override(scene=copy, view_layer=copy.view_layers[0]):
        assert bpy.ops.nerf.remove_compositing() == {"FINISHED"}
    assert made.name in bpy.data.scenes and scene.nerf.compositing.scene == made
    assert rendered(scene, tmp_path)[24, 24, 3] > 0.9  # still merged


def test_camera_animation_and_new_cameras_are_followed(scene, tmp_path):
    nerf = next(item for item in scene.objects if item.nerf.is_nerf)
    bpy.ops.nerf.set_up_compositing()
    across = scene.camera.matrix_world.to_3x3().col[0] * 0.5
    nerf.keyframe_insert("location", frame=1)
    nerf.location = across
    nerf.keyframe_insert("location", frame=5)

    def middle() -> float:
        alpha = rendered(scene, tmp_path)[..., 3]
        return float((alpha.sum(axis=0) * (np.arange(48) + 0.5)).sum() / alpha.sum())

    scene.frame_set(1)
    first = middle()
    scene.frame_set(5)
    assert middle() - first > 5  # pixels to the right
    twin = bpy.data.objects.new("Twin", scene.camera.data.copy())
    twin.matrix_world = Matrix.Translation(across) @ scene.camera.matrix_world
    scene.collection.objects.link(twin)
    scene.camera = twin
    bpy.context.view_layer.update()
    assert scene.nerf.compositing.scene.camera == twin
    assert abs(middle() - first) < 0.5  # it went along


def test_what_cannot_be_is_told(scene):
    scene.render.engine = "NERF_TOOLKIT"
    with pytest.raises(RuntimeError, match="choose the engine of the rest"):
        bpy.ops.nerf.set_up_compositing()
    scene.render.engine, scene.camera = "CYCLES", None
    with pytest.raises(RuntimeError, match="no camera"):
        bpy.ops.nerf.set_up_compositing()
    for item in list(scene.objects):
        bpy.data.objects.remove(item)
    with pytest.raises(RuntimeError, match="no NeRF"):
        bpy.ops.nerf.set_up_compositing()
    assert len(bpy.data.scenes) == 1


def test_the_command_saves_a_file_that_renders_both(scene, addon_module, tmp_path, capsys):
    card(scene, GREEN, 1.2 * RADIUS, across=0.45, size=0.4)
    out = tmp_path / "both.blend"
    assert addon_module("cli").main(["compositing", "--save", str(out)]) == 0, capsys.readouterr().err
    assert "'Scene NeRF'" in capsys.readouterr().out
    bpy.ops.wm.open_mainfile(filepath=str(out))
    merged = picture(bpy.data.scenes["Scene"], tmp_path, transparent=False)
    green, red = merged[24, 33, :3], merged[24, 14, :3]
    assert np.argmax(green) == 1 and np.argmax(red) == 0 and merged[24, 14, 3] > 0.8
