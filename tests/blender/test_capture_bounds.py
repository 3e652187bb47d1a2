"""The subject's bounds, found from evaluated geometry and changed by hand."""

import bpy
import numpy as np
import pytest
from mathutils import Euler

from . import capture_scenes as scenes


@pytest.fixture
def bounds(addon_module):
    """Bounds of the scene as it is, or of a subject."""
    module = addon_module("capture.bounds")

    def find(subject=None):
        layer = bpy.context.view_layer
        layer.update()
        return module.find_bounds(bpy.context.evaluated_depsgraph_get(), layer, subject)

    return find


def _is(found, low, high, atol=1e-5):
    np.testing.assert_allclose(found, [low, high], atol=atol)


def test_the_default_scene_is_its_cube(bounds):
    nothing = bpy.data.objects.new("No vertices", bpy.data.meshes.new("No vertices"))
    bpy.context.scene.collection.objects.link(nothing)
    _is(bounds(), (-1, -1, -1), (1, 1, 1))  # camera and light are not counted


def test_a_rotated_mesh_is_measured_by_its_vertices(bounds):
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1, segments=64, ring_count=32, location=(3, -2, 1))
    bpy.context.object.rotation_euler = Euler((0.7, 0.3, 0.5))
    _is(bounds(), (2, -3, 0), (4, -1, 2), atol=0.01)  # its rotated box would be a quarter larger


def test_modifiers_count(bounds):
    modifier = bpy.data.objects["Cube"].modifiers.new("Array", "ARRAY")
    modifier.count, modifier.relative_offset_displace = 3, (2, 0, 0)
    _is(bounds(), (-1, -1, -1), (9, 1, 1))


@pytest.mark.parametrize("how", ["object", "collection", "excluded", "camera ray"])
def test_what_renders_do_not_show_is_not_counted(bounds, how):
    bpy.ops.mesh.primitive_cube_add(location=(10, 0, 0))
    item = bpy.context.object
    if how == "object":
        item.hide_render = True
    elif how == "camera ray":
        item.visible_camera = False
    else:
        collection = bpy.data.collections.new("Hidden")
        bpy.context.scene.collection.children.link(collection)
        for other in item.users_collection:
            other.objects.unlink(item)
        collection.objects.link(item)
        if how == "collection":
            collection.hide_render = True
        else:
            bpy.context.view_layer.layer_collection.children["Hidden"].exclude = True
    _is(bounds(), (-1, -1, -1), (1, 1, 1))


@pytest.mark.parametrize("how", ["eye", "monitor"])
def test_what_only_the_viewport_hides_is_counted(bounds, how):
    bpy.ops.mesh.primitive_cube_add(location=(10, 0, 0))
    bpy.context.view_layer.update()
    if how == "eye":
        bpy.context.object.hide_set(True)
    else:
        bpy.context.object.hide_viewport = True
    _is(bounds(), (-1, -1, -1), (11, 1, 1))


