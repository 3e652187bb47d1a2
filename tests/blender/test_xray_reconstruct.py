"""Reconstruct from Radiograph: the real command as a child process, its volume in the scene, cancel, refusals."""

import os
import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest

from .small_run import ROOT, core_python, needs_core, process_gone

pytestmark = needs_core


def nerf(*arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([core_python(), "-m", "nerf_core", *arguments], check=True, capture_output=True, env=environment)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A prior of two coarse phantoms, and radiographs of one of them."""
    folder = tmp_path_factory.mktemp("prior é")
    build = ["prior", "build", "phantom:knee:0-1", "--out", str(folder / "prior"), "--grid", "12"]
    nerf(*build, "--held-out", "0", "--kind", "mean")
    data = ["drr", "phantom:knee:1", "--out", str(folder / "data"), "--preset", "knee", "--views", "3", "--val", "0"]
    nerf(*data, "--pixels", "16", "--grid", "16")
    return folder


@pytest.fixture
def scene(made, tmp_path, addon_module):
    scene = bpy.context.scene
    scene.nerf.run_folder, scene.nerf.training.data = str(tmp_path / "run"), str(made / "data")
    scene.nerf_xray.prior = str(made / "prior")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERF_CORE_PYTHON", core_python())
        yield scene
        addon_module("jobs.core").leave(20)


def test_the_volume_is_imported_as_a_ct(scene, tmp_path, addon_module):
    assert bpy.ops.nerf.xray_reconstruct() == {"FINISHED"}
    out = tmp_path / "run-reconstruction"
    assert (out / "volume.nii.gz").is_file() and (out / "prior_report.json").is_file()
    item = next(item for item in scene.objects if item.nerf_xray.kind == "CT")
    assert Path(bpy.path.abspath(item.nerf_xray.source)) == out / "volume.nii.gz"
    assert item.name == "run reconstruction"
    size = np.array(item.dimensions)
    assert (0.1 < size).all() and (size < 0.3).all()  # a knee, in metres
    assert any("slices" in image.name for image in bpy.data.images)
    # Radiographs are taken of it only when that is asked for: what it was made of may stand there, too.
    subject, layer = addon_module("xray.subject"), bpy.context.view_layer
    for each in [each for each in scene.objects if each.type == "MESH" and each.nerf_xray.kind == "NONE"]:
        each.hide_set(True)
    assert not addon_module("xray.gather").attenuating(layer)
    with pytest.raises(RuntimeError, match="Nothing attenuates"):
        bpy.ops.nerf.xray_capture()
    item.nerf_xray.seen = True
    assert subject.find(scene, layer).names == (item.name,)
    # What the panel shows of it.
    assert "('phantom:knee:1') is in the prior's own population" in addon_module("xray.reconstruct").current().text


def test_it_is_imported_once_no_other_task_is_under_way(scene, made, tmp_path, addon_module):
    """A task of other work is under way when a reconstruction ends: one at a time, and nothing is lost."""
    tasks, pump, operators = (addon_module(name) for name in ("jobs.tasks", "jobs.pump", "operators.xray_reconstruct"))
    out = tmp_path / "an-earlier one"
    out.mkdir()
    code = "import sys; from nerf_core.ct.nifti import write_nifti; from nerf_core.ct.source import open_source\n"
    code += "write_nifti(sys.argv[1], open_source('phantom:knee:1', 16))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([core_python(), "-c", code, str(out / "volume.nii.gz")], check=True, env=environment)
    step = tasks.Step("ct", {"source": "phantom:knee:1", "resolution": 16}, lambda _result, _arrays: None)
    task = tasks.start("Other work", [lambda: step], 1)
    work = addon_module("xray.prior_work").Work(out, None, None, None, phase="done")
    operators._ended(work)
    assert task.running and not [item for item in scene.objects if item.nerf_xray.kind == "CT"]
    assert pump.pump_until(lambda: any(item.nerf_xray.kind == "CT" for item in scene.objects), 300)
    assert task.phase == "done"


def test_it_is_cancelled_and_leaves_no_process(scene, made, tmp_path, addon_module):
    reconstruct, pump = addon_module("xray.reconstruct"), addon_module("jobs.pump")
    running = reconstruct.start(made / "data", made / "prior", tmp_path / "out", 2)
    assert reconstruct.running() and not bpy.ops.nerf.xray_reconstruct.poll()
    pump.pump_until(lambda: False, 0.6)
    assert bpy.ops.nerf.xray_reconstruct_cancel() == {"FINISHED"}
    assert running.phase == "cancelled" and process_gone(running.process.pid)


def test_every_process_has_a_log_of_its_own(scene, made, tmp_path, addon_module):
    """Two sessions at once read how far they are, and what came of them, each from its own file."""
    reconstruct, logs = addon_module("xray.reconstruct"), addon_module("jobs.logs")
    before = set(logs.logs("reconstruct"))
    seen = []
    for name in ("one", "two"):
        running = reconstruct.start(made / "data", made / "prior", tmp_path / name, 1)
        seen.append((running.log, running.answer))
        reconstruct.cancel()
    assert len({path for pair in seen for path in pair}) == 4
    assert {log for log, _ in seen} <= set(logs.logs("reconstruct")) - before
    assert all(str(os.getpid()) in path.name for pair in seen for path in pair)
    for _ in range(2 * logs.KEPT):
        logs.new_log("test")
    assert len(logs.logs("test")) == logs.KEPT
    for path in logs.logs("test"):
        path.unlink()


def test_what_is_missing_is_said(scene, tmp_path):
    scene.nerf_xray.prior = str(tmp_path)
    with pytest.raises(RuntimeError, match="prior"):
        bpy.ops.nerf.xray_reconstruct()
    scene.nerf_xray.prior = ""
    with pytest.raises(RuntimeError, match="Choose the folder of a prior"):
        bpy.ops.nerf.xray_reconstruct()
    scene.nerf.training.data = ""
    with pytest.raises(RuntimeError, match="There are no radiographs"):
        bpy.ops.nerf.xray_reconstruct()
