"""Experiments from Blender: a real child process, its results as they come, stop and resume; turntables."""

import json
import os
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from .small_run import needs_core, process_gone, write_small_dataset

PLAN = """
[experiment]
title = "Tiny"
views = 1
turntable = { frames = 3, size = 20 }
[defaults]
method = "classic"
steps = STEPS
settings = { depth = 1, width = 8, coarse_samples = 4, fine_samples = 0, rays_per_step = 32 }
[grid.ablation]
"base" = {}
"no view" = { view_directions = false }
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small_dataset(tmp_path_factory.mktemp("experiment data"), count=6)


@pytest.fixture
def state(addon_module):
    module = addon_module("experiments.state")
    yield module
    current = module.current()
    if current is not None and current.under_way:
        module.leave()
        assert process_gone(current.process.pid, 60)


@pytest.fixture
def settings(data, tmp_path):
    """The scene's settings for a tiny experiment, from a text of the file."""
    text = bpy.data.texts.new("tiny.toml")
    text.write(PLAN.replace("STEPS", "6"))
    found = bpy.context.scene.nerf.experiment
    found.plan, found.text = "TEXT", text
    found.data, found.folder = str(data), str(tmp_path / "out é")
    return found


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """Where the first test that needs one leaves its finished experiment."""
    return {"out": tmp_path_factory.mktemp("kept") / "out"}


def finished(done, settings, state) -> Path:
    """The finished experiment, run once; its results are in the scene's list."""
    settings.folder = str(done["out"])
    if not state.is_experiment(done["out"]):
        assert bpy.ops.nerf.experiment_run() == {"FINISHED"}
    else:
        assert bpy.ops.nerf.experiment_results() == {"FINISHED"}
    return done["out"]


@needs_core
def test_results_come_into_the_list_and_a_report_is_written(settings, state, done, addon_module):
    seen = []
    watch = lambda experiment: seen.append((experiment.phase, len(settings.rows), experiment.fraction))  # noqa: E731
    state.on_change.append(watch)
    out = finished(done, settings, state)
    state.on_change.remove(watch)
    current = state.current()
    assert (current.phase, current.fraction) == ("finished", 1.0) and "2 of 2 cells" in current.text
    phases = [phase for phase, _, _ in seen]
    assert list(dict.fromkeys(phases)) == ["starting", "running", "finished"]
    assert 1 in [rows for _, rows, _ in seen]  # the first result while the second cell is trained
    told = [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [item.name for item in settings.rows] == [row["cell"] for row in told] == ["base", "no view"]
    for item, row in zip(settings.rows, told, strict=True):
        assert item.psnr == f"{row['metrics']['psnr']:.1f}"
        assert item.frame == addon_module("experiments.places").short(row["metrics"]["frame_ms"], 0)
        words = f"PSNR {item.psnr} dB, SSIM {item.ssim}, {item.s_hit} samples a hit ray, {item.frame} ms a frame"
        assert addon_module("experiments.places").row_words(item, False) == f"{item.name}. {words}"
        assert (item.folder, item.frames) == (row["turntable"], 3)
    assert "Tiny" in (out / "report.html").read_text(encoding="utf-8")
    assert (settings.a, settings.b) == ("base", "no view")


@needs_core
@pytest.mark.skipif(os.name == "nt", reason="processes are looked for in /proc")
def test_stop_saves_resume_goes_on_and_another_file_leaves_no_process(settings, state, addon_module, data):
    pump, places = addon_module("jobs.pump"), addon_module("experiments.places")
    settings.text.clear()
    settings.text.write(PLAN.replace("STEPS", "1000000"))
    scene = bpy.context.scene
    out, plan = places.out_folder(scene), places.plan_file(scene)

    def spent() -> int:
        return json.loads((out / "runs" / "base" / "run.json").read_text(encoding="utf-8"))["spent"]["steps"]

    experiment = state.start(plan, out, data)
    assert not bpy.ops.nerf.experiment_run.poll() and bpy.ops.nerf.experiment_stop.poll()
    with pytest.raises(Exception, match="An experiment is under way already"):
        state.start(None, out, None)
    assert pump.pump_until(lambda: _steps(experiment) > 0, 60)
    assert experiment.phase == "running" and experiment.count == 2 and experiment.text.startswith("base: training")
    assert bpy.ops.nerf.experiment_stop() == {"FINISHED"} and experiment.phase == "stopping"
    assert pump.pump_until(lambda: not experiment.under_way, 60)
    assert experiment.phase == "stopped" and process_gone(experiment.process.pid)
    first = spent()
    assert 0 < first < 1000000

    experiment = state.start(plan, out, data)
    assert pump.pump_until(lambda: _steps(experiment) > first, 60)
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert state.current() is None and process_gone(experiment.process.pid, 60)
    assert spent() > first  # saved, not killed


def _steps(experiment) -> int:
    return int(experiment.text.partition("step ")[2].partition(",")[0] or 0)


@needs_core
def test_what_is_wrong_is_the_core_s_own_sentence(settings, state):
    settings.text.clear()
    settings.text.write(PLAN.replace("STEPS", "-1"))
    with pytest.raises(RuntimeError, match="'steps' in the grid's cell 'base' is -1; it must be from 1"):
        bpy.ops.nerf.experiment_run()
    assert state.current().phase == "failed"


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ({"plan": "FILE"}, "Choose a TOML file for the grid"),
        ({"plan": "FILE", "file": "/gone/grid.toml"}, "The grid's file .*grid.toml' does not exist"),
        ({"plan": "TEXT", "text": None}, "Choose a text that holds the grid"),
        ({"data": "/gone/data"}, "The data set .*data' does not exist"),
        ({"data": "", "plan": "sampling"}, "There is nothing to train on"),
        ({"folder": "//out"}, "relative to the .blend file, which is not saved yet"),
    ],
)
def test_what_is_not_there_is_one_sentence(settings, state, plan, sentence, tmp_path):
    bpy.context.scene.nerf.run_folder = str(tmp_path / "run")
    for name, value in plan.items():
        setattr(settings, name, value)
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.nerf.experiment_run()
    assert not state.under_way()


