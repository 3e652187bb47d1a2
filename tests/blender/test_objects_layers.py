"""NeRF objects as layers: where Blender shows them is where they are rendered, cropped and hidden as their empties."""

import math

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from .object_runs import BOUNDS, CENTER, HALF, box_of, layers, shown_at, write_run

IDENTITY = np.eye(4)


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "a run")


@pytest.fixture
def item(addon_module, run):
    return addon_module("objects.create").add_nerf(bpy.context.scene, run)


def matrix_of(layer):
    return np.array(layer["matrix"])


def test_a_new_object_is_its_run_s_box_and_shows_it_where_it_was_trained(addon_module, item, run):
    assert (item.type, item.empty_display_type, item.empty_display_size) == ("EMPTY", "CUBE", 1.0)
    assert item.name == "a run" and item.name in bpy.context.scene.collection.objects
    assert item.nerf.is_nerf and item.nerf.run_id == "a" * 32 and item.nerf.crop is None
    bpy.context.view_layer.update()
    np.testing.assert_allclose(box_of(item.matrix_world), BOUNDS, atol=1e-6)
    np.testing.assert_allclose(np.array(item.nerf.rest[:]).reshape(4, 4), np.array(item.matrix_world), atol=1e-7)
    (layer,) = layers(addon_module)
    assert layer == {"run": str(run.root), "matrix": IDENTITY.tolist(), "crops": []}


@pytest.mark.parametrize("bounds", ["missing", [[0, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, float("inf")]], "12", [[0]]])
def test_a_run_without_a_usable_box_is_told_of(addon_module, tmp_path, bounds):
    folder = write_run(tmp_path / "odd")
    known = {"id": "b" * 32, "method": "fast"} | ({} if bounds == "missing" else {"bounds": str(bounds)})
    folder.write(known)
    with pytest.raises(Exception, match="run.json' holds no usable 'bounds' of the trained box; train again"):
        addon_module("objects.create").add_nerf(bpy.context.scene, folder)
    assert not list(addon_module("objects.create").nerf_objects(bpy.context.scene))


def test_alt_g_r_s_bring_a_moved_object_back(addon_module, item):
    item.location, item.rotation_euler, item.scale = (4, 5, 6), (0.3, -0.4, 2.0), (2, 3, 0.5)
    assert not np.allclose(matrix_of(layers(addon_module)[0]), IDENTITY)
    bpy.context.view_layer.objects.active = item
    for other in bpy.context.view_layer.objects:
        other.select_set(other is item)
    for clear in (bpy.ops.object.location_clear, bpy.ops.object.rotation_clear, bpy.ops.object.scale_clear):
        assert clear(clear_delta=False) == {"FINISHED"}
    np.testing.assert_allclose(matrix_of(layers(addon_module)[0]), IDENTITY, atol=1e-6)


def test_it_turns_and_scales_about_its_box_s_centre(addon_module, item):
    location, turn, scale = Vector((0.5, -2.0, 3.0)), Euler((0.4, -0.7, 1.9)), Vector((2.0, 0.5, 3.0))
    item.location, item.rotation_euler, item.scale = location, turn, scale
    by_hand = (
        Matrix.Translation(Vector(CENTER) + location)
        @ turn.to_matrix().to_4x4()
        @ Matrix.Diagonal((*scale, 1.0))
        @ Matrix.Translation(-Vector(CENTER))
    )
    found = matrix_of(layers(addon_module)[0])
    np.testing.assert_allclose(found, np.array(by_hand), atol=2e-5)
    # A quarter turn about Z of a box that is longer in Y than in X: its longer side then lies along X.
    item.location, item.rotation_euler, item.scale = (0, 0, 0), (0, 0, math.radians(90)), (1, 1, 1)
    (layer,) = layers(addon_module)
    np.testing.assert_allclose(shown_at(layer, CENTER + [0, HALF[1], 0]), CENTER + [-HALF[1], 0, 0], atol=1e-5)
    np.testing.assert_allclose(
        shown_at(layer, CENTER + [HALF[0], 0, HALF[2]]), CENTER + [0, HALF[0], HALF[2]], atol=1e-5
    )


