"""Radiographs of a scene by the real core: line integrals through Blender's own cameras, warnings, cancel, training."""

import gzip
import json
import struct
from pathlib import Path

import bmesh
import bpy
import numpy as np
import pytest
from mathutils import Matrix

from .small_run import core_python, needs_core
from .xray_scenes import cube, only

pytestmark = needs_core

FLESH, BONE = 0.21, 0.6  # 1 / cm
UNIT_CM = 2.5  # a Blender unit
TURN = Matrix.Translation((0.4, -0.3, 0.2)) @ Matrix.Rotation(0.5, 4, (1, 2, 3))


@pytest.fixture(scope="module")
def core(addon_module):
    """One core for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERF_CORE_PYTHON", core_python())
        yield addon_module("jobs.core")
        addon_module("jobs.core").leave(20)


def nested(folder: Path) -> bpy.types.Scene:
    """A turned cube of flesh with a smaller one of bone in it, not in its middle, and a rig of few pixels."""
    scene = only()
    scene.unit_settings.system, scene.unit_settings.scale_length = "METRIC", UNIT_CM / 100
    for name, mu, priority, side, place in (
        ("Flesh", FLESH, 0, 2.0, (0, 0, 0)),
        ("Bone", BONE, 5, 0.8, (0.3, -0.2, 0.1)),
    ):
        item = cube(name, mu=mu, size=side)
        item.matrix_world = TURN @ Matrix.Translation(place)
        item.nerf_xray.priority = priority
    settings = scene.nerf_xray
    settings.views, settings.val_views, settings.pixels = 5, 1, (24, 20)
    scene.nerf.capture.folder, scene.nerf.capture.name = str(folder), "nested"
    scene.nerf.training.device = "CPU"
    bpy.context.view_layer.update()
    return scene


@pytest.fixture(scope="module")
def run(tmp_path_factory, core, _extension) -> Path:
    """Radiographs of the nested cubes, taken once."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    folder = tmp_path_factory.mktemp("radiographs é")
    scene = nested(folder)
    assert bpy.ops.nerf.xray_capture() == {"FINISHED"}
    assert Path(bpy.path.abspath(scene.nerf.run_folder)) == folder / "nested"
    return folder / "nested"


def document(run: Path) -> dict:
    return json.loads((run / "dataset" / "transforms.json").read_text(encoding="utf-8"))


def chord(origins, directions, side, place) -> np.ndarray:
    """Length of rays in a turned cube, by slabs in its own frame; Blender units."""
    inverse = np.array((TURN @ Matrix.Translation(place)).inverted())
    o, d = origins @ inverse[:3, :3].T + inverse[:3, 3], directions @ inverse[:3, :3].T
    with np.errstate(divide="ignore"):
        low, high = (-side / 2 - o) / d, (side / 2 - o) / d
    near, far = np.minimum(low, high).max(axis=-1), np.maximum(low, high).min(axis=-1)
    return np.maximum(far - near, 0.0)


def expected(origins, directions) -> np.ndarray:
    bone = chord(origins, directions, 0.8, (0.3, -0.2, 0.1))
    flesh = chord(origins, directions, 2.0, (0, 0, 0)) - bone
    return UNIT_CM * (FLESH * flesh + BONE * bone)


def blender_rays(item, scene) -> tuple[np.ndarray, np.ndarray]:
    """World rays through the pixels' centres of a camera object, from Blender's own corners of its view."""
    width, height = scene.render.resolution_x, scene.render.resolution_y
    corners = [np.array(item.matrix_world @ corner) for corner in item.data.view_frame(scene=scene)]
    right_top, right_low, left_low, left_top = corners
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    points = left_top + x[..., None] * (right_top - left_top) + y[..., None] * (left_low - left_top)
    origin = np.array(item.matrix_world.translation)
    directions = points - origin
    return np.broadcast_to(origin, directions.shape), directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def test_line_integrals_are_those_of_blenders_own_cameras(run, addon_module, tmp_path):
    scene = nested(tmp_path)
    assert bpy.ops.nerf.xray_cameras() == {"FINISHED"}
    cameras = {item.name: item for item in scene.nerf_xray.preview_collection.objects}
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 24, 20, 100
    bpy.context.view_layer.update()
    read = addon_module("importers.decode").read_exr
    frames = document(run)["frames"]
    assert len(frames) == 6
    for frame in frames:
        item = cameras["NeRF " + frame["file_path"].removesuffix(".png")]
        np.testing.assert_allclose(np.array(frame["transform_matrix"]), np.array(item.matrix_world), atol=1e-5)
        found = read(run / "dataset" / frame["line_integral_file_path"])["V"]
        truth = expected(*blender_rays(item, scene))
        assert truth.max() > UNIT_CM * FLESH * 2
        np.testing.assert_allclose(found, truth, atol=2e-4 * truth.max())


