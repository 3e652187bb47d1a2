"""Depth, normal, mask and object index beside the pictures: read back and held against geometry that is known."""

import bpy
import numpy as np
import OpenEXR
import pytest
from mathutils import Matrix
from PIL import Image

from nerf_core.contract.camera import Camera

from . import capture_scenes as scenes

BALL, RADIUS = np.array([0.4, -0.2, 0.1]), 0.9
ALL = ("depth", "normal", "mask", "index")


def read_exr(path) -> dict[str, np.ndarray]:
    """The channels of an EXR, by OpenEXR's own reader."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels for name, channel in file.channels().items()}


def cameras(document: dict) -> dict[str, Camera]:
    """A data set's cameras by file path."""
    shared = {key: value for key, value in document.items() if key != "frames"}
    return {entry["file_path"]: Camera.from_dict({**shared, **entry}) for entry in document["frames"]}


def frames(document: dict) -> dict[str, dict]:
    return {entry["file_path"]: entry for entry in document["frames"]}


def ball_and_floor(scene):
    """A finely meshed sphere, shaded flat, over a tilted square; returns the square's (point, normal, half side)."""
    for item in list(scene.objects):
        if item.type == "MESH":
            bpy.data.objects.remove(item)
    bpy.ops.mesh.primitive_ico_sphere_add(radius=RADIUS, subdivisions=7, location=BALL)
    bpy.context.object.name = "Ball"
    matrix = Matrix.Translation((0.0, 0.3, -1.2)) @ Matrix.Rotation(0.2, 4, "X")
    bpy.ops.mesh.primitive_plane_add(size=4.0)
    bpy.context.object.name = "Floor"
    bpy.context.object.matrix_world = matrix
    bpy.context.view_layer.update()
    return np.array(matrix, dtype=np.float64)


def expected(camera: Camera, floor: np.ndarray):
    """Distance, world normal and object (1 ball, 2 floor, 0 none) at every pixel's centre."""
    origins, directions = camera.rays()
    offset = origins - BALL
    b, c = np.sum(offset * directions, axis=-1), np.sum(offset * offset, axis=-1) - RADIUS**2
    root = b * b - c
    ball = np.where((root > 0) & (b < 0), -b - np.sqrt(np.where(root > 0, root, 0)), np.inf)
    inverse = np.linalg.inv(floor)
    local_o = origins @ inverse[:3, :3].T + inverse[:3, 3]
    local_d = directions @ inverse[:3, :3].T
    t = -local_o[..., 2] / local_d[..., 2]
    place = local_o + t[..., None] * local_d
    plane = np.where((t > 0) & (np.abs(place[..., :2]) < 2.0).all(axis=-1), t, np.inf)
    distance = np.minimum(ball, plane)
    kind = np.where(np.isinf(distance), 0, np.where(ball < plane, 1, 2))
    up = floor[:3, 2]
    facing = np.where((directions @ up)[..., None] > 0, -up, up)
    normal = np.where((kind == 1)[..., None], (origins + np.where(kind == 1, ball, 0)[..., None] * directions - BALL)
                      / RADIUS, facing)  # fmt: skip
    return distance, np.where((kind > 0)[..., None], normal, 0.0), kind, ball, plane


def inner(kind: np.ndarray) -> np.ndarray:
    """Pixels whose neighbours see the same object: a silhouette through a pixel's centre may go either way."""
    same = np.ones_like(kind, dtype=bool)
    for axis in (0, 1):
        for step in (-1, 1):
            same &= np.roll(kind, step, axis) == kind
    return same


def coverage(camera: Camera, floor: np.ndarray) -> np.ndarray:
    """1 where a pixel and its neighbours are full, 0 where they are empty, 0.5 elsewhere."""
    fine = camera.resized(8 * camera.width, 8 * camera.height)
    full = expected(fine, floor)[2] > 0
    share = full.reshape(camera.height, 8, camera.width, 8).mean(axis=(1, 3))
    padded = np.pad(share, 1, mode="edge")
    around = [padded[y : y + share.shape[0], x : x + share.shape[1]] for y in range(3) for x in range(3)]
    return np.where(np.min(around, axis=0) == 1, 1.0, np.where(np.max(around, axis=0) == 0, 0.0, 0.5))


