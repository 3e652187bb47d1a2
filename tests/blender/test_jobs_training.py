"""Training from Blender with the real core: to its end, stopped, continued, killed, and left."""

import json
import os
import shutil
import signal
import subprocess
import time

import bpy
import numpy as np
import pytest

from .conftest import MODULE
from .small_run import core_python, needs_core, prepare_scene, process_gone, trained_run, write_small_dataset

pytestmark = needs_core
LONG = 1_000_000


@pytest.fixture
def jobs(addon_module, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())

    class Jobs:
        core = addon_module("jobs.core")
        pump = addon_module("jobs.pump")
        training = addon_module("jobs.training")
        tasks = addon_module("jobs.tasks")
        train = addon_module("operators.train")
        runs = addon_module("jobs.runs")

        def start(self, scene, steps=LONG, **options):
            """Start training and come back while it goes on, as a window does."""
            scene.nerf.training.steps = steps
            started = self.train.start_training(scene, **options)
            assert self.pump.pump_until(lambda: started.phase != "starting", 300)
            assert started.phase == "training", started.text
            return started

        def until(self, condition, seconds=120):
            assert self.pump.pump_until(condition, seconds)

    jobs = Jobs()
    yield jobs
    process = jobs.core.running()
    jobs.core.leave(20)
    if process is not None:
        assert process_gone(process.pid)


@pytest.fixture
def scene(tmp_path):
    return prepare_scene(tmp_path / "run of Jörg 1", write_small_dataset(tmp_path / "data", 8), steps=60)


def run_json(tmp_path):
    return json.loads((tmp_path / "run of Jörg 1" / "run.json").read_text(encoding="utf-8"))


def test_trains_to_the_end_and_more(jobs, scene, tmp_path):
    assert bpy.ops.nerf.train() == {"FINISHED"}
    ended = jobs.training.current()
    assert ended.phase == "finished" and ended.step == 60 and ended.fraction == 1.0
    assert ended.val_psnr > 8 and ended.loss > 0
    assert run_json(tmp_path)["spent"]["steps"] == 60 and run_json(tmp_path)["device"] == "cpu"
    assert bpy.path.abspath(scene.nerf.run_folder) == str(tmp_path / "run of Jörg 1")
    scene.nerf.training.steps = 30
    assert bpy.ops.nerf.train(more=True) == {"FINISHED"}
    assert run_json(tmp_path)["spent"]["steps"] == 90


