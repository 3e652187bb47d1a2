"""The `nerf` command as real processes on a tiny data set: results, files, exit codes, and one-sentence errors."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zlib

import numpy as np
import pytest
from PIL import Image

from nerf_core import doctor
from nerf_core.cli import COMMANDS, main
from nerf_core.contract.camera import Camera, look_at
from nerf_core.export.camera_paths import write_cameras

from . import tiny_scene
from .conftest import ROOT
from .test_export_points import read_ply


def one_json_line(done):
    """Stdout is exactly one line, of JSON."""
    assert done.stdout.count("\n") == 1 and done.stdout.endswith("\n")
    return json.loads(done.stdout)


def refused(done):
    """Exactly one sentence on stderr and nothing on stdout."""
    lines = [line for line in re.split(r"[\r\n]+", done.stderr) if line.startswith("nerf: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    assert done.stdout == ""
    return lines[0]


def test_help_names_every_command_and_the_entry_point_is_the_module(nerf):
    out = nerf("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^ +{command}\b", out, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"]["nerf"] == "nerf_core.cli:main"
    assert re.fullmatch(r"nerf \d+\.\d+\.\d+\n", nerf("--version").stdout)
    assert "--seconds" in nerf("train", "--help").stdout


def test_a_wrong_option_is_2(nerf):
    assert "--steps" in nerf("train", "x", "--run", "y", "--seconds", 1, "--steps", 1, code=2).stderr


def test_training_and_training_on(nerf, ball_dataset, tmp_path):
    run = tmp_path / "my run ü"
    arguments = ("train", ball_dataset, "--run", run, "--device", "cpu", "--seed", 3, "--json")
    first = one_json_line(nerf(*arguments, "--steps", 20, "--downscale", 2))
    assert first["step"] == 20 and first["stopped"] is False and first["val_psnr"] > 5
    stored = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert stored["method"] == "fast" and stored["seed"] == 3 and stored["downscale"] == 2
    assert stored["background"] == [1.0, 1.0, 1.0] and stored["bounds"] == tiny_scene.BOUNDS.tolist()
    assert refused(nerf("train", "--run", run, code=2))  # it has ended: how much more?
    more = one_json_line(nerf("train", "--run", run, "--steps", 5, "--json", "--device", "cpu"))
    assert more["step"] == 25
    evaluated = one_json_line(nerf("evaluate", run, "--json"))
    assert len(evaluated["views"]) == 3  # at the run's own downscale
    assert "another run folder" in refused(nerf("train", "--run", run, "--method", "classic", "--steps", 5, code=2))


def test_classic_with_settings(nerf, ball_dataset, tmp_path):
    run = tmp_path / "classic"
    chosen = ("--setting", "depth=2", "--setting", "width=16", "--setting", "coarse_samples=8")
    arguments = ("--run", run, "--method", "classic", "--steps", 3, "--device", "cpu", "--setting", "fine_samples=8")
    done = nerf("train", ball_dataset, *arguments, *chosen)
    assert re.search(r"^Trained 3 steps", done.stdout)
    assert json.loads((run / "run.json").read_text())["settings"]["width"] == 16
    assert "width" in refused(nerf("train", ball_dataset, "--run", tmp_path / "b", "--method", "classic",
                                   "--steps", 3, "--setting", "width=wide", code=2))  # fmt: skip
    assert "KEY=VALUE" in refused(nerf("train", ball_dataset, "--run", tmp_path / "c", "--setting", "width", code=2))


def test_evaluating(nerf, trained_run, tmp_path):
    done = nerf("evaluate", trained_run, "--device", "cpu", "--pictures", tmp_path / "new" / "pictures")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["view", "PSNR", "dB", "SSIM"]
    assert [line.split()[0] for line in lines[1:5]] == ["./val/0000", "./val/0001", "./val/0002", "mean"]
    assert re.match(r"evaluations a ray: \d+\.\d\d where it hits, ", lines[5]) and len(lines) == 6
    values = [float(line.split()[1]) for line in lines[1:5]]
    assert values[3] == pytest.approx(np.mean(values[:3]), abs=2e-3) and values[3] > 20
    pictures = sorted((tmp_path / "new" / "pictures").iterdir())
    assert [p.name for p in pictures] == ["val_0000.png", "val_0001.png", "val_0002.png"]
    with Image.open(pictures[0]) as sheet:
        assert sheet.width > 120 and sheet.height > 40
    found = one_json_line(nerf("evaluate", trained_run, "--split", "train", "--json"))
    assert found["split"] == "train" and len(found["views"]) == 16 and list(found)[-2:] == ["psnr", "ssim"]
    assert "no test split" in refused(nerf("evaluate", trained_run, "--split", "test", code=2))


def test_rendering_an_orbit_to_pictures_and_a_video(nerf, trained_run, tmp_path):
    found = one_json_line(nerf("render", trained_run, "--orbit", 3, "--out", tmp_path / "o", "--width", 31, "--json"))
    assert [os.path.basename(path) for path in found["files"]] == ["0000.png", "0001.png", "0002.png"]
    pixels = np.asarray(Image.open(tmp_path / "o" / "0001.png"))
    assert pixels.shape == (31, 31, 4)
    assert pixels[15, 15, 3] > 200 and pixels[1, 1, 3] < 60  # the ball in the middle, nothing in the corner
    nerf("render", trained_run, "--orbit", 2, "--out", tmp_path / "o", "--width", 31, "--background", "#0000ff")
    pixels = np.asarray(Image.open(tmp_path / "o" / "0001.png"))
    assert pixels.shape == (31, 31, 3) and pixels[1, 1, 2] > 230 and pixels[1, 1, 0] < 40
    done = nerf("render", trained_run, "--orbit", 3, "--out", tmp_path / "a b.mp4", "--width", 31, "--height", 21)
    assert done.stdout.startswith("Rendered 3 views") and (tmp_path / "a b.mp4").stat().st_size > 500


def test_rendering_given_cameras(nerf, trained_run, tmp_path):
    away = look_at(tiny_scene.CENTER + (3.0, 0.0, 0.0), tiny_scene.CENTER + (6.0, 0.0, 0.0))
    cameras = [tiny_scene.camera(0, 8, 20), Camera(20, 20, 24.0, 24.0, 10.0, 10.0, away)]
    write_cameras(tmp_path / "cameras.json", cameras)
    nerf("render", trained_run, "--cameras", tmp_path / "cameras.json", "--out", tmp_path / "views")
    ball, nothing = (np.asarray(Image.open(tmp_path / "views" / f"000{i}.png")) for i in (0, 1))
    truth = tiny_scene.picture(cameras[0])
    assert ball.shape == (20, 20, 4)
    assert np.abs(ball[8:12, 8:12].astype(int) - truth[8:12, 8:12]).mean() < 25
    assert nothing[..., 3].max() == 0


def test_points(nerf, trained_run, tmp_path):
    out = tmp_path / "deep" / "points.ply"
    found = one_json_line(nerf("points", trained_run, "--out", out, "--count", 500, "--json"))
    names, rows = read_ply(out.read_bytes())
    assert found["count"] == len(rows) == 500 and names[0] == "x"
    table = np.array(rows)
    away = np.abs(np.linalg.norm(table[:, :3] - tiny_scene.CENTER, axis=1) - tiny_scene.RADIUS)
    assert np.median(away) < 0.02 * 2 * tiny_scene.RADIUS
    assert (table[:, 6] >= found["threshold"] * 0.999).all()
    assert "lower the threshold" in refused(nerf("points", trained_run, "--out", out, "--threshold", 1e15, code=2))
    assert len(read_ply(out.read_bytes())[1]) == 500  # what was there is there


def test_files_of_others_are_kept(nerf, trained_run, tmp_path):
    (tmp_path / "o").mkdir()
    theirs = [tmp_path / "o" / "0001.png", tmp_path / "a.ply", tmp_path / "a.mp4"]
    for path in theirs:
        path.write_text("mine")
    orbit = ("render", trained_run, "--orbit", 2, "--width", 8)
    assert "0001.png" in refused(nerf(*orbit, "--out", tmp_path / "o", code=2))
    assert "a.mp4" in refused(nerf(*orbit, "--out", tmp_path / "a.mp4", code=2))
    assert "a.ply" in refused(nerf("points", trained_run, "--out", tmp_path / "a.ply", code=2))
    assert [path.read_text() for path in theirs] == ["mine"] * 3 and len(list((tmp_path / "o").iterdir())) == 1
    nerf("points", trained_run, "--out", tmp_path / "a.ply", "--count", 10, "--overwrite")
    assert (tmp_path / "a.ply").read_bytes().startswith(b"ply\n")


def test_bad_input_is_one_sentence_and_2(nerf, trained_run, tmp_path):
    data = tiny_scene.write_dataset(tmp_path / "data", train=3, val=1, size=12)
    whole = (data / "transforms_train.json").read_text()

    def train(change):
        (data / "transforms_train.json").write_text(whole)
        change()
        return refused(nerf("train", data, "--run", tmp_path / "run", "--steps", 2, code=2))

    def rewrite(old, new):
        return lambda: (data / "transforms_train.json").write_text(whole.replace(old, new, 1))

    matrix = json.loads(whole)["frames"][0]["transform_matrix"][0][3]
    assert "not valid JSON" in train(rewrite(whole[-60:], ""))
    assert "NaN" in train(rewrite(f"{matrix}", "NaN"))
    assert "0099' named by" in train(rewrite("0001", "0099"))
    picture = data / "train" / "0002.png"
    Image.new("RGB", (13, 12)).save(picture)
    assert "13x12" in train(lambda: None)
    bomb = bytearray(picture.read_bytes())
    bomb[16:24] = b"\0\0\xff\xff\0\0\xff\xff"
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    picture.write_bytes(bomb)
    assert "million pixels" in train(lambda: None)
    assert "does not exist" in train(picture.unlink) and not (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert "no data set" in refused(nerf("train", tmp_path / "gone", "--run", tmp_path / "r2", "--steps", 1, code=2))
    assert not (tmp_path / "r2").exists()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "letter.txt").write_text("mine")
    whole_data = tiny_scene.write_dataset(tmp_path / "whole", train=3, val=1, size=12)
    done = nerf("train", whole_data, "--run", tmp_path / "theirs", "--steps", 1, code=2)
    assert "letter.txt" in refused(done) and (tmp_path / "theirs" / "letter.txt").read_text() == "mine"
    for command in (("evaluate",), ("render", "--orbit", 2, "--out", tmp_path / "o"), ("points", "--out", "a.ply")):
        assert "run.json" in refused(nerf(command[0], tmp_path / "theirs", *command[1:], code=2))
    old = shutil.copytree(trained_run, tmp_path / "old")
    checkpoint = (old / "checkpoint.safetensors").read_bytes()
    for broken in (checkpoint[: len(checkpoint) // 2], checkpoint.replace(b'"version":"1"', b'"version":"7"', 1)):
        assert broken != checkpoint
        (old / "checkpoint.safetensors").write_bytes(broken)
        assert "checkpoint.safetensors" in refused(nerf("evaluate", old, code=2))
    assert "neither a folder nor an .mp4" in refused(
        nerf("render", trained_run, "--orbit", 2, "--out", tmp_path / "a.avi", code=2)
    )
    assert "no transparency" in refused(
        nerf("render", trained_run, "--orbit", 2, "--out", tmp_path / "a.mp4", "--background", "transparent", code=2)
    )
    assert "'reddish' is not known" in refused(
        nerf("render", trained_run, "--orbit", 2, "--out", tmp_path / "o", "--background", "reddish", code=2)
    )
    long = "n" * 300  # longer than any file system's names
    for command in (
        ("train", whole_data, "--run", tmp_path / long, "--steps", 1),
        ("train", tmp_path / long, "--run", tmp_path / "r3", "--steps", 1),
        ("points", trained_run, "--out", tmp_path / f"{long}.ply", "--count", 10),
    ):
        assert re.search(f"Cannot use '.*{long}.*': .+\\.", refused(nerf(*command, code=2)))
    assert not (tmp_path / "r3").exists()
    assert "must end in .ply" in refused(nerf("points", trained_run, "--out", tmp_path / "a.obj", code=2))
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process on Windows")
def test_ctrl_c_saves_and_is_130(nerf, ball_dataset, tmp_path):
    run = tmp_path / "run"
    process = nerf.start("train", ball_dataset, "--run", run, "--steps", 10**7, "--device", "cpu", "--json")
    deadline = time.monotonic() + 240
    while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    stopped = json.loads(out)
    assert stopped["stopped"] is True and stopped["step"] > 0 and "Traceback" not in err
    more = one_json_line(nerf("train", "--run", run, "--steps", 2, "--more", "--device", "cpu", "--json"))
    assert more["step"] == stopped["step"] + 2


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process on Windows")
def test_ctrl_c_in_a_video_is_130_and_leaves_nothing(nerf, trained_run, tmp_path):
    process = nerf.start("render", trained_run, "--orbit", 5000, "--out", tmp_path / "a.mp4", "--device", "cpu")
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "nerf: stopped." in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_doctor(nerf):
    found = one_json_line(nerf("doctor", "--json"))
    assert found["ready"] is True and found["device"] == found["devices"][0]["kind"]
    assert {p["name"] for p in found["packages"] if p["ok"]} >= {"torch", "numba", "numpy", "safetensors"}
    text = nerf("doctor").stdout
    assert text.splitlines()[-1] == "Ready." and "torch" in text


def test_doctor_is_content_without_what_only_colmap_needs(monkeypatch):
    packages = doctor.PACKAGES

    def lacks(*names):
        kept = [(f"{name}-gone" if name in names else name, *rest) for name, *rest in packages]
        monkeypatch.setattr(doctor, "PACKAGES", kept)
        monkeypatch.setattr(doctor, "OPTIONAL", ("pycolmap-gone",))
        return doctor.examine()

    found = lacks("pycolmap")
    assert found["ready"]
    assert any("pycolmap-gone is not installed (needed for COLMAP models)" in hint for hint in found["hints"])
    assert not lacks("fast-simplification")["ready"]


def test_too_little_memory_is_a_sentence(monkeypatch, capsys):
    def hungry():
        raise MemoryError

    monkeypatch.setattr(doctor, "examine", hungry)
    assert main(["doctor"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("nerf: there is not enough memory") and told.count("\n") == 1


def without_packages(*arguments):
    """The command in a Python that sees the standard library alone."""
    return subprocess.run(
        [sys.executable, "-S", "-m", "nerf_core", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        timeout=60,
        check=False,
    )


def test_doctor_and_errors_without_any_package():
    done = without_packages("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["ready"] is False
    assert any("torch is not installed" in hint and "-m pip install torch" in hint for hint in found["hints"])
    text = without_packages("doctor").stdout
    assert text.splitlines()[-1].startswith("Not ready") and "Traceback" not in text
    done = without_packages("train", "x", "--run", "y")
    assert done.returncode == 2 and "is not installed; run 'nerf doctor'" in done.stderr
    assert "Traceback" not in done.stderr


def test_warm_up(nerf):
    found = one_json_line(nerf("warm-up", "--device", "cpu", "--json"))
    assert found["backend"] == "cpu" and found["seconds"] > 0
