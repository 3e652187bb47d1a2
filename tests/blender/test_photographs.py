"""Data sets in: every kind as cameras that see what their pictures show, to the pixel; headless, twice, cancelled."""

import json
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from PIL import Image

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.lens import Distortion
from nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms

from .. import colmap_files
from . import capture_scenes as scenes
from .small_run import core_python, needs_core

pytestmark = needs_core
SIZE = (120, 80)
MARKERS = np.array([[0.5, 0.2, 0.3], [-0.6, 0.4, -0.2], [0.1, -0.7, 0.5]])
WORLD = np.random.default_rng(2).uniform(-1, 1, (20, 3))
POINTS = np.random.default_rng(4).uniform(-1, 1, (60, 3))
BOX = np.array([[-1.0, -1.1, -0.9], [1.0, 1.1, 0.9]])
KINDS = ("synthetic", "ngp", "nerfstudio", "colmap_txt", "colmap_bin")


def ring(count: int = 9, **changes) -> list[Camera]:
    """Cameras around the origin with a centred lens and square pixels, which every kind can say."""
    made = []
    for index in range(count):
        angle = 2 * np.pi * index / count + 0.2
        place = 4.0 * np.array([np.cos(angle), np.sin(angle), 0.3 + 0.1 * index])
        values = {"width": SIZE[0], "height": SIZE[1], "fl_x": 150.0, "fl_y": 150.0, "cx": 60.0, "cy": 40.0, **changes}
        made.append(Camera(**values, c2w=look_at(place, np.zeros(3))))
    return made


def write_set(folder: Path, kind: str, cameras: list[Camera], pictures: list[np.ndarray] | None = None) -> Path:
    """A data set of one kind; without pictures, of grey ones."""
    names = [f"images/photo_{index}.png" for index in range(len(cameras))]
    (folder / "images").mkdir(parents=True)
    for index, (camera, name) in enumerate(zip(cameras, names, strict=True)):
        grey = np.full((camera.height, camera.width, 3), 80, np.uint8)
        Image.fromarray(grey if pictures is None else pictures[index % len(pictures)]).save(folder / name)
    if kind.startswith("colmap"):
        plain = [name.removeprefix("images/") for name in names]
        colors = np.full((len(POINTS), 3), 200)
        colmap_files.write_model(folder / "sparse/0", cameras, plain, POINTS, colors, kind.endswith("bin"))
    elif kind == "nerfstudio":
        splits = ["val" if index % 8 == 0 else "train" for index in range(len(cameras))]
        records = [FrameRecord(*entry) for entry in zip(names, splits, cameras, strict=True)]
        write_transforms(folder, records, DatasetFacts(bounds=BOX))
        for extra in folder.glob("transforms_*.json"):
            extra.unlink()
    else:
        first = cameras[0]
        document = {"camera_angle_x": 2 * np.arctan(0.5 * first.width / first.fl_x)}
        if kind == "ngp":
            document = {"fl_x": first.fl_x, "fl_y": first.fl_y, "cx": first.cx, "cy": first.cy, "w": first.width,
                        "h": first.height, "aabb_scale": 2, "scale": 0.4}  # fmt: skip
        document["frames"] = [
            {"file_path": f"./{name}"[:-4] if kind == "synthetic" else name, "transform_matrix": camera.c2w.tolist()}
            for name, camera in zip(names, cameras, strict=True)
        ]
        name = "transforms_train.json" if kind == "synthetic" else "transforms.json"
        (folder / name).write_text(json.dumps(document))
    return folder


@pytest.fixture(autouse=True)
def _core(monkeypatch, addon_module, tmp_path):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    bpy.context.scene.nerf.capture.folder = str(tmp_path / "runs")


@pytest.fixture(scope="module", autouse=True)
def _one_core(addon_module):
    """One core for all tests of this module."""
    yield
    addon_module("jobs.core").leave(10.0)


@pytest.fixture
def build(addon_module):
    return addon_module("photographs.build")


def import_set(data, **options):
    assert bpy.ops.nerf.import_dataset(filepath=str(data), **options) == {"FINISHED"}


