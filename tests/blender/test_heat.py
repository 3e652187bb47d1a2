"""Heat maps in Blender: passes of F12, the image that shows one, the command, and the viewport's colours."""

from pathlib import Path

import bpy
import numpy as np
import pytest

from .small_run import SIDE, core_python, look_from, needs_core, process_gone, sphere_image, trained_run
from .test_engine_final import multilayer, read_exr

pytestmark = needs_core
NAMES = {
    "sample_count": "Sample Count",
    "captured_weight": "Captured Weight",
    "depth_error": "Depth Error",
    "colour_error": "Colour Error",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("heat"))


@pytest.fixture(scope="module")
def parts(addon_module):
    """The add-on's modules, with a core that is started once for all of these tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("NERF_CORE_PYTHON", core_python())

    class Parts:
        core = addon_module("jobs.core")
        pump = addon_module("jobs.pump")
        cameras = addon_module("capture.cameras")
        create = addon_module("objects.create")
        layers = addon_module("objects.layers")
        run_folder = addon_module("vendor.nerf_core.contract.run_folder")
        picture = addon_module("heat.picture")
        view = addon_module("engine.heat_view")
        heat = addon_module("vendor.nerf_core.contract.heat")
        picture_camera = addon_module("inspect.picture_camera")

        def camera(self):
            scene = bpy.context.scene
            bpy.context.view_layer.update()
            frame = self.cameras.Frame.of_render(scene.render, with_border=False)
            return self.cameras.camera_from_blender(scene.camera, bpy.context.evaluated_depsgraph_get(), frame)

        def ask(self, **more):
            """The core's own answer for the scene as it stands, past the engine."""
            layers = self.layers.scene_layers(bpy.context.evaluated_depsgraph_get())
            params = {
                "layers": layers,
                "camera": self.camera().to_dict(),
                "color": "linear",
                "clip": True,
                "depth": "z",
            }
            call = self.core.request("render", {**params, **more})
            assert self.pump.pump_until(lambda: call.done, 120) and call.error is None, call.error
            return call.result, call.arrays

    yield Parts()
    process = Parts.core.running()
    Parts.core.leave(20)
    if process is not None:
        assert process_gone(process.pid)
    patch.undo()


@pytest.fixture
def scene(run, parts):
    """The factory scene with a NeRF, seen by a camera of its data set."""
    scene = bpy.context.scene
    parts.create.add_nerf(scene, parts.run_folder.RunFolder(run))
    look_from(scene, 3, SIDE, SIDE)
    scene.camera.data.lens = 1.4 * scene.camera.data.sensor_width
    scene.nerf.run_folder = str(run)
    assert bpy.ops.nerf.use_engine() == {"FINISHED"}
    scene.render.film_transparent = True
    return scene


def rendered(scene, tmp_path):
    path = tmp_path / "picture.exr"
    multilayer(scene, path)
    assert bpy.ops.render.render(write_still=True) == {"FINISHED"}
    return read_exr(path)


def test_f12_has_the_core_s_maps_as_passes(scene, parts, tmp_path, monkeypatch, addon_module):
    settings = scene.nerf_engine
    for name in NAMES:
        setattr(settings, f"use_{name}", True)
    monkeypatch.setattr(addon_module("engine.final"), "FIRST_PIXELS", 10 * SIDE)  # in several parts
    result, expected = parts.ask(passes=list(NAMES))
    assert result["reference"] == "data" and result["view"]["name"].endswith("train/0003")
    seen = rendered(scene, tmp_path)
    for name, label in NAMES.items():
        found = seen[f"{label}.X"]
        assert found.dtype == np.float32 and found.shape == (SIDE, SIDE)
        np.testing.assert_allclose(found, expected[name], atol=2e-3, err_msg=name)
    # By hand: what Blender has rendered, over white, against the data set's picture.
    truth = sphere_image(parts.camera()) / 255.0
    linear = np.stack([seen[f"Combined.{letter}"] for letter in "RGBA"], axis=-1)
    straight = linear[..., :3] / np.maximum(linear[..., 3:], 1e-6)
    encoded = np.where(straight <= 0.0031308, 12.92 * straight, 1.055 * np.maximum(straight, 1e-8) ** (1 / 2.4) - 0.055)
    over = [
        np.clip(color * alpha + 1.0 - alpha, 0.0, 1.0)
        for color, alpha in ((encoded, linear[..., 3:]), (truth[..., :3], truth[..., 3:]))
    ]
    np.testing.assert_allclose(seen["Colour Error.X"], np.abs(over[0] - over[1]).mean(axis=-1), atol=4e-3)
    assert seen["Sample Count.X"].max() >= 2.0 and seen["Colour Error.X"].max() > 0.02
    scene.nerf.heat.against = "FULL"
    assert not rendered(scene, tmp_path)["Colour Error.X"].any()
    scene.nerf.heat.against = "AUTO"
    # From a little aside there is no such picture; with full sampling the render agrees with itself.
    scene.camera.location.z += 0.05
    settings.use_captured_weight = settings.use_sample_count = False
    assert parts.ask(passes=["colour_error"])[0]["reference"] == "full"
    seen = rendered(scene, tmp_path)
    assert {name.partition(".")[0] for name in seen} == {"Combined", "Opacity", "Depth Error", "Colour Error"}
    assert not seen["Colour Error.X"].any() and not seen["Depth Error.X"].any()
    # Nothing is shown, and nothing missed.
    settings.use_captured_weight = True
    next(item for item in scene.objects if item.nerf.is_nerf).hide_render = True
    seen = rendered(scene, tmp_path)
    assert (seen["Captured Weight.X"] == 1.0).all() and not seen["Colour Error.X"].any()


