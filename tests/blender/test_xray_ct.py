"""A CT in Blender: at true size and place, as volume, mesh and slices; with the real core, on a phantom and a NIfTI."""

import gzip
import os
import shutil
import struct

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from .render_pixels import picture
from .small_run import core_python, needs_core

pytestmark = needs_core

SHAPE, SPACING = (20, 16, 12), np.array([2.0, 2.5, 4.0])
FIRST = np.array([-30.0, 40.0, 100.0])  # RAS mm of the first voxel's middle
LOW, HIGH = (FIRST - SPACING / 2) / 1000, (FIRST + SPACING * (np.array(SHAPE) - 0.5)) / 1000
MIDDLE = (LOW + HIGH) / 2


def write_nifti(path):
    """Air with a box of bone in the middle half, in which each voxel has a value of its own; by the format alone."""
    values = np.full(SHAPE, -1000, np.int16)
    inner = tuple(slice(n // 4, n - n // 4) for n in SHAPE)
    values[inner] = 500 + np.arange(values[inner].size).reshape(values[inner].shape) % 700
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *SHAPE, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, *SPACING, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[123] = 2
    struct.pack_into("<2h", header, 252, 0, 1)
    for row in range(3):
        line = np.zeros(4)
        line[row], line[3] = SPACING[row], FIRST[row]
        struct.pack_into("<4f", header, 280 + 16 * row, *line)
    header[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(header) + values.tobytes(order="F")))
    return values


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("ct") / "möve scan.nii.gz"
    return path, write_nifti(path)


@pytest.fixture(scope="module")
def core(addon_module):
    """One core for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERF_CORE_PYTHON", core_python())
        yield addon_module("jobs.core")
        addon_module("jobs.core").leave(20)


@pytest.fixture
def scene(core, tmp_path):
    scene = bpy.context.scene
    for item in list(scene.objects):
        bpy.data.objects.remove(item)
    scene.nerf.capture.folder = str(tmp_path / "made")
    return scene


def imported(scan, **options):
    assert bpy.ops.nerf.xray_import_ct(filepath=str(scan[0]), resolution=32, faces=2000, **options) == {"FINISHED"}
    bpy.context.view_layer.update()
    box = bpy.context.object
    return box, {item["nerf_ct_part"]: item for item in box.children}


def bounds(item):
    corners = np.array(
        [item.matrix_world @ v for v in map(Matrix.Identity(3).__matmul__, map(_vector, item.bound_box))]
    )
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _vector(corner):
    from mathutils import Vector

    return Vector(corner)


def test_all_of_it_lies_at_true_size_where_the_scanner_had_it(scene, scan, tmp_path):
    box, parts = imported(scan, use_slices=True, use_skin=True)
    assert set(parts) == {"volume", "bone", "skin", "axial", "coronal", "sagittal"}
    assert box.name == "möve scan" and box.nerf_xray.kind == "CT"
    assert bpy.path.abspath(box.nerf_xray.source) == str(scan[0])
    np.testing.assert_allclose(bounds(box), [LOW, HIGH], atol=1e-6)
    # The bones' box is 10 x 8 x 6 voxels, with surfaces a little outside their middles.
    bone = bounds(parts["bone"])
    half = SPACING * [10, 8, 6] / 2000
    np.testing.assert_allclose(bone, [MIDDLE - half, MIDDLE + half], atol=SPACING.max() / 2500)
    grid = parts["volume"].data.grids["density"]
    matrix = np.array(grid.matrix_object)
    np.testing.assert_allclose(matrix[:3, 3], FIRST / 1000, atol=1e-6)
    np.testing.assert_allclose(matrix[:3, :3], np.diag(SPACING / 1000), atol=1e-6)
    assert bpy.path.abspath(parts["volume"].data.filepath).startswith(str(tmp_path / "made" / "ct"))
    # The middle slices are planes through it.
    for plane, axis, index in (("axial", 2, 6), ("coronal", 1, 8), ("sagittal", 0, 10)):
        place = bounds(parts[plane])
        np.testing.assert_allclose(place[:, axis], (FIRST[axis] + SPACING[axis] * index) / 1000, atol=1e-6)
        others = [other for other in range(3) if other != axis]
        np.testing.assert_allclose(place[:, others], np.stack([LOW, HIGH])[:, others], atol=1e-6)


def test_slices_hold_the_voxels_of_their_planes_in_their_window(scene, scan, tmp_path):
    box, parts = imported(scan, use_volume=False, use_surface=False, use_slices=True, window="BONE")
    assert set(parts) == {"axial", "coronal", "sagittal"}
    values = scan[1].astype(float)
    expected = np.round(255 * np.clip((values + 500) / 1800, 0, 1))
    for plane, cut in (("axial", expected[:, :, 6].T), ("coronal", expected[:, 8].T), ("sagittal", expected[10].T)):
        image = image_of(parts[plane])
        shown = np.empty(4 * image.size[0] * image.size[1], np.float32)
        image.pixels.foreach_get(shown)
        assert image.packed_file is not None and not image.is_dirty
        np.testing.assert_array_equal(np.round(shown.reshape(image.size[1], image.size[0], 4)[..., 0] * 255), cut)
        # The first pixel is at the plane's corner that lies lowest along both axes.
        mesh = parts[plane].data
        uv = {loop.vertex_index: tuple(mesh.uv_layers[0].data[loop.index].uv) for loop in mesh.loops}
        lowest = min(range(4), key=lambda v: sum(mesh.vertices[v].co))
        assert uv[lowest] == (0.0, 0.0)
    # And are moved, in another window, in place of the old ones.
    assert bpy.ops.nerf.xray_ct_slices(window="ALL", places=(0.75, 0.5, 0.0)) == {"FINISHED"}
    again = {item["nerf_ct_part"]: item for item in box.children}
    assert again == parts
    files = {image for image in bpy.data.images if image.source == "FILE"}
    assert files == set(map(image_of, again.values())) and len(files) == 3
    assert {image.name for image in files} == {item.name for item in parts.values()}
    image = image_of(again["axial"])
    shown = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(shown)
    expected = np.round(255 * np.clip((values[:, :, 8] + 1000) / 2500, 0, 1)).T
    np.testing.assert_array_equal(np.round(shown.reshape(*expected.shape, 4)[..., 0] * 255), expected)
    assert bounds(again["sagittal"])[0, 0] == pytest.approx(FIRST[0] / 1000, abs=1e-6)


def image_of(item):
    return next(node.image for node in item.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE")


def test_units_of_the_scene_and_the_origin(scene, scan):
    scene.unit_settings.scale_length = 0.01  # centimetres
    box, parts = imported(scan, use_volume=False, centered=True)
    half = (HIGH - LOW) / 2 * 100
    np.testing.assert_allclose(bounds(box), [-half, half], atol=1e-4)
    np.testing.assert_allclose(bounds(parts["bone"]).mean(axis=0), 0.0, atol=0.1)
    box.matrix_basis = Matrix.Translation((5, 0, 0)) @ box.matrix_basis
    bpy.context.view_layer.update()
    np.testing.assert_allclose(bounds(parts["bone"]).mean(axis=0), (5, 0, 0), atol=0.1)


def test_what_is_rendered(scene, scan, tmp_path):
    """Along the axis of the bones' box: bone white in the volume, the slice's greys, nothing beside."""
    box, parts = imported(scan, use_slices=True, use_surface=False, window="BONE")
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.type, camera.data.ortho_scale, camera.data.clip_start = "ORTHO", 0.05, 0.001
    camera.location = (*MIDDLE[:2], 0.4)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.resolution_x = scene.render.resolution_y = 40
    scene.view_settings.view_transform = "Standard"
    for plane in ("axial", "coronal", "sagittal"):
        parts[plane].hide_render = True
    shown = picture(scene, tmp_path, 4)
    assert shown[20, 20, :3].min() > 0.6 and shown[20, 20, 3] > 0.95
    assert shown[1, 1, 3] < 0.05  # 24 mm beside the middle: outside the bones
    parts["volume"].hide_render, parts["axial"].hide_render = True, False
    shown = picture(scene, tmp_path, 4)
    grey = encoded(shown[20, 20, 0])
    image = image_of(parts["axial"])
    pixels = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(pixels)
    near = 255 * pixels.reshape(image.size[1], image.size[0], 4)[6:10, 8:12, 0]
    assert near.min() - 2 <= grey <= near.max() + 2


def encoded(linear):
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


def test_a_phantom_stands_in_for_a_patient(scene, addon_module):
    assert bpy.ops.nerf.xray_add_phantom(kind="knee", seed=3, resolution=32, faces=3000) == {"FINISHED"}
    box = bpy.context.object
    assert box.nerf_xray.source == "phantom:knee:3" and addon_module("xray.gather").is_ct(box)
    np.testing.assert_allclose(bounds(box), [[-0.09, -0.09, -0.1], [0.09, 0.09, 0.1]], atol=1e-6)
    found = addon_module("xray.subject").find(scene, bpy.context.view_layer)
    np.testing.assert_allclose(found.bounds, bounds(box), atol=1e-6)
    assert found.names == (box.name,)  # the surfaces do not count once more
    bpy.ops.wm.save_as_mainfile(filepath=f"{scene.nerf.capture.folder}-knee.blend")
    bpy.ops.wm.open_mainfile(filepath=f"{bpy.data.filepath}")
    assert bpy.data.objects["Phantom knee 3"].nerf_xray.source == "phantom:knee:3"


def test_a_ct_is_found_wherever_the_blend_is_saved(scene, scan, addon_module, tmp_path):
    """Beside the .blend when that is saved for the first time, and from a copy and another folder as well."""
    (tmp_path / "project").mkdir()
    (tmp_path / "other" / "deep").mkdir(parents=True)
    box, _ = imported(scan, use_volume=False, use_surface=False)
    settings = scene.nerf_xray
    settings.prior, settings.new_prior.cts = str(scan[0].parent), "//../somewhere"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project" / "scene.blend"))
    before = box.nerf_xray.source
    assert before.startswith("//") and settings.prior.startswith("//")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other" / "copy.blend"), copy=True)
    assert box.nerf_xray.source == before
    for blend in (tmp_path / "other" / "copy.blend", tmp_path / "other" / "deep" / "moved.blend"):
        if not blend.exists():
            bpy.ops.wm.save_as_mainfile(filepath=str(blend))
        bpy.ops.wm.open_mainfile(filepath=str(blend))
        (box,) = (item for item in bpy.data.objects if item.nerf_xray.kind == "CT")
        assert addon_module("xray.gather").ct_source(box) == str(scan[0])
        assert os.path.samefile(bpy.path.abspath(bpy.context.scene.nerf_xray.prior), scan[0].parent)


def test_a_ct_that_was_moved_is_missed_by_name_and_can_be_chosen_again(scene, scan, tmp_path):
    here, there = tmp_path / "here.nii.gz", tmp_path / "there.nii.gz"
    shutil.copy(scan[0], here)
    box, _ = imported((here, scan[1]), use_volume=False, use_surface=False)
    here.rename(there)
    for ask in (bpy.ops.nerf.xray_capture, bpy.ops.nerf.xray_ct_slices):
        with pytest.raises(RuntimeError, match="here' is no longer at .*say where it is now"):
            ask()
    box.nerf_xray.source = str(there)
    assert bpy.ops.nerf.xray_ct_slices() == {"FINISHED"} and len(box.children) == 3


def test_it_is_cancelled_and_leaves_nothing(scene, scan, addon_module):
    tasks, operators = addon_module("jobs.tasks"), addon_module("operators.xray_ct")
    asked = {"source": str(scan[0]), "resolution": 512, "surfaces": [{"name": "bone", "level": 250.0}]}
    build = addon_module("xray.ct").build
    uid = scene.session_uid
    step = tasks.Step("ct", asked, lambda result, made: build(uid, result, made), "", addon_module("xray.ct").prepare)
    task = tasks.start(operators.IMPORT, [lambda: step], 1)
    tasks.cancel()
    assert addon_module("jobs.pump").pump_until(lambda: not task.running, 30)
    assert task.phase == "cancelled" and not scene.objects
    # And the next one is answered as ever.
    box, parts = imported(scan, use_volume=False)
    assert set(parts) == {"bone"}


def test_what_cannot_be_is_told(scene, scan, tmp_path):
    (tmp_path / "bad.nii").write_text("hello")
    for options, said in (
        ({"filepath": str(tmp_path / "none.nii")}, "does not exist"),
        ({"filepath": ""}, "Choose a CT"),
        ({"filepath": str(tmp_path / "bad.nii")}, "bad.nii"),
        ({"filepath": str(tmp_path)}, "none is a DICOM"),
        ({"filepath": str(scan[0]), "level": 9000.0}, "reaches 9000 HU"),
    ):
        with pytest.raises(RuntimeError, match=said):
            bpy.ops.nerf.xray_import_ct(**options)
    assert not scene.objects
    assert not bpy.ops.nerf.xray_ct_slices.poll()


def test_the_command_saves_what_it_made(scene, scan, addon_module, tmp_path, capsys):
    main = addon_module("cli").main
    out = tmp_path / "a.blend"
    asked = ["xray-import", str(scan[0]), "--show", "bone,slices", "--resolution", "32", "--save", str(out)]
    assert main(asked) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "40 x 40 x 48 mm: bone, axial, coronal, sagittal" in told and "Not for diagnosis" in told
    assert main(["xray-import", str(scan[0]), "--show", "organs"]) == 2
    assert "organs" in capsys.readouterr().err
    bpy.ops.wm.open_mainfile(filepath=str(out))
    box = bpy.data.objects["möve scan"]
    assert addon_module("xray.gather").ct_source(box) == str(scan[0]) and len(box.children) == 4
    image = image_of(next(item for item in box.children if item["nerf_ct_part"] == "axial"))
    pixels = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(pixels)
    assert tuple(image.size) == SHAPE[:2] and pixels.max() == 1.0
