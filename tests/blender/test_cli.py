"""`blender --command nerf`: arguments, what it prints, exit codes, files; with the real core where one is needed."""

import json

import bpy
import numpy as np
import pytest
from PIL import Image

from .object_runs import write_run
from .small_run import core_python, look_from, needs_core, trained_run, write_small_dataset
from .test_importers_points import positions


@pytest.fixture
def cli(addon_module, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python() or "/nowhere/python")
    yield addon_module("cli").main
    assert addon_module("jobs.core").running() is None  # a command leaves no core behind


@pytest.mark.parametrize("command", [[], ["capture"], ["train"], ["render"], ["points"], ["inspect"], ["object"]])
def test_help_says_how(cli, capsys, command):
    assert cli([*command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "usage: blender SCENE.blend --command nerf" in said
    assert ("--run DIR" if command else "inspect") in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["train"], "the following arguments are required: --run"),
        (["points", "--run", "r", "--count", "0"], "argument --count: must be 1 or more"),
        (["points", "--run", "r", "--count", "many"], "'many' is not a whole number"),
        (["train", "--run", "r", "--steps", "5", "--seconds", "5"], "not allowed with"),
        (["train", "--run", "{tmp}/none"], "nothing to train on in '{tmp}/none': capture views first"),
        (["train", "--run", "{tmp}/r", "--data", "{tmp}/nowhere"], "The data set '{tmp}/nowhere' does not exist"),
        (["render", "--run", "{tmp}/none"], "'{tmp}/none' is not a run folder"),
        (["points", "--run", "{tmp}/none"], "'{tmp}/none' is not a run folder"),
        (["inspect", "--run", "{tmp}/none"], "'{tmp}/none' is not a run folder"),
        (["points", "--run", "{tmp}/none", "--save", "{tmp}/a.png"], "'{tmp}/a.png' must end in .blend"),
        (["capture", "--run", "{tmp}/r", "--subject", "everything"], "argument --subject: invalid choice"),
        (["capture", "--run", "{tmp}/r", "--rig", "orbit", "--elevation", "high"], "argument --elevation: invalid"),
    ],
)
def test_what_is_wrong_is_told_and_gives_code_2(cli, capsys, tmp_path, arguments, expected):
    assert cli([text.format(tmp=tmp_path) for text in arguments]) == 2
    said = capsys.readouterr().err
    assert expected.format(tmp=tmp_path) in said and "Traceback" not in said


@needs_core
def test_train_render_points_and_inspect(cli, capsys, tmp_path):
    data, run = write_small_dataset(tmp_path / "data", 8), tmp_path / "my run"
    assert cli(["train", "--run", str(run), "--data", str(data), "--steps", "60", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "Trained, held-out PSNR" in said and "60 steps" in said and "train: " in said

    look_from(bpy.context.scene)
    assert cli(["render", "--run", str(run), "--scale", "50"]) == 0
    assert str(run / "renders" / "Camera.png") in capsys.readouterr().out
    assert Image.open(run / "renders" / "Camera.png").size == (20, 15)
    assert cli(["render", "--run", str(run), "--camera", "Nobody"]) == 2
    assert "no camera 'Nobody'" in capsys.readouterr().err


@needs_core
def test_points_and_samples_are_saved_into_a_new_file(cli, capsys, tmp_path):
    run = trained_run(tmp_path)
    look_from(bpy.context.scene)
    assert cli(["points", "--run", str(run), "--count", "500", "--save", str(tmp_path / "p.blend")]) == 0
    assert "500 points" in capsys.readouterr().out
    assert cli(["points", "--run", str(run), "--count", "500", "--save", str(tmp_path / "p.blend")]) == 2
    assert "p.blend' exists already and is not overwritten" in capsys.readouterr().err
    assert cli(["inspect", "--run", str(run), "--pixel", "20", "15", "--save", str(tmp_path / "i.blend")]) == 0
    assert "samples" in capsys.readouterr().out
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "p.blend"))
    item = bpy.context.scene.nerf.points.object
    assert len(positions(item.data)) == 500 and np.isfinite(positions(item.data)).all()