def test_parents_constraints_drivers_and_keyframes_count(addon_module, item):
    scene = bpy.context.scene
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    parent.location, parent.rotation_euler, parent.scale = (1, 2, 3), (0, 0, 0.5), (1, 2, 1)
    item.parent = parent
    bpy.context.view_layer.update()
    expected = np.array(parent.matrix_world) @ IDENTITY
    np.testing.assert_allclose(matrix_of(layers(addon_module)[0]), expected, atol=1e-5)
    item.parent = None

    target = bpy.data.objects.new("Target", None)
    scene.collection.objects.link(target)
    target.location = (7, 8, 9)
    constraint = item.constraints.new("COPY_LOCATION")
    constraint.target = target
    np.testing.assert_allclose(shown_at(layers(addon_module)[0], CENTER), (7, 8, 9), atol=1e-5)
    item.constraints.remove(constraint)

    driver = item.driver_add("location", 2).driver
    driver.expression = "2 + 3"
    np.testing.assert_allclose(shown_at(layers(addon_module)[0], CENTER), CENTER + [0, 0, 5], atol=1e-5)
    item.driver_remove("location", 2)

    item.location = (0, 0, 0)
    item.keyframe_insert("location", frame=1)
    item.location = (10, 0, 0)
    item.keyframe_insert("location", frame=11)
    scene.frame_set(11)
    np.testing.assert_allclose(shown_at(layers(addon_module)[0], CENTER), CENTER + [10, 0, 0], atol=1e-5)
    scene.frame_set(1)
    np.testing.assert_allclose(matrix_of(layers(addon_module)[0]), IDENTITY, atol=1e-6)


def test_several_objects_and_copies_are_layers_of_their_own(addon_module, item, tmp_path):
    other = addon_module("objects.create").add_nerf(bpy.context.scene, write_run(tmp_path / "other", "b" * 32))
    other.location = (0, 0, 4)
    bpy.context.view_layer.objects.active = item
    for each in bpy.context.view_layer.objects:
        each.select_set(each is item)
    assert bpy.ops.object.duplicate() == {"FINISHED"}
    copy = bpy.context.view_layer.objects.active
    assert copy != item and copy.nerf.is_nerf and copy.nerf.run_id == item.nerf.run_id
    copy.location = (1, 0, 0)
    found = sorted((layer["run"], *shown_at(layer, CENTER) - CENTER) for layer in layers(addon_module))
    assert [entry[0] for entry in found] == [str(tmp_path / "a run")] * 2 + [str(tmp_path / "other")]
    np.testing.assert_allclose([entry[1:] for entry in found], [(0, 0, 0), (1, 0, 0), (0, 0, 4)], atol=1e-5)


@pytest.mark.parametrize("parented", [True, False])
def test_what_is_hidden_is_left_out(addon_module, item, parented):
    if parented:
        item.parent = bpy.context.scene.objects["Cube"]
    item.location = (1, 1, 1)

    def seen():
        return len(layers(addon_module, viewport=True)), len(layers(addon_module, viewport=False))

    assert seen() == (1, 1)
    item.hide_render = True
    assert seen() == (1, 0)
    item.hide_render = False
    item.hide_viewport = True
    assert seen() == (0, 1)  # a render shows it, though the viewport's depsgraph knows nothing of it
    np.testing.assert_allclose(shown_at(layers(addon_module)[0], CENTER), CENTER + [1, 1, 1], atol=1e-5)
    item.hide_viewport = False
    item.hide_set(True)
    assert seen() == (0, 1)
    item.hide_set(False)

    collection = bpy.data.collections.new("Box of NeRFs")
    scene = bpy.context.scene
    scene.collection.objects.unlink(item)
    scene.collection.children.link(collection)
    collection.objects.link(item)
    assert seen() == (1, 1)
    collection.hide_render = True
    assert seen() == (1, 0)
    collection.hide_render, collection.hide_viewport = False, True
    assert seen() == (0, 1)
    collection.hide_viewport = False
    bpy.context.view_layer.layer_collection.children[collection.name].exclude = True
    assert seen() == (0, 0)


