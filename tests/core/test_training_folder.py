"""What a training is refused, what it leaves in its run folder, and a run folder that moves."""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from nerf_core.contract.errors import Cancelled, CheckpointError, DataError, NerfError
from nerf_core.contract.run_folder import RunFolder
from nerf_core.methods import fast
from nerf_core.methods.base import Normalisation
from nerf_core.methods.classic import ClassicMethod
from nerf_core.training import trainer as trainer_module
from nerf_core.training.load import load_run
from nerf_core.training.setup import TrainRequest
from nerf_core.training.trainer import Trainer

from . import tiny_scene
from .small_training import SETTINGS, Recorder, train


@pytest.fixture
def data(tmp_path) -> Path:
    return tiny_scene.write_dataset(tmp_path / "data", size=16)


def test_a_folder_of_somebody_else_is_not_touched(tmp_path, data):
    run = tmp_path / "holiday"
    run.mkdir()
    (run / "photo.txt").write_text("mine")
    with pytest.raises(NerfError, match="already holds other files"):
        train(run, data, steps=1)
    assert [path.name for path in run.iterdir()] == ["photo.txt"]


def test_wrong_requests_are_told_before_anything_is_made(tmp_path, data):
    run = tmp_path / "run"
    for words, asked in (
        ("no data set", {"data": tmp_path / "nowhere", "steps": 1}),
        ("which data set", {"steps": 1}),
        ("how many seconds", {"data": data}),
        ("not both", {"data": data, "steps": 1, "seconds": 1.0}),
        ("'slow' is not known", {"data": data, "steps": 1, "method": "slow"}),
        ("'tpu' is not known", {"data": data, "steps": 1, "device": "tpu"}),
    ):
        with pytest.raises(NerfError, match=words):
            train(run, **asked)
        assert not run.exists(), words
    with pytest.raises(NerfError, match="whole number from 0"):
        train(run, data, steps=1, seed=-1)
    with pytest.raises(NerfError, match="no setting 'size'"):
        train(run, data, steps=1, settings={"size": 3})
    assert train(run, data, steps=1).step == 1  # what the failures left does not stand in the way


def test_a_run_keeps_its_method_and_settings(tmp_path, data):
    run = tmp_path / "run"
    train(run, data, steps=1)
    with pytest.raises(NerfError, match="was trained with the method 'classic'"):
        train(run, data, steps=1, method="fast", settings={})
    with pytest.raises(NerfError, match="was trained with the settings"):
        train(run, data, steps=1, settings={**SETTINGS, "width": 8})


def test_a_damaged_checkpoint_is_not_trained_over(tmp_path, data):
    run = tmp_path / "run"
    train(run, data, steps=2)
    checkpoint = run / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-40])
    damaged = checkpoint.read_bytes()
    with pytest.raises(CheckpointError, match="checkpoint.safetensors' is not a whole"):
        train(run, data, steps=2)
    assert checkpoint.read_bytes() == damaged


def test_what_a_killed_process_was_writing_is_removed(tmp_path, data):
    run = tmp_path / "run"
    train(run, data, steps=1)
    (run / ".checkpoint-x7f3.safetensors").write_bytes(b"half")
    (run / ".checkpoint-notes.txt").write_text("mine")
    train(run, data, steps=1)
    assert sorted(path.name for path in run.glob(".*")) == [".checkpoint-notes.txt"]


def test_a_run_with_its_data_set_inside_can_move(tmp_path):
    run = tmp_path / "first place ö"
    train_first = run / "dataset"
    run.mkdir()
    RunFolder(run).write({})
    tiny_scene.write_dataset(train_first, size=8)
    train(run, train_first, steps=2)
    assert RunFolder(run).read()["data"] == "dataset"
    moved = tmp_path / "second"
    run.rename(moved)
    assert train(moved, None, steps=2).step == 4


def test_a_run_renders_without_its_data_set(tmp_path, data):
    run = tmp_path / "run"
    request = TrainRequest(run, data, "classic", steps=10, device="cpu", settings=SETTINGS)
    trainer = Trainer(request)
    trainer.run()
    shutil.rmtree(data)
    loaded = load_run(run, "cpu")
    camera = tiny_scene.camera(0, 5, 10)
    live = trainer.loaded()
    assert live is not None
    np.testing.assert_array_equal(loaded.render(camera).rgba, live.render(camera).rgba)
    assert loaded.spent.steps == 10 and loaded.background == (1, 1, 1) and loaded.color_space == "srgb"
    assert len(loaded.cameras) == 8 and loaded.data == data
    np.testing.assert_allclose(loaded.cameras[3].c2w, tiny_scene.camera(3, 8, 16).c2w)
    with pytest.raises(DataError, match="no data set"):
        train(run, None, steps=1)


