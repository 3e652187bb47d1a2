"""The NeRF object as a person handles it: added, cropped, brought back, its run lost and found, saved and appended."""

import os
import shutil

import bpy
import numpy as np
import pytest

from .object_runs import BOUNDS, CENTER, HALF, box_of, layers, shown_at, write_run
from .small_run import CENTER as CENTER_OF_DATA
from .small_run import RADIUS, core_python, needs_core, prepare_scene, write_small_dataset


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "project" / "nerf" / "vase")


@pytest.fixture
def item(run):
    assert bpy.ops.nerf.add_object(directory=str(run.root)) == {"FINISHED"}
    return bpy.context.object


def error_of(operator, **options):
    with pytest.raises(RuntimeError) as caught:
        operator(**options)
    return str(caught.value)


def reopened(path):
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return next(item for item in bpy.context.scene.objects if item.nerf.is_nerf)


def test_the_scene_s_run_is_added_selected_and_active(run):
    scene = bpy.context.scene
    collection = bpy.data.collections.new("Work")
    scene.collection.children.link(collection)
    bpy.context.view_layer.active_layer_collection = bpy.context.view_layer.layer_collection.children["Work"]
    scene.nerf.run_folder = str(run.root)
    assert bpy.ops.nerf.add_object() == {"FINISHED"}
    item = bpy.context.object
    assert item.nerf.is_nerf and item.select_get() and list(collection.objects) == [item]
    assert bpy.context.selected_objects == [item] and item.nerf.run_folder == str(run.root)


def test_without_a_trained_run_nothing_is_added(tmp_path):
    write_run(tmp_path / "raw").checkpoint.unlink()
    before = set(bpy.data.objects)
    assert "is not a run folder" in error_of(bpy.ops.nerf.add_object, directory=str(tmp_path))
    assert "Nothing is trained in" in error_of(bpy.ops.nerf.add_object, directory=str(tmp_path / "raw"))
    assert set(bpy.data.objects) == before


def test_a_crop_box_fits_the_nerf_and_goes_along(addon_module, item):
    assert bpy.ops.nerf.add_crop() == {"FINISHED"}
    crop = bpy.context.object
    assert item.nerf.crop == crop and crop.parent == item and crop.empty_display_type == "CUBE"
    np.testing.assert_allclose(box_of(layers(addon_module)[0]["crops"][0]), BOUNDS, atol=1e-5)
    item.location, crop.scale, crop.location = (1, 0, 0), (0.5, 1, 1), (0.5, 0, 0)
    half_of_it = BOUNDS + [[1 + HALF[0], 0, 0], [1, 0, 0]]
    np.testing.assert_allclose(box_of(layers(addon_module)[0]["crops"][0]), half_of_it, atol=1e-5)
    assert not bpy.ops.nerf.add_crop.poll()  # it has one
    bpy.data.objects.remove(crop)
    assert item.nerf.crop is None
    bpy.context.view_layer.objects.active = item
    assert bpy.ops.nerf.add_crop() == {"FINISHED"}


def test_a_copy_may_have_a_crop_box_of_its_own(addon_module, item):
    bpy.ops.nerf.add_crop()
    shared = item.nerf.crop
    copy = item.copy()
    bpy.context.scene.collection.objects.link(copy)
    bpy.context.view_layer.objects.active = copy
    assert bpy.ops.nerf.add_crop() == {"FINISHED"}
    assert item.nerf.crop == shared and copy.nerf.crop.parent == copy


@pytest.mark.parametrize("mode", ["XYZ", "QUATERNION", "AXIS_ANGLE"])
def test_back_to_the_trained_place_from_anywhere(addon_module, item, mode):
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.location, parent.scale = (1, 2, 3), (2, 2, 2)
    item.parent = parent
    item.rotation_mode = mode
    item.rotation_euler, item.rotation_quaternion, item.rotation_axis_angle = (1, 2, 3), (1, 1, 0, 0), (2, 1, 0, 0)
    item.location, item.scale, item.delta_location, item.empty_display_size = (9, 9, 9), (1, 2, 3), (0, 0, 0), 3.0
    bpy.context.view_layer.update()
    assert bpy.ops.nerf.to_trained_place() == {"FINISHED"}
    np.testing.assert_allclose(layers(addon_module)[0]["matrix"], np.eye(4), atol=1e-5)
    np.testing.assert_allclose(box_of(item.matrix_world), BOUNDS, atol=1e-5)
    assert item.parent == parent and item.empty_display_size == 1.0