def test_collection_instances_count_where_they_stand(bounds):
    collection = bpy.data.collections.new("Source")
    cone = bpy.data.objects.new("Ball", bpy.data.meshes.new("Ball"))
    cone.data.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], [], [(0, 1, 2), (0, 1, 3)])
    collection.objects.link(cone)
    empty = bpy.data.objects.new("Instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    empty.location, empty.scale = (5, 0, 0), (2, 2, 2)
    bpy.context.scene.collection.objects.link(empty)
    _is(bounds(), (-1, -1, -1), (7, 2, 2))
    _is(bounds({empty}), (5, 0, 0), (7, 2, 2))
    empty.hide_render = True
    _is(bounds(), (-1, -1, -1), (1, 1, 1))


def test_geometry_nodes_instances_count(bounds):
    tree = bpy.data.node_groups.new("Scatter", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    line, cube = tree.nodes.new("GeometryNodeMeshLine"), tree.nodes.new("GeometryNodeMeshCube")
    on_points, output = tree.nodes.new("GeometryNodeInstanceOnPoints"), tree.nodes.new("NodeGroupOutput")
    line.inputs["Count"].default_value, line.inputs["Offset"].default_value = 4, (0, 0, 5)
    tree.links.new(line.outputs["Mesh"], on_points.inputs["Points"])
    tree.links.new(cube.outputs["Mesh"], on_points.inputs["Instance"])
    tree.links.new(on_points.outputs[0], output.inputs[0])
    item = bpy.data.objects["Cube"]
    item.modifiers.new("Scatter", "NODES").node_group = tree
    item.location.x = 2
    _is(bounds(), (1.5, -0.5, -0.5), (2.5, 0.5, 15.5))


def test_curves_and_text_count_with_their_thickness(bounds):
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    bpy.ops.curve.primitive_bezier_circle_add(radius=2)
    bpy.context.object.data.bevel_depth = 0.5
    _is(bounds(), (-2.5, -2.5, -0.5), (2.5, 2.5, 0.5), atol=0.05)
    bpy.ops.object.text_add(location=(0, 0, 4))
    assert bounds()[1][2] == pytest.approx(4.0, abs=1e-5)


def test_empty_subjects_are_told(bounds, tmp_path):
    scene = bpy.context.scene
    scenes.small(scene.nerf.capture, tmp_path)
    scene.nerf.capture.subject = "SELECTED"
    for item in scene.objects:
        item.select_set(False)
    with pytest.raises(RuntimeError, match="Nothing is selected"):
        bpy.ops.nerf.capture()
    bpy.data.objects["Light"].select_set(True)
    with pytest.raises(RuntimeError, match="Nothing is selected"):
        bpy.ops.nerf.capture()
    bpy.data.objects["Cube"].select_set(True)
    bpy.data.objects["Cube"].hide_render = True
    with pytest.raises(RuntimeError, match="selected objects have no geometry"):
        bpy.ops.nerf.capture()
    scene.nerf.capture.subject = "SCENE"
    with pytest.raises(RuntimeError, match="The scene has no geometry"):
        bpy.ops.nerf.capture()
    with pytest.raises(RuntimeError, match="The scene has no geometry"):
        bpy.ops.nerf.make_bounds()
    assert list(tmp_path.iterdir()) == []


def test_children_of_a_selected_empty_are_the_subject(addon_module):
    root = bpy.data.objects.new("Root", None)
    bpy.context.scene.collection.objects.link(root)
    bpy.data.objects["Cube"].parent = root
    found = addon_module("capture.bounds").subject_objects([root])
    assert found == {root, bpy.data.objects["Cube"]}


def test_the_box_is_used_where_it_was_moved_turned_and_scaled(tmp_path):
    scene = bpy.context.scene
    scenes.workbench(scene)
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, train=2, val=0, test=0)
    assert bpy.ops.nerf.make_bounds() == {"FINISHED"}
    box = settings.bounds_object
    assert (box.type, box.empty_display_type, box.hide_render) == ("EMPTY", "CUBE", True)
    np.testing.assert_allclose(box.scale, (1, 1, 1), atol=1e-6)
    box.location, box.scale, box.rotation_euler = (1, 2, 3), (2, 2, 0.5), (0, 0, np.pi / 4)
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    diagonal = 2 * np.sqrt(2)
    found = np.array(scenes.document(tmp_path / "run")["nerf_toolkit"]["bounds"])
    _is(found, (1 - diagonal, 2 - diagonal, 2.5), (1 + diagonal, 2 + diagonal, 3.5))
    # Found again, it stands around the subject again, and there is still one.
    box.rotation_euler = (0, 0, 0)
    assert bpy.ops.nerf.make_bounds() == {"FINISHED"} and settings.bounds_object == box
    np.testing.assert_allclose(box.location, (0, 0, 0), atol=1e-6)
    # Deleted by the person, it is not used any more.
    bpy.data.objects.remove(box)
    settings.name = "without box"
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    _is(np.array(scenes.document(tmp_path / "without box")["nerf_toolkit"]["bounds"]), (-1, -1, -1), (1, 1, 1))


def test_the_subject_stays_while_its_box_is_selected(tmp_path):
    scene = bpy.context.scene
    scenes.workbench(scene)
    bpy.ops.mesh.primitive_cube_add(location=(10, 0, 0))
    scenes.small(scene.nerf.capture, tmp_path, train=2, val=0, test=0)
    scene.nerf.capture.subject = "SELECTED"
    assert bpy.ops.nerf.make_bounds() == {"FINISHED"}
    for item in scene.objects:
        item.select_set(item == scene.nerf.capture.bounds_object)
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    _is(np.array(scenes.document(tmp_path / "run")["nerf_toolkit"]["bounds"]), (9, -1, -1), (11, 1, 1))
    state = scenes.document(tmp_path / "run", "capture.json")
    assert state["plan"]["only"] == ["Cube.001"]