def test_the_folder_is_beside_the_run(settings, addon_module, tmp_path):
    places = addon_module("experiments.places")
    bpy.context.scene.nerf.run_folder = str(tmp_path / "chair")
    settings.folder, settings.plan = "", "sampling-small"
    assert places.out_folder(bpy.context.scene) == tmp_path / "chair-sampling-small"
    assert places.plan_file(bpy.context.scene).read_text(encoding="utf-8").startswith("# How few samples")


def test_numbers_fit_into_a_narrow_column(addon_module):
    short = addon_module("experiments.places").short
    told = [short(value, digits) for value, digits in ((21.254, 2), (0.786, 2), (4.0, 1), (192.0, 1), (243.6, 0))]
    assert told == ["21.25", "0.79", "4.0", "192", "244"]
    assert [short(value, 0) for value in (9999.4, 9999.5, 123456.0)] == ["9999", "10k", "123k"]


def test_a_grid_that_comes_along_is_edited_as_a_text(settings, addon_module):
    settings.plan = "sampling"
    assert bpy.ops.nerf.experiment_edit() == {"FINISHED"}
    assert settings.plan == "TEXT" and settings.text.name == "sampling.toml"
    shipped = addon_module("experiments.state").SHIPPED / "sampling.toml"
    assert settings.text.as_string().strip() == shipped.read_text(encoding="utf-8").strip()
    count = len(bpy.data.texts)
    settings.text.write("# mine\n")
    assert bpy.ops.nerf.experiment_edit() == {"FINISHED"} and len(bpy.data.texts) == count
    assert addon_module("experiments.places").plan_file(bpy.context.scene).read_text().startswith("# mine")


# Turntables


def turn(out: Path, name: str, value: int, frames: int = 3, size: int = 20) -> dict:
    """A turntable whose pictures have a colour that tells cell and frame."""
    folder = out / "turntables" / name
    folder.mkdir(parents=True)
    for frame in range(frames):
        Image.new("RGB", (size, size), (value, 40 * (frame + 1), 7)).save(folder / f"{frame + 1:04d}.png")
    return {"cell": name, "metrics": {"psnr": 20.0}, "turntable": f"turntables/{name}", "frames": frames}


