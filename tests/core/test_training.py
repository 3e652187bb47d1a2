"""Training runs: budgets, continuing, metrics, stops, and runs that are loaded without their data set."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nerf_core.contract.errors import CheckpointError, NerfError
from nerf_core.contract.run_folder import RunFolder
from nerf_core.data.dataset import load_dataset
from nerf_core.methods.base import StepStats
from nerf_core.methods.classic import ClassicMethod
from nerf_core.training import trainer as trainer_module
from nerf_core.training.budget import Budget, Spent, asked_budget, plan, stored_budget
from nerf_core.training.checkpoint import load_checkpoint
from nerf_core.training.held_out import HeldOut, psnr
from nerf_core.training.interrupt import stop_on_interrupt
from nerf_core.training.metrics import MetricsLog

from . import tiny_scene
from .small_training import SETTINGS, Recorder, train


@pytest.fixture
def data(tmp_path) -> Path:
    return tiny_scene.write_dataset(tmp_path / "data", size=16)


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


SECONDS, STEPS = Budget("seconds", 60.0), Budget("steps", 100)


@pytest.mark.parametrize(
    ("asked", "stored", "spent", "more", "expected"),
    [
        (SECONDS, None, Spent(), False, SECONDS),  # new
        (SECONDS, None, Spent(), True, SECONDS),
        (None, STEPS, Spent(), False, STEPS),  # begun, killed before the first checkpoint
        (SECONDS, STEPS, Spent(), False, SECONDS),
        (STEPS, SECONDS, Spent(20.0, 7), False, SECONDS),  # interrupted: to the end of its own budget
        (None, SECONDS, Spent(20.0, 7), False, SECONDS),
        (SECONDS, SECONDS, Spent(20.0, 7), True, Budget("seconds", 80.0)),  # more, although interrupted
        (SECONDS, SECONDS, Spent(60.2, 7), False, Budget("seconds", 120.2)),  # ended: on top
        (STEPS, SECONDS, Spent(60.2, 7), False, Budget("steps", 107)),
        (SECONDS, STEPS, Spent(5.0, 100), False, Budget("seconds", 65.0)),
    ],
)
def test_what_a_run_trains_to(asked, stored, spent, more, expected):
    assert plan(asked, stored, spent, more) == expected


@pytest.mark.parametrize(
    ("stored", "spent", "more"), [(None, Spent(), False), (STEPS, Spent(9.0, 100), False), (STEPS, Spent(1.0, 5), True)]
)
def test_a_budget_must_be_asked_for_where_there_is_none(stored, spent, more):
    with pytest.raises(NerfError, match="how many seconds or steps"):
        plan(None, stored, spent, more)


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), True])
def test_budgets_that_are_no_numbers(wrong):
    with pytest.raises(NerfError, match="seconds to train"):
        asked_budget(seconds=wrong)
    with pytest.raises(NerfError, match="steps to train"):
        asked_budget(steps=wrong)
    with pytest.raises(NerfError, match="not both"):
        asked_budget(1.0, 1)


@pytest.mark.parametrize("stored", [{"seconds": "x"}, {"hours": 1}, {}, 3, {"seconds": None}, [1]])
def test_a_broken_budget_in_run_json_names_the_file(stored):
    with pytest.raises(CheckpointError, match="'run.json' holds"):
        stored_budget({"budget": stored}, "run.json")


def test_a_new_run_leaves_everything_it_should(tmp_path, data):
    run, events = tmp_path / "run", Recorder()
    result = train(run, data, events, steps=30, seed=5)
    assert (result.step, result.stopped) == (30, False) and result.seconds > 0
    files = ["checkpoint.safetensors", "core.log", "metrics.jsonl", "run.json", "snapshots"]
    assert sorted(path.name for path in run.iterdir()) == files
    facts = RunFolder(run).read()
    assert facts["data"] == str(data) and facts["method"] == "classic" and facts["settings"] == SETTINGS
    assert (facts["seed"], facts["device"], facts["backend"]) == (5, "cpu", "reference")
    assert facts["budget"] == {"steps": 30} and facts["spent"] == {"seconds": result.seconds, "steps": 30}
    assert facts["color_space"] == "srgb" and facts["has_alpha"] is True and facts["background"] == [1, 1, 1]
    np.testing.assert_allclose(facts["bounds"], tiny_scene.BOUNDS)
    assert {"nerf_core", "python", "torch", "numpy"} <= set(facts["versions"]) and facts["created"]
    assert events.loads[-1] == (10, 10) and events.saves == [30]
    last = lines(run)[-1]
    assert last["event"] == "ended" and last["step"] == 30 and last["overflow"] == 0
    assert last["loss"] == pytest.approx(result.loss, abs=1e-5)
    assert last["val_psnr"] == pytest.approx(result.val_psnr, abs=1e-5) and 3 < result.val_psnr < 40
    assert events.seen[-1].done == 1.0 and events.seen[-1].step == 30


def test_a_stopped_run_goes_on_to_the_end_of_its_budget(tmp_path, data):
    run = tmp_path / "run"
    first = train(run, data, Recorder(stop_at=12), steps=40)
    assert first.stopped and first.step == 12
    assert lines(run)[-1]["event"] == "stopped"
    events = Recorder()
    second = train(run, None, events, steps=5, method=None, settings={})
    assert not second.stopped and second.step == 40 and second.seconds > first.seconds
    assert "Continuing at step 12" in events.logs[0]
    assert load_checkpoint(run / "checkpoint.safetensors").spent.steps == 40
    third = train(run, None, steps=5)
    assert third.step == 45 and RunFolder(run).read()["budget"] == {"steps": 45}
    fourth = train(run, None, Recorder(stop_at=2), steps=10)
    assert (fourth.stopped, fourth.step) == (True, 47)
    fifth = train(run, None, steps=3, more=True)
    assert fifth.step == 50


def test_parts_add_up_to_the_whole_training(tmp_path, data):
    """What is continued is the same optimisation: its moments and counters too."""
    train(tmp_path / "a", data, Recorder(stop_at=10), steps=20)
    train(tmp_path / "a", data, steps=20)
    train(tmp_path / "b", data, steps=20)
    ours, theirs = (load_checkpoint(tmp_path / name / "checkpoint.safetensors").state for name in "ab")
    assert ours.settings == theirs.settings
    # Other random pixels after the break, so not equal, but as near as two such runs are.
    for key in ("params/fine.density.bias", "adam/exp_avg_sq/fine.density.weight"):
        assert ours.arrays[key].shape == theirs.arrays[key].shape and ours.arrays[key].any()


def test_a_budget_in_seconds_counts_training_alone(tmp_path, data):
    class Dawdler(Recorder):
        def between_steps(self) -> None:
            super().between_steps()
            import time

            time.sleep(0.05)

    events = Dawdler()
    result = train(tmp_path / "run", data, events, seconds=0.2)
    assert result.seconds >= 0.19 and not result.stopped
    assert result.seconds == pytest.approx(events.seen[-1].elapsed)
    progress = [seen.done for seen in events.seen]
    assert progress == sorted(progress) and progress[-1] == 1.0


def test_previews_are_rendered(tmp_path, data):
    events = Recorder()
    camera = tiny_scene.camera(0, 5, 12)
    train(tmp_path / "run", data, events, steps=5, preview=camera, preview_seconds=0.05)
    assert events.previews and events.previews[0][1].rgba.shape == (12, 12, 4)
    assert all(1 <= step <= 5 for step, _ in events.previews)


def test_checkpoints_are_written_on_the_way(tmp_path, data, monkeypatch):
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", 0.0)
    events = Recorder()
    train(tmp_path / "run", data, events, steps=4)
    assert events.saves == [1, 2, 3, 4, 4]
    assert list((tmp_path / "run").glob(".*")) == []


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path, data, monkeypatch):
    run = tmp_path / "run"
    train(run, data, steps=4)
    before = (run / "checkpoint.safetensors").read_bytes()
    real = ClassicMethod.train_step

    def breaks(self, progress) -> StepStats:
        stats = real(self, progress)
        return StepStats(float("nan"), stats.mse, stats.rays, stats.samples) if self.step == 7 else stats

    monkeypatch.setattr(ClassicMethod, "train_step", breaks)
    with pytest.raises(NerfError, match="diverged at step 7: the loss is nan"):
        train(run, data, steps=10)
    assert (run / "checkpoint.safetensors").read_bytes() == before
    monkeypatch.undo()
    assert train(run, data).step == 14


def test_parameters_that_are_no_numbers_are_not_saved(tmp_path, data, monkeypatch):
    import torch

    run = tmp_path / "run"
    train(run, data, steps=4)
    before = (run / "checkpoint.safetensors").read_bytes()
    real = ClassicMethod.train_step

    def poison(self, progress) -> StepStats:
        stats = real(self, progress)
        with torch.no_grad():
            self.networks["fine"].color.bias[0] = float("inf")
        return stats

    monkeypatch.setattr(ClassicMethod, "train_step", poison)
    with pytest.raises(NerfError, match="diverged"):
        train(run, data, steps=1)
    assert (run / "checkpoint.safetensors").read_bytes() == before


def test_a_stop_while_images_are_read(tmp_path, data):
    result = train(tmp_path / "run", data, Recorder(stop_at=0), steps=5)
    assert result.stopped and result.step == 0
    assert train(tmp_path / "run", data, steps=5).step == 5


def test_a_box_that_no_ray_meets_is_told(tmp_path, data):
    path = data / "transforms_train.json"
    document = json.loads(path.read_text())
    document["nerf_toolkit"]["bounds"] = [[50, 50, 50], [51, 51, 51]]
    path.write_text(json.dumps(document))
    with pytest.raises(NerfError, match="No training ray meets the scene's box"):
        train(tmp_path / "run", data, steps=200)


def test_the_metrics_log_mends_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    log = MetricsLog(path)
    log.append(step=3, loss=float("nan"), psnr=1.23456789)
    log.append(step=4, loss=None)
    assert path.read_text().splitlines()[2:] == [
        '{"step": 3, "loss": null, "psnr": 1.234568}',
        '{"step": 4, "loss": null}',
    ]


def test_held_out_psnr_is_that_of_the_pixels(data):
    """A method that shows the truth scores 100 dB, one that shows nothing the PSNR of white against the truth."""
    from nerf_core.methods.base import RayColors
    from nerf_core.rendering.rays import PixelSource

    views = load_dataset(data).splits["val"]
    source = PixelSource(views)
    batch = source.at(np.arange(source.ends[-1]))
    straight = batch.rgba
    truth = np.concatenate([straight[:, :3] * straight[:, 3:], straight[:, 3:]], axis=-1)

    class Known:
        def render_rays(self, origins, directions) -> RayColors:
            gap = np.linalg.norm(batch.directions[None] - directions[:, None], axis=-1)
            gap += np.linalg.norm(batch.origins[None] - origins[:, None], axis=-1)
            return RayColors(truth[gap.argmin(axis=1)], np.zeros(len(origins), "f4"), 0)

    class Nothing:
        def render_rays(self, origins, directions) -> RayColors:
            return RayColors(np.zeros((len(origins), 4), "f4"), np.zeros(len(origins), "f4"), 0)

    held_out = HeldOut(views, (1.0, 1.0, 1.0))
    assert held_out.pixels == 2 * 16 * 16
    assert held_out.measure(Known(), 5.0) == pytest.approx(100.0)
    error = (truth[:, :3] + 1 - truth[:, 3:] - 1.0) ** 2
    assert held_out.measure(Nothing(), 5.0) == pytest.approx(psnr(float(error.mean())), abs=1e-4)
    assert not held_out.due(5.0) and held_out.due(1000.0)
    assert HeldOut(None, (1.0, 1.0, 1.0)).measure(Nothing(), 0.0) is None


def test_ctrl_c_is_a_request_and_the_second_one_an_order():
    with stop_on_interrupt() as stopped:
        assert not stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(sys.platform == "win32", reason="a console signal cannot be sent to one process there")
def test_ctrl_c_on_the_command_line_saves(tmp_path, data):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "nerf_core", "train", str(data), "--run", str(run), "--method", "classic"]
    command += ["--steps", "1000000", "--setting", "width=16", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        while process.poll() is None and not (run / "metrics.jsonl").exists():
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    result = json.loads(out.splitlines()[-1])
    assert result["stopped"] is True and result["step"] > 0
    assert load_checkpoint(run / "checkpoint.safetensors").spent.steps == result["step"]