def bytes_of(image) -> np.ndarray:
    """(H, W, 3) uint8, top row first."""
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return np.round(pixels.reshape(height, width, 4)[::-1, :, :3] * 255.0).astype(np.uint8)


def test_the_image_shows_one_map_after_the_other(scene, parts, run, tmp_path):
    scene.nerf.heat.map = "COLOUR_ERROR"
    assert bpy.ops.nerf.heat_map() == {"FINISHED"}
    image = bpy.data.images["NeRF Heat Map"]
    assert parts.picture.find() == image
    shown = parts.picture.shown()
    assert (shown.map, shown.shot.view, shown.numbers["reference"]) == ("colour_error", "Camera", "data")
    zoom = image.size[0] // SIDE
    for name in ("colour_error", "sample_count", "captured_weight", "depth_error"):
        scene.nerf.heat.map = name.upper()  # no core has a part in it
        exr = read_one(run / "renders" / "heat" / f"Camera_{name}.exr")
        numbers = parts.picture.shown().numbers
        assert numbers["mean"] == pytest.approx(exr.mean(), abs=1e-5) and numbers["most"] == exr.max()
        expected = parts.heat.coloured(exr, numbers["top"], parts.heat.heat_kind(name).colours)
        np.testing.assert_array_equal(bytes_of(image)[: zoom * SIDE : zoom, ::zoom], expected, err_msg=name)
        assert Path(bpy.path.abspath(image.filepath)).name == f"Camera_{name}.png" and image.name == "NeRF Heat Map"
    # A click on it leads along the very ray.
    camera = parts.picture_camera.camera_of_picture(image, scene, bpy.context.evaluated_depsgraph_get())
    at = np.array([[17.5, 31.5]])
    np.testing.assert_allclose(camera.rays(at * zoom)[1], parts.camera().rays(at)[1], atol=1e-6)
    # Another sampler's maps, on the same scales, stand beside these: one flips between them.
    scene.nerf.heat.keep_scale = True
    scene.nerf_engine.sampler = "OCCUPANCY"
    scene.camera.data.lens *= 0.5
    assert bpy.ops.nerf.heat_map() == {"FINISHED"}
    shown = parts.picture.shown()
    assert [(shot.view, shot.sampler) for shot in shown.shots] == [("Camera", "As trained"), ("Camera", "Occupancy")]
    tops = [{name: numbers["top"] for name, numbers in shot.numbers.items()} for shot in shown.shots]
    assert shown.index == 1 and tops[0] == tops[1]
    assert Path(image.filepath).name == "Camera_Occupancy_depth_error.png"
    second = bytes_of(image)
    scene.nerf.heat.map = "SAMPLE_COUNT"
    assert bpy.ops.nerf.choose_heat_map(index=0) == {"FINISHED"}
    assert Path(image.filepath).name == "Camera_sample_count.png" and bytes_of(image).shape == second.shape
    with pytest.raises(RuntimeError, match="no such heat map"):
        bpy.ops.nerf.choose_heat_map(index=2)
    # A new view of the same camera and sampler takes the old one's place; files that are not ours stay.
    mine = run / "renders" / "heat" / "Camera_sample_count.png"
    mine.write_bytes(b"mine")
    scene.nerf_engine.sampler = "TRAINED"
    scene.camera.location.z += 0.3
    assert bpy.ops.nerf.heat_map() == {"FINISHED"}
    assert mine.read_bytes() == b"mine" and Path(image.filepath).name == "Camera-2_sample_count.png"
    shown = parts.picture.shown()
    assert (len(shown.shots), shown.index) == (2, 0) and shown.shot.numbers["colour_error"]["reference"] == "full"
    scene.camera = None
    with pytest.raises(RuntimeError):
        bpy.ops.nerf.heat_map()
    # The file knows it, too.
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    image = parts.picture.find()
    before = bytes_of(image)
    bpy.context.scene.nerf.heat.map = "CAPTURED_WEIGHT"
    assert parts.picture.shown().map == "captured_weight" and (bytes_of(image) != before).any()