def by_image(place) -> dict[str, bpy.types.Object]:
    """Imported cameras of a scene or a collection, by their image's stem."""
    items = place.objects if isinstance(place, bpy.types.Scene) else place.all_objects
    return {Path(item["nerf_image"]).stem: item for item in items if "nerf_image" in item}


def look_through(item) -> bpy.types.Scene:
    bpy.context.view_layer.objects.active = item
    assert bpy.ops.nerf.look_through() == {"FINISHED"}
    bpy.context.view_layer.update()
    return bpy.context.scene


def pixels_of(item, points) -> np.ndarray:
    """Where Blender itself sees world points, in pixels from the top left."""
    render = look_through(item).render
    seen = np.array([world_to_camera_view(bpy.context.scene, item, Vector(point)) for point in points])
    return seen[:, :2] * (render.resolution_x, -render.resolution_y) + (0, render.resolution_y)


def turn_of(item, camera: Camera) -> np.ndarray:
    """From the data set's own world to Blender's, by one camera."""
    return np.array(item.matrix_world) @ np.linalg.inv(camera.c2w)


def test_world_points_are_seen_where_the_core_sees_them(tmp_path, build):
    cameras = ring()
    for kind in KINDS:
        data = write_set(tmp_path / f"données 球 {kind}", kind, cameras)
        import_set(data)
        _check_cameras(by_image(build.find_collection(bpy.context.scene, data)), cameras, kind)


def _check_cameras(found, cameras, kind):
    assert len(found) == 9
    turn = turn_of(found["photo_0"], cameras[0])
    if not kind.startswith("colmap"):
        np.testing.assert_allclose(turn, np.eye(4), atol=1e-5)
    for index, camera in enumerate(cameras):
        item = found[f"photo_{index}"]
        truth, _ = camera.project(WORLD)
        moved = WORLD @ turn[:3, :3].T + turn[:3, 3]
        np.testing.assert_allclose(pixels_of(item, moved), truth, atol=0.01)
        np.testing.assert_allclose(turn_of(item, camera), turn, atol=1e-5)
        (background,) = item.data.background_images
        assert Path(bpy.path.abspath(background.image.filepath)).name == f"photo_{index}.png"
        assert tuple(background.image.size) == SIZE and background.frame_method == "FIT"
        assert tuple(background.offset) == (0, 0) and background.scale == 1 and background.rotation == 0


def test_shifted_and_distorted_lenses_oblong_pixels_and_several_sizes(tmp_path, build):
    wide = ring(cx=52.0, cy=45.5, fl_y=160.0)[:3]
    mixed = [*wide, *ring(width=64, height=96, cx=30.0, cy=50.0)[3:6]]
    import_set(write_set(tmp_path / "mixed", "colmap_bin", mixed), orientation="NONE")
    import_set(write_set(tmp_path / "one lens", "ngp", wide))
    for name, cameras in (("mixed", mixed), ("one lens", wide)):
        found = by_image(build.find_collection(bpy.context.scene, tmp_path / name))
        for index, camera in enumerate(cameras):
            item = found[f"photo_{index}"]
            np.testing.assert_allclose(pixels_of(item, WORLD), camera.project(WORLD)[0], atol=0.01)
            render = bpy.context.scene.render
            assert (render.resolution_x, render.resolution_y) == (camera.width, camera.height)
    # A distorted lens is told, and its middle lines up.
    bent = ring(distortion=Distortion(k1=-0.1, p1=0.002))
    import_set(write_set(tmp_path / "bent", "colmap_txt", bent), orientation="NONE")
    item = by_image(build.find_collection(bpy.context.scene, tmp_path / "bent"))["photo_1"]
    assert "distorted" in item[build.NOTE_KEY]
    middle = np.zeros((1, 3))
    np.testing.assert_allclose(pixels_of(item, middle), bent[1].project(middle)[0], atol=0.01)
    assert np.abs(pixels_of(item, WORLD) - bent[1].project(WORLD)[0]).max() > 0.05


def _markers() -> bpy.types.Collection:
    scene = bpy.context.scene
    for item in list(scene.objects):
        if item.type != "CAMERA":
            bpy.data.objects.remove(item)
    for index, place in enumerate(MARKERS):
        bpy.ops.mesh.primitive_uv_sphere_add(radius=0.12, location=place, segments=48, ring_count=24)
        bpy.context.object.data.materials.append(scenes.emission(f"Marker {index}", 1.0))
    scenes.cycles(scene)
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_adaptive_sampling = 64, False, False
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = "BLACKMAN_HARRIS", 2.0
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"