def test_captures_into_the_named_folder(cli, capsys, tmp_path):
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    run = tmp_path / "run"
    arguments = ["capture", "--run", str(run), "--train", "3", "--val", "1", "--test", "0", "--resolution", "16", "12"]
    assert cli(arguments) == 0
    assert str(run) in capsys.readouterr().out
    pictures = sorted(path.relative_to(run).as_posix() for path in run.rglob("*.png"))
    assert len(pictures) == 4
    assert Image.open(run / pictures[0]).size == (16, 12)


def test_capture_keeps_the_file_s_settings_and_takes_those_that_are_given(cli, capsys, tmp_path):
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    bpy.ops.mesh.primitive_cube_add(location=(10, 0, 0))
    for item in scene.objects:
        item.select_set(item.name == "Cube")
    settings = scene.nerf.capture
    settings.rig, settings.train_count, settings.val_count, settings.test_count = "ORBIT", 3, 0, 0
    size = ["--resolution", "16"]
    assert cli(["capture", "--run", str(tmp_path / "kept"), *size]) == 0
    assert (settings.rig, settings.subject) == ("ORBIT", "SCENE")
    assert heights(tmp_path / "kept", [5, 0, 0]) == pytest.approx([np.sin(np.radians(25))] * 3, abs=1e-4)
    given = ["--elevation", "-40", "--subject", "selected"]
    assert cli(["capture", "--run", str(tmp_path / "given"), *size, *given]) == 0
    assert heights(tmp_path / "given", [0, 0, 0]) == pytest.approx([np.sin(np.radians(-40))] * 3, abs=1e-4)
    assert cli(["capture", "--run", str(tmp_path / "sphere"), *size, "--rig", "sphere"]) == 0
    assert np.ptp(heights(tmp_path / "sphere", [0, 0, 0])) > 0.5


def heights(run, center):
    """The sine of each captured camera's elevation, seen from `center`."""
    frames = json.loads((run / "dataset" / "transforms.json").read_text(encoding="utf-8"))["frames"]
    away = np.array([frame["transform_matrix"] for frame in frames])[:, :3, 3] - center
    return away[:, 2] / np.linalg.norm(away, axis=1)


@needs_core
def test_a_run_that_is_gone_on_with_keeps_its_own_seed_and_method(cli, capsys, tmp_path):
    data, run = write_small_dataset(tmp_path / "data", 8), tmp_path / "run"
    arguments = ["train", "--run", str(run), "--device", "cpu"]
    assert cli([*arguments, "--data", str(data), "--steps", "20", "--seed", "3"]) == 0
    assert cli([*arguments, "--steps", "10", "--more"]) == 0
    assert cli([*arguments, "--steps", "10", "--more", "--method", "classic"]) == 2
    assert "was trained with the method Fast" in capsys.readouterr().err
    known = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert known["spent"]["steps"] == 30 and known["seed"] == 3


def test_the_nerf_as_an_object_is_saved_into_a_new_file(cli, capsys, tmp_path):
    run = write_run(tmp_path / "project" / "nerf" / "vase").root
    arguments = ["object", "--run", str(run), "--save", str(tmp_path / "project" / "o.blend")]
    assert cli(arguments) == 0
    assert "Added the NeRF 'vase'" in capsys.readouterr().out
    assert cli(["object", "--run", str(tmp_path / "none")]) == 2
    assert "'{}' is not a run folder".format(tmp_path / "none") in capsys.readouterr().err
    bpy.ops.wm.open_mainfile(filepath=arguments[-1])
    item = bpy.context.scene.objects["vase"]
    assert item.nerf.is_nerf and item.nerf.run_folder == "//nerf/vase"
