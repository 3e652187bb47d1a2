"""Blender ends, in whatever manner: the core writes its checkpoint and is gone. Each in a Blender of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .small_run import ROOT, core_python, needs_core, process_gone, write_small_dataset

pytestmark = needs_core

SCRIPT = """
import os, sys, time
from pathlib import Path
manner, run, data, root = sys.argv[1:5]
sys.path.insert(0, os.path.join(root, "tools"))
import bpy
from build_extension import stage
module = "bl_ext.user_default.nerf_toolkit"
stage(Path(bpy.utils.user_resource("EXTENSIONS")) / "user_default" / "nerf_toolkit")
bpy.ops.preferences.addon_enable(module=module)
import importlib
core, pump, training, train = (importlib.import_module(f"{module}.{name}") for name in
                               ("jobs.core", "jobs.pump", "jobs.training", "operators.train"))
scene = bpy.context.scene
scene.nerf.run_folder, scene.nerf.training.data = run, data
scene.nerf.training.budget, scene.nerf.training.steps = "STEPS", 1000000
scene.nerf.training.device = "CPU"
started = train.start_training(scene)
assert pump.pump_until(lambda: started.step > 0 or not started.under_way, 300) and started.under_way, started.text
print("training", core.running().pid, flush=True)
if manner == "killed":
    time.sleep(120)
if manner == "quit":
    bpy.ops.wm.quit_blender()
if manner == "exception":
    raise RuntimeError("a script of the person's fails")
"""


@pytest.mark.parametrize("manner", ["returns", "quit", "exception", "killed"])
def test_the_core_saves_and_leaves_when_blender_ends(tmp_path, manner):
    data = write_small_dataset(tmp_path / "data", 6)
    run = tmp_path / "run"
    script = tmp_path / "blender.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
        "NERF_CORE_PYTHON": core_python(),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, str(script), manner, str(run), str(data), str(ROOT)]
    with open(tmp_path / "errors", "wb") as errors:
        blender = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True)
    try:
        pid = next((int(line.split()[1]) for line in blender.stdout if line.startswith("training")), None)
        assert pid is not None, Path(tmp_path / "errors").read_text()
        if manner == "killed":
            blender.send_signal(signal.SIGKILL)
        blender.wait(60)
        assert process_gone(pid, 5)
    finally:
        blender.kill()
        blender.stdout.close()
        blender.wait(10)
    assert (run / "checkpoint.safetensors").stat().st_size > 1000
    assert json.loads((run / "run.json").read_text())["spent"]["steps"] > 0
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]  # nothing half written