@pytest.fixture
def turned(addon_module, tmp_path):
    """Three cells with turntables, two of them chosen."""
    scene = bpy.context.scene
    rows = [turn(tmp_path, name, value) for name, value in (("red", 250), ("dark", 20), ("mid", 130))]
    rows.append({"cell": "bad", "error": "It diverged."})
    addon_module("experiments.places").fill_rows(scene, tmp_path, rows)
    return scene.nerf.experiment


def compared() -> np.ndarray:
    """(H, W, 4) of the comparison as it would be saved, the first row on top."""
    image = bpy.data.images["NeRF Compare"]
    values = np.empty(len(image.pixels), dtype=np.float32)
    image.pixels.foreach_get(values)
    return np.round(255 * values).astype(int).reshape(image.size[1], image.size[0], 4)[::-1]


def test_the_turntables_are_sequences_in_step_with_the_frame(turned, tmp_path):
    assert (turned.a, turned.b) == ("red", "mid")
    assert bpy.ops.nerf.compare_load() == {"FINISHED"}
    a, b = bpy.data.images["NeRF A"], bpy.data.images["NeRF B"]
    assert (a.source, b.source) == ("SEQUENCE", "SEQUENCE")
    assert Path(bpy.path.abspath(a.filepath)) == tmp_path / "turntables" / "red" / "0001.png"
    assert Path(bpy.path.abspath(b.filepath)) == tmp_path / "turntables" / "mid" / "0001.png"
    # Chosen anew, they follow; nothing is loaded twice.
    assert bpy.ops.nerf.compare_choose(side="B", cell="dark") == {"FINISHED"}
    assert Path(bpy.path.abspath(b.filepath)) == tmp_path / "turntables" / "dark" / "0001.png"
    assert bpy.ops.nerf.compare_load() == {"FINISHED"}
    assert sorted(image.name for image in bpy.data.images if image.get("nerf_turntable")) == [
        "NeRF A", "NeRF B", "NeRF Compare",
    ]  # fmt: skip


def test_the_wipe_is_a_left_of_the_line_and_b_right_of_it(turned):
    turned.b, turned.split, turned.shown = "dark", 0.25, "WIPE"
    editor()
    bpy.context.scene.frame_set(1)
    assert bpy.ops.nerf.compare_load() == {"FINISHED"}
    found = compared()
    assert (found[:, :5] == (250, 40, 7, 255)).all() and (found[:, 5:] == (20, 40, 7, 255)).all()
    assert not bpy.data.images["NeRF Compare"].is_dirty
    bpy.context.scene.frame_set(6)  # the turn begins again at 4
    assert (compared()[..., 1] == 120).all()
    turned.split = 1.0
    assert (compared() == (250, 120, 7, 255)).all()
    turned.a, turned.split = "mid", 0.5
    assert (compared()[:, :10] == (130, 120, 7, 255)).all() and (compared()[:, 10:] == (20, 120, 7, 255)).all()


def test_flip_shows_the_other_one(turned):
    assert not bpy.ops.nerf.compare_flip.poll()
    bpy.context.scene.frame_set(2)
    bpy.ops.nerf.compare_load()
    for shown, value in (("A", 250), ("B", 130), ("A", 250)):
        assert turned.shown == shown and (compared() == (value, 80, 7, 255)).all()
        bpy.ops.nerf.compare_flip()


def editor() -> bpy.types.Area:
    """An Image Editor."""
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.ui_type = "IMAGE_EDITOR"
    return area


def test_an_image_editor_shows_what_is_chosen(turned):
    area = editor()
    bpy.ops.nerf.compare_load()
    space = area.spaces.active
    assert space.image == bpy.data.images["NeRF Compare"]
    window = bpy.context.window_manager.windows[0]
    for kind, name in (("B", "NeRF B"), ("BOTH", "NeRF Compare"), ("A", "NeRF A")):
        with bpy.context.temp_override(window=window, area=area):
            assert bpy.ops.nerf.compare_show(kind=kind) == {"FINISHED"}
        assert space.image == bpy.data.images[name]
    user = space.image_user
    assert (user.frame_duration, user.frame_start, user.frame_offset) == (3, 1, 0)
    assert user.use_cyclic and user.use_auto_refresh
    with bpy.context.temp_override(window=window, area=area):
        assert not bpy.ops.nerf.compare_flip.poll()  # F is the editor's own there
    # One that shows something of the person's own is left alone.
    own = bpy.data.images.new("mine", 8, 8)
    space.image = own
    turned.shown = "B"
    assert space.image == own