def _render(path: Path) -> np.ndarray:
    render = bpy.context.scene.render
    render.filepath, render.image_settings.file_format = str(path), "PNG"
    render.image_settings.color_mode = "RGBA"
    assert bpy.ops.render.render(write_still=True) == {"FINISHED"}
    return scenes.picture(path)


def _centroids(picture: np.ndarray, camera: Camera) -> np.ndarray:
    """The markers' centroids in a picture: of the coverage near where each one is expected."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    expected, depth = camera.project(MARKERS)
    found = []
    for (u, v), distance in zip(expected, depth, strict=True):
        near = np.hypot(x - u, y - v) < 1.6 * camera.fl_x * 0.12 / distance
        weight = picture[..., 3] / 255.0 * near
        assert weight.max() == 1
        found.append([(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()])
    return np.array(found)


def test_photographs_line_up_with_what_their_cameras_render(tmp_path, addon_module):
    """The pictures are Blender's own of three markers, which are at the same pixels through the imported cameras."""
    contract = addon_module("vendor.nerf_core.contract.camera").Camera
    cameras_module = addon_module("capture.cameras")
    cameras, pictures, seen = ring()[:3], [], []
    _markers()
    scene = bpy.context.scene
    for index, camera in enumerate(cameras):
        own = cameras_module.new_camera(contract.from_dict(camera.to_dict()), "Photographer")
        scene.collection.objects.link(own)
        cameras_module.apply_frame(scene.render, cameras_module.Frame(*SIZE))
        scene.camera = own
        pictures.append(_render(tmp_path / f"truth_{index}.png"))
        seen.append(_centroids(pictures[-1], camera))
        bpy.data.objects.remove(own)
    for kind in ("synthetic", "colmap_bin"):
        import_set(write_set(tmp_path / kind, kind, cameras, pictures), orientation="NONE")
    # Two data sets of the same photographs: each camera of either renders its own.
    for item in [item for item in scene.objects if "nerf_image" in item]:
        index = int(Path(item["nerf_image"]).stem.split("_")[1])
        look_through(item)
        for helper in scene.objects:
            helper.hide_render = not helper.name.startswith("Sphere")
        rendered = _render(tmp_path / "again.png")
        np.testing.assert_allclose(_centroids(rendered, cameras[index]), seen[index], atol=0.03)
        image = item.data.background_images[0].image
        stored = np.empty(4 * SIZE[0] * SIZE[1], np.float32)
        image.pixels.foreach_get(stored)
        stored = np.round(255 * stored.reshape(SIZE[1], SIZE[0], 4)[::-1, :, 3])
        np.testing.assert_array_equal(stored, pictures[index][..., 3])  # the picture behind it is this one, upright