def test_the_run_s_folder_is_kept_relative_to_a_saved_file(jobs, scene, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    scene = bpy.context.scene
    assert bpy.ops.nerf.train() == {"FINISHED"}
    assert scene.nerf.run_folder == "//run of Jörg 1"


def test_stop_keeps_what_was_learned_and_continue_goes_on(jobs, scene, tmp_path):
    started = jobs.start(scene)
    jobs.until(lambda: started.step > 0)
    assert not bpy.ops.nerf.train.poll() and bpy.ops.nerf.train_stop.poll()
    assert bpy.ops.nerf.train_stop() == {"FINISHED"}
    jobs.until(lambda: not started.under_way)
    assert started.phase == "stopped" and started.fraction < 1
    steps = run_json(tmp_path)["spent"]["steps"]
    assert steps == started.step > 0
    assert jobs.runs.is_unfinished(scene)
    again = jobs.start(scene)
    jobs.until(lambda: again.step > steps)
    assert again.fraction < 1  # on the way to the whole of its budget
    bpy.ops.nerf.train_stop()
    jobs.until(lambda: not again.under_way)
    scene.nerf.training.steps = 20
    steps = run_json(tmp_path)["spent"]["steps"]
    assert bpy.ops.nerf.train(more=True) == {"FINISHED"}
    assert run_json(tmp_path)["spent"]["steps"] == steps + 20
    assert not jobs.runs.is_unfinished(scene)


def test_a_killed_core_is_told_and_its_training_taken_up_again(jobs, scene, tmp_path):
    started = jobs.start(scene, steps=400)
    jobs.until(lambda: started.step > 0)
    first = jobs.core.running().pid
    os.kill(first, signal.SIGKILL)
    jobs.until(lambda: not started.under_way)
    assert started.phase == "interrupted" and started.can_resume
    assert started.text == "The NeRF core was killed by the system; it may have run out of memory."
    assert jobs.core.status().kind == "failed" and jobs.core.status().text == started.text
    assert bpy.ops.nerf.train_resume.poll()
    assert bpy.ops.nerf.train_resume() == {"FINISHED"}
    assert started.phase == "finished" and run_json(tmp_path)["spent"]["steps"] == 400
    assert jobs.core.running().pid != first and jobs.core.status().kind == "ready"


def test_a_core_killed_while_it_starts_is_taken_up_again(jobs, scene, tmp_path):
    scene.nerf.training.steps = 40
    started = jobs.train.start_training(scene)
    os.kill(jobs.core.running().pid, signal.SIGKILL)
    jobs.until(lambda: not started.under_way)
    assert started.phase == "interrupted"
    assert bpy.ops.nerf.train_resume() == {"FINISHED"}
    assert run_json(tmp_path)["spent"]["steps"] == 40


def test_more_is_still_more_when_the_core_died_before_it_took_it(jobs, scene, tmp_path):
    assert bpy.ops.nerf.train() == {"FINISHED"}
    scene.nerf.training.steps = 30
    for spent in (90, 120):  # of a core that was found running, and of one that was just started
        if spent == 120:
            jobs.core.leave(20)
        started = jobs.train.start_training(scene, more=True)
        os.kill(jobs.core.running().pid, signal.SIGKILL)
        jobs.until(lambda started=started: not started.under_way)
        assert started.phase == "interrupted" and run_json(tmp_path)["budget"] == {"steps": spent - 30}
        assert bpy.ops.nerf.train_resume() == {"FINISHED"}
        assert run_json(tmp_path)["spent"]["steps"] == spent


def test_a_core_that_died_unheard_is_not_asked(jobs, scene, tmp_path):
    process = jobs.core.start()
    jobs.until(lambda: process.ready)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10)  # a process whose first thread is gone may not be gone yet
    assert bpy.ops.nerf.train() == {"FINISHED"}  # nothing was drained since
    assert run_json(tmp_path)["spent"]["steps"] == 60
    assert jobs.core.running().pid != process.pid


@pytest.mark.parametrize("choice", ["method", "data", "seed"])
def test_another_choice_for_a_trained_run_is_told_and_trained_anew(jobs, tmp_path, choice):
    run = trained_run(tmp_path)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    known = json.loads((run / "run.json").read_text(encoding="utf-8"))
    scene = prepare_scene(run, "", steps=3)
    if choice == "method":
        scene.nerf.training.method, sentence = "CLASSIC", "with the method Fast: choose Fast to go on with it"
    elif choice == "data":
        scene.nerf.training.data, sentence = str(tmp_path / "data"), r"was trained on '.*data': clear Data Set"
    else:
        scene.nerf.training.seed, sentence = 7, "with the seed 0: set Seed to 0 to go on with it"
    with pytest.raises(RuntimeError, match=f"{sentence}.* or press Train Anew"):
        bpy.ops.nerf.train(more=True)
    assert jobs.core.running() is None
    assert bpy.ops.nerf.train(anew=True) == {"FINISHED"}
    assert jobs.runs.run_folder(scene).root == tmp_path / "run-002"
    anew = json.loads((tmp_path / "run-002" / "run.json").read_text(encoding="utf-8"))
    assert anew["spent"]["steps"] == 3
    assert anew["method"] == ("classic" if choice == "method" else "fast") and anew["seed"] == scene.nerf.training.seed
    assert anew["data"] == (str(tmp_path / "data") if choice == "data" else known["data"])
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_what_the_core_found_is_remembered_without_it(jobs, scene, monkeypatch, tmp_path):
    assert bpy.ops.nerf.restart_core() == {"FINISHED"}
    said = jobs.core.status().text
    jobs.core.leave(20)
    jobs.core._known.clear()  # as in the next session
    jobs.core._known_python = ""
    assert (jobs.core.status().kind, jobs.core.status().text) == ("idle", f"Found: {said}")
    assert "torch" in said and jobs.core.running() is None
    other = tmp_path / "python"
    other.write_text("")
    monkeypatch.setenv("NERF_CORE_PYTHON", str(other))
    assert jobs.core.status().text == f"Found: {other}"