@pytest.mark.parametrize("engine", ["CYCLES", "BLENDER_WORKBENCH"])
def test_passes_are_exact_at_pixel_centres(tmp_path, engine):
    scene = bpy.context.scene
    floor = ball_and_floor(scene)
    scene.render.engine = engine
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, train=3, val=1, test=0, size=96)
    settings.resolution_y = 64
    for kind in ALL:
        setattr(settings, f"use_{kind}", True)
    before = scenes.dump()
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert scenes.differences(before, scenes.dump()) == []
    document = scenes.document(tmp_path / "run")
    facts = document["nerf_toolkit"]
    assert (facts["depth"], facts["normal"]) == ("distance", "world")
    assert facts["object_index"] == {"Ball": 1, "Floor": 2}
    views, entries = cameras(document), frames(document)
    assert len(views) == 4
    seen = 0
    for path, camera in views.items():
        entry = entries[path]
        stem = path.removesuffix(".png")
        assert entry["depth_file_path"] == f"depth/{stem}.exr" and entry["normal_file_path"] == f"normal/{stem}.exr"
        assert entry["mask_path"] == f"mask/{stem}.png" and entry["object_index_file_path"] == f"index/{stem}.exr"
        folder = tmp_path / "run/dataset"
        distance, normal, kind, ball, plane = expected(camera, floor)
        sure = inner(kind)
        depth = read_exr(folder / entry["depth_file_path"])
        assert list(depth) == ["V"] and depth["V"].dtype == np.float32
        depth = depth["V"]
        assert (depth[sure & (kind == 0)] == 0).all()
        flat = sure & (kind == 2)
        np.testing.assert_allclose(depth[flat], distance[flat], rtol=1e-5)
        round_ = sure & (kind == 1)
        np.testing.assert_allclose(depth[round_], distance[round_], rtol=1e-4)
        found = read_exr(folder / entry["normal_file_path"])
        found = np.stack([found[key] for key in "XYZ"], axis=-1)
        assert np.abs(found - normal)[flat].max(initial=0) < 1e-5
        assert np.abs(found - normal)[round_].max() < 0.03  # flat facets of a ball
        assert (found[sure & (kind == 0)] == 0).all()
        index = read_exr(folder / entry["object_index_file_path"])["V"]
        assert (index[sure] == kind[sure]).all()
        with Image.open(folder / entry["mask_path"]) as image:
            mask = np.asarray(image)
            assert image.mode == "L"
        covered = coverage(camera, floor)
        assert (mask[covered == 1] == 255).all() and (mask[covered == 0] == 0).all()
        assert ((mask > 20) & (mask < 235)).any(), "smooth at the edge"
        seen += int(round_.sum()) * (flat.sum() > 0)
    assert seen > 500


@pytest.mark.parametrize("kind", ["ORTHO", "PANO"])
def test_depth_of_other_lenses_is_the_distance_along_their_rays(tmp_path, kind):
    scene = bpy.context.scene
    floor = ball_and_floor(scene)
    scenes.cycles(scene)
    data = scene.camera.data
    data.type = kind
    scene.camera.matrix_world = Matrix.Translation((2.0, -4.0, 1.0)) @ Matrix.Rotation(1.4, 4, "X")
    if kind == "ORTHO":
        data.ortho_scale = 5.0
    else:
        (data if hasattr(data, "panorama_type") else data.cycles).panorama_type = "EQUIRECTANGULAR"
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, val=0, test=0, size=64)
    settings.rig, settings.use_depth = "CAMERAS", True
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    document = scenes.document(tmp_path / "run")
    (entry,), (camera,) = document["frames"], cameras(document).values()
    assert camera.kind == {"ORTHO": "orthographic", "PANO": "panoramic"}[kind]
    distance, _, seen, *_ = expected(camera, floor)
    depth = read_exr(tmp_path / "run/dataset" / entry["depth_file_path"])["V"]
    sure = inner(seen) & (seen > 0)
    assert sure.sum() > 40 and set(seen[sure]) == {1, 2}
    np.testing.assert_allclose(depth[sure], distance[sure], rtol=1e-4)


def test_a_mask_shows_the_selected_objects_and_what_hides_them(tmp_path):
    scene = bpy.context.scene
    scenes.workbench(scene)
    bpy.ops.mesh.primitive_cube_add(size=2.0, location=(5, 0, 0))
    screen = bpy.context.object  # hides the default cube from one camera
    for item in list(scene.objects):
        if item.type == "CAMERA":
            bpy.data.objects.remove(item)
    for name, x in (("A", 20.0), ("B", -20.0)):
        item = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        item.rotation_euler = (np.pi / 2, 0, np.pi / 2 if x > 0 else -np.pi / 2)
        item.location.x = x
        scene.collection.objects.link(item)
    bpy.context.view_layer.update()
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, val=0, test=0, size=48)
    settings.rig, settings.subject, settings.isolate, settings.use_mask = "CAMERAS", "SELECTED", False, True
    screen.select_set(False)
    bpy.data.objects["Cube"].select_set(True)
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    masks, alphas = [], []
    for entry in scenes.document(tmp_path / "run")["frames"]:
        with Image.open(tmp_path / "run/dataset" / entry["mask_path"]) as image:
            masks.append(np.asarray(image))
        alphas.append(scenes.picture(tmp_path / "run/dataset" / entry["file_path"])[..., 3])
    assert masks[0].max() == 0 and alphas[0].max() >= 254, "the nearer cube hides it"
    # Behind the cube the other one stands inside its outline, as seen from there.
    assert masks[1].max() == 255 and np.abs(masks[1].astype(int) - alphas[1]).mean() < 3
    assert not any(item.is_holdout for item in scene.objects)