def test_too_many_at_once_are_told(addon_module, item):
    for _ in range(15):
        bpy.context.scene.collection.objects.link(item.copy())
    assert len(layers(addon_module)) == 16
    bpy.context.scene.collection.objects.link(item.copy())
    for viewport in (True, False):
        with pytest.raises(Exception, match="17 NeRFs are shown at once; at most 16"):
            layers(addon_module, viewport=viewport)


def test_what_is_scaled_to_nothing_shows_nothing(addon_module, item):
    item.scale = (1, 0, 1)
    assert layers(addon_module) == []
    item.scale = (1e-4, 1e-4, 1e-4)
    assert len(layers(addon_module)) == 1


def test_instances_of_a_collection_are_layers(addon_module, item):
    scene = bpy.context.scene
    collection = bpy.data.collections.new("Asset")
    crop = bpy.data.objects.new("Crop", None)
    crop.location = CENTER
    for each in (item, crop):
        collection.objects.link(each)
    scene.collection.objects.unlink(item)
    item.nerf.crop = crop
    for x in (10.0, 20.0):
        instance = bpy.data.objects.new("Instance", None)
        instance.instance_type, instance.instance_collection, instance.location = "COLLECTION", collection, (x, 0, 0)
        scene.collection.objects.link(instance)
    found = sorted(layers(addon_module), key=lambda layer: layer["matrix"][0][3])
    assert [round(layer["matrix"][0][3], 4) for layer in found] == [10.0, 20.0]
    np.testing.assert_allclose(box_of(found[1]["crops"][0]).mean(axis=0), CENTER + [20, 0, 0], atol=1e-5)
    for each in scene.objects:
        each.hide_render = each.location.x == 10.0
    assert [round(layer["matrix"][0][3], 4) for layer in layers(addon_module)] == [20.0]


def test_its_own_box_and_a_crop_box_bound_it(addon_module, item):
    item.nerf.use_box = True
    item.location = (5, 0, 0)
    (layer,) = layers(addon_module)
    np.testing.assert_allclose(box_of(layer["crops"][0]), BOUNDS + [5, 0, 0], atol=1e-5)
    crop = bpy.data.objects.new("Crop", None)
    crop.empty_display_size = 2.0  # what is seen is what crops
    crop.location, crop.scale = (7, 7, 7), (1, 2, 3)
    bpy.context.scene.collection.objects.link(crop)
    item.nerf.crop = crop
    (layer,) = layers(addon_module)
    np.testing.assert_allclose(box_of(layer["crops"][1]), [[5, 3, 1], [9, 11, 13]], atol=1e-5)
    crop.scale = (0, 1, 1)
    assert layers(addon_module) == []


@pytest.mark.parametrize("how", ["nothing", "eye", "monitor", "collection"])
def test_a_crop_box_below_the_nerf_goes_along_even_when_it_is_hidden(addon_module, item, how):
    scene = bpy.context.scene
    crop = bpy.data.objects.new("Crop", None)
    holder = bpy.data.collections.new("Crops")
    scene.collection.children.link(holder)
    holder.objects.link(crop)
    crop.parent, crop.scale = item, (0.5, 0.5, 0.5)
    item.nerf.crop = crop
    bpy.context.view_layer.update()
    if how == "eye":
        crop.hide_set(True)
    elif how == "monitor":
        crop.hide_viewport = True
    elif how == "collection":
        holder.hide_viewport = True
    item.location, item.scale = (0, 0, 7), (2, 2, 2)
    for viewport in (True, False):
        (layer,) = layers(addon_module, viewport)
        np.testing.assert_allclose(box_of(layer["crops"][0]), CENTER + [0, 0, 7] + np.array([-HALF, HALF]), atol=1e-5)