def test_the_scene_trains_from_it_and_nothing_else_is_touched(tmp_path, build):
    data = write_set(tmp_path / "photos", "colmap_bin", ring())
    before = {item.name: np.array(item.matrix_world).tolist() for item in bpy.context.scene.objects}
    own = bpy.context.scene.camera
    import_set(data)
    scene = bpy.context.scene
    for name, matrix in before.items():
        assert np.array(scene.objects[name].matrix_world).tolist() == matrix
    assert scene.camera is own and Path(scene.nerf.training.data) == data
    assert Path(scene.nerf.run_folder) == tmp_path / "runs" / "photos"
    top = build.find_collection(scene, data)
    assert [child.name for child in top.children] == ["photos Train", "photos Validation"]
    assert [len(child.objects) for child in top.children] == [7, 2]
    box = next(item for item in top.objects if item.type == "EMPTY")
    points = next(item for item in top.objects if item.type == "MESH")
    assert len(points.data.vertices) == len(POINTS)
    low, high = np.array(box.matrix_world)[:3, 3] - box.scale, np.array(box.matrix_world)[:3, 3] + box.scale
    places = np.array([vertex.co for vertex in points.data.vertices])
    assert ((places > low - 0.2) & (places < high + 0.2)).all()
    # Up is up: the ring's cameras stand as upright as they did.
    ups = np.array([np.array(item.matrix_world)[:3, 1] for item in by_image(scene).values()])
    np.testing.assert_allclose(ups.mean(axis=0)[:2], 0, atol=1e-5)
    # Once more: no doubles, and it says so.
    names = {item.name for item in bpy.data.objects}
    import_set(data)
    assert {item.name for item in bpy.data.objects} == names
    assert Path(bpy.context.scene.nerf.run_folder) == tmp_path / "runs" / "photos"
    with pytest.raises(RuntimeError, match="turned or scaled otherwise: delete the collection 'photos'"):
        bpy.ops.nerf.import_dataset(filepath=str(data), scale="NORMALISE")
    # And the same button trains, in the world that is shown here.
    scene = bpy.context.scene
    scene.nerf.training.budget, scene.nerf.training.steps, scene.nerf.training.device = "STEPS", 5, "CPU"
    assert bpy.ops.nerf.train() == {"FINISHED"}
    known = json.loads((tmp_path / "runs" / "photos" / "run.json").read_text())
    assert known["placement"] == {"orientation": "auto", "scale": "keep"} and Path(known["data"]) == data
    np.testing.assert_allclose(known["bounds"], [low, high], atol=1e-5)
    assert bpy.ops.nerf.import_cameras() == {"FINISHED"}
    trained = next(item for item in scene.objects if item.name == "NeRF train 0000")
    np.testing.assert_allclose(trained.matrix_world, by_image(scene)["photo_1"].matrix_world, atol=1e-5)


def test_headless(tmp_path, addon_module, capsys):
    data = write_set(tmp_path / "d", "nerfstudio", ring())
    saved = tmp_path / "out.blend"
    command = ["import", "--data", str(data), "--run", str(tmp_path / "run"), "--save", str(saved)]
    assert addon_module("cli").main(command) == 0
    assert "9 cameras in the collection 'd'" in capsys.readouterr().out
    bpy.ops.wm.open_mainfile(filepath=str(saved))
    assert len(by_image(bpy.context.scene)) == 9
    box = next(item for item in bpy.context.scene.objects if item.get("nerf_part") == "box")
    np.testing.assert_allclose(np.array(box.scale), (BOX[1] - BOX[0]) / 2, atol=1e-6)
    assert addon_module("cli").main(["import", "--data", str(tmp_path / "none")]) == 2
    assert f"The data set '{tmp_path / 'none'}' does not exist" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert addon_module("cli").main(["import", "--data", str(tmp_path / "empty")]) == 2
    assert "is not a data set" in capsys.readouterr().err


def test_three_hundred_cameras_leave_the_main_thread_alone(tmp_path, addon_module, monkeypatch):
    data = write_set(tmp_path / "d", "ngp", ring(300))
    pump, tasks = addon_module("jobs.pump"), addon_module("jobs.tasks")
    monkeypatch.setattr(addon_module("operators.common"), "waits", lambda _operator: False)
    assert bpy.ops.nerf.import_dataset(filepath=str(data)) == {"FINISHED"}
    slices, parts = 0, []
    until = time.monotonic() + 120
    while tasks.running():
        assert time.monotonic() < until
        before = len(by_image(bpy.context.scene))
        pump.tick()
        made = len(by_image(bpy.context.scene)) - before
        slices += made > 0
        parts.append(made)
        if not made:
            time.sleep(0.01)
    assert tasks.current().phase == "done" and sum(parts) == 300
    assert slices > 1 and max(parts) < 300  # some at a time
    # And one that is cancelled keeps what it made, whole.
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    bpy.context.scene.nerf.capture.folder = str(tmp_path / "runs")
    assert bpy.ops.nerf.import_dataset(filepath=str(data)) == {"FINISHED"}
    while not by_image(bpy.context.scene):
        assert time.monotonic() < until
        pump.tick()
        time.sleep(0.001)
    tasks.cancel()
    made = len(by_image(bpy.context.scene))
    pump.tick()
    assert 0 < made < 300 and len(by_image(bpy.context.scene)) == made and tasks.current().phase == "cancelled"
    import_set(data, wait=True) if not tasks.running() else None
    while tasks.running():
        pump.tick()
        time.sleep(0.001)
    assert len(by_image(bpy.context.scene)) == 300  # the rest joins
