"""Build Prior: the real command as a child process, the prior that reconstructions then use, cancel, refusals."""

import json
import os
import subprocess
from pathlib import Path

import bpy
import pytest

from .small_run import ROOT, core_python, needs_core, process_gone

pytestmark = needs_core


@pytest.fixture
def scene(tmp_path, addon_module):
    """A scene with a population of three coarse knees, in a folder with a space and a letter beyond ASCII."""
    scene = bpy.context.scene
    settings = scene.nerf_xray.new_prior
    settings.source, settings.count, settings.first, settings.held_out = "KNEE", 3, 2, 0
    settings.kind, settings.voxels, settings.folder = "MEAN", 12, str(tmp_path / "my priors é")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERF_CORE_PYTHON", core_python())
        yield scene
        addon_module("xray.prior_build").LINE.leave()
        addon_module("jobs.core").leave(20)


def test_it_is_built_and_reconstructions_would_use_it(scene, tmp_path, addon_module):
    folder = tmp_path / "my priors é"
    assert bpy.ops.nerf.xray_build_prior() == {"FINISHED"}
    made = folder / "synthetic knee"
    document = json.loads((made / "prior.json").read_text(encoding="utf-8"))
    assert document["kind"] == "mean" and document["facts"]["longest"] == 12
    assert document["facts"]["volumes"] == ["phantom:knee:2", "phantom:knee:3", "phantom:knee:4"]
    assert Path(bpy.path.abspath(scene.nerf_xray.prior)) == made
    assert "synthetic knee prior" in [image.name for image in bpy.data.images]
    told = addon_module("xray.prior_build").current().text
    assert told == f"A prior of 3 synthetic volumes, in '{made}'."

    # Another one would go beside it.
    assert addon_module("xray.prior_build").planned(scene) == folder / "synthetic knee-002"


def test_a_folder_of_cts_is_a_population(scene, tmp_path):
    cts = tmp_path / "cts"
    cts.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = (
        "import sys; from nerf_core.ct.nifti import write_nifti; from nerf_core.ct.phantoms import ellipsoid_phantom\n"
        "for seed in (1, 2): write_nifti(f'{sys.argv[1]}/{seed}.nii.gz', ellipsoid_phantom('knee', seed).volume(16))"
    )
    subprocess.run([core_python(), "-c", code, str(cts)], check=True, capture_output=True, env=environment)
    settings = scene.nerf_xray.new_prior
    settings.source, settings.cts, settings.copies, settings.name = "CTS", str(cts), 1, "two knees"
    assert bpy.ops.nerf.xray_build_prior() == {"FINISHED"}
    facts = json.loads((tmp_path / "my priors é" / "two knees" / "prior.json").read_text(encoding="utf-8"))["facts"]
    assert (facts["synthetic"], facts["real"], facts["augmented"]) == (0, 2, 2)


def test_it_runs_beside_and_is_cancelled_without_a_trace(scene, tmp_path, addon_module):
    building, pump = addon_module("xray.prior_build"), addon_module("jobs.pump")
    scene.nerf_xray.prior = "before"
    scene.nerf_xray.new_prior.count = 4096  # far more than is read before it is cancelled
    ends = []
    made = building.start(scene, ends.append)  # returns at once
    assert building.running() and not bpy.ops.nerf.xray_build_prior.poll()
    out = tmp_path / "my priors é" / "synthetic knee"
    assert pump.pump_until(out.is_dir, 300)
    assert made.under_way and 0.0 <= made.fraction < 1.0
    assert bpy.ops.nerf.xray_build_prior_cancel() == {"FINISHED"}
    assert made.phase == "cancelled" and ends == [made] and process_gone(made.process.pid, 60)
    assert not out.exists() and scene.nerf_xray.prior == "before"
    assert bpy.ops.nerf.xray_build_prior.poll() and not bpy.ops.nerf.xray_build_prior_cancel.poll()
    # Another file is loaded meanwhile: it ends as well, and nobody is told.
    made = building.start(scene, ends.append)
    assert pump.pump_until(out.is_dir, 300)
    bpy.ops.wm.read_homefile(use_empty=False)
    assert process_gone(made.process.pid, 60) and not out.exists()
    assert building.current() is None and len(ends) == 1


def test_the_panel_tells_how_far_it_is(scene, addon_module, tmp_path):
    """By the command's own bar, whose last word counts."""
    building = addon_module("xray.prior_build")
    log = tmp_path / "log"
    log.write_text("building:   0%|   | 00:00<?\rbuilding:  37%|##  | 00:20<00:34", encoding="utf-8")
    assert building.LINE._fraction(log) == pytest.approx(0.37)
    log.write_text("a warning\n", encoding="utf-8")
    assert building.LINE._fraction(log) == 0.0


def test_what_is_missing_is_said_and_nothing_is_left(scene, tmp_path):
    settings = scene.nerf_xray.new_prior
    settings.kind, settings.count = "LOW_RANK", 1
    with pytest.raises(RuntimeError, match="needs 2 volumes or more"):
        bpy.ops.nerf.xray_build_prior()
    assert not list((tmp_path / "my priors é").iterdir())
    settings.source = "CTS"
    with pytest.raises(RuntimeError, match="Choose the folder of the CTs"):
        bpy.ops.nerf.xray_build_prior()
    settings.cts = str(tmp_path / "nowhere")
    with pytest.raises(RuntimeError, match="There is no folder"):
        bpy.ops.nerf.xray_build_prior()
    assert scene.nerf_xray.prior == ""