def test_a_copy_without_its_crop_box_is_cropped_as_the_original(addon_module, item):
    crop = bpy.data.objects.new("Crop", None)
    bpy.context.scene.collection.objects.link(crop)
    crop.parent, crop.scale = item, (0.5, 0.5, 0.5)
    item.nerf.crop = crop
    copy = item.copy()
    bpy.context.scene.collection.objects.link(copy)
    copy.location = (100, 0, 0)
    assert copy.nerf.crop == crop
    near, far = sorted(layers(addon_module), key=lambda layer: layer["matrix"][0][3])
    np.testing.assert_allclose(box_of(near["crops"][0]), CENTER + np.array([-HALF, HALF]) / 2, atol=1e-4)
    np.testing.assert_allclose(box_of(far["crops"][0]), CENTER + [100, 0, 0] + np.array([-HALF, HALF]) / 2, atol=1e-4)


def test_copied_together_each_has_its_own_crop_box(addon_module, item):
    crop = bpy.data.objects.new("Crop", None)
    bpy.context.scene.collection.objects.link(crop)
    crop.parent = item
    item.nerf.crop = crop
    for each in bpy.context.view_layer.objects:
        each.select_set(each in (item, crop))
    assert bpy.ops.object.duplicate() == {"FINISHED"}
    copy = next(each for each in bpy.context.selected_objects if each.nerf.is_nerf)
    assert copy.nerf.crop not in (None, crop) and copy.nerf.crop.parent == copy
    copy.nerf.crop.scale = (0.1, 0.1, 0.1)
    sizes = sorted(np.ptp(box_of(layer["crops"][0]), axis=0)[0] for layer in layers(addon_module))
    np.testing.assert_allclose(sizes, [0.2 * HALF[0], 2 * HALF[0]], rtol=1e-4)


def test_a_deleted_crop_box_no_longer_crops(addon_module, item):
    crop = bpy.data.objects.new("Crop", None)
    bpy.context.scene.collection.objects.link(crop)
    item.nerf.crop = crop
    assert len(layers(addon_module)[0]["crops"]) == 1
    for each in bpy.context.view_layer.objects:
        each.select_set(each == crop)
    bpy.ops.object.delete()
    assert layers(addon_module)[0]["crops"] == []


class _Recorder(bpy.types.RenderEngine):
    bl_idname, bl_label = "NERF_TEST_RECORDER", "Recorder"
    seen: list = []  # noqa: RUF012

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)

    def render(self, depsgraph):
        self.seen.append((depsgraph.mode, self.scene_layers(depsgraph)))


def test_inside_a_render_the_frame_s_matrices_and_visibility_count(addon_module, item):
    scene = bpy.context.scene
    crop = bpy.data.objects.new("Crop", None)
    scene.collection.objects.link(crop)
    crop.parent, crop.hide_render, crop.hide_viewport = item, True, True
    item.nerf.crop = crop
    item.hide_viewport = True
    item.keyframe_insert("location", frame=1)
    item.location = (0, 0, 3)
    item.keyframe_insert("location", frame=4)
    _Recorder.scene_layers = staticmethod(addon_module("objects.layers").scene_layers)
    bpy.utils.register_class(_Recorder)
    try:
        scene.render.engine = "NERF_TEST_RECORDER"
        scene.render.resolution_x = scene.render.resolution_y = 8
        for frame in (1, 4):
            scene.frame_set(frame)
            bpy.ops.render.render()
        (mode, (first,)), (_, (last,)) = _Recorder.seen
    finally:
        _Recorder.seen.clear()
        scene.render.engine = "BLENDER_WORKBENCH"
        bpy.utils.unregister_class(_Recorder)
    assert mode == "RENDER"
    np.testing.assert_allclose(matrix_of(first), IDENTITY, atol=1e-6)
    np.testing.assert_allclose(box_of(first["crops"][0]), BOUNDS, atol=1e-5)
    np.testing.assert_allclose(shown_at(last, CENTER), CENTER + [0, 0, 3], atol=1e-5)
    np.testing.assert_allclose(box_of(last["crops"][0]), BOUNDS + [0, 0, 3], atol=1e-5)