def test_previews_arrive_in_the_image(jobs, scene):
    scene.nerf.training.preview_size, scene.nerf.training.preview_seconds = 24, 0.5
    camera = jobs.train.camera_from_blender(
        scene.camera, bpy.context.evaluated_depsgraph_get(), jobs.train.Frame.of_render(scene.render)
    )
    request = {"camera": camera.resized(24, 12).to_dict(), "every_seconds": 0.1}
    started = jobs.start(scene, preview=request)
    jobs.until(lambda: "NeRF Preview" in bpy.data.images)
    image = bpy.data.images["NeRF Preview"]
    assert tuple(image.size) == (24, 12)
    values = np.empty(4 * 24 * 12, dtype=np.float32)
    image.pixels.foreach_get(values)
    assert values.min() >= 0 and values.max() <= 1
    bpy.ops.nerf.train_stop()
    jobs.until(lambda: not started.under_way)


def test_a_tick_handles_few_messages_however_many_wait(jobs, scene):
    started = jobs.start(scene)
    process = jobs.core.running()
    calls = [jobs.core.request("status", {"run": str(started.run)}) for _ in range(300)]
    until = time.monotonic() + 60
    while len(process._inbox) < 280 and time.monotonic() < until:
        time.sleep(0.02)
    assert 0 < jobs.pump.tick() <= 64 and not calls[-1].done
    jobs.until(lambda: calls[-1].done)
    assert calls[-1].result["training"] is True
    assert process._inbox.__len__() < 10


@pytest.mark.parametrize("leave", ["load", "disable"])
def test_leaving_ends_the_core_after_a_checkpoint(jobs, scene, tmp_path, leave):
    started = jobs.start(scene)
    jobs.until(lambda: started.step > 0)
    pid = jobs.core.running().pid
    if leave == "load":
        bpy.ops.wm.read_homefile(use_factory_startup=True)
    else:
        bpy.ops.preferences.addon_disable(module=MODULE)
    try:
        assert process_gone(pid, 15)
        assert (tmp_path / "run of Jörg 1" / "checkpoint.safetensors").exists()
        assert run_json(tmp_path)["spent"]["steps"] > 0
    finally:
        if leave == "disable":
            assert bpy.ops.preferences.addon_enable(module=MODULE) == {"FINISHED"}


def test_a_missing_interpreter_is_one_sentence(jobs, scene, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", "/nowhere/python")
    with pytest.raises(RuntimeError, match=r"The Python '/nowhere/python' named by NERF_CORE_PYTHON does not exist"):
        bpy.ops.nerf.train()
    monkeypatch.delenv("NERF_CORE_PYTHON")
    with pytest.raises(RuntimeError, match=r"not set up yet; press Set Up Core"):
        bpy.ops.nerf.train()
    assert jobs.core.status().kind == "missing" and jobs.training.current() is None or not jobs.training.under_way()


def test_an_interpreter_without_the_packages_says_which(jobs, scene, tmp_path):
    base = shutil.which("python3") or core_python()
    subprocess.run([base, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    python = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.interpreter = str(python)
    try:
        with pytest.raises(RuntimeError, match=r"The NeRF core did not start .*'numpy' is not installed"):
            bpy.ops.nerf.train()
        assert jobs.core.status().kind == "failed"
    finally:
        preferences.interpreter = ""


def test_nothing_to_train_on_disables_the_button_and_is_refused(jobs, tmp_path):
    scene = bpy.context.scene
    scene.nerf.run_folder = str(tmp_path / "empty")
    assert not bpy.ops.nerf.train.poll()
    with pytest.raises(jobs.train.NerfError, match=r"nothing to train on in '.*empty'"):
        jobs.train.start_training(scene)


@pytest.mark.parametrize("fault", ["missing image", "other folder"])
def test_bad_input_is_one_sentence_that_names_the_file(jobs, scene, tmp_path, fault):
    if fault == "missing image":
        (tmp_path / "data" / "train" / "0003.png").unlink()
        expected = r"0003"
    else:
        scene.nerf.run_folder = str(tmp_path / "mine")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "diary.txt").write_text("dear diary")
        expected = r"mine' already holds other files"
    with pytest.raises(RuntimeError, match=expected):
        bpy.ops.nerf.train()
    assert jobs.training.current().phase == "failed"
    assert jobs.core.running() is not None  # a mistake of the person's does not end the core
    if fault == "other folder":
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["diary.txt"]


def test_a_checkpoint_of_another_version_is_refused_and_kept(jobs, tmp_path):
    run = trained_run(tmp_path)
    checkpoint = run / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b'"version":"1"', b'"version":"9"'))
    before = checkpoint.read_bytes()
    prepare_scene(run, tmp_path / "data")
    bpy.context.scene.nerf.training.data = ""
    for operator in (bpy.ops.nerf.train, bpy.ops.nerf.render_view, bpy.ops.nerf.import_points):
        with pytest.raises(RuntimeError, match=r"checkpoint.safetensors' is a checkpoint of version 9"):
            operator(**({"more": True} if operator == bpy.ops.nerf.train else {}))
    with pytest.raises(RuntimeError, match=r"checkpoint.safetensors' is a checkpoint of version 9"):
        bpy.ops.nerf.import_cameras()
    assert checkpoint.read_bytes() == before