def test_what_has_no_turntable_is_told(turned, tmp_path):
    with pytest.raises(RuntimeError, match="The cell 'bad' has no turntable"):
        bpy.ops.nerf.compare_choose(side="A", cell="bad")
    for path in (tmp_path / "turntables" / "red").iterdir():
        path.unlink()
    with pytest.raises(RuntimeError, match="The turntable '.*red' is gone; run the experiment again"):
        bpy.ops.nerf.compare_load()
    with pytest.raises(RuntimeError, match="report.html' does not exist"):
        bpy.ops.nerf.experiment_open(place="REPORT")


@needs_core
def test_the_command_line_runs_and_tells(state, addon_module, data, tmp_path, capfd):
    plan = tmp_path / "tiny.toml"
    plan.write_text(PLAN.replace("STEPS", "4"), encoding="utf-8")
    main = addon_module("cli").main
    arguments = ["experiment", str(plan), "--out", str(tmp_path / "out"), "--data", str(data)]
    assert main([*arguments, "--only", "no view"]) == 0
    said = capfd.readouterr().out
    assert "no view: PSNR" in said and "base: PSNR" not in said and str(tmp_path / "out" / "report.html") in said
    assert main(["experiment", "nowhere.toml", "--out", str(tmp_path / "out")]) == 2
    assert "nowhere.toml' does not exist" in capfd.readouterr().err


XRAY = """
[experiment]
kind = "xray"
title = "Rays"
data = "phantom:chest:7"
held_out = 2
turntable = { frames = 3, size = 20 }
[defaults]
pixels = 24
voxels = 16
[[cell]]
name = "copy"
system = "copy"
views = 4
[[cell]]
name = "truth"
system = "truth"
views = 4
"""


@needs_core
def test_an_x_ray_grid_brings_its_own_patient_and_its_own_columns(settings, state, addon_module, tmp_path):
    places = addon_module("experiments.places")
    scene = bpy.context.scene
    assert not places.is_xray(scene)
    settings.text.clear()
    settings.text.write(XRAY)
    settings.data = ""
    assert places.is_xray(scene) and places.data_set(scene) is None
    settings.data = "phantom:knee:3"
    assert places.data_set(scene) == "phantom:knee:3"  # no path
    settings.data = str(tmp_path / "gone.nii.gz")
    with pytest.raises(RuntimeError, match="There is no CT"):
        bpy.ops.nerf.experiment_run()
    settings.data = ""
    assert bpy.ops.nerf.experiment_run() == {"FINISHED"}
    out = places.results_folder(scene)
    told = [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert settings.xray and [item.name for item in settings.rows] == ["copy", "truth"]
    copied, true = settings.rows
    assert copied.s_hit == f"{told[0]['metrics']['radiograph_psnr']:.1f}" and copied.psnr == true.s_hit == ""
    assert places.row_words(copied, True) == f"copy. radiographs: PSNR {copied.s_hit} dB, SSIM {copied.frame}"
    assert places.row_words(true, True) == "truth. No numbers"
    assert (true.folder, true.frames) == ("turntables/truth", 3)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "Not for diagnosis" in report and "phantom:chest:7" in report
    # The turns compare like any others.
    settings.a, settings.b = "copy", "truth"
    assert bpy.ops.nerf.compare_load() == {"FINISHED"}
    image = next(image for image in bpy.data.images if image.get("nerf_turntable") == "BOTH")
    assert tuple(image.size) == (20, 20)
    pixels = np.array(image.pixels[:]).reshape(20, 20, 4)
    assert pixels[..., :3].max() > 0.3 and np.allclose(pixels[..., 0], pixels[..., 1])  # grey, and not empty


def test_the_grids_that_come_along_are_in_the_list(settings, addon_module):
    places = addon_module("experiments.places")
    for name in ("xray-small", "xray", "sampling-small"):
        settings.plan = name
        assert places.plan_file(bpy.context.scene).is_file()
        assert places.is_xray(bpy.context.scene) == name.startswith("xray")