def test_saved_paths_are_relative_and_file_and_run_move_together(addon_module, item, run, tmp_path):
    project = run.root.parents[1]
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "scene.blend"))
    assert item.nerf.run_folder == "//nerf/vase"
    shutil.move(project, tmp_path / "elsewhere")
    item = reopened(tmp_path / "elsewhere" / "scene.blend")
    assert item.nerf.run_folder == "//nerf/vase" and item.nerf.run_id == "a" * 32
    (layer,) = layers(addon_module)
    assert layer["run"] == str(tmp_path / "elsewhere" / "nerf" / "vase")
    np.testing.assert_allclose(layer["matrix"], np.eye(4), atol=1e-6)


def test_saving_elsewhere_or_a_copy_keeps_the_path_right(addon_module, item, run, tmp_path):
    project = run.root.parents[1]
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "scene.blend"))
    (tmp_path / "other" / "deep").mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other" / "copy.blend"), copy=True)
    assert item.nerf.run_folder == "//nerf/vase"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other" / "deep" / "moved.blend"))
    assert item.nerf.run_folder == "//../../project/nerf/vase"
    item = reopened(tmp_path / "other" / "copy.blend")
    assert item.nerf.run_folder == "//../project/nerf/vase"
    item.nerf.last_place = ""  # so that the path alone must do
    assert layers(addon_module)[0]["run"] == str(run.root)


def test_the_scene_keeps_its_run_and_data_set_wherever_it_is_saved(addon_module, run, tmp_path):
    scene, project = bpy.context.scene, run.root.parents[1]
    (project / "写真").mkdir()
    scene.nerf.run_folder = str(run.root)
    scene.nerf.training.data = str(project / "写真")  # in full, as a person may want it
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "scene.blend"))
    assert scene.nerf.run_folder == "//nerf/vase" and scene.nerf.training.data == str(project / "写真")
    scene.nerf.training.data, scene.nerf.capture.folder = "//写真", "//captures"
    (tmp_path / "other").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other" / "copy.blend"), copy=True)
    assert scene.nerf.run_folder == "//nerf/vase" and scene.nerf.training.data == "//写真"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other" / "moved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "other" / "moved.blend"))
    nerf = bpy.context.scene.nerf
    assert nerf.run_folder == "//../project/nerf/vase" and nerf.training.data == "//../project/写真"
    assert nerf.capture.folder == "//captures"  # beside the .blend, wherever that is
    assert addon_module("jobs.runs").trained_run(bpy.context.scene).root == run.root


def test_a_renamed_run_is_found_by_its_id_and_remembered(addon_module, item, run, tmp_path):
    blend = run.root.parents[1] / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    write_run(run.root.parent / "another", "b" * 32)
    renamed = run.root.rename(run.root.parent / "renamed vase")
    write_run(run.root, "c" * 32)  # where it was there is another one now
    item = reopened(blend)
    assert layers(addon_module, viewport=True)[0]["run"] == str(renamed)
    bpy.ops.wm.save_mainfile()
    assert item.nerf.run_folder == "//nerf/renamed vase"