def test_the_data_set_says_what_it_is_and_its_pictures_show_the_window(run):
    facts = document(run)["nerf_toolkit"]
    xray = facts["xray"]
    assert xray["meters_per_unit"] == pytest.approx(UNIT_CM / 100) and "Not for diagnosis" in xray["not_for_diagnosis"]
    assert xray["scaling"] == "physical" and xray["source_axis"] > 2 and xray["source_detector"] > xray["source_axis"]
    low, high = xray["window"]
    image = bpy.data.images.load(str(run / "dataset" / "train" / "0001.png"))
    pixels = np.empty(24 * 20 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    grey = pixels.reshape(20, 24, 4)[::-1]
    assert grey[0, 0, 0] == 0.0 and grey[..., 0].max() > 0.5 and (grey[..., :3] == grey[..., :1]).all()
    assert low <= 0.0 < high
    bounds = np.array(facts["bounds"])
    corners = np.array([[x, y, z, 1] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) @ np.array(TURN).T
    assert (bounds[0] <= corners[:, :3].min(axis=0) + 1e-5).all()
    assert (bounds[1] >= corners[:, :3].max(axis=0) - 1e-5).all()


def test_a_mesh_that_is_not_closed_is_named(core, tmp_path, addon_module, capsys):
    scene = nested(tmp_path)
    item = scene.objects["Flesh"]
    mesh = bmesh.new()
    mesh.from_mesh(item.data)
    bmesh.ops.delete(mesh, geom=[mesh.faces[:][0]], context="FACES_ONLY")
    mesh.to_mesh(item.data)
    assert bpy.ops.nerf.xray_check() == {"FINISHED"}
    radiographs = addon_module("xray.radiographs")
    assert radiographs.current().warnings == ["'Flesh' is not closed: 4 edges open."]
    item.nerf_xray.material = "NONE"
    bpy.context.view_layer.update()
    assert bpy.ops.nerf.xray_check() == {"FINISHED"}
    assert radiographs.current().warnings == [] and radiographs.current().text == "1 closed mesh"
    assert not (tmp_path / "nested").exists()


def test_cancel_leaves_nothing_half_made(core, tmp_path, addon_module):
    scene = nested(tmp_path)
    radiographs, pump = addon_module("xray.radiographs"), addon_module("jobs.pump")
    for phase in ("reading", "computing"):
        scene.nerf_xray.pixels = (700, 700)
        made = radiographs.start(scene, bpy.context.view_layer)
        assert pump.pump_until(lambda made=made, phase=phase: made.phase == phase, 60)
        if phase == "computing":
            assert (tmp_path / "nested").exists()
            assert pump.pump_until(lambda made=made: made.fraction > 0, 60)
        assert bpy.ops.nerf.xray_cancel() == {"FINISHED"}
        assert made.phase == "cancelled" and not radiographs.running()
        assert pump.pump_until(lambda: not (tmp_path / "nested").exists(), 30), list((tmp_path / "nested").rglob("*"))
    assert not scene.nerf.run_folder
    scene.nerf_xray.pixels = (8, 8)
    assert bpy.ops.nerf.xray_capture() == {"FINISHED"}  # the name is free
    assert (tmp_path / "nested" / "dataset" / "transforms.json").is_file()


def test_a_folder_of_somebodys_is_passed_by(core, tmp_path):
    scene = nested(tmp_path)
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "mine.txt").write_text("mine")
    scene.nerf_xray.pixels = (8, 8)
    assert bpy.ops.nerf.xray_capture() == {"FINISHED"}
    assert sorted(path.name for path in (tmp_path / "nested").iterdir()) == ["mine.txt"]
    assert (tmp_path / "nested-002" / "dataset" / "transforms.json").is_file()


def test_without_a_window_commands_take_radiographs_and_train(core, tmp_path, addon_module, capsys):
    scene = nested(tmp_path)
    scene.objects["Bone"].nerf_xray.material = "NONE"
    main = addon_module("cli").main
    out = tmp_path / "by command"
    asked = ["xray-capture", "--run", str(out), "--views", "6", "--val", "1", "--pixels", "16", "--rig", "custom"]
    asked += ["--source-axis", "200", "--source-detector", "300", "--detector", "160"]
    assert main([*asked, "--material", "Flesh=water", "--material", f"Bone={BONE}"]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert f"Radiographs in {out}" in told and "Not for diagnosis" in told
    xray = document(out)["nerf_toolkit"]["xray"]
    assert xray["source_axis"] == pytest.approx(200 / (10 * UNIT_CM), rel=1e-5)
    assert main(["xray-capture", "--run", str(out), "--material", "Nobody=bone"]) == 2
    assert "has no object 'Nobody'" in capsys.readouterr().err
    for bad in ("Flesh", "Flesh=cheese"):
        assert main(["xray-capture", "--run", str(out), "--material", bad]) == 2
    capsys.readouterr()


def test_the_button_trains_and_what_comes_back_is_a_nerf(core, tmp_path, addon_module):
    scene = nested(tmp_path)
    settings = scene.nerf_xray
    settings.views, settings.pixels = 12, (24, 24)
    # From the same everywhere: what is found is trained, and nobody waits 10 s for ITK.
    settings.init, settings.grid = "NONE", "DENSE"
    scene.nerf.training.budget, scene.nerf.training.steps = "STEPS", 300
    assert bpy.ops.nerf.xray_capture(then_train=True) == {"FINISHED"}
    assert scene.nerf.training.method == "XRAY"
    nerf = next(item for item in scene.objects if item.nerf.is_nerf)
    run = tmp_path / "nested"
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert told["method"] == "xray"
    chosen = told["settings"]
    assert (chosen["grid"], chosen["init"], chosen["tv"]) == ("dense", "none", 0.5)
    # A view between those that were trained on: the field's line integrals are near the truth.
    rig = addon_module("xray.rig").make_rig(scene, addon_module("xray.subject").find(scene, bpy.context.view_layer))
    camera = scene.camera
    addon_module("capture.cameras").camera_to_blender(rig.camera(47.0), camera)
    scene.render.resolution_x = scene.render.resolution_y = 24
    scene.render.resolution_percentage = 100
    bpy.context.view_layer.update()
    truth = expected(*blender_rays(camera, scene))
    assert bpy.ops.nerf.xray_line_integrals() == {"FINISHED"}
    read = addon_module("importers.decode").read_exr
    found = read(run / "renders" / "Camera-line-integrals.exr")["V"]
    error = np.sqrt(np.mean((found - truth) ** 2)) / truth.max()
    assert error < 0.1, error
    shown = _f12(scene, tmp_path, addon_module)
    np.testing.assert_allclose(shown["Line Integral"], found, atol=1e-4)
    low, high = document(run)["nerf_toolkit"]["xray"]["window"]
    value = np.clip((found - low) / (high - low), 0, 1)
    np.testing.assert_allclose(shown["grey"], _linear(value), atol=2e-3)
    # A narrower window shows the same integrals brighter.
    nerf.select_set(True)
    bpy.context.view_layer.objects.active = nerf
    assert bpy.ops.nerf.xray_fit_window() == {"FINISHED"}
    assert (nerf.nerf_xray.level, nerf.nerf_xray.width) == pytest.approx(((low + high) / 2, high - low))
    nerf.nerf_xray.level, nerf.nerf_xray.width = 0.25 * high, 0.5 * high
    shown = _f12(scene, tmp_path, addon_module)
    np.testing.assert_allclose(shown["grey"], _linear(np.clip(found / (0.5 * high), 0, 1)), atol=2e-3)
    np.testing.assert_allclose(shown["Line Integral"], found, atol=1e-4)
    # The volume as a file; a name whose ending is added is not the one that the file browser asked about.
    assert bpy.ops.nerf.xray_save_volume(filepath=str(tmp_path / "found"), resolution=8) == {"FINISHED"}
    header = gzip.decompress((tmp_path / "found.nii.gz").read_bytes())
    assert max(struct.unpack_from("<3h", header, 42)) == 8 and header[344:347] == b"n+1"
    (tmp_path / "scan.nii.gz").write_bytes(b"a patient's")
    with pytest.raises(RuntimeError, match="exists"):
        bpy.ops.nerf.xray_save_volume(filepath=str(tmp_path / "scan"), overwrite=True)
    assert (tmp_path / "scan.nii.gz").read_bytes() == b"a patient's"


def _linear(value):
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _f12(scene, tmp_path, addon_module) -> dict:
    """What F12 renders with the engine: the picture's grey and its line integrals."""
    compat = addon_module("compat")
    scene.render.engine = addon_module("engine.engine").ID
    scene.nerf_engine.use_line_integral = True
    scene.render.film_transparent = True
    compat.choose_multilayer(scene.render.image_settings)
    scene.render.filepath = str(tmp_path / "f12.exr")
    bpy.ops.render.render(write_still=True)
    found = addon_module("importers.decode").read_exr(tmp_path / "f12.exr")
    grey = next(values for name, values in found.items() if name.endswith("Combined.R"))
    integral = next(values for name, values in found.items() if "Line Integral" in name)
    return {"grey": grey, "Line Integral": integral}


def test_a_ct_counts_where_it_stands_and_in_its_true_size(core, tmp_path, addon_module):
    """Moved, turned about the axis and in other units, with the rig turned as much: the very same line integrals."""
    read = addon_module("importers.decode").read_exr
    found = []
    for name, unit, place, turn in (("metres", 1.0, (0, 0, 0), 0.0), ("centimetres", 0.01, (30, -20, 10), 40.0)):
        scene = only(*(item.name for item in bpy.context.scene.objects if item.type == "CAMERA"))
        scene.unit_settings.system, scene.unit_settings.scale_length = "METRIC", unit
        bpy.ops.mesh.primitive_cube_add(size=0.2)  # what the phantom fills, in its metres
        item = bpy.context.object
        item.nerf_xray.kind, item.nerf_xray.source = "CT", "phantom:ellipsoids:3"
        item.matrix_world = (
            Matrix.Translation(place) @ Matrix.Rotation(np.radians(turn), 4, "Z") @ Matrix.Scale(1 / unit, 4)
        )
        settings = scene.nerf_xray
        settings.views, settings.val_views, settings.pixels, settings.start = 2, 0, (16, 16), np.radians(turn)
        scene.nerf.capture.folder, scene.nerf.capture.name = str(tmp_path), name
        bpy.context.view_layer.update()
        assert bpy.ops.nerf.xray_capture() == {"FINISHED"}
        files = sorted((tmp_path / name / "dataset" / "line_integral" / "train").glob("*.exr"))
        found.append(np.stack([read(path)["V"] for path in files]))
    assert found[0].shape == (2, 16, 16) and found[0].max() > 1.0
    np.testing.assert_allclose(found[1], found[0], atol=2e-3 * found[0].max())


def test_metal_in_a_ct_takes_the_tissues_place_unless_the_ct_has_the_higher_priority(core, tmp_path, addon_module):
    read = addon_module("importers.decode").read_exr
    found = {}
    for name, metal, priority in (("ct", False, 0), ("implant", True, 0), ("hidden", True, 1)):
        scene = only(*(item.name for item in bpy.context.scene.objects if item.type == "CAMERA"))
        scene.unit_settings.system = "METRIC"
        bpy.ops.mesh.primitive_cube_add(size=0.2)
        item = bpy.context.object
        item.nerf_xray.kind, item.nerf_xray.source, item.nerf_xray.priority = "CT", "phantom:ellipsoids:3", priority
        if metal:
            cube("Hole", mu=0.0, size=0.06)
        settings = scene.nerf_xray
        settings.views, settings.val_views, settings.pixels = 1, 0, (16, 16)
        scene.nerf.capture.folder, scene.nerf.capture.name = str(tmp_path), name
        bpy.context.view_layer.update()
        assert bpy.ops.nerf.xray_capture() == {"FINISHED"}
        (path,) = (tmp_path / name / "dataset" / "line_integral" / "train").glob("*.exr")
        found[name] = read(path)["V"]
    # A hole takes from the middle what was there, and nothing elsewhere.
    lost = found["ct"] - found["implant"]
    assert lost[6:10, 6:10].min() > 0.3 and abs(lost[0]).max() < 1e-6 and lost.min() > -1e-5
    np.testing.assert_allclose(found["hidden"], found["ct"], atol=1e-6)