def test_loading_what_is_no_run(tmp_path, data):
    with pytest.raises(CheckpointError, match="is not a run folder"):
        load_run(tmp_path)
    RunFolder(tmp_path).write({})
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load_run(tmp_path)


def test_a_run_takes_its_data_set_from_elsewhere_but_no_other_one(tmp_path, data):
    run = tmp_path / "run"
    train(run, data, steps=2)
    before = contents(run)
    fewer = tiny_scene.write_dataset(tmp_path / "fewer", train=5, size=16)
    posed = shutil.copytree(data, tmp_path / "posed")
    document = json.loads((posed / "transforms_train.json").read_text())
    document["frames"][2]["transform_matrix"][0][3] += 0.001
    (posed / "transforms_train.json").write_text(json.dumps(document))
    for other in (fewer, posed):
        with pytest.raises(NerfError, match=f"'{other}' is not the one that the run '{run}' was trained on"):
            train(run, other, steps=2)
    assert contents(run) == before
    moved = data.rename(tmp_path / "moved")
    assert train(run, moved, steps=2, downscale=2).step == 4
    assert RunFolder(run).read()["data"] == str(moved)


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "core.log"}


def log_lines(run: Path) -> list[str]:
    """Of `core.log`, without the times, which are checked."""
    found = []
    for line in (run / "core.log").read_text(encoding="utf-8").splitlines():
        time, _, text = line.partition(" ")
        assert datetime.fromisoformat(time).tzinfo is not None
        found.append(text)
    return found


def test_the_log_tells_what_happened(tmp_path, data, monkeypatch):
    run = tmp_path / "run"
    train(run, data, Recorder(stop_at=50), steps=1000, seed=7)
    begun, saved, ended = log_lines(run)  # not a line a step
    assert begun.startswith("info: Training 'classic' on cpu (reference kernels) with 8 images of")
    assert str(data) in begun and "seed 7" in begun and f"numpy {np.__version__}" in begun and "'width': 16" in begun
    assert saved.startswith("info: Saved a checkpoint at step 50")
    assert ended.startswith("info: Stopped at step 50")
    monkeypatch.setattr(ClassicMethod, "train_step", lambda self, progress: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(run, data)
    monkeypatch.undo()
    text = (run / "core.log").read_text(encoding="utf-8")
    assert "info: Continuing at step 50" in text
    assert "error: Traceback" in text and "ZeroDivisionError: division by zero" in text
    with pytest.raises(NerfError):
        train(run, tmp_path / "gone", steps=1)
    assert (run / "core.log").read_text(encoding="utf-8") == text, "nothing had begun"


def test_the_command_line_writes_the_log_too(nerf, data, tmp_path):
    nerf("train", data, "--run", tmp_path / "run", "--steps", 3, "--device", "cpu")
    lines = log_lines(tmp_path / "run")
    assert lines[0].startswith("info: Training 'fast' on cpu (cpu kernels)")
    assert lines[-1].startswith("info: Ended at step 3") and "held-out PSNR" in lines[-1]


def test_a_crash_loses_less_than_30_seconds():
    assert trainer_module.CHECKPOINT_SECONDS <= 20


@pytest.mark.parametrize("method", ["fast", "classic"])
def test_a_trained_method_holds_no_images(tmp_path, data, method):
    trainer = Trainer(TrainRequest(tmp_path / "run", data, method, steps=2, device="cpu"))
    trainer.run()
    kept = trainer.loaded()
    assert kept is not None and np.isfinite(kept.render(tiny_scene.camera(0, 5, 10)).rgba).all()
    if method == "fast":
        assert kept.method._views is None and kept.method.field._views is None and kept.method.field._batch is None
    with pytest.raises(RuntimeError, match="load_views"):
        kept.method.train_step(0.0)


def test_a_stop_is_heard_between_kernels():
    method = fast.FastMethod(Normalisation(np.array([[-1.0] * 3, [1.0] * 3])))
    asked = []
    with pytest.raises(Cancelled):
        method.warm_up(lambda: len(asked) == 2 or asked.append(None))
    assert len(asked) == 2


def test_the_fast_method_starts_without_torch(tmp_path, data):
    """Importing torch takes longer than all else before the first step."""
    arguments = ["train", str(data), "--run", str(tmp_path / "run"), "--steps", "1", "--device", "cpu"]
    code = (
        f"import sys\nfrom nerf_core.cli import main\nassert main({arguments!r}) == 0\n"
        "assert 'numba' in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
