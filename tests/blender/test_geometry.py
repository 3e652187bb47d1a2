"""Meshes, shadows and volumes of a trained run: in place, in colour, on rendered pixels; with the real core."""

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from .render_pixels import picture
from .small_run import CENTER, RADIUS, core_python, look_from, needs_core, trained_run

pytestmark = needs_core

TURN = Matrix.Translation((0.5, 0.25, -0.5)) @ Matrix.Rotation(0.7, 4, "Z") @ Matrix.Scale(1.5, 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("geometry"))


@pytest.fixture(scope="module")
def core(addon_module):
    """One core for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERF_CORE_PYTHON", core_python())
        yield addon_module("jobs.core")
        addon_module("jobs.core").leave(20)


@pytest.fixture
def scene(run, core):
    scene = bpy.context.scene
    scene.nerf.run_folder = str(run)
    look_from(scene, width=40, height=40)
    scene.camera.data.sensor_width, scene.camera.data.lens = 36.0, 1.4 * 36.0
    for item in list(scene.objects):
        if item.type != "CAMERA":
            bpy.data.objects.remove(item)
    if bpy.app.version < (5, 0, 0):
        scene.world.use_nodes = True
    ground = next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")
    ground.inputs["Color"].default_value = (0, 0, 0, 1)
    scene.nerf.mesh.resolution, scene.nerf.mesh.faces = 40, 3000
    return scene


def own_picture(scene, run, core, addon_module) -> np.ndarray:
    """The core's own picture from the scene's camera: (H, W, 4) premultiplied sRGB."""
    camera = addon_module("operators.render").camera_at(scene, bpy.context.view_layer, scene.camera)
    call = core.request("render", {"run": str(run), "camera": camera.to_dict()})
    assert addon_module("jobs.pump").pump_until(lambda: call.done, 60) and call.error is None
    return call.arrays["rgba"]


def vertices(item) -> np.ndarray:
    bpy.context.view_layer.update()
    flat = np.empty(3 * len(item.data.vertices), np.float32)
    item.data.vertices.foreach_get("co", flat)
    world = np.array(item.matrix_world)
    return flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def encoded(linear) -> np.ndarray:
    linear = np.asarray(linear, float)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055) * 255


def make_nerf(scene, run, addon_module):
    return addon_module("objects.create").add_nerf(scene, addon_module("jobs.runs").trained_run(scene))


def test_the_mesh_lies_on_the_ball_has_its_colours_and_shows_them(scene, run, core, addon_module, tmp_path):
    assert bpy.ops.nerf.import_mesh() == {"FINISHED"}
    item = scene.nerf.mesh.object
    mesh = item.data
    assert item.type == "MESH" and 1000 < len(mesh.polygons) <= 3000 and not mesh.validate()
    away = np.linalg.norm(vertices(item) - CENTER, axis=1) - RADIUS
    assert away.max() < 0.1 and (np.abs(away) < 0.12).mean() > 0.5  # within, 150 steps leave it rough
    assert len(mesh.edges) == len({tuple(sorted(pair)) for poly in mesh.polygons for pair in poly.edge_keys})
    assert mesh.color_attributes.active_color.name == "Color" and all(poly.use_smooth for poly in mesh.polygons)
    shown = picture(scene, tmp_path)
    # The camera looks at the middle of the ball from the side: its colour there, and nothing at the corners.
    middle = encoded(shown[17:23, 17:23, :3]).mean(axis=(0, 1))
    assert shown[20, 20, 3] == 1 and shown[0, 0, 3] == 0
    seen = own_picture(scene, run, core, addon_module)
    assert ((shown[..., 3] > 0.5) == (seen[..., 3] > 0.5)).mean() > 0.97
    assert np.abs(middle - 255 * (seen[..., :3] / seen[..., 3:])[17:23, 17:23].mean(axis=(0, 1))).max() < 15


def test_a_second_import_renews_the_first_and_lit_takes_the_scenes_light(scene, tmp_path):
    bpy.ops.nerf.import_mesh()
    first = scene.nerf.mesh.object
    scene.nerf.mesh.shading, scene.nerf.mesh.faces = "LIT", 800
    bpy.ops.nerf.import_mesh()
    assert scene.nerf.mesh.object == first and len(first.data.polygons) <= 800
    assert [m.name for m in bpy.data.meshes if m.name.startswith("NeRF Mesh")] == [first.data.name]
    dark = picture(scene, tmp_path, 4)
    assert dark[20, 20, 3] == 1 and dark[..., :3].max() < 0.01  # no light in the scene


def test_the_mesh_goes_where_the_nerf_goes(scene, run, addon_module):
    nerf = make_nerf(scene, run, addon_module)
    nerf.matrix_basis = TURN @ nerf.matrix_basis
    bpy.ops.nerf.import_mesh()
    bpy.ops.nerf.add_shadow()
    bpy.ops.nerf.import_volume()
    bpy.context.view_layer.update()
    expected = np.array(nerf.matrix_world @ Matrix(np.array(nerf.nerf.rest).reshape(4, 4).tolist()).inverted())
    for item in (scene.nerf.mesh.object, scene.nerf.mesh.shadow, scene.nerf.volume.object):
        assert item.parent == nerf
        np.testing.assert_allclose(np.array(item.matrix_world), expected, atol=1e-5)


def test_the_shadow_mesh_is_unseen_but_shades_the_floor_and_is_mirrored(scene, tmp_path):
    bpy.ops.mesh.primitive_plane_add(size=12, location=(*CENTER[:2], CENTER[2] - 1.5 * RADIUS))
    floor = bpy.context.object
    light = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    light.data.energy = 3.0
    scene.collection.objects.link(light)
    scene.camera.matrix_world = Matrix.Translation((CENTER[0], CENTER[1], 8.0))
    scene.camera.data.lens = 40
    before = picture(scene, tmp_path)
    assert bpy.ops.nerf.add_shadow() == {"FINISHED"}
    item = scene.nerf.mesh.shadow
    assert not item.visible_camera and len(item.data.polygons) <= 10_000
    after = picture(scene, tmp_path)
    # From above the sun's shadow lies under the ball: the floor is dark there, and what is seen is the floor.
    assert after[20, 20, 3] == 1 and after[20, 20, :3].max() < 0.5 * before[20, 20, :3].max()
    np.testing.assert_allclose(after[2, 2], before[2, 2], rtol=0.25)
    material = bpy.data.materials.new("Mirror")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Metallic"].default_value, shader.inputs["Roughness"].default_value = 1.0, 0.0
    floor.data.materials.append(material)
    bpy.data.objects.remove(light)
    mirrored = picture(scene, tmp_path)
    red, _, blue = mirrored[20, 20, :3]
    assert red > 0.05 and red > 2 * blue and mirrored[2, 2, :3].max() < 0.02


def test_the_volume_is_where_the_nerf_is_and_stops_light_as_it_does(scene, run, core, addon_module, tmp_path):
    scene.nerf.volume.resolution = 48
    assert bpy.ops.nerf.import_volume() == {"FINISHED"}
    item = scene.nerf.volume.object
    path = bpy.path.abspath(item.data.filepath)
    assert path.startswith(str(run / "volumes")) and path.endswith(".vdb")
    grid = item.data.grids["density"]
    assert grid.data_type == "FLOAT" and grid.channels == 1
    spacing = 2.2 * RADIUS / 48
    np.testing.assert_allclose(np.array(grid.matrix_object)[:3, 3], CENTER - 1.1 * RADIUS + spacing / 2, atol=1e-5)
    shown = picture(scene, tmp_path)
    assert shown[20, 20, 3] > 0.9 and shown[0, 0, 3] < 0.05
    seen = own_picture(scene, run, core, addon_module)[..., 3]  # the NeRF's own, pixel for pixel
    assert np.abs(shown[..., 3] - seen).mean() < 0.05 and shown[..., 3].sum() == pytest.approx(seen.sum(), rel=0.06)
    bpy.ops.nerf.import_volume()
    assert scene.nerf.volume.object == item and len(bpy.data.volumes) == 1


def test_what_cannot_be_is_told(scene, run, tmp_path):
    scene.nerf.mesh.automatic, scene.nerf.mesh.threshold = False, 1e9
    with pytest.raises(RuntimeError, match="lower the threshold"):
        bpy.ops.nerf.import_mesh()
    assert scene.nerf.mesh.object is None
    scene.nerf.volume.resolution = 16
    (run / "volumes").mkdir(exist_ok=True)
    theirs = run / "volumes" / "density-16-150.vdb"
    theirs.write_text("mine")
    with pytest.raises(RuntimeError, match="not made by NeRF Toolkit"):
        bpy.ops.nerf.import_volume()
    assert theirs.read_text() == "mine"


def test_the_commands_save_what_they_made(scene, run, addon_module, tmp_path, capsys):
    main = addon_module("cli").main
    out = tmp_path / "a.blend"
    asked = ["mesh", "--run", str(run), "--resolution", "24", "--faces", "500", "--shadow", "--save", str(out)]
    assert main(asked) == 0, capsys.readouterr().err
    assert "triangles at density" in capsys.readouterr().out
    assert main(["volume", "--run", str(run), "--resolution", "20", "--save", str(tmp_path / "b.blend")]) == 0
    bpy.ops.wm.open_mainfile(filepath=str(out))
    assert {item.name for item in bpy.data.objects} >= {"NeRF Mesh", "NeRF Shadow"}
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "b.blend"))
    volume = bpy.data.objects["NeRF Volume"].data
    assert volume.grids.load() and volume.grids["density"]