def prepare_capture(tmp_path):
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    settings = scene.nerf.capture
    settings.folder, settings.name = str(tmp_path), "captured"
    settings.train_count, settings.val_count, settings.test_count = 5, 1, 0
    settings.resolution_x = settings.resolution_y = 24
    scene.nerf.training.budget, scene.nerf.training.steps, scene.nerf.training.device = "STEPS", 20, "CPU"
    return scene


def test_a_core_killed_during_a_capture_harms_neither_capture_nor_training(jobs, tmp_path):
    prepare_capture(tmp_path)
    process = jobs.core.start()
    jobs.until(lambda: process.ready)
    seen = []

    def kill(*_arguments):
        if not seen:
            os.kill(process.pid, signal.SIGKILL)
        seen.append(process_gone(process.pid))

    bpy.app.handlers.render_post.append(kill)
    try:
        assert bpy.ops.nerf.capture(then_train=True) == {"FINISHED"}
    finally:
        bpy.app.handlers.render_post.remove(kill)
    assert len(seen) == 6 and seen[-1]
    assert len(list((tmp_path / "captured" / "dataset").glob("*/*.png"))) == 6
    assert jobs.training.current().phase == "finished" and jobs.training.current().step == 20
    assert jobs.core.running().pid != process.pid


@pytest.mark.parametrize("reason", ["no core", "busy"])
def test_capture_and_train_says_at_once_that_it_cannot_train(jobs, tmp_path, monkeypatch, reason):
    if reason == "busy":
        jobs.start(prepare_scene(tmp_path / "run", write_small_dataset(tmp_path / "data", 8)), steps=LONG)
    prepare_capture(tmp_path)
    if reason == "no core":
        monkeypatch.delenv("NERF_CORE_PYTHON")
    with pytest.raises(RuntimeError, match={"no core": "press Set Up Core", "busy": "stop it first"}[reason]):
        bpy.ops.nerf.capture(then_train=True)
    assert not (tmp_path / "captured").exists()
    assert bpy.ops.nerf.capture() == {"FINISHED"}  # only the training could not be


def test_the_scene_that_was_captured_is_trained_whatever_the_window_shows(jobs, addon_module, tmp_path):
    scene = prepare_capture(tmp_path)
    capture = addon_module("operators.capture")
    told = []
    before = list(capture.on_captured)
    capture.on_captured[:] = [lambda *arguments: told.append(arguments)]
    other = bpy.data.scenes.new("Other")

    def switch(*_arguments):
        bpy.context.window.scene = other

    bpy.app.handlers.render_complete.append(switch)
    try:
        assert bpy.ops.nerf.capture() == {"FINISHED"}
    finally:
        bpy.app.handlers.render_complete.remove(switch)
        capture.on_captured[:] = before
    assert bpy.context.scene == other and told == [(scene, tmp_path / "captured", False)]


def test_training_starts_by_itself_after_a_capture(jobs, tmp_path):
    scene = prepare_capture(tmp_path)
    scene.nerf.training.data = str(tmp_path / "something else")  # what is captured is trained, not this
    assert bpy.ops.nerf.capture(then_train=True) == {"FINISHED"}
    assert jobs.training.current().phase == "finished"
    assert jobs.runs.run_folder(scene).root == tmp_path / "captured"
    known = json.loads((tmp_path / "captured" / "run.json").read_text())
    assert known["data"] == "dataset" and known["spent"]["steps"] == 20