def test_given_pass_indices_are_kept_and_instances_have_their_own(tmp_path):
    scene = bpy.context.scene
    scenes.workbench(scene)
    bpy.data.objects["Cube"].pass_index = 12
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, train=1, val=0, test=0)
    settings.use_index = True
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    document = scenes.document(tmp_path / "run")
    assert document["nerf_toolkit"]["object_index"] == {"Cube": 12}
    index = read_exr(tmp_path / "run/dataset" / document["frames"][0]["object_index_file_path"])["V"]
    assert set(np.unique(index)) == {0.0, 12.0}


def test_a_capture_goes_on_where_a_pass_is_missing(tmp_path):
    scene = bpy.context.scene
    scenes.workbench(scene)
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path)
    settings.use_depth = True
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    dataset = tmp_path / "run/dataset"
    whole = {path: path.read_bytes() for path in dataset.rglob("*.exr")}
    assert len(whole) == 5
    broken, absent, *kept = sorted(whole)
    broken.write_bytes(whole[broken][:-7])
    absent.unlink()
    state = (dataset / "capture.json").read_text().replace('"complete": true', '"complete": false')
    (dataset / "capture.json").write_text(state)
    times = {path: path.stat().st_mtime_ns for path in kept}
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert {path: path.read_bytes() for path in dataset.rglob("*.exr")} == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == times
    settings.use_normal = True
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert (tmp_path / "run-002/dataset/normal/train/0001.exr").exists()


def test_passes_without_cycles_are_refused_before_the_first_picture(tmp_path, addon_module):
    scene = bpy.context.scene
    scenes.workbench(scene)
    scenes.small(scene.nerf.capture, tmp_path)
    scene.nerf.capture.use_depth = True
    bpy.ops.preferences.addon_disable(module="cycles")
    try:
        with pytest.raises(RuntimeError, match="made by Cycles, which is switched off: enable the add-on"):
            bpy.ops.nerf.capture()
    finally:
        bpy.ops.preferences.addon_enable(module="cycles")
    assert not (tmp_path / "run").exists()


def test_linear_pictures_hold_the_light_as_it_is(tmp_path):
    """Emission of 4.0 stays 4.0 whatever the scene's look; half covered pixels are premultiplied."""
    scene = bpy.context.scene
    for item in list(scene.objects):
        bpy.data.objects.remove(item)
    bpy.ops.mesh.primitive_plane_add(size=1.0)
    bpy.context.object.rotation_euler.z = 0.3
    bpy.context.object.data.materials.append(scenes.emission("Bright", 4.0))
    bpy.ops.object.camera_add(location=(0, 0, 5))
    scene.camera = bpy.context.object
    scene.camera.data.type, scene.camera.data.ortho_scale = "ORTHO", 2.0
    scenes.cycles(scene)
    scene.view_settings.view_transform, scene.view_settings.exposure = "AgX", 2.0
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, val=0, test=0, size=32)
    settings.rig, settings.picture_format, settings.samples = "CAMERAS", "EXR", 16
    before = scenes.dump()
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert scenes.differences(before, scenes.dump()) == []
    document = scenes.document(tmp_path / "run")
    assert document["nerf_toolkit"]["color_space"] == "linear" and document["nerf_toolkit"]["has_alpha"]
    assert [entry["file_path"] for entry in document["frames"]] == ["train/0001.exr"]
    found = read_exr(tmp_path / "run/dataset/train/0001.exr")
    assert set(found) == set("RGBA") and found["R"].dtype == np.float32
    assert found["G"][16, 16] == pytest.approx(4.0, rel=1e-5)
    edge = (found["A"] > 0.2) & (found["A"] < 0.8)
    assert edge.sum() > 5
    np.testing.assert_allclose(found["B"][edge], 4.0 * found["A"][edge], rtol=1e-4)
    assert found["A"][0, 0] == found["R"][0, 0] == 0
    settings.use_transparent = False
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert set(read_exr(tmp_path / "run-002/dataset/train/0001.exr")) == set("RGB")