def test_a_run_in_the_runs_folder_is_found(addon_module, item, run, tmp_path):
    bpy.context.scene.nerf.capture.folder = str(tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    shutil.move(run.root, tmp_path / "runs" / "moved")
    assert layers(addon_module)[0]["run"] == str(tmp_path / "runs" / "moved")


def test_a_deleted_run_is_told_in_one_sentence_and_found_by_hand(addon_module, item, run, tmp_path):
    away = shutil.move(run.root, tmp_path / "away" / "deep" / "down")
    for viewport in (False, True):
        with pytest.raises(Exception) as caught:
            layers(addon_module, viewport)
        assert str(caught.value) == (
            f"The run '{run.root}' of the NeRF 'vase' is gone; choose its folder with Find Run, or remove the object."
        )
    assert "is gone" in error_of(bpy.ops.nerf.find_run)
    assert bpy.ops.nerf.find_run(directory=str(away)) == {"FINISHED"}
    assert item.nerf.run_folder == str(away) and layers(addon_module)[0]["run"] == str(away)
    again = shutil.move(away, tmp_path / "away" / "again")
    assert bpy.ops.nerf.find_run(directory=str(tmp_path / "away")) == {"FINISHED"}  # the folder around it will do
    away = again
    assert item.nerf.run_folder == str(away)
    (away / "checkpoint.safetensors").unlink()
    with pytest.raises(Exception, match="of the NeRF 'vase' holds nothing trained; train it first"):
        layers(addon_module)


def test_another_run_is_refused_unless_it_is_wanted(addon_module, item, run, tmp_path):
    other = write_run(tmp_path / "other", "b" * 32)
    other.write({"id": "b" * 32, "method": "fast", "bounds": [[0, 0, 0], [2, 2, 2]]})
    item.location = (0, 0, 5)
    said = error_of(bpy.ops.nerf.find_run, directory=str(other.root))
    assert f"'{other.root}' holds another run than the one that 'vase' shows; switch on" in said
    assert item.nerf.run_id == "a" * 32 and item.nerf.run_folder == str(run.root)
    assert "is not a run folder" in error_of(bpy.ops.nerf.find_run, directory=str(tmp_path))
    assert bpy.ops.nerf.find_run(directory=str(other.root), use_other=True) == {"FINISHED"}
    (layer,) = layers(addon_module)
    assert layer["run"] == str(other.root) and item.nerf.run_id == "b" * 32
    np.testing.assert_allclose(shown_at(layer, (1, 1, 1)), (1, 1, 6), atol=1e-6)
    np.testing.assert_allclose(box_of(item.matrix_world), [[0, 0, 5], [2, 2, 7]], atol=1e-6)


@pytest.fixture
def library(item, run):
    bpy.ops.nerf.add_crop()
    path = run.root.parents[1] / "asset.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    return path


@pytest.mark.parametrize("moved", [False, True])
def test_appended_into_another_file(addon_module, library, tmp_path, moved):
    if moved:
        shutil.move(library.parent, tmp_path / "moved")
        library = tmp_path / "moved" / library.name
    (tmp_path / "shot").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot" / "shot.blend"))
    bpy.ops.wm.append(directory=f"{library}/Object/", filename="vase")
    item = bpy.data.objects["vase"]
    assert item.library is None and item.nerf.crop is not None and item.nerf.crop.library is None
    (layer,) = layers(addon_module)
    assert layer["run"] == str(library.parent / "nerf" / "vase")
    np.testing.assert_allclose(box_of(layer["crops"][0]), BOUNDS, atol=1e-5)
    bpy.ops.wm.save_mainfile()
    assert item.nerf.run_folder == f"//../{library.parent.name}/nerf/vase"
    item = reopened(tmp_path / "shot" / "shot.blend")
    assert layers(addon_module)[0]["run"] == str(library.parent / "nerf" / "vase")


def test_linked_into_another_file_and_overridden(addon_module, library, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.link(directory=f"{library}/Object/", filename="vase")
    item = bpy.data.objects["vase"]
    assert item.library is not None
    (layer,) = layers(addon_module)
    assert layer["run"] == str(library.parent / "nerf" / "vase") and len(layer["crops"]) == 1
    bpy.context.view_layer.objects.active = item
    assert not bpy.ops.nerf.find_run.poll() and not bpy.ops.nerf.add_crop.poll()
    override = item.override_create(remap_local_usages=True)
    override.location = (1, 1, 1)
    override.nerf.use_box = True
    (layer,) = layers(addon_module)
    np.testing.assert_allclose(shown_at(layer, CENTER), CENTER + 1, atol=1e-5)
    assert layer["run"] == str(library.parent / "nerf" / "vase") and len(layer["crops"]) == 2
    bpy.ops.wm.save_mainfile()
    reopened(tmp_path / "shot.blend")
    (layer,) = layers(addon_module)
    np.testing.assert_allclose(shown_at(layer, CENTER), CENTER + 1, atol=1e-5)
    assert layer["run"] == str(library.parent / "nerf" / "vase") and len(layer["crops"]) == 2


def test_facts_of_a_run(addon_module, tmp_path):
    facts = addon_module("objects.facts").run_facts
    folder = write_run(tmp_path / "run", spent={"seconds": 61.5, "steps": 900})
    assert facts(folder) == {"method": "Fast", "seconds": 61.5, "steps": 900}
    folder.metrics.write_text('{"step": 1, "val_psnr": 20.5}\n{"step": 2, "val_psnr": 31.25}\n{"step": 3, "val_ps')
    assert facts(folder)["psnr"] == 31.25
    assert facts(write_run(tmp_path / "bare")) == {"method": "Fast"}
    assert facts(type(folder)(tmp_path / "nowhere")) == {}


def test_a_run_json_that_has_not_changed_is_not_read_again(addon_module, item, run):
    find = addon_module("objects.find")
    shutil.rmtree(run.root)
    for index in range(30):
        write_run(run.root.parent / f"{index:03d}", f"{index:032d}")
    with pytest.raises(Exception, match="is gone"):
        find.run_of(item)
    settings = type(run)(run.root.parent / "007").settings
    changed = settings.stat().st_mtime_ns
    settings.write_text(settings.read_text().replace(f"{7:032d}", "a" * 32))
    os.utime(settings, ns=(changed, changed))
    for drawing in (True, False):
        with pytest.raises(Exception, match="is gone"):
            find.run_of(item, drawing=drawing)
    os.utime(settings)
    assert find.run_of(item).settings == settings


def the_nerf():
    return next(item for item in bpy.context.scene.objects if item.nerf.is_nerf)


def test_undo_and_redo_keep_it_working(addon_module, run):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.nerf.add_object(directory=str(run.root))
    bpy.ops.ed.undo_push(message="added")
    bpy.ops.nerf.add_crop()
    bpy.ops.ed.undo_push(message="cropped")
    the_nerf().location = (3, 0, 0)
    bpy.ops.ed.undo_push(message="moved")
    bpy.ops.ed.undo()
    (layer,) = layers(addon_module)
    np.testing.assert_allclose(layer["matrix"], np.eye(4), atol=1e-6)
    assert len(layer["crops"]) == 1 and layer["run"] == str(run.root)
    bpy.ops.ed.undo()
    assert the_nerf().nerf.crop is None and layers(addon_module)[0]["crops"] == []
    bpy.ops.ed.undo()
    assert layers(addon_module) == [] and "vase" not in bpy.context.scene.objects
    for _ in range(3):
        bpy.ops.ed.redo()
    (layer,) = layers(addon_module)
    np.testing.assert_allclose(shown_at(layer, CENTER), CENTER + [3, 0, 0], atol=1e-5)
    np.testing.assert_allclose(box_of(layer["crops"][0]), BOUNDS + [3, 0, 0], atol=1e-5)
    assert layer["run"] == str(run.root) and the_nerf().nerf.crop.parent == the_nerf()


def test_a_new_nerf_hides_the_one_that_it_replaces_and_no_other(addon_module, item, run, tmp_path):
    scene = bpy.context.scene
    smaller = [list(corner) for corner in (BOUNDS[0] * 0.95, BOUNDS[1] * 0.95)]
    bpy.ops.nerf.add_object(directory=str(write_run(tmp_path / "moved", "b" * 32).root))
    bpy.context.object.location = (0.1, 0, 0)
    aside = write_run(tmp_path / "aside", "c" * 32, bounds=[list(corner) for corner in BOUNDS + 1.5])
    bpy.ops.nerf.add_object(directory=str(aside.root))
    new = write_run(tmp_path / "new", "d" * 32, bounds=smaller)
    assert addon_module("operators.objects").add_after_training(scene.session_uid, new) == [item.name]
    assert item.hide_render and item.hide_get()
    seen = sorted(os.path.basename(layer["run"]) for layer in layers(addon_module))
    assert seen == ["aside", "moved", "new"]
    assert sorted(os.path.basename(layer["run"]) for layer in layers(addon_module, viewport=True)) == seen
    assert addon_module("operators.objects").add_after_training(scene.session_uid, new) == []


@needs_core
def test_a_training_that_ends_well_adds_its_nerf_once_as_one_undo_step(addon_module, monkeypatch, tmp_path):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    data = write_small_dataset(tmp_path / "data", 8)
    prepare_scene(tmp_path / "run", data, steps=15)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.nerf.train() == {"FINISHED"}
    item = the_nerf()
    assert item.name == "run" and item.nerf.run_id == addon_module("objects.find").identity(tmp_path / "run")
    assert bpy.context.object.name == "Cube"  # nothing of what the person was at changes
    np.testing.assert_allclose(box_of(item.matrix_world)[0], CENTER_OF_DATA - 1.1 * RADIUS, atol=0.1)
    np.testing.assert_allclose(layers(addon_module)[0]["matrix"], np.eye(4), atol=1e-6)
    bpy.ops.ed.undo()
    assert layers(addon_module) == []
    bpy.ops.ed.redo()
    assert len(layers(addon_module)) == 1
    assert bpy.ops.nerf.train(more=True) == {"FINISHED"}
    assert len(layers(addon_module)) == 1
    bpy.data.objects.remove(the_nerf())
    bpy.context.scene.nerf.training.add_object = False
    addon_module("jobs.training").current().on_end(addon_module("jobs.training").current())
    assert layers(addon_module) == []
    addon_module("jobs.core").leave(10.0)