def read_one(path) -> np.ndarray:
    exr = pytest.importorskip("OpenEXR")
    with exr.File(str(path), separate_channels=True) as file:
        return np.array(file.channels()["Y"].pixels)


def test_the_command_prints_numbers_and_files(scene, run, addon_module, capsys):
    main = addon_module("cli").main
    assert main(["heat", "--run", str(run), "--scale", "50"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    files = [Path(line) for line in lines if line.endswith(".png")]
    assert [path.stem.partition("_")[2] for path in files] == list(NAMES) and all(path.is_file() for path in files)
    assert read_one(files[0].with_suffix(".exr")).shape == (SIDE // 2, SIDE // 2)
    assert any(
        line.startswith("Colour Error: mean 0.") and line.endswith("against the data set's view") for line in lines
    )
    assert main(["heat", "--run", str(run), "--camera", "Nobody"]) == 2
    assert "no camera 'Nobody'" in capsys.readouterr().err
    assert main(["heat", "--run", str(run), "--samples", "4"]) == 2


def test_the_viewport_s_colours_are_those_of_the_numbers(scene, parts):
    result, arrays = parts.ask(passes=["sample_count", "captured_weight"])
    alpha = arrays["rgba"][..., 3]
    plain = parts.view.paint("COLOUR", arrays)
    assert plain[0] is arrays["rgba"] and plain[2] is None
    for show in ("SAMPLE_COUNT", "CAPTURED_WEIGHT", "DEPTH"):
        assert parts.view.request_passes(show) == ([] if show == "DEPTH" else [show.lower()])
        rgba, depth, legend = parts.view.paint(show, arrays)
        seen = alpha > 0.5
        assert (rgba[seen][:, 3] == 1.0).all() and (depth[alpha == 0.0] == 1e10).all()
        np.testing.assert_array_equal(depth[seen], arrays["depth"][seen])
        values = arrays["depth"] if show == "DEPTH" else arrays[show.lower()]
        part = np.clip((values - legend.low) / (legend.high - legend.low), 0.0, 1.0)
        np.testing.assert_array_equal(rgba[seen, :3], legend.table()[np.minimum(part[seen] * 256, 255).astype(int)])
        assert legend.ticks()[0][0] == 0.0 and legend.ticks()[-1][1].startswith(f"{legend.high:.3g}")
    assert legend.reverse and legend.low < np.median(arrays["depth"][seen]) < legend.high
    counts = parts.view.paint("SAMPLE_COUNT", arrays)[2]
    assert counts.mean == pytest.approx(result["heat"]["sample_count"]["mean_hit"], rel=1e-5)
    # Encoded again, the legend's colours are the table's.
    linear = counts.table()
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055)
    np.testing.assert_array_equal(np.round(encoded * 255.0), parts.heat.colour_table("viridis"))
    empty = {"rgba": np.zeros((4, 5, 4), np.float32), "depth": np.zeros((4, 5), np.float32)}
    assert not parts.view.paint("DEPTH", empty)[0].any()


def test_the_inspector_keeps_clear_of_the_legend(addon_module):
    legend, overlay = addon_module("engine.legend"), addon_module("inspect.overlay")
    left, top = legend.covered((1000, 600), 1.0)
    assert 300 < left < 350 and 60 < top < 100
    assert legend.covered((2000, 1200), 2.0) == (2 * left, 2 * top)
    assert legend.covered((250, 600), 1.0) == (250, 0)  # no room, no legend
    scene, context = bpy.context.scene, bpy.context
    window = context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    with context.temp_override(window=window, area=area):
        assert not overlay._shows_heat(context)
        scene.render.engine, area.spaces.active.shading.type = "NERF_TOOLKIT", "RENDERED"
        assert not overlay._shows_heat(context)  # it shows colours
        scene.nerf_engine.viewport_show = "DEPTH"
        assert overlay._shows_heat(context)
        area.spaces.active.shading.type = "SOLID"
        assert not overlay._shows_heat(context)
